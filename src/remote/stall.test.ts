import { expect, test } from "bun:test";
import fc from "fast-check";
import { StallWindow } from "./stall.ts";

const WINDOW_MS = 30_000;

/** Whether a steady flow of pieces is taken for a stall at any time in an hour of waiting. */
function stalls(pieceBytes: number, everyMs: number): boolean {
  const window = new StallWindow(WINDOW_MS);
  let isStalled = false;
  for (let ms = 0; ms < 3_600_000; ms += everyMs) {
    isStalled ||= window.isStalledAfter(everyMs, pieceBytes);
  }
  return isStalled;
}

test.each([
  ["2 KB a second", 2000, 1000, false],
  ["2 KB a second in rare pieces", 40_000, 20_000, false],
  ["1 KiB a window", 1024, WINDOW_MS, false],
  ["a byte a minute", 1, 60_000, true],
  ["a byte a second", 1, 1000, true],
  ["nothing", 0, 5000, true],
])("a flow of %s: %d bytes every %d ms is a stall: %p (C-54)", (_, bytes, everyMs, expected) => {
  expect(stalls(bytes, everyMs)).toBe(expected);
});

test("time that nobody waited does not count, however much of it passes", () => {
  const window = new StallWindow(WINDOW_MS);
  // Bytes are there whenever they are asked for: each wait is short, and there may be years between.
  for (let i = 0; i < 1000; i += 1) expect(window.isStalledAfter(0.01, 1)).toBe(false);
});

test("a stall is known after one window in which too little came, and never in less", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: WINDOW_MS, noNaN: true })), (waits) => {
      const window = new StallWindow(WINDOW_MS);
      let waitedMs = 0;
      for (const [i, waitMs] of waits.entries()) {
        waitedMs += waitMs;
        if (waitedMs < WINDOW_MS) {
          expect(window.isStalledAfter(waitMs, 10)).toBe(false);
          expect(window.leftMs).toBeCloseTo(WINDOW_MS - waitedMs, 3);
        } else {
          expect(window.isStalledAfter(waitMs, 10)).toBe(10 * (i + 1) < 1024);
          return;
        }
      }
    }),
  );
});
