import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { digestOf, type Store } from "#content";
import { type Descriptor, digestAlgorithm, parseDigest } from "#oci";
import { type Disk, type DiskFile, type DiskStore, openStore, systemDisk } from "#store";
import { randomBytes } from "#test-support/images";

const clock = systemClock;

/** Hundreds of stores are opened and filled; only a test that hangs takes so long. */
const HANG_MS = 120_000;

interface Content {
  readonly name: string;
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** One content of several pieces, one small, one empty, and one under sha512. */
const CONTENTS: readonly Content[] = [
  content("large", 2_500_000, "sha256"),
  content("small", 100, "sha256"),
  content("empty", 0, "sha256"),
  content("other", 70_000, "sha512"),
];

function content(name: string, length: number, algorithm: "sha256" | "sha512"): Content {
  const bytes = randomBytes(name, length);
  const digest = digestOf(bytes, algorithm);
  return { name, bytes, descriptor: { mediaType: "application/x", digest, size: length } };
}

/** How the n-th operation goes wrong: nothing happens, it happens and still fails, or nothing works from then on. */
type Fault = "refused" | "half done" | "dead from here";

/** A disk that counts what is asked of it and fails at the n-th. */
function faultyDisk(failAt: number, fault: Fault, code: string) {
  const state = { operations: 0 };
  const guard = async <T>(act: () => Promise<T>): Promise<T> => {
    state.operations += 1;
    const isFault =
      fault === "dead from here" ? state.operations >= failAt : state.operations === failAt;
    if (!isFault) return act();
    if (fault === "half done") await act();
    throw Object.assign(new Error(`${code}: injected`), { code });
  };
  const guardFile = (file: DiskFile): DiskFile => ({
    write: (bytes, offset) => {
      const half = bytes.subarray(0, bytes.byteLength / 2);
      const isHalf = fault === "half done" && state.operations + 1 === failAt;
      return guard(() => file.write(isHalf ? half : bytes, offset));
    },
    read: (buffer, offset) => guard(() => file.read(buffer, offset)),
    sync: () => guard(() => file.sync()),
    close: () => file.close(),
  });
  // Half an opening leaves the file and nobody who could close it.
  const guardOpening = <T extends DiskFile | undefined>(open: () => Promise<T>): Promise<T> => {
    const isFault = state.operations + 1 === failAt && fault === "half done";
    return guard(async () => {
      const file = await open();
      if (isFault) await file?.close();
      return file;
    });
  };
  const disk: Disk = {
    makeFolder: (path) => guard(() => systemDisk.makeFolder(path)),
    list: (path) => guard(() => systemDisk.list(path)),
    sizeOf: (path) => guard(() => systemDisk.sizeOf(path)),
    create: (path) => guardOpening(async () => guardFile(await systemDisk.create(path))),
    open: (path) =>
      guardOpening(async () => {
        const file = await systemDisk.open(path);
        return file === undefined ? undefined : guardFile(file);
      }),
    rename: (from, to) => guard(() => systemDisk.rename(from, to)),
    remove: (path) => guard(() => systemDisk.remove(path)),
    syncFolder: (path) => guard(() => systemDisk.syncFolder(path)),
    freeBytes: (path) => guard(() => systemDisk.freeBytes(path)),
  };
  return { disk, state };
}

/** What a delivery does to a store. Gives the names that it was promised are durable. */
async function fill(dataDir: string, disk: Disk, promised: Set<string>): Promise<void> {
  await using store = await openStore(dataDir, { clock, disk });
  for (const { name, descriptor, bytes } of CONTENTS) {
    if (!(await store.has(descriptor))) await put(store, descriptor, bytes);
    await store.name(name, descriptor);
    promised.add(name);
  }
}

async function put(store: Store, descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
  await using ingest = await store.ingest(descriptor);
  for (let offset = 0; offset < bytes.byteLength; offset += 300_000) {
    await ingest.write(bytes.subarray(offset, offset + 300_000));
  }
  await ingest.commit();
}

/** All that lies under the final names is what its name says; all that was promised is there. */
async function checkTruth(dataDir: string, store: DiskStore, promised: Iterable<string>) {
  for (const algorithm of ["sha256", "sha512"]) {
    for (const hex of await readdir(join(dataDir, "blobs", algorithm))) {
      const digest = parseDigest(`${algorithm}:${hex}`);
      const bytes = await readFile(join(dataDir, "blobs", algorithm, hex));
      expect(digestOf(bytes, digestAlgorithm(digest))).toBe(digest);
    }
  }
  for (const { descriptor } of await store.names()) expect(await store.has(descriptor)).toBe(true);
  for (const name of promised) expect(await store.lookup(name)).toBeDefined();
  expect(await readdir(join(dataDir, "ingest"))).toEqual([]);
}

/** In memory where there is such a folder: thousands of fsyncs would wear a disk and the patience. */
const FOLDERS = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

async function newFolder() {
  const path = await mkdtemp(join(FOLDERS, "dray-fault-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function countOperations(): Promise<number> {
  await using folder = await newFolder();
  const { disk, state } = faultyDisk(Number.POSITIVE_INFINITY, "refused", "EIO");
  await fill(folder.path, disk, new Set());
  return state.operations;
}

describe("a store whose disk fails at the n-th operation, for every n,", () => {
  const cases: readonly (readonly [Fault, string, readonly string[]])[] = [
    ["refused", "EIO", ["store-broken"]],
    ["refused", "ENOSPC", ["store-full"]],
    ["half done", "EIO", ["store-broken"]],
    ["dead from here", "EROFS", ["store-broken"]],
  ];
  test.each(cases)("shows no lie and works again: %s, %s", async (fault, code, codes) => {
    const operations = await countOperations();
    expect(operations).toBeGreaterThan(40);
    const seen = new Set<string>();
    for (let failAt = 1; failAt <= operations; failAt += 1) {
      await using folder = await newFolder();
      const promised = new Set<string>();
      try {
        await fill(folder.path, faultyDisk(failAt, fault, code).disk, promised);
      } catch (error) {
        if (!isFailure(error)) throw error;
        seen.add(error.code);
      }
      {
        await using store = await openStore(folder.path, { clock });
        await checkTruth(folder.path, store, promised);
      }
      await fill(folder.path, systemDisk, new Set());
      await using store = await openStore(folder.path, { clock });
      await checkTruth(
        folder.path,
        store,
        CONTENTS.map(({ name }) => name),
      );
    }
    expect([...seen]).toEqual([...codes]);
  });
});

describe("a writer that is killed", () => {
  const script = join(import.meta.dir, "endless-writer.ts");

  test(
    "leaves what it had committed, nothing unverified, and no lock",
    async () => {
      await using folder = await newFolder();
      const promised = new Set<string>();
      for (let round = 1; round <= 6; round += 1) {
        await using writer = Bun.spawn([process.execPath, script, folder.path, String(round)], {
          stdout: "pipe",
        });
        // Not a multiple of the four steps, so that each round is killed in another of them.
        await untilLines(writer.stdout, round * 5, promised);
        writer.kill("SIGKILL");
        await writer.exited;
        await using store = await openStore(folder.path, { clock });
        await checkTruth(folder.path, store, promised);
      }
      expect(promised.size).toBeGreaterThan(6);
    },
    HANG_MS,
  );
});

/** Reads so many lines of a writer's story; `named` ones are promises. */
async function untilLines(
  stdout: ReadableStream<Uint8Array>,
  count: number,
  promised: Set<string>,
): Promise<void> {
  let text = "";
  for await (const chunk of stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.split("\n").length > count) break;
  }
  const lines = text.split("\n").slice(0, -1);
  for (const line of lines) if (line.startsWith("named ")) promised.add(line.slice(6));
}

describe("a disk that is really full", () => {
  const tmpfs = mountTmpfs();

  test.skipIf(tmpfs === undefined)(
    "is named, keeps what it has, and takes what fits (needs root, to mount a tmpfs)",
    async () => {
      if (tmpfs === undefined) return;
      using _mounted = tmpfs;
      // What is free is not asked, so that the disk itself has to refuse.
      const disk: Disk = { ...systemDisk, freeBytes: () => Promise.reject(new Error("unknown")) };
      const dataDir = join(tmpfs.path, "data");
      const kept = content("kept", 3_000_000, "sha256");
      const tooLarge = content("too large", 6_000_000, "sha256");
      await using store = await openStore(dataDir, { clock, disk });
      await put(store, kept.descriptor, kept.bytes);
      const failure = await put(store, tooLarge.descriptor, tooLarge.bytes).catch((e) => e);
      expect(isFailure(failure, "store-full")).toBe(true);
      expect(await store.has(tooLarge.descriptor)).toBe(false);
      await put(
        store,
        content("fits", 2_000_000, "sha256").descriptor,
        randomBytes("fits", 2_000_000),
      );
      await store.name("kept", kept.descriptor);
      await checkTruth(dataDir, store, ["kept"]);
    },
  );
});

function mountTmpfs(): ({ path: string } & Disposable) | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const path = join(tmpdir(), `dray-tmpfs-${process.pid}`);
  Bun.spawnSync(["mkdir", "-p", path]);
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path]);
  if (mounted.exitCode !== 0) return undefined;
  return {
    path,
    [Symbol.dispose]() {
      Bun.spawnSync(["umount", "-l", path]);
      Bun.spawnSync(["rmdir", path]);
    },
  };
}
