import { describe, expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import { createLanes, type RegistryPace } from "./lanes.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** The lanes of a blob that comes over so many connections for some time. */
function lanesAfter(
  ms: number,
  bytesPerMs: number,
  {
    spare = 1,
    connections = 1,
    pace = {},
  }: {
    readonly spare?: number;
    readonly connections?: number;
    readonly pace?: RegistryPace;
  } = {},
) {
  const clock = createManualClock();
  const lanes = createLanes({
    clock,
    spareTransfers: () => spare,
    runSpare: (task) => task(),
    pace,
  });
  lanes.wantsMore(connections);
  for (let passedMs = 0; passedMs <= ms; passedMs += 10) {
    lanes.arrived(bytesPerMs * 10);
    clock.advance(10);
  }
  return lanes;
}

describe("a blob", () => {
  test.each([
    ["whose connection is slow", 160, true],
    ["whose connection is as fast as most lines", 10_000, false],
  ])("%s has more connections where there are some to spare: %d, %p", (_, bytesPerMs, wants) => {
    expect(lanesAfter(1_000, bytesPerMs).wantsMore(1)).toBe(wants);
    expect(lanesAfter(1_000, bytesPerMs, { spare: 0 }).wantsMore(1)).toBe(false);
  });

  test("has one connection until that has shown what it can do", () => {
    expect(lanesAfter(50, 160).wantsMore(1)).toBe(false);
    expect(lanesAfter(400, 160).wantsMore(1)).toBe(true);
  });

  test("begins with some where its registry has many to spare, which only one far away has", () => {
    const slow = { bytesPerMs: 160 };
    // As a host has before anything is known of it.
    expect(lanesAfter(0, 0, { spare: 4 }).firstLanes).toBe(1);
    expect(lanesAfter(0, 0, { spare: 8 }).firstLanes).toBe(5);
    expect(lanesAfter(0, 0, { spare: 16, pace: slow }).firstLanes).toBe(5);
    expect(lanesAfter(0, 0, { spare: 16, pace: { bytesPerMs: 10_000 } }).firstLanes).toBe(1);
    expect(lanesAfter(0, 0, { spare: 16, pace: { arePartsRefused: true } }).firstLanes).toBe(1);
  });

  test("is judged by what each of its connections brings", () => {
    expect(lanesAfter(1_000, 20_000, { connections: 4 }).wantsMore(4)).toBe(true);
    expect(lanesAfter(1_000, 20_000, { connections: 2 }).wantsMore(2)).toBe(false);
  });

  test("is asked for in no more parts once the registry has refused one", () => {
    const lanes = lanesAfter(1_000, 160);
    lanes.refuse();
    expect(lanes.wantsMore(1)).toBe(false);
  });

  test("is cut into ranges of a quarter of a second each, and of 32 KiB at least", () => {
    expect(lanesAfter(1_000, 50).rangeBytesMin).toBe(32 * KIB);
    expect(lanesAfter(1_000, 2_000).rangeBytesMin).toBeWithin(0.45 * MIB, 0.55 * MIB);
  });

  test("is asked for in requests of two seconds each where connections are slow", () => {
    expect(lanesAfter(1_000, 50).requestBytesMax).toBe(256 * KIB);
    expect(lanesAfter(1_000, 2_000).requestBytesMax).toBeWithin(3.5 * MIB, 4.5 * MIB);
    expect(lanesAfter(1_000, 10_000).requestBytesMax).toBe(Number.POSITIVE_INFINITY);
  });

  test("is asked for as the last one of its registry was, and the first one at once", () => {
    const pace: RegistryPace = {};
    expect(lanesAfter(0, 0, { pace }).requestBytesMax).toBe(Number.POSITIVE_INFINITY);
    lanesAfter(1_000, 50, { pace });
    expect(lanesAfter(0, 0, { pace }).requestBytesMax).toBe(256 * KIB);
    lanesAfter(1_000, 10_000, { pace });
    expect(lanesAfter(0, 0, { pace }).requestBytesMax).toBe(Number.POSITIVE_INFINITY);
  });

  test("is asked for in one request where the registry serves no parts", () => {
    const pace: RegistryPace = {};
    lanesAfter(1_000, 50, { pace }).refuse();
    expect(lanesAfter(1_000, 50, { pace }).requestBytesMax).toBe(Number.POSITIVE_INFINITY);
  });
});
