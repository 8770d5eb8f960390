import { backoffMs, type Clock, Failure, formatDuration, isFailure } from "#base";
import type { UntimedEvent } from "./event.ts";
import type { LocalRegistry, UploadNeed } from "./local-registry.ts";

/**
 * The registry may be started by the very cluster that is being installed: first its image must be
 * fetched, so nobody needs it within the second; and it is near, so asking often costs nothing.
 */
const BACKOFF = { firstMs: 1_000, maxMs: 10_000 };

/** Whatever it asks for: that the last image was fetched must be noticed, and who restarts guesses. */
const RETRY_AFTER_MS_MAX = 60_000;

/** What waiting for a registry needs of the world. */
export interface ReadinessOptions {
  readonly registry: LocalRegistry;
  readonly need: () => UploadNeed;
  /** How long it is waited for once nothing is left to be fetched. 0: it is asked once. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly emit: (event: UntimedEvent) => void;
}

/** Whether the local registry can be pushed to. */
export interface Readiness {
  /**
   * Resolves when it can, and gives a token for {@link doubt}. All who ask at the same time wait for
   * one and the same answer.
   *
   * @throws {Failure} what keeps it from being used for good; `local-registry-unreachable` when it did
   *   not come in time
   */
  ready(): Promise<object>;
  /** A push broke off in a way that may pass: it is prepared again before the next one. */
  doubt(token: object): void;
  /** Nothing is left to be fetched: from now on waiting costs the delivery time. */
  fetched(): void;
}

/** Begins to ask as soon as somebody wants to know. */
export function createReadiness(options: ReadinessOptions): Readiness {
  const { clock, waitMs } = options;
  let round: Promise<object> | undefined;
  let token: object | undefined;
  let fetchedMs: number | undefined;
  const deadlineMs = (sinceMs: number) => {
    if (waitMs === 0) return sinceMs;
    return fetchedMs === undefined ? undefined : Math.max(fetchedMs, sinceMs) + waitMs;
  };
  return {
    ready() {
      round ??= waitUntilReady(options, deadlineMs).then(() => {
        token = {};
        return token;
      });
      return round;
    },
    doubt(doubted) {
      // Several doubt the same answer; a new one that is under way is not for them to doubt.
      if (doubted !== token) return;
      token = undefined;
      round = undefined;
    },
    fetched() {
      fetchedMs = clock.monotonic();
    },
  };
}

/** @param deadlineMs until when a wait that began then may last, in time that never jumps */
async function waitUntilReady(
  { registry, need, waitMs, clock, random, signal, emit }: ReadinessOptions,
  deadlineMs: (sinceMs: number) => number | undefined,
): Promise<void> {
  const since = clock.monotonic();
  const wallMs = (monotonicMs: number) => clock.now() + monotonicMs - clock.monotonic();
  for (let attempt = 1; ; attempt += 1) {
    try {
      await registry.prepare(need(), { signal });
      emit({ type: "local-registry-ready", registry: registry.address });
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error) || !error.transient) throw error;
      const nowMs = clock.monotonic();
      const until = deadlineMs(since);
      if (until !== undefined && nowMs >= until) throw unreachable(registry, waitMs, error);
      const askedMs = Math.min(error.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX);
      const wantedMs = Math.max(backoffMs(attempt, random(), BACKOFF), askedMs);
      const delayMs = Math.min(wantedMs, (until ?? Number.POSITIVE_INFINITY) - nowMs);
      emit({
        type: "local-registry-waiting",
        registry: registry.address,
        code: error.code,
        message: error.message,
        sinceMs: wallMs(since),
        nextMs: wallMs(nowMs + delayMs),
        untilMs: until === undefined ? null : wallMs(until),
      });
      await clock.sleep(delayMs, signal);
    }
  }
}

function unreachable({ address }: LocalRegistry, waitMs: number, cause: Failure): Failure {
  const patience = waitMs === 0 ? "at the one attempt" : `within ${formatDuration(waitMs)}`;
  return new Failure({
    code: "local-registry-unreachable",
    message: `Cannot upload to the local registry ${address}: it could not be pushed to ${patience}. ${cause.message}`,
    hint: `What was fetched stays: run \`dray deliver\` again when ${address} is up, or give it longer with --wait-for-local. ${cause.hint}`,
    cause,
  });
}
