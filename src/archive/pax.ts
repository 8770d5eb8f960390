import { quoted } from "#base";
import { decodeName } from "./entry-name.ts";
import { archiveBroken } from "./failure.ts";
import type { TarTime } from "./tar-header.ts";

/** What extended headers say, by keyword. Values are bytes: those of attributes are no text. */
export type PaxRecords = ReadonlyMap<string, Uint8Array>;

const NEWLINE = 0x0a;
const SPACE = 0x20;
const EQUALS = 0x3d;

/** Sparse files of GNU's PAX format 0.0 repeat these two; they are kept as the list of format 0.1. */
const SPARSE_PAIR: ReadonlySet<string> = new Set(["GNU.sparse.offset", "GNU.sparse.numbytes"]);

/** Where {@link SPARSE_PAIR} is kept. */
export const SPARSE_MAP = "GNU.sparse.map";

/**
 * Reads the records `LENGTH KEYWORD=VALUE\n` of a PAX header (POSIX.1-2017 `pax`, "pax Extended
 * Header"). The last of several records of a keyword counts, and an empty value takes back what was
 * said before.
 *
 * @throws {Failure} `archive-broken`
 */
export function parsePax(data: Uint8Array, offset: number): Map<string, Uint8Array> {
  const records = new Map<string, Uint8Array>();
  const sparse: string[] = [];
  for (let at = 0; at < data.byteLength; ) {
    // GNU tar pads some headers with NUL bytes.
    if (data[at] === 0) break;
    const { key, value, next } = parseRecord(data, at, offset);
    if (SPARSE_PAIR.has(key)) sparse.push(decodeName(value));
    else records.set(key, value);
    at = next;
  }
  if (sparse.length > 0) records.set(SPARSE_MAP, new TextEncoder().encode(sparse.join(",")));
  return records;
}

function parseRecord(data: Uint8Array, at: number, offset: number) {
  let length = 0;
  let i = at;
  for (; i < data.byteLength && data[i] !== SPACE; i += 1) {
    const digit = (data[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9 || i - at > 8) throw brokenRecord(data, at, offset);
    length = length * 10 + digit;
  }
  const next = at + length;
  const equals = data.indexOf(EQUALS, i);
  const isRecord =
    i > at && next <= data.byteLength && data[next - 1] === NEWLINE && equals > i && equals < next;
  if (!isRecord) throw brokenRecord(data, at, offset);
  const key = decodeName(data.subarray(i + 1, equals));
  // A copy: the block it lies in is read into again.
  return { key, value: data.slice(equals + 1, next - 1), next };
}

function brokenRecord(data: Uint8Array, at: number, offset: number): Error {
  const start = Buffer.from(data.subarray(at, at + 40)).toString("latin1");
  return archiveBroken(
    `its extended header has ${quoted(start)}, expected "LENGTH KEYWORD=VALUE"`,
    offset + at,
  );
}

/** A whole number of a record, or undefined. @throws {Failure} `archive-broken` */
export function paxNumber(records: PaxRecords, key: string, offset: number): number | undefined {
  const text = paxText(records, key);
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw archiveBroken(`its ${key} is ${quoted(text, 40)}, expected a whole number`, offset);
}

/** A time of a record, seconds with a fraction of any length, or undefined. @throws {Failure} `archive-broken` */
export function paxTime(records: PaxRecords, key: string, offset: number): TarTime | undefined {
  const text = paxText(records, key);
  if (text === undefined) return undefined;
  const [, minus, whole = "", fraction = ""] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text) ?? [];
  if (whole === "") {
    throw archiveBroken(`its ${key} is ${quoted(text, 40)}, expected seconds`, offset);
  }
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  const seconds = Number(whole);
  if (minus !== "-") return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** A text of a record, or undefined when there is none or it was taken back. @throws {Failure} `archive-broken` for NUL */
export function paxText(records: PaxRecords, key: string, offset = 0): string | undefined {
  const value = records.get(key);
  if (value === undefined || value.byteLength === 0) return undefined;
  if (value.includes(0)) {
    throw archiveBroken(`its ${key} has a NUL byte, which no name has`, offset);
  }
  return decodeName(value);
}

const XATTR = "SCHILY.xattr.";

/** The extended attributes of the file, by their whole names: `security.capability`. */
export function paxAttributes(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  const found = [...records].filter(([key, value]) => key.startsWith(XATTR) && value.length > 0);
  return new Map(found.map(([key, value]) => [key.slice(XATTR.length), value]));
}
