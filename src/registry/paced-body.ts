import type { Clock } from "#base";
import { WireError } from "./wire.ts";

/** How slow a body may be. */
export interface PaceOptions {
  readonly clock: Clock;
  /** How long is waited, in milliseconds, before it is judged what came. */
  readonly windowMs?: number;
  /** Less than this in a window is nothing. */
  readonly windowBytesMin?: number;
}

/** By default a body may bring 17 bytes a second: slower than any link, faster than who only holds a place. */
const WINDOW_MS = 60_000;
const WINDOW_BYTES_MIN = 1024;

/**
 * The body of a request, given up when it hardly moves (SEC-22). Only time in which its reader waits
 * for it counts: how long a disk takes in between is not the client's doing.
 *
 * It fails with a {@link WireError} `REQUEST_TIMEOUT`, which ends the connection: what may still come
 * is of no use.
 */
export function pacedBody(
  body: ReadableStream<Uint8Array>,
  options: PaceOptions,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const pace = new Pace(options);
  let giveUp: () => void = () => {};
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        giveUp = () => {
          controller.error(tooSlow());
          reader.cancel().catch(() => {});
        };
      },
      async pull(controller) {
        pace.wait(giveUp);
        try {
          const { done, value } = await reader.read();
          pace.came(value?.byteLength ?? 0);
          if (pace.isGivenUp) return;
          if (!done) return controller.enqueue(value);
          pace.end();
          controller.close();
        } catch (error) {
          pace.end();
          throw error;
        }
      },
      cancel: (reason) => {
        pace.end();
        return reader.cancel(reason);
      },
    },
    // Nothing is read ahead: what nobody has asked for stays with the client.
    { highWaterMark: 0 },
  );
}

/** Adds up waiting, over as many reads as it takes, and judges what came of it. One timer runs at a time. */
class Pace {
  readonly #over = new AbortController();
  readonly #clock: Clock;
  readonly #windowMs: number;
  readonly #windowBytesMin: number;
  #waitedMs = 0;
  #bytes = 0;
  #waitsSince: number | undefined;
  #isTimed = false;
  isGivenUp = false;

  constructor({ clock, windowMs, windowBytesMin }: PaceOptions) {
    this.#clock = clock;
    this.#windowMs = windowMs ?? WINDOW_MS;
    this.#windowBytesMin = windowBytesMin ?? WINDOW_BYTES_MIN;
  }

  wait(giveUp: () => void): void {
    this.#waitsSince = this.#clock.monotonic();
    if (!this.#isTimed) void this.#time(giveUp);
  }

  came(bytes: number): void {
    this.#addWait();
    this.#waitsSince = undefined;
    this.#bytes += bytes;
  }

  /** Lets go of the timer, which would keep the process from ending. */
  end(): void {
    this.#waitsSince = undefined;
    this.#over.abort();
  }

  /** Ends when nobody waits; the next wait begins it again. */
  async #time(giveUp: () => void): Promise<void> {
    this.#isTimed = true;
    while (this.#waitsSince !== undefined && !this.isGivenUp) {
      const { signal } = this.#over;
      await this.#clock.sleep(this.#windowMs - this.#waitedMs, signal).catch(() => {});
      this.#addWait();
      if (this.#waitedMs < this.#windowMs) continue;
      this.isGivenUp = this.#waitsSince !== undefined && this.#bytes < this.#windowBytesMin;
      this.#waitedMs = 0;
      this.#bytes = 0;
    }
    this.#isTimed = false;
    if (this.isGivenUp) giveUp();
  }

  #addWait(): void {
    if (this.#waitsSince === undefined) return;
    const now = this.#clock.monotonic();
    this.#waitedMs += now - this.#waitsSince;
    this.#waitsSince = now;
  }
}

function tooSlow(): WireError {
  return new WireError("REQUEST_TIMEOUT", "the body hardly moves", { connection: "close" });
}
