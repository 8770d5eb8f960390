import type { Clock } from "#base";
import type { AgentNews } from "./control.ts";
import type { SiteState } from "./state.ts";

/** Readers are told of a new state no more often. */
const TELL_MS = 250;

/** While bytes move, or should, time alone changes what is told: rates fall. */
const TICK_MS = 1_000;

/** Tells those who listen what is new. Without listeners it does nothing, and sets no timer. */
export class Newsroom {
  readonly #clock: Clock;
  readonly #listeners = new Set<(news: AgentNews) => void>();
  readonly #state: () => SiteState;
  readonly #isMoving: () => boolean;
  #signal = new AbortController().signal;
  #toldMs = Number.NEGATIVE_INFINITY;
  #timer: AbortController | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, state: () => SiteState, isMoving: () => boolean) {
    this.#clock = clock;
    this.#state = state;
    this.#isMoving = isMoving;
  }

  /** From now on until the signal there are timers. */
  open(signal: AbortSignal): void {
    this.#signal = signal;
    this.changed();
  }

  subscribe(listener: (news: AgentNews) => void): () => void {
    // One function may listen twice.
    const own = (news: AgentNews) => listener(news);
    this.#listeners.add(own);
    this.changed();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#timer?.abort();
    };
  }

  /** At once, to all. */
  tell(news: AgentNews): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(news);
      } catch {
        this.#listeners.delete(listener);
      }
    }
  }

  /** The state is another one. */
  changed(): void {
    this.#tellAt(this.#toldMs + TELL_MS);
  }

  #tellAt(ms: number): void {
    if (this.#listeners.size === 0 || this.#signal.aborted || this.#timerMs <= ms) return;
    this.#timer?.abort();
    const timer = new AbortController();
    this.#timer = timer;
    this.#timerMs = ms;
    void this.#wait(Math.max(0, ms - this.#clock.monotonic()), timer);
  }

  async #wait(ms: number, timer: AbortController): Promise<void> {
    const isDue = await this.#clock.sleep(ms, AbortSignal.any([this.#signal, timer.signal])).then(
      () => true,
      () => false,
    );
    if (this.#timer !== timer) return;
    this.#timer = undefined;
    this.#timerMs = Number.POSITIVE_INFINITY;
    if (!isDue || this.#listeners.size === 0) return;
    this.#toldMs = this.#clock.monotonic();
    this.tell({ type: "state", state: this.#state() });
    if (this.#isMoving()) this.#tellAt(this.#toldMs + TICK_MS);
  }
}
