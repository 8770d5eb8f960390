import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { formatLocation } from "#reference";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { parseDocuments } from "./document.ts";
import { readMappingRules } from "./mapping-rule.ts";
import { fileSource } from "./text-source.ts";

function read(yaml: string) {
  const findings = new Findings();
  const [root] = parseDocuments(fileSource("f", yaml), findings);
  const rules = readMappingRules(root?.get("r"), findings);
  return {
    rules: rules.map(({ location, to, place }) => {
      return `${formatLocation(location)} > ${formatLocation(to)} ${place.line}:${place.column}`;
    }),
    faults: listed(findings.faults),
    shown: JSON.stringify(findings.faults),
  };
}

describe("readMappingRules()", () => {
  test.each([
    ["none", "a: 1\n", []],
    ["an empty value", "r:\n", []],
    ["a mapping", "r:\n  quay.io/team: a.io/x\n", ["quay.io/team > a.io/x 2:3"]],
    ["schemes and slashes", "r: {https://quay.io/: 'oci://a.io/x/'}\n", ["quay.io > a.io/x 1:5"]],
    [
      "a name of Docker Hub",
      "r: {library/busybox: a.io}\n",
      ["docker.io/library/busybox > a.io 1:5"],
    ],
    ["a port", "r: {'a.io:5000/b': 'c.io:5000'}\n", ["a.io:5000/b > c.io:5000 1:5"]],
    ["localhost", "r: {localhost/b: localhost}\n", ["localhost/b > localhost 1:5"]],
    [
      "a list of sources and targets",
      "r:\n  - source: a.io\n    target: b.io\n",
      ["a.io > b.io 2:13"],
    ],
    [
      "a list of mappings",
      "r:\n  - a.io: b.io\n  - {from: c.io, to: d.io}\n",
      ["a.io > b.io 2:5", "c.io > d.io 3:12"],
    ],
    [
      "a text of YAML",
      "r: |\n  a.io: b.io\n  c.io/x: d.io\n",
      ["a.io > b.io 2:3", "c.io/x > d.io 3:3"],
    ],
    ["a text of JSON", `r: '{"a.io": "b.io"}'\n`, ["a.io > b.io 1:6"]],
  ])("reads %s", (_, yaml, rules) => {
    expect(read(yaml)).toMatchObject({ rules, faults: [] });
  });

  test.each([
    ["a text that is no mapping", "r: a.io\n", "f:1:4"],
    ["a source with a tag", "r: {a.io/b:1: c.io}\n", "f:1:5"],
    ["a source with a digest", "r: {a.io/b@sha256:abc: c.io}\n", "f:1:5"],
    ["a source with upper case", "r: {a.io/B: c.io}\n", "f:1:5"],
    ["an empty source", "r: {'/': c.io}\n", "f:1:5"],
    ["an empty target", "r: {a.io: ''}\n", "f:1:11"],
    ["a list for a target", "r: {a.io: [hunter2]}\n", "f:1:11"],
    ["a user in a target", "r: {a.io: 'https://u:hunter2@c.io'}\n", "f:1:11"],
    ["a text in a list", "r: [a.io]\n", "f:1:5"],
    ["a target without a source", "r: [{target: b.io, other: c.io}]\n", "f:1:5"],
  ])("refuses %s", (_, yaml, place) => {
    const { faults, shown } = read(yaml);
    expect(faults).toEqual([`${place} mapping-rule-invalid`]);
    expect(shown).not.toContain("hunter2");
  });

  test("survives every shape", () => {
    const text = fc.constantFrom(
      "a.io",
      "a.io/b",
      "B",
      "",
      "/",
      "a:1",
      "a: b",
      "- a",
      "{",
      "source",
    );
    const leaf = fc.oneof(text, fc.constantFrom<unknown>(null, 1, true, [], {}));
    const pair = fc.record({ source: leaf, target: leaf });
    const rules = fc.oneof(
      leaf,
      fc.dictionary(text, leaf),
      fc.array(fc.oneof(leaf, pair, fc.dictionary(text, leaf)), { maxLength: 4 }),
    );
    fc.assert(
      fc.property(rules, (r) => {
        expect(read(JSON.stringify({ r })).rules.every((rule) => / > /.test(rule))).toBe(true);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
