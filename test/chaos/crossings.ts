import type { ByteRange } from "#content";
import type { Digest } from "#oci";
import type { BlobAnswer } from "#test-support/chaos-registry";

/** What of each blob has crossed the link. */
export class Crossings {
  readonly #crossed = new Map<Digest, readonly ByteRange[]>();

  /**
   * Takes in answers that are over, or as far as they came, in the order in which they began.
   *
   * @returns bytes of each blob that had crossed before, in these answers or in earlier ones
   */
  add(answers: readonly BlobAnswer[]): ReadonlyMap<Digest, number> {
    const againBytes = new Map<Digest, number>();
    for (const { digest, start, end, status, asked } of answers) {
      // What a server sends before the range that it was asked for is its own doing (C-84).
      const from = status === 200 && asked !== null ? asked.start : start;
      const range = { start: from, end: Math.max(from, end) };
      const before = this.#crossed.get(digest) ?? [];
      const bytes = before.reduce((sum, other) => sum + overlapBytes(range, other), 0);
      this.#crossed.set(digest, joined([...before, range]));
      againBytes.set(digest, (againBytes.get(digest) ?? 0) + bytes);
    }
    return againBytes;
  }
}

function overlapBytes(a: ByteRange, b: ByteRange): number {
  return Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
}

/** The same bytes as ranges that neither overlap nor touch. */
function joined(ranges: readonly ByteRange[]): readonly ByteRange[] {
  const result: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || range.start > last.end) result.push(range);
    else result[result.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
  }
  return result;
}
