import type { Clock } from "#base";
import { SLOW_BYTES_PER_MS } from "#content";
import type { Lanes } from "./fill.ts";

/**
 * No range is smaller, for each costs a request; and what a connection brings in so long a time is worth
 * one of its own. With twice as much, connections stand idle at the end of a stage: 32 MB over 20 Mbit/s,
 * 100 ms, 1 % loss take 0.6 s longer.
 */
const RANGE_BYTES_MIN = 32 * 1024;
const RANGE_MS = 250;

/**
 * On slow connections a request asks for what comes in so long a time, so that what another connection
 * takes over was mostly not asked for yet; and for no less, because each request costs a round trip.
 */
const REQUEST_MS = 2_000;
const REQUEST_BYTES_MIN = 256 * 1024;

/** Before that a connection has shown nothing of what it can do. */
const MEASURE_MS = 100;

/**
 * Only a host that is far away has so many places to spare before anything is seen of it. There a blob
 * begins with some connections at once: each takes two round trips until it brings anything.
 */
const SPARE_FAR = 8;
const FIRST_LANES = 5;

/** What a delivery has seen of one registry so far. */
export interface RegistryPace {
  /** What one connection brought of late; undefined before anything can be said. */
  bytesPerMs?: number;
  /** It serves no part of a blob that ends before the end. */
  arePartsRefused?: boolean;
}

/** What of a delivery decides about the ranges of one blob. */
export interface LaneOptions {
  readonly clock: Pick<Clock, "monotonic">;
  /** How many more transfers would begin at once; see `Source.spareTransfers`. */
  readonly spareTransfers: () => number;
  /** Runs a task on a place of the link that nobody waits for, or gives undefined. */
  readonly runSpare: (task: () => Promise<void>) => Promise<void> | undefined;
  /** Shared by all blobs that come from the registry, and kept up to date. */
  readonly pace: RegistryPace;
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
  const { clock, spareTransfers, runSpare, pace } = options;
  let lanes = 1;
  let windowBeganMs: number | undefined;
  let windowBytes = 0;
  /** What one connection brought of this blob. */
  let bytesPerMs: number | undefined;

  return {
    get rangeBytesMin() {
      return Math.max(RANGE_BYTES_MIN, (bytesPerMs ?? 0) * RANGE_MS);
    },
    get requestBytesMax() {
      const usual = bytesPerMs ?? pace.bytesPerMs ?? Number.POSITIVE_INFINITY;
      if (pace.arePartsRefused || usual > SLOW_BYTES_PER_MS) return Number.POSITIVE_INFINITY;
      return Math.max(REQUEST_BYTES_MIN, Math.ceil(usual * REQUEST_MS));
    },
    arrived(bytes) {
      const nowMs = clock.monotonic();
      windowBeganMs ??= nowMs;
      windowBytes += bytes;
      const windowMs = nowMs - windowBeganMs;
      if (windowMs < MEASURE_MS) return;
      bytesPerMs = windowBytes / windowMs / lanes;
      pace.bytesPerMs = bytesPerMs;
      windowBeganMs = nowMs;
      windowBytes = 0;
    },
    get firstLanes() {
      const isQuick = (pace.bytesPerMs ?? 0) > SLOW_BYTES_PER_MS;
      return isQuick || pace.arePartsRefused || spareTransfers() < SPARE_FAR ? 1 : FIRST_LANES;
    },
    wantsMore(count) {
      lanes = count;
      if (bytesPerMs === undefined || bytesPerMs > SLOW_BYTES_PER_MS) return false;
      return !pace.arePartsRefused && spareTransfers() > 0;
    },
    runSpare,
    refuse() {
      pace.arePartsRefused = true;
    },
  };
}
