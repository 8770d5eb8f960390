import { type Clock, Failure } from "#base";

/** How many wrong passwords cost nothing, and how long the pause after further ones gets. */
interface Patience {
  readonly free: number;
  readonly maxMs: number;
}

const OF_ADDRESS: Patience = { free: 5, maxMs: 5 * 60_000 };

/** Shorter, and not for who was let in before: else anybody could keep a user out. */
const OF_USER: Patience = { free: 10, maxMs: 30_000 };

/** The pause after the first that is not free; it doubles. */
const FIRST_PAUSE_MS = 1_000;

/** Who was quiet for so long begins anew. */
const FORGET_MS = 3_600_000;

/** Addresses, users and pairs that are remembered, each. Who was not seen for the longest is forgotten. */
const REMEMBERED_MAX = 10_000;

/** Passwords that wait for their comparison, each of which keeps a core busy for a tenth of a second. */
const WAITING_MAX = 32;

interface Attempts {
  readonly failures: number;
  readonly lastMs: number;
}

/**
 * Makes guessing passwords slow, by address and by user: after a few wrong ones each further one has to
 * wait twice as long. An attempt counts as wrong until it was right, so that many at once are no way past.
 */
export class LoginGuard {
  readonly #clock: Clock;
  readonly #addresses = new Map<string, Attempts>();
  readonly #users = new Map<string, Attempts>();
  /** Address and user of logins that were right. */
  readonly #known = new Set<string>();
  #waiting = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Runs one login.
   *
   * @param verify calls its argument before a password is compared; gives whether it is right
   * @throws {Failure} `logins-too-many` instead of a comparison, with the time to wait
   */
  async run(
    address: string,
    user: string,
    verify: (beforeComparing: () => void) => Promise<boolean>,
  ): Promise<boolean> {
    const pair = JSON.stringify([address, user]);
    let isCounted = false;
    try {
      const isRight = await verify(() => {
        this.#count(address, user, this.#known.has(pair));
        isCounted = true;
      });
      if (isRight && isCounted) {
        this.#addresses.delete(address);
        this.#users.delete(user);
        remember(this.#known, pair);
      }
      return isRight;
    } finally {
      if (isCounted) this.#waiting -= 1;
    }
  }

  #count(address: string, user: string, isKnown: boolean): void {
    if (this.#waiting >= WAITING_MAX) throw tooMany(1_000);
    const nowMs = this.#clock.monotonic();
    const ofAddress = lately(this.#addresses.get(address), nowMs);
    const ofUser = lately(this.#users.get(user), nowMs);
    const waitMs = Math.max(
      pauseLeft(ofAddress, OF_ADDRESS, nowMs),
      isKnown ? 0 : pauseLeft(ofUser, OF_USER, nowMs),
    );
    if (waitMs > 0) throw tooMany(waitMs);
    keep(this.#addresses, address, { failures: ofAddress.failures + 1, lastMs: nowMs });
    keep(this.#users, user, { failures: ofUser.failures + 1, lastMs: nowMs });
    this.#waiting += 1;
  }
}

function lately(attempts: Attempts | undefined, nowMs: number): Attempts {
  const isForgotten = attempts === undefined || nowMs - attempts.lastMs >= FORGET_MS;
  return isForgotten ? { failures: 0, lastMs: nowMs } : attempts;
}

function pauseLeft({ failures, lastMs }: Attempts, { free, maxMs }: Patience, nowMs: number) {
  if (failures < free) return 0;
  return Math.min(maxMs, FIRST_PAUSE_MS * 2 ** (failures - free)) - (nowMs - lastMs);
}

/** The most recently used last. */
function keep(map: Map<string, Attempts>, key: string, attempts: Attempts): void {
  map.delete(key);
  map.set(key, attempts);
  dropOldest(map);
}

function remember(set: Set<string>, key: string): void {
  set.delete(key);
  set.add(key);
  dropOldest(set);
}

function dropOldest(kept: Map<string, unknown> | Set<string>): void {
  const [oldest] = kept.keys();
  if (kept.size > REMEMBERED_MAX && oldest !== undefined) kept.delete(oldest);
}

function tooMany(waitMs: number): Failure {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return new Failure({
    code: "logins-too-many",
    message: `Cannot log in: too many wrong passwords came, expected a pause of ${seconds} s`,
    hint: "Wait so long, then try again",
    transient: true,
    retryAfterMs: waitMs,
  });
}
