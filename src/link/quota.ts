import { type Clock, Failure, formatBytes, isFailure } from "#base";
import type { LinkQuota } from "./settings.ts";
import { type Period, periodAt } from "./timetable.ts";

/** What a ledger remembers. */
export interface LedgerRecord {
  /** At least what has crossed the link in its period. */
  readonly bytes: number;
  /** The latest time that was seen, in milliseconds since 1970: the period is the one it lies in. */
  readonly latestMs: number;
}

/** Where a quota is counted across restarts. */
export interface Ledger {
  /** What was written last, or undefined when nothing was. */
  read(): Promise<LedgerRecord | undefined>;
  /** Resolves once the record would survive a power cut. */
  write(record: LedgerRecord): Promise<void>;
}

/** How much is left, and when it renews. */
export interface QuotaLeft {
  readonly bytes: number;
  /** In milliseconds since 1970. */
  readonly renewsMs: number;
}

/** The least that is reserved at once: so much may be counted too much after a kill -9. */
export const RESERVE_BYTES_MIN: number = 16 * 1024 * 1024;

/** A fast link reserves for so long at once, so that the ledger is written every few seconds at most. */
const RESERVE_MS = 8_000;

/** Over less time the speed of the link can't be told. */
const SPEED_MS_MIN = 1_000;

/** Clocks differ and are corrected; by more than this, one of the two times was no time at all. */
const CLOCK_AHEAD_MS = 24 * 60 * 60 * 1000;

/** What may arrive, on all connections, while the next reservation is on its way to the disk. */
const HEADROOM_BYTES = 4 * 1024 * 1024;

/**
 * Counts what crosses the link against a quota. The ledger is always ahead: bytes are reserved in it
 * before they arrive, so that after the death of the process it says too much, never too little.
 *
 * Time never goes back for it: a machine that starts in 1970 stays in the period it was in.
 */
export class QuotaCounter {
  readonly #quota: LinkQuota;
  readonly #timeZone: string;
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  #period: Period;
  #latestMs: number;
  #usedBytes: number;
  /** What the ledger is known to hold for this period. */
  #reservedBytes: number;
  #lastWrite: { readonly atMs: number; readonly usedBytes: number } | undefined;
  #writing: Promise<void> | undefined;

  /** Use {@link openQuota}. */
  constructor(
    quota: LinkQuota,
    record: LedgerRecord | undefined,
    { clock, ledger, timeZone }: QuotaOptions,
  ) {
    this.#quota = quota;
    this.#timeZone = timeZone;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#latestMs = record?.latestMs ?? clock.now();
    this.#period = periodAt(quota, this.#latestMs, timeZone);
    this.#usedBytes = record?.bytes ?? 0;
    this.#reservedBytes = this.#usedBytes;
    this.#turnPage();
  }

  /**
   * Counts bytes that have arrived, and resolves once there is room in the ledger for the next.
   *
   * @throws {Failure} `link-quota` when they are more than was left (they are counted all the same),
   *   or, for 0 bytes, when none is left; what the ledger throws when it can't be written
   */
  async charge(bytes: number): Promise<void> {
    this.#turnPage();
    this.#usedBytes += bytes;
    const { bytes: quotaBytes } = this.#quota;
    if (this.#usedBytes > quotaBytes || (bytes === 0 && this.#usedBytes === quotaBytes)) {
      throw this.#usedUp();
    }
    if (this.#lacks(this.#reserveBytes() / 2)) void this.#beginReserving();
    while (this.#lacks(HEADROOM_BYTES)) await this.#beginReserving();
  }

  left(): QuotaLeft {
    this.#turnPage();
    return {
      bytes: Math.max(0, this.#quota.bytes - this.#usedBytes),
      renewsMs: this.#period.endMs,
    };
  }

  /** Gives back what was reserved and not used. Nothing may be charged after it. */
  async close(): Promise<void> {
    try {
      await this.#writing?.catch(() => undefined);
      if (this.#usedBytes !== this.#reservedBytes) await this.#write(this.#usedBytes);
    } catch (error) {
      // The ledger stays ahead, which is safe; what ended the delivery must not be hidden by it.
      if (!isFailure(error)) throw error;
    }
  }

  /** Begins a new period when its time has come. */
  #turnPage(): void {
    this.#latestMs = Math.max(this.#latestMs, this.#clock.now());
    if (this.#latestMs < this.#period.endMs) return;
    this.#period = periodAt(this.#quota, this.#latestMs, this.#timeZone);
    this.#usedBytes = 0;
    this.#reservedBytes = 0;
  }

  /** Whether less than `aheadBytes` is reserved beyond what is used. Beyond the quota nothing need be. */
  #lacks(aheadBytes: number): boolean {
    return this.#reservedBytes < Math.min(this.#quota.bytes, this.#usedBytes + aheadBytes);
  }

  #reserveBytes(): number {
    if (this.#lastWrite === undefined) return RESERVE_BYTES_MIN;
    const passedMs = Math.max(SPEED_MS_MIN, this.#clock.monotonic() - this.#lastWrite.atMs);
    const passedBytes = this.#usedBytes - this.#lastWrite.usedBytes;
    return Math.max(RESERVE_BYTES_MIN, (passedBytes / passedMs) * RESERVE_MS);
  }

  /** One write at a time. Its failure is told to whoever has to wait for it. */
  #beginReserving(): Promise<void> {
    if (this.#writing !== undefined) return this.#writing;
    const bytes = Math.min(this.#quota.bytes, Math.ceil(this.#usedBytes + this.#reserveBytes()));
    this.#lastWrite = { atMs: this.#clock.monotonic(), usedBytes: this.#usedBytes };
    this.#writing = this.#write(bytes).finally(() => {
      this.#writing = undefined;
    });
    this.#writing.catch(() => undefined);
    return this.#writing;
  }

  async #write(bytes: number): Promise<void> {
    const period = this.#period;
    await this.#ledger.write({ bytes, latestMs: this.#latestMs });
    // A page that was turned meanwhile has nothing reserved on it yet.
    if (this.#period === period) this.#reservedBytes = bytes;
  }

  #usedUp(): Failure {
    const isAhead = this.#latestMs - this.#clock.now() > CLOCK_AHEAD_MS;
    const renews = Temporal.Instant.fromEpochMilliseconds(this.#period.endMs)
      .toZonedDateTimeISO(this.#timeZone)
      .toPlainDateTime()
      .toString({ smallestUnit: "minute" })
      .replace("T", " ");
    const quota = formatBytes(this.#quota.bytes);
    return new Failure({
      code: "link-quota",
      message: `Cannot fetch more over the link: the quota of ${quota} is used up, expected some left before it renews on ${renews} (${this.#timeZone})`,
      hint: isAhead
        ? "The ledger of the quota has seen a later time than this machine's clock tells: correct the clock; if it is the ledger that is wrong, remove `ledger.json` from the data directory"
        : "Wait until it renews, raise link.quota.bytes in the site file, or bring the rest on a disk with `dray deliver --from DIR`",
    });
  }
}

/** What a counter works with. */
export interface QuotaOptions {
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly timeZone: string;
}

/** Reads the ledger. @throws {Failure} what the ledger throws */
export async function openQuota(quota: LinkQuota, options: QuotaOptions): Promise<QuotaCounter> {
  return new QuotaCounter(quota, await options.ledger.read(), options);
}
