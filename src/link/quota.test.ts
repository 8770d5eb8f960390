import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { assert, Failure } from "#base";
import { createEventClock, type EventClock } from "#test-support/event-clock";
import { type Ledger, type LedgerRecord, openQuota, RESERVE_BYTES_MIN } from "./quota.ts";

const MIB = 1024 * 1024;
const NOVEMBER_MS = Date.UTC(2026, 10, 20);
const DECEMBER_MS = Date.UTC(2026, 11, 1);
const QUOTA = { bytes: 50_000 * MIB, resetDay: 1 };
/** Only a test that hangs takes so long. */
const HANG_MS = 60_000;

const signal = new AbortController().signal;

/** What is on the disk, and how often it was written. */
interface LedgerState {
  record: LedgerRecord | undefined;
  writes: number;
  /** Once set, writes fail so. */
  broken: Failure | undefined;
}

/**
 * The ledger of one life of a process: a write takes 5 ms, and after death there is none. Two at once
 * would fight for one file.
 */
function lifeOf(state: LedgerState, clock: EventClock, life = { isDead: false }): Ledger {
  let isWriting = false;
  return {
    read: async () => state.record,
    async write(record) {
      assert(!isWriting, "one write at a time");
      isWriting = true;
      await clock.sleep(5, signal);
      isWriting = false;
      if (state.broken !== undefined) throw state.broken;
      if (life.isDead) return;
      state.record = record;
      state.writes += 1;
    },
  };
}

function world(startMs = NOVEMBER_MS, record?: LedgerRecord) {
  const clock = createEventClock(startMs);
  const state: LedgerState = { record, writes: 0, broken: undefined };
  const open = (quota = QUOTA, life = { isDead: false }) => {
    return openQuota(quota, { clock, ledger: lifeOf(state, clock, life), timeZone: "UTC" });
  };
  return { clock, state, open };
}

describe("the ledger", () => {
  test(
    "never says too little, at whatever moment the process dies",
    async () => {
      const piece = fc.record({
        bytes: fc.integer({ min: 0, max: MIB }),
        pauseMs: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 3, 5_000),
      });
      const connections = fc.array(fc.array(piece, { minLength: 20, maxLength: 60 }), {
        minLength: 1,
        maxLength: 4,
      });
      const lives = fc.array(
        fc.record({ connections, dies: fc.constantFrom("by itself", "at the end", "before") }),
        { minLength: 1, maxLength: 4 },
      );
      await fc.assert(
        fc.asyncProperty(lives, async (list) => {
          const { clock, state, open } = world();
          let arrivedBytes = 0;
          for (const { connections: each, dies } of list) {
            const life = { isDead: false };
            const counter = await open(QUOTA, life);
            await clock.run(counter.charge(0));
            const transfer = async (pieces: (typeof each)[number]) => {
              for (const { bytes, pauseMs } of pieces) {
                if (pauseMs > 0) await clock.sleep(pauseMs, signal);
                // They are there, and before anybody is told the machine may die.
                arrivedBytes += bytes;
                expect(state.record?.bytes).toBeGreaterThanOrEqual(arrivedBytes);
                await counter.charge(bytes);
              }
            };
            await clock.run(Promise.all(each.map(transfer)));
            if (dies === "by itself") {
              await clock.run(counter.close());
              expect(state.record?.bytes).toBe(QUOTA.bytes - counter.left().bytes);
            } else if (dies === "at the end") {
              await clock.run(clock.sleep(10, signal));
            }
            life.isDead = true;
            expect(state.record?.bytes).toBeGreaterThanOrEqual(arrivedBytes);
          }
        }),
        { numRuns: 100 },
      );
    },
    HANG_MS,
  );

  test.each([
    ["a slow link", 250_000, RESERVE_BYTES_MIN],
    ["a fast link", 125_000_000, 8 * 125_000_000],
  ])(
    "of %s is written every few seconds at most, and says little too much",
    async (_, bytesPerSecond, moreBytesMax) => {
      const { clock, state, open } = world();
      const counter = await open();
      let usedBytes = 0;
      let mostAhead = 0;
      const fill = async (seconds: number) => {
        for (let i = 0; i < seconds * 50; i += 1) {
          await clock.sleep(20, signal);
          usedBytes += bytesPerSecond / 50;
          const arrivedMs = clock.monotonic();
          await counter.charge(bytesPerSecond / 50);
          // Nothing waits for the disk but the first.
          if (mostAhead > 0) expect(clock.monotonic()).toBe(arrivedMs);
          mostAhead = Math.max(mostAhead, (state.record?.bytes ?? 0) - usedBytes);
        }
      };
      await clock.run(fill(10));
      const { writes } = state;
      await clock.run(fill(60));
      expect(state.writes - writes).toBeLessThanOrEqual(60 / 3);
      expect(mostAhead).toBeLessThanOrEqual(moreBytesMax);
    },
  );

  test("is not carried away by a burst", async () => {
    const { clock, state, open } = world();
    const counter = await open();
    for (let i = 0; i < 20; i += 1) await clock.run(counter.charge(MIB));
    expect(state.record?.bytes).toBeLessThanOrEqual(20 * MIB + 8 * 20 * MIB);
  });

  test("that can't be written stops what would be counted in it, until it can", async () => {
    const { clock, state, open } = world();
    const counter = await open();
    state.broken = new Failure({ code: "store-full", message: "no room", hint: "make some" });
    await expect(clock.run(counter.charge(0))).rejects.toThrow("no room");
    state.broken = undefined;
    await clock.run(counter.charge(10));
    state.broken = new Failure({ code: "store-full", message: "no room", hint: "make some" });
    // The ledger is ahead, and that a delivery ended for another reason must stay the news.
    await clock.run(counter.close());
    expect(state.record?.bytes).toBeGreaterThan(10);
  });

  test("is not touched by who only looks", async () => {
    const { state, open } = world(NOVEMBER_MS, { bytes: 5 * MIB, latestMs: NOVEMBER_MS - 1 });
    const counter = await open();
    expect(counter.left().bytes).toBe(QUOTA.bytes - 5 * MIB);
    await counter.close();
    expect(state.writes).toBe(0);
  });
});

