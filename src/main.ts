import { readFileSync, writeSync } from "node:fs";
import { arch, homedir, platform } from "node:os";
import { systemClock } from "#base";
import { type CliContext, diskFiles, EXIT, runCli, type Screen } from "#cli";
import type { WorkerProcess } from "#site";

/** Set by the build (`tools/build.ts`); from a checkout there is none. */
declare const BUILD_VERSION: string | undefined;

const VERSION = typeof BUILD_VERSION === "undefined" ? "0.1.0-dev" : BUILD_VERSION;

/** Bun reads these at every request and prefers them to what a request says, so they are taken away. */
const PROXY_VARIABLES = [
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
];

/** The word by which an agent starts this program to work for it. It is no command. */
const WORKER = "agent-worker";

/** Where Bun has the files of a single executable. */
const EMBEDDED = "/$bunfs/";

/** How long an answer may take to be written once all is over and the program was told to stop. */
const LINGER_MS = 250;

/** The one place that reads arguments, environment and clock, and that ends the process. */
async function main(): Promise<void> {
  watchAnswer();
  process.on("exit", killWorkers);
  const env = { ...process.env };
  for (const name of PROXY_VARIABLES) delete process.env[name];
  const context: CliContext = {
    env,
    home: homedir(),
    version: VERSION,
    clock: systemClock,
    random: Math.random,
    files: diskFiles(),
    platform: `${platform()}/${arch() === "x64" ? "amd64" : arch()}`,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
    columns: () => process.stderr.columns ?? 80,
    ...(process.stdout.isTTY === true ? { screen: screen() } : {}),
    startWorker: () => startWorker(env),
    signal: interruption(),
  };
  if (process.argv[2] === WORKER) return work(context);
  process.exitCode = await runCli(process.argv.slice(2), context);
  // What was told to stop and still waits for something must not keep the program from ending.
  if (context.signal.aborted) setTimeout(() => process.exit(), LINGER_MS).unref();
}

/**
 * This very program, also when its file was exchanged or removed since it started: an upgrade counts once
 * the agent is started again (proc(5), `/proc/self/exe`). From a checkout it is Bun, which must be told the
 * script.
 */
function startWorker(env: NodeJS.ProcessEnv): WorkerProcess {
  const script = Bun.main.startsWith(EMBEDDED) ? [] : [...process.execArgv, Bun.main];
  const child = Bun.spawn(["/proc/self/exe", ...script, WORKER], {
    ...{ env, argv0: process.argv0, stdin: "pipe", stdout: "pipe", stderr: "pipe" },
  });
  const { stdin, stdout, stderr } = child;
  workers.add(child);
  const exited = child.exited.then((code) => {
    workers.delete(child);
    return child.signalCode === null ? `exit code ${code}` : `${child.signalCode}`;
  });
  return {
    ...{ stdout, stderr, exited },
    write(text) {
      heedless(() => stdin.write(text));
      heedless(() => stdin.flush());
    },
    end: () => heedless(() => stdin.end()),
    kill: () => child.kill("SIGKILL"),
  };
}

/** A pipe to a process that is gone says so in its own ways; who reads from it sees the end. */
function heedless(act: () => unknown): void {
  try {
    Promise.resolve(act()).catch(() => undefined);
  } catch {
    // As above.
  }
}

/** Whoever works for this process. Each ends with it by itself, unless it is too busy to see its end. */
const workers = new Set<ReturnType<typeof Bun.spawn>>();

function killWorkers(): void {
  for (const worker of workers) worker.kill("SIGKILL");
}

/** Does a piece of work for the agent that started this process, and ends with it. */
async function work(context: CliContext): Promise<never> {
  process.on("uncaughtException", dieOf);
  process.on("unhandledRejection", dieOf);
  const { serveWork } = await import("#site");
  await serveWork({
    ...{ context, signal: context.signal, write: context.out },
    input: Bun.stdin.stream(),
  });
  process.exit();
}

/** What is written goes into the agent's journal: where it happened, and nothing of what an error holds. */
function dieOf(error: unknown): never {
  const text = error instanceof Error ? (error.stack ?? error.message) : "an error that is none";
  writeSync(2, `${text}\n`);
  process.exit(EXIT.failed);
}

function screen(): Screen {
  return { columns: () => process.stdout.columns ?? 80, rows: () => process.stdout.rows ?? 24 };
}

/** The first signal asks everything to end at a durable point; a second one doesn't ask. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort(new Error("interrupted"));
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  if (!isHangupIgnored()) process.on("SIGHUP", onSignal);
  return controller.signal;
}

/** By nohup(1): a delivery is to outlive the terminal then, and a handler of ours would undo that. */
function isHangupIgnored(): boolean {
  try {
    // proc(5): a mask in hexadecimal, whose lowest bit is signal 1.
    const [, digit = "0"] =
      /^SigIgn:\s*[0-9a-f]*([0-9a-f])$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return (Number.parseInt(digit, 16) & 1) === 1;
  } catch {
    return false;
  }
}

/** An answer that could not be written is no answer, but a reader that had enough (`| head`) is content. */
function watchAnswer(): void {
  // Whoever read the story may be gone; that is no reason for a server to end.
  process.stderr.on("error", () => undefined);
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    process.stderr.write(
      `error: Cannot write the answer: ${error.code ?? "writing failed"} on standard output [output-failed]\n` +
        "  hint: Make room on the disk, or send the answer elsewhere\n",
    );
    process.exit(EXIT.failed);
  });
}

void main();
