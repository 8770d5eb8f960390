import { type Backoff, backoffMs, type Clock, Failure, isFailure } from "#base";

/** How long a registry is given, and how often. */
export interface Patience extends Backoff {
  /** Requests for one thing, the first included. */
  readonly attempts: number;
  /** From the request to the headers of the answer, connecting included, in milliseconds. */
  readonly headerTimeoutMs: number;
  /**
   * The window of waiting in which next to no bytes of a body are a stall, in milliseconds. There is
   * no limit to the whole (C-54).
   */
  readonly stallMs: number;
  /** How long a host that nobody could reach is left alone, in milliseconds. Half a minute without it. */
  readonly coolDownMs?: number;
}

/** Waits of about 0.5, 1, 2 and 4 s: a link that flaps is outlived, a dead one is known in time. */
export const PATIENCE: Patience = {
  attempts: 5,
  firstMs: 500,
  maxMs: 20_000,
  headerTimeoutMs: 30_000,
  stallMs: 30_000,
};

/**
 * The longest wait that a server may impose on a request. Docker Hub's windows last hours: that is for
 * who schedules the work, who learns it from the failure's `retryAfterMs` (C-52).
 */
export const RETRY_AFTER_WAITED_MS_MAX = 60_000;

/** A server's word on when to come back is cut to this. */
const RETRY_AFTER_MS_MAX = 24 * 60 * 60 * 1000;

/** What {@link withRetries} needs. */
export interface RetryOptions {
  readonly patience: Patience;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** Runs `attempt` until it succeeds, fails for good, or patience ends; its last failure is thrown. */
export async function withRetries<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { patience, clock, random, signal } = options;
  for (let failed = 1; ; failed += 1) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error) || !error.transient) throw error;
      if (failed >= patience.attempts) throw afterAttempts(error, failed);
      const askedMs = error.retryAfterMs ?? 0;
      if (askedMs > RETRY_AFTER_WAITED_MS_MAX) throw error;
      await clock.sleep(Math.max(askedMs, backoffMs(failed, random(), patience)), signal);
    }
  }
}

function afterAttempts(failure: Failure, attempts: number): Failure {
  if (attempts === 1) return failure;
  return new Failure({
    code: failure.code,
    message: `${failure.message} (${attempts} attempts)`,
    hint: failure.hint,
    transient: true,
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
    cause: failure,
  });
}

/**
 * The wait that a `Retry-After` header asks for, in milliseconds: seconds or an HTTP date (C-51);
 * undefined for junk, for a date that is past, and without a header.
 *
 * @param nowMs wall-clock time, in which dates are given
 */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  const text = header?.trim() ?? "";
  const waitMs = /^[0-9]+$/.test(text) ? Number(text) * 1000 : dateMs(text) - nowMs;
  return waitMs > 0 ? Math.min(waitMs, RETRY_AFTER_MS_MAX) : undefined;
}

/** Only the form that RFC 9110 has servers send; `Date.parse` alone would take "-1" for a year. */
function dateMs(text: string): number {
  return /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
}
