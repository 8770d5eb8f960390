import { Failure } from "#base";
import { type ByteRange, releaseChunk } from "#content";
import type { Place } from "./lane.ts";
import { networkFailure } from "./network-failure.ts";
import { cutPiece, ownBytes } from "./own-bytes.ts";
import { StallWindow } from "./stall.ts";
import type { Answer } from "./transport.ts";

/** A budget for all that crosses the link. */
export interface Throttle {
  /** How much is paid for at once, at most: little where a cap is to be kept evenly, else any chunk whole. */
  readonly pieceBytesMax: number;
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
export interface BodyLimits {
  /** How many bytes must come: not fewer, and no more are read (C-82, C-89). */
  readonly sizeBytes: number;
  /** Which of them are wanted: those before are read past, those after are not read. All by default. */
  readonly part?: ByteRange;
}

/** An answer whose body is wanted. */
export interface Section extends BodyLimits {
  readonly answer: Answer;
}

/** How a stream goes on and what it holds. */
export interface BodyOptions extends BodyReading {
  /** What comes after the section before, or undefined when nothing does. */
  readonly next?: () => Promise<Section | undefined>;
  /** The place on the host's lane that the stream holds until it is over. */
  readonly place?: Place;
}

/**
 * The body of an answer, and those of the answers that follow it, as one stream: each held to its size
 * and to moving on. A body that ends early, breaks or stalls errors the stream with a transient
 * Failure: whoever reads never takes a part for the whole.
 *
 * The place is left when the stream is over, also when the signal is aborted while nobody reads.
 */
export function watchedBody(first: Section, options: BodyOptions): ReadableStream<Uint8Array> {
  const { place, next } = options;
  const { signal } = first.answer;
  const onReceived = (bytes: number) => place?.received(bytes);
  let section = new SectionReader(first, options, onReceived);
  let isOver = false;
  const onAbort = () => leave("done");
  const leave = (how: Parameters<Place["leave"]>[0]) => {
    signal.removeEventListener("abort", onAbort);
    place?.leave(how);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) leave("done");

  const read = async (): Promise<Uint8Array | undefined> => {
    for (;;) {
      const chunk = await section.read();
      if (chunk !== undefined) return chunk;
      const following = await next?.();
      if (following === undefined) return undefined;
      section = new SectionReader(following, options, onReceived);
      // The reader may have gone while the next section was asked for.
      if (isOver) section.cancel();
    }
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const chunk = await read();
          if (chunk !== undefined) return controller.enqueue(chunk);
          leave("done");
          controller.close();
        } catch (error) {
          section.cancel();
          leave(howBroken(error));
          throw error;
        }
      },
      cancel() {
        isOver = true;
        leave("done");
        section.cancel();
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

/** Reads what is wanted of one section. */
class SectionReader {
  readonly #section: Section;
  readonly #part: ByteRange;
  readonly #body: BodyReader;
  readonly #onReceived: (bytes: number) => void;
  #receivedBytes = 0;

  constructor(section: Section, reading: BodyReading, onReceived: (bytes: number) => void) {
    this.#section = section;
    this.#part = section.part ?? { start: 0, end: section.sizeBytes };
    this.#body = new BodyReader(section.answer, reading);
    this.#onReceived = onReceived;
  }

  /** The next bytes that are wanted, or undefined after the last. */
  async read(): Promise<Uint8Array | undefined> {
    const { answer, sizeBytes } = this.#section;
    const { start, end } = this.#part;
    // What comes after the wanted part is not waited for; after the whole body, its end is.
    while (end === sizeBytes || this.#receivedBytes < end) {
      const chunk = await this.#body.read();
      const at = this.#receivedBytes;
      if (chunk === undefined) {
        if (at < sizeBytes) throw cutShort(answer, at, sizeBytes);
        return undefined;
      }
      this.#receivedBytes += chunk.byteLength;
      this.#onReceived(chunk.byteLength);
      if (this.#receivedBytes > sizeBytes) throw tooLong(answer, sizeBytes);
      const wanted = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
      if (wanted.byteLength === chunk.byteLength) return chunk;
      const piece = new Uint8Array(wanted);
      releaseChunk(chunk);
      if (piece.byteLength > 0) return piece;
    }
    this.cancel();
    return undefined;
  }

  /** Gives up the rest. */
  cancel(): void {
    this.#body.cancel();
  }
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
      this.#unpaid = ownBytes(chunk);
    }
    const { piece, rest } = cutPiece(this.#unpaid, throttle.pieceBytesMax);
    this.#unpaid = rest;
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
