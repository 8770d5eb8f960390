import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import manifest from "../package.json" with { type: "json" };
import { BUN, ROOT, run } from "./step.ts";

/** Where the executable is put. */
export const EXECUTABLE: string = join(ROOT, "dist", "dray");

/** Without these the executable reads .env and bunfig.toml where it is started, and runs what they name. */
const IGNORE_THE_FOLDER_IT_STARTS_IN = [
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** What was built. */
export interface Build {
  readonly sizeBytes: number;
  readonly version: string;
  readonly revision: string;
}

/**
 * Makes the one file that we ship: the program, its dependencies and Bun. Bytecode halves the time
 * it takes to start, and is why the program has no top-level await. The file must never be stripped:
 * that cuts the program off and leaves plain Bun.
 *
 * The source finds its version in the constants `BUILD_VERSION` and `BUILD_REVISION`.
 */
export async function build(
  entry: string = join(ROOT, "src", "main.ts"),
  executable: string = EXECUTABLE,
): Promise<Build> {
  const { version } = manifest;
  const revision = await gitRevision();
  await mkdir(dirname(executable), { recursive: true });
  const { exitCode, output } = await run([
    BUN,
    "build",
    ...["--compile", "--bytecode", "--minify", ...IGNORE_THE_FOLDER_IT_STARTS_IN],
    `--define=BUILD_VERSION=${JSON.stringify(version)}`,
    `--define=BUILD_REVISION=${JSON.stringify(revision)}`,
    `--outfile=${executable}`,
    entry,
  ]);
  if (exitCode !== 0) throw new Error(`Cannot build ${executable}:\n${output}`);
  return { sizeBytes: (await stat(executable)).size, version, revision };
}

/** The commit that is built, marked when the files differ from it; `unknown` outside of git. */
async function gitRevision(): Promise<string> {
  const { exitCode, output } = await run([
    ...["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
  ]);
  return exitCode === 0 ? output.trim() : "unknown";
}

/** From start to exit of `--version`: the median of several runs, in milliseconds. */
async function startTimeMs(executable: string): Promise<number> {
  const timesMs: number[] = [];
  for (let i = 0; i < 11; i += 1) {
    const startedMs = performance.now();
    const { exitCode, output } = await run([executable, "--version"]);
    if (exitCode !== 0) throw new Error(`Cannot start ${executable}:\n${output}`);
    timesMs.push(performance.now() - startedMs);
  }
  return timesMs.sort((a, b) => a - b)[5] ?? Number.NaN;
}

if (import.meta.main) {
  const { sizeBytes, version, revision } = await build();
  const startMs = await startTimeMs(EXECUTABLE);
  const sizeMiB = (sizeBytes / 1024 ** 2).toFixed(1);
  console.log(
    `dist/dray ${version} (${revision}): ${sizeMiB} MiB, starts in ${startMs.toFixed(0)} ms`,
  );
}
