import type { Clock } from "#base";

/** A clock whose time passes only when somebody sleeps or the test says so. */
export interface ManualClock extends Clock {
  /** How long each sleeper asked to sleep, in the order they asked, in milliseconds. */
  readonly sleeps: readonly number[];
  /** Lets `ms` pass. */
  advance(ms: number): void;
}

/**
 * A clock that begins at `startMs`. A sleep moves the time on by what was asked and is over, so
 * that what waits for hours is tested in microseconds.
 */
export function createManualClock(startMs = Date.UTC(2026, 0, 1)): ManualClock {
  let passedMs = 0;
  const sleeps: number[] = [];
  return {
    sleeps,
    now: () => startMs + passedMs,
    monotonic: () => passedMs,
    advance: (ms) => {
      passedMs += ms;
    },
    async sleep(ms, signal) {
      signal.throwIfAborted();
      sleeps.push(ms);
      await Promise.resolve();
      signal.throwIfAborted();
      passedMs += ms;
    },
  };
}
