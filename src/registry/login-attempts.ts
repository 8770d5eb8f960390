import type { Clock } from "#base";
import { TokenBuckets } from "./token-buckets.ts";
import { tooManyRequests } from "./too-many-requests.ts";

/** How many wrong passwords a client may try for one user at once, and one more in each of so many seconds. */
const WRONG_BURST = 10;
const WRONG_INTERVAL_SECONDS = 6;

/** How many passwords of one client may wait for their comparison, each of which takes a tenth of a second. */
const WAITING_MAX = 64;

/**
 * Slows down whoever guesses passwords, and nobody else: only comparisons of passwords that were not
 * right before are counted, by client and user, and right ones are given back. So a user can't be
 * locked out from elsewhere, nor by guesses at another, nor where the password is in use already.
 */
export class LoginAttempts {
  readonly #wrong: TokenBuckets;
  readonly #waiting = new Map<string, number>();

  constructor(clock: Clock) {
    const perSecond = 1 / WRONG_INTERVAL_SECONDS;
    this.#wrong = new TokenBuckets({ clock, burst: WRONG_BURST, perSecond });
  }

  /**
   * Runs one login.
   *
   * @param verify calls its argument before a password is compared; gives whether the password is right
   * @throws {WireError} `TOOMANYREQUESTS` instead of a comparison
   */
  async run(
    client: string,
    username: string,
    verify: (beforeComparing: () => void) => Promise<boolean>,
  ): Promise<boolean> {
    const key = JSON.stringify([client, username]);
    let isCounted = false;
    try {
      const isRight = await verify(() => {
        this.#count(client, key);
        isCounted = true;
      });
      if (isRight && isCounted) this.#wrong.giveBack(key);
      return isRight;
    } finally {
      if (isCounted) this.#leave(client);
    }
  }

  #count(client: string, key: string): void {
    const waiting = this.#waiting.get(client) ?? 0;
    if (waiting >= WAITING_MAX) throw tooManyRequests("too many logins at once", 0);
    const waitMs = this.#wrong.take(key);
    if (waitMs > 0) throw tooManyRequests("too many wrong passwords", waitMs);
    this.#waiting.set(client, waiting + 1);
  }

  #leave(client: string): void {
    const waiting = (this.#waiting.get(client) ?? 1) - 1;
    if (waiting === 0) this.#waiting.delete(client);
    else this.#waiting.set(client, waiting);
  }
}
