/** How many tests passed, failed and were skipped. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Nothing was counted yet. */
export const NO_TESTS: Tally = { passed: 0, failed: 0, skipped: 0 };

/** Several counts as one. */
export function sum(tallies: readonly Tally[]): Tally {
  return tallies.reduce(
    (total, { passed, failed, skipped }) => ({
      passed: total.passed + passed,
      failed: total.failed + failed,
      skipped: total.skipped + skipped,
    }),
    NO_TESTS,
  );
}

/** How a run of `bun test` ended. */
export interface TestRun {
  readonly exitCode: number | null;
  /** What it printed; the only place where files that could not be loaded are counted. */
  readonly output: string;
  /** The JUnit report, or undefined when none was written. */
  readonly report: string | undefined;
}

/**
 * Counts a run so that no failure can be lost. Measured on Bun 1.4.5: a test file that cannot be
 * loaded is missing from the report, and a `process.exit(0)` anywhere ends the run with code 0 and
 * no report at all. A run that counts nothing, or that failed without saying where, is one failure.
 */
export function tallyOf({ exitCode, output, report }: TestRun): Tally {
  const attributes = /<testsuites ([^>]*)>/.exec(report ?? "")?.[1] ?? "";
  const read = (name: string) =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes)?.[1] ?? 0);
  const skipped = read("skipped");
  const unloadable = Number(/^ (\d+) errors?$/m.exec(output)?.[1] ?? 0);
  const failed = read("failures") + unloadable;
  const passed = read("tests") - read("failures") - skipped;
  const isLost = failed === 0 && (exitCode !== 0 || passed + skipped === 0);
  return { passed, failed: isLost ? 1 : failed, skipped };
}

/** What test files said of the tests that they left out: lines with these words, each once. */
export function reasonsToSkip(output: string): readonly string[] {
  const lines = output.split("\n").map((line) => line.trim());
  // Not the titles of tests, which a run with few files prints all the same.
  return [...new Set(lines.filter((line) => /^(?!\().*\bleft out\b/.test(line)))];
}

/** The closing line: what a program that watches the run reads. */
export function closingLine({ passed, failed }: Tally): string {
  return `${passed} passed, ${failed} failed`;
}
