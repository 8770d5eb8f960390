import type { ByteRange } from "./ports.ts";

/** The ranges with one more among them: ascending, apart from each other, none empty. */
export function withRange(ranges: readonly ByteRange[], { start, end }: ByteRange): ByteRange[] {
  if (start >= end) return [...ranges];
  const before = ranges.filter((range) => range.end < start);
  const after = ranges.filter((range) => range.start > end);
  const joined = ranges.slice(before.length, ranges.length - after.length);
  const first = Math.min(start, ...joined.map((range) => range.start));
  const last = Math.max(end, ...joined.map((range) => range.end));
  return [...before, { start: first, end: last }, ...after];
}

/** What of `whole` lies in none of the ranges, which ascend. */
export function gapsIn(ranges: readonly ByteRange[], whole: ByteRange): ByteRange[] {
  const gaps: ByteRange[] = [];
  let { start } = whole;
  for (const range of ranges) {
    const end = Math.min(range.start, whole.end);
    if (start < end) gaps.push({ start, end });
    start = Math.max(start, range.end);
  }
  if (start < whole.end) gaps.push({ start, end: whole.end });
  return gaps;
}

/** How many bytes ranges that are apart from each other hold. */
export function bytesIn(ranges: readonly ByteRange[]): number {
  return ranges.reduce((bytes, { start, end }) => bytes + end - start, 0);
}
