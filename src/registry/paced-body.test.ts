import { expect, test } from "bun:test";
import { createEventClock } from "#test-support/event-clock";
import { pacedBody } from "./paced-body.ts";
import { WireError } from "./wire.ts";

const WINDOW = { windowMs: 60_000, windowBytesMin: 1024 };

/** A body of chunks that come after so many milliseconds each; at its end it stays open. */
function dripping(clock: ReturnType<typeof createEventClock>, chunks: readonly [number, number][]) {
  const cancelled = new AbortController();
  const rest = chunks.values();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = rest.next();
        if (done === true) return new Promise(() => {});
        await clock.sleep(value[0], cancelled.signal);
        controller.enqueue(new Uint8Array(value[1]));
      },
      cancel: () => cancelled.abort(),
    },
    { highWaterMark: 0 },
  );
  return { body, cancelled: cancelled.signal };
}

async function readAll(
  body: ReadableStream<Uint8Array>,
): Promise<{ bytes: number; code?: string }> {
  let bytes = 0;
  try {
    for await (const chunk of body) bytes += chunk.byteLength;
    return { bytes };
  } catch (error) {
    if (error instanceof WireError) return { bytes, code: error.code };
    throw error;
  }
}

test("a body that comes is passed on, to its end", async () => {
  const clock = createEventClock(0);
  const body = new Blob([new Uint8Array(300_000)]).stream();
  expect(await clock.run(readAll(pacedBody(body, { clock })))).toEqual({ bytes: 300_000 });
});

test("a body that falls silent is given up, and what it comes from let go", async () => {
  const clock = createEventClock(0);
  const { body, cancelled } = dripping(clock, [[1, 5000]]);
  const read = readAll(pacedBody(body, { clock, ...WINDOW }));
  expect(await clock.run(read)).toEqual({ bytes: 5000, code: "REQUEST_TIMEOUT" });
  expect(clock.monotonic()).toBe(120_000);
  expect(cancelled.aborted).toBe(true);
});

test("a body of a byte a second is given up, however long it goes on", async () => {
  const clock = createEventClock(0);
  const { body } = dripping(clock, Array(3600).fill([1000, 1]));
  const { code } = await clock.run(readAll(pacedBody(body, { clock, ...WINDOW })));
  expect(code).toBe("REQUEST_TIMEOUT");
  expect(clock.monotonic()).toBe(60_000);
});

test("a slow body that brings enough in each window is not given up", async () => {
  const clock = createEventClock(0);
  const { body } = dripping(clock, Array(100).fill([15_000, 500]));
  const { bytes } = await clock.run(readAll(pacedBody(body, { clock, ...WINDOW })));
  expect(bytes).toBe(50_000);
});

test("the time that its reader takes does not count against a body", async () => {
  const clock = createEventClock(0);
  const { body } = dripping(clock, Array(10).fill([1, 10]));
  const reader = pacedBody(body, { clock, ...WINDOW }).getReader();
  const readSlowly = async () => {
    for (let i = 0; i < 10; i += 1) {
      await reader.read();
      await clock.sleep(600_000, new AbortController().signal);
    }
    return "all read";
  };
  expect(await clock.run(readSlowly())).toBe("all read");
});

test("no timer is left of a body that has ended, broke off or was let go", async () => {
  const clock = createEventClock(0);
  const { body, cancelled } = dripping(clock, Array(10).fill([1, 10]));
  const letGo = async () => {
    for await (const _ of pacedBody(body, { clock, ...WINDOW })) break;
  };
  await clock.run(letGo());
  expect(cancelled.aborted).toBe(true);
  const whole = new Blob([new Uint8Array(10)]).stream();
  await clock.run(readAll(pacedBody(whole, { clock })));
  const broken = new ReadableStream<Uint8Array>({
    pull: () => Promise.reject(new Error("the connection was closed")),
  });
  await clock.run(readAll(pacedBody(broken, { clock })).catch(() => {}));
  expect(clock.sleepers).toBe(0);
});

test("a body that breaks off fails with what it broke off with", async () => {
  const clock = createEventClock(0);
  const broken = new ReadableStream<Uint8Array>({
    pull: () => Promise.reject(new Error("the connection was closed")),
  });
  await expect(readAll(pacedBody(broken, { clock }))).rejects.toThrow("the connection was closed");
});
