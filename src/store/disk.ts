import { constants, openSync, renameSync, statfsSync, statSync, utimesSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { systemErrorCode } from "#base";
import { NO_BYPASS, systemFile } from "./system-file.ts";

/** A file that is open. Offsets and sizes are bytes. */
export interface DiskFile {
  /** Writes all of the bytes at the offset. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Reads into the buffer from the offset; gives how many bytes came, 0 at the end of the file. */
  read(buffer: Uint8Array, offset: number): Promise<number>;
  /** Takes away all from there on. */
  truncate(bytes: number): Promise<void>;
  /** Returns once what was written would survive a power cut. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** What tells a file from another that takes its name. */
export interface FileStatus {
  readonly size: number;
  /** No other file has it while this one is there, or open. */
  readonly inode: number;
  /** When the file last changed, its name included: for a blob, when it was committed. Milliseconds since 1970. */
  readonly changedMs: number;
  /** When it was last written or {@link Disk.touch touched}; a rename leaves it. Milliseconds since 1970. */
  readonly modifiedMs: number;
}

/**
 * What the store asks of a file system: the seam at which tests make the n-th operation fail.
 * Everything rejects with the system's own error.
 */
export interface Disk {
  /** Creates the folder and those above it; no error when it is there. */
  makeFolder(path: string): Promise<void>;
  /** Names of the entries of a folder; none when there is no such folder. */
  list(path: string): Promise<readonly string[]>;
  /** Size of a regular file; undefined when there is none of that name. */
  sizeOf(path: string): Promise<number | undefined>;
  /** What a regular file is; undefined when there is none of that name. */
  status(path: string): Promise<FileStatus | undefined>;
  /** Says that a regular file was modified at that time; false when there is none of that name. */
  touch(path: string, atMs: number): Promise<boolean>;
  /** Makes a file, which must not exist yet, and opens it for reading and writing. */
  create(path: string): Promise<DiskFile>;
  /** Opens a file for reading; undefined when there is none of that name. */
  open(path: string): Promise<DiskFile | undefined>;
  /**
   * Opens a file to read what the disk holds, and not what memory remembers of it, where the file
   * system can; undefined when there is none of that name. Offsets and buffers must be whole blocks.
   */
  openPastCache(path: string): Promise<DiskFile | undefined>;
  /** Opens a file for reading and writing; undefined when there is none of that name. */
  edit(path: string): Promise<DiskFile | undefined>;
  /** Moves a file within the file system, over one that may be there, at once or not at all. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with all in it; no error when there is none. */
  remove(path: string): Promise<void>;
  /** Returns once the names in a folder would survive a power cut. */
  syncFolder(path: string): Promise<void>;
  /** Bytes that this process may still write to the file system. */
  freeBytes(path: string): Promise<number>;
  /**
   * Differs from one start of the machine to the next: what was written and not synced is there only
   * as long as it stays. Undefined where the system has none.
   */
  bootId(): Promise<string | undefined>;
}

/**
 * The machine's disk. What the system answers from its memory is asked for on this thread: handing a
 * `stat` of 2 µs to another costs 40 (measured), and there are ten for each blob. What waits for the
 * disk never is.
 */
export const systemDisk: Disk = {
  async makeFolder(path) {
    await mkdir(path, { recursive: true });
  },
  list: async (path) => (await unlessMissing(() => readdir(path))) ?? [],
  async sizeOf(path) {
    const stats = await unlessMissing(() => statSync(path));
    return stats?.isFile() ? stats.size : undefined;
  },
  async status(path) {
    const stats = await unlessMissing(() => statSync(path));
    if (!stats?.isFile()) return undefined;
    return {
      size: stats.size,
      inode: stats.ino,
      changedMs: stats.ctimeMs,
      modifiedMs: stats.mtimeMs,
    };
  },
  async touch(path, atMs) {
    const touched = await unlessMissing(() => {
      utimesSync(path, atMs / 1000, atMs / 1000);
      return true;
    });
    return touched ?? false;
  },
  create: async (path) => systemFile(path, openSync(path, "wx+", 0o644)),
  open: (path) => openFile(path, "r"),
  async openPastCache(path) {
    try {
      return await openFile(path, constants.O_RDONLY | constants.O_DIRECT);
    } catch (error) {
      if (!NO_BYPASS.has(systemErrorCode(error))) throw error;
      return openFile(path, "r");
    }
  },
  edit: (path) => openFile(path, "r+"),
  async rename(from, to) {
    renameSync(from, to);
  },
  async remove(path) {
    await rm(path, { force: true, recursive: true });
  },
  async syncFolder(path) {
    const folder = await open(path, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
  async freeBytes(path) {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  },
  async bootId() {
    const id = await readFile("/proc/sys/kernel/random/boot_id", "latin1").catch(() => "");
    return id.trim() || undefined;
  },
};

async function openFile(path: string, flags: "r" | "r+" | number): Promise<DiskFile | undefined> {
  const fd = await unlessMissing(() => openSync(path, flags));
  return fd === undefined ? undefined : systemFile(path, fd);
}

async function unlessMissing<T>(find: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await find();
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes a small file so that a reader, and the next start after a power cut, sees all of it or the one before. */
export async function replaceFile(
  disk: Disk,
  { path, folder, draft }: { path: string; folder: string; draft: string },
  text: string,
): Promise<void> {
  await disk.remove(draft);
  const file = await disk.create(draft);
  try {
    await file.write(new TextEncoder().encode(text), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(draft, path);
  await disk.syncFolder(folder);
}

/** A small file as text, or undefined when there is none. */
export async function readText(disk: Disk, path: string): Promise<string | undefined> {
  const size = await disk.sizeOf(path);
  const file = size === undefined ? undefined : await disk.open(path);
  if (size === undefined || file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(size);
    let offset = 0;
    for (let count = -1; count !== 0 && offset < size; offset += count) {
      count = await file.read(bytes.subarray(offset), offset);
    }
    return new TextDecoder().decode(bytes.subarray(0, offset));
  } finally {
    await file.close();
  }
}
