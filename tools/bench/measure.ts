import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";

/** What a command cost. */
export interface Cost {
  readonly wallMs: number;
  /** User and system time of the command and of all that it started and waited for. */
  readonly cpuMs: number;
  /** The largest resident size of all its processes together. */
  readonly peakBytes: number;
  /** Undefined when it took longer than its time limit and was killed. */
  readonly exitCode: number | undefined;
  /** The end of what it printed. */
  readonly output: string;
}

/**
 * How often the memory is looked at, in milliseconds. Each process keeps its own high-water mark, so
 * rarely is enough; often would take time from who is measured.
 */
const SAMPLE_MS = 50;

/**
 * Runs a command to its end, or to the end of its time, and tells what it cost.
 *
 * @throws the reason of the signal, once the command was killed because of it
 */
export async function measure(
  command: readonly string[],
  { timeLimitMs, signal }: { readonly timeLimitMs: number; readonly signal: AbortSignal },
): Promise<Cost> {
  const startedMs = performance.now();
  const child = Bun.spawn([...command], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
    // A group of its own, so that what it started can be ended with it.
    detached: true,
  });
  const end = AbortSignal.any([AbortSignal.timeout(timeLimitMs), signal]);
  const kill = () => endGroup(child.pid);
  end.addEventListener("abort", kill, { once: true });
  const memory = watchMemory(child.pid);
  const printed = Promise.all([endOf(child.stdout), endOf(child.stderr)]);
  const exitCode = await child.exited;
  const wallMs = performance.now() - startedMs;
  end.removeEventListener("abort", kill);
  signal.throwIfAborted();
  return {
    wallMs,
    cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1_000,
    peakBytes: memory.stop(),
    exitCode: end.aborted ? undefined : exitCode,
    output: (await printed).join(""),
  };
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended at this very moment.
  }
}

/**
 * Watches a process and its descendants. `ru_maxrss` would not do: Linux lets a child begin with the
 * resident size of the process that started it, and that is this benchmark.
 */
function watchMemory(pid: number): { stop(): number } {
  let peakBytes = 0;
  let isStopped = false;
  const watch = async () => {
    while (!isStopped) {
      peakBytes = Math.max(peakBytes, await residentBytes(pid));
      await Bun.sleep(SAMPLE_MS);
    }
  };
  void watch();
  return {
    stop() {
      isStopped = true;
      return peakBytes;
    },
  };
}

/** The high-water marks of a process and its descendants, as long as they live. */
async function residentBytes(pid: number): Promise<number> {
  const [status, children] = await Promise.all(
    [`/proc/${pid}/status`, `/proc/${pid}/task/${pid}/children`].map((path) =>
      readFile(path, "utf8").catch(() => ""),
    ),
  );
  const own = Number(/^VmHWM:\s*(\d+) kB$/m.exec(status ?? "")?.[1] ?? 0) * 1024;
  const pids = (children ?? "").split(" ").filter((text) => text !== "");
  const theirs = await Promise.all(pids.map((child) => residentBytes(Number(child))));
  return theirs.reduce((sum, bytes) => sum + bytes, own);
}

/** What a stream says last; the rest is let go. */
async function endOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) text = (text + decoder.decode(bytes)).slice(-2_000);
  return text;
}

/** The machine in a line, for the report. */
export async function describeMachine(): Promise<string> {
  const [cpus = "", memory = "", kernel = ""] = await Promise.all(
    ["/proc/cpuinfo", "/proc/meminfo", "/proc/sys/kernel/osrelease"].map((path) =>
      readFile(path, "utf8").catch(() => ""),
    ),
  );
  const model = /^model name\s*:\s*(.+)$/m.exec(cpus)?.[1] ?? process.arch;
  const gib = Number(/^MemTotal:\s*(\d+)/m.exec(memory)?.[1] ?? 0) / 1024 ** 2;
  return `${navigator.hardwareConcurrency} × ${model}, ${gib.toFixed(0)} GiB, Linux ${kernel.trim()} (load ${loadavg()[0]?.toFixed(1)} at the start)`;
}
