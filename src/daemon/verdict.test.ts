import { describe, expect, test } from "bun:test";
import type { DeliveryState, RevisionState } from "./state.ts";
import { aboutTime, bytesOf, type Situation, verdictOf } from "./verdict.ts";

const NOON = Date.UTC(2026, 10, 23, 12);

function revision(id: string, ...profiles: readonly string[]): RevisionState {
  return {
    ...{ id, profiles, source: "/etc/drayage/profiles", images: 42 },
    ...{ seenMs: NOON, stagedMs: null, activatedMs: null },
  };
}

const OLD = revision("old", "edge-store 1.1");
const NEW = revision("new", "edge-store 1.2");

const DELIVERY: DeliveryState = {
  ...{ revision: "new", startedMs: NOON, endedMs: null, outcome: null },
  stages: [
    { name: "provider", images: 2, done: 2, failed: 0 },
    { name: "infrastructure", images: 10, done: 10, failed: 0 },
    { name: "application", images: 30, done: 0, failed: 2 },
  ],
  ...{ bytesTotal: 9_800_000_000, bytesHere: 1_000_000_000, bytesMoved: 2_100_000_000 },
  ...{ imagesSized: 42, bytesPerSecond: 4_000_000, remainingMs: 24.2 * 60_000 },
  ...{ uploads: null, sources: [] },
};

const QUIET: Situation = {
  ...{ activity: "idle", wanted: null, active: null, staged: null, refused: null },
  ...{ unreadable: null, paused: null, delivery: null, deliveryWaits: null },
  ...{ deliveryTrouble: null, activation: null, hold: null, proof: null, timeZone: "UTC" },
  ...{ turning: { to: null, undoes: null }, proofTrouble: null },
  registry: { isServing: true, trouble: null },
};

const trouble = {
  code: "registry-unauthorized",
  message: "Cannot fetch: refused",
  hint: "Give the account a right to pull",
};
const fault = { file: "p.yaml", line: 1, column: 1, path: "", code: "x", message: "No" };
const refused = {
  ...{ source: "p.yaml", atMs: NOON },
  faults: [1, 2, 3].map((line) => ({ ...fault, line, remedy: "Write it so" })),
};
const held = {
  ...{ at: NOON, ok: true, sentence: "", references: 42, held: 42, wanting: [] },
  digest: "sha256:0",
};
const active = { ...QUIET, wanted: NEW, active: NEW };
const staged = { ...QUIET, wanted: NEW, active: OLD, staged: NEW };
const retry = { kind: "stage-retry", untilMs: NOON + 60_000, attempt: 2 } as const;

