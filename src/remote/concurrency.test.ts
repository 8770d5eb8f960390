import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createManualClock } from "#test-support/clock";
import { Concurrency } from "./concurrency.ts";

/** A delivery has so many, and keeps some of them for small content. */
const PLACES_OF_ALL = 20;

/** Lets a host serve for some seconds; `bytesPerMs` of it with so many transfers at once. */
function serve(
  { clock, concurrency }: World,
  seconds: number,
  bytesPerMs: (places: number) => number,
  kept = 0,
): void {
  for (let ms = 0; ms < seconds * 1000; ms += 50) {
    clock.advance(50);
    const { places } = concurrency;
    concurrency.received(50 * bytesPerMs(places), Math.min(places, PLACES_OF_ALL - kept));
  }
}

function createWorld() {
  const clock = createManualClock();
  return { clock, concurrency: new Concurrency(clock) };
}

type World = ReturnType<typeof createWorld>;

/** Bytes per millisecond of a connection that may be what limits, and of one that is not. */
const SLOW = 1_000;
const FAST = 10_000;

/** Each connection brings so much, up to what the link carries. */
const limitedPerConnection = (useful: number) => (places: number) =>
  SLOW * Math.min(places, useful);

describe("places", () => {
  test.each([
    [FAST, 1, 4, 5],
    [FAST, 4, 4, 5],
    [FAST, 8, 8, 9],
    [FAST, 12, 12, 13],
    [FAST, 100, 20, 20],
    [SLOW, 1, 4, 5],
    [SLOW, 8, 8, 9],
    // Sixteen brought half of what they might have, which is enough.
    [SLOW, 12, 12, 16],
    [SLOW, 100, 20, 20],
  ])(
    "begin with four, and grow to what is useful: %d B/ms each, %d useful",
    (each, useful, least, most) => {
      const world = createWorld();
      expect(world.concurrency.places).toBe(4);
      serve(world, 120, (places) => each * Math.min(places, useful));
      const { places } = world.concurrency;
      expect(places).toBeGreaterThanOrEqual(least);
      expect(places).toBeLessThanOrEqual(most);
    },
  );

  test("are twenty after four seconds where each connection is slow", () => {
    const world = createWorld();
    serve(world, 4.2, limitedPerConnection(100));
    expect(world.concurrency.places).toBe(20);
  });

  test("are given on trust to a host that is far, and stay where all bring something", () => {
    const world = createWorld();
    world.concurrency.expectSlow();
    expect(world.concurrency.places).toBe(20);
    serve(world, 120, limitedPerConnection(100));
    expect(world.concurrency.places).toBe(20);
  });

  test.each([1, 4, 8])("that were given on trust go back to what is useful: %d", (useful) => {
    const world = createWorld();
    world.concurrency.expectSlow();
    serve(world, 120, limitedPerConnection(useful));
    expect(world.concurrency.places).toBeGreaterThanOrEqual(useful);
    expect(world.concurrency.places).toBeLessThanOrEqual(Math.max(5, useful + 2));
  });

  test("are judged also where some are kept for what is small", () => {
    const world = createWorld();
    world.concurrency.expectSlow();
    serve(world, 120, limitedPerConnection(4), 2);
    expect(world.concurrency.places).toBeLessThanOrEqual(5);
  });

  test("are not given on trust once something is known of the host", () => {
    const world = createWorld();
    world.concurrency.troubled();
    world.concurrency.expectSlow();
    expect(world.concurrency.places).toBe(2);
  });

  test("are halved by trouble, once for all that breaks together, and never gone", () => {
    const world = createWorld();
    serve(world, 120, limitedPerConnection(100));
    for (let i = 0; i < 20; i += 1) world.concurrency.troubled();
    expect(world.concurrency.places).toBe(10);
    for (let i = 0; i < 10; i += 1) {
      world.clock.advance(1000);
      world.concurrency.troubled();
    }
    expect(world.concurrency.places).toBe(1);
  });

  test("come back after trouble, when they are useful again", () => {
    const world = createWorld();
    for (let i = 0; i < 4; i += 1) {
      world.clock.advance(1000);
      world.concurrency.troubled();
    }
    serve(world, 120, limitedPerConnection(100));
    expect(world.concurrency.places).toBe(20);
  });

  test("do not grow while nobody needs the ones there are", () => {
    const { clock, concurrency } = createWorld();
    for (let i = 0; i < 1000; i += 1) {
      clock.advance(50);
      concurrency.received(1_000_000 * i, concurrency.places - 1);
    }
    expect(concurrency.places).toBe(4);
  });

  test("are not judged by a time in which nothing was meant to come", () => {
    const { clock, concurrency } = createWorld();
    for (let i = 1; i < 100; i += 1) {
      clock.advance(3_600_000);
      concurrency.received(1_000_000 * i, concurrency.places);
    }
    expect(concurrency.places).toBe(4);
  });

  test("whatever happens, are between one and twenty, never more by trouble, and doubled at most", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("trouble" as const), ms: fc.nat(3000) }),
      fc.record({
        kind: fc.constant("bytes" as const),
        ms: fc.nat(3000),
        bytes: fc.nat(100_000_000),
        inUse: fc.integer({ min: 1, max: 24 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { clock, concurrency } = createWorld();
        for (const taken of steps) {
          const before = concurrency.places;
          clock.advance(taken.ms);
          if (taken.kind === "trouble") {
            concurrency.troubled();
            expect([before, Math.max(1, Math.floor(before / 2))]).toContain(concurrency.places);
          } else {
            concurrency.received(taken.bytes, taken.inUse);
            expect(concurrency.places).toBeLessThanOrEqual(2 * before);
            expect(concurrency.places).toBeGreaterThanOrEqual(before / 2);
          }
          expect(concurrency.places).toBeGreaterThanOrEqual(1);
          expect(concurrency.places).toBeLessThanOrEqual(20);
        }
      }),
    );
  });
});
