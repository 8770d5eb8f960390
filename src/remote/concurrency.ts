import type { Clock } from "#base";
import { SLOW_BYTES_PER_MS } from "#content";

/** Enough for a link without surprises, and what registries expect of a client. */
const PLACES_FIRST = 4;
const PLACES_MAX = 20;

/** So much of the throughput must be left when places that were given on trust are taken back. */
const KEPT_PART = 0.9;

/** Throughput is compared from window to window: of short ones until the first doubling brought nothing. */
const WINDOW_MS = 1_000;
const WINDOW_FIRST_MS = 500;

/**
 * A window says something of its places when so much of them is in use at any time: one is free for a
 * moment whenever a request is over, and some are kept for small content.
 */
const FULL_PART = 0.85;

/** A window so many times longer was no transfer but a pause, and says nothing of the link. */
const WINDOW_TIMES_MAX = 4;

/** Places more must bring this part of what they would on a link that has room for them. */
const GAIN_PART = 0.5;

/** Windows that are not judged: while a change takes effect, after one that brought nothing, after trouble. */
const WINDOWS_SETTLE = 1;
const WINDOWS_CONTENT = 15;
const WINDOWS_WARY = 5;

/**
 * How many transfers a host is given at once. More places while that makes the whole faster, back when
 * it did not; a host that is far away gets all on trust, and loses those that bring nothing. Half of
 * them when the host or the link is in trouble; never none (C-53).
 */
export class Concurrency {
  readonly #clock: Pick<Clock, "monotonic">;
  #places = PLACES_FIRST;
  #windowBeganMs: number | undefined;
  #windowBytes = 0;
  #isWindowFull = true;
  #windowsSkipped = WINDOWS_SETTLE;
  /** Whether every step so far was worth it. */
  #isBeginning = true;
  /** Whether the places were given before anything was known of them. */
  #isOnTrust = false;
  /** What there was before the places that are on trial; undefined when none are. */
  #before: { readonly places: number; readonly bytesPerMs: number } | undefined;
  #halvedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** How many may be on their way at once. */
  get places(): number {
    return this.#places;
  }

  /**
   * The host is far away: what one connection brings is limited by distance and loss, and to find that
   * out place by place would take as long as most deliveries.
   */
  expectSlow(): void {
    if (this.#windowBeganMs !== undefined || !this.#isBeginning) return;
    this.#places = PLACES_MAX;
    this.#isBeginning = false;
    this.#isOnTrust = true;
    this.#windowsSkipped = WINDOWS_CONTENT;
  }

  /** Counts bytes that came while `inUse` transfers were on their way. */
  received(bytes: number, inUse: number): void {
    const nowMs = this.#clock.monotonic();
    this.#windowBeganMs ??= nowMs;
    this.#windowBytes += bytes;
    this.#isWindowFull &&= inUse >= this.#places * FULL_PART;
    const windowMs = nowMs - this.#windowBeganMs;
    const wantedMs = this.#isBeginning ? WINDOW_FIRST_MS : WINDOW_MS;
    if (windowMs < wantedMs) return;
    const isTransfer = this.#isWindowFull && windowMs < WINDOW_TIMES_MAX * wantedMs;
    if (isTransfer) this.#judge(this.#windowBytes / windowMs);
    this.#beginWindow(nowMs);
  }

  /** The host refused for now, or a connection broke: half of the places, once for what breaks together. */
  troubled(): void {
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#halvedAtMs < WINDOW_MS) return;
    this.#halvedAtMs = nowMs;
    this.#places = Math.max(1, Math.floor(this.#places / 2));
    this.#isBeginning = false;
    this.#isOnTrust = false;
    this.#before = undefined;
    this.#windowsSkipped = WINDOWS_WARY;
    this.#beginWindow(nowMs);
  }

  #judge(bytesPerMs: number): void {
    if (this.#windowsSkipped > 0) {
      this.#windowsSkipped -= 1;
      return;
    }
    if (this.#isOnTrust) this.#judgeTrust(bytesPerMs);
    else this.#judgeTrial(bytesPerMs);
  }

  /** Keeps the places that were worth it and tries more, or takes them back. */
  #judgeTrial(bytesPerMs: number): void {
    const isWorthIt = this.#isWorthIt(bytesPerMs);
    if (isWorthIt && this.#places < PLACES_MAX) {
      this.#before = { places: this.#places, bytesPerMs };
      // What limits may be each connection: then places are doubled to begin with.
      const isSlow = bytesPerMs < SLOW_BYTES_PER_MS * this.#places;
      const more = this.#isBeginning && isSlow ? this.#places : 1;
      this.#places = Math.min(PLACES_MAX, this.#places + more);
      this.#windowsSkipped = WINDOWS_SETTLE;
      return;
    }
    if (!isWorthIt) this.#places = this.#before?.places ?? this.#places;
    this.#isBeginning = false;
    this.#before = undefined;
    this.#windowsSkipped = WINDOWS_CONTENT;
  }

  /** Takes half of the places away, and again, until that costs something. */
  #judgeTrust(bytesPerMs: number): void {
    const before = this.#before;
    if (before !== undefined && bytesPerMs < before.bytesPerMs * KEPT_PART) {
      this.#places = before.places;
      this.#isOnTrust = false;
      this.#before = undefined;
      this.#windowsSkipped = WINDOWS_CONTENT;
      return;
    }
    this.#before = { places: this.#places, bytesPerMs };
    this.#places = Math.max(PLACES_FIRST, Math.floor(this.#places / 2));
    this.#isOnTrust = this.#places < this.#before.places;
    this.#windowsSkipped = WINDOWS_WARY;
  }

  #isWorthIt(bytesPerMs: number): boolean {
    if (this.#before === undefined) return true;
    const { places, bytesPerMs: bytesPerMsBefore } = this.#before;
    return bytesPerMs >= bytesPerMsBefore * (1 + GAIN_PART * (this.#places / places - 1));
  }

  #beginWindow(nowMs: number): void {
    this.#windowBeganMs = nowMs;
    this.#windowBytes = 0;
    this.#isWindowFull = true;
  }
}
