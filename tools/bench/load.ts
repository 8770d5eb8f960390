import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What clients ask for, again and again. */
export interface Load {
  readonly port: number;
  /** How many connections, each with one request under way. */
  readonly clients: number;
  readonly seconds: number;
  readonly method: "GET" | "HEAD";
  /** They come in turn. */
  readonly paths: readonly string[];
  /** The status that every answer must have. */
  readonly status: number;
}

/** What the clients got. Times are milliseconds. */
export interface LoadResult {
  /** Answers that came whole. */
  readonly answers: number;
  /** Of bodies, also of answers that did not come whole. */
  readonly bytes: number;
  readonly wallMs: number;
  /** User and system time of the clients themselves: near `wallMs`, it is they who were measured. */
  readonly ownCpuMs: number;
  /** From a request to the end of its answer: the middle one, and the one that 99 of 100 are faster than. */
  readonly medianMs: number;
  readonly slowMs: number;
  readonly connections: number;
}

/** Clients that discard what they get, in a process of their own: `load.c`. */
export interface LoadGenerator extends AsyncDisposable {
  /** @throws what the first client that got something else than it expected says */
  run(load: Load): Promise<LoadResult>;
}

/** Whether this machine has the compiler for it. */
export const canLoad: boolean = Bun.which("gcc") !== null;

/** Builds the clients. */
export async function openLoadGenerator(): Promise<LoadGenerator> {
  const folder = await mkdtemp(join(tmpdir(), "dray-bench-load-"));
  const program = join(folder, "load");
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await printed(["gcc", "-O2", "-o", program, join(import.meta.dir, "load.c")]);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    async run({ port, clients, seconds, status, method, paths }) {
      const numbers = [port, clients, seconds, status].map(String);
      return JSON.parse(await printed([program, ...numbers, method, ...paths]));
    },
    [Symbol.asyncDispose]: remove,
  };
}

async function printed(command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode === 0) return out;
  throw new Error(`${command.join(" ").slice(0, 200)} ended with ${exitCode}: ${err}`);
}
