import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { createEventClock, type EventClock } from "#test-support/event-clock";
import { type Link, type LinkWait, openLink } from "./link.ts";
import type { Ledger } from "./quota.ts";
import { type LinkSettings, UNLIMITED_LINK } from "./settings.ts";

const signal = new AbortController().signal;

/** Hours of a link are a moment of a test, on an idle machine; only a test that hangs takes so long. */
const HANG_MS = 60_000;

/** A Monday noon. */
const MONDAY_MS = Date.UTC(2026, 0, 5, 12);
const HOUR_MS = 3_600_000;

/** No ledger is asked where there is no quota. */
const NO_LEDGER: Ledger = {
  read: () => Promise.reject(new Error("nobody asks")),
  write: () => Promise.reject(new Error("nobody asks")),
};

async function openAt(clock: EventClock, settings: Partial<LinkSettings>, waits: LinkWait[] = []) {
  const onWait = (wait: LinkWait) => waits.push(wait);
  const options = { clock, ledger: NO_LEDGER, timeZone: "UTC", onWait };
  return openLink({ ...UNLIMITED_LINK, ...settings }, options);
}

/** Open for one hour of every day, from that hour on. */
function hours(from: number, to: number, bytesPerSecond?: number) {
  const days = [1, 2, 3, 4, 5, 6, 7];
  return { days, fromMinute: from * 60, toMinute: to * 60, bytesPerSecond };
}

/** A piece that was taken: asked for and given at these times, of the monotonic clock. */
interface Taken {
  readonly connection: number;
  readonly bytes: number;
  readonly askedMs: number;
  readonly givenMs: number;
}

/** What a connection does: it pauses, then takes, in turn. */
type Connection = readonly { readonly pauseMs: number; readonly bytes: number }[];

async function transfer(link: Link, clock: EventClock, connections: readonly Connection[]) {
  const taken: Taken[] = [];
  const run = async (steps: Connection, connection: number) => {
    for (const { pauseMs, bytes } of steps) {
      if (pauseMs > 0) await clock.sleep(pauseMs, signal);
      const askedMs = clock.monotonic();
      await link.take(bytes, signal);
      taken.push({ connection, bytes, askedMs, givenMs: clock.monotonic() });
    }
  };
  await clock.run(Promise.all(connections.map(run)));
  return taken;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}

