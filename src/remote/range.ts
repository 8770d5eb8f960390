import type { ByteRange } from "#content";
import type { Answer } from "./transport.ts";

/**
 * What an answer to a request for a range holds: that range, all of the content, or nothing that can
 * be used (several ranges, another range, another size, 416). `undefined` for any other status.
 */
export type RangeHolding = "part" | "whole" | "unusable";

/**
 * The headers that ask for a range. `If-Range` goes along only with a strong validator: for a weak one
 * it has no meaning (C-83).
 *
 * @param range not empty, and not all of the content
 */
export function rangeHeaders(
  { start, end }: ByteRange,
  sizeBytes: number,
  etag: string | undefined,
): Readonly<Record<string, string>> {
  const last = end === sizeBytes ? "" : end - 1;
  const range = { Range: `bytes=${start}-${last}` };
  return etag === undefined ? range : { ...range, "If-Range": etag };
}

/**
 * Judges an answer to {@link rangeHeaders}. Only an exact answer counts: one range, that one, of
 * content of that size, with a body of that length (C-83, C-90). Some registries answer exactly so
 * and yet with status 200, which containerd knows of and we too.
 */
export function rangeHolding(
  { status, headers }: Pick<Answer, "status" | "headers">,
  { start, end }: ByteRange,
  sizeBytes: number,
): RangeHolding | undefined {
  if (status === 416) return "unusable";
  if (status !== 200 && status !== 206) return undefined;
  const contentRange = headers.get("content-range");
  if (contentRange === null) return status === 200 ? "whole" : "unusable";
  const pattern = /^\s*bytes ([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)\s*$/i;
  const [, first, last, total] = pattern.exec(contentRange) ?? [];
  const isThatRange = Number(first) === start && Number(last) === end - 1;
  const isThatSize = total === "*" || Number(total) === sizeBytes;
  const length = headers.get("content-length");
  const isThatLength = length === null || Number(length) === end - start;
  return isThatRange && isThatSize && isThatLength ? "part" : "unusable";
}

/** The validator of an answer when it is a strong one and fit to be sent back (RFC 9110, 8.8.3). */
export function strongEtag(headers: Headers): string | undefined {
  const etag = headers.get("etag")?.trim() ?? "";
  return /^"[\x21\x23-\x7e]{1,200}"$/.test(etag) ? etag : undefined;
}
