import { type Clock, Failure } from "#base";
import { abortable } from "./abortable.ts";
import type { NetworkFailure } from "./network-failure.ts";

/** How long a host that nobody could reach is left alone, in milliseconds. */
const COOL_DOWN_MS = 30_000;

/**
 * What is known about reaching one host, so that twenty images on a dead host cost one wait and not
 * twenty: until somebody was reached, one call goes ahead and the others wait for what it finds;
 * after a call has used up its attempts in vain, calls fail at once with its failure for a while.
 */
export class Reachability {
  readonly #clock: Clock;
  #leader: PromiseWithResolvers<void> | undefined;
  #down: { readonly failure: Failure; readonly untilMs: number } | undefined;
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

  /** The failure that calls get at the moment, or undefined. */
  get downBecause(): Failure | undefined {
    const isDown = this.#down !== undefined && this.#clock.monotonic() < this.#down.untilMs;
    return isDown ? this.#down?.failure : undefined;
  }

  /** Runs a task with all its attempts, when the host is worth it. */
  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    for (;;) {
      if (this.downBecause !== undefined) throw this.downBecause;
      if (this.#isReached) return this.#watch(task);
      if (this.#leader === undefined) return this.#lead(task);
      await abortable(this.#leader.promise, signal);
    }
  }

  async #lead<T>(task: () => Promise<T>): Promise<T> {
    const leader = Promise.withResolvers<void>();
    this.#leader = leader;
    try {
      return await this.#watch(task);
    } finally {
      if (this.#leader === leader) this.#leader = undefined;
      leader.resolve();
    }
  }

  async #watch<T>(task: () => Promise<T>): Promise<T> {
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
        this.#down = { failure: error, untilMs: this.#clock.monotonic() + COOL_DOWN_MS };
      }
      throw error;
    }
  }
}
