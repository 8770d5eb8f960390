import { describe, expect, test } from "bun:test";
import type { DeliveryEvent } from "#deliver";
import { parseDigest } from "#oci";
import { createManualClock } from "#test-support/clock";
import {
  declaredIn,
  planOf,
  revisionOf,
  sketchOf,
  summaryOf,
} from "#test-support/memory-operations";
import { DeliveryProgress } from "./delivery-progress.ts";

type EventOf<T> = T extends unknown ? Omit<T, "at"> : never;

const digest = parseDigest(`sha256:${"a".repeat(64)}`);

function begin() {
  const clock = createManualClock();
  const plan = planOf(revisionOf(sketchOf("shop"), 0));
  const [provider = "", shop = ""] = declaredIn(plan);
  const progress = new DeliveryProgress("one", plan, clock);
  const hear = (event: EventOf<DeliveryEvent>) => progress.hear({ at: clock.now(), ...event });
  const size = (image: string, images: number) =>
    hear({
      ...{ type: "image-sized", image, digest, bytesTotal: 1_000, bytesHere: 0 },
      overall: { bytesTotal: 1_000 * images, bytesHere: 0, images },
    });
  const arrive = (image: string, bytes: number) => hear({ type: "bytes", image, digest, bytes });
  return { clock, plan, provider, shop, progress, hear, size, arrive };
}

describe("the time that is left", () => {
  test("is not told before all is sized", () => {
    const { clock, provider, shop, progress, size, arrive } = begin();
    size(provider, 1);
    arrive(provider, 100);
    clock.advance(1_000);
    arrive(provider, 100);
    expect(progress.state()).toMatchObject({ imagesSized: 1, remainingMs: null });
    size(shop, 2);
    expect(progress.state()).toMatchObject({ bytesPerSecond: 200, remainingMs: 9_000 });
  });

  test("is not told once nothing has come for ten seconds, and the rate falls", () => {
    const { clock, provider, shop, progress, size, arrive } = begin();
    for (const [i, image] of [provider, shop].entries()) size(image, i + 1);
    arrive(provider, 100);
    clock.advance(1_000);
    arrive(provider, 400);
    clock.advance(4_000);
    const { bytesPerSecond, remainingMs } = progress.state();
    expect(bytesPerSecond).toBe(100);
    expect(remainingMs).toBe(15_000);
    clock.advance(6_500);
    expect(progress.state().remainingMs).toBeNull();
    clock.advance(20_000);
    expect(progress.state().bytesPerSecond).toBe(0);
  });

  test("is not told while a window is shut, which is over with the next byte", () => {
    const { clock, provider, shop, progress, size, arrive, hear } = begin();
    for (const [i, image] of [provider, shop].entries()) size(image, i + 1);
    arrive(provider, 100);
    clock.advance(1_000);
    hear({ type: "waiting", reason: "the window\u0007", untilMs: 5 });
    expect(progress.waiting).toMatchObject({ reason: "the window\\u0007", untilMs: 5 });
    expect(progress.state().remainingMs).toBeNull();
    arrive(provider, 100);
    expect(progress.waiting).toBeNull();
    expect(progress.state().remainingMs).toBeGreaterThan(0);
  });
});

test("images and bytes are told by stage and by registry, and what came wrong is taken off", () => {
  const { plan, provider, shop, progress, size, arrive, hear } = begin();
  size(provider, 1);
  size(shop, 2);
  hear({ type: "image-started", stage: "provider", image: provider, source: provider });
  expect(progress.image(provider)?.outcome).toBe("moving");
  arrive(provider, 1_000);
  hear({ type: "recount", image: provider, digest, bytesMoved: -400, bytesHere: 0 });
  const done = { type: "image-done", digest, bytesMoved: 0, ms: 1 } as const;
  hear({ ...done, stage: "provider", image: provider, outcome: "delivered" });
  const failure = {
    ...{ image: shop, source: shop, registry: "quay.io", code: "x" },
    ...{ message: "No", hint: "Do" },
  };
  hear({ ...done, stage: "application", image: shop, outcome: "failed", digest: null, failure });
  const { stages, sources, bytesMoved } = progress.state();
  expect(stages.map(({ done: whole, failed }) => [whole, failed])).toEqual([
    [1, 0],
    [0, 0],
    [0, 1],
  ]);
  expect(bytesMoved).toBe(600);
  expect(sources).toMatchObject([
    { registry: "quay.io", stage: "provider", bytesMoved: 600, bytesTotal: 1_000, images: 1 },
    { registry: "quay.io", stage: "application", bytesMoved: 0 },
  ]);
  expect(progress.image(shop)?.failure).toEqual({ code: "x", message: "No", hint: "Do" });
  progress.end(summaryOf(plan, { missing: [shop] }), false);
  expect(progress.state()).toMatchObject({ outcome: "failed", bytesPerSecond: null });
});

test("what was not done when it was cut short is told as skipped", () => {
  const { provider, progress, hear } = begin();
  hear({ type: "image-started", stage: "provider", image: provider, source: provider });
  progress.end(undefined, true);
  expect(progress.image(provider)?.outcome).toBe("skipped");
  expect(progress.state().outcome).toBe("interrupted");
});