describe("the sentence", () => {
  const situations: readonly (readonly [
    name: string,
    situation: Partial<Situation>,
    level: string,
    sentence: string,
    remedy: string | null,
  ])[] = [
    [
      "at the start",
      { activity: "starting" },
      "working",
      "Starting: the inputs are being read",
      null,
    ],
    [
      "with inputs that can't be read, on a new site",
      { unreadable: trouble },
      "failed",
      "Waiting for the inputs: Cannot fetch: refused",
      trouble.hint,
    ],
    [
      "with inputs that are refused, on a new site",
      { refused },
      "failed",
      "Refused: p.yaml has 3 faults, and no revision is active",
      "Write it so",
    ],
    [
      "while a new revision comes",
      { wanted: NEW, active: OLD, activity: "staging", delivery: DELIVERY },
      "working",
      "Delivering edge-store 1.2: 12 of 42 images, 3.1 of 9.8 GB, about 25 min left",
      null,
    ],
    [
      "while nothing is known of the time",
      {
        wanted: NEW,
        activity: "staging",
        delivery: { ...DELIVERY, bytesTotal: 0, remainingMs: null },
      },
      "working",
      "Delivering edge-store 1.2: 12 of 42 images",
      null,
    ],
    [
      "while tags are resolved again",
      { ...active, activity: "staging", delivery: { ...DELIVERY, remainingMs: null } },
      "working",
      "Checking edge-store 1.2 for new content: 12 of 42 images, 3.1 of 9.8 GB",
      null,
    ],
    [
      "while a window of the link is shut",
      {
        ...{ wanted: NEW, activity: "staging", delivery: DELIVERY },
        deliveryWaits: {
          reason: "no window of link.windows is open",
          sinceMs: NOON,
          untilMs: NOON + 10 * 3_600_000,
        },
      },
      "waiting",
      "Waiting until 2026-11-23 22:00: no window of link.windows is open; 12 of 42 images of edge-store 1.2 are here",
      null,
    ],
    [
      "after a delivery that failed",
      {
        ...{ wanted: NEW, active: OLD, hold: retry },
        delivery: DELIVERY,
        deliveryTrouble: trouble,
      },
      "wanting",
      "Not ready: 30 of 42 images of edge-store 1.2 are missing (registry-unauthorized); tried again at 2026-11-23 12:01; edge-store 1.1 stays active with 42 images",
      trouble.hint,
    ],
    [
      "while it is paused",
      { ...active, hold: { kind: "paused" }, paused: { by: "ana", sinceMs: NOON } },
      "waiting",
      "Paused by ana: nothing moves until it is resumed; edge-store 1.2 stays active with 42 images",
      "Run `dray resume` when the site may go on",
    ],
    [
      "while an operator is waited for",
      { ...staged, hold: { kind: "operator" } },
      "waiting",
      "Staged, and waiting for an operator: 42 images of edge-store 1.2 are here; edge-store 1.1 stays active with 42 images",
      "Run `dray activate`",
    ],
    [
      "while the window of activations is shut",
      { ...staged, active: null, hold: { kind: "window", untilMs: NOON + 10 * 3_600_000 } },
      "waiting",
      "Staged, and waiting for the activation window, which opens at 2026-11-23 22:00: 42 images of edge-store 1.2 are here",
      null,
    ],
    [
      "while it is activated",
      { ...staged, activity: "activating", turning: { to: NEW, undoes: null } },
      "working",
      "Activating edge-store 1.2: 42 images",
      null,
    ],
    [
      "while it is rolled back",
      { ...active, activity: "rolling-back", turning: { to: OLD, undoes: NEW } },
      "working",
      "Rolling back from edge-store 1.2",
      null,
    ],
    [
      "after a rollback",
      { ...staged, hold: { kind: "rolled-back" } },
      "waiting",
      "Rolled back from edge-store 1.2, whose 42 images are still here; edge-store 1.1 stays active with 42 images",
      "Change the profile, or run `dray activate` to try it again",
    ],
    [
      "after an activation that failed",
      {
        ...staged,
        hold: { kind: "turn-retry", untilMs: NOON, attempt: 2 },
        activation: {
          outcome: "failed",
          steps: [{ name: "redirect", outcome: "failed", text: "permission denied", trouble }],
        },
      },
      "failed",
      "An activation has failed 2 times at the step redirect: permission denied; it is tried again at 2026-11-23 12:00",
      trouble.hint,
    ],
    [
      "with newer inputs that are refused",
      { ...active, refused, proof: held },
      "wanting",
      "The newest inputs are refused with 3 faults; edge-store 1.2 stays in force with 42 images",
      "Write it so",
    ],
    [
      "with inputs that can't be read any more",
      { ...active, unreadable: trouble, proof: held },
      "waiting",
      "The inputs can't be read (registry-unauthorized); edge-store 1.2 stays in force with 42 images",
      trouble.hint,
    ],
    [
      "before it is proven",
      active,
      "working",
      "Proving: 42 images of edge-store 1.2 are looked at, whether the site is ready offline",
      null,
    ],
    [
      "when a proof found something missing",
      {
        ...active,
        proof: { ...held, ok: false, held: 40, wanting: [{ image: "a", ...trouble }] },
      },
      "wanting",
      "Not ready offline: 2 of 42 images of edge-store 1.2 are missing",
      trouble.hint,
    ],
    [
      "when all is here and the runtime would not find it",
      { ...active, proof: { ...held, ok: false, wanting: [{ image: "", ...trouble }] } },
      "wanting",
      "Not ready offline: Cannot fetch: refused",
      trouble.hint,
    ],
    [
      "when all is well",
      { ...active, proof: held },
      "ready",
      "Ready offline: all 42 images of edge-store 1.2 are here and proven",
      null,
    ],
    [
      "when all is here and nobody serves it",
      { ...active, proof: held, registry: { isServing: false, trouble } },
      "wanting",
      "Not ready offline: the embedded registry does not serve: Cannot fetch: refused",
      trouble.hint,
    ],
    [
      "before the embedded registry listens",
      { ...active, proof: held, registry: { isServing: false, trouble: null } },
      "working",
      "Starting: the embedded registry does not serve yet",
      null,
    ],
    [
      "when the proof can't be made",
      { ...active, proofTrouble: trouble },
      "wanting",
      "Not proven: whether edge-store 1.2 is ready offline can't be looked at (registry-unauthorized)",
      trouble.hint,
    ],
    [
      "of a site with many profiles",
      { ...active, active: revision("n", "base", "shop", "tills"), proof: held },
      "ready",
      "Ready offline: all 42 images of base and 2 more are here and proven",
      null,
    ],
  ];

  test.each(situations)("%s", (_name, situation, level, sentence, remedy) => {
    expect(verdictOf({ ...QUIET, ...situation })).toEqual({ level, sentence, remedy } as never);
  });
});

test("bytes are told in one unit, that of the whole", () => {
  expect(bytesOf(0, 999)).toBe("0 of 999 B");
  expect(bytesOf(500, 999_400)).toBe("0.5 of 999.4 kB");
  expect(bytesOf(1e6, 999_999)).toBe("1.0 of 1.0 MB");
  expect(bytesOf(1e15, 1e16)).toBe("1000.0 of 10000.0 TB");
});

test("a time that is left is told no more exactly than it is known", () => {
  expect(aboutTime(1)).toBe("about a minute");
  expect(aboutTime(89 * 60_000)).toBe("about 89 min");
  expect(aboutTime(100 * 60_000)).toBe("about 2 h");
  expect(aboutTime(72 * 3_600_000)).toBe("about 3 days");
});
