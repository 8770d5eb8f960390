/**
 * The places on the link. So many blobs move at once; some of the places are for small blobs alone,
 * so that a config of a few kilobytes never waits until a layer of gigabytes is through.
 */
export interface Places {
  /** Runs `task` when there is a place for it. A task whose signal is aborted while it waits never starts. */
  run<T>(size: PlaceSize, signal: AbortSignal, task: () => Promise<T>): Promise<T>;
  /** Runs `task` on a place that nobody waits for, or gives undefined when there is none. */
  runSpare(task: () => Promise<void>): Promise<void> | undefined;
  /** How many are taken. */
  readonly taken: number;
}

/** Which places a blob may take. */
export type PlaceSize = "small" | "large";

interface Waiter {
  readonly size: PlaceSize;
  readonly admit: () => void;
}

/** @param smallOnly how many of the places large blobs never take; they always have one */
export function createPlaces(max: number, smallOnly: number): Places {
  const largeMax = Math.max(1, max - smallOnly);
  let waiting: readonly Waiter[] = [];
  let taken = 0;
  let takenByLarge = 0;

  const hasRoom = (size: PlaceSize) => taken < max && (size === "small" || takenByLarge < largeMax);
  const take = (size: PlaceSize) => {
    taken += 1;
    if (size === "large") takenByLarge += 1;
  };
  const leave = (size: PlaceSize) => {
    taken -= 1;
    if (size === "large") takenByLarge -= 1;
    const next = waiting.find((waiter) => hasRoom(waiter.size));
    if (next === undefined) return;
    waiting = waiting.filter((waiter) => waiter !== next);
    take(next.size);
    next.admit();
  };
  const enter = (size: PlaceSize, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    if (hasRoom(size)) {
      take(size);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        waiting = waiting.filter((other) => other !== waiter);
        reject(signal.reason);
      };
      const admit = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const waiter = { size, admit };
      signal.addEventListener("abort", onAbort, { once: true });
      waiting = [...waiting, waiter];
    });
  };
  return {
    get taken() {
      return taken;
    },
    async run(size, signal, task) {
      await enter(size, signal);
      try {
        return await task();
      } finally {
        leave(size);
      }
    },
    runSpare(task) {
      if (!hasRoom("large") || waiting.length > 0) return undefined;
      take("large");
      return task().finally(() => leave("large"));
    },
  };
}
