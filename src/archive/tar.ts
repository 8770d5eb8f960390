import { quoted } from "#base";
import { ByteReader } from "./byte-reader.ts";
import { decodeName } from "./entry-name.ts";
import { archiveBroken, archiveTooLarge, archiveUnsupported } from "./failure.ts";
import {
  type PaxRecords,
  parsePax,
  paxAttributes,
  paxNumber,
  paxText,
  paxTime,
  SPARSE_MAP,
} from "./pax.ts";
import {
  pairUp,
  parseGnuSegments,
  requireCount,
  requireMap,
  type SparseSegment,
  withHoles,
} from "./sparse.ts";
import {
  isZeroBlock,
  natural,
  parseTarHeader,
  readNumber,
  TAR_BLOCK_BYTES,
  type TarHeader,
  type TarTime,
} from "./tar-header.ts";

/** What a tar archive can hold. `other` is what only one program understands. */
export type TarEntryType =
  | "file"
  | "folder"
  | "symlink"
  | "hardlink"
  | "character-device"
  | "block-device"
  | "fifo"
  | "other";

/** One entry, with everything that headers of all kinds say of it. */
export interface TarEntry {
  /** As it stands in the archive; see `entry-name.ts` for bytes that are no UTF-8. */
  readonly path: string;
  readonly type: TarEntryType;
  /** Permissions and the bits for set-user-ID, set-group-ID, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file, holes included; 0 for what is no file. */
  readonly size: number;
  /** How many of these bytes are holes, which cost an archive nothing. */
  readonly holes: number;
  readonly mtime: TarTime;
  /** What a link points to; "" otherwise. */
  readonly linkPath: string;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Extended attributes by their whole names: `security.capability`. */
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  /** Where its header begins in the archive, in bytes. */
  readonly offset: number;
  /**
   * The bytes of the file, once, and only before the next entry is asked for. Chunks are read-only and
   * good until the next one.
   */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Extended headers of real archives have a few hundred bytes; Go's reader draws the line here too. */
const EXTENDED_BYTES_MAX = 1024 * 1024;

/** No longer path can be given to Linux (PATH_MAX). */
const PATH_BYTES_MAX = 4096;

/** What the kernel counts users and groups by. */
const ID_MAX = 0xffff_ffff;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  S: "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "folder",
  "6": "fifo",
};

/**
 * Reads a tar archive as it comes, entry by entry: V7, POSIX ustar and PAX, GNU with long names and
 * sparse files (formats old, 0.0, 0.1 and 1.0). Memory stays small whatever the archive holds.
 *
 * A body that nobody reads is skipped. After the last entry the source is read to its end, so that
 * whoever hashes it has seen all of it. An archive may end without its two empty blocks, as Go's reader
 * has it too: only who knows its hash can tell that it is whole.
 *
 * @throws {Failure} `archive-broken`, which names the offset; `archive-too-large` for headers that are
 *   out of all proportion; `archive-unsupported`; and what the source throws
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const bytes = new ByteReader(source);
  const globals = new Map<string, Uint8Array>();
  try {
    for (;;) {
      const found = await readHeaders(bytes, globals);
      if (found === undefined) break;
      const data = new EntryData(bytes, dataBytesOf(found), found.header.path);
      yield await toEntry(found, data);
      await data.skip();
    }
    await bytes.drain();
  } finally {
    await bytes.close();
  }
}

/** A header and what the extended headers before it say. */
interface FoundHeader {
  readonly header: TarHeader;
  readonly records: PaxRecords;
  readonly longPath: string | undefined;
  readonly longLink: string | undefined;
  readonly offset: number;
  /** Pieces of a sparse file of GNU's old format. */
  readonly oldSparse: OldSparse | undefined;
}

interface OldSparse {
  readonly segments: readonly SparseSegment[];
  readonly size: number;
}

/** How many extended headers may stand before an entry. Two or three are usual. */
const EXTENDED_HEADERS_MAX = 16;

