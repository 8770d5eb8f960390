/**
 * Lets many callers share a few runs of what is costly and does the same for all of them, as an fsync:
 * each call waits for a run that began after it, and runs never overlap.
 */
export function sharedRun(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        running = run();
        return running;
      });
    return next;
  };
}
