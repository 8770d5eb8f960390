import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";
import { printable, systemErrorCode } from "#base";

/** How a command is run. */
export interface CommandOptions {
  /** The environment that it sees, whole. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How long it may run, in milliseconds; 0: as long as it likes. */
  readonly timeoutMs: number;
  /** How long it may take to end once it was asked to, in milliseconds. */
  readonly graceMs?: number;
  /** Ends it, and all that it started. */
  readonly signal: AbortSignal;
  /** Hears each line that it writes, to whichever of its outputs, fit to print. */
  readonly onLine: (line: string) => void;
}

/** How a command ended. */
export type CommandEnd =
  | { readonly kind: "exited"; readonly exitStatus: number }
  | { readonly kind: "killed"; readonly by: string }
  | { readonly kind: "timeout" }
  /** It was never started; `code` is the system's: `ENOENT`, `EACCES`. */
  | { readonly kind: "unstartable"; readonly code: string };

/** Characters of a line; what is longer is cut. */
const LINE_MAX = 500;

/** A line without an end is told in pieces of so many characters. */
const PENDING_MAX = 8 * 1024;

/** Lines that are told of one run. */
const LINES_MAX = 5_000;

const GRACE_MS = 10_000;

/** A timer for longer, 24 days, would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** How often it is looked whether what a stopped program started has ended too. */
const LOOK_MS = 20;

/** How long output is waited for once the program is gone: what it started may hold the pipe for good. */
const DRAIN_MS = 1_000;

/**
 * Runs a program without a shell, in a process group of its own, and waits for its end. What it writes
 * is passed on line by line, bounded, and escaped. Does not fail but by the reason of the signal.
 *
 * @param command the program, looked for in `PATH`, and its words
 */
export async function runCommand(
  command: readonly string[],
  options: CommandOptions,
): Promise<CommandEnd> {
  const { env, timeoutMs, graceMs = GRACE_MS, signal, onLine } = options;
  signal.throwIfAborted();
  const child = start(command, env);
  if (typeof child === "string") return { kind: "unstartable", code: child };
  const tell = bounded(onLine);
  const flushes = [child.stdout, child.stderr].map((stream) => splitLines(stream, tell));
  let isTimeout = false;
  let state: "running" | "stopping" | "killed" = "running";
  let killer: NodeJS.Timeout | undefined;
  const stop = () => {
    if (state !== "running") return;
    state = "stopping";
    signalGroup(child, "SIGTERM");
    killer = setTimeout(() => {
      state = "killed";
      signalGroup(child, "SIGKILL");
    }, graceMs);
  };
  const isStopping = () => state === "stopping";
  const timer =
    timeoutMs === 0 ? undefined : setTimeout(onTimeout, Math.min(timeoutMs, TIMER_MS_MAX));
  function onTimeout(): void {
    isTimeout = true;
    stop();
  }
  signal.addEventListener("abort", stop, { once: true });
  try {
    const end = await ended(child);
    for (const flush of flushes) flush();
    // The program may have gone at once, and what it started not: `sh` does so.
    while (isStopping() && isGroupRunning(child)) await sleep(LOOK_MS);
    signal.throwIfAborted();
    return isTimeout ? { kind: "timeout" } : end;
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(timer);
    clearTimeout(killer);
  }
}

/** Some of what keeps a program from being started is thrown here (`ENOEXEC`), the rest is an event. */
function start([program = "", ...words]: readonly string[], env: CommandOptions["env"]) {
  try {
    return spawn(program, words, {
      env: { ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    return code;
  }
}

function ended(child: ChildProcess): Promise<CommandEnd> {
  const { promise, resolve } = Promise.withResolvers<CommandEnd>();
  child.once("error", (error) => {
    resolve({ kind: "unstartable", code: systemErrorCode(error) ?? "an error" });
  });
  child.once("exit", (exitStatus, by) => {
    const end: CommandEnd =
      exitStatus === null
        ? { kind: "killed", by: by ?? "a signal" }
        : { kind: "exited", exitStatus };
    const drained = setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve(end);
    }, DRAIN_MS);
    child.once("close", () => {
      clearTimeout(drained);
      resolve(end);
    });
  });
  return promise;
}

/** Whether there was somebody to be told; 0 tells nothing and only asks. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid !== undefined && process.kill(-pid, signal);
  } catch {
    // The group ended by itself meanwhile.
    return false;
  }
}

/** Who has ended and is waited for by nobody, as in a container without an init, doesn't run. */
function isGroupRunning(child: ChildProcess): boolean {
  if (!signalGroup(child, 0)) return false;
  return readdirSync("/proc").some((name) => {
    // proc(5): the state and, two fields on, the group; before them a name that may hold anything.
    const [, state, group] = /^.*\) (\S) \d+ (\d+) /s.exec(statOf(name)) ?? [];
    return state !== undefined && state !== "Z" && Number(group) === child.pid;
  });
}

function statOf(name: string): string {
  if (!/^\d+$/.test(name)) return "";
  try {
    return readFileSync(`/proc/${name}/stat`, "utf8");
  } catch {
    return "";
  }
}

/** Passes on so many lines, and then one that says that there were more. */
function bounded(onLine: (line: string) => void): (line: string) => void {
  let lines = 0;
  return (line) => {
    lines += 1;
    if (lines <= LINES_MAX) onLine(printable(line, LINE_MAX));
    else if (lines === LINES_MAX + 1) onLine("(what it wrote after this is left out)");
  };
}

/** Tells the lines of a stream; gives a function that tells the last one, which may have no end. */
function splitLines(stream: NodeJS.ReadableStream | null, tell: (line: string) => void) {
  const decoder = new StringDecoder("utf8");
  let pending = "";
  stream?.on("data", (chunk: Buffer) => {
    // Progress bars end their lines by a carriage return.
    const parts = (pending + decoder.write(chunk)).split(/\r\n|[\r\n]/);
    pending = parts.pop() ?? "";
    for (const part of parts) if (part !== "") tell(part);
    if (pending.length < PENDING_MAX) return;
    tell(pending);
    pending = "";
  });
  return () => {
    const rest = pending + decoder.end();
    pending = "";
    if (rest !== "") tell(rest);
  };
}
