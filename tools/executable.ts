import { mkdir, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import manifest from "../package.json" with { type: "json" };
import { BUN, ROOT, run } from "./step.ts";
import { runtimePath, type Target } from "./targets.ts";

/** Where the executable for this machine is put. */
export const EXECUTABLE: string = join(ROOT, "dist", "dray");

/** The program. */
export const ENTRY: string = join(ROOT, "src", "main.ts");

/** Without these the executable reads .env and bunfig.toml where it is started, and runs what they name. */
const IGNORE_THE_FOLDER_IT_STARTS_IN = [
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** What was built. */
export interface Build {
  readonly sizeBytes: number;
  /** As `--version` prints it; see {@link Origin}. */
  readonly version: string;
  readonly revision: string;
}

/** What is built: the same origin gives the same bytes. */
export interface Origin {
  /** That of package.json at the commit that is tagged so, else with the commit: `0.1.0+5e1af515fa25`. */
  readonly version: string;
  /** The commit, marked `-dirty` when the files differ from it; `unknown` outside of git. */
  readonly revision: string;
  /** SOURCE_DATE_EPOCH (reproducible-builds.org), else the time of the commit. */
  readonly date: Date;
}

/**
 * Makes the one file that we ship: the program, its dependencies and Bun. Bytecode halves the time
 * it takes to start, and is why the program has no top-level await. The file must never be stripped:
 * that cuts the program off and leaves plain Bun.
 *
 * The source finds its version in the constants `BUILD_VERSION` and `BUILD_REVISION`.
 *
 * @param target another machine than this one
 */
export async function build(
  entry: string = ENTRY,
  executable: string = EXECUTABLE,
  target?: Target,
): Promise<Build> {
  const { version, revision, date } = await origin();
  await mkdir(dirname(executable), { recursive: true });
  const machine =
    target === undefined
      ? []
      : [`--target=${target.bunTarget}`, `--compile-executable-path=${await runtimePath(target)}`];
  const { exitCode, output } = await run([
    BUN,
    "build",
    ...["--compile", "--bytecode", "--minify", ...IGNORE_THE_FOLDER_IT_STARTS_IN],
    // A command loads what it needs of the program, and not all of it.
    ...["--splitting", "--format=esm"],
    ...machine,
    `--define=BUILD_VERSION=${JSON.stringify(version)}`,
    `--define=BUILD_REVISION=${JSON.stringify(revision)}`,
    `--outfile=${executable}`,
    entry,
  ]);
  if (exitCode !== 0) throw new Error(`Cannot build ${executable}:\n${output}`);
  await utimes(executable, date, date);
  return { sizeBytes: (await stat(executable)).size, version, revision };
}

/** What the checkout is at. */
export async function origin(): Promise<Origin> {
  const revision = await git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*");
  const tag = await git("describe", "--exact-match", "--dirty", `--match=v${manifest.version}`);
  const isRelease = revision === undefined || tag === `v${manifest.version}`;
  return {
    version: isRelease ? manifest.version : `${manifest.version}+${revision}`,
    revision: revision ?? "unknown",
    date: new Date(1_000 * (await sourceDateEpoch())),
  };
}

async function sourceDateEpoch(): Promise<number> {
  const given = process.env["SOURCE_DATE_EPOCH"] ?? (await git("log", "-1", "--format=%ct")) ?? "0";
  if (!/^\d{1,11}$/.test(given)) throw new Error(`SOURCE_DATE_EPOCH is ${given}, expected seconds`);
  return Number(given);
}

async function git(...words: readonly string[]): Promise<string | undefined> {
  const { exitCode, output } = await run(["git", ...words]);
  return exitCode === 0 ? output.trim() : undefined;
}
