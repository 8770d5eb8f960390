import { archiveBroken, archiveTooLarge } from "./failure.ts";
import { natural, readNumber } from "./tar-header.ts";

/** A stretch of a sparse file that has data; between them are holes, which read as zeros. */
export interface SparseSegment {
  readonly offset: number;
  readonly size: number;
}

/** How many stretches one file may have. A disk image of a terabyte in pieces of 4 MiB has as many. */
const SEGMENTS_MAX = 262_144;

/**
 * Reads entries of the old GNU format: 24 bytes each, up to the first empty one (GNU tar manual,
 * "Storing Sparse Files").
 */
export function parseGnuSegments(
  block: Uint8Array,
  at: number,
  count: number,
  offset: number,
): SparseSegment[] {
  const segments: SparseSegment[] = [];
  for (let i = 0; i < count; i += 1) {
    const start = at + i * 24;
    if (block[start] === 0) break;
    const number = (from: number, what: string) =>
      natural(readNumber(block, from, 12, what, offset), what, offset);
    segments.push({
      offset: number(start, "sparse offset"),
      size: number(start + 12, "sparse size"),
    });
  }
  return segments;
}

/** Pairs of numbers as segments. @throws {Failure} `archive-broken`, `archive-too-large` */
export function pairUp(numbers: readonly string[], offset: number): SparseSegment[] {
  requireCount(numbers.length / 2);
  const values = numbers.map((text) => (/^\d{1,16}$/.test(text) ? Number(text) : Number.NaN));
  if (values.length % 2 !== 0 || !values.every(Number.isSafeInteger)) {
    throw archiveBroken("its map of a sparse file is no list of pairs of numbers", offset);
  }
  return Array.from({ length: values.length / 2 }, (_, i) => ({
    offset: values[2 * i] ?? 0,
    size: values[2 * i + 1] ?? 0,
  }));
}

/** @throws {Failure} `archive-too-large` */
export function requireCount(segments: number): void {
  if (segments > SEGMENTS_MAX) {
    throw archiveTooLarge(`${segments} pieces of one sparse file`, `${SEGMENTS_MAX}`);
  }
}

/**
 * Checks that the pieces lie in order within the file and add up to the data that follows.
 *
 * @throws {Failure} `archive-broken`
 */
export function requireMap(
  segments: readonly SparseSegment[],
  { size, packedBytes }: { size: number; packedBytes: number },
  offset: number,
): void {
  let end = 0;
  let bytes = 0;
  for (const segment of segments) {
    const isNext = segment.offset >= end && segment.offset + segment.size <= size;
    if (!isNext) throw archiveBroken("the pieces of its sparse file do not fit", offset);
    end = segment.offset + segment.size;
    bytes += segment.size;
  }
  if (bytes !== packedBytes) {
    throw archiveBroken(
      `its sparse file has ${packedBytes} bytes of data, expected ${bytes}`,
      offset,
    );
  }
}

const ZEROS = new Uint8Array(64 * 1024);

/** Puts the holes back between the pieces. */
export async function* withHoles(
  data: AsyncIterable<Uint8Array>,
  segments: readonly SparseSegment[],
  size: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  let next = 0;
  let left = 0;
  for await (const chunk of data) {
    for (let from = 0; from < chunk.byteLength; ) {
      while (left === 0) {
        const segment = segments[next] ?? { offset: size, size: chunk.byteLength };
        yield* zeros(segment.offset - at);
        at = segment.offset;
        left = segment.size;
        next += 1;
      }
      const part = chunk.subarray(from, from + left);
      yield part;
      from += part.byteLength;
      left -= part.byteLength;
      at += part.byteLength;
    }
  }
  yield* zeros(size - at);
}

function* zeros(count: number): Generator<Uint8Array> {
  for (let left = count; left > 0; left -= ZEROS.byteLength) {
    yield ZEROS.subarray(0, Math.min(left, ZEROS.byteLength));
  }
}
