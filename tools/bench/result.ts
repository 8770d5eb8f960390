import type { Cost } from "./measure.ts";
import type { Scenario } from "./scenario.ts";

/** One run of one contender. */
export interface Run extends Cost {
  /** What crossed the link to the site, or what the registry says that it sent. */
  readonly movedBytes: number;
  /** Whether it said so and all blobs are there. */
  readonly isComplete: boolean;
  /** A further run over what the first brought; undefined when the first failed. */
  readonly again?: Pick<Run, "wallMs" | "movedBytes" | "isComplete"> | undefined;
}

/** All runs of one contender in one scenario. */
export interface ContenderResult {
  readonly contender: string;
  readonly runs: readonly Run[];
}

/** What came of a scenario. */
export interface ScenarioResult {
  readonly scenario: Scenario;
  /** What has to cross the link at least. */
  readonly setBytes: number;
  /** How the link was made. */
  readonly link: string;
  readonly results: readonly ContenderResult[];
}

/** The middle of the runs that were complete, value by value. */
export interface Summary {
  readonly contender: string;
  /** How many runs were complete, of how many. */
  readonly complete: number;
  readonly runs: number;
  readonly wallMs: number;
  readonly wallMsMin: number;
  readonly wallMsMax: number;
  readonly cpuMs: number;
  readonly peakBytes: number;
  readonly movedBytes: number;
  /** NaN when there was no second run. */
  readonly againMs: number;
}

/** Sums up the runs of a contender. Values are NaN when no run was complete. */
export function summarise({ contender, runs }: ContenderResult): Summary {
  const complete = runs.filter(({ isComplete }) => isComplete);
  const middle = (value: (run: Run) => number) => median(complete.map(value));
  const walls = complete.map(({ wallMs }) => wallMs);
  const again = complete.flatMap((run) => (run.again?.isComplete === true ? [run.again] : []));
  return {
    contender,
    complete: complete.length,
    runs: runs.length,
    wallMs: median(walls),
    wallMsMin: walls.length === 0 ? Number.NaN : Math.min(...walls),
    wallMsMax: walls.length === 0 ? Number.NaN : Math.max(...walls),
    cpuMs: middle(({ cpuMs }) => cpuMs),
    peakBytes: middle(({ peakBytes }) => peakBytes),
    movedBytes: middle(({ movedBytes }) => movedBytes),
    againMs: median(again.map(({ wallMs }) => wallMs)),
  };
}

/** The middle value; of an even count the mean of the two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}
