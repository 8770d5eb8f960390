import { readFileSync } from "node:fs";
import { arch, homedir, platform } from "node:os";
import { systemClock } from "#base";
import { type CliContext, diskFiles, EXIT, runCli, type Screen } from "#cli";

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

/** How long an answer may take to be written once all is over and the program was told to stop. */
const LINGER_MS = 250;

/** The one place that reads arguments, environment and clock, and that ends the process. */
async function main(): Promise<void> {
  watchAnswer();
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
    signal: interruption(),
  };
  process.exitCode = await runCli(process.argv.slice(2), context);
  // What was told to stop and still waits for something must not keep the program from ending.
  if (context.signal.aborted) setTimeout(() => process.exit(), LINGER_MS).unref();
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
