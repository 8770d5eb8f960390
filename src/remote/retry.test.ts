import { expect, test } from "bun:test";
import { retryAfterMs } from "./retry.ts";

const NOW = Date.UTC(2026, 0, 1, 12, 0, 0);

test.each<[string | null, number | undefined]>([
  ["7", 7000],
  [" 7 ", 7000],
  ["Thu, 01 Jan 2026 12:01:00 GMT", 60_000],
  ["999999999999999999999", 86_400_000],
  ["Thu, 01 Jan 2026 11:59:00 GMT", undefined],
  ["0", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["2026", 2_026_000],
  ["", undefined],
  [null, undefined],
])("retryAfterMs() reads %p (C-51)", (header, expected) => {
  expect(retryAfterMs(header, NOW)).toBe(expected);
});
