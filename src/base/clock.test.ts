import { expect, test } from "bun:test";
import { systemClock } from "./clock.ts";

test("systemClock.sleep() ends when it is given up, with the reason", async () => {
  const giveUp = new AbortController();
  const sleep = systemClock.sleep(2 ** 31 - 1, giveUp.signal);
  giveUp.abort(new Error("given up"));
  await expect(sleep).rejects.toThrow("given up");
  await expect(systemClock.sleep(0, giveUp.signal)).rejects.toThrow("given up");
});

test("systemClock.sleep() takes at least its time", async () => {
  const startedMs = systemClock.monotonic();
  await systemClock.sleep(5, new AbortController().signal);
  // Timers count whole milliseconds.
  expect(systemClock.monotonic() - startedMs).toBeGreaterThanOrEqual(4);
});
