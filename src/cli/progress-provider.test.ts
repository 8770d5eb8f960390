import { expect, test } from "bun:test";
import type { DeliveryEvent, DeliveryFailure } from "#deliver";
import { parseDigest } from "#oci";
import { providerLine, providerSummaryLines } from "./progress-provider.ts";

const image = "quay.io/kairos/os:v1";
const digest = parseDigest(`sha256:${"0".repeat(64)}`);
const names = ["registry.k8s.io/pause:3.9"];
const failure: DeliveryFailure = {
  ...{ image, source: image, registry: "quay.io", code: "hand-over-failed" },
  ...{ message: "Cannot hand over: 3, expected 0", hint: "Look" },
};
type Untimed<T> = T extends unknown ? Omit<T, "at"> : never;
const line = (event: Untimed<DeliveryEvent>) =>
  providerLine({ at: 0, ...event } as DeliveryEvent, (_, text) => text);

test("what was found and done is told, and what was done before is not", () => {
  const core = { type: "core-images-done", image, ms: 1_500 } as const;
  expect(line({ ...core, outcome: "loaded", archives: 1, names })).toBe(
    `loaded     1 core image of 1 archive in ${image}, 1.5s`,
  );
  expect(line({ ...core, outcome: "loaded", archives: 0, names: [] })).toBe(
    `note: no core images in ${image}`,
  );
  expect(line({ ...core, outcome: "present", archives: 1, names })).toBeUndefined();
  expect(line({ ...core, outcome: "failed", archives: 0, names: [], failure })).toBe(
    `failed     ${image}: ${failure.message}`,
  );
  const start = {
    type: "hand-over-started",
    image,
    digest,
    form: "rootfs",
    target: "/os",
  } as const;
  expect(line({ ...start, program: "kairos-agent" })).toBe(
    `hands over ${image} as rootfs: /os, then runs kairos-agent`,
  );
  expect(line({ ...start, program: null })).toBe(`hands over ${image} as rootfs: /os`);
  expect(line({ type: "hand-over-output", image, line: "10%" })).toBe("  | 10%");
  const done = { type: "hand-over-done", image, digest, exitStatus: 0, ms: 2_000 } as const;
  expect(line({ ...done, outcome: "done" })).toBe(
    `given      ${image} to the operating system, 2.0s`,
  );
  expect(line({ ...done, outcome: "present" })).toBeUndefined();
  expect(line({ ...done, outcome: "failed", failure })).toBe(
    `failed     ${image}: ${failure.message}`,
  );
});

test("the end of the story says what the operating system has", () => {
  expect(providerSummaryLines(null)).toEqual([]);
  expect(providerSummaryLines({ coreImages: null, handOver: null, isDone: true })).toEqual([]);
  const coreImages = { archives: 1, names };
  expect(providerSummaryLines({ coreImages, handOver: "present", isDone: true })).toEqual([
    "1 core image from inside the provider image",
    "the operating system has the provider image already",
  ]);
  expect(providerSummaryLines({ coreImages: null, handOver: "failed", isDone: false })).toEqual([
    "the operating system could not be given the provider image: nothing else was begun",
  ]);
});
