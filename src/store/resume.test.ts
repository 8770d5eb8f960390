import { describe, expect, test } from "bun:test";
import { cp, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { digestOf, type Ingest } from "#content";
import { type Descriptor, digestHex } from "#oci";
import { type Disk, type DiskFile, openStore, systemDisk } from "#store";
import { createManualClock } from "#test-support/clock";
import { randomBytes } from "#test-support/images";

const SIZE = 5_000_000;
const BYTES = randomBytes("resumed", SIZE);
const DESCRIPTOR: Descriptor = { mediaType: "application/x", digest: digestOf(BYTES), size: SIZE };
const PARTIAL = `sha256-${digestHex(DESCRIPTOR.digest)}`;

async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), "dray-resume-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

const writePart = (ingest: Ingest, start: number, end: number) =>
  ingest.write(BYTES.subarray(start, end), start);

/** A disk that tells when a file is synced or its log is, and in which a test can stand in the way of that. */
function watchedDisk(bootId: string | undefined) {
  const steps: string[] = [];
  const watch = { steps, reads: 0, onSync: async (_path: string) => {} };
  const watched = (file: DiskFile, path: string): DiskFile => ({
    ...file,
    read(buffer, offset) {
      watch.reads += 1;
      return file.read(buffer, offset);
    },
    async sync() {
      await watch.onSync(path);
      await file.sync();
      steps.push(path.endsWith(".log") ? "log" : "data");
    },
  });
  const disk: Disk = {
    ...systemDisk,
    bootId: async () => bootId,
    create: async (path) => watched(await systemDisk.create(path), path),
    async edit(path) {
      const file = await systemDisk.edit(path);
      return file === undefined ? undefined : watched(file, path);
    },
    async syncFolder(path) {
      await systemDisk.syncFolder(path);
      steps.push("folder");
    },
  };
  return { disk, watch };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe("content on its way", () => {
  test("is made durable every two seconds in which it grows: the data, then the log of it", async () => {
    await using folder = await newFolder();
    const clock = createManualClock();
    const { disk, watch } = watchedDisk("boot-1");
    await using store = await openStore(folder.path, { clock, disk });
    await using ingest = await store.ingest(DESCRIPTOR);
    watch.steps.length = 0;
    for (let at = 0; at < 1_900_000; at += 100_000) {
      await writePart(ingest, at, at + 100_000);
      clock.advance(100);
    }
    expect(watch.steps).toEqual([]);
    clock.advance(100);
    await writePart(ingest, 1_900_000, 2_000_000);
    await until(() => watch.steps.length >= 3);
    expect(watch.steps).toEqual(["data", "log", "folder"]);
    clock.advance(2000);
    await writePart(ingest, 2_000_000, 2_100_000);
    await until(() => watch.steps.length >= 5);
    expect(watch.steps.slice(3)).toEqual(["data", "log"]);
  });

  test("is made durable every 64 MiB, however fast it grows", async () => {
    await using folder = await newFolder();
    const { disk, watch } = watchedDisk("boot-1");
    await using store = await openStore(folder.path, { clock: createManualClock(), disk });
    const large = { ...DESCRIPTOR, size: 100 * 1024 * 1024 };
    await using ingest = await store.ingest(large);
    watch.steps.length = 0;
    const piece = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 63; i += 1) await ingest.write(piece, i * piece.byteLength);
    expect(watch.steps).toEqual([]);
    for (let i = 63; i < 66; i += 1) await ingest.write(piece, i * piece.byteLength);
    await until(() => watch.steps.length >= 3);
    expect(watch.steps).toEqual(["data", "log", "folder"]);
  });

  test("has half a MiB that is not on its way to the disk, in however many ranges it comes", async () => {
    await using folder = await newFolder();
    let bytesWritten = 0;
    const counted = (file: DiskFile, path: string): DiskFile => ({
      ...file,
      async write(bytes, offset) {
        await file.write(bytes, offset);
        if (!path.endsWith(".log")) bytesWritten += bytes.byteLength;
      },
    });
    const disk: Disk = {
      ...systemDisk,
      create: async (path) => counted(await systemDisk.create(path), path),
      async edit(path) {
        const file = await systemDisk.edit(path);
        return file && counted(file, path);
      },
    };
    await using store = await openStore(folder.path, { clock: createManualClock(), disk });
    await using ingest = await store.ingest(DESCRIPTOR);
    const [ranges, chunk] = [20, 10_000];
    let bytesTaken = 0;
    for (let at = 0; at < SIZE / ranges; at += chunk) {
      for (let start = at; start < SIZE; start += SIZE / ranges) {
        await writePart(ingest, start, start + chunk);
        bytesTaken += chunk;
        expect(bytesTaken - bytesWritten).toBeLessThanOrEqual(512 * 1024);
      }
    }
    expect(bytesTaken).toBe(SIZE);
    await ingest.commit();
  });

  test("is right when what follows a range comes in while that one is still being written", async () => {
    await using folder = await newFolder();
    const slow = (file: DiskFile): DiskFile => ({
      ...file,
      async write(bytes, offset) {
        // Longer for what comes first: so the next one overtakes it.
        const turns = offset === 0 ? 20 : 2;
        for (let turn = 0; turn < turns; turn += 1) {
          await new Promise((resolve) => setImmediate(resolve));
        }
        await file.write(bytes, offset);
      },
    });
    const disk: Disk = {
      ...systemDisk,
      create: async (path) => slow(await systemDisk.create(path)),
    };
    await using store = await openStore(folder.path, { clock: createManualClock(), disk });
    await using ingest = await store.ingest(DESCRIPTOR);
    const parts = [0, 600_000, 1_300_000, 2_000_000, 2_100_000, SIZE];
    await Promise.all(parts.slice(1).map((end, i) => writePart(ingest, parts[i] ?? 0, end)));
    await ingest.commit();
    expect(await store.has(DESCRIPTOR)).toBe(true);
  });

  test("is made durable when it is left", async () => {
    await using folder = await newFolder();
    const { disk, watch } = watchedDisk("boot-1");
    await using store = await openStore(folder.path, { clock: createManualClock(), disk });
    {
      await using ingest = await store.ingest(DESCRIPTOR);
      await writePart(ingest, 0, 10);
      watch.steps.length = 0;
    }
    expect(watch.steps).toEqual(["data", "log", "folder"]);
  });

  test("is not read back by the process that has hashed it", async () => {
    await using folder = await newFolder();
    const { disk, watch } = watchedDisk("boot-1");
    await using store = await openStore(folder.path, { clock: systemClock, disk });
    for (const end of [700_000, 2_000_001, SIZE]) {
      await using ingest = await store.ingest(DESCRIPTOR);
      const [gap] = ingest.missing;
      await writePart(ingest, gap?.start ?? 0, end);
      if (end === SIZE) await ingest.commit();
    }
    expect(watch.reads).toBe(0);
    expect(await store.has(DESCRIPTOR)).toBe(true);
  });
});

