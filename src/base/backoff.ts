/** How waits between attempts grow. */
export interface Backoff {
  /** Wait before the second attempt, in milliseconds, before jitter. */
  readonly firstMs: number;
  /** No wait is longer than this. */
  readonly maxMs: number;
}

/**
 * The wait before attempt `attempt + 1`, doubling each time, with full jitter in its upper half so
 * that many sites which lost the same link do not come back in step.
 *
 * @param attempt how many attempts have failed, from 1
 * @param random a number in [0, 1)
 */
export function backoffMs(attempt: number, random: number, { firstMs, maxMs }: Backoff): number {
  const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceilingMs * (0.5 + random / 2));
}
