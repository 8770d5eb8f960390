import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { canonicalJson, type SiteState, sealProof } from "./proof.ts";

const SITE: SiteState = {
  profiles: ["edge"],
  platform: "linux/amd64",
  depth: { kind: "full" },
  runtime: null,
  registries: { embedded: { address: "127.0.0.1:5055", isRunning: true }, local: null },
  problems: [],
  notes: [],
};

/** The same value with the keys of all objects in another order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, field]) => [key, reordered(field)]);
  return Object.fromEntries(entries.reverse());
}

describe("canonicalJson()", () => {
  test("says the same whatever the order of the keys, and what JSON reads back", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(reordered(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("sorts keys by code unit, has no spaces, and leaves out what is undefined", () => {
    expect(canonicalJson({ b: [1, { d: null, c: "é" }], a: undefined, B: true })).toBe(
      '{"B":true,"b":[1,{"c":"é","d":null}]}',
    );
  });
});

describe("sealProof()", () => {
  test("gives a digest over all but the time and itself, so that two proofs can be compared", () => {
    const first = sealProof(SITE, [], 0);
    expect(sealProof(SITE, [], 1).digest).toBe(first.digest);
    expect(sealProof(SITE, [], 1).at).toBe("1970-01-01T00:00:00.001Z");
    expect(sealProof({ ...SITE, notes: ["x"] }, [], 0).digest).not.toBe(first.digest);
    const { at: _at, digest, ...rest } = first;
    const hex = new Bun.CryptoHasher("sha256").update(canonicalJson(rest)).digest("hex");
    expect(`${digest}`).toBe(`sha256:${hex}`);
  });

  test("a problem of the site as a whole keeps it from being ready", () => {
    const problem = { code: "x", message: "x", remedy: "x" };
    expect(sealProof(SITE, [], 0).ok).toBe(true);
    expect(sealProof({ ...SITE, problems: [problem] }, [], 0).ok).toBe(false);
  });
});
