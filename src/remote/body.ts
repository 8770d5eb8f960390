import { Failure } from "#base";
import type { ByteRange } from "#content";
import type { Place } from "./lane.ts";
import { networkFailure } from "./network-failure.ts";
import { StallWindow } from "./stall.ts";
import type { Answer } from "./transport.ts";

/** A budget for all that crosses the link. */
export interface Throttle {
  /** Resolves when these bytes, which have just come, are paid for and more may come. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
}

/** How the bodies of answers are read. */
export interface BodyReading {
  /** In so long a wait so little came that the other side is given up; see {@link StallWindow}. */
  readonly stallMs: number;
  readonly throttle?: Throttle;
}

/** What a body must have and what of it is wanted. */
export interface BodyLimits extends BodyReading {
  /** How many bytes must come: not fewer, and no more are read (C-82, C-89). */
  readonly sizeBytes: number;
  /** Which of them are wanted: those before are read past, those after are not read. All by default. */
  readonly part?: ByteRange;
  /** The place on the host's lane that the body holds until it is over. */
  readonly place?: Place;
}

/** A large chunk is paid for in such pieces, so that a narrow budget is spent evenly. */
const PIECE_BYTES = 16 * 1024;

/**
 * The body of an answer, held to its size and to moving on. A body that ends early, breaks or stalls
 * errors the stream with a transient Failure: whoever reads never takes a part for the whole.
 *
 * The place is left when the body is over, also when the signal is aborted while nobody reads.
 */
export function watchedBody(answer: Answer, limits: BodyLimits): ReadableStream<Uint8Array> {
  const { sizeBytes, place } = limits;
  const { start, end } = limits.part ?? { start: 0, end: sizeBytes };
  const body = new BodyReader(answer, limits);
  const onAbort = () => leave("done");
  const leave = (how: Parameters<Place["leave"]>[0]) => {
    answer.signal.removeEventListener("abort", onAbort);
    place?.leave(how);
  };
  answer.signal.addEventListener("abort", onAbort, { once: true });
  if (answer.signal.aborted) leave("done");
  let receivedBytes = 0;

  /** The next bytes that are wanted, or undefined after the last. */
  const next = async (): Promise<Uint8Array | undefined> => {
    // What comes after the wanted part is not waited for; after the whole body, its end is.
    while (end === sizeBytes || receivedBytes < end) {
      const chunk = await body.read();
      if (chunk === undefined) {
        if (receivedBytes < sizeBytes) throw cutShort(answer, receivedBytes, sizeBytes);
        return undefined;
      }
      const at = receivedBytes;
      receivedBytes += chunk.byteLength;
      place?.received(chunk.byteLength);
      if (receivedBytes > sizeBytes) throw tooLong(answer, sizeBytes);
      const wanted = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
      if (wanted.byteLength > 0) return wanted;
    }
    body.cancel();
    return undefined;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const chunk = await next();
          if (chunk !== undefined) return controller.enqueue(chunk);
          leave("done");
          controller.close();
        } catch (error) {
          body.cancel();
          leave(howBroken(error));
          throw error;
        }
      },
      cancel() {
        leave("done");
        body.cancel();
      },
    },
    // Nothing is read ahead: what waits here would be memory that the reader does not know of.
    { highWaterMark: 0 },
  );
}

function howBroken(error: unknown): Parameters<Place["leave"]>[0] {
  if (error instanceof Stalled) return "stalled";
  return error instanceof Failure && error.transient ? "broken" : "done";
}

/** What is needed of a stream's reader, by whichever of its several type declarations it goes. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Reads a body in pieces that are paid for, and gives up a stalled one. */
class BodyReader {
  readonly #answer: Answer;
  readonly #reading: BodyReading;
  readonly #reader: Reader | undefined;
  readonly #window: StallWindow;
  /** What came and is not paid for. */
  #unpaid: Uint8Array = new Uint8Array();

