import { Failure } from "#base";

/** A body that is read when it is sent, each time anew: a request may have to be made twice. */
export interface SizedBody {
  /** Goes along as `Content-Length`: some registries take nothing without it (C-104). */
  readonly sizeBytes: number;
  /** Opens the bytes, exactly so many. */
  open(signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /** Told of bytes when they are handed to the network. */
  readonly onSent?: (bytes: number) => void;
}

/** Whether a body is one that is read when it is sent. */
export function isSized(body: unknown): body is SizedBody {
  return typeof body === "object" && body !== null && "sizeBytes" in body;
}

/** Real time, like the socket's that it measures; see `exchange`. */
export class Deadline {
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ms = 0;

  constructor(ms: number) {
    this.expect(ms);
  }

  /** Aborted when what was expected did not come in time. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** How long it waited last, in milliseconds. */
  get ms(): number {
    return this.#ms;
  }

  /** Begins to wait anew. */
  expect(ms: number): void {
    this.clear();
    this.#ms = ms;
    this.#timer = setTimeout(() => this.#abort.abort(), ms);
  }

  /** Waits no more. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Handed over at a time. The other side counts as stalled when it takes no more for a while, so what is
 * handed over must be little beside what a slow link carries in that while.
 */
const PIECE_BYTES = 128 * 1024;

/** How fast a link must be for what still waits in the kernel when all was handed over. */
const DRAIN_BYTES_PER_SECOND = 16 * 1024;
const KERNEL_BYTES_MAX = 1024 * 1024;

/** What is needed of a stream's reader, by whichever of its several type declarations it goes. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** What a {@link SendingBody} is measured by. */
export interface SendingOptions {
  readonly deadline: Deadline;
  readonly answerTimeoutMs: number;
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/**
 * A body on its way: read from its source no faster than the network takes it, so that no more than a
 * few pieces of it are in memory.
 *
 * Time is only measured while the other side has something to do: to take the next piece, or, after the
 * last, to answer. How long the source takes is no fault of the network.
 */
export class SendingBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #body: SizedBody;
  readonly #options: SendingOptions;
  #reader: Reader | undefined;
  #rest: Uint8Array = new Uint8Array();
  #sentBytes = 0;
  #isOver = false;
  #broken: { readonly error: unknown } | undefined;

  constructor(body: SizedBody, options: SendingOptions) {
    this.#body = body;
    this.#options = options;
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const piece = await this.#nextOrBreak();
          if (piece === undefined) controller.close();
          else controller.enqueue(piece);
        },
        cancel: () => this.end(),
      },
      // Nothing is read before it can be sent.
      { highWaterMark: 0 },
    );
  }

  /** What the source threw, which is no fault of the network; undefined while it did not. */
  get broken(): { readonly error: unknown } | undefined {
    return this.#broken;
  }

  /** The headers with the length of this body. */
  lengthIn(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return { ...headers, "Content-Length": String(this.#body.sizeBytes) };
  }

  /** Gives the source back, wherever it is. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    try {
      await this.#reader?.cancel();
    } catch {
      // A source that broke has told so where it was read.
    }
  }

  async #nextOrBreak(): Promise<Uint8Array | undefined> {
    try {
      return await this.#next();
    } catch (error) {
      // A source that was given back ends early, and that is no news.
      if (!this.#isOver) this.#broken ??= { error };
      throw error;
    }
  }

  async #next(): Promise<Uint8Array | undefined> {
    const { deadline, signal, stallMs, answerTimeoutMs } = this.#options;
    const { sizeBytes, onSent } = this.#body;
    if (this.#sentBytes === sizeBytes) {
      await this.end();
      return undefined;
    }
    deadline.clear();
    this.#reader ??= (await this.#body.open(signal)).getReader();
    while (this.#rest.byteLength === 0) {
      const { done, value } = await this.#reader.read();
      if (done || value === undefined) throw endedEarly(this.#sentBytes, sizeBytes);
      this.#rest = value;
    }
    const piece = this.#rest.subarray(0, Math.min(PIECE_BYTES, sizeBytes - this.#sentBytes));
    this.#rest = this.#rest.subarray(piece.byteLength);
    this.#sentBytes += piece.byteLength;
    onSent?.(piece.byteLength);
    const drainMs = (Math.min(sizeBytes, KERNEL_BYTES_MAX) / DRAIN_BYTES_PER_SECOND) * 1000;
    const isLast = this.#sentBytes === sizeBytes;
    if (!this.#isOver) deadline.expect(isLast ? answerTimeoutMs + drainMs : stallMs);
    return piece;
  }
}

function endedEarly(foundBytes: number, expectedBytes: number): Failure {
  return new Failure({
    code: "content-too-short",
    message: `Cannot send content: it ended after ${foundBytes} bytes, expected ${expectedBytes}`,
    hint: "Run `dray verify`, which finds what is broken in the store, then `dray deliver`",
  });
}
