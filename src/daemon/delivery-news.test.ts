import { expect, test } from "bun:test";
import type { DeliveryEvent } from "#deliver";
import { parseDigest } from "#oci";
import { createDeliveryNews } from "./delivery-news.ts";

const image = "quay.io/kairos/core:v1";
const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const failure = {
  ...{ image, source: image, registry: "quay.io", code: "hand-over-failed" },
  ...{ message: "Cannot hand over: status 3", hint: "Look" },
};

/** Lines that are told of these events: kind, level, sentence, and the data. */
function toldOf(...events: readonly object[]) {
  const told: (readonly unknown[])[] = [];
  const news = createDeliveryNews({
    tell: (kind, text, { level, data } = {}) => void told.push([kind, level, text, data]),
  });
  for (const event of events) news({ at: 1, ...event } as DeliveryEvent);
  return told;
}

test("tells that the operating system was given its image, and what the program wrote", () => {
  const start = { type: "hand-over-started", image, digest, form: "reference", target: "r@d" };
  const done = { type: "hand-over-done", image, outcome: "done", digest, exitStatus: 0, ms: 5 };
  expect(
    toldOf(
      { ...start, program: "/bin/up" },
      { type: "hand-over-output", image, line: "half of it" },
      done,
    ),
  ).toEqual([
    [
      ...["hand-over-begun", "info"],
      `Handing over ${image} to the operating system as r@d, by /bin/up`,
      { image, digest, form: "reference", target: "r@d", program: "/bin/up" },
    ],
    [
      ...["hand-over-done", "info", `Handed over ${image}`],
      { image, outcome: "done", digest, exitStatus: 0, ms: 5, output: ["half of it"] },
    ],
  ]);
});

test("tells why a hand-over failed, and nothing of one that was done before", () => {
  const done = { type: "hand-over-done", image, digest: null, exitStatus: 3, ms: 5 };
  expect(toldOf({ ...done, outcome: "present" })).toEqual([]);
  const [line] = toldOf({ ...done, outcome: "failed", failure });
  expect(line?.slice(0, 3)).toEqual([
    "hand-over-done",
    "error",
    `Handing over ${image} failed: Cannot hand over: status 3`,
  ]);
});

test("tells what came out of a provider image, and nothing of begin and end of deliveries", () => {
  const core = { type: "core-images-done", image, archives: 1, ms: 5 };
  const told = toldOf(
    { type: "plan-started", stages: [], uploads: 0 },
    { ...core, outcome: "loaded", names: ["a", "b"] },
    { ...core, outcome: "present", names: ["a"] },
  );
  expect(told.map(([kind, , text]) => [kind, text])).toEqual([
    ["core-images", `Took 2 core images out of ${image}`],
  ]);
});
