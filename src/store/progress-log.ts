import { crc32 } from "node:zlib";
import { type ByteRange, withRange } from "#content";
import { type Disk, type DiskFile, readText } from "./disk.ts";

/** What is known of content of which not all is here. */
export interface Progress {
  /** Size of the whole content in bytes. */
  readonly size: number;
  /** Given to the system since the machine was started: it outlives the process. Ascending. */
  readonly written: readonly ByteRange[];
  /** Made durable: it outlives a power cut. Ascending, and part of what is written. */
  readonly synced: readonly ByteRange[];
}

/**
 * The record of one content's progress: lines that each add one thing to what is known, with a
 * checksum. A line that is torn or lost takes its own news with it and no other: what is left is
 * true after every crash.
 */
export class ProgressLog {
  readonly #file: DiskFile;
  readonly #bootId: string;
  #bytes: number;

  private constructor(file: DiskFile, bootId: string, bytes: number) {
    this.#file = file;
    this.#bootId = bootId;
    this.#bytes = bytes;
  }

  /** Begins the log of content of that size in bytes, where there must be none. */
  static async create(
    disk: Disk,
    path: string,
    size: number,
    bootId: string,
  ): Promise<ProgressLog> {
    let file: DiskFile | undefined;
    try {
      file = await disk.create(path);
      const log = new ProgressLog(file, bootId, 0);
      await log.#append([`size ${size}`]);
      return log;
    } catch (error) {
      await file?.close().catch(() => {});
      await disk.remove(path).catch(() => {});
      throw error;
    }
  }

  /** Opens a log to go on with it; undefined when there is none that tells of any content. */
  static async open(
    disk: Disk,
    path: string,
    bootId: string,
  ): Promise<{ readonly log: ProgressLog; readonly progress: Progress } | undefined> {
    const text = await readText(disk, path);
    const progress = readLines(text ?? "", bootId);
    const file = progress === undefined ? undefined : await disk.edit(path);
    if (text === undefined || progress === undefined || file === undefined) return undefined;
    const log = new ProgressLog(file, bootId, new TextEncoder().encode(text).byteLength);
    // What was torn at the end must not spoil the line that follows.
    log.#bytes += 1;
    return { log, progress };
  }

  /** Tells that ranges were given to the system. Calls may overlap. */
  addWritten(ranges: readonly ByteRange[]): Promise<void> {
    return this.#append(ranges.map(({ start, end }) => `written ${this.#bootId} ${start} ${end}`));
  }

  /** Tells that ranges are durable. The news lasts once the log itself is synced. */
  addSynced(ranges: readonly ByteRange[]): Promise<void> {
    return this.#append(ranges.map(({ start, end }) => `synced ${start} ${end}`));
  }

  /** Takes back what was written since the machine was started, and is not durable. */
  distrust(): Promise<void> {
    return this.#append([`distrust ${this.#bootId}`]);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #append(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const text = lines.map((line) => `${crc32(line)} ${line}\n`).join("");
    const bytes = new TextEncoder().encode(text);
    const offset = this.#bytes;
    this.#bytes += bytes.byteLength;
    await this.#file.write(bytes, offset);
  }
}

/**
 * Reads a log that nobody of this process writes; undefined when it tells of no content.
 *
 * @param bootId what was written and not synced counts only when it was in this start of the machine
 */
export async function readProgress(
  disk: Disk,
  path: string,
  bootId: string,
): Promise<Progress | undefined> {
  return readLines((await readText(disk, path)) ?? "", bootId);
}

function readLines(text: string, bootId: string): Progress | undefined {
  let size: number | undefined;
  let written: readonly ByteRange[] = [];
  let synced: readonly ByteRange[] = [];
  for (const line of text.split(/[\n\0]+/)) {
    const news = line.slice(line.indexOf(" ") + 1);
    if (line !== `${crc32(news)} ${news}`) continue;
    const [kind, ...words] = news.split(" ");
    if (kind === "size") size = Number(words[0]);
    if (kind === "written" && words[0] === bootId) written = withRange(written, rangeOf(words, 1));
    if (kind === "synced") synced = withRange(synced, rangeOf(words, 0));
    if (kind === "distrust" && words[0] === bootId) written = [];
  }
  if (size === undefined) return undefined;
  for (const range of synced) written = withRange(written, range);
  return { size, written, synced };
}

function rangeOf(words: readonly string[], at: number): ByteRange {
  return { start: Number(words[at]), end: Number(words[at + 1]) };
}
