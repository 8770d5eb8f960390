import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");

/** The program under test: the executable that `DRAY` names, else the source of this checkout. */
export const PROGRAM: string = process.env["DRAY"] ?? join(ROOT, "bin", "dray");

/** What a run of the program gave. */
export interface ProgramRun {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Another file of the program than {@link PROGRAM}. */
  readonly program?: string;
}

/** Runs `dray` to its end. */
export async function dray(args: readonly string[], options: RunOptions = {}): Promise<ProgramRun> {
  const child = startDray(args, options);
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, out, err };
}

/** Starts `dray`, for tests that interfere with it. */
export function startDray(
  args: readonly string[],
  { cwd = ROOT, stdin = "", env = {}, program = PROGRAM }: RunOptions = {},
) {
  return Bun.spawn([program, ...args], {
    cwd,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdin: new TextEncoder().encode(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** A folder that is gone with the test. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "dray-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
