import { type Clock, Failure } from "#base";
import { abortable } from "./abortable.ts";
import type { NetworkFailure } from "./network-failure.ts";

/** How long a host that nobody could reach is left alone, in milliseconds. */
const COOL_DOWN_MS = 30_000;

/** Whether a call makes all its attempts, or only one. */
export type CallPatience = "full" | "brief";

interface Down {
  readonly failure: Failure;
  readonly untilMs: number;
  readonly foundWith: CallPatience;
}

/**
 * What is known about reaching one host, so that twenty images on a dead host cost one wait and not
 * twenty: until somebody was reached, one call goes ahead and the others wait for what it finds;
 * after a call has used up its attempts in vain, calls fail at once with its failure for a while.
 */
export class Reachability {
  readonly #clock: Clock;
  #leader: PromiseWithResolvers<void> | undefined;
  #down: Down | undefined;
  #lastNobody: NetworkFailure | undefined;
  #contacts = 0;
  #isReached = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Somebody answered, whatever it was. Those who waited may go. */
  reached(): void {
    this.#isReached = true;
    this.#contacts += 1;
    this.#down = undefined;
    this.#leader?.resolve();
  }

  /** One attempt found nobody there. */
  foundNobody(failure: NetworkFailure): void {
    this.#lastNobody = failure;
  }

  /**
   * The failure that calls of this patience get at the moment, or undefined. What one attempt found
   * is enough for those who would make only one, and not for those who would try on.
   */
  downBecause(patience: CallPatience): Failure | undefined {
    const down = this.#down;
    if (down === undefined || this.#clock.monotonic() >= down.untilMs) return undefined;
    return down.foundWith === "full" || patience === "brief" ? down.failure : undefined;
  }

  /** Runs a task with all its attempts, when the host is worth it. */
  async run<T>(patience: CallPatience, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    for (;;) {
      const failure = this.downBecause(patience);
      if (failure !== undefined) throw failure;
      if (this.#isReached) return this.#watch(patience, task);
      if (this.#leader === undefined) return this.#lead(patience, task);
      await abortable(this.#leader.promise, signal);
    }
  }

  async #lead<T>(patience: CallPatience, task: () => Promise<T>): Promise<T> {
    const leader = Promise.withResolvers<void>();
    this.#leader = leader;
    try {
      return await this.#watch(patience, task);
    } finally {
      if (this.#leader === leader) this.#leader = undefined;
      leader.resolve();
    }
  }

  async #watch<T>(patience: CallPatience, task: () => Promise<T>): Promise<T> {
    const contactsBefore = this.#contacts;
    try {
      return await task();
    } catch (error) {
      const isNobody =
        error instanceof Failure &&
        this.#lastNobody !== undefined &&
        (error === this.#lastNobody || error.cause === this.#lastNobody);
      if (isNobody && this.#contacts === contactsBefore) {
        this.#isReached = false;
        const untilMs = this.#clock.monotonic() + COOL_DOWN_MS;
        this.#down = { failure: error, untilMs, foundWith: patience };
      }
      throw error;
    }
  }
}
