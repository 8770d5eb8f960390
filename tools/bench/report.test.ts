import { expect, test } from "bun:test";
import { plot } from "./plot.ts";
import { formatReport, formatTable } from "./report.ts";
import { median, type Run, type ScenarioResult, summarise } from "./result.ts";
import { FULL, QUICK } from "./scenario.ts";

function runOf(wallMs: number, changes: Partial<Run> = {}): Run {
  const cost = { wallMs, cpuMs: wallMs / 2, peakBytes: 50e6, exitCode: 0, output: "" };
  return { ...cost, movedBytes: 101e6, isComplete: true, ...changes };
}

const [scenario] = FULL;
if (scenario === undefined) throw new Error("there is no scenario");

const RESULT: ScenarioResult = {
  scenario: { ...scenario, rounds: 3 },
  setBytes: 100e6,
  link: "loopback",
  results: [
    {
      contender: "drayage",
      runs: [3_000, 1_000, 1_500].map((ms) =>
        runOf(ms, { again: { wallMs: ms / 10, movedBytes: 0, isComplete: true } }),
      ),
    },
    { contender: "skopeo", runs: [runOf(4_000), runOf(9_000, { isComplete: false })] },
    { contender: "crane", runs: [runOf(3_000), runOf(2_000)] },
    { contender: "curl", runs: [runOf(10, { isComplete: false })] },
  ],
};

test("median() is the middle, the mean of two middles, or nothing", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, Number.NaN]);
});

test("summarise() leaves out what was not complete, and says so", () => {
  const [, skopeo, , curl] = RESULT.results.map(summarise);
  expect(skopeo).toMatchObject({ complete: 1, runs: 2, wallMs: 4_000, wallMsMax: 4_000 });
  expect(curl).toMatchObject({ complete: 0, wallMs: Number.NaN, againMs: Number.NaN });
});

test("formatTable() compares with the fastest of skopeo and crane", () => {
  expect(formatTable(RESULT).split("\n").slice(4, 8)).toEqual([
    "| drayage | 3 of 3 | 1.50 s (1.00–3.00) | 0.60 | 0.75 s | 50.0 MB | 101 MB (+1.0 %) | 0.15 s |",
    "| skopeo | 1 of 2 | 4.00 s (4.00–4.00) | 1.60 | 2.00 s | 50.0 MB | 101 MB (+1.0 %) | – |",
    "| crane | 2 of 2 | 2.50 s (2.00–3.00) | 1.00 | 1.25 s | 50.0 MB | 101 MB (+1.0 %) | – |",
    "| curl | 0 of 1 | failed | – | – | – | – | – |",
  ]);
});

test("formatTable() says what the line alone needs", () => {
  const link = { kind: "shaped", delayMs: 50, lossPercent: 1, congestion: "bbr" } as const;
  const shaped = { ...RESULT.scenario, link: { ...link, megabitsPerSecond: 20 } };
  expect(formatTable({ ...RESULT, scenario: shaped })).toContain("the line alone needs 40.00 s");
});

test("formatReport() says how to repeat it, and shows each picture", () => {
  const head = { machine: "2 × CPU", date: "2026-01-01", command: "npm run bench", contenders: [] };
  const page = formatReport(head, [RESULT]);
  expect(page).toContain("`npm run bench`, 2026-01-01, on 2 × CPU");
  expect(page).toContain("(images/bench-loopback.svg)");
});

test("plot() draws a bar for each figure, the longest for the most, and none for a failure", () => {
  const svg = plot(RESULT);
  const wallTimes = [...svg.matchAll(/<rect class="([^"]+)" x="70" y="\d+" width="(\d+)"/g)];
  expect(wallTimes.map(([, kind, width]) => [kind, Number(width)])).toEqual([
    ["bar ours", 47],
    ["bar", 126],
    ["bar", 79],
  ]);
  expect(svg.match(/>failed</g)).toHaveLength(4);
  expect(svg).toContain("prefers-color-scheme:dark");
});

test("plot() writes text that XML takes", () => {
  const titled = { ...RESULT, scenario: { ...RESULT.scenario, title: "a < b & c" } };
  expect(plot(titled)).toContain("<title>a &#60; b &#38; c</title>");
});

test("every scenario has a name of its own, and the quick ones are among the full", () => {
  const names = FULL.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(QUICK.filter(({ name }) => !names.includes(name))).toEqual([]);
  expect(QUICK.length).toBeGreaterThan(2);
});
