import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { type Disk, openStore, systemDisk } from "#store";
import { createManualClock } from "#test-support/clock";
import { canMountSmallDisk, mountSmallDisk } from "#test-support/small-disk";
import { CONTENTS, checkTruth, content, newFolder } from "./contents.ts";
import { faultyDisk, WRITE_FAULTS } from "./faulty-disk.ts";
import { createPowerCutDisk } from "./power-cut-disk.ts";
import { append, checkPushes, type PushStory, push, REPOSITORY, roomyDisk } from "./pushes.ts";

const HANG_MS = 120_000;

const options = { clock: systemClock, role: "registry" } as const;

/** A clock in whose time a piece takes so long that uploads are fsynced on their way. */
function slowClock() {
  const clock = createManualClock();
  const monotonic = () => {
    clock.advance(700);
    return clock.monotonic();
  };
  return { ...clock, monotonic };
}

/** Numbers in [0, 1) that the seed decides. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function countOperations(): Promise<number> {
  await using folder = await newFolder();
  const { disk, state } = faultyDisk(Number.POSITIVE_INFINITY, "refused", "EIO", roomyDisk);
  await push(folder.path, { disk, clock: slowClock() });
  return state.operations;
}

describe("pushes to a store whose disk fails at the n-th operation, for every n,", () => {
  test.each(WRITE_FAULTS)(
    "keep what was promised, and work again: %s, %s",
    async (fault, code, codes) => {
      const operations = await countOperations();
      expect(operations).toBeGreaterThan(60);
      const seen = new Set<string>();
      for (let failAt = 1; failAt <= operations; failAt += 1) {
        await using folder = await newFolder();
        const story: PushStory = { pushed: new Set() };
        const { disk } = faultyDisk(failAt, fault, code, roomyDisk);
        try {
          await push(folder.path, { disk, clock: slowClock() }, story);
        } catch (error) {
          if (!isFailure(error)) throw error;
          seen.add(error.code);
        }
        {
          await using store = await openStore(folder.path, options);
          await checkPushes(folder.path, store, story);
        }
        delete story.current;
        await push(folder.path, {}, story);
        await using store = await openStore(folder.path, options);
        await checkPushes(folder.path, store, story);
        expect(story.pushed.size).toBe(CONTENTS.length);
      }
      expect([...seen]).toEqual([...codes]);
    },
    HANG_MS,
  );

  test("end, and give the room back at once", async () => {
    const operations = await countOperations();
    let ended = 0;
    for (let failAt = 1; failAt <= operations; failAt += 1) {
      await using folder = await newFolder();
      const { disk, state } = faultyDisk(failAt, "refused", "ENOSPC", roomyDisk);
      await using store = await openStore(folder.path, { ...options, disk }).catch(() => undefined);
      if (store === undefined) continue;
      const [large = content("large", 1)] = CONTENTS;
      const upload = await store.uploads.begin(REPOSITORY, null);
      const failure = await append(upload, large)
        .then(() => upload.commit(large.descriptor.digest))
        .catch((error: unknown) => error);
      if (state.operations < failAt) break;
      if (!isFailure(failure, "store-full")) continue;
      ended += 1;
      expect(await readdir(join(folder.path, "uploads"))).toEqual(["ingest"]);
      expect(await store.uploads.find(upload.id)).toBeUndefined();
      const again = await store.uploads.begin(REPOSITORY, null);
      await append(again, large);
      await again.commit(large.descriptor.digest);
    }
    expect(ended).toBeGreaterThan(8);
  });
});

test(
  "pushes to a machine whose power is cut at the n-th operation, for every n, count only what is durable",
  async () => {
    const operations = await countOperations();
    const ends: Record<string, number> = { none: 0, gone: 0, "gone on with": 0 };
    for (let cutAt = 1; cutAt <= operations; cutAt += 1) {
      await using folder = await newFolder();
      const machine = createPowerCutDisk();
      const story: PushStory = { pushed: new Set() };
      let restore = (): void => {};
      let promised = story;
      const inner = { ...machine, freeBytes: roomyDisk.freeBytes };
      const { disk } = faultyDisk(cutAt, "dead from here", "EIO", inner, () => {
        restore = snapshotOf(folder.path);
        const { pushed, current } = story;
        promised = { pushed: new Set(pushed), ...(current && { current: { ...current } }) };
      });
      try {
        await push(folder.path, { disk, clock: slowClock() }, story);
      } catch (error) {
        if (!isFailure(error)) throw error;
      }
      restore();
      await machine.cutPower(numbers(cutAt));
      await using store = await openStore(folder.path, { ...options, disk: machine });
      const end = await checkPushes(folder.path, store, promised);
      ends[end] = (ends[end] ?? 0) + 1;
    }
    // Most are found in the middle; those whose file had its final name are content now.
    expect(ends["gone on with"]).toBeGreaterThan(20);
  },
  HANG_MS,
);

/** Lets the database be again as it was: a machine without power tidies nothing up. */
function snapshotOf(dataDir: string): () => void {
  const files = ["drayage.db", "drayage.db-wal", "drayage.db-shm"].map((name) => {
    const path = join(dataDir, name);
    return { path, bytes: existsSync(path) ? readFileSync(path) : undefined };
  });
  return () => {
    for (const { path, bytes } of files) {
      rmSync(path, { force: true });
      if (bytes !== undefined && !path.endsWith("-shm")) writeFileSync(path, bytes);
    }
  };
}

