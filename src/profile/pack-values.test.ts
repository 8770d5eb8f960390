import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { readPackValues } from "./pack-values.ts";
import { fileSource } from "./text-source.ts";

function read(text: string) {
  const findings = new Findings();
  const values = readPackValues(fileSource("v", text), findings);
  return {
    values,
    image: values?.root.at("pack", "content", "images")?.items[0]?.get("image"),
    faults: listed(findings.faults),
    warnings: listed(findings.warnings),
  };
}

const OWN = "pack:\n  content:\n    images:\n      - image: a.io/b:1\n";

describe("readPackValues() and large values", () => {
  const charts = "charts:\n  app:\n    tag: 1.10\n".concat("    # a comment\n".repeat(10_000));

  test("reads its own sections as ever, and the others only when asked", () => {
    const { values, image, faults, warnings } = read(`${charts}pcak: {}\n${OWN}`);
    expect(image?.place).toMatchObject({ line: 10_008, column: 16 });
    expect(values?.root.entries.map(({ key }) => key)).toEqual(["charts", "pcak", "pack"]);
    expect(values?.root.at("charts", "app")).toBeUndefined();
    expect(values?.whole().at("charts", "app", "tag")?.text).toBe("1.10");
    expect([faults, warnings]).toEqual([[], []]);
  });

  test("reads all where its own sections lean on the others", () => {
    const { values, faults } = read(
      `x: &x [{image: a.io/b:1}]\n${charts}pack: {content: {images: *x}}\n`,
    );
    expect(values?.root.at("pack", "content", "images")?.items).toHaveLength(1);
    expect(faults).toEqual([]);
  });

  test("tells what is broken in its own sections", () => {
    expect(read(`${charts}pack:\n\tcontent: {}\n`).faults).toEqual(["v:10005:1 yaml-broken"]);
  });

  test("reads JSON, which has no lines to tell sections by", () => {
    const values = {
      charts: { app: charts },
      pack: { content: { images: [{ image: "a.io/b:1" }] } },
    };
    expect(read(JSON.stringify(values)).image?.text).toBe("a.io/b:1");
  });
});

describe("readPackValues()", () => {
  test.each(["", "\n", "# nothing\n", "---\n", "null\n", "~\n"])(
    "reads nothing from %j",
    (text) => {
      expect(read(text)).toMatchObject({ values: undefined, faults: [], warnings: [] });
    },
  );

  test("passes over an empty document before the values", () => {
    const { image, faults, warnings } = read(`# licence\n---\n# more\n---\n${OWN}`);
    expect([image?.text, faults, warnings]).toEqual(["a.io/b:1", [], []]);
  });

  test("warns of a second document, which Palette does not read either", () => {
    expect(read(`${OWN}---\nmore: 1\n`).warnings).toEqual(["v:6:1 document-ignored"]);
  });

  test.each([
    ["a list", "- a\n"],
    ["a text", "hello\n"],
  ])("refuses %s", (_, text) => expect(read(text).faults).toEqual(["v:1:1 value-wrong-shape"]));

  /** What Go's parser, which Palette uses, reads, or what Helm is given as it is. */
  const foreign: readonly (readonly [string, string])[] = [
    ["a flow list that is not indented", 'a: [\n{"x": 1},\n{"y": 2}\n]'],
    ["a text over lines that are not indented", 'a: "one\ntwo"'],
    ["blank lines deeper than the text after them", "a: |\n        \n  x"],
    ["a tab in a flow mapping", 'a: {\n\t"x": 1\n}'],
    ["a tab that indents", "a:\n\tb: 1"],
    ["lines of a template", "{{- if .Values.a }}\na: 1\n{{- end }}"],
    ["a star that is no alias", "host: *.example.com"],
    ["a percent sign", "a: %x"],
  ];
  const inCharts = (text: string) => `charts:\n  app:\n${text.replace(/^(?=[^\n])/gm, "    ")}\n`;

  test.each(foreign)("warns where chart values hold %s, and reads the images", (_, text) => {
    for (const values of [`${OWN}${inCharts(text)}`, `${inCharts(text)}${OWN}`]) {
      const { image, faults, warnings } = read(values);
      const line = values.split("\n").findIndex((each) => each.includes("a.io/b:1")) + 1;
      expect(faults).toEqual([]);
      expect(warnings.join(" ")).toContain("values-unread");
      expect(image?.place).toMatchObject({ file: "v", line, column: 16 });
    }
  });

  test("keeps as a fault what is broken in its own sections", () => {
    const { faults, warnings } = read("charts: {}\npack:\n  content:\n\timages: []\n");
    expect(faults).toContain("v:4:1 yaml-broken");
    expect(warnings).toEqual([]);
  });

  test("reports all as faults when both kinds are broken", () => {
    const { faults } = read("charts:\n  a: @x\npack:\n  content: @y\n");
    expect(faults).toEqual(["v:2:6 yaml-broken", "v:4:12 yaml-broken"]);
  });

  test.each([
    ["pack", `${OWN}pack: {}\n`, ["v:5:1 key-duplicate"], []],
    ["pack.content.images", `${OWN}    images: []\n`, ["v:5:5 key-duplicate"], []],
    ["options", "options:\n  a: 1\n  a: 2\n", ["v:3:3 key-duplicate"], []],
    ["charts", "charts: {}\ncharts: {}\n", [], ["v:2:1 key-duplicate"]],
    ["charts.app.a", "charts:\n  app:\n    a: 1\n    a: 2\n", [], ["v:4:5 key-duplicate"]],
    [
      "the rules of registry-connect",
      "charts:\n  registry-connect:\n    config:\n      registry:\n        imageReplacementRules: {a.io: b.io, a.io: c.io}\n",
      ["v:5:45 key-duplicate"],
      [],
    ],
  ])("judges a key written twice by whose it is: %s", (_, text, faults, warnings) => {
    expect(read(text)).toMatchObject({ faults, warnings });
  });
});
