import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Endurance } from "./endurance.ts";

const MB = 1_000_000;
const NONE = Number.POSITIVE_INFINITY;

/** An endurance of a host that is not near, so that only what broke counts. */
function distant(): Endurance {
  const endurance = new Endurance();
  endurance.answered(1000);
  return endurance;
}

/** Fetches over fresh connections that a link cuts after so many bytes; what was lost and gained. */
function fetchOver(endurance: Endurance, cutBytes: number, lostBytes: number, sizeBytes: number) {
  let lost = 0;
  let limitMax = 0;
  for (let here = 0; here < sizeBytes; ) {
    const wanted = Math.min(endurance.pieceBytesMax, sizeBytes - here);
    limitMax = Math.max(limitMax, wanted);
    if (wanted <= cutBytes) {
      here += wanted;
      endurance.carried(wanted, wanted);
    } else {
      here += cutBytes - lostBytes;
      lost += lostBytes;
      endurance.broke(cutBytes - lostBytes, wanted);
    }
  }
  return lost;
}

describe("the endurance of connections", () => {
  test("has no limit where none broke, and stays below the least that broke", () => {
    const endurance = distant();
    endurance.carried(500 * MB, 500 * MB);
    expect([endurance.connectionBytesMax, endurance.pieceBytesMax]).toEqual([NONE, NONE]);
    for (const carried of [9 * MB, 8 * MB, 10 * MB]) endurance.broke(carried, NONE);
    expect([endurance.connectionBytesMax, endurance.pieceBytesMax]).toEqual([6 * MB, 6 * MB]);
    endurance.broke(10, 6 * MB);
    expect(endurance.pieceBytesMax).toBe(64 * 1024);
  });

  test("is tried again after eight whole limits; a trial that fails costs one piece and waits for longer", () => {
    const endurance = distant();
    endurance.broke(8 * MB, NONE);
    const carry = (pieces: number) => {
      for (let i = 0; i < pieces; i += 1) endurance.carried(6 * MB, 6 * MB);
      return endurance.pieceBytesMax / MB;
    };
    expect([carry(7), carry(1)]).toEqual([6, 9]);
    endurance.broke(1 * MB, 9 * MB);
    // Others that were on trial at the same time say nothing new.
    endurance.broke(2 * MB, 9 * MB);
    expect([endurance.pieceBytesMax / MB, carry(15), carry(1)]).toEqual([6, 6, 9]);
    endurance.broke(1 * MB, 9 * MB);
    // Nor does the limit survive a link that became worse.
    endurance.broke(4 * MB, 6 * MB + 500);
    expect(endurance.pieceBytesMax).toBe(3 * MB);
  });

  test("is forgotten in the end where nothing breaks any more", () => {
    const endurance = distant();
    endurance.broke(300_000, NONE);
    fetchOver(endurance, NONE, 0, 10_000 * MB);
    expect(endurance.pieceBytesMax).toBe(NONE);
  });

  test("asks a near host for small pieces until a connection carried much, or the first broke", () => {
    const near = new Endurance();
    expect([near.pieceBytesMax, near.connectionBytesMax]).toEqual([1024 * 1024, NONE]);
    near.answered(NEAR);
    near.carried(MB, 20 * MB);
    expect(near.pieceBytesMax).toBe(1024 * 1024);
    near.carried(MB, 40 * MB);
    expect(near.pieceBytesMax).toBe(NONE);
    const broken = new Endurance();
    broken.broke(8 * MB, 9 * MB);
    expect(broken.pieceBytesMax).toBe(6 * MB);
  });

  test("asks who refused a piece for no other", () => {
    const endurance = distant();
    endurance.broke(8 * MB, NONE);
    endurance.refusedPiece();
    expect([endurance.pieceBytesMax, endurance.connectionBytesMax]).toEqual([NONE, 6 * MB]);
  });

  test("costs little, wherever a link cuts and whatever is lost of it: whole bytes, few of them twice", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 150_000, max: 20 * MB }),
        fc.double({ min: 0, max: 0.6, noNaN: true }),
        (cutBytes, lostPart) => {
          const endurance = distant();
          const lostBytes = Math.floor(cutBytes * lostPart);
          const lost = fetchOver(endurance, cutBytes, lostBytes, 400 * cutBytes);
          expect(Number.isInteger(endurance.pieceBytesMax)).toBe(true);
          expect(lost / (400 * cutBytes)).toBeLessThan(0.02);
        },
      ),
    );
  });
});

const NEAR = 1;
