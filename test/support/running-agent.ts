import { join } from "node:path";
import type { JournalEntry, SiteState } from "#daemon";
import { PROGRAM, startDray } from "./program.ts";

/** A `dray agent` that runs, and what it says. */
export interface RunningAgent extends AsyncDisposable {
  readonly pid: number;
  /** All of stderr so far. */
  readonly log: () => string;
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
  state(): Promise<SiteState>;
  act(action: string): Promise<void>;
  /** Oldest first. */
  journal(): Promise<readonly JournalEntry[]>;
  /** Waits until the site is so; throws with the log when the agent ends, or it never is. */
  until(what: string, isSo: (state: SiteState) => boolean | Promise<boolean>): Promise<SiteState>;
}

/** More than any of it takes on a busy machine. */
const PATIENCE_MS = 45_000;

/** Starts an agent, and waits until it can be asked. */
export async function startAgentProgram(
  dataDir: string,
  args: readonly string[],
  program: string = PROGRAM,
): Promise<RunningAgent> {
  const words = ["agent", ...args, "--data-dir", dataDir, "--listen", "127.0.0.1:0"];
  const child = startDray(words, { program });
  let log = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) log += text;
  })();
  const exited = child.exited.then(async (code) => {
    await reading;
    return code;
  });
  const ask = async (path: string, init: RequestInit = {}) => {
    const unix = join(dataDir, "agent.sock");
    const response = await fetch(`http://agent${path}`, { ...init, unix });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const state = async () => (await (await ask("/api/v1/site")).json()) as SiteState;
  const agent: RunningAgent = {
    pid: child.pid,
    log: () => log,
    exited,
    kill: (signal) => child.kill(signal),
    state,
    async act(action) {
      const headers = { "content-type": "application/json", "x-drayage": "1" };
      await ask(`/api/v1/actions/${action}`, { method: "POST", headers, body: "{}" });
    },
    async journal() {
      const answer: unknown = await (await ask("/api/v1/journal?limit=200")).json();
      const entries = Array.isArray(answer)
        ? answer
        : (answer as { readonly entries: readonly JournalEntry[] }).entries;
      return entries.toReversed();
    },
    async until(what, isSo) {
      const overMs = performance.now() + PATIENCE_MS;
      let last: SiteState | undefined;
      while (performance.now() < overMs) {
        last = await state().catch(() => undefined);
        if (last !== undefined && (await isSo(last))) return last;
        if (child.exitCode !== null) break;
        await Bun.sleep(30);
      }
      throw new Error(`Never so: ${what}\n${JSON.stringify(last, null, 1)}\n${log}`);
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) child.kill("SIGKILL");
      await exited;
    },
  };
  await agent.until("it answers", () => true);
  return agent;
}
