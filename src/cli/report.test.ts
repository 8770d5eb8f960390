import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { formatError, formatFinding, formatFindings } from "./report.ts";

const FINDING = {
  file: "store.json",
  line: 7,
  column: 3,
  path: "spec.template.packs[0].values:pack",
  code: "image-empty",
  message: "An entry of the image list is empty",
  remedy: "Take the line out",
};

describe("formatFinding()", () => {
  test("begins with the place, as editors and terminals understand it", () => {
    expect(formatFinding("warning", FINDING)).toBe(
      "warning: store.json:7:3: An entry of the image list is empty [image-empty]\n  hint: Take the line out\n",
    );
  });

  test("leaves the place out where there is no file", () => {
    expect(formatFinding("error", { ...FINDING, file: "" })).toStartWith("error: An entry");
  });

  test("escapes what a terminal would obey in a file's name", () => {
    expect(formatFinding("error", { ...FINDING, file: "a\u001b[2J" })).toStartWith(
      "error: a\\u001b[2J:7:3: ",
    );
  });
});

describe("formatFindings()", () => {
  test("gives warnings first and faults last, all of them", () => {
    const faults = [FINDING, { ...FINDING, line: 8 }];
    const text = formatFindings(faults, [{ ...FINDING, line: 9 }]);
    expect(text.match(/^(?:warning|error): store\.json:\d/gm)).toEqual([
      "warning: store.json:9",
      "error: store.json:7",
      "error: store.json:8",
    ]);
  });

  test("is empty when there is nothing to say", () => {
    expect(formatFindings([], [])).toBe("");
  });
});

describe("formatError()", () => {
  test("shows a failure with its code and the next thing to do, and no stack", () => {
    const failure = new Failure({
      code: "usage",
      message: "Cannot do it",
      hint: "Do it otherwise",
    });
    expect(formatError(failure)).toBe("error: Cannot do it [usage]\n  hint: Do it otherwise\n");
  });

  test("shows anything else as a bug, with its stack", () => {
    const text = formatError(new Error("Broken assertion: it holds"));
    expect(text).toContain("bug in dray");
    expect(text).toContain("Broken assertion: it holds");
    expect(text).toContain("report.test.ts");
    expect(formatError("a text")).toContain("a text");
  });
});
