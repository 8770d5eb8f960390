import { expect, test } from "bun:test";
import fc from "fast-check";
import { releaseChunk } from "#content";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { cutPiece, ownBytes } from "./own-bytes.ts";

test("pieces hold the bytes in order, each all of its buffer, and the buffer goes with the last", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.nat(50),
      fc.integer({ min: 1, max: 100 }),
      (all, front, pieceBytes) => {
        // What lies in front was read before, as a head is.
        const received = new Uint8Array(all);
        let rest: Uint8Array = received.subarray(Math.min(front, all.byteLength - 1));
        const expected = [...rest];
        const found: number[] = [];
        while (rest.byteLength > 0) {
          const cut = cutPiece(rest, pieceBytes);
          expect(cut.piece.byteLength).toBe(cut.piece.buffer.byteLength);
          found.push(...cut.piece);
          releaseChunk(cut.piece);
          rest = cut.rest;
        }
        expect(found).toEqual(expected);
        expect(received.byteLength).toBe(0);
      },
    ),
    { numRuns: FUZZ_RUNS },
  );
});

test("bytes that share their buffer are copied, and nobody else's are given back", () => {
  const shared = new Uint8Array([1, 2, 3, 4]);
  const { piece } = cutPiece(ownBytes(shared.subarray(1)), 2);
  releaseChunk(piece);
  expect([...shared]).toEqual([1, 2, 3, 4]);
  expect(ownBytes(shared)).toBe(shared);
});
