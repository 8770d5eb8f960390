import { expect, test } from "bun:test";
import { closingLine, reasonsToSkip, sum, tallyOf } from "./tally.ts";

const report = (tests: number, failures: number, skipped: number) =>
  `<?xml version="1.0"?>\n<testsuites name="bun test" tests="${tests}" assertions="9" failures="${failures}" skipped="${skipped}" time="0.1">\n<testsuite tests="77" failures="77" skipped="77"/></testsuites>`;

test("tallyOf() counts passed, failed and skipped tests of the report", () => {
  expect(tallyOf({ exitCode: 0, output: "", report: report(7, 0, 2) })).toEqual({
    passed: 5,
    failed: 0,
    skipped: 2,
  });
  expect(tallyOf({ exitCode: 1, output: "", report: report(7, 3, 0) })).toEqual({
    passed: 4,
    failed: 3,
    skipped: 0,
  });
});

test("tallyOf() counts files that could not be loaded, which the report leaves out", () => {
  const output = " 3 pass\n 1 fail\n 2 errors\n 9 expect() calls\n";
  expect(tallyOf({ exitCode: 1, output, report: report(4, 1, 0) }).failed).toBe(3);
});

test("tallyOf() makes one failure of a run that crashed, said nothing or ran nothing", () => {
  const lost = [
    { exitCode: 0, output: "", report: undefined },
    { exitCode: 0, output: "", report: report(0, 0, 0) },
    { exitCode: 1, output: "", report: report(5, 0, 0) },
    { exitCode: null, output: "", report: report(5, 0, 0) },
    { exitCode: 0, output: "", report: "<half" },
  ];
  expect(lost.map((run) => tallyOf(run).failed)).toEqual([1, 1, 1, 1, 1]);
});

test("sum() and closingLine() give the one line at the end", () => {
  const parts = [
    { passed: 3, failed: 0, skipped: 1 },
    { passed: 40, failed: 2, skipped: 0 },
  ];
  expect(sum(parts)).toEqual({ passed: 43, failed: 2, skipped: 1 });
  expect(closingLine(sum(parts))).toBe("43 passed, 2 failed");
  expect(closingLine(sum([]))).toBe("0 passed, 0 failed");
});

test("reasonsToSkip() gives what test files said of tests that they left out, each reason once", () => {
  const output = `bun test v1.4.5
zot not installed: its tests are left out
  zot not installed: its tests are left out
(skip) umoci (left out where it is not installed)
 3 pass
`;
  expect(reasonsToSkip(output)).toEqual(["zot not installed: its tests are left out"]);
});
