import { Failure } from "#base";
import type { ByteRange } from "#content";
import type { Descriptor } from "#oci";
import type { DiskFile } from "./disk.ts";

/** How a file is streamed. */
export interface StreamOptions {
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  /** What to throw for an error of the system. */
  failure(error: unknown): unknown;
}

/** Half a MiB a read keeps a core at copying and not at system calls, and is small beside the memory budget. */
const CHUNK_BYTES = 512 * 1024;

/** Streams a range of a file, closing it at the end, when the reader cancels and when the signal says so. */
export function streamFile(
  file: Pick<DiskFile, "read" | "close">,
  { range: { start, end }, signal, failure }: StreamOptions,
): ReadableStream<Uint8Array> {
  let offset = start;
  let reading: Promise<unknown> = Promise.resolve();
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
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, end - offset));
        const read = buffer.byteLength === 0 ? Promise.resolve(0) : file.read(buffer, offset);
        reading = read;
        const count = await read.catch(async (error: unknown) => {
          await close();
          throw failure(error);
        });
        if (signal.aborted) return;
        offset += count;
        if (count > 0) controller.enqueue(buffer.subarray(0, count));
        if (count > 0 && offset < end) return;
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