/**
 * A folder as it is found after the death of a writer that had written two ranges, [0, 1.5 MB) and
 * [3 MB, 3.5 MB), and more to each once those were durable.
 */
async function deadWriter(path: string, bootId: string | undefined): Promise<void> {
  await using folder = await newFolder();
  const clock = createManualClock();
  const { disk, watch } = watchedDisk(bootId);
  await using store = await openStore(folder.path, { clock, disk });
  await using ingest = await store.ingest(DESCRIPTOR);
  await writePart(ingest, 0, 1_500_000);
  clock.advance(2000);
  await writePart(ingest, 3_000_000, 3_500_000);
  // The first range lies in a buffer in part; its next bytes come too late for the fsync.
  await until(() => watch.steps.includes("log"));
  await writePart(ingest, 1_500_000, 2_500_000);
  await writePart(ingest, 3_500_000, 4_500_000);
  await cp(folder.path, path, { recursive: true });
}

/** What of the content a store gives on opening this folder, in bytes. */
async function bytesFound(path: string, bootId: string | undefined): Promise<number> {
  const { disk } = watchedDisk(bootId);
  await using store = await openStore(path, { clock: systemClock, disk });
  return store.bytesHere(DESCRIPTOR);
}

/** Brings what is missing, and gives how much that was. */
async function complete(path: string, bootId: string): Promise<number> {
  const { disk } = watchedDisk(bootId);
  await using store = await openStore(path, { clock: systemClock, disk });
  await using ingest = await store.ingest(DESCRIPTOR);
  let bytesSent = 0;
  for (const { start, end } of ingest.missing) {
    await writePart(ingest, start, end);
    bytesSent += end - start;
  }
  await ingest.commit();
  const signal = new AbortController().signal;
  const stored = await new Response(await store.fetch(DESCRIPTOR, { signal })).bytes();
  expect(Buffer.compare(stored, BYTES)).toBe(0);
  return bytesSent;
}

