import { encodeName, readTar, type TarEntry } from "#archive";

const BLOCK = 512;

const FLAGS = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  folder: "5",
  fifo: "6",
  other: "V",
} as const;

/** What a test puts into an archive; all but the path has a default. */
export interface TarSample extends Partial<Omit<TarEntry, "body" | "offset" | "size">> {
  readonly path: string;
  readonly body?: Uint8Array | string;
}

/** A tar archive of these entries, with PAX headers where ustar has no room. */
export function tarOf(samples: readonly TarSample[]): Uint8Array<ArrayBuffer> {
  const blocks = samples.flatMap(entryBlocks);
  return new Uint8Array(Buffer.concat([...blocks, new Uint8Array(2 * BLOCK)]));
}

function entryBlocks(sample: TarSample): Uint8Array[] {
  const body = bytesOf(sample.body ?? "");
  const records = paxRecords(sample, body.byteLength);
  const pax = Buffer.concat(records);
  const extended =
    records.length === 0
      ? []
      : [header({ path: "PaxHeaders/0", flag: "x", size: pax.byteLength }), ...padded(pax)];
  const { type = sample.path.endsWith("/") ? "folder" : "file", mtime } = sample;
  const main = header({
    ...sample,
    flag: FLAGS[type],
    size: body.byteLength,
    seconds: Math.max(0, mtime?.seconds ?? 0),
  });
  return [...extended, main, ...padded(body)];
}

/** One record: its length counts the digits of the length too. */
export function paxRecord(key: string, value: Uint8Array | string): Uint8Array {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), bytesOf(value), Buffer.from("\n")]);
  let length = rest.byteLength;
  while (String(length).length + rest.byteLength !== length) {
    length = String(length).length + rest.byteLength;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function paxRecords(sample: TarSample, size: number): Uint8Array[] {
  const { path, linkPath = "", mtime, attributes, uid = 0, gid = 0 } = sample;
  const records: Uint8Array[] = [];
  const add = (key: string, value: Uint8Array | string) => records.push(paxRecord(key, value));
  if (bytesOf(path).byteLength > 100) add("path", bytesOf(path));
  if (bytesOf(linkPath).byteLength > 100) add("linkpath", bytesOf(linkPath));
  if (uid >= 8 ** 7) add("uid", String(uid));
  if (gid >= 8 ** 7) add("gid", String(gid));
  if (size >= 8 ** 11) add("size", String(size));
  if (mtime !== undefined && (mtime.nanoseconds !== 0 || mtime.seconds < 0)) {
    add("mtime", timeText(mtime));
  }
  for (const [name, value] of attributes ?? []) add(`SCHILY.xattr.${name}`, value);
  return records;
}

function timeText({ seconds, nanoseconds }: { seconds: number; nanoseconds: number }): string {
  const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  const size = total < 0n ? -total : total;
  const fraction = String(size % 1_000_000_000n).padStart(9, "0");
  return `${total < 0n ? "-" : ""}${size / 1_000_000_000n}.${fraction}`;
}

/** What a header block says. */
export interface HeaderSample {
  readonly path: string;
  readonly flag: string;
  readonly size: number;
  readonly linkPath?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly seconds?: number;
  readonly devMajor?: number;
  readonly devMinor?: number;
}

/** A header block of POSIX ustar; what has no room is cut, for a PAX header to say it. */
export function header(sample: HeaderSample): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const text = (at: number, value: string, length: number) =>
    block.set(bytesOf(value).subarray(0, length), at);
  const octal = (at: number, value: number, length: number) =>
    text(at, (value % 8 ** (length - 1)).toString(8).padStart(length - 1, "0"), length);
  text(0, sample.path, 100);
  octal(100, sample.mode ?? 0o644, 8);
  octal(108, sample.uid ?? 0, 8);
  octal(116, sample.gid ?? 0, 8);
  octal(124, sample.size, 12);
  octal(136, sample.seconds ?? 0, 12);
  text(148, " ".repeat(8), 8);
  text(156, sample.flag, 1);
  text(157, sample.linkPath ?? "", 100);
  text(257, "ustar\x0000", 8);
  octal(329, sample.devMajor ?? 0, 8);
  octal(337, sample.devMinor ?? 0, 8);
  return withChecksum(block);
}

/** The block with the checksum that it should have. */
export function withChecksum(block: Uint8Array): Uint8Array {
  block.set(Buffer.from(" ".repeat(8)), 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

/** Data, filled up to whole blocks. */
export function padded(data: Uint8Array): Uint8Array[] {
  return [data, new Uint8Array((BLOCK - (data.byteLength % BLOCK)) % BLOCK)];
}

/** Bytes as a stream of chunks of that size. */
export function streamOf(
  bytes: Uint8Array,
  chunkBytes = 65_536,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.byteLength) controller.enqueue(bytes.slice(at, at + chunkBytes));
      else controller.close();
      at += chunkBytes;
    },
  });
}

function bytesOf(value: Uint8Array | string): Uint8Array {
  return typeof value === "string" ? Buffer.from(encodeName(value)) : value;
}

/** An entry with its body read. */
export interface ReadEntry extends Omit<TarEntry, "body"> {
  readonly content: string;
}

/** All entries of an archive, which comes in chunks of so many bytes. */
export async function readEntries(archive: Uint8Array, chunkBytes?: number): Promise<ReadEntry[]> {
  const entries: ReadEntry[] = [];
  for await (const { body, ...entry } of readTar(streamOf(archive, chunkBytes))) {
    const parts: Uint8Array[] = [];
    for await (const chunk of body) parts.push(chunk.slice());
    entries.push({ ...entry, content: Buffer.concat(parts).toString("latin1") });
  }
  return entries;
}
