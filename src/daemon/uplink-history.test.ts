import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { UplinkHistory } from "./uplink-history.ts";

const MINUTE_MS = 60_000;
const NOON = Date.UTC(2026, 0, 5, 12);

test("slices hold every byte of their time once, whatever the time", () => {
  const arrivals = fc.array(
    fc.record({ ago: fc.nat(7 * 24 * 60 - 1), bytes: fc.integer({ min: 1, max: 1e9 }) }),
    { maxLength: 50 },
  );
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 168 }), (each, hours) => {
      const history = new UplinkHistory();
      const byAge = each.toSorted((a, b) => b.ago - a.ago);
      for (const { ago, bytes } of byAge) history.add(bytes, NOON - ago * MINUTE_MS, null);
      const slices = history.slices(hours, NOON, null);
      expect(slices.length).toBeLessThanOrEqual(300);
      const [first] = slices;
      const fromMs = first?.atMs ?? 0;
      expect(fromMs).toBeLessThanOrEqual(NOON + MINUTE_MS - hours * 60 * MINUTE_MS);
      expect((slices.at(-1)?.atMs ?? 0) + (first?.ms ?? 0)).toBe(NOON + MINUTE_MS);
      const wanted = each.filter(({ ago }) => NOON - ago * MINUTE_MS >= fromMs);
      const sum = (list: readonly { readonly bytes: number }[]) =>
        list.reduce((total, { bytes }) => total + bytes, 0);
      expect(sum(slices)).toBe(sum(wanted));
    }),
    { numRuns: Math.min(FUZZ_RUNS, 1_000) },
  );
});

test("it holds a week, and no more, however long bytes come", () => {
  const history = new UplinkHistory();
  const week = 7 * 24 * 60;
  for (let i = 0; i < week + 100; i += 1) history.add(1, NOON + i * MINUTE_MS, null);
  expect(history.takeUnwritten()).toHaveLength(week);
  expect(history.takeUnwritten()).toEqual([]);
});

test("a minute that has ended is to be written, and is written again when that failed", () => {
  const history = new UplinkHistory([{ minute: 1, bytes: 5, cap: null }]);
  expect(history.add(1, NOON, 8)).toBe(false);
  expect(history.add(1, NOON + 1, 8)).toBe(false);
  expect(history.add(1, NOON + MINUTE_MS, 4)).toBe(true);
  const unwritten = history.takeUnwritten();
  expect(unwritten.map(({ bytes, cap }) => [bytes, cap])).toEqual([
    [2, 8],
    [1, 4],
  ]);
  history.putBack(unwritten);
  expect(history.takeUnwritten()).toEqual(unwritten);
});

test("a slice tells the cap that held, or the one that holds now", () => {
  const history = new UplinkHistory();
  history.add(1, NOON, 100);
  const slices = history.slices(1, NOON + MINUTE_MS, 50);
  expect(slices.slice(-2).map((slice) => slice.capBytesPerSecond)).toEqual([100, 50]);
});
