import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { ANY_CHARACTER, FUZZ_RUNS } from "#test-support/fuzz";
import {
  formatPlatform,
  isRunnable,
  normalizePlatform,
  parsePlatform,
  readPlatform,
  runnablePlatforms,
  selectPlatform,
} from "./platform.ts";

const NORMALISED: readonly (readonly [written: string, normal: string])[] = [
  // C-140, row by row
  ["linux/x86_64", "linux/amd64"],
  ["linux/x86-64", "linux/amd64"],
  ["linux/amd64/v1", "linux/amd64"],
  ["linux/amd64/v3", "linux/amd64/v3"],
  ["linux/i386", "linux/386"],
  ["linux/aarch64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["linux/arm64/8", "linux/arm64"],
  ["linux/arm64/v8.0", "linux/arm64"],
  ["linux/arm64/v8.2", "linux/arm64/v8.2"],
  ["linux/arm64/9", "linux/arm64/v9"],
  ["linux/arm64/v9", "linux/arm64/v9"],
  ["linux/arm64/v9.0", "linux/arm64/v9"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/arm/7", "linux/arm/v7"],
  ["linux/arm/5", "linux/arm/v5"],
  ["linux/armhf", "linux/arm/v7"],
  ["linux/armel", "linux/arm/v6"],
  ["macos/arm64", "darwin/arm64"],
  ["Linux/AMD64", "linux/amd64"],
  ["LINUX/ARM/V7", "linux/arm/v7"],
  ["linux/riscv64", "linux/riscv64"],
  ["linux/ppc64le/power9", "linux/ppc64le/power9"],
];

test.each(NORMALISED)("parsePlatform() brings %s to %s (C-140)", (written, normal) => {
  expect(formatPlatform(parsePlatform(written))).toBe(normal);
});

test.each([
  "",
  "linux",
  "linux/",
  "/amd64",
  "linux/arm/v7/x",
  "linux/arm/",
  "linux amd64",
  "a/b\n",
])("parsePlatform() refuses %j", (text) => {
  expect(() => parsePlatform(text)).toThrow("Cannot read platform");
});

const RUNNABLE: readonly (readonly [machine: string, best: readonly string[]])[] = [
  // C-141, row by row
  ["linux/amd64", ["linux/amd64", "linux/386"]],
  ["linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]],
  ["linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
  ["linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]],
  ["linux/arm/v8", ["linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
  ["linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
  [
    "linux/arm64/v8.2",
    [
      ...["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64"],
      ...["linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    ],
  ],
  [
    "linux/arm64/v9.1",
    [
      ...["linux/arm64/v9.1", "linux/arm64/v9"],
      ...["linux/arm64/v8.6", "linux/arm64/v8.5", "linux/arm64/v8.4", "linux/arm64/v8.3"],
      ...["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64"],
      ...["linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    ],
  ],
  ["linux/386", ["linux/386"]],
  ["linux/riscv64", ["linux/riscv64"]],
];

test.each(RUNNABLE)("runnablePlatforms(%s) lists the best first (C-141)", (machine, best) => {
  expect(runnablePlatforms(parsePlatform(machine)).map(formatPlatform)).toEqual([...best]);
});

test("selectPlatform() takes the best match, not the first, and never a newer variant", () => {
  const offer = (...texts: string[]) =>
    texts.map((text, i) => ({ i, platform: parsePlatform(text) }));
  const select = (machine: string, ...texts: string[]) =>
    selectPlatform(offer(...texts), parsePlatform(machine))?.i;
  expect(select("linux/amd64", "linux/386", "linux/arm64", "linux/amd64")).toBe(2);
  expect(select("linux/amd64", "linux/386", "linux/arm64")).toBe(0);
  expect(select("linux/amd64", "linux/amd64/v2")).toBeUndefined();
  expect(select("linux/arm/v6", "linux/arm/v7", "linux/arm/v8")).toBeUndefined();
  expect(select("linux/arm/v7", "linux/arm/v5", "linux/arm/v6")).toBe(1);
  expect(select("linux/arm64", "linux/arm/v7", "linux/arm64/v8")).toBe(1);
  expect(select("linux/amd64", "windows/amd64", "darwin/amd64")).toBeUndefined();
  expect(select("linux/amd64", "linux/amd64", "linux/amd64")).toBe(0);
});

test("selectPlatform() passes over entries without platform and attestations (C-143)", () => {
  const attestation = { platform: readPlatform({ os: "unknown", architecture: "unknown" }) };
  const broken = { platform: readPlatform({ os: 1, architecture: ["amd64"] }) };
  expect(selectPlatform([{}, attestation, broken], parsePlatform("linux/amd64"))).toBeUndefined();
  expect(isRunnable(attestation.platform)).toBe(false);
  expect(isRunnable(parsePlatform("linux/amd64"))).toBe(true);
});

test("platforms of an index have one spelling, and parse and format are inverse", () => {
  const word = fc.oneof(
    fc.constantFrom("linux", "arm", "arm64", "amd64", "x86_64", "armel", "v8", "v1", "8", "V7"),
    fc.stringMatching(/^[A-Za-z0-9_.-]{1,8}$/),
  );
  fc.assert(
    fc.property(word, word, fc.option(word), (os, architecture, variant) => {
      const platform = readPlatform({ os, architecture, variant });
      expect(normalizePlatform(platform)).toEqual(platform);
      expect(parsePlatform(formatPlatform(platform))).toEqual(platform);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("a machine runs its own platform first, and few others, whatever somebody wrote", () => {
  fc.assert(
    fc.property(fc.string({ unit: ANY_CHARACTER }), fc.string(), (text, variant) => {
      const machines = [{ os: text, architecture: "arm64", variant }, tryParse(`linux/${text}`)];
      for (const machine of machines) {
        if (machine === undefined) continue;
        const runnable = runnablePlatforms(machine);
        expect(runnable[0]).toEqual(normalizePlatform(machine));
        expect(runnable.length).toBeLessThan(400);
      }
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("an absurd variant is no reason to count down from it", () => {
  const platform = { os: "linux", architecture: "amd64", variant: "v999999999" };
  expect(runnablePlatforms(platform).map(formatPlatform)).toEqual([
    ...["linux/amd64/v999999999", "linux/amd64", "linux/386"],
  ]);
});

// An index that named such an architecture ended the program.
test.each(["__proto__", "constructor"])("an architecture may be called %s", (architecture) => {
  const platform = readPlatform({ os: "linux", architecture });
  expect(formatPlatform(platform)).toBe(`linux/${architecture}`);
});

function tryParse(text: string) {
  try {
    return parsePlatform(text);
  } catch (error) {
    if (isFailure(error, "platform-invalid")) return undefined;
    throw error;
  }
}
