import type { Clock } from "#base";

/** Enough for a link without surprises, and what registries expect of a client. */
const PLACES_FIRST = 4;
const PLACES_MAX = 16;

/** Throughput is compared from window to window. */
const WINDOW_MS = 1_000;

/** A window so much longer was no transfer but a pause, and says nothing of the link. */
const WINDOW_MS_MAX = 4 * WINDOW_MS;

/** A place more must bring this part of what it would on a link that has room for it. */
const GAIN_PART = 0.5;

/** Windows that are not judged: while a change takes effect, after one that brought nothing, after trouble. */
const WINDOWS_SETTLE = 1;
const WINDOWS_CONTENT = 15;
const WINDOWS_WARY = 5;

/**
 * How many transfers a host is given at once. One place more while that makes the whole faster, one
 * back when it did not; half of them when the host or the link is in trouble; never none (C-53).
 */
export class Concurrency {
  readonly #clock: Pick<Clock, "monotonic">;
  #places = PLACES_FIRST;
  #windowBeganMs: number | undefined;
  #windowBytes = 0;
  #isWindowFull = true;
  #windowsSkipped = WINDOWS_SETTLE;
  /** Throughput before the place that is on trial; undefined when none is. */
  #bytesPerMsBefore: number | undefined;
  #halvedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** How many may be on their way at once. */
  get places(): number {
    return this.#places;
  }

  /** Counts bytes that came while `inUse` transfers were on their way. */
  received(bytes: number, inUse: number): void {
    const nowMs = this.#clock.monotonic();
    this.#windowBeganMs ??= nowMs;
    this.#windowBytes += bytes;
    this.#isWindowFull &&= inUse >= this.#places;
    const windowMs = nowMs - this.#windowBeganMs;
    if (windowMs < WINDOW_MS) return;
    if (this.#isWindowFull && windowMs < WINDOW_MS_MAX) this.#judge(this.#windowBytes / windowMs);
    this.#beginWindow(nowMs);
  }

  /** The host refused for now, or a connection broke: half of the places, once for what breaks together. */
  troubled(): void {
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#halvedAtMs < WINDOW_MS) return;
    this.#halvedAtMs = nowMs;
    this.#places = Math.max(1, Math.floor(this.#places / 2));
    this.#bytesPerMsBefore = undefined;
    this.#windowsSkipped = WINDOWS_WARY;
    this.#beginWindow(nowMs);
  }

  #judge(bytesPerMs: number): void {
    if (this.#windowsSkipped > 0) {
      this.#windowsSkipped -= 1;
      return;
    }
    const before = this.#bytesPerMsBefore;
    const isWorthIt =
      before === undefined || bytesPerMs >= before * (1 + GAIN_PART / (this.#places - 1));
    if (isWorthIt && this.#places < PLACES_MAX) {
      this.#places += 1;
      this.#bytesPerMsBefore = bytesPerMs;
      this.#windowsSkipped = WINDOWS_SETTLE;
      return;
    }
    if (!isWorthIt) this.#places -= 1;
    this.#bytesPerMsBefore = undefined;
    this.#windowsSkipped = WINDOWS_CONTENT;
  }

  #beginWindow(nowMs: number): void {
    this.#windowBeganMs = nowMs;
    this.#windowBytes = 0;
    this.#isWindowFull = true;
  }
}
