import type { Clock } from "#base";

/** How a bucket fills. */
export interface BucketOptions {
  readonly clock: Clock;
  /** How many may be taken at once by somebody who has taken none for a while. */
  readonly burst: number;
  readonly perSecond: number;
  /** How many buckets are kept. Whoever was not seen for the longest is forgotten, which fills the bucket. */
  readonly keysMax?: number;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

const KEYS_MAX = 10_000;

/** One token bucket for each key: a rate that may be exceeded for a moment. */
export class TokenBuckets {
  readonly #options: BucketOptions;
  /** The most recently used last. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: BucketOptions) {
    this.#options = options;
  }

  /** Takes a token. Gives 0, or, when there is none, how many milliseconds until there is. */
  take(key: string): number {
    const tokens = this.#tokens(key);
    const isThere = tokens >= 1;
    this.#put(key, isThere ? tokens - 1 : tokens);
    return isThere ? 0 : ((1 - tokens) / this.#options.perSecond) * 1000;
  }

  /** Takes back that a token was taken. */
  giveBack(key: string): void {
    this.#put(key, Math.min(this.#options.burst, this.#tokens(key) + 1));
  }

  #tokens(key: string): number {
    const { clock, burst, perSecond } = this.#options;
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return burst;
    const passedMs = clock.monotonic() - bucket.atMs;
    return Math.min(burst, bucket.tokens + (passedMs / 1000) * perSecond);
  }

  #put(key: string, tokens: number): void {
    const { clock, keysMax = KEYS_MAX } = this.#options;
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens, atMs: clock.monotonic() });
    if (this.#buckets.size <= keysMax) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
