import type { Clock } from "#base";
import { Concurrency } from "./concurrency.ts";
import { Endurance } from "./endurance.ts";

/** Content up to this size goes before larger content that waits: it is gone again in no time. */
const SMALL_BYTES_MAX = 128 * 1024;

/** A connection that broke after so many bytes worked: a single one would have been cut as well. */
const WORKED_BYTES_MIN = 64 * 1024;

/** No answer comes from nearer than this takes: so far that a connection brings little if packets get lost. */
const FAR_MS = 40;

/** The right to have one body on its way. */
export interface Place {
  /** Counts bytes that came. */
  received(bytes: number): void;
  /** Gives the place to the next, once; `broken` when the other side ended the body before its end. */
  leave(how: "done" | "broken" | "stalled"): void;
}

interface Waiting {
  readonly isSmall: boolean;
  readonly admit: () => void;
}

/** The bodies that come from one host, as many at once as it takes well; the others wait in line. */
export class Lane {
  /** What its connections carry. */
  readonly endurance: Endurance = new Endurance();
  readonly #concurrency: Concurrency;
  readonly #waiting: Waiting[] = [];
  #inUse = 0;
  #fastestAnswerMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#concurrency = new Concurrency(clock);
  }

  /** Waits for a place, which must be left. */
  async enter(sizeBytes: number, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const isFar =
      this.#fastestAnswerMs >= FAR_MS && this.#fastestAnswerMs < Number.POSITIVE_INFINITY;
    if (isFar) this.#concurrency.expectSlow();
    if (this.#waiting.length === 0 && this.#hasRoom) this.#inUse += 1;
    else await this.#wait(sizeBytes <= SMALL_BYTES_MAX, signal);
    return this.#place();
  }

  /** The head of an answer came so long after the request was made. */
  answered(afterMs: number): void {
    this.#fastestAnswerMs = Math.min(this.#fastestAnswerMs, afterMs);
  }

  /** How many more could enter now without waiting. */
  get spare(): number {
    return Math.max(0, this.#concurrency.places - this.#inUse - this.#waiting.length);
  }

  /** The host refused a request for now, or did not answer. */
  troubled(): void {
    this.#concurrency.troubled();
  }

  get #hasRoom(): boolean {
    return this.#inUse < this.#concurrency.places;
  }

  #wait(isSmall: boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        isSmall,
        admit: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      const firstLarge = isSmall ? this.#waiting.findIndex((other) => !other.isSmall) : -1;
      this.#waiting.splice(firstLarge === -1 ? this.#waiting.length : firstLarge, 0, waiting);
    });
  }

  #place(): Place {
    let receivedBytes = 0;
    let isLeft = false;
    return {
      received: (bytes) => {
        receivedBytes += bytes;
        this.#concurrency.received(bytes, this.#inUse);
        this.#admit();
      },
      leave: (how) => {
        if (isLeft) return;
        isLeft = true;
        this.#inUse -= 1;
        if (how === "stalled" || (how === "broken" && receivedBytes < WORKED_BYTES_MIN)) {
          this.#concurrency.troubled();
        }
        this.#admit();
      },
    };
  }

  /** Places pass straight to those in line, so that a newcomer can't slip in between. */
  #admit(): void {
    while (this.#hasRoom) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#inUse += 1;
      next.admit();
    }
  }
}
