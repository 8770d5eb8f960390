import { expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import { TokenBuckets } from "./token-buckets.ts";

test("a bucket gives its burst at once, then as many as its rate, and says how long to wait", () => {
  const clock = createManualClock();
  const buckets = new TokenBuckets({ clock, burst: 3, perSecond: 2 });
  expect([1, 2, 3, 4].map(() => buckets.take("a"))).toEqual([0, 0, 0, 500]);
  clock.advance(250);
  expect(buckets.take("a")).toBe(250);
  clock.advance(250);
  expect(buckets.take("a")).toBe(0);
  expect(buckets.take("a")).toBe(500);
});

test("a bucket never holds more than its burst", () => {
  const clock = createManualClock();
  const buckets = new TokenBuckets({ clock, burst: 2, perSecond: 1 });
  buckets.take("a");
  clock.advance(3_600_000);
  buckets.giveBack("a");
  expect([1, 2, 3].map(() => buckets.take("a"))).toEqual([0, 0, 1000]);
});

test("each key has a bucket of its own", () => {
  const buckets = new TokenBuckets({ clock: createManualClock(), burst: 1, perSecond: 1 });
  expect([buckets.take("a"), buckets.take("b"), buckets.take("a")]).toEqual([0, 0, 1000]);
});

test("only so many buckets are kept: the one not used for the longest goes", () => {
  const clock = createManualClock();
  const buckets = new TokenBuckets({ clock, burst: 1, perSecond: 1, keysMax: 2 });
  for (const key of ["a", "b", "a", "c"]) buckets.take(key);
  expect(buckets.take("a")).toBeGreaterThan(0);
  expect(buckets.take("b")).toBe(0);
});
