import { expect, test } from "bun:test";
import type { LoadFailure, LoadSummary } from "#deliver";
import { runtimeFailureLines, runtimeLine, runtimeSummaryLines } from "./progress-runtime.ts";

const plain = (_code: number, text: string) => text;
const FAILURE: LoadFailure = {
  ...{ image: "a.io/x:1", runtime: "containerd at /c.sock", code: "runtime-failed" },
  ...{ message: "Cannot call it", hint: "Look there" },
};
const LOADS: LoadSummary = {
  ...{ runtime: "containerd at /c.sock", images: 6, loaded: 1, present: 1 },
  ...{ "not-runnable": 1, failed: 1, skipped: 2, failures: [FAILURE] },
};

test("what was loaded, and what was not, is told; what was there already is not", () => {
  const loaded = { at: 0, type: "runtime-loaded", image: "a.io/x:1", ms: 1_500 } as const;
  expect(runtimeLine({ ...loaded, outcome: "loaded" }, plain)).toBe(
    "loaded     a.io/x:1 into the runtime, 1.5s",
  );
  expect(runtimeLine({ ...loaded, outcome: "present" }, plain)).toBeUndefined();
  expect(runtimeLine({ ...loaded, outcome: "failed", failure: FAILURE }, plain)).toBe(
    "failed     a.io/x:1: Cannot call it",
  );
  const failed = { at: 0, type: "runtime-failed", failure: { ...FAILURE, image: null } } as const;
  expect(runtimeLine(failed, plain)).toBe("failed     Cannot call it");
  const warning = { runtime: "containerd at \u001b", message: "it is old" };
  expect(runtimeLine({ at: 0, type: "runtime-warning", ...warning }, plain)).toBe(
    "warning: containerd at \\u001b: it is old",
  );
});

test("the summary counts every image, and names each failure with its remedy", () => {
  expect(runtimeSummaryLines(null)).toEqual([]);
  expect(runtimeSummaryLines(LOADS)).toEqual([
    "6 images for containerd at /c.sock: 1 loaded, 1 there already, 1 that no container runs, 1 failed, 2 not attempted",
  ]);
  expect(runtimeFailureLines(FAILURE)).toEqual([
    "error: a.io/x:1 (into the runtime): Cannot call it",
    "hint:  Look there",
    "code:  runtime-failed",
  ]);
  expect(runtimeFailureLines({ ...FAILURE, image: null })[0]).toBe("error: Cannot call it");
});
