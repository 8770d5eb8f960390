import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { type Disk, openStore, systemDisk } from "#store";
import { canMountSmallDisk, mountSmallDisk } from "#test-support/small-disk";
import { CONTENTS, checkTruth, content, fill, newFolder, put } from "./contents.ts";
import { faultyDisk, WRITE_FAULTS } from "./faulty-disk.ts";

const clock = systemClock;

const TOTAL_BYTES = CONTENTS.reduce((bytes, { descriptor }) => bytes + descriptor.size, 0);

/** The write that failed, the one that found it out, and what was buffered before them. */
const RESENT_BYTES_MAX = 1024 * 1024;

/** Hundreds of stores are opened and filled; only a test that hangs takes so long. */
const HANG_MS = 120_000;

async function countOperations(): Promise<number> {
  await using folder = await newFolder();
  const { disk, state } = faultyDisk(Number.POSITIVE_INFINITY, "refused", "EIO");
  await fill(folder.path, { disk });
  return state.operations;
}

describe("a store whose disk fails at the n-th operation, for every n,", () => {
  test.each(WRITE_FAULTS)(
    "shows no lie and works again: %s, %s",
    async (fault, code, codes) => {
      const operations = await countOperations();
      expect(operations).toBeGreaterThan(40);
      const seen = new Set<string>();
      for (let failAt = 1; failAt <= operations; failAt += 1) {
        await using folder = await newFolder();
        const story = { promised: new Set<string>(), bytesSent: 0 };
        const { disk, state } = faultyDisk(failAt, fault, code);
        try {
          await fill(folder.path, { disk }, story);
        } catch (error) {
          if (!isFailure(error)) throw error;
          seen.add(error.code);
        }
        {
          await using store = await openStore(folder.path, { clock });
          await checkTruth(folder.path, store, story.promised);
        }
        await fill(folder.path, {}, story);
        await using store = await openStore(folder.path, { clock });
        await checkTruth(folder.path, store, story.promised);
        expect(story.promised.size).toBe(CONTENTS.length);
        expect(await readdir(join(folder.path, "ingest"))).toEqual([]);
        // What a failed fsync did not make durable is gone; all else is sent once.
        if (!state.isSyncLost) expect(story.bytesSent - TOTAL_BYTES).toBeLessThan(RESENT_BYTES_MAX);
      }
      expect([...seen]).toEqual([...codes]);
    },
    HANG_MS,
  );
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

const CAN_MOUNT = await canMountSmallDisk();
if (!CAN_MOUNT) console.warn("No disk can be mounted: tests of a full one are left out");

describe("a disk that is really full", () => {
  test.skipIf(!CAN_MOUNT)(
    "is named, keeps what it has, and goes on once there is room (needs root, to mount a tmpfs)",
    async () => {
      await using tmpfs = await mountSmallDisk(8);
      if (tmpfs === undefined) throw new Error("No disk could be mounted");
      // What is free is not asked, so that the disk itself has to refuse.
      const disk: Disk = { ...systemDisk, freeBytes: () => Promise.reject(new Error("unknown")) };
      const dataDir = join(tmpfs.path, "data");
      const kept = content("kept", 3_000_000);
      const tooLarge = content("too large", 9_000_000);
      const story = { bytesSent: 0 };
      await using store = await openStore(dataDir, { clock, disk });
      await put(store, kept);
      await store.name("kept", kept.descriptor);
      for (const _attempt of ["first", "second"]) {
        const failure = await put(store, tooLarge, story).catch((error: unknown) => error);
        expect(isFailure(failure, "store-full")).toBe(true);
        expect(await store.has(tooLarge.descriptor)).toBe(false);
        await checkTruth(dataDir, store, ["kept"]);
      }
      await tmpfs.resize(16);
      await put(store, tooLarge, story);
      expect(await store.has(tooLarge.descriptor)).toBe(true);
      expect(story.bytesSent - 9_000_000).toBeLessThan(2 * RESENT_BYTES_MAX);
    },
  );
});