async function readHeaders(
  bytes: ByteReader,
  globals: Map<string, Uint8Array>,
): Promise<FoundHeader | undefined> {
  let records: PaxRecords = new Map();
  let longPath: string | undefined;
  let longLink: string | undefined;
  for (let extended = 0; extended <= EXTENDED_HEADERS_MAX; extended += 1) {
    const { offset } = bytes;
    const block = bytes.tryRead(TAR_BLOCK_BYTES) ?? (await readBlock(bytes));
    if (block === undefined || isZeroBlock(block)) {
      if (extended === 0) return undefined;
      throw archiveBroken("it ends after an extended header, expected its entry", offset);
    }
    const header = parseTarHeader(block, offset);
    switch (header.typeflag) {
      case "x":
        records = parsePax(await readExtended(bytes, header), offset + TAR_BLOCK_BYTES);
        break;
      case "g": {
        const said = parsePax(await readExtended(bytes, header), offset + TAR_BLOCK_BYTES);
        for (const [key, value] of said) globals.set(key, value);
        requireSmall(globals);
        break;
      }
      case "L":
        longPath = untilNul(await readExtended(bytes, header));
        break;
      case "K":
        longLink = untilNul(await readExtended(bytes, header));
        break;
      default: {
        const oldSparse =
          header.typeflag === "S" ? await readOldSparse(bytes, block, offset) : undefined;
        const all = globals.size === 0 ? records : new Map([...globals, ...records]);
        return { header, records: all, longPath, longLink, offset, oldSparse };
      }
    }
  }
  throw archiveTooLarge("extended headers without end", `${EXTENDED_HEADERS_MAX} before an entry`);
}

function readBlock(bytes: ByteReader): Promise<Uint8Array | undefined> {
  return bytes.read(TAR_BLOCK_BYTES, "a header");
}

async function readExtended(bytes: ByteReader, { size }: TarHeader): Promise<Uint8Array> {
  if (size > EXTENDED_BYTES_MAX) {
    throw archiveTooLarge(`an extended header of ${size} bytes`, `${EXTENDED_BYTES_MAX}`);
  }
  const data = (await bytes.require(size, "an extended header")).slice();
  await bytes.skip(paddingOf(size), "an extended header");
  return data;
}

function requireSmall(globals: ReadonlyMap<string, Uint8Array>): void {
  let total = 0;
  for (const [key, value] of globals) total += key.length + value.byteLength;
  if (total > EXTENDED_BYTES_MAX) {
    throw archiveTooLarge(`global headers of ${total} bytes`, `${EXTENDED_BYTES_MAX}`);
  }
}

function untilNul(data: Uint8Array): string {
  const end = data.indexOf(0);
  return decodeName(end < 0 ? data : data.subarray(0, end));
}

/** The header has room for four pieces; more follow in blocks of 21. */
async function readOldSparse(
  bytes: ByteReader,
  block: Uint8Array,
  offset: number,
): Promise<OldSparse> {
  const header = block.slice();
  const segments = parseGnuSegments(header, 386, 4, offset);
  const size = natural(readNumber(header, 483, 12, "sparse size", offset), "size", offset);
  for (let hasMore = header[482] !== 0; hasMore; ) {
    const more = await bytes.require(TAR_BLOCK_BYTES, "the map of a sparse file");
    segments.push(...parseGnuSegments(more, 0, 21, offset));
    requireCount(segments.length);
    hasMore = more[504] !== 0;
  }
  return { segments, size };
}

/** Links, folders and devices have no data, whatever their header says (as Go's reader has it). */
function dataBytesOf({ header, records, offset }: FoundHeader): number {
  const hasData = !/^[1-6]$/.test(header.typeflag);
  return hasData ? (paxNumber(records, "size", offset) ?? header.size) : 0;
}

async function toEntry(found: FoundHeader, data: EntryData): Promise<TarEntry> {
  const { header, records, offset } = found;
  const sparse = await sparseOf(found, data);
  // After a map that stands before the data was read.
  const packedBytes = data.left;
  const path =
    paxText(records, "GNU.sparse.name", offset) ??
    paxText(records, "path", offset) ??
    found.longPath ??
    header.path;
  const linkPath = paxText(records, "linkpath", offset) ?? found.longLink ?? header.linkPath;
  requirePath(path, offset);
  requirePath(linkPath, offset);
  const type = TYPES[header.typeflag] ?? "other";
  const isFolder = type === "file" && path.endsWith("/");
  const size = sparse?.size ?? data.size;
  return {
    path,
    type: isFolder ? "folder" : type,
    mode: header.mode,
    uid: requireId(paxNumber(records, "uid", offset) ?? header.uid, offset),
    gid: requireId(paxNumber(records, "gid", offset) ?? header.gid, offset),
    size: isFolder ? 0 : size,
    holes: isFolder || sparse === undefined ? 0 : sparse.size - packedBytes,
    mtime: paxTime(records, "mtime", offset) ?? header.mtime,
    linkPath: type === "symlink" || type === "hardlink" ? linkPath : "",
    devMajor: header.devMajor,
    devMinor: header.devMinor,
    attributes: records.size === 0 ? NO_ATTRIBUTES : paxAttributes(records),
    offset,
    body: sparse === undefined ? data : withHoles(data, sparse.segments, sparse.size),
  };
}

