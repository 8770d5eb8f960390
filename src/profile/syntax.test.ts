import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { parseDocuments } from "./document.ts";
import { fileSource } from "./text-source.ts";

/** The faults of a text as `line:column state`. */
function faultsOf(text: string): readonly string[] {
  const findings = new Findings();
  parseDocuments(fileSource("f", text), findings);
  return findings.faults.map(({ line, column, message }) => {
    return `${line}:${column} ${message.replace("Cannot read the document as YAML: ", "")}`;
  });
}

const UNCLOSED = "the quote or bracket that opens here is never closed";
const INDENTED = "the line is indented otherwise than the ones that it belongs to";
const SEPARATOR = "a colon, comma or dash is missing in this line or in the next one";

describe("a fault of syntax", () => {
  test.each([
    ["a list that is never closed", "a: [1, 2\nb: 3\nc: 4\n", `1:4 ${UNCLOSED}`],
    ["a mapping that is never closed", "a:\n  b: {x: 1\n  c: 2\nd: 3\n", `2:6 ${UNCLOSED}`],
    ["a list within JSON", '{"a": 1,\n "b": [1, 2\n}\n', `2:7 ${UNCLOSED}`],
    ["a bracket closed by another", "a: [1, 2}\nb: 3\n", `1:4 ${UNCLOSED}`],
    ["a list around a closed one", "a: [1, [2]\nb: 3\n", `1:4 ${UNCLOSED}`],
    ["a list among keys", "a: 1\n- b\n", `2:1 ${SEPARATOR}`],
    ["a single quote", "a: {b: 'x'}\nc: 'y\nd: 2\ne: 3\n", `2:4 ${UNCLOSED}`],
    ["a double quote", 'a: 1\nb: "x\nc: 2\n', `2:4 ${UNCLOSED}`],
    ["a line too far left", "a:\n    b: 1\n  c: 2\nd: 3\n", `3:1 ${INDENTED}`],
    ["an item too far right", "a:\n - b: 1\n  - c: 2\n", `3:3 ${INDENTED}`],
    ["a missing colon", "a: 1\nfoo\nb: 2\n", `2:1 ${SEPARATOR}`],
    ["a missing comma in JSON", '{"a": 1\n "b": 2}\n', `1:7 ${SEPARATOR}`],
    ["tabs", "a:\n\tb: 1\n\tc: 2\n\td: 3\n", "2:1 a tab indents the line, expected blanks"],
    [
      "a key of an item in the wrong column",
      "packs:\n  - name: a\n   layer: b\n  - name: c\n",
      "3:1 the line is indented like the items of a list, but has no -",
    ],
    [
      "a reserved character",
      "a: @x\n",
      "1:4 a text that begins with this character must be quoted",
    ],
    [
      "a block of text in its own line",
      "a: >x\n  y\n",
      "1:5 the text after | or > belongs into the next line, indented",
    ],
  ])("is told once for %s, where it can be mended", (_, text, fault) => {
    expect(faultsOf(text)).toEqual([fault]);
  });

  test("is told again where another one can't follow from it", () => {
    expect(faultsOf("a: @x\nb: 1\nc: @y\n")).toHaveLength(2);
  });

  test.each([
    "a: @hunter2\n",
    'a: "\\hunter2"\n',
    "a: >hunter2\n x\n",
    "a: !<hunter2 x\n",
    "%hunter2\na: 1\n",
    "a: 'hunter2\n",
    "a: hunter2: x: y\n",
  ])("shows nothing of %j", (text) => {
    expect(faultsOf(text).join("\n")).not.toContain("hunter2");
  });
});
