import type { Clock } from "#base";
import type { Lanes } from "./fill.ts";

/** No range is smaller: each costs a request, and its connection a slow start. */
const RANGE_BYTES_MIN = 64 * 1024;

/** What a connection brings in so long a time is worth one of its own. */
const RANGE_MS = 500;

/** Before that a connection has shown nothing of what it can do. */
const MEASURE_MS = 100;

/**
 * Connections that bring more than this each, in bytes per millisecond, have no need of another: what
 * limits is the line, or one of the machines. 8 MB/s is what TCP makes of 100 ms and a loss of 0.0005 %.
 */
const SLOW_BYTES_PER_MS = 8_000;

/** What of a delivery decides about the ranges of one blob. */
export interface LaneOptions {
  readonly clock: Pick<Clock, "monotonic">;
  /** How many more transfers would begin at once; see `Source.spareTransfers`. */
  readonly spareTransfers: () => number;
  /** Runs a task on a place of the link that nobody waits for, or gives undefined. */
  readonly runSpare: (task: () => Promise<void>) => Promise<void> | undefined;
  /** Whether the registry is known to serve no parts. */
  readonly arePartsRefused: () => boolean;
  readonly refuse: () => void;
}

/** Connections for the ranges of one blob, and what is seen of them. */
export interface BlobLanes extends Lanes {
  /** Counts bytes of the blob. */
  arrived(bytes: number): void;
}

/**
 * Lets a blob have the connections that its registry has to spare, as long as each is slow: on a link
 * that is long, that loses packets, or whose registry limits each connection. How many a registry has
 * to spare follows from what more of them have brought (`remote/concurrency.ts`).
 */
export function createLanes(options: LaneOptions): BlobLanes {
  const { clock, spareTransfers, runSpare, arePartsRefused, refuse } = options;
  let lanes = 1;
  let windowBeganMs: number | undefined;
  let windowBytes = 0;
  /** What one connection brought of late; undefined before anything can be said. */
  let bytesPerMs: number | undefined;

  return {
    get rangeBytesMin() {
      return Math.max(RANGE_BYTES_MIN, (bytesPerMs ?? 0) * RANGE_MS);
    },
    arrived(bytes) {
      const nowMs = clock.monotonic();
      windowBeganMs ??= nowMs;
      windowBytes += bytes;
      const windowMs = nowMs - windowBeganMs;
      if (windowMs < MEASURE_MS) return;
      bytesPerMs = windowBytes / windowMs / lanes;
      windowBeganMs = nowMs;
      windowBytes = 0;
    },
    wantsMore(count) {
      lanes = count;
      if (bytesPerMs === undefined || bytesPerMs > SLOW_BYTES_PER_MS) return false;
      return !arePartsRefused() && spareTransfers() > 0;
    },
    runSpare,
    refuse,
  };
}