describe("a registry that is killed while content is pushed, again and again,", () => {
  const script = join(import.meta.dir, "pushing-writer.ts");
  const ROUNDS = 25;

  test(
    "has all that it promised, and goes on with the rest",
    async () => {
      await using folder = await newFolder();
      const random = numbers(11);
      const committed = new Set<string>();
      let resumed = 0;
      let id = "";
      for (let round = 0; round < ROUNDS; round += 1) {
        await using writer = Bun.spawn([process.execPath, script, folder.path, id], {
          stdout: "pipe",
        });
        const lines = await linesOf(writer, Math.floor(random() * 14) + 1);
        let claimed = 0;
        for (const line of lines) {
          const [word, value = ""] = line.split(" ");
          if (word === "begun") [id, claimed] = [value, 0];
          if (word === "has") claimed = Number(value);
          if (word === "committed") {
            committed.add(value);
            id = "";
          }
        }
        await using store = await openStore(folder.path, options);
        await checkTruth(folder.path, store, []);
        for (const name of committed) {
          const { descriptor } = content(name, 2_000_000);
          expect(await store.repositories.blob(REPOSITORY, descriptor.digest)).toBeDefined();
        }
        const upload = await store.uploads.find(id);
        // The last one may have been committed, and the answer cut off.
        if (id !== "" && upload === undefined) id = "";
        if (upload === undefined) continue;
        expect(upload.bytes).toBeGreaterThanOrEqual(claimed);
        if (claimed > 0) resumed += 1;
      }
      expect(committed.size).toBeGreaterThan(5);
      expect(resumed).toBeGreaterThan(3);
    },
    HANG_MS,
  );
});

/** Lets a writer tell so many lines, kills it, and gives all that it told. */
async function linesOf(
  writer: Bun.Subprocess<"ignore", "pipe", "inherit">,
  count: number,
): Promise<string[]> {
  let text = "";
  for await (const chunk of writer.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.split("\n").length > count) writer.kill("SIGKILL");
  }
  await writer.exited;
  // Not of something that it found wrong.
  expect(writer.signalCode).toBe("SIGKILL");
  return text.split("\n").slice(0, -1);
}

const CAN_MOUNT = await canMountSmallDisk();
if (!CAN_MOUNT) console.warn("No disk can be mounted: tests of a full one are left out");

describe("a disk that is really full", () => {
  test.skipIf(!CAN_MOUNT)(
    "ends the upload, gets its room back, and takes the next (needs root, to mount a tmpfs)",
    async () => {
      await using tmpfs = await mountSmallDisk(8);
      if (tmpfs === undefined) throw new Error("No disk could be mounted");
      // What is free is not asked, so that the disk itself has to refuse.
      const disk: Disk = { ...systemDisk, freeBytes: () => Promise.reject(new Error("unknown")) };
      await using store = await openStore(join(tmpfs.path, "data"), { ...options, disk });
      const tooLarge = content("too large", 9_000_000);
      const small = content("small", 3_000_000);
      const upload = await store.uploads.begin(REPOSITORY, null);
      const failure = await append(upload, tooLarge).catch((error: unknown) => error);
      expect(isFailure(failure, "store-full")).toBe(true);
      const next = await store.uploads.begin(REPOSITORY, null);
      await append(next, small);
      await store.repositories.linkBlob(REPOSITORY, await next.commit(small.descriptor.digest));
      expect(await store.has(small.descriptor)).toBe(true);
    },
  );
});
