import { type ByteRange, bytesIn, gapsIn, withRange } from "#content";
import type { Disk, DiskFile } from "./disk.ts";
import { type Progress, ProgressLog, readProgress } from "./progress-log.ts";
import { sharedRun } from "./shared-run.ts";

/** Where content that is not all here is kept, and what it will be. */
export interface PartialPlace {
  readonly path: string;
  readonly folder: string;
  /** Size of the whole content in bytes. */
  readonly size: number;
  /** {@link Disk.bootId} of now. */
  readonly bootId: string;
  /** Kept when it is left unfinished. Otherwise nothing is recorded, and it goes with its ingest. */
  readonly isKept: boolean;
}

/** Until so many bytes are written there is no record: most content is done before. */
const UNRECORDED_BYTES = 256 * 1024;

/**
 * The bytes of content that is not all here, in a file under `ingest/`, with a record beside it of
 * which of them can be trusted to be there after the death of the process, and of the machine.
 */
export class PartialFile {
  readonly #disk: Disk;
  readonly #place: PartialPlace;
  readonly #file: DiskFile;
  #log: Promise<ProgressLog> | undefined;
  /** What is written, and not in the log yet. */
  #unrecorded: readonly ByteRange[] = [];
  /** What the log says is synced. */
  #recordedSynced: readonly ByteRange[];
  #written: readonly ByteRange[];
  #synced: readonly ByteRange[];
  #isInFolder = false;
  #isOpen = true;
  /**
   * Makes what was written before the call survive a power cut, and records that it does: the data
   * first, then the record.
   */
  readonly sync = sharedRun(() => this.#syncAll());

  private constructor(
    disk: Disk,
    place: PartialPlace,
    file: DiskFile,
    left?: { readonly log: ProgressLog; readonly progress: Progress },
  ) {
    this.#disk = disk;
    this.#place = place;
    this.#file = file;
    this.#log = left && Promise.resolve(left.log);
    this.#written = left?.progress.written ?? [];
    this.#synced = left?.progress.synced ?? [];
    this.#recordedSynced = this.#synced;
  }

  /** Opens what an earlier ingest left at this place, or begins anew. Rejects with the system's error. */
  static async open(disk: Disk, place: PartialPlace): Promise<PartialFile> {
    const { path, isKept } = place;
    const left = isKept ? await PartialFile.#openLeft(disk, place) : undefined;
    if (left !== undefined) return left;
    await removePartial(disk, path);
    return new PartialFile(disk, place, await disk.create(path));
  }

  static async #openLeft(disk: Disk, place: PartialPlace): Promise<PartialFile | undefined> {
    const { path, bootId } = place;
    const left = await ProgressLog.open(disk, logPath(path), bootId);
    if (left === undefined) return undefined;
    try {
      const isWhole = await isSound(disk, path, left.progress, place);
      const file = isWhole ? await disk.edit(path) : undefined;
      if (file !== undefined) return new PartialFile(disk, place, file, left);
    } catch (error) {
      await left.log.close().catch(() => {});
      throw error;
    }
    await left.log.close();
    return undefined;
  }

  /** What is here, in ascending order. */
  get written(): readonly ByteRange[] {
    return this.#written;
  }

