import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { CONTENTS, checkTruth, content, fill, newFolder, type Story } from "./contents.ts";
import { faultyDisk } from "./faulty-disk.ts";
import { createPowerCutDisk, type PowerCutDisk } from "./power-cut-disk.ts";

const HANG_MS = 120_000;

const LARGE = content("large", 4_500_000);

/** How many bytes of the large content are on a record that the machine has made durable. */
function bytesOnRecord(machine: PowerCutDisk, dataDir: string): number {
  const name = LARGE.descriptor.digest.replace(":", "-");
  const text = new TextDecoder().decode(machine.durable(join(dataDir, "ingest", `${name}.log`)));
  const lines = [...text.matchAll(/^\d+ synced (\d+) (\d+)$/gm)];
  return lines.reduce((sum, [, start, end]) => sum + Number(end) - Number(start), 0);
}

/** A clock in whose time a piece takes a while, so that a transfer of a few pieces is fsynced on its way. */
function slowClock() {
  const clock = createManualClock();
  const monotonic = () => {
    clock.advance(1_000);
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

describe("a machine whose power is cut at the n-th operation, for every n,", () => {
  test(
    "goes on from what was fsynced, and believes nothing else",
    async () => {
      const counting = faultyDisk(Number.POSITIVE_INFINITY, "dead from here", "EIO");
      {
        await using folder = await newFolder();
        await fill(folder.path, { disk: counting.disk, clock: slowClock() });
      }
      let resumed = 0;
      for (let cutAt = 1; cutAt <= counting.state.operations; cutAt += 1) {
        await using folder = await newFolder();
        const machine = createPowerCutDisk();
        const story: Story = { promised: new Set(), bytesSent: 0 };
        const { disk } = faultyDisk(cutAt, "dead from here", "EIO", machine);
        try {
          await fill(folder.path, { disk, clock: slowClock() }, story);
        } catch (error) {
          if (!isFailure(error)) throw error;
        }
        const durable = bytesOnRecord(machine, folder.path);
        await machine.cutPower(numbers(cutAt));
        {
          await using store = await openStore(folder.path, { clock: systemClock, disk: machine });
          await checkTruth(folder.path, store, story.promised);
          const bytesHere = await store.bytesHere(LARGE.descriptor);
          expect(bytesHere).toBeGreaterThanOrEqual(durable);
          if (bytesHere < LARGE.bytes.byteLength && bytesHere > 0) resumed += 1;
        }
        // What it goes on from is right: content that is not would be refused here.
        await fill(folder.path, { disk: machine }, story);
        expect(story.promised.size).toBe(CONTENTS.length);
      }
      // Which operation is the n-th depends on how quick the disk is: 29 to 33 were seen.
      expect(resumed).toBeGreaterThan(10);
    },
    HANG_MS,
  );
});

describe("a writer that is killed in the middle of content, again and again,", () => {
  const script = join(import.meta.dir, "resuming-writer.ts");
  const BYTES = 24_000_000;

  test(
    "finds what it had written, and sends the rest",
    async () => {
      await using folder = await newFolder();
      const { descriptor } = content("killed", BYTES);
      const random = numbers(7);
      let bytesHere = 0;
      let rounds = 0;
      for (let isDone = false; !isDone; rounds += 1) {
        await using writer = Bun.spawn(
          [process.execPath, script, folder.path, "killed", String(BYTES)],
          { stdout: "pipe" },
        );
        const lines = await linesOf(writer, Math.floor(random() * 60) + 2);
        isDone = lines.includes("committed");
        const [missing = 0, ...taken] = lines.map((line) => Number(line.split(" ")[1] ?? 0));
        // All that was on record is taken for granted.
        expect(BYTES - missing).toBe(bytesHere);
        const bytesTaken = taken.reduce((sum, bytes) => sum + bytes, 0);
        await using store = await openStore(folder.path, { clock: systemClock });
        await checkTruth(folder.path, store, []);
        const before = bytesHere;
        bytesHere = await store.bytesHere(descriptor);
        expect(before + bytesTaken - bytesHere).toBeLessThanOrEqual(1024 * 1024);
      }
      expect(rounds).toBeGreaterThan(8);
      expect(bytesHere).toBe(BYTES);
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
  return text.split("\n").slice(0, -1);
}
