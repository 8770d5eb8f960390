import { type Clock, Failure, formatDuration } from "#base";
import { cannot, type Errand } from "./network-failure.ts";
import type { CallPatience } from "./reachability.ts";
import { RETRY_AFTER_WAITED_MS_MAX, retryAfterMs } from "./retry.ts";
import type { Answer } from "./transport.ts";
import type { WarningLog } from "./warning-log.ts";

/** A host asked us to wait, and all requests to it do. */
export interface RemoteWait {
  /** The host: the registry, or what it redirects to. */
  readonly registry: string;
  /** Wall-clock time at which it is asked again, in milliseconds since 1970. */
  readonly untilMs: number;
  /** For people: `it answered 429`. */
  readonly reason: string;
}

/** What {@link HostLimits} needs. */
export interface HostLimitsOptions {
  readonly clock: Clock;
  readonly onWait: (wait: RemoteWait) => void;
  readonly warnings: WarningLog;
}

interface Pause {
  /** On the monotonic clock. */
  readonly untilMs: number;
  readonly status: number;
}

/** Whose `Retry-After` is a word about the host and not about what was asked for. */
const PAUSING_STATUSES: ReadonlySet<number> = new Set([429, 503]);

/** Requests that are told the same thing at the same time make one wait. */
const SAME_WAIT_MS = 1_000;

/** Below this part of what is allowed in its window, a person is told. */
const LOW_PART = 0.1;

/** When a registry does not say what it allows, so few are few. */
const LOW_REQUESTS = 10;

/**
 * What hosts said of how often they want to be asked, kept for all who ask (C-51, C-52): after a
 * `Retry-After` every request to the host waits; what is left of a quota is told before it is gone.
 */
export class HostLimits {
  readonly #options: HostLimitsOptions;
  readonly #pauses = new Map<string, Pause>();
  readonly #low = new Set<string>();

  constructor(options: HostLimitsOptions) {
    this.#options = options;
  }

  /** Reads what an answer says about limits. */
  note({ status, headers, url: { host } }: Answer): void {
    const { clock } = this.#options;
    this.#noteQuota(host, headers);
    if (!PAUSING_STATUSES.has(status)) return;
    const waitMs = retryAfterMs(headers.get("retry-after"), clock.now());
    if (waitMs === undefined) return;
    const untilMs = clock.monotonic() + waitMs;
    const knownMs = this.#pauses.get(host)?.untilMs ?? Number.NEGATIVE_INFINITY;
    if (untilMs <= knownMs) return;
    this.#pauses.set(host, { untilMs, status });
    if (untilMs - knownMs < SAME_WAIT_MS) return;
    const reason = `it answered ${status}`;
    this.#options.onWait({ registry: host, untilMs: clock.now() + waitMs, reason });
  }

  /**
   * Waits until the host wants to be asked again.
   *
   * @throws {Failure} with `retryAfterMs` at once, when that is longer than a request is held, or for
   *   a caller who makes one attempt and has something to stand on
   */
  async wait(
    host: string,
    errand: Errand & { patience: CallPatience; signal: AbortSignal },
  ): Promise<void> {
    const { clock } = this.#options;
    const { patience, signal } = errand;
    for (;;) {
      const pause = this.#pauses.get(host);
      const leftMs = pause === undefined ? 0 : pause.untilMs - clock.monotonic();
      if (pause === undefined || leftMs <= 0) return;
      if (patience === "brief" || leftMs > RETRY_AFTER_WAITED_MS_MAX) {
        throw waiting(host, errand, pause.status, leftMs);
      }
      await clock.sleep(leftMs, signal);
    }
  }

  /** `RateLimit-Remaining: 76;w=21600`, as Docker Hub has it. */
  #noteQuota(host: string, headers: Headers): void {
    const remaining = leadingNumber(headers.get("ratelimit-remaining"));
    if (remaining === undefined) return;
    const limit = leadingNumber(headers.get("ratelimit-limit"));
    if (remaining > (limit === undefined ? LOW_REQUESTS : limit * LOW_PART)) {
      this.#low.delete(host);
      return;
    }
    if (this.#low.has(host)) return;
    this.#low.add(host);
    const of = limit === undefined ? "" : ` of ${limit}`;
    this.#options.warnings.say(
      host,
      `it allows ${remaining}${of} more requests for now; a credential may have a higher limit`,
    );
  }
}

function leadingNumber(header: string | null): number | undefined {
  const [, digits] = /^\s*([0-9]{1,9})(?![0-9])/.exec(header ?? "") ?? [];
  return digits === undefined ? undefined : Number(digits);
}

function waiting(host: string, errand: Errand, status: number, leftMs: number): Failure {
  const isRateLimit = status === 429;
  return new Failure({
    code: isRateLimit ? "registry-rate-limited" : "registry-error",
    message: `${cannot(errand)}: ${host} answered ${status} before and asked to be left alone for ${formatDuration(leftMs)} more, expected to be allowed to ask`,
    hint: isRateLimit
      ? "Wait, or give a credential with a higher limit; anonymous pulls have the lowest"
      : `The trouble is at ${host}: run the command again later, or look at its log`,
    transient: true,
    retryAfterMs: Math.ceil(leftMs),
  });
}