describe("the cap", () => {
  const step = fc.record({
    pauseMs: fc.oneof(
      { weight: 4, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 30_000 }) },
    ),
    // In milliseconds of the cap, so that sizes fit the rate.
    costMs: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 4_000 })),
  });
  const connections = fc.array(fc.array(step, { minLength: 1, maxLength: 12 }), {
    minLength: 1,
    maxLength: 5,
  });
  const rates = fc.integer({ min: 1, max: 200_000_000 });

  test(
    "is kept between any two moments, by any connections, but for a fifth of a second",
    async () => {
      await fc.assert(
        fc.asyncProperty(rates, connections, async (bytesPerSecond, sketch) => {
          const clock = createEventClock(MONDAY_MS);
          const link = await openAt(clock, { bytesPerSecond });
          const steps = sketch.map((list) =>
            list.map(({ pauseMs, costMs }) => {
              return { pauseMs, bytes: Math.ceil((costMs * bytesPerSecond) / 1000) };
            }),
          );
          const taken = await transfer(link, clock, steps);
          for (const { askedMs: fromMs } of taken) {
            for (const { givenMs: toMs } of taken) {
              const within = taken.filter((one) => one.askedMs >= fromMs && one.givenMs <= toMs);
              const bytes = sum(within.map((one) => one.bytes));
              const allowed = (bytesPerSecond * (toMs - fromMs + 200)) / 1000;
              expect(bytes).toBeLessThanOrEqual(Math.max(1, allowed) + 1);
            }
          }
        }),
        { numRuns: 100 },
      );
    },
    HANG_MS,
  );

  test(
    "is kept within 3 % in every window of 10 s, and used, by several connections at once",
    async () => {
      const sizes = fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 8 });
      const many = fc.array(sizes, { minLength: 1, maxLength: 6 });
      const rate = fc.integer({ min: 2_500_000, max: 50_000_000 });
      await fc.assert(
        fc.asyncProperty(rate, many, async (bytesPerSecond, lists) => {
          const clock = createEventClock(MONDAY_MS);
          const link = await openAt(clock, { bytesPerSecond });
          const endMs = 12_000;
          const taken: { readonly atMs: number; readonly bytes: number }[] = [];
          const run = async (sizesOfOne: readonly number[]) => {
            for (let i = 0; clock.monotonic() < endMs; i += 1) {
              const bytes = sizesOfOne[i % sizesOfOne.length] ?? 0;
              // Tiny pieces in great numbers would only make the test slow.
              const piece = Math.max(bytes, bytesPerSecond / 200);
              await link.take(piece, signal);
              taken.push({ atMs: clock.monotonic(), bytes: piece });
            }
          };
          await clock.run(Promise.all(lists.map(run)));
          for (let fromMs = 0; fromMs <= endMs - 10_000; fromMs += 250) {
            const within = taken.filter(({ atMs }) => atMs > fromMs && atMs <= fromMs + 10_000);
            const share = sum(within.map(({ bytes }) => bytes)) / (bytesPerSecond * 10);
            expect(share).toBeGreaterThan(0.97);
            expect(share).toBeLessThan(1.03);
          }
        }),
        { numRuns: 20 },
      );
    },
    HANG_MS,
  );

  test("gives connections their turns: a small piece does not wait for a large one", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { bytesPerSecond: 1_000_000 });
    const large = { pauseMs: 0, bytes: 60_000_000 };
    const small = { pauseMs: 1_000, bytes: 1_000 };
    const taken = await transfer(link, clock, [[large], [large], [small]]);
    const piece = taken.find(({ connection }) => connection === 2);
    expect((piece?.givenMs ?? Infinity) - 1_000).toBeLessThan(200);
    const [first = 0, second = 0] = taken
      .filter(({ connection }) => connection < 2)
      .map(({ givenMs }) => givenMs);
    expect(Math.abs(first - second)).toBeLessThanOrEqual(50);
  });

  test("lets nobody who comes later take what another waits for", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { bytesPerSecond: 1_000_000 });
    const large = [{ pauseMs: 0, bytes: 2_000_000 }];
    const small = Array.from({ length: 1_000 }, () => ({ pauseMs: 10, bytes: 10_000 }));
    const taken = await transfer(link, clock, [large, small]);
    expect(taken.find(({ connection }) => connection === 0)?.givenMs).toBeLessThan(5_000);
  });

  test("makes up for no rest: what was not used is gone", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { bytesPerSecond: 1_000 });
    const [taken] = await transfer(link, clock, [[{ pauseMs: 60_000, bytes: 10_000 }]]);
    expect((taken?.givenMs ?? 0) - 60_000).toBeGreaterThanOrEqual(9_800);
  });

  test("is none where the site says nothing", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, {});
    await transfer(link, clock, [[{ pauseMs: 0, bytes: 2 ** 50 }]]);
    expect(clock.monotonic()).toBe(0);
    expect(link.quotaLeft()).toBeUndefined();
  });
});

