import { type Clock, Failure, printable, systemErrorCode } from "#base";
import type { DeliveryEvent } from "#deliver";
import { heardFailure } from "./told-failure.ts";
import type { WorkKind, WorkKinds, WorkOrder } from "./work.ts";
import { type FromWorker, type LastWord, linesOf, readLine, writeLine } from "./work-wire.ts";

/** A process of this program that does a piece of an agent's work: see `serveWork`. */
export interface WorkerProcess {
  /** To its standard input, in order; that it is gone is told by its end. */
  write(text: string): void;
  /** Ends its standard input. */
  end(): void;
  /** Ends it at once, whatever it is at: SIGKILL. */
  kill(): void;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** How it ended, in words: `exit code 1`, `SIGKILL`. */
  readonly exited: Promise<string>;
}

/** How pieces of work get processes, and who hears of what they tell. */
export interface WorkerOptions {
  /** Starts one; throws the system's error when it can't. */
  readonly startWorker: () => WorkerProcess;
  readonly clock: Clock;
  /** Something that a person may want to know, as a sentence. */
  readonly onNews: (text: string) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** How one piece of work is watched over. */
export interface WorkOptions {
  readonly signal: AbortSignal;
  readonly emit?: (event: DeliveryEvent) => void;
}

/** What a piece of work is to do, in words that follow "Cannot". */
const WHAT: Readonly<Record<WorkKind, string>> = {
  read: "read the inputs",
  look: "ask the registry that steers",
  stage: "deliver",
  activate: "activate",
  drift: "look at the runtime's files",
  prove: "prove",
  verify: "verify the store",
  collect: "collect",
  credentials: "try the credentials",
  keep: "record what must stay",
  disk: "count what the disk is used for",
};

/** Characters of what a process wrote on stderr that are told when it died. */
const LAST_WORDS_MAX = 500;

/**
 * How long a piece of work may take to end once it is told to, in milliseconds: a command of the hand-over
 * has ten seconds, and a slow disk what is to be durable. An agent that ends itself waits for none of it.
 */
const STOP_MS = 60_000;

/** How long a process may take to end that has nothing more to do, in milliseconds. It does so at once. */
const END_MS = 10_000;

/**
 * Has a piece of work done in a process of its own, so that the memory it takes goes with it, and what
 * crashes it harms nothing else. When the signal is aborted, it is asked to end at a durable point, and
 * waited for; one that does not end then is killed.
 *
 * @throws {Failure} what the work throws; `worker-failed` when the process can't be started, or dies.
 *   Rejects with the reason of the signal for work that was aborted and came to nothing.
 */
export async function workApart<K extends WorkKind>(
  order: WorkOrder<K>,
  options: WorkerOptions,
  { signal, emit = () => undefined }: WorkOptions,
): Promise<WorkKinds[K]["result"]> {
  signal.throwIfAborted();
  const { kind } = order;
  const worker = start(kind, options);
  const gone = new AbortController();
  const killAfter = (ms: number) => {
    const killing = options.clock.sleep(ms, gone.signal).then(() => worker.kill());
    killing.catch(() => undefined);
  };
  const stop = () => {
    worker.write(writeLine({ type: "stop" }));
    killAfter(STOP_MS);
  };
  const lastWords = readLastWords(worker.stderr);
  try {
    worker.write(writeLine({ type: "order", order }));
    signal.addEventListener("abort", stop, { once: true });
    const last = await hear(kind, worker.stdout, { ...options, emit });
    if (last?.type === "done") return last.result as WorkKinds[K]["result"];
    signal.throwIfAborted();
    if (last?.type === "failed") throw heardFailure(last.failure);
    if (last?.type === "broken") throw faultOf(last);
    if (last?.type === "stopped") throw stopped(kind);
    throw died(kind, await worker.exited, await lastWords);
  } finally {
    signal.removeEventListener("abort", stop);
    // Its end: it has nothing more to tell, or nobody listens any more.
    worker.end();
    killAfter(END_MS);
    await worker.exited;
    gone.abort();
  }
}

function start(kind: WorkKind, { startWorker }: WorkerOptions): WorkerProcess {
  try {
    return startWorker();
  } catch (cause) {
    throw new Failure({
      code: "worker-failed",
      message: `Cannot ${WHAT[kind]}: the process for it can't be started (${systemErrorCode(cause) ?? "unknown"}), expected the system to start another \`dray\``,
      hint: "Look for limits on processes and memory: `systemctl status drayage`, `ulimit -u`, `free -m`",
      transient: true,
      cause,
    });
  }
}

/** Takes in what a process tells, to its last message; undefined when it ended before that. */
async function hear(
  kind: WorkKind,
  output: AsyncIterable<Uint8Array>,
  {
    emit,
    onNews,
    onTrouble,
  }: Pick<WorkerOptions, "onNews" | "onTrouble"> & {
    readonly emit: (event: DeliveryEvent) => void;
  },
): Promise<LastWord | undefined> {
  for await (const line of linesOf(output)) {
    const message = heard(kind, line);
    switch (message.type) {
      case "event":
        emit(message.event);
        break;
      case "news":
        onNews(message.text);
        break;
      case "trouble":
        onTrouble(heardFailure(message.failure));
        break;
      default:
        return message;
    }
  }
  return undefined;
}

/** The line itself is told to nobody: it may hold the inputs of the site, and with them its secrets. */
function heard(kind: WorkKind, line: string): FromWorker {
  try {
    return readLine<FromWorker>(line);
  } catch {
    throw new Failure({
      code: "worker-failed",
      message: `Cannot ${WHAT[kind]}: the process for it wrote a line of ${line.length} characters that is no message, expected none but its own`,
      hint: "It is tried again; report it with the journal of the agent: `dray journal`",
      transient: true,
    });
  }
}

/** To its end, so that it is never held up; does not reject. */
async function readLastWords(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of stream) {
      text = (text + decoder.decode(chunk, { stream: true })).slice(-LAST_WORDS_MAX);
    }
  } catch {
    // What was read until then is all there is.
  }
  return text.trim();
}

/** What is a fault of this program is one here too, with where it happened. */
function faultOf({ message, stack }: Extract<LastWord, { type: "broken" }>): Error {
  const fault = new Error(message);
  fault.stack = stack;
  return fault;
}

function stopped(kind: WorkKind): Failure {
  return new Failure({
    code: "worker-failed",
    message: `Cannot ${WHAT[kind]}: the process for it was told to end by a signal, expected the agent alone to tell it so`,
    hint: "It is tried again; to stop all of it, stop the agent: `systemctl stop drayage`",
    transient: true,
  });
}

function died(kind: WorkKind, end: string, lastWords: string): Failure {
  const said = lastWords === "" ? "" : `; it wrote: ${printable(lastWords, LAST_WORDS_MAX)}`;
  return new Failure({
    code: "worker-failed",
    message: `Cannot ${WHAT[kind]}: the process for it ended with ${end}${said}, expected it to tell what came of it`,
    hint: "When it was killed, look for memory that ran out with `dmesg`; it is tried again",
    transient: true,
  });
}
