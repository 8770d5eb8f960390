import { WireError } from "./wire.ts";

/**
 * The body of a request as it comes.
 *
 * @param bytesExpected how long it must be, if that is known
 * @throws {WireError} `SIZE_INVALID` when it is longer, before what is too much is passed on, or shorter;
 *   what the runtime throws when the client vanishes
 */
export async function* bodyOf(
  { body }: Request,
  bytesExpected?: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength;
    if (bytesExpected !== undefined && bytes > bytesExpected) throw sizeInvalid(bytesExpected);
    yield chunk;
  }
  if (bytesExpected !== undefined && bytes < bytesExpected) throw sizeInvalid(bytesExpected);
}

/** How long the body is said to be; undefined when it comes in pieces of which nobody knows how many. */
export function contentLength({ headers }: Request): number | undefined {
  const text = headers.get("content-length");
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/**
 * Reads a small body whole. No more is kept in memory than may come.
 *
 * @throws {WireError} `MANIFEST_TOO_LARGE`, at once where the client says so before
 */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array> {
  if ((contentLength(request) ?? 0) > bytesMax) throw tooLarge(bytesMax);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of bodyOf(request)) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, bytes));
}

/** The error for a body that is not as long as was said. */
export function sizeInvalid(bytesExpected: number): WireError {
  return new WireError(
    "SIZE_INVALID",
    `the body is not as long as was said: ${bytesExpected} bytes`,
  );
}

function tooLarge(bytesMax: number): WireError {
  return new WireError("MANIFEST_TOO_LARGE", `a manifest may have ${bytesMax} bytes`);
}
