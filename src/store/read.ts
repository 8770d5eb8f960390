import { Failure } from "#base";
import type { ByteRange } from "#content";
import type { Descriptor } from "#oci";
import type { DiskFile } from "./disk.ts";

/** Half a MiB a read keeps a core at copying and not at system calls, and is small beside the memory budget. */
const CHUNK_BYTES = 512 * 1024;

/** Streams a range of a file of the store, closing it at the end, when the reader cancels and when the signal says so. */
export function streamFile(
  file: DiskFile,
  descriptor: Descriptor,
  { start, end }: ByteRange,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  let offset = start;
  let reading: Promise<unknown> = Promise.resolve();
  let onAbort = () => {};
  // A descriptor that is closed during a read could be another file's by the time the read happens.
  const close = async () => {
    signal.removeEventListener("abort", onAbort);
    await reading.catch(() => {});
    await file.close();
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        onAbort = () => {
          controller.error(signal.reason);
          close().catch(() => {});
        };
        signal.addEventListener("abort", onAbort, { once: true });
      },
      async pull(controller) {
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, end - offset));
        const read = buffer.byteLength === 0 ? Promise.resolve(0) : file.read(buffer, offset);
        reading = read;
        const count = await read.catch(async (error: unknown) => {
          await close();
          throw unreadable(descriptor, error);
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

function unreadable({ digest }: Descriptor, cause: unknown): Failure {
  return new Failure({
    code: "store-broken",
    message: `Cannot read content ${digest}: the disk failed, expected the bytes that were stored`,
    hint: "Look for disk errors with `dmesg`, and repair or replace the disk, then run `dray deliver` again",
    cause,
  });
}
