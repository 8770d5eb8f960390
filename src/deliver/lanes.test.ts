import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createLaneController, type LaneController } from "./lanes.ts";

const MIB = 1024 * 1024;

interface Simulation {
  /** Bytes per ms that so many connections bring together. */
  readonly speed: (streams: number) => number;
  readonly seconds: number;
  /** Other transfers, which may come and go. */
  readonly others?: (second: number) => number;
  /** The most connections that find a place. */
  readonly places?: number;
}

/** Lets one large blob move under a controller, and gives how many connections it had, second by second. */
function simulate(
  controller: LaneController,
  { speed, seconds, others = () => 0, places = 16 }: Simulation,
): readonly number[] {
  const history: number[] = [];
  let bytesArrived = 0;
  for (let nowMs = 0; nowMs < seconds * 1_000; nowMs += 100) {
    const streams = Math.min(places, controller.lanes + others(Math.floor(nowMs / 1_000)));
    bytesArrived += speed(streams) * 100;
    controller.observe({ nowMs, bytesArrived, streams });
    if (nowMs % 1_000 === 0) history.push(controller.lanes);
  }
  return history;
}

describe("a lane controller", () => {
  test("goes up to four where each connection brings the same", () => {
    const history = simulate(createLaneController(), { speed: (n) => n * 200, seconds: 60 });
    expect(history[0]).toBe(1);
    expect(history.at(-1)).toBe(4);
  });

  test("goes back to one, for good, where the line is what limits", () => {
    const history = simulate(createLaneController(), { speed: () => 2_500, seconds: 60 });
    expect(Math.max(...history)).toBe(2);
    expect(history.at(-1)).toBe(1);
    expect(history.slice(12).every((lanes) => lanes === 1)).toBe(true);
  });

  test("stays where the last connection that paid has brought it", () => {
    const speed = (streams: number) => Math.min(streams, 2) * 1_000;
    expect(simulate(createLaneController(), { speed, seconds: 60 }).at(-1)).toBe(2);
  });

  test("asks a registry for no part any more that does not serve them", () => {
    const controller = createLaneController();
    controller.refuse();
    expect(Math.max(...simulate(controller, { speed: (n) => n * 200, seconds: 60 }))).toBe(1);
  });

  test("does not take for a loss what another transfer's end has cost", () => {
    const others = (second: number) => (second < 6 ? 8 : 0);
    const history = simulate(createLaneController(), {
      speed: (n) => n * 200,
      seconds: 90,
      others,
    });
    expect(history.at(-1)).toBe(4);
  });

  test("does not take for a gain what another transfer's beginning has brought", () => {
    const others = (second: number) => (second < 6 ? 0 : 6);
    const speed = () => 2_500;
    const history = simulate(createLaneController(), { speed, seconds: 90, others });
    expect(history.at(-1)).toBe(1);
  });

  test("judges nothing by a connection that found no place", () => {
    const history = simulate(createLaneController(), {
      speed: (n) => n * 200,
      seconds: 60,
      places: 1,
    });
    expect(history.at(-1)).toBe(2);
  });

  test("keeps between one and four whatever it sees", () => {
    const sample = fc.record({
      afterMs: fc.nat(5_000),
      bytes: fc.nat(50 * MIB),
      streams: fc.integer({ min: 1, max: 16 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 80 }), (samples) => {
        const controller = createLaneController();
        let nowMs = 0;
        let bytesArrived = 0;
        for (const { afterMs, bytes, streams } of samples) {
          nowMs += afterMs;
          bytesArrived += bytes;
          controller.observe({ nowMs, bytesArrived, streams });
          expect(controller.lanes).toBeGreaterThanOrEqual(1);
          expect(controller.lanes).toBeLessThanOrEqual(4);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
