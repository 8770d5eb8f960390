import { cutPiece, dropRest } from "./own-bytes.ts";

/** How an HTTP/1.1 message says where its body ends (RFC 9112, 6.3). */
export type Framing =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

/** The first lines of an answer. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: Headers;
  readonly framing: Framing;
  /** Whether the connection may be used again after the body. */
  readonly isKeptAlive: boolean;
}

/** Something that is no HTTP; the code is what our own for it. */
export class InvalidHttp extends Error {
  readonly code = "InvalidHTTPResponse";
}

/**
 * Reads the head of an answer, without its final empty line. One to HEAD tells of a body, and has none.
 *
 * @throws {InvalidHttp} also for lengths that contradict each other, which smuggling lives on
 */
export function parseResponseHead(text: string, method: "GET" | "HEAD"): ResponseHead {
  const [first = "", ...lines] = text.split(/\r?\n/);
  const [, minor, digits] = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: |$)/.exec(first) ?? [];
  if (digits === undefined) throw new InvalidHttp("Not a status line");
  const status = Number(digits);
  const headers = new Headers();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    // Control characters and folded lines are refused, not mended.
    if (name === undefined || value === undefined || /[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      throw new InvalidHttp("Not a header line");
    }
    headers.append(name, value);
  }
  const framing = framingOf(method, status, headers);
  const connection = headers.get("connection") ?? "";
  const isKeptAlive = minor === "1" && !/\bclose\b/i.test(connection) && framing.kind !== "close";
  return { status, headers, framing, isKeptAlive };
}

function framingOf(method: "GET" | "HEAD", status: number, headers: Headers): Framing {
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) {
    return { kind: "length", bytes: 0 };
  }
  const encoding = headers.get("transfer-encoding");
  const lengths = new Set(headers.get("content-length")?.split(/\s*,\s*/));
  if (encoding !== null) {
    if (!/^chunked$/i.test(encoding) || lengths.size > 0) throw new InvalidHttp("Two framings");
    return { kind: "chunked" };
  }
  const [length, ...others] = lengths;
  if (length === undefined) return { kind: "close" };
  if (others.length > 0 || !/^[0-9]{1,16}$/.test(length)) throw new InvalidHttp("Not a length");
  return { kind: "length", bytes: Number(length) };
}

/** What a body is read from: raw bytes of the connection, and a way to give back what is too much. */
export interface RawBytes {
  /**
   * Some bytes, up to the end of a buffer that is nobody else's; or undefined when the other side has
   * ended the connection.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Gives back the last of the bytes that were read: they belong to what follows. */
  unread(bytes: Uint8Array): void;
}

/** The connection ended inside of a body; the code is what our own for it. */
export class CutShort extends Error {
  readonly code = "ECONNRESET";
}

const CHUNK_LINE_BYTES_MAX = 4096;

/**
 * The bytes of a body, piece by piece as they come, each all of its buffer.
 *
 * @throws {CutShort} when they end before the body does, {@link InvalidHttp} for broken chunks
 */
export async function* bodyBytes(raw: RawBytes, framing: Framing): AsyncGenerator<Uint8Array> {
  if (framing.kind === "length") yield* exactly(raw, framing.bytes);
  else if (framing.kind === "chunked") yield* dechunked(raw);
  else yield* untilEnd(raw);
}

async function* untilEnd(raw: RawBytes): AsyncGenerator<Uint8Array> {
  for (let bytes = await raw.read(); bytes; bytes = await raw.read()) {
    yield cutPiece(bytes, bytes.byteLength).piece;
  }
}

async function* exactly(raw: RawBytes, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let leftBytes = sizeBytes; leftBytes > 0; ) {
    const bytes = await raw.read();
    if (bytes === undefined) throw new CutShort("The connection ended inside of a body");
    const { piece, rest } = cutPiece(bytes, leftBytes);
    if (rest.byteLength > 0) raw.unread(rest);
    leftBytes -= piece.byteLength;
    yield piece;
  }
}

async function* dechunked(raw: RawBytes): AsyncGenerator<Uint8Array> {
  for (;;) {
    const [, hex] = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(await readLine(raw)) ?? [];
    if (hex === undefined) throw new InvalidHttp("Not a chunk's size");
    const sizeBytes = Number.parseInt(hex, 16);
    if (sizeBytes === 0) break;
    yield* exactly(raw, sizeBytes);
    if ((await readLine(raw)) !== "") throw new InvalidHttp("A chunk longer than its size");
  }
  // Trailers are read past: nothing of them is ever used.
  for (let lines = 0; (await readLine(raw)) !== ""; lines += 1) {
    if (lines === 100) throw new InvalidHttp("Trailers without end");
  }
}

async function readLine(raw: RawBytes): Promise<string> {
  const line = await readUntil(raw, "\n", CHUNK_LINE_BYTES_MAX);
  return line.replace(/\r$/, "");
}

/**
 * Text up to a mark, which is read and not returned.
 *
 * @throws {InvalidHttp} when it does not come within `bytesMax`; {@link CutShort}
 */
export async function readUntil(raw: RawBytes, mark: string, bytesMax: number): Promise<string> {
  let text = "";
  for (;;) {
    const bytes = await raw.read();
    if (bytes === undefined) throw new CutShort("The connection ended inside of an answer");
    const searchFrom = Math.max(0, text.length - mark.length + 1);
    const had = text.length;
    // Latin 1, in which a byte is a character and nothing is lost.
    text += Buffer.from(bytes.subarray(0, bytesMax + mark.length)).toString("latin1");
    const at = text.indexOf(mark, searchFrom);
    const used = at === -1 ? bytes.byteLength : at + mark.length - had;
    if (used < bytes.byteLength) raw.unread(bytes.subarray(used));
    else dropRest(bytes);
    if (at !== -1) return text.slice(0, at);
    if (text.length > bytesMax) throw new InvalidHttp("A line without end");
  }
}
