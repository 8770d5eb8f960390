/**
 * File names on Linux are bytes, and an archive may hold any. Here they are strings in which a byte
 * that is not UTF-8 stands as a lone surrogate, U+DC80 to U+DCFF (as Python does it, PEP 383): names
 * that are text read as they should, and every name can be written back byte for byte.
 */
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const ESCAPE_BASE = 0xdc00;
/** With `u`: halves of pairs, of which other characters consist, are not meant. */
const ESCAPED = /[\udc80-\udcff]/u;

/** The name for these bytes; see `encodeName` for the way back. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeBroken(bytes);
  }
}

/** The bytes of a name, in the form that the file system's functions take fastest. */
export function encodeName(name: string): string | Buffer {
  if (!ESCAPED.test(name)) return name;
  const parts: Buffer[] = [];
  for (const [run = ""] of name.matchAll(/[\udc80-\udcff]+|[^\udc80-\udcff]+/gu)) {
    const isEscaped = ESCAPED.test(run);
    parts.push(
      isEscaped
        ? Buffer.from(Array.from(run, (unit) => unit.charCodeAt(0) - ESCAPE_BASE))
        : Buffer.from(run),
    );
  }
  return Buffer.concat(parts);
}

/** How many bytes the name has. */
export function nameBytes(name: string): number {
  return Buffer.byteLength(encodeName(name));
}

/** Longest sequences first; a byte that begins none is escaped by itself. */
function decodeBroken(bytes: Uint8Array): string {
  let name = "";
  for (let at = 0; at < bytes.length; ) {
    const length = [4, 3, 2, 1].find((count) => isCharacter(bytes.subarray(at, at + count), count));
    name +=
      length === undefined
        ? String.fromCharCode(ESCAPE_BASE + (bytes[at] ?? 0))
        : strict.decode(bytes.subarray(at, at + length));
    at += length ?? 1;
  }
  return name;
}

/** Whether these bytes are one character of that length. */
function isCharacter(bytes: Uint8Array, length: number): boolean {
  const [first = 0] = bytes;
  const expected = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (bytes.length !== length || expected !== length) return false;
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
