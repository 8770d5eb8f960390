import { isFailure, printable } from "#base";
import type { SiteContext } from "./context.ts";
import { toldFailure } from "./told-failure.ts";
import type { WorkOrder } from "./work.ts";
import {
  type FromWorker,
  type LastWord,
  linesOf,
  readLine,
  type ToWorker,
  writeLine,
} from "./work-wire.ts";

/** A process that works for an agent, as it sees the world. */
export interface WorkerWorld {
  readonly context: SiteContext;
  /** What the agent writes; its end is that of the agent. */
  readonly input: AsyncIterable<Uint8Array>;
  readonly write: (text: string) => void;
  /** Aborted by Ctrl-C and SIGTERM, which a service manager may send to all of a service. */
  readonly signal: AbortSignal;
}

/** Lines are gathered for so long, in milliseconds, or until there are so many characters. */
const GATHER_MS = 10;
const GATHER_LENGTH = 64 * 1024;

/**
 * Does the one piece of work that an agent orders, and writes what comes of it. Resolves when the agent
 * is gone or has heard all; work that is not at its end by then is left as by a crash: nobody would hear of
 * it, and whoever comes next must not find this process still writing.
 */
export async function serveWork({ context, input, write, signal }: WorkerWorld): Promise<void> {
  const stop = new AbortController();
  const tell = new Teller(write);
  for await (const line of linesOf(input)) {
    const message = readLine<ToWorker>(line);
    if (message.type === "stop") {
      stop.abort(new Error("stopped"));
      continue;
    }
    const until = AbortSignal.any([signal, stop.signal]);
    void work(message.order, { context, signal: until, tell: (line) => tell.tell(line) }).then(
      (last) => tell.end(last),
    );
  }
}

interface Work {
  readonly context: SiteContext;
  readonly signal: AbortSignal;
  readonly tell: (message: FromWorker) => void;
}

async function work(order: WorkOrder, { context, signal, tell }: Work): Promise<LastWord> {
  try {
    if (order.version !== context.version) throw new Error(`an order of ${order.version}`);
    // Here, so that who only orders work is not made to load all that does it.
    const { doWork } = await import("./site-work.ts");
    const result = await doWork(order, {
      ...{ context, signal },
      emit: (event) => tell({ type: "event", event }),
      onNotice: ({ registry, message }) =>
        tell({ type: "news", text: `${printable(registry)}: ${message}` }),
      onTrouble: (error) => {
        if (!isFailure(error)) throw error;
        tell({ type: "trouble", failure: toldFailure(error) });
      },
    });
    return { type: "done", result };
  } catch (error) {
    if (isFailure(error)) return { type: "failed", failure: toldFailure(error) };
    if (signal.aborted && error === signal.reason) return { type: "stopped" };
    const { name, message, stack = "" } = error instanceof Error ? error : new Error(String(error));
    return { type: "broken", message: `${name}: ${message}`, stack };
  }
}

/** Writes lines, many at once: chunks of a blob are told by the thousand. */
class Teller {
  readonly #write: (text: string) => void;
  #gathered: string[] = [];
  #length = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  tell(message: FromWorker): void {
    const line = writeLine(message);
    this.#gathered.push(line);
    this.#length += line.length;
    if (this.#length >= GATHER_LENGTH) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  end(message: LastWord): void {
    this.#gathered.push(writeLine(message));
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const text = this.#gathered.join("");
    this.#gathered = [];
    this.#length = 0;
    this.#write(text);
  }
}
