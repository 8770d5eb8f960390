import { expect, test } from "bun:test";
import { isFailure } from "#base";
import { createManualClock } from "#test-support/clock";
import { createEventClock } from "#test-support/event-clock";
import { jsonBody } from "./json-body.ts";

function requestOf(body: string | ReadableStream<Uint8Array>): Request {
  return new Request("http://localhost/", { method: "POST", body });
}

test("a body that does not come is waited for for ten seconds, and not longer", async () => {
  const clock = createManualClock();
  const silent = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) });
  const code = await jsonBody(requestOf(silent), clock).catch((error: unknown) =>
    isFailure(error) ? error.code : "no failure",
  );
  expect(code).toBe("body-slow");
  expect(clock.sleeps).toEqual([10_000]);
});

test("a body that comes in pieces is read whole, and nothing is waited for afterwards", async () => {
  const clock = createEventClock(0);
  const pieces = ['{"a": ', '"é', '"}'].flatMap((text) => [...new TextEncoder().encode(text)]);
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const byte = pieces.shift();
      if (byte === undefined) controller.close();
      else controller.enqueue(new Uint8Array([byte]));
    },
  });
  expect(await jsonBody(requestOf(body), clock)).toEqual({ a: "é" });
  expect(clock.sleepers).toBe(0);
});
