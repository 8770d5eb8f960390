import { expect, test } from "bun:test";
import fc from "fast-check";
import { Findings, type Place } from "./finding.ts";

const place = (file: string, line: number, column = 1): Place => ({
  file,
  line,
  column,
  path: "a",
});

test("Findings are listed by place and once, whatever the order in which they were found", () => {
  const found = fc.tuple(
    fc.constantFrom("a.yaml", "b.yaml"),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 12 }),
    fc.constantFrom("x", "y"),
  );
  fc.assert(
    fc.property(fc.array(found, { maxLength: 12 }), (list) => {
      const collect = (entries: typeof list) => {
        const findings = new Findings();
        for (const [file, line, column, message] of entries) {
          findings.fault(place(file, line, column), "code", message, "remedy");
        }
        return findings.faults;
      };
      const faults = collect(list);
      expect(collect(list.toReversed())).toEqual([...faults]);
      expect(collect([...list, ...list])).toEqual([...faults]);
      const places = faults.map(({ file, line, column }) => [file, line, column] as const);
      const sorted = places.toSorted(
        (a, b) => a[0].localeCompare(b[0]) || a[1] - b[1] || a[2] - b[2],
      );
      expect(places).toEqual(sorted);
    }),
    { numRuns: 2_000 },
  );
});

test("Findings keep faults and warnings apart", () => {
  const findings = new Findings();
  findings.warn(place("a.yaml", 1), "near-key", "w", "r");
  expect(findings.hasFaults).toBe(false);
  findings.fault(place("a.yaml", 2), "bad-value", "f", "r");
  expect(findings.hasFaults).toBe(true);
  expect(findings.faults.map(({ code }) => code)).toEqual(["bad-value"]);
  expect(findings.warnings.map(({ code }) => code)).toEqual(["near-key"]);
});

test("a Finding has its place and nothing else of what held the place", () => {
  const findings = new Findings();
  const node = { ...place("a.yaml", 3, 7), password: "hunter2" };
  findings.fault(node, "code", "message", "remedy");
  expect(findings.faults).toEqual([
    {
      file: "a.yaml",
      line: 3,
      column: 7,
      path: "a",
      code: "code",
      message: "message",
      remedy: "remedy",
    },
  ]);
});
