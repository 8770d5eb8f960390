import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { type Node, parseDocuments } from "./document.ts";
import { findDotted, TemplateScope } from "./scope.ts";
import { fileSource } from "./text-source.ts";

function parse(text: string): Node {
  const [root] = parseDocuments(fileSource("f", text), new Findings());
  if (root === undefined) throw new Error("the sample has no document");
  return root;
}

const OTHER_PACKS = [
  ["os.with.dots", parse("a: dotted\n")],
  ["edge-k3s", parse("pack: {content: {images: []}}\ntag: 1.10\n")],
] as const;

/** Fills in the value at `v` of the pack `os`, whose values are given. */
function fill(values: string, secret = false) {
  const findings = new Findings();
  const packs = new Map([["os", parse(values)], ...OTHER_PACKS]);
  const scope = new TemplateScope(
    {
      packValue: (name, keys) => {
        const root = packs.get(name);
        return root === undefined ? undefined : findDotted(root, keys);
      },
      packNames: [...packs.keys()],
      system: (name) => (name === "kubernetes.version" ? "1.32.1" : undefined),
      variable: (name) => ({ site: "store-1", empty: "" })[name],
      macro: (name) => (name === "user" ? "pull" : undefined),
    },
    findings,
  );
  const node = packs.get("os")?.get("v");
  if (node === undefined) throw new Error("the sample has no v");
  const text = secret ? scope.resolveSecret(node) : scope.resolve(node);
  return { text, faults: listed(findings.faults), warnings: listed(findings.warnings), findings };
}

describe("findDotted()", () => {
  const root = parse(
    "options:\n  system.uri: flat\n  system:\n    repo: nested\n  a.b:\n    c.d: mixed\n",
  );

  test.each([
    [["options", "system", "uri"], "flat"],
    [["options", "system", "repo"], "nested"],
    [["options", "a", "b", "c", "d"], "mixed"],
    [["options", "system", "none"], undefined],
  ])("finds %j", (keys, expected) => {
    expect(findDotted(root, keys)?.text).toBe(expected);
  });
});