describe("a period", () => {
  test("ends in the middle of a transfer: what comes then is the next one's", async () => {
    const { clock, state, open } = world(DECEMBER_MS - 60_000);
    const counter = await open();
    await clock.run(counter.charge(7 * MIB));
    await clock.run(clock.sleep(60_000, signal));
    await clock.run(counter.charge(3 * MIB));
    expect(counter.left()).toEqual({
      bytes: QUOTA.bytes - 3 * MIB,
      renewsMs: Date.UTC(2027, 0, 1),
    });
    // If it died now, the ledger would be of December already.
    expect(state.record?.latestMs).toBeGreaterThanOrEqual(DECEMBER_MS);
    await clock.run(counter.close());
    expect(state.record?.bytes).toBe(3 * MIB);
  });

  test("that ends while its ledger is written is not taken for the next one", async () => {
    const { clock, state, open } = world(DECEMBER_MS - 2);
    const counter = await open();
    const last = counter.charge(5 * MIB);
    await clock.run(clock.sleep(2, signal));
    await clock.run(Promise.all([last, counter.charge(MIB)]));
    expect(state.record?.latestMs).toBeGreaterThanOrEqual(DECEMBER_MS);
  });

  test("that is over when the ledger is read counts no more", async () => {
    const october = { bytes: 49_000 * MIB, latestMs: Date.UTC(2026, 9, 31) };
    const counter = await world(NOVEMBER_MS, october).open();
    expect(counter.left().bytes).toBe(QUOTA.bytes);
  });

  test("does not begin anew on a machine that starts in 1970", async () => {
    const november = { bytes: 49_000 * MIB, latestMs: NOVEMBER_MS };
    const { clock, state, open } = world(0, november);
    const counter = await open();
    await clock.run(counter.charge(MIB));
    expect(counter.left()).toEqual({ bytes: 999 * MIB, renewsMs: DECEMBER_MS });
    await clock.run(counter.close());
    clock.set(NOVEMBER_MS + 60_000);
    const next = await open();
    await clock.run(next.charge(MIB));
    expect(next.left().bytes).toBe(998 * MIB);
    expect(state.record?.bytes).toBeGreaterThanOrEqual(49_002 * MIB);
  });

  test("with another reset day keeps what may have been used in it", async () => {
    const counted = { bytes: 40_000 * MIB, latestMs: NOVEMBER_MS - 1 };
    const { open } = world(NOVEMBER_MS, counted);
    expect((await open({ ...QUOTA, resetDay: 15 })).left().bytes).toBe(10_000 * MIB);
    expect((await open({ ...QUOTA, resetDay: 20 })).left().bytes).toBe(QUOTA.bytes);
  });
});

describe("a quota that is used up", () => {
  const small = { bytes: 100, resetDay: 1 };

  test("says how to go on where the clock was once years ahead, for it won't renew by itself", async () => {
    const { open } = world(NOVEMBER_MS, { bytes: 100, latestMs: Date.UTC(2099, 0, 1) });
    const failure = (await open(small)).charge(0);
    await expect(failure).rejects.toMatchObject({ hint: expect.stringContaining("ledger.json") });
    const { open: openRight } = world(NOVEMBER_MS, { bytes: 100, latestMs: NOVEMBER_MS });
    const usual = (await openRight(small)).charge(0);
    await expect(usual).rejects.toMatchObject({ hint: expect.stringContaining("Wait until") });
  });

  test("takes exactly what was left, and then nothing", async () => {
    const { clock, open } = world();
    const counter = await open(small);
    await clock.run(counter.charge(60));
    await clock.run(counter.charge(40));
    for (const bytes of [0, 1]) {
      await expect(counter.charge(bytes)).rejects.toMatchObject({ code: "link-quota" });
    }
    expect(counter.left().bytes).toBe(0);
  });

  test("stays used up for the next process, also after a crash", async () => {
    const { clock, open } = world();
    const counter = await open(small);
    await clock.run(counter.charge(1));
    // Killed here: what was reserved counts as used, and never more than the quota.
    const next = await open(small);
    await expect(next.charge(0)).rejects.toMatchObject({ code: "link-quota", transient: false });
    expect((await open({ ...small, bytes: 150 })).left().bytes).toBe(50);
  });
});