  constructor(answer: Answer, reading: BodyReading) {
    this.#answer = answer;
    this.#reading = reading;
    this.#reader = answer.body?.getReader();
    this.#window = new StallWindow(reading.stallMs);
  }

  /** Some bytes, at least one, or undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    const { throttle } = this.#reading;
    if (throttle === undefined) return this.#receive();
    if (this.#unpaid.byteLength === 0) {
      const chunk = await this.#receive();
      if (chunk === undefined) return undefined;
      this.#unpaid = chunk;
    }
    const piece = this.#unpaid.subarray(0, PIECE_BYTES);
    this.#unpaid = this.#unpaid.subarray(piece.byteLength);
    await throttle.take(piece.byteLength, this.#answer.signal);
    return piece;
  }

  /** Gives up the rest, which frees the connection. */
  cancel(): void {
    this.#reader?.cancel().catch(() => undefined);
  }

  async #receive(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = await this.#receiveOrStall();
      if (chunk?.byteLength !== 0) return chunk;
    }
  }

  /** The timer is real time and not the injected clock's: it watches a socket. */
  async #receiveOrStall(): Promise<Uint8Array | undefined> {
    if (this.#reader === undefined) return undefined;
    const { stallMs } = this.#reading;
    let isStalled = false;
    let sinceMs = performance.now();
    const waited = (bytes: number) => {
      const nowMs = performance.now();
      isStalled ||= this.#window.isStalledAfter(nowMs - sinceMs, bytes);
      sinceMs = nowMs;
    };
    const onTime = () => {
      waited(0);
      if (isStalled) this.cancel();
      else timer = setTimeout(onTime, this.#window.leftMs);
    };
    let timer = setTimeout(onTime, this.#window.leftMs);
    try {
      const { done, value } = await this.#reader.read();
      if (!done) waited(value?.byteLength ?? 0);
      if (isStalled) throw new Stalled(this.#answer, stallMs);
      return done ? undefined : (value ?? new Uint8Array());
    } catch (error) {
      if (error instanceof Failure) throw error;
      this.#answer.signal.throwIfAborted();
      throw networkFailure(error, this.#answer.asked);
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * A small body, whole: an error's, a token's, a manifest's. It stops at `bytesMax`.
 *
 * @returns undefined when there is more than `bytesMax`
 */
export async function readBounded(
  answer: Answer,
  bytesMax: number,
  reading: BodyReading,
): Promise<Uint8Array | undefined> {
  const body = new BodyReader(answer, reading);
  const chunks: Uint8Array[] = [];
  let receivedBytes = 0;
  for (;;) {
    const chunk = await body.read();
    if (chunk === undefined) return Buffer.concat(chunks);
    receivedBytes += chunk.byteLength;
    if (receivedBytes > bytesMax) {
      body.cancel();
      return undefined;
    }
    chunks.push(chunk);
  }
}

function cutShort({ asked }: Answer, receivedBytes: number, sizeBytes: number): Failure {
  return new Failure({
    code: "registry-unreachable",
    message: `Cannot fetch ${asked.subject}: ${asked.host} ended the answer after ${receivedBytes} bytes, expected ${sizeBytes}`,
    hint: "Check the link, and any proxy in between that limits the size or time of a transfer",
    transient: true,
  });
}

class Stalled extends Failure {
  constructor({ asked }: Answer, stallMs: number) {
    super({
      code: "registry-unreachable",
      message: `Cannot fetch ${asked.subject}: ${asked.host} sent next to nothing for ${stallMs / 1000} s, expected the rest of the answer`,
      hint: "Check the link to the registry",
      transient: true,
    });
  }
}

function tooLong({ asked }: Answer, sizeBytes: number): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${asked.subject}: ${asked.host} sent more than ${sizeBytes} bytes, expected no more`,
    hint: "Check what the registry, or a proxy in between, answers in place of the content",
  });
}
