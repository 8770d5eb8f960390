import { TAR_BLOCK_BYTES } from "./tar-header.ts";

/** What stands for the end of an archive: two empty blocks. */
export const TAR_END: Uint8Array = new Uint8Array(2 * TAR_BLOCK_BYTES);

/** A plain file or folder of root's, as archives of images have them. */
export interface PlainEntry {
  /** At most 100 bytes of ASCII; a slash at the end makes it a folder. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * The header of an entry (POSIX.1-2017 `pax`, "ustar Interchange Format"), with nothing in it that
 * differs from one day or machine to the next. Sizes above 8 GiB are written in base 256, as GNU tar
 * and Go do it.
 */
export function plainHeader({ path, size }: PlainEntry): Uint8Array {
  const header = new Uint8Array(TAR_BLOCK_BYTES);
  const write = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
  const isFolder = path.endsWith("/");
  write(0, path);
  write(100, `${octal(isFolder ? 0o755 : 0o644, 7)}\0`);
  write(108, `${octal(0, 7)}\0`);
  write(116, `${octal(0, 7)}\0`);
  if (size < 8 ** 11) write(124, `${octal(size, 11)}\0`);
  else writeBase256(header.subarray(124, 136), size);
  write(136, `${octal(0, 11)}\0`);
  write(148, " ".repeat(8));
  write(156, isFolder ? "5" : "0");
  write(257, "ustar\x0000");
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  write(148, `${octal(checksum, 6)}\0 `);
  return header;
}

/** What fills the last block of so many bytes. */
export function paddingAfter(size: number): Uint8Array {
  return new Uint8Array((TAR_BLOCK_BYTES - (size % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES);
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function writeBase256(field: Uint8Array, value: number): void {
  let left = value;
  for (let i = field.byteLength - 1; i > 0; i -= 1) {
    field[i] = left % 256;
    left = Math.floor(left / 256);
  }
  field[0] = 0x80;
}
