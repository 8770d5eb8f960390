import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { type Insertion, insertMarked, isMarked, removeMarked } from "./marked.ts";

function removed(text: string): string | undefined {
  return removeMarked(text, "f", new Findings());
}

describe("insertMarked() and removeMarked()", () => {
  const line = fc.constantFrom("", "a: 1", "  b: [x, y]", "# note", "\t", "c: {d: e}");
  const texts = fc
    .tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom("\n", "\r\n"), fc.boolean())
    .map(([lines, eol, ends]) => lines.join(eol) + (ends && lines.length > 0 ? eol : ""));

  test("what is removed leaves what was there before, byte for byte", () => {
    const places = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 4 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(texts, places, (text, wanted) => {
        const insertions = wanted.map(([at, indent]) => pieceFor(text, at, indent));
        const marked = insertMarked(text, insertions);
        expect(isMarked(marked)).toBe(true);
        expect(removed(marked)).toBe(text);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test.each([
    ["a BEGIN without END", "a\n# BEGIN drayage\nb\n", 2],
    ["an END without BEGIN", "a\nb\n# END drayage\n", 3],
    ["a BEGIN within another", "# BEGIN drayage\n# BEGIN drayage\n# END drayage\n", 1],
  ])("%s is a fault at its line, and nothing is removed", (_, text, line) => {
    const findings = new Findings();
    expect(removeMarked(text, "hosts.toml", findings)).toBeUndefined();
    expect(findings.faults).toMatchObject([{ code: "redirect-marks-broken", line }]);
  });

  test("lines that only speak of drayage are a person's", () => {
    const text = "# BEGIN drayages\n# see drayage\n#END drayage\n";
    expect(removed(text)).toBe(text);
  });
});

/** A piece at the start of a line, at the end, or behind a bracket, as writers of files place them. */
function pieceFor(text: string, at: number, indent: number): Insertion {
  const blanks = " ".repeat(indent);
  const lines = [`${blanks}ours: 1`];
  const brackets = [...text.matchAll(/[[{]/g)].map(({ index }) => index + 1);
  const bracket = brackets[at % (brackets.length + 1)];
  if (bracket !== undefined) return { offset: bracket, form: "flow", indent: blanks, lines };
  const starts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1), text.length];
  const offset = starts[at % starts.length] ?? 0;
  return { offset, form: "lines", indent: blanks, lines };
}