describe("windows", () => {
  test("let nothing through outside, and go on in the middle of a piece", async () => {
    const clock = createEventClock(MONDAY_MS);
    const waits: LinkWait[] = [];
    const settings = { bytesPerSecond: 10, windows: [hours(11, 13)] };
    const link = await openAt(clock, settings, waits);
    // One hour is left today, two hours are tomorrow's.
    const taken = await transfer(link, clock, [[{ pauseMs: 0, bytes: 10 * 3600 * 1.5 }]]);
    const givenMs = taken[0]?.givenMs ?? 0;
    expect(givenMs / HOUR_MS).toBeGreaterThanOrEqual(23.5 - 0.001);
    expect(givenMs / HOUR_MS).toBeLessThan(23.51);
    expect(waits).toEqual([{ reason: "window", untilMs: MONDAY_MS + 23 * HOUR_MS }]);
  });

  test(
    "never leak a byte, whatever comes when",
    async () => {
      const window = fc.record({
        from: fc.integer({ min: 0, max: 23 }),
        length: fc.integer({ min: 1, max: 23 }),
      });
      const pieces = fc.array(
        fc.record({ pauseMs: fc.integer({ min: 0, max: 8 * HOUR_MS }), bytes: fc.nat(600) }),
        { minLength: 1, maxLength: 5 },
      );
      await fc.assert(
        fc.asyncProperty(window, fc.array(pieces, { maxLength: 3 }), async (sketch, lists) => {
          const clock = createEventClock(MONDAY_MS);
          const to = ((sketch.from + sketch.length - 1) % 24) + 1;
          // A byte a second, so that pieces are often in the middle when the window ends.
          const link = await openAt(clock, {
            bytesPerSecond: 1,
            windows: [hours(sketch.from, to)],
          });
          for (const { givenMs } of await transfer(link, clock, lists)) {
            const hour = new Date(MONDAY_MS + givenMs).getUTCHours();
            expect((hour - sketch.from + 24) % 24).toBeLessThan(sketch.length);
          }
        }),
        { numRuns: 40 },
      );
    },
    HANG_MS,
  );

  test(
    "cost as much time as timeFor() says",
    async () => {
      const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 23 }), { minLength: 1, maxLength: 4 });
      const speeds = fc.array(fc.constantFrom(undefined, 1, 3), { minLength: 5, maxLength: 5 });
      await fc.assert(
        fc.asyncProperty(
          ...[cuts, speeds, fc.integer({ min: 20, max: 20_000 }), fc.integer({ min: 0, max: 24 })],
          async (edges, list, bytes, hour) => {
            const clock = createEventClock(MONDAY_MS + hour * HOUR_MS);
            const bounds = [0, ...edges.toSorted((a, b) => a - b), 24];
            const windows = bounds.slice(1).flatMap((to, i) => {
              // One in the middle is left out, so that there is a time to wait for.
              return i === 1 ? [] : [hours(bounds[i] ?? 0, to, list[i])];
            });
            const link = await openAt(clock, { bytesPerSecond: 2, windows });
            // A few bytes decide whether the rest waits for the next window.
            const leastMs = link.timeFor(bytes - 20, clock.now());
            const mostMs = link.timeFor(bytes + 20, clock.now());
            await clock.run(link.take(bytes, signal));
            expect(clock.monotonic()).toBeGreaterThanOrEqual(leastMs);
            expect(clock.monotonic()).toBeLessThanOrEqual(mostMs);
          },
        ),
        { numRuns: 20 },
      );
    },
    HANG_MS,
  );

  test("of another speed begin and end in the middle of a piece", async () => {
    const clock = createEventClock(MONDAY_MS);
    const windows = [hours(0, 13), hours(13, 24, 1)];
    const link = await openAt(clock, { bytesPerSecond: 20, windows });
    const bytes = 20 * 3600 + 1 * 1800;
    const [taken] = await transfer(link, clock, [[{ pauseMs: 0, bytes }]]);
    expect((taken?.givenMs ?? 0) / HOUR_MS).toBeCloseTo(1.5, 2);
  });

  test("without a cap lend nothing to those with one", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { windows: [hours(0, 13), hours(13, 24, 10)] });
    const [first, second] = await transfer(link, clock, [
      [{ pauseMs: 0, bytes: 2 ** 40 }],
      [{ pauseMs: HOUR_MS, bytes: 1_000 }],
    ]);
    expect(first?.givenMs).toBe(0);
    expect(second?.givenMs).toBeGreaterThanOrEqual(HOUR_MS + 99_800);
  });

  test("are told once, however many wait", async () => {
    const clock = createEventClock(MONDAY_MS);
    const waits: LinkWait[] = [];
    const link = await openAt(clock, { windows: [hours(22, 24)] }, waits);
    const piece = [{ pauseMs: 0, bytes: 1 }];
    const late = [{ pauseMs: HOUR_MS, bytes: 1 }];
    await transfer(link, clock, [piece, piece, late]);
    expect(waits).toEqual([{ reason: "window", untilMs: MONDAY_MS + 10 * HOUR_MS }]);
  });

  test("follow a clock that is set while they are waited for", async () => {
    const clock = createEventClock(0);
    const link = await openAt(clock, { windows: [hours(11, 13)] });
    const work = link.take(1, signal);
    void clock.sleep(1_000, signal).then(() => clock.set(MONDAY_MS));
    await clock.run(work);
    expect(clock.monotonic()).toBeLessThanOrEqual(61_000);
  });
});

