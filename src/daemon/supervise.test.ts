import { expect, test } from "bun:test";
import { createEventClock } from "#test-support/event-clock";
import { STOP_MS, supervise } from "./supervise.ts";

const random = () => 1;

test("a part is started again later each time, and soon once it had run for long", async () => {
  const clock = createEventClock(0);
  const end = new AbortController();
  const startedMs: number[] = [];
  const told: string[] = [];
  const part = {
    name: "watch" as const,
    async run(signal: AbortSignal) {
      startedMs.push(clock.now());
      if (startedMs.length === 4) await clock.sleep(3_600_000, signal);
      if (startedMs.length === 6) end.abort();
      throw new Error("crash");
    },
  };
  const left = await clock.run(
    supervise([part], end.signal, {
      ...{ clock, random },
      onChange: ({ state }) => told.push(state),
      onCrash: (_, { code }) => told.push(code),
    }),
  );
  const waits = startedMs.slice(1).map((ms, i) => ms - (startedMs[i] ?? 0));
  expect(waits).toEqual([1_000, 2_000, 4_000, 3_601_000, 2_000]);
  expect(told.slice(0, 4)).toEqual(["running", "restarting", "internal-error", "running"]);
  expect(told.at(-1)).toBe("stopped");
  expect(left).toEqual([]);
});

test("who hangs is left behind and named, and the others end", async () => {
  const clock = createEventClock(0);
  const end = new AbortController();
  const hangs = { name: "upkeep" as const, run: () => new Promise<void>(() => {}) };
  const ends = {
    name: "watch" as const,
    run: (signal: AbortSignal) => clock.sleep(3_600_000, signal),
  };
  const options = { clock, random, onChange: () => {}, onCrash: () => {} };
  const running = supervise([hangs, ends], end.signal, options);
  end.abort(new Error("stop"));
  expect(await clock.run(running)).toEqual(["upkeep"]);
  expect(clock.now()).toBe(STOP_MS);
});

test("a part that ends by itself has failed", async () => {
  const clock = createEventClock(0);
  const end = new AbortController();
  const codes: string[] = [];
  const part = { name: "api" as const, run: async () => {} };
  const onCrash = (_: unknown, { code }: { readonly code: string }) => {
    codes.push(code);
    if (codes.length === 2) end.abort();
  };
  await clock.run(supervise([part], end.signal, { clock, random, onChange: () => {}, onCrash }));
  expect(codes).toEqual(["part-ended", "part-ended"]);
});
