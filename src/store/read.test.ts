import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteRange } from "#content";
import { type Disk, systemDisk } from "#store";
import { randomBytes } from "#test-support/images";
import { openForOnce, streamFile } from "./read.ts";

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

const MIB = 1024 * 1024;
const LARGE = randomBytes("read-once", 12 * MIB + 1_003);

/** What is read of a large file on this disk, and how many of its reads went past the cache. */
async function readOnce(range: ByteRange, refuseFrom = Number.POSITIVE_INFINITY) {
  const folder = await mkdtemp(join(tmpdir(), "dray-read-"));
  try {
    const path = join(folder, "file");
    await writeFile(path, LARGE);
    let readsPastCache = 0;
    const disk: Disk = {
      ...systemDisk,
      async openPastCache(at) {
        const file = await systemDisk.openPastCache(at);
        return (
          file && {
            ...file,
            async read(buffer, offset) {
              readsPastCache += 1;
              if (readsPastCache <= refuseFrom) return file.read(buffer, offset);
              throw Object.assign(new Error("EINVAL"), { code: "EINVAL" });
            },
          }
        );
      },
    };
    const opened = await openForOnce(disk, path, range);
    if (opened === undefined) throw new Error("there is no file");
    const { file, isPastCache } = opened;
    const signal = new AbortController().signal;
    const chunks: Uint8Array[] = [];
    for await (const chunk of streamFile(file, { range, signal, failure, isPastCache })) {
      chunks.push(chunk);
    }
    const isRight = Buffer.concat(chunks).equals(LARGE.subarray(range.start, range.end));
    return { isRight, readsPastCache };
  } finally {
    await rm(folder, { recursive: true });
  }
}

test.each<[string, ByteRange, number]>([
  ["all of a large file", { start: 0, end: LARGE.byteLength }, 25],
  ["a large range from a block on", { start: MIB, end: 10 * MIB + 17 }, 19],
  ["a large range from within a block", { start: 1, end: LARGE.byteLength }, 0],
  ["a small range", { start: MIB, end: 2 * MIB }, 0],
])("%s is read as it is, past the cache where it can be", async (_, wanted, readsPastCache) => {
  expect(await readOnce(wanted)).toEqual({ isRight: true, readsPastCache });
});

test.each([0, 3])(
  "what a file system refuses to read past its cache is read through it: after %d reads",
  async (reads) => {
    const wanted = { start: 0, end: LARGE.byteLength };
    const { isRight, readsPastCache } = await readOnce(wanted, reads);
    expect(isRight).toBe(true);
    expect(readsPastCache).toBeLessThanOrEqual(reads + 2);
  },
);

test("a file that is not there is none to read", async () => {
  const path = join(tmpdir(), "dray-no-such-file");
  expect(await openForOnce(systemDisk, path, { start: 0, end: 20 * MIB })).toBeUndefined();
});