describe("a clock that is set back", () => {
  test("closes a window that was open", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { windows: [hours(11, 13)] });
    await clock.run(link.take(1, signal));
    clock.set(MONDAY_MS - 4 * HOUR_MS);
    await clock.run(link.take(1, signal));
    expect(clock.monotonic()).toBe(3 * HOUR_MS);
  });
});

describe("giving up", () => {
  test("ends a wait at once, leaves no timer behind, and no gap for the others", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { bytesPerSecond: 1_000 });
    const giveUp = new AbortController();
    const alone = link.take(1_000_000, giveUp.signal);
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.sleepers).toBe(1);
    giveUp.abort(new Error("given up"));
    await expect(alone).rejects.toThrow("given up");
    expect(clock.sleepers).toBe(0);
    // Somebody may come before the line has been closed.
    const other = new AbortController();
    const also = link.take(1_000, other.signal);
    await new Promise((resolve) => setImmediate(resolve));
    other.abort(new Error("given up"));
    const next = link.take(100, signal);
    await expect(also).rejects.toThrow("given up");
    await clock.run(next);
    await expect(link.take(1, giveUp.signal)).rejects.toThrow("given up");
  });

  test("in the middle of the line lets the others through", async () => {
    const clock = createEventClock(MONDAY_MS);
    const link = await openAt(clock, { bytesPerSecond: 1_000 });
    const giveUp = new AbortController();
    const first = link.take(1_000, signal);
    const second = link.take(1_000_000, giveUp.signal);
    const third = link.take(1_000, signal);
    await new Promise((resolve) => setImmediate(resolve));
    giveUp.abort(new Error("given up"));
    await expect(second).rejects.toThrow("given up");
    await clock.run(Promise.all([first, third]));
    expect(clock.monotonic()).toBeLessThan(2_200);
  });
});

describe("the quota", () => {
  /** A ledger in memory that tells what was written last. */
  function memoryLedger(record?: { readonly bytes: number; readonly latestMs: number }) {
    const state = { record, writes: 0 };
    const ledger: Ledger = {
      read: async () => state.record,
      async write(next) {
        await Promise.resolve();
        state.record = next;
        state.writes += 1;
      },
    };
    return { state, ledger };
  }

  test("ends transfers before any further byte, and is written as it was used", async () => {
    const clock = createEventClock(MONDAY_MS);
    const { state, ledger } = memoryLedger();
    const settings = { ...UNLIMITED_LINK, quota: { bytes: 1_000_000, resetDay: 1 } };
    const options = { clock, ledger, timeZone: "UTC" };
    {
      await using link = await openLink(settings, options);
      await link.take(999_000, signal);
      expect(link.quotaLeft()).toEqual({ bytes: 1_000, renewsMs: Date.UTC(2026, 1, 1) });
      await link.take(1_000, signal);
      const refused = await link.take(0, signal).catch((error: unknown) => error);
      expect(isFailure(refused, "link-quota")).toBe(true);
      expect(refused).toMatchObject({ transient: false });
      expect(String(refused)).toContain("2026-02-01 00:00 (UTC)");
    }
    expect(state.record?.bytes).toBe(1_000_000);
    await using again = await openLink(settings, options);
    await expect(again.take(0, signal)).rejects.toThrow("is used up");
    clock.set(Date.UTC(2026, 1, 1));
    await again.take(5, signal);
    expect(again.quotaLeft()?.bytes).toBe(999_995);
  });

  test("counts what arrived although nobody waited for its turn to come", async () => {
    const clock = createEventClock(MONDAY_MS);
    const { ledger } = memoryLedger();
    const settings = {
      ...UNLIMITED_LINK,
      bytesPerSecond: 1,
      quota: { bytes: 1_000_000, resetDay: 1 },
    };
    const link = await openLink(settings, { clock, ledger, timeZone: "UTC" });
    const giveUp = new AbortController();
    const piece = link.take(500, giveUp.signal);
    giveUp.abort(new Error("given up"));
    await expect(piece).rejects.toThrow("given up");
    expect(link.quotaLeft()?.bytes).toBe(999_500);
  });
});
