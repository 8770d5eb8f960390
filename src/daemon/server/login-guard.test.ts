import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { createManualClock } from "#test-support/clock";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { LoginGuard } from "./login-guard.ts";

const compare = (isRight: boolean) => async (beforeComparing: () => void) => {
  beforeComparing();
  return isRight;
};

/** What became of a login: whether it was right, or how long it has to wait. */
async function tried(guard: LoginGuard, address: string, user: string, isRight = false) {
  try {
    return await guard.run(address, user, compare(isRight));
  } catch (error) {
    if (isFailure(error, "logins-too-many")) return error.retryAfterMs ?? 0;
    throw error;
  }
}

test("each wrong password of an address makes the pause before the next twice as long, up to 5 min", async () => {
  const clock = createManualClock();
  const guard = new LoginGuard(clock);
  const pauses: number[] = [];
  for (let i = 0; pauses.length < 11; i += 1) {
    const outcome = await tried(guard, "10.0.0.9", `user-${i}`);
    if (typeof outcome !== "number") continue;
    pauses.push(outcome / 1_000);
    clock.advance(outcome);
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
});

test("a user is slowed wherever the guesses come from, but by no more than 30 s", async () => {
  const clock = createManualClock();
  const guard = new LoginGuard(clock);
  for (let i = 0; i < 10; i += 1) expect(await tried(guard, `10.0.0.${i}`, "anna")).toBe(false);
  expect(await tried(guard, "10.0.1.1", "anna")).toBe(1_000);
  for (let i = 0; i < 20; i += 1) {
    clock.advance(30_000);
    await tried(guard, `10.0.2.${i}`, "anna");
  }
  expect(await tried(guard, "10.0.3.1", "anna")).toBe(30_000);
});

test("guesses from elsewhere don't keep a user out where the password was right before", async () => {
  const guard = new LoginGuard(createManualClock());
  expect(await tried(guard, "10.0.0.1", "anna", true)).toBe(true);
  for (let i = 0; i < 20; i += 1) await tried(guard, `10.9.0.${i}`, "anna");
  expect(await tried(guard, "10.0.0.2", "anna", true)).toBe(1_000);
  expect(await tried(guard, "10.0.0.1", "anna", true)).toBe(true);
});

test("a password that was proven before is not compared, so nothing slows it", async () => {
  const guard = new LoginGuard(createManualClock());
  for (let i = 0; i < 20; i += 1) await tried(guard, "10.0.0.1", "anna");
  expect(await guard.run("10.0.0.1", "anna", async () => true)).toBe(true);
});

test("an hour of quiet begins anew", async () => {
  const clock = createManualClock();
  const guard = new LoginGuard(clock);
  for (let i = 0; i < 6; i += 1) await tried(guard, "10.0.0.1", "anna");
  clock.advance(3_600_000);
  for (let i = 0; i < 5; i += 1) expect(await tried(guard, "10.0.0.1", "bert")).toBe(false);
  expect(await tried(guard, "10.0.0.1", "bert")).toBe(1_000);
});

test("no more than 32 passwords wait for their comparison, wherever they come from", async () => {
  const guard = new LoginGuard(createManualClock());
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const waiting = Array.from({ length: 32 }, (_, i) =>
    guard.run(`10.0.${i}.1`, `user-${i}`, async (beforeComparing) => {
      beforeComparing();
      await held;
      return false;
    }),
  );
  expect(await tried(guard, "10.1.0.1", "anna")).toBe(1_000);
  release();
  await Promise.all(waiting);
  expect(await tried(guard, "10.1.0.1", "anna")).toBe(false);
});

test("whatever is tried in whatever order, an address gets no more wrong tries than the pauses allow", async () => {
  const step = fc.record({
    address: fc.constantFrom("a", "b"),
    user: fc.constantFrom("x", "y", "z"),
    advanceMs: fc.integer({ min: 0, max: 400_000 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = createManualClock();
      const guard = new LoginGuard(clock);
      const lastTries = new Map<string, number[]>();
      for (const { address, user, advanceMs } of steps) {
        clock.advance(advanceMs);
        if ((await tried(guard, address, user)) !== false) continue;
        const times = [...(lastTries.get(address) ?? []), clock.monotonic()];
        lastTries.set(address, times);
        const before = times.at(-2) ?? Number.NEGATIVE_INFINITY;
        const quietAt = times.findLastIndex((at, i) => at - (times[i - 1] ?? at) >= 3_600_000);
        const failures = times.length - 1 - Math.max(0, quietAt);
        if (failures < 5) continue;
        const pauseMs = Math.min(300_000, 1_000 * 2 ** (failures - 5));
        expect(clock.monotonic() - before).toBeGreaterThanOrEqual(pauseMs);
      }
    }),
    { numRuns: FUZZ_RUNS },
  );
});
