import { expect, test } from "bun:test";
import fc from "fast-check";
import { backoffMs } from "./backoff.ts";

const BACKOFF = { firstMs: 500, maxMs: 30_000 };

test("backoffMs() doubles, up to its limit", () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map((attempt) => backoffMs(attempt, 1, BACKOFF));
  expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test("backoffMs() spreads over the upper half, and stays finite however often it failed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, random) => {
        const waitMs = backoffMs(attempt, random, BACKOFF);
        const ceilingMs = Math.min(30_000, 500 * 2 ** (attempt - 1));
        expect(waitMs).toBeWithin(ceilingMs / 2, ceilingMs + 1);
      },
    ),
    { numRuns: 2_000 },
  );
});
