import { expect, test } from "bun:test";
import fc from "fast-check";
import { createPlaces, type PlaceSize } from "./places.ts";

const signal = new AbortController().signal;

async function pass(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
}

test("a small blob has its place while large ones fill all of theirs", async () => {
  const places = createPlaces(3, 1);
  const gate = Promise.withResolvers<void>();
  const large = Array.from({ length: 5 }, () => places.run("large", signal, () => gate.promise));
  expect(await places.run("small", signal, async () => "through")).toBe("through");
  gate.resolve();
  await Promise.all(large);
  expect(places.taken).toBe(0);
});

test("a large blob is let in though all places but one are for small ones", async () => {
  const places = createPlaces(2, 2);
  expect(await places.run("large", signal, async () => "through")).toBe("through");
});

test("a spare place is one that nobody waits for", async () => {
  const places = createPlaces(2, 0);
  const gate = Promise.withResolvers<void>();
  const first = places.run("large", signal, () => gate.promise);
  const spare = places.runSpare(() => gate.promise);
  expect(spare).toBeDefined();
  expect(places.runSpare(async () => undefined)).toBeUndefined();
  const second = places.run("large", signal, async () => undefined);
  gate.resolve();
  await Promise.all([first, spare, second]);
  expect(places.taken).toBe(0);
});

test("a task that is given up while it waits never starts, and leaves its place to the next", async () => {
  const places = createPlaces(1, 0);
  const gate = Promise.withResolvers<void>();
  const first = places.run("large", signal, () => gate.promise);
  const giveUp = new AbortController();
  let started = false;
  const second = places.run("small", giveUp.signal, async () => {
    started = true;
  });
  const third = places.run("small", signal, async () => "third");
  giveUp.abort(new Error("given up"));
  await expect(second).rejects.toThrow("given up");
  gate.resolve();
  await first;
  expect(await third).toBe("third");
  expect(started).toBe(false);
});

test("there are never more than there may be, of each size, and all have their turn", async () => {
  const tasks = fc.array(
    fc.record({
      size: fc.constantFrom<PlaceSize>("small", "large"),
      arrival: fc.nat(20),
      duration: fc.nat(8),
    }),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.nat(3), tasks, async (max, own, list) => {
      const places = createPlaces(max, own);
      const running = { small: 0, large: 0 };
      let done = 0;
      await Promise.all(
        list.map(async ({ size, arrival, duration }) => {
          await pass(arrival);
          await places.run(size, signal, async () => {
            running[size] += 1;
            expect(running.small + running.large).toBeLessThanOrEqual(max);
            expect(running.large).toBeLessThanOrEqual(Math.max(1, max - own));
            await pass(duration);
            running[size] -= 1;
            done += 1;
          });
        }),
      );
      expect([done, places.taken]).toEqual([list.length, 0]);
    }),
    { numRuns: 1_000 },
  );
});
