import {
  closeSync,
  constants,
  fsync,
  ftruncateSync,
  openSync,
  read,
  write,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";
import { systemErrorCode } from "#base";
import type { DiskFile } from "./disk.ts";

/**
 * What bypasses the page cache must begin and end at multiples of this, in the file and in memory. No
 * disk in use has larger blocks; one with smaller ones is content with it.
 */
export const BLOCK_BYTES = 4096;

/** A copy of less than this into the page cache takes less time than to hand it to another thread. */
const COPY_BYTES_MAX = 64 * 1024;

/** Less is not worth a wait for the disk: the page cache makes more of it before it goes there. */
const BYPASS_BYTES_MIN = 256 * 1024;

/** What a file system answers that has no such writes, or wants them aligned otherwise. */
export const NO_BYPASS: ReadonlySet<string | undefined> = new Set([
  "EINVAL",
  "EOPNOTSUPP",
  "ENOTSUP",
]);

const syncFd = promisify(fsync);

const writeFd = (fd: number, bytes: Uint8Array, offset: number): Promise<number> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.byteLength, offset, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });

const readFd = (fd: number, buffer: Uint8Array, offset: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.byteLength, offset, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });

/**
 * A file of the machine's disk. The whole blocks of large writes go past the page cache, straight to
 * the disk (`O_DIRECT`), and the rest through it; the kernel keeps both coherent.
 *
 * Content is written once and read later, if at all by this machine. Through the page cache it costs a
 * quarter more CPU (measured), drives out what the site's own programs have there, and piles up as
 * dirty pages that their fsyncs then wait for.
 */
export function systemFile(path: string, fd: number): DiskFile {
  /** Undefined before the first large write, null where the file system has no such thing. */
  let directFd: number | null | undefined;
  /** A descriptor that is closed under an operation could be another file's by the time it happens. */
  const running = new Set<Promise<unknown>>();
  const run = async <T>(operation: Promise<T>): Promise<T> => {
    running.add(operation);
    try {
      return await operation;
    } finally {
      running.delete(operation);
    }
  };

  const openDirect = (): number | null => {
    if (directFd !== undefined) return directFd;
    try {
      directFd = openSync(path, constants.O_WRONLY | constants.O_DIRECT);
    } catch (error) {
      if (!NO_BYPASS.has(systemErrorCode(error))) throw error;
      directFd = null;
    }
    return directFd;
  };
  const writeBlocks = async (blocks: Uint8Array, offset: number): Promise<number> => {
    const direct = openDirect();
    if (direct === null) return writeFd(fd, blocks, offset);
    try {
      return await writeFd(direct, blocks, offset);
    } catch (error) {
      if (!NO_BYPASS.has(systemErrorCode(error))) throw error;
      directFd = null;
      closeSync(direct);
      return writeFd(fd, blocks, offset);
    }
  };
  const writeSome = (bytes: Uint8Array, offset: number): number | Promise<number> => {
    const { byteLength } = bytes;
    if (byteLength < COPY_BYTES_MAX) return writeSync(fd, bytes, 0, byteLength, offset);
    if (byteLength < BYPASS_BYTES_MIN) return writeFd(fd, bytes, offset);
    const bytesBefore = (BLOCK_BYTES - (offset % BLOCK_BYTES)) % BLOCK_BYTES;
    if (bytesBefore > 0) return writeSync(fd, bytes, 0, bytesBefore, offset);
    return writeBlocks(bytes.subarray(0, byteLength - (byteLength % BLOCK_BYTES)), offset);
  };
  const writeAll = async (bytes: Uint8Array, offset: number): Promise<void> => {
    // A disk that is nearly full takes a part and refuses only the next write.
    for (let done = 0; done < bytes.byteLength; ) {
      done += await writeSome(bytes.subarray(done), offset + done);
    }
  };
  return {
    write: (bytes, offset) => run(writeAll(bytes, offset)),
    read: (buffer, offset) => run(readFd(fd, buffer, offset)),
    truncate: async (bytes) => ftruncateSync(fd, bytes),
    sync: () => run(syncFd(fd)),
    async close() {
      await Promise.allSettled(running);
      closeSync(fd);
      if (typeof directFd === "number") closeSync(directFd);
    },
  };
}
