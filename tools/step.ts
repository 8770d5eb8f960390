import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NO_TESTS, reasonsToSkip, type Tally, tallyOf } from "./tally.ts";

/** The checkout. */
export const ROOT: string = join(import.meta.dir, "..");

/** Where the tools of the project's own dependencies are. */
const BIN = join(ROOT, "node_modules", ".bin");

/** Bun itself, the version that the project pins. */
export const BUN: string = join(BIN, "bun");

/** What a command printed and how it ended. */
export interface Outcome {
  /** Null when it was ended by a signal, as it is when its time is over. */
  readonly exitCode: number | null;
  readonly output: string;
}

/** Settings of a command. */
export interface RunOptions {
  /** A hung command is killed after so long; no command that works comes near it. */
  readonly timeLimitMs?: number;
  /** Added to the environment; undefined takes a variable out of it. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs a command in the checkout, without stdin, and keeps all that it prints. The output goes
 * through a file: a pipe would stay open, and be waited for, as long as some grandchild holds it.
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return await withScratch(async (scratch) => {
    const outputPath = join(scratch, "output");
    await using output = await open(outputPath, "a");
    const child = Bun.spawn({
      cmd: [...command],
      cwd: ROOT,
      env: { ...process.env, ...options.env, PATH: `${BIN}:${process.env["PATH"]}` },
      stdio: ["ignore", output.fd, output.fd],
      timeout: options.timeLimitMs ?? 300_000,
      killSignal: "SIGKILL",
    });
    await child.exited;
    return { exitCode: child.exitCode, output: await readFile(outputPath, "utf8") };
  });
}

/** Gives work a folder that is gone afterwards. */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "drayage-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a step does, and what came of it. */
export interface StepResult {
  readonly tally: Tally;
  /** All that should be read when it failed. */
  readonly output: string;
  /** A word beside the name, such as the size of what was built. */
  readonly note?: string;
  /** Lines that are worth reading though nothing failed. */
  readonly asides?: readonly string[];
}

/** Runs one step and reports it in one line, with its asides; its whole output follows when it failed. */
export async function step(name: string, work: () => Promise<StepResult>): Promise<Tally> {
  const startedMs = performance.now();
  const { tally, output, note, asides } = await work().catch(
    (error: unknown): StepResult => ({
      tally: { ...NO_TESTS, failed: 1 },
      output: `${error instanceof Error ? error.stack : error}`,
    }),
  );
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const mark = tally.failed === 0 ? "ok  " : "FAIL";
  console.log(
    [mark, name.padEnd(12), `${seconds}s`.padStart(7), note ?? countsOf(tally)].join(" "),
  );
  for (const aside of asides ?? []) console.log(`     ${aside}`);
  if (tally.failed > 0) console.log(`${output.trimEnd()}\n`);
  return tally;
}

function countsOf({ passed, failed, skipped }: Tally): string {
  const counts = [
    passed > 0 ? `${passed} passed` : "",
    failed > 0 && passed > 0 ? `${failed} failed` : "",
    skipped > 0 ? `${skipped} skipped` : "",
  ];
  return counts.filter((count) => count !== "").join(", ");
}

/** A step that is one command: it is no test, so it counts only when it fails. */
export async function commandStep(name: string, command: readonly string[]): Promise<Tally> {
  return await step(name, async () => {
    const { exitCode, output } = await run(command);
    return { tally: { ...NO_TESTS, failed: exitCode === 0 ? 0 : 1 }, output };
  });
}

/** Tests talk to this machine only, and Bun would send even that to a proxy of the environment. */
const NO_PROXIES: Readonly<Record<string, undefined>> = Object.fromEntries(
  ["http_proxy", "https_proxy", "no_proxy"].flatMap((name) => [
    [name, undefined],
    [name.toUpperCase(), undefined],
  ]),
);

/** Settings of a run of tests. */
export interface TestOptions extends RunOptions {
  /** Processes that run the files side by side, each one file after the other; one by default. */
  readonly workers?: number;
  /** When a single test is given up that says nothing of it itself; two minutes by default. */
  readonly testLimitMs?: number;
}

/** A step that is a run of `bun test` over the given files and folders, in random order. */
export async function testStep(
  name: string,
  paths: readonly string[],
  { workers = 1, testLimitMs = 120_000, ...options }: TestOptions = {},
): Promise<Tally> {
  const flags = ["--randomize", "--only-failures", "--no-orphans", `--timeout=${testLimitMs}`];
  if (workers > 1) flags.push(`--parallel=${workers}`, "--no-isolate");
  return await step(name, () =>
    withScratch(async (scratch) => {
      const reportPath = join(scratch, "report.xml");
      const reporter = ["--reporter=junit", `--reporter-outfile=${reportPath}`];
      const command = [BUN, "test", ...flags, ...reporter, ...paths];
      const { exitCode, output } = await run(command, {
        ...options,
        env: { ...NO_PROXIES, ...options.env },
      });
      const report = await readFile(reportPath, "utf8").catch(() => undefined);
      const asides = reasonsToSkip(output);
      return { tally: tallyOf({ exitCode, output, report }), output, asides };
    }),
  );
}