describe("TemplateScope.resolve()", () => {
  test.each([
    ["a text without templates", "v: a.io/b:1\n", "a.io/b:1"],
    ["a flat dotted key", "v: '{{ .spectro.pack.os.o.x.y }}'\no: {x.y: z}\n", "z"],
    [
      "a value made of values",
      "v: '{{ .spectro.pack.os.a }}:1'\na: '{{.spectro.pack.os.b}}/c'\nb: d\n",
      "d/c:1",
    ],
    ["a number as it is written", "v: '{{ .spectro.pack.edge-k3s.tag }}'\n", "1.10"],
    ["a pack whose name holds dots", "v: '{{ .spectro.pack.os.with.dots.a }}'\n", "dotted"],
    ["the system's values", "v: '{{ .spectro.system.kubernetes.version | substr 0 4 }}'\n", "1.32"],
    [
      "variables and macros",
      "v: '{{ .spectro.var.site }}-{{ .spectro.macro.user | upper }}'\n",
      "store-1-PULL",
    ],
    ["a default for what is not there", "v: '{{ .spectro.var.none | default \"x\" }}'\n", "x"],
    ["a default for what is empty", "v: '{{ .spectro.var.empty | default \"x\" }}'\n", "x"],
    [
      "a default that is another value",
      "v: '{{ .spectro.var.none | default .spectro.var.site }}'\n",
      "store-1",
    ],
    ["an expression without quotes", 'v: {{ .spectro.var.site | replace "-" "_" }}\n', "store_1"],
    ["an empty value of a pack", "v: 'a{{ .spectro.pack.os.e }}b'\ne: ''\n", "ab"],
  ])("fills in %s", (_, values, expected) => {
    expect(fill(values)).toMatchObject({ text: expected, faults: [], warnings: [] });
  });

  test("leaves empty what is not defined, and says so where it was asked for", () => {
    const { text, warnings } = fill("v: 'a{{ .spectro.var.none }}b{{ .spectro.pack.no.x }}'\n");
    expect(text).toBe("ab");
    expect(warnings).toEqual(["f:1:6 template-undefined", "f:1:30 template-undefined"]);
  });

  test("tells the pack that was probably meant", () => {
    const { findings } = fill("v: '{{ .spectro.pack.edge-k3.tag }}'\n");
    expect(findings.warnings[0]?.remedy).toBe('Did you mean the pack "edge-k3s"?');
  });

  test.each([
    ["a value of itself", "v: '{{ .spectro.pack.os.v }}'\n", "f:1:8 template-loop"],
    [
      "values of each other",
      "v: '{{ .spectro.pack.os.a }}'\na: 'x{{ .spectro.pack.os.b }}'\nb: '{{ .spectro.pack.os.a }}'\n",
      "f:3:8 template-loop",
    ],
    ["a path that nobody knows", "v: 'a{{ .Values.x }}'\n", "f:1:9 template-syntax"],
    ["a path to a mapping", "v: '{{ .spectro.pack.os.m }}'\nm: {a: 1}\n", "f:1:8 template-syntax"],
    [
      "an unknown function",
      "v: '{{ .spectro.var.site | env }}'\n",
      "f:1:28 template-function-unknown",
    ],
    [
      "a template in a template",
      "v: '{{ .spectro.pack.os.a }}'\na: 'b{{'\n",
      "f:2:6 template-syntax",
    ],
    [
      "one that never ends",
      `v: '{{ .spectro.var.site }}${"x".repeat(8_192)}'\n`,
      "f:1:5 template-syntax",
    ],
  ])("refuses %s, with its place", (_, values, expected) => {
    expect(fill(values)).toMatchObject({ text: undefined, faults: [expected] });
  });

  test("shows the way that leads back to itself", () => {
    const { findings } = fill("v: '{{ .spectro.pack.os.a }}'\na: '{{ .spectro.pack.os.a }}'\n");
    expect(findings.faults[0]?.message).toEndWith(": .spectro.pack.os.a → .spectro.pack.os.a");
  });

  test.each([
    ["nothing", "''"],
    ["text", "x"],
  ])("ends for values that multiply %s thirty times tenfold", (_, last) => {
    const values = Array.from({ length: 30 }, (_unused, i) => {
      return `k${i}: '${`{{ .spectro.pack.os.k${i + 1} }}`.repeat(10)}'\n`;
    });
    const { text, faults } = fill(
      `v: '{{ .spectro.pack.os.k0 }}'\n${values.join("")}k30: ${last}\n`,
    );
    expect(text === "" || faults.length === 1).toBe(true);
  });
});

describe("TemplateScope.resolveSecret()", () => {
  test("fills in, and refuses what is not defined", () => {
    expect(fill("v: '{{ .spectro.macro.user }}'\n", true).text).toBe("pull");
    expect(fill("v: '{{ .spectro.macro.none }}'\n", true)).toMatchObject({
      text: undefined,
      faults: ["f:1:5 template-undefined"],
      warnings: [],
    });
  });

  test.each(["a{{hunter2", "{{ hunter2 }}", "{{ .hunter2 }}", "{{ 7 | hunter2 }}"])(
    "tells nothing of what is in %j",
    (password) => {
      const { findings, faults } = fill(`v: '${password}'\n`, true);
      expect(faults).toEqual(["f:1:5 template-syntax"]);
      expect(JSON.stringify(findings.faults)).not.toContain("hunter2");
    },
  );
});

describe("filling in", () => {
  test("survives all templates, also those that refer to each other", () => {
    const piece = fc.constantFrom(
      ...["{{ ", " }}", ".spectro.pack.os.a", ".spectro.pack.os.b", ".spectro.pack.os.v", " | "],
      ...["{{ .spectro.pack.os.a }}", "{{ .spectro.pack.os.b }}", "{{ .spectro.var.site }}", "x"],
      ...["default `x`", "upper", "trunc 1", "substr 0 2", "(", ")", ".spectro.system.kubernetes"],
    );
    const text = fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(text, text, text, (v, a, b) => {
        const { text: filled, faults } = fill(JSON.stringify({ v, a, b }));
        expect(filled === undefined).toBe(faults.length > 0);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