describe("content that a writer left when it died", () => {
  const WRITTEN_AT_LEAST = 4_000_000 - 2 * (256 + 64) * 1024;

  test("is gone on with from what was written", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, "boot-1");
    const bytesHere = await bytesFound(path, "boot-1");
    expect(bytesHere).toBeGreaterThan(WRITTEN_AT_LEAST);
    expect(await complete(path, "boot-1")).toBe(SIZE - bytesHere);
    expect(await readdir(join(path, "ingest"))).toEqual([]);
  });

  test("needs no byte when all of it was written", async () => {
    await using folder = await newFolder();
    const { disk } = watchedDisk("boot-1");
    {
      await using store = await openStore(folder.path, { clock: systemClock, disk });
      await using ingest = await store.ingest(DESCRIPTOR);
      await writePart(ingest, 0, SIZE);
    }
    expect(await complete(folder.path, "boot-1")).toBe(0);
  });

  test("is gone on with from what was durable when the machine died too, whatever the rest is", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, "boot-1");
    const bytesHere = await bytesFound(path, "boot-2");
    expect(bytesHere).toBeGreaterThan(1_000_000);
    expect(bytesHere).toBeLessThanOrEqual(2_000_000);
    await spoilOutside(join(path, "ingest", PARTIAL), await syncedRanges(path));
    expect(await complete(path, "boot-2")).toBe(SIZE - bytesHere);
  });

  test("is gone on with from what was durable where the system tells of no start", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, undefined);
    expect(await bytesFound(path, undefined)).toBeLessThanOrEqual(2_000_000);
    expect(await complete(path, "boot-2")).toBeLessThan(SIZE);
  });

  test("is gone on with when the last line of its log is torn, and the next one too", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, "boot-1");
    const log = join(path, "ingest", `${PARTIAL}.log`);
    await truncate(log, (await readFile(log)).byteLength - 5);
    const bytesHere = await bytesFound(path, "boot-1");
    expect(bytesHere).toBeGreaterThan(WRITTEN_AT_LEAST - 1024 * 1024);
    {
      const { disk } = watchedDisk("boot-1");
      await using store = await openStore(path, { clock: systemClock, disk });
      await using ingest = await store.ingest(DESCRIPTOR);
      await writePart(ingest, 4_900_000, 5_000_000);
      await cp(path, `${path}-2`, { recursive: true });
    }
    expect(await bytesFound(`${path}-2`, "boot-1")).toBe(bytesHere + 100_000);
    expect(await complete(`${path}-2`, "boot-1")).toBe(SIZE - bytesHere - 100_000);
  });

  const spoilers: readonly (readonly [string, (partial: string) => Promise<void>])[] = [
    ["has no log", (partial) => rm(`${partial}.log`)],
    ["has a log of nothing", (partial) => writeFile(`${partial}.log`, "")],
    ["has a log that is spoiled", (partial) => writeFile(`${partial}.log`, new Uint8Array(9999))],
    ["is shorter than its log says", (partial) => truncate(partial, 1_000_000)],
    ["is longer than its size", (partial) => truncate(partial, SIZE + 1)],
    ["is gone", (partial) => rm(partial)],
  ];
  test.each(spoilers)("is removed when it %s", async (_, spoil) => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, "boot-1");
    await spoil(join(path, "ingest", PARTIAL));
    expect(await bytesFound(path, "boot-1")).toBe(0);
    expect(await readdir(join(path, "ingest"))).toEqual([]);
  });

  test("is dropped once, whole, when its bytes turn out to be wrong", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "data");
    await deadWriter(path, "boot-1");
    await spoilOutside(join(path, "ingest", PARTIAL), [[10, SIZE]]);
    const completing = complete(path, "boot-1").catch((error: unknown) => error);
    expect(isFailure(await completing, "digest-mismatch")).toBe(true);
    expect(await readdir(join(path, "ingest"))).toEqual([]);
    expect(await complete(path, "boot-1")).toBe(SIZE);
  });
});

async function syncedRanges(path: string): Promise<(readonly [number, number])[]> {
  const text = await readFile(join(path, "ingest", `${PARTIAL}.log`), "utf8");
  return [...text.matchAll(/ synced (\d+) (\d+)$/gm)].map(
    ([, start, end]) => [Number(start), Number(end)] as const,
  );
}

/** Writes garbage over all of a file but the ranges, which ascend. */
async function spoilOutside(
  path: string,
  ranges: readonly (readonly [number, number])[],
): Promise<void> {
  await using file = await open(path, "r+");
  const { size } = await file.stat();
  let at = 0;
  for (const [start, end] of [...ranges, [size, size] as const]) {
    if (start > at) await file.write(new Uint8Array(start - at).fill(0xee), 0, start - at, at);
    at = end;
  }
}

describe("an fsync that fails", () => {
  test("takes back what was written since the last one that did not, for good", async () => {
    await using folder = await newFolder();
    const clock = createManualClock();
    const { disk, watch } = watchedDisk("boot-1");
    await using store = await openStore(folder.path, { clock, disk });
    {
      await using ingest = await store.ingest(DESCRIPTOR);
      await writePart(ingest, 0, 1_000_000);
    }
    watch.onSync = async (path) => {
      if (!path.endsWith(".log")) throw Object.assign(new Error("EIO"), { code: "EIO" });
    };
    const attempt = async () => {
      await using ingest = await store.ingest(DESCRIPTOR);
      await writePart(ingest, 1_000_000, 3_000_000);
      clock.advance(2000);
      for (let at = 3_000_000; at < SIZE; at += 1000) {
        await writePart(ingest, at, at + 1000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const failure = await attempt().catch((error: unknown) => error);
    expect(isFailure(failure, "store-broken")).toBe(true);
    expect(await store.bytesHere(DESCRIPTOR)).toBe(1_000_000);
    watch.onSync = async () => {};
    await using ingest = await store.ingest(DESCRIPTOR);
    expect(ingest.missing).toEqual([{ start: 1_000_000, end: SIZE }]);
    await writePart(ingest, 1_000_000, SIZE);
    await ingest.commit();
    expect(await store.has(DESCRIPTOR)).toBe(true);
  });
});
