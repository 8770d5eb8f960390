import { expect, test } from "bun:test";
import { streamFile } from "./read.ts";

const SIZE = 1_000_000;
const range = { start: 0, end: SIZE };
const failure = (error: unknown) => error;

/** A file that counts how often it is closed; more than once, another file's descriptor would be. */
function countingFile(read: (buffer: Uint8Array) => Promise<number>) {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const file = {
    ...{ closes: 0, closed, read },
    async close() {
      file.closes += 1;
      resolve();
    },
  };
  return file;
}

const zeros = async (buffer: Uint8Array) => buffer.byteLength;

test("streamFile() closes the file once at its end, also for a reader who leaves just then", async () => {
  for (const leaveAt of [Number.POSITIVE_INFINITY, SIZE]) {
    const file = countingFile(zeros);
    const signal = new AbortController().signal;
    let bytes = 0;
    for await (const chunk of streamFile(file, { range, signal, failure })) {
      bytes += chunk.byteLength;
      if (bytes >= leaveAt) break;
    }
    expect(bytes).toBe(SIZE);
    expect(file.closes).toBe(1);
  }
});

test("streamFile() closes the file once when the signal comes while a read fails", async () => {
  const stop = new AbortController();
  const file = countingFile(async () => {
    stop.abort(new Error("enough"));
    throw new Error("the disk failed");
  });
  const reader = streamFile(file, { range, signal: stop.signal, failure }).getReader();
  await expect(reader.read()).rejects.toThrow("enough");
  await file.closed;
  expect(file.closes).toBe(1);
});

test("streamFile() closes the file when the signal comes before anybody reads, or came already", async () => {
  for (const isEarly of [true, false]) {
    const stop = new AbortController();
    const file = countingFile(zeros);
    if (isEarly) stop.abort(new Error("enough"));
    const stream = streamFile(file, { range, signal: stop.signal, failure });
    stop.abort(new Error("enough"));
    await expect(stream.getReader().read()).rejects.toThrow("enough");
    await file.closed;
    expect(file.closes).toBe(1);
  }
});
