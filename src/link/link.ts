import type { Clock } from "#base";
import { type Ledger, openQuota, type QuotaCounter, type QuotaLeft } from "./quota.ts";
import type { LinkSettings } from "./settings.ts";
import { createTimetable, type Span, type Timetable } from "./timetable.ts";

/** Why nothing moves, and until when: milliseconds since 1970. */
export interface LinkWait {
  readonly reason: "window";
  readonly untilMs: number;
}

/** What a link works with. */
export interface LinkOptions {
  readonly clock: Clock;
  /** Only asked when there is a quota. */
  readonly ledger: Ledger;
  /** The machine's time zone, which holds where the settings name none. */
  readonly timeZone: string;
  /** Called once for each time that all transfers wait for a window. */
  readonly onWait?: (wait: LinkWait) => void;
}

/** What may come at once after a rest, in milliseconds of the cap. It keeps 10 s windows within 2 %. */
const BURST_MS = 200;

/** What one connection gets before the next has its turn, in milliseconds of the cap. */
const TURN_MS = 20;

/** Sleeps are no shorter: what a late timer misses is caught up out of the burst. */
const SLEEP_MS_MIN = 5;

/** How often the clock is looked at while waiting for a window: it may be set, or the machine sleep. */
const LOOK_MS = 60_000;

/** Somebody who waits for the right to go on. */
interface Waiter {
  leftBytes: number;
  readonly admit: () => void;
}

/**
 * The budget of the uplink: one for all connections together.
 *
 * Whoever fetches calls `take(0)` before each request and `take(n)` for each piece that has arrived,
 * and goes on reading when it resolves: then what the other side may send is held back too. What a
 * connection's buffers hold already is not known here, and neither are headers and retransmissions.
 */
export class Link implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #timetable: Timetable;
  readonly #quota: QuotaCounter | undefined;
  readonly #onWait: (wait: LinkWait) => void;
  readonly #waiting: Waiter[] = [];
  #isServing = false;
  #doze = new AbortController();
  #span: Span;
  #toldMs: number | undefined;
  /** What may be taken at once; filled up to `#filledMs`, of the monotonic clock. */
  #readyBytes = 0;
  #filledMs: number;

  /** Use {@link openLink}. */
  constructor(
    timetable: Timetable,
    quota: QuotaCounter | undefined,
    { clock, onWait = () => undefined }: LinkOptions,
  ) {
    this.#clock = clock;
    this.#timetable = timetable;
    this.#quota = quota;
    this.#onWait = onWait;
    this.#span = timetable.spanAt(clock.now());
    this.#filledMs = clock.monotonic();
  }

  /**
   * Counts bytes that have arrived, and resolves when the next may: with all others' at most at the
   * cap, and never outside of the windows. Turns are fair whatever the sizes.
   *
   * Bytes that were taken stay counted against the quota, also when the signal is aborted.
   *
   * @throws {Failure} `link-quota` when there were more bytes than were left of it, or none is left
   *   for another request; what the ledger throws when it can't be written
   */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#quota !== undefined) {
      await this.#quota.charge(bytes);
      signal.throwIfAborted();
    }
    // Most often there is nothing to wait for, and a fast link has no time for ceremony.
    if (!this.#isServing && this.#waitBeforeTurn(bytes) === 0 && this.#turnBytes(bytes) === bytes) {
      this.#readyBytes -= bytes;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        leftBytes: bytes,
        admit: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        // Nobody waits any more, so no timer may keep the program alive.
        if (this.#waiting.length === 0) this.#doze.abort();
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiter);
      if (!this.#isServing) void this.#serve();
    });
  }

  /** How much of the quota is left; undefined without one. */
  quotaLeft(): QuotaLeft | undefined {
    return this.#quota?.left();
  }

  /** How fast the link is at a time, and until when. */
  openAt(timeMs: number): Span {
    return this.#timetable.spanAt(timeMs);
  }

  /** See {@link Timetable.timeFor}. The quota is not looked at: see {@link Link.quotaLeft}. */
  timeFor(bytes: number, fromMs: number, lineBytesPerSecond?: number): number {
    return this.#timetable.timeFor(bytes, fromMs, lineBytesPerSecond);
  }

  /** Gives back to the ledger what was reserved and not used. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#quota?.close();
  }

  /** Gives those who wait their turns, round and round, until nobody does. */
  async #serve(): Promise<void> {
    this.#isServing = true;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const waitMs = this.#waitBeforeTurn(next.leftBytes);
      if (waitMs > 0) await this.#sleep(waitMs);
      else this.#giveTurn(next);
    }
    this.#isServing = false;
  }

  /** What is to be waited before looking again, in milliseconds; 0 when it is time for the next turn. */
  #waitBeforeTurn(leftBytes: number): number {
    const nowMs = this.#clock.now();
    const { bytesPerSecond, untilMs } = this.#look(nowMs);
    if (bytesPerSecond === 0) {
      if (this.#toldMs !== untilMs) this.#onWait({ reason: "window", untilMs });
      this.#toldMs = untilMs;
      return Math.min(untilMs - nowMs, LOOK_MS);
    }
    const lackBytes = this.#turnBytes(leftBytes) - this.#readyBytes;
    return lackBytes <= 0 ? 0 : Math.max(SLEEP_MS_MIN, (lackBytes / bytesPerSecond) * 1000);
  }

  #giveTurn(next: Waiter): void {
    const bytes = this.#turnBytes(next.leftBytes);
    this.#waiting.shift();
    this.#readyBytes -= bytes;
    next.leftBytes -= bytes;
    if (next.leftBytes > 0) this.#waiting.push(next);
    else next.admit();
  }

  #turnBytes(leftBytes: number): number {
    return Math.min(leftBytes, Math.max(1, (this.#span.bytesPerSecond * TURN_MS) / 1000));
  }

  /** Looks at the clocks: which span it is, and what has become ready since the last look. */
  #look(nowMs: number): Span {
    const passedMs = this.#clock.monotonic() - this.#filledMs;
    this.#filledMs += passedMs;
    // The clock may have been set back.
    if (nowMs < this.#span.fromMs || nowMs >= this.#span.untilMs) {
      this.#span = this.#timetable.spanAt(nowMs);
    }
    const { bytesPerSecond } = this.#span;
    const burstBytes = Math.max(1, (bytesPerSecond * BURST_MS) / 1000);
    // Without a cap the product with no time at all would be no number.
    this.#readyBytes =
      burstBytes === Number.POSITIVE_INFINITY
        ? burstBytes
        : Math.min(burstBytes, this.#readyBytes + (bytesPerSecond * passedMs) / 1000);
    return this.#span;
  }

  async #sleep(ms: number): Promise<void> {
    const doze = new AbortController();
    this.#doze = doze;
    try {
      await this.#clock.sleep(ms, doze.signal);
    } catch (error) {
      if (!doze.signal.aborted) throw error;
    }
  }
}

/**
 * Opens the budget of a link: with a quota, its ledger is read. It must be disposed of (`await using`),
 * or the ledger says more than was used.
 *
 * @throws {Failure} what the ledger throws when it can't be read
 */
export async function openLink(settings: LinkSettings, options: LinkOptions): Promise<Link> {
  const timeZone = settings.timeZone ?? options.timeZone;
  const { quota } = settings;
  const counter =
    quota === undefined ? undefined : await openQuota(quota, { ...options, timeZone });
  return new Link(createTimetable(settings, timeZone), counter, options);
}
