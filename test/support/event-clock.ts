import type { Clock } from "#base";

/** A clock for several that sleep at once: time goes from one wake-up to the next, when a test runs it. */
export interface EventClock extends Clock {
  /** Lets time pass until the work is over. Throws when everybody waits and nobody sleeps. */
  run<T>(work: Promise<T>): Promise<T>;
  /** Sets the clock on the wall, as a person or a time service does; `monotonic` goes on. */
  set(nowMs: number): void;
  /** How many sleep now. */
  readonly sleepers: number;
}

/** A clock that begins at `startMs`. */
export function createEventClock(startMs: number): EventClock {
  let passedMs = 0;
  let offsetMs = startMs;
  const sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();

  async function run<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    work.then(over, over);
    for (;;) {
      // Everything that can go on without time passing does so first.
      await new Promise((resolve) => setImmediate(resolve));
      if (isOver) return work;
      const next = [...sleepers].reduce<{ atMs: number; wake: () => void } | undefined>(
        (first, one) => (first === undefined || one.atMs < first.atMs ? one : first),
        undefined,
      );
      if (next === undefined) throw new Error("Everybody waits, and nobody sleeps");
      passedMs = Math.max(passedMs, next.atMs);
      next.wake();
    }
  }

  return {
    now: () => Math.floor(offsetMs + passedMs),
    monotonic: () => passedMs,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const sleeper = {
          atMs: passedMs + ms,
          wake: () => {
            sleepers.delete(sleeper);
            signal.removeEventListener("abort", onAbort);
            resolve();
          },
        };
        const onAbort = () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        sleepers.add(sleeper);
      });
    },
    run,
    set: (nowMs) => {
      offsetMs = nowMs - passedMs;
    },
    get sleepers() {
      return sleepers.size;
    },
  };
}
