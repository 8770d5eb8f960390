import { quoted } from "#base";
import { decodeName } from "./entry-name.ts";
import { archiveBroken } from "./failure.ts";

/** Everything in a tar archive lies in blocks of this many bytes. */
export const TAR_BLOCK_BYTES = 512;

/** A moment since 1970, in UTC. Nanoseconds count up from the second, also before 1970. */
export interface TarTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** One header block as it stands there, before what extended headers say. */
export interface TarHeader {
  readonly path: string;
  readonly linkPath: string;
  /** The type as a character: `0` or NUL for a file, `5` a folder, `x` a PAX header, … */
  readonly typeflag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** How many bytes of data follow. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly devMajor: number;
  readonly devMinor: number;
  /** The `prefix` area is GNU's own, for times and sparse maps. */
  readonly isGnu: boolean;
}

const MAGIC_OFFSET = 257;

/** Whether a block is all zero: two of them end an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  if (block[0] !== 0) return false;
  return block.every((byte) => byte === 0);
}

/**
 * Reads a header block: V7, POSIX ustar or GNU (POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU
 * tar manual, "Basic Tar Format").
 *
 * @param offset of the block in the archive, for messages
 * @throws {Failure} `archive-broken` for a wrong checksum or a number that is none
 */
export function parseTarHeader(block: Uint8Array, offset: number): TarHeader {
  requireChecksum(block, offset);
  const magic = ascii(block, MAGIC_OFFSET, 8);
  const isGnu = magic === "ustar  \0";
  const isPosix = !isGnu && magic.startsWith("ustar");
  const hasFields = isGnu || isPosix;
  const number = (at: number, length: number, what: string) =>
    readNumber(block, at, length, `${what} field`, offset);
  const name = decodeName(textAt(block, 0, 100));
  const prefix = isPosix ? decodeName(textAt(block, 345, 155)) : "";
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    linkPath: decodeName(textAt(block, 157, 100)),
    typeflag: String.fromCharCode(block[156] ?? 0),
    mode: number(100, 8, "mode") & 0o7777,
    uid: natural(number(108, 8, "uid"), "uid", offset),
    gid: natural(number(116, 8, "gid"), "gid", offset),
    size: natural(number(124, 12, "size"), "size", offset),
    mtime: { seconds: number(136, 12, "mtime"), nanoseconds: 0 },
    devMajor: hasFields ? natural(number(329, 8, "devmajor"), "devmajor", offset) : 0,
    devMinor: hasFields ? natural(number(337, 8, "devminor"), "devminor", offset) : 0,
    isGnu,
  };
}

/** The sum of all bytes, those of the checksum itself taken as spaces; old tars summed signed bytes. */
function requireChecksum(block: Uint8Array, offset: number): void {
  let sum = 0;
  let negative = 0;
  for (let i = 0; i < TAR_BLOCK_BYTES; i += 1) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
    sum += byte;
    if (byte > 0x7f) negative += 0x100;
  }
  const said = readNumber(block, 148, 8, "checksum field", offset);
  if (said === sum || said === sum - negative) return;
  throw archiveBroken(
    `its header begins with ${quoted(ascii(block, 0, 16))} and has the wrong checksum, expected a tar header`,
    offset,
  );
}

/**
 * A number in octal, or in base 256 where the first bit is set (GNU, star), which may be negative.
 *
 * @throws {Failure} `archive-broken`
 */
export function readNumber(
  block: Uint8Array,
  at: number,
  length: number,
  what: string,
  offset: number,
): number {
  const first = block[at] ?? 0;
  if (first >= 0x80) return readBase256(block.subarray(at, at + length), what, offset);
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i += 1;
  for (; i < end; i += 1) {
    const digit = (block[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; i < end; i += 1) {
    if (block[i] !== 0x20 && block[i] !== 0) throw notNumber(block, at, length, what, offset);
  }
  return value;
}

function readBase256(bytes: Uint8Array, what: string, offset: number): number {
  const isNegative = ((bytes[0] ?? 0) & 0x40) !== 0;
  let value = BigInt((bytes[0] ?? 0) & 0x7f);
  for (const byte of bytes.subarray(1)) value = (value << 8n) | BigInt(byte);
  if (isNegative) value -= 1n << BigInt(bytes.byteLength * 8 - 1);
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw archiveBroken(`its ${what} is ${value}, which no file has`, offset);
}

function notNumber(
  block: Uint8Array,
  at: number,
  length: number,
  what: string,
  offset: number,
): Error {
  return archiveBroken(
    `its ${what} is ${quoted(ascii(block, at, length))}, expected an octal number`,
    offset,
  );
}

/** @throws {Failure} `archive-broken` for a negative number */
export function natural(value: number, what: string, offset: number): number {
  if (value >= 0) return value;
  throw archiveBroken(`its ${what} is ${value}, expected no negative number`, offset);
}

/** The bytes of a field before its first NUL. */
function textAt(block: Uint8Array, at: number, length: number): Uint8Array {
  const end = block.indexOf(0, at);
  return block.subarray(at, end < at || end > at + length ? at + length : end);
}

function ascii(block: Uint8Array, at: number, length: number): string {
  return Buffer.from(block.buffer, block.byteOffset + at, length).toString("latin1");
}
