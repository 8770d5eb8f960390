/** A part of a blob: offsets of its first byte and of the byte after its last. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a `Range` header against content of a size (RFC 9110, 14.1.2).
 *
 * Several ranges, other units and what is no range at all are passed over, as a server may: the whole
 * is sent. A range with its ends swapped is refused and not passed over, because that is what the
 * conformance suite of the distribution specification asks for.
 *
 * @returns `whole`, `unsatisfiable` (416), or the part
 */
export function parseRange(
  header: string | null,
  size: number,
): ByteRange | "whole" | "unsatisfiable" {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return "whole";
  if (first === "") {
    const count = Math.min(Number(last), size);
    return count === 0 ? "unsatisfiable" : { start: size - count, end: size };
  }
  const start = Number(first);
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  return start >= end ? "unsatisfiable" : { start, end };
}

/**
 * Reads the `Content-Range` of a chunk: `0-1023`, as the distribution specification has it, or
 * `bytes 0-1023/*`, as HTTP has it (S-5). Undefined for anything else, and for ends that are swapped.
 */
export function parseChunkRange(header: string): ByteRange | undefined {
  const [, first, last] =
    /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim()) ?? [];
  if (first === undefined || last === undefined || Number(first) > Number(last)) return undefined;
  return { start: Number(first), end: Number(last) + 1 };
}
