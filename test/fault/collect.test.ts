import { describe, expect, test } from "bun:test";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { isFailure } from "#base";
import { collectStore, type Disk, GRACE_MS, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { canMountSmallDisk, mountSmallDisk } from "#test-support/small-disk";
import { checkTruth, newFolder } from "./contents.ts";
import { type Fault, faultyDisk } from "./faulty-disk.ts";

const signal = new AbortController().signal;

/** Hundreds of stores are made and collected; only a test that hangs takes so long. */
const HANG_MS = 120_000;

/** A store with two images, one of them of no plan any more, and blobs that nothing names. */
async function newStore() {
  const folder = await newFolder();
  const clock = createManualClock();
  await using store = await openStore(folder.path, { clock });
  await store.generations.begin(["kept:1"]);
  await buildImage(store, "kept:1", { seed: "kept", sharedBase: "base" });
  await buildImage(store, "dropped:1", { seed: "dropped", sharedBase: "base" });
  await store.generations.complete();
  for (const seed of ["one", "two", "three"]) await putBytes(store, "a/b", randomBytes(seed, 100));
  clock.advance(GRACE_MS * 2);
  return { folder, clock };
}

async function blobsIn(path: string): Promise<number> {
  const lists = ["sha256", "sha512"].map((name) => readdir(join(path, "blobs", name)));
  return (await Promise.all(lists)).flat().length;
}

/** Runs a collection, then a disk that works; nothing that is live may ever be gone by then. */
async function collectOn(disk: Disk) {
  const { folder, clock } = await newStore();
  await using _ = folder;
  const codes: string[] = [];
  await collectStore(folder.path, { clock, signal, disk }).catch((error: unknown) => {
    if (!isFailure(error)) throw error;
    codes.push(error.code);
  });
  const found = await collectStore(folder.path, { clock, signal });
  expect(found.trouble).toEqual([]);
  await using store = await openStore(folder.path, { clock });
  await checkTruth(folder.path, store, ["kept:1"]);
  expect((await store.names()).map(({ name }) => name)).toEqual(["kept:1"]);
  // The manifest, its config, its layer and the base.
  expect(await blobsIn(folder.path)).toBe(4);
  expect(await readdir(join(folder.path, "trash"))).toEqual([]);
  return codes;
}

describe("a collection whose disk fails at the n-th operation, for every n,", () => {
  const cases: readonly (readonly [Fault, string, readonly string[]])[] = [
    ["refused", "EIO", ["store-broken"]],
    ["refused", "ENOSPC", ["store-full"]],
    ["half done", "EIO", ["store-broken"]],
    ["half done", "ENOSPC", ["store-full"]],
    ["dead from here", "EIO", ["store-broken"]],
  ];
  test.each(cases)(
    "loses nothing, and the next one ends it: %s, %s",
    async (fault, code, codes) => {
      const whole = faultyDisk(Number.POSITIVE_INFINITY, "refused", "EIO");
      await collectOn(whole.disk);
      const { operations } = whole.state;
      expect(operations).toBeGreaterThan(40);
      const seen = new Set<string>();
      for (let failAt = 1; failAt <= operations; failAt += 1) {
        for (const each of await collectOn(faultyDisk(failAt, fault, code).disk)) seen.add(each);
      }
      expect([...seen]).toEqual([...codes]);
    },
    HANG_MS,
  );
});

test(
  "a collection that is killed again and again loses nothing, and the last one ends it",
  async () => {
    const { folder, clock } = await newStore();
    await using _ = folder;
    const script = join(import.meta.dir, "dying-collector.ts");
    let killed = 0;
    for (let operation = 1; operation < 60; operation += 3) {
      const collector = Bun.spawn([
        ...[process.execPath, script, folder.path],
        ...[String(operation), String(clock.now())],
      ]);
      if ((await collector.exited) !== 0) killed += 1;
    }
    expect(killed).toBeGreaterThan(3);
    await collectStore(folder.path, { clock, signal });
    await using store = await openStore(folder.path, { clock });
    await checkTruth(folder.path, store, ["kept:1"]);
    expect(await blobsIn(folder.path)).toBe(4);
  },
  HANG_MS,
);

const CAN_MOUNT = await canMountSmallDisk();
if (!CAN_MOUNT) console.warn("No disk can be mounted: tests of a full one are left out");

describe("a disk that is really full", () => {
  test.skipIf(!CAN_MOUNT)("gets its room back (needs root, to mount a tmpfs)", async () => {
    await using tmpfs = await mountSmallDisk(8);
    if (tmpfs === undefined) throw new Error("No disk could be mounted");
    const dataDir = join(tmpfs.path, "data");
    const clock = createManualClock();
    {
      await using store = await openStore(dataDir, { clock });
      await store.generations.begin(["kept:1"]);
      await buildImage(store, "kept:1", { seed: "kept" });
      await buildImage(store, "dropped:1", { seed: "dropped", layerBytes: 1_000_000 });
      await store.generations.complete();
      await putBytes(store, "a/b", randomBytes("lone", 1_000_000));
    }
    clock.advance(GRACE_MS * 2);
    await fillUp(join(tmpfs.path, "filler"));
    const found = await collectStore(dataDir, { clock, signal });
    expect(found.names).toEqual(["dropped:1"]);
    expect(found.bytes).toBeGreaterThan(3_000_000);
    await using store = await openStore(dataDir, { clock });
    await checkTruth(dataDir, store, ["kept:1"]);
  });
});

/** Writes to a file until nothing more fits, to the last byte. */
async function fillUp(path: string): Promise<void> {
  const file = await open(path, "w");
  try {
    for (let bytes = 1024 * 1024; bytes >= 1; ) {
      const wrote = await file.write(new Uint8Array(bytes)).catch(() => undefined);
      if (wrote === undefined || wrote.bytesWritten < bytes) bytes = Math.floor(bytes / 2);
    }
  } finally {
    await file.close();
  }
}
