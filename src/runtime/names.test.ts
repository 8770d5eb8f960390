import { describe, expect, test } from "bun:test";
import { parseDigest } from "#oci";
import { parseReference } from "#reference";
import { isLoaded, isOurs, isPinned, kubeletName, PINNED_LABELS, runtimeNames } from "./names.ts";

const ROOT = parseDigest(`sha256:${"a".repeat(64)}`);
const CONFIG = parseDigest(`sha256:${"b".repeat(64)}`);

describe("the name that kubelet asks for", () => {
  test.each([
    ["busybox", "docker.io/library/busybox:latest"],
    ["quay.io/a/b:1", "quay.io/a/b:1"],
    ["10.0.0.5:5000/b", "10.0.0.5:5000/b:latest"],
    [`quay.io/a/b@${ROOT}`, `quay.io/a/b@${ROOT}`],
    // The digest alone counts.
    [`quay.io/a/b:1@${ROOT}`, `quay.io/a/b@${ROOT}`],
  ])("%s is %s", (declared, name) => {
    expect(kubeletName(parseReference(declared))).toBe(name);
  });
});

test("an image has the names that a pull would give it, its config's first", () => {
  expect(runtimeNames(parseReference("quay.io/a/b:1"), ROOT, CONFIG)).toEqual([
    CONFIG,
    `quay.io/a/b@${ROOT}`,
    "quay.io/a/b:1",
  ]);
  expect(runtimeNames(parseReference(`quay.io/a/b:1@${ROOT}`), ROOT, CONFIG)).toEqual([
    CONFIG,
    `quay.io/a/b@${ROOT}`,
  ]);
});

test("our labels are understood, and none of them is taken for granted", () => {
  for (const judge of [isLoaded, isOurs, isPinned]) {
    expect(judge(PINNED_LABELS)).toBe(true);
    expect(judge({})).toBe(false);
    expect(judge({ "io.cri-containerd.pinned": "", "drayage.io/pinned": "" })).toBe(false);
  }
});
