import { Failure, systemErrorCode } from "#base";
import type { ByteRange } from "#content";
import type { Descriptor } from "#oci";
import type { Disk, DiskFile } from "./disk.ts";
import { BLOCK_BYTES, NO_BYPASS } from "./system-file.ts";

/** How a file is streamed. */
export interface StreamOptions {
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  /** The file is read in whole blocks only, and while its reader is at work: see {@link openForOnce}. */
  readonly isPastCache?: boolean;
  /** What to throw for an error of the system. */
  failure(error: unknown): unknown;
}

interface Piece {
  readonly buffer: Uint8Array;
  readonly read: Promise<number>;
}

/** Half a MiB a read keeps a core at copying and not at system calls, and is small beside the memory budget. */
const CHUNK_BYTES = 512 * 1024;

/** Less is in the page cache anyway when it was written of late, or will be asked for again. */
const ONCE_BYTES_MIN = 8 * 1024 * 1024;

/** A file to stream a range of. */
export interface OpenFile {
  readonly file: Pick<DiskFile, "read" | "close">;
  readonly isPastCache: boolean;
}

/**
 * Opens a file of which a range is read once, and for a program: large ranges past the page cache, as
 * they were written. Through it 4 GB cost 6.7 s of the processor, past it none (measured), and drive out
 * what the site's own programs have there.
 *
 * @returns undefined when there is no such file
 */
export async function openForOnce(
  disk: Disk,
  path: string,
  { start, end }: ByteRange,
): Promise<OpenFile | undefined> {
  const isPastCache = end - start >= ONCE_BYTES_MIN && start % BLOCK_BYTES === 0;
  const opened = isPastCache ? await disk.openPastCache(path) : await disk.open(path);
  if (opened === undefined) return undefined;
  let file = opened;
  return {
    isPastCache,
    file: {
      async read(buffer, offset) {
        try {
          return await file.read(buffer, offset);
        } catch (error) {
          if (!isPastCache || !NO_BYPASS.has(systemErrorCode(error))) throw error;
          const cached = await disk.open(path);
          if (cached === undefined) throw error;
          await file.close();
          file = cached;
          return await file.read(buffer, offset);
        }
      },
      close: () => file.close(),
    },
  };
}

/** Streams a range of a file, closing it at the end, when the reader cancels and when the signal says so. */
export function streamFile(
  file: Pick<DiskFile, "read" | "close">,
  { range: { start, end }, signal, isPastCache = false, failure }: StreamOptions,
): ReadableStream<Uint8Array> {
  let offset = start;
  let reading: Promise<unknown> = Promise.resolve();
  let ahead: Piece | undefined;
  const readPiece = (): Piece => {
    const buffer = new Uint8Array(isPastCache ? CHUNK_BYTES : Math.min(CHUNK_BYTES, end - offset));
    const read = offset >= end ? Promise.resolve(0) : file.read(buffer, offset);
    reading = read;
    // It may be nobody's any more when it fails.
    read.catch(() => undefined);
    return { buffer, read };
  };
  let onAbort = () => {};
  let closing: Promise<void> | undefined;
  // A descriptor that is closed during a read could be another file's by the time the read happens; so
  // could one that is closed again, by a reader who leaves while the end is reached.
  const close = () => {
    signal.removeEventListener("abort", onAbort);
    closing ??= reading.catch(() => {}).then(() => file.close());
    return closing;
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        onAbort = () => {
          controller.error(signal.reason);
          close().catch(() => {});
        };
        // It may have come while the file was opened.
        if (signal.aborted) onAbort();
        else signal.addEventListener("abort", onAbort, { once: true });
      },
      async pull(controller) {
        const { buffer, read } = ahead ?? readPiece();
        ahead = undefined;
        const bytesRead = await read.catch(async (error: unknown) => {
          await close();
          throw failure(error);
        });
        if (signal.aborted) return;
        const count = Math.min(bytesRead, end - offset);
        offset += count;
        if (count > 0) controller.enqueue(buffer.subarray(0, count));
        if (count > 0 && offset < end) {
          // The kernel reads nothing ahead of who goes past its cache.
          if (isPastCache) ahead = readPiece();
          return;
        }
        await close();
        controller.close();
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  );
}

/** The failure of whoever reads content of a store that the disk does not give. */
export function unreadable({ digest }: Descriptor, cause: unknown): Failure {
  return new Failure({
    code: "store-broken",
    message: `Cannot read content ${digest}: the disk failed, expected the bytes that were stored`,
    hint: "Look for disk errors with `dmesg`, and repair or replace the disk, then run `dray deliver` again",
    cause,
  });
}
