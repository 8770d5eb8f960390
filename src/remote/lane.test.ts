import { describe, expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import { Lane, type Place } from "./lane.ts";

const signal = new AbortController().signal;
const LARGE_BYTES = 16_000_000;

/** Fills a fresh lane, and gives what tells who was let in after that. */
async function fullLane() {
  const clock = createManualClock();
  const lane = new Lane(clock);
  const places: Place[] = [];
  for (let i = 0; i < 4; i += 1) places.push(await lane.enter(LARGE_BYTES, signal));
  const admitted: string[] = [];
  const enter = async (name: string, sizeBytes = LARGE_BYTES, own = signal) => {
    const place = await lane.enter(sizeBytes, own);
    admitted.push(name);
    return place;
  };
  return { clock, places, admitted, enter };
}

describe("a lane", () => {
  test("lets four in, and the next when one leaves, in the order they came", async () => {
    const { places, admitted, enter } = await fullLane();
    const first = enter("first");
    const second = enter("second");
    await Promise.resolve();
    expect(admitted).toEqual([]);
    places[0]?.leave("done");
    const place = await first;
    expect(admitted).toEqual(["first"]);
    // A place is left once, however often it is said.
    places[0]?.leave("done");
    await Promise.resolve();
    expect(admitted).toEqual(["first"]);
    place.leave("done");
    await second;
  });

  test.each([
    [[200, 100], 16],
    [[200, 3], 0],
    [[], 0],
  ])("has so many places to spare after answers of %p ms: %d", async (answersMs, spare) => {
    const lane = new Lane(createManualClock());
    for (const ms of answersMs) lane.answered(ms);
    for (let i = 0; i < 4; i += 1) await lane.enter(LARGE_BYTES, signal);
    expect(lane.spare).toBe(spare);
  });

  test("lets small content go before large, in the order it came (C-53)", async () => {
    const { places, admitted, enter } = await fullLane();
    const all = [enter("layer"), enter("config", 3000), enter("layer"), enter("config 2", 3000)];
    for (const place of places) place.leave("done");
    await Promise.all(all);
    expect(admitted).toEqual(["config", "config 2", "layer", "layer"]);
  });

  test("forgets who gives up waiting, with the reason", async () => {
    const { places, admitted, enter } = await fullLane();
    const caller = new AbortController();
    const given = enter("given up", LARGE_BYTES, caller.signal);
    const next = enter("next");
    caller.abort(new Error("given up"));
    await expect(given).rejects.toThrow("given up");
    places[0]?.leave("done");
    await next;
    expect(admitted).toEqual(["next"]);
  });

  test.each([
    ["a stall", 10_000_000, "stalled", 2],
    ["a connection that broke at once", 1000, "broken", 2],
    ["a connection that was cut after megabytes", 10_000_000, "broken", 4],
    ["a reader who had enough", 1000, "done", 4],
  ] as const)(
    "after %s of a body of which %d bytes came (%s), there is room for %d",
    async (_, bytes, how, room) => {
      const { places, admitted, enter } = await fullLane();
      const [first, ...others] = places;
      first?.received(bytes);
      first?.leave(how);
      for (const place of others) place.leave("done");
      for (let i = 0; i < 5; i += 1) enter(`${i}`).catch(() => undefined);
      await Promise.resolve();
      await Promise.resolve();
      expect(admitted).toHaveLength(room);
    },
  );

  test("lets more in as soon as the host takes more", async () => {
    const { clock, places, admitted, enter } = await fullLane();
    const fifth = enter("fifth");
    for (let i = 0; i < 200; i += 1) {
      clock.advance(50);
      places[0]?.received(1_000_000);
    }
    await fifth;
    expect(admitted).toEqual(["fifth"]);
  });
});