const NO_ATTRIBUTES: ReadonlyMap<string, Uint8Array> = new Map();

function requirePath(path: string, offset: number): void {
  if (path.length > PATH_BYTES_MAX) {
    throw archiveTooLarge(
      `a path of ${path.length} characters that begins with ${quoted(path, 40)}`,
      `${PATH_BYTES_MAX}`,
    );
  }
  if (path.includes("\0")) throw archiveBroken("a path has a NUL byte", offset);
}

function requireId(id: number, offset: number): number {
  if (id <= ID_MAX) return id;
  throw archiveBroken(`an owner or group is ${id}, expected at most ${ID_MAX}`, offset);
}

/** Where the pieces of a sparse file lie, in whichever of the four formats it says so. */
async function sparseOf(found: FoundHeader, data: EntryData): Promise<OldSparse | undefined> {
  const { records, oldSparse, offset } = found;
  const sparse = oldSparse ?? (await paxSparse(records, data, offset));
  if (sparse !== undefined) {
    requireMap(sparse.segments, { size: sparse.size, packedBytes: data.left }, offset);
  }
  return sparse;
}

async function paxSparse(
  records: PaxRecords,
  data: EntryData,
  offset: number,
): Promise<OldSparse | undefined> {
  const map = paxText(records, SPARSE_MAP, offset);
  const isOne = paxText(records, "GNU.sparse.major", offset) === "1";
  if (map === undefined && !isOne) return undefined;
  const size =
    paxNumber(records, "GNU.sparse.realsize", offset) ??
    paxNumber(records, "GNU.sparse.size", offset);
  if (size === undefined) throw archiveBroken("a sparse file does not say its size", offset);
  const segments = isOne
    ? await readSparseMap(data, offset)
    : pairUp((map ?? "").split(","), offset);
  return { segments, size };
}

/** Format 1.0: the map stands before the data, a number a line, filled up to a block. */
async function readSparseMap(data: EntryData, offset: number): Promise<SparseSegment[]> {
  let text = "";
  let wanted = 1;
  const numbers: string[] = [];
  while (numbers.length < wanted) {
    if (data.left === 0) throw archiveBroken("the map of a sparse file does not end", offset);
    const block = await data.take(Math.min(TAR_BLOCK_BYTES, data.left));
    text += Buffer.from(block).toString("latin1");
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    numbers.push(...lines);
    if (text.length > TAR_BLOCK_BYTES) throw archiveBroken("a sparse map is no numbers", offset);
    const count = Number(numbers[0] ?? Number.NaN);
    if (numbers.length > 0) {
      requireCount(count);
      wanted = 1 + 2 * count;
    }
  }
  return pairUp(numbers.slice(1, wanted), offset);
}

function paddingOf(size: number): number {
  return (TAR_BLOCK_BYTES - (size % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** The data that follows a header. */
class EntryData implements AsyncIterable<Uint8Array> {
  readonly #bytes: ByteReader;
  readonly #path: string;
  readonly size: number;
  left: number;
  #padding: number;

  constructor(bytes: ByteReader, size: number, path: string) {
    this.#bytes = bytes;
    this.#path = path;
    this.size = size;
    this.left = size;
    this.#padding = paddingOf(size);
  }

  async take(count: number): Promise<Uint8Array> {
    const bytes = await this.#bytes.require(count, this.#what());
    this.left -= count;
    return bytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (this.left > 0) {
      const chunk =
        this.#bytes.tryRead(this.left) ?? (await this.#bytes.requireSome(this.left, this.#what()));
      this.left -= chunk.byteLength;
      yield chunk;
    }
  }

  /** To the next header. */
  async skip(): Promise<void> {
    const count = this.left + this.#padding;
    if (count === 0) return;
    this.left = 0;
    this.#padding = 0;
    if (this.#bytes.tryRead(count) === undefined) await this.#bytes.skip(count, this.#what());
  }

  #what(): string {
    return quoted(this.#path);
  }
}

/** @throws {Failure} `archive-unsupported` for entries that only one program understands */
export function refuseOther(entry: TarEntry): void {
  if (entry.type !== "other") return;
  throw archiveUnsupported(
    `the entry ${quoted(entry.path)} at byte ${entry.offset} is of a type of its own`,
    "files, folders, links, devices and FIFOs",
  );
}
