import { expect, test } from "bun:test";
import { formatBytes, formatDuration } from "./bytes.ts";

const BYTES: readonly (readonly [bytes: number, shown: string])[] = [
  [0, "0 B"],
  [1, "1 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [1500, "1.5 kB"],
  [999_949, "999.9 kB"],
  [999_950, "1.0 MB"],
  [1.9e9, "1.9 GB"],
  [1e12, "1.0 TB"],
  [Number.MAX_SAFE_INTEGER, "9.0 PB"],
];

test.each(BYTES)("formatBytes(%d) is %s", (bytes, shown) => {
  expect(formatBytes(bytes)).toBe(shown);
});

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DURATIONS: readonly (readonly [ms: number, shown: string])[] = [
  [0, "0.0s"],
  [400, "0.4s"],
  [9_940, "9.9s"],
  [9_999, "10s"],
  [38_400, "38s"],
  [59_600, "1m00s"],
  [3 * MINUTE + 12_000, "3m12s"],
  [59 * MINUTE + 59_600, "1h00m"],
  [2 * HOUR + 5 * MINUTE, "2h05m"],
  [24 * HOUR - 1_000, "23h59m"],
  [99 * HOUR + 5 * MINUTE, "4d03h"],
];

test.each(DURATIONS)("formatDuration(%d) is %s", (ms, shown) => {
  expect(formatDuration(ms)).toBe(shown);
});
