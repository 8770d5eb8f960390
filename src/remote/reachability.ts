import { type Clock, Failure } from "#base";
import { abortable } from "./abortable.ts";
import { cannot, type Errand, type NetworkFailure } from "./network-failure.ts";

/** A site has a few images to try in the meantime; a link that came back is noticed soon enough. */
const COOL_DOWN_MS = 30_000;

/** Whether a call makes all its attempts, or only one. */
export type CallPatience = "full" | "brief";

interface Down {
  readonly failure: Failure;
  /** What was to be done when it was found. */
  readonly errand: Errand;
  readonly untilMs: number;
  readonly foundWith: CallPatience;
}

/** A call to the host. */
export interface Call {
  readonly patience: CallPatience;
  readonly errand: Errand;
  readonly signal: AbortSignal;
}

/**
 * What is known about reaching one host, so that twenty images on a dead host cost one wait and not
 * twenty: until somebody was reached, one call goes ahead and the others wait for what it finds;
 * after a call has used up its attempts in vain, calls fail at once for its reason for a while.
 */
export class Reachability {
  readonly #clock: Clock;
  readonly #coolDownMs: number;
  #leader: PromiseWithResolvers<void> | undefined;
  #down: Down | undefined;
  #lastNobody: NetworkFailure | undefined;
  #contacts = 0;
  #isReached = false;

  /** @param coolDownMs how long calls fail at once after one found nobody, in milliseconds */
  constructor(clock: Clock, coolDownMs: number = COOL_DOWN_MS) {
    this.#clock = clock;
    this.#coolDownMs = coolDownMs;
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

  /** Runs a task with all its attempts, when the host is worth it. */
  async run<T>(call: Call, task: () => Promise<T>): Promise<T> {
    for (;;) {
      const down = this.#downFor(call.patience);
      if (down !== undefined) throw retold(down, call.errand);
      if (this.#isReached) return this.#watch(call, task);
      if (this.#leader === undefined) return this.#lead(call, task);
      await abortable(this.#leader.promise, call.signal);
    }
  }

  /** What one attempt found is enough for those who would make only one, and not for those who would try on. */
  #downFor(patience: CallPatience): Down | undefined {
    const down = this.#down;
    if (down === undefined || this.#clock.monotonic() >= down.untilMs) return undefined;
    return down.foundWith === "full" || patience === "brief" ? down : undefined;
  }

  async #lead<T>(call: Call, task: () => Promise<T>): Promise<T> {
    const leader = Promise.withResolvers<void>();
    this.#leader = leader;
    try {
      return await this.#watch(call, task);
    } finally {
      if (this.#leader === leader) this.#leader = undefined;
      leader.resolve();
    }
  }

  async #watch<T>({ patience, errand }: Call, task: () => Promise<T>): Promise<T> {
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
        const untilMs = this.#clock.monotonic() + this.#coolDownMs;
        this.#down = { failure: error, errand, untilMs, foundWith: patience };
      }
      throw error;
    }
  }
}

/** What one call found, as another puts it: a message about this image must not name that one. */
function retold({ failure, errand: found }: Down, errand: Errand): Failure {
  const { code, message, hint, transient } = failure;
  const isOther = cannot(found) !== cannot(errand);
  if (!isOther || !message.startsWith(`${cannot(found)}:`)) return failure;
  const reason = message.slice(cannot(found).length);
  return new Failure({ code, message: cannot(errand) + reason, hint, transient, cause: failure });
}