  get unsyncedBytes(): number {
    return bytesIn(this.#written) - bytesIn(this.#synced);
  }

  /** Returns once the bytes would survive the death of the process. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await this.#file.write(bytes, offset);
    const range = { start: offset, end: offset + bytes.byteLength };
    this.#written = withRange(this.#written, range);
    this.#unrecorded = [...this.#unrecorded, range];
    if (this.#log !== undefined || bytesIn(this.#written) > UNRECORDED_BYTES) await this.#record();
  }

  read(buffer: Uint8Array, offset: number): Promise<number> {
    return this.#file.read(buffer, offset);
  }

  /** Makes the data durable as the last step before it is published; nothing is recorded. */
  async syncData(): Promise<void> {
    const written = this.#written;
    try {
      await this.#file.sync();
    } catch (error) {
      await this.#distrust();
      throw error;
    }
    this.#synced = written;
  }

  /** Closes the data. What is recorded of it can still be brought up to date by {@link keep}. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#file.close();
  }

  /** Ends it once its data has another name: the record goes. It does not fail. */
  async release(): Promise<void> {
    const isRecorded = this.#log !== undefined;
    await this.#closeAll();
    if (isRecorded) await this.#disk.remove(logPath(this.#place.path)).catch(() => {});
  }

  /** Leaves everything so that a later ingest can go on with it. It does not fail: less is kept then. */
  async keep(): Promise<void> {
    if (!this.#place.isKept || this.#written.length === 0) return this.discard();
    await this.sync().catch(() => {});
    await this.#closeAll();
  }

  /** Removes it. It does not fail: what is left over is removed when the store is next opened. */
  async discard(): Promise<void> {
    await this.#closeAll();
    await removePartial(this.#disk, this.#place.path).catch(() => {});
  }

  async #closeAll(): Promise<void> {
    await this.close().catch(() => {});
    await this.#log?.then((log) => log.close()).catch(() => {});
    this.#log = undefined;
  }

  async #syncAll(): Promise<void> {
    if (this.unsyncedBytes > 0) await this.syncData();
    const log = await this.#record();
    if (log === undefined) return;
    const synced = this.#synced;
    await log.addSynced(synced.flatMap((range) => gapsIn(this.#recordedSynced, range)));
    await log.sync();
    this.#recordedSynced = synced;
    if (this.#isInFolder) return;
    await this.#disk.syncFolder(this.#place.folder);
    this.#isInFolder = true;
  }

  /** Brings the log up to what is written, and begins it when there is none. */
  async #record(): Promise<ProgressLog | undefined> {
    if (!this.#place.isKept) return undefined;
    this.#log ??= this.#createLog();
    const log = await this.#log;
    const news = this.#unrecorded;
    this.#unrecorded = [];
    try {
      await log.addWritten(news);
    } catch (error) {
      this.#unrecorded = [...news, ...this.#unrecorded];
      throw error;
    }
    return log;
  }

  async #createLog(): Promise<ProgressLog> {
    const { path, size, bootId } = this.#place;
    try {
      return await ProgressLog.create(this.#disk, logPath(path), size, bootId);
    } catch (error) {
      this.#log = undefined;
      throw error;
    }
  }

  /**
   * After a failed fsync the system may have dropped what it could not write, and a later one
   * succeeds all the same: only what was durable before counts.
   */
  async #distrust(): Promise<void> {
    this.#written = this.#synced;
    this.#unrecorded = [];
    const removeLog = () => this.#disk.remove(logPath(this.#place.path)).catch(() => {});
    await this.#log?.then((log) => log.distrust()).catch(removeLog);
  }
}

/** The log of the partial content at this path. */
export function logPath(path: string): string {
  return `${path}.log`;
}

/** Removes partial content and its log: the log first, for without it the content is junk. */
export async function removePartial(disk: Disk, path: string): Promise<void> {
  await disk.remove(logPath(path));
  await disk.remove(path);
}

/** What an ingest could go on with; a size that is not given may be any. */
interface Wanted {
  readonly size?: number;
  readonly bootId: string;
}

/** What an ingest could go on with at this path, in ascending order; nothing when it is spoiled. */
export async function readPartial(
  disk: Disk,
  path: string,
  wanted: Wanted,
): Promise<readonly ByteRange[]> {
  const progress = await readProgress(disk, logPath(path), wanted.bootId);
  if (progress === undefined || !(await isSound(disk, path, progress, wanted))) return [];
  return progress.written;
}

/** Whether the file is what its log is of. */
async function isSound(
  disk: Disk,
  path: string,
  { size, written }: Progress,
  wanted: Wanted,
): Promise<boolean> {
  if (wanted.size !== undefined && wanted.size !== size) return false;
  const fileBytes = (await disk.sizeOf(path)) ?? 0;
  return fileBytes <= size && fileBytes >= (written.at(-1)?.end ?? 0);
}
