import { expect, test } from "bun:test";
import fc from "fast-check";
import { Limiter } from "./limiter.ts";

const signal = new AbortController().signal;

async function pass(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
}

test("a Limiter never runs more than its number, whenever tasks come, and runs all", async () => {
  const tasks = fc.array(
    fc.record({ arrival: fc.nat(20), duration: fc.nat(8), fails: fc.boolean() }),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), tasks, async (max, list) => {
      const limiter = new Limiter(max);
      let running = 0;
      let most = 0;
      const outcomes = await Promise.allSettled(
        list.map(async ({ arrival, duration, fails }) => {
          await pass(arrival);
          return await limiter.run(signal, async () => {
            running += 1;
            most = Math.max(most, running);
            await pass(duration);
            running -= 1;
            if (fails) throw new Error("the task failed");
          });
        }),
      );
      expect(most).toBeLessThanOrEqual(max);
      expect(outcomes.map(({ status }) => status === "rejected")).toEqual(
        list.map(({ fails }) => fails),
      );
    }),
    { numRuns: 1_000 },
  );
});

test("tasks start in the order they came", async () => {
  const limiter = new Limiter(2);
  const started: number[] = [];
  const tasks = [5, 1, 3, 0, 2, 4, 0, 1].map((turns, i) =>
    limiter.run(signal, async () => {
      started.push(i);
      await pass(turns);
    }),
  );
  await Promise.all(tasks);
  expect(started).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("a Limiter uses all the places it has", async () => {
  const limiter = new Limiter(3);
  const gate = Promise.withResolvers<void>();
  let running = 0;
  const full = Promise.withResolvers<void>();
  const tasks = Array.from({ length: 5 }, () =>
    limiter.run(signal, async () => {
      running += 1;
      if (running === 3) full.resolve();
      await gate.promise;
    }),
  );
  await full.promise;
  gate.resolve();
  await Promise.all(tasks);
  expect(running).toBe(5);
});

test("a task that is given up while it waits never starts, and leaves its place to the next", async () => {
  const limiter = new Limiter(1);
  const gate = Promise.withResolvers<void>();
  const first = limiter.run(signal, () => gate.promise);
  const giveUp = new AbortController();
  let started = false;
  const second = limiter.run(giveUp.signal, async () => {
    started = true;
  });
  const third = limiter.run(signal, async () => "third");
  giveUp.abort(new Error("given up"));
  await expect(second).rejects.toThrow("given up");
  gate.resolve();
  await first;
  expect(await third).toBe("third");
  expect(started).toBe(false);
  expect(await limiter.run(signal, async () => "room again")).toBe("room again");
});

test("a task whose signal is aborted already never starts", async () => {
  const limiter = new Limiter(1);
  await expect(limiter.run(AbortSignal.abort(new Error("no")), async () => 1)).rejects.toThrow(
    "no",
  );
  expect(await limiter.run(signal, async () => 2)).toBe(2);
});
