import { type Clock, Failure } from "#base";
import type { AgentControl, AgentNews } from "../control.ts";

/** Who may follow at once. */
const READERS_MAX = 64;

/** Between signs of life, so that a reader learns of a connection that is gone, and we of a reader. */
const HEARTBEAT_MS = 15_000;

/** Code units that wait for one reader, beside the state. Who has more to come reads too slowly. */
const WAITING_MAX = 256 * 1024;

/** After a connection was lost, a browser asks again after so long. */
const RECONNECT_MS = 2_000;

/** Readers of the events, and what they are told of. */
export interface EventsOptions {
  readonly control: Pick<AgentControl, "state" | "subscribe">;
  readonly clock: Clock;
}

/**
 * What happens, as server-sent events: the state at once and whenever it changes, lines of the journal and
 * of the delivery at work.
 *
 * Everything is written once for all readers. A reader that is slow gets the newest state and none in
 * between; one that leaves more than {@link WAITING_MAX} of the rest lie, or takes nothing from one
 * heartbeat to the next, is let go: its client asks again.
 */
export class Events {
  readonly #options: EventsOptions;
  readonly #readers = new Set<Reader>();
  #stop: (() => void) | undefined;

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  /** How many follow. */
  get readers(): number {
    return this.#readers.size;
  }

  /**
   * One more reader.
   *
   * @param isStillIn asked at each heartbeat: who is not let in any more is told nothing more
   * @throws {Failure} `readers-too-many`
   */
  open(isStillIn: () => Promise<boolean>): ReadableStream<Uint8Array> {
    if (this.#readers.size >= READERS_MAX) throw tooMany();
    const reader = new Reader(isStillIn, () => this.#leave(reader));
    this.#readers.add(reader);
    reader.put(`retry: ${RECONNECT_MS}\n\n`);
    reader.putState(eventText({ type: "state", state: this.#options.control.state() }));
    if (this.#stop === undefined) this.#start();
    return reader.stream;
  }

  /** Lets all readers go. */
  close(): void {
    for (const reader of [...this.#readers]) reader.end();
  }

  #start(): void {
    const { control } = this.#options;
    const over = new AbortController();
    const unsubscribe = control.subscribe((news) => this.#tell(news));
    this.#stop = () => {
      unsubscribe();
      over.abort();
    };
    void this.#beat(over.signal);
  }

  #leave(reader: Reader): void {
    this.#readers.delete(reader);
    if (this.#readers.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #tell(news: AgentNews): void {
    const text = eventText(news);
    for (const reader of [...this.#readers]) {
      if (news.type === "state") reader.putState(text);
      else reader.put(text);
    }
  }

  async #beat(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep(HEARTBEAT_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      for (const reader of [...this.#readers]) void reader.beat();
    }
  }
}

/** One who follows, and what was not taken yet. */
class Reader {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #isStillIn: () => Promise<boolean>;
  readonly #onEnd: () => void;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #state = "";
  #waiting: string[] = [];
  #waitingLength = 0;
  #hasTaken = true;
  #isOver = false;
  #wake: () => void = () => {};

  constructor(isStillIn: () => Promise<boolean>, onEnd: () => void) {
    this.#isStillIn = isStillIn;
    this.#onEnd = onEnd;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: (controller) => this.#give(controller),
        cancel: () => this.#end(),
      },
      // Nothing is taken before somebody wants it: what waits, waits here, where it is counted.
      { highWaterMark: 0 },
    );
  }

  put(text: string): void {
    this.#waiting.push(text);
    this.#waitingLength += text.length;
    if (this.#waitingLength > WAITING_MAX) this.end();
    else this.#wake();
  }

  putState(text: string): void {
    this.#state = text;
    this.#wake();
  }

  async beat(): Promise<void> {
    if (!this.#hasTaken) return this.end();
    if (!(await this.#isStillIn().catch(() => false))) return this.end();
    this.#hasTaken = false;
    this.put(": still here\n\n");
  }

  end(): void {
    if (this.#isOver) return;
    this.#end();
    this.#controller?.close();
  }

  async #give(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#waiting.length === 0 && this.#state === "" && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#isOver) return;
    const text = this.#waiting.join("") + this.#state;
    this.#waiting = [];
    this.#waitingLength = 0;
    this.#state = "";
    this.#hasTaken = true;
    controller.enqueue(this.#encoder.encode(text));
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onEnd();
    this.#wake();
  }
}

function eventText(news: AgentNews): string {
  const data =
    news.type === "state" ? news.state : news.type === "journal" ? news.entry : news.event;
  // JSON has no line breaks of its own, so one line of data holds it.
  return `event: ${news.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

function tooMany(): Failure {
  return new Failure({
    code: "readers-too-many",
    message: `Cannot follow the events: ${READERS_MAX} readers do so already, expected fewer`,
    hint: "Close pages that nobody looks at, or ask for /api/v1/site from time to time",
    transient: true,
    retryAfterMs: HEARTBEAT_MS,
  });
}
