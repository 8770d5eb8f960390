import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "#base";

/** Who is in, and since when. Times are of the clock that never jumps, in milliseconds. */
interface Session {
  readonly user: string;
  /** As {@link Sessions.open} was given it. */
  readonly passwordVersion: string;
  readonly openedMs: number;
  readonly usedMs: number;
}

/** A session that nobody used for so long is over. */
const IDLE_MS = 3_600_000;

/** A session is over after so long, however it was used. */
export const SESSION_MS: number = 12 * 3_600_000;

const SESSIONS_MAX = 1_000;

/** 256 bits: nobody guesses one. */
const TOKEN_BYTES = 32;

/**
 * Who has logged in with a browser. Sessions live in memory: a restart of the agent ends them. Only hashes
 * of their tokens are kept, so a look into the memory gives nobody a way in. When there are too many, the
 * one that was not used for the longest goes.
 */
export class Sessions {
  readonly #clock: Clock;
  /** The most recently used last. */
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Lets a user in who has shown the password of that version. Gives the token, fit for a cookie. */
  open(user: string, passwordVersion: string): string {
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    const nowMs = this.#clock.monotonic();
    const session = { user, passwordVersion, openedMs: nowMs, usedMs: nowMs };
    this.#sessions.set(keyOf(token), session);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > SESSIONS_MAX && oldest !== undefined) this.#sessions.delete(oldest);
    return token;
  }

  /** Whose session it is, which counts as a use of it. */
  use(token: string): Pick<Session, "user" | "passwordVersion"> | undefined {
    const key = keyOf(token);
    const session = this.#sessions.get(key);
    if (session === undefined) return undefined;
    this.#sessions.delete(key);
    const nowMs = this.#clock.monotonic();
    const isOver = nowMs - session.usedMs >= IDLE_MS || nowMs - session.openedMs >= SESSION_MS;
    if (isOver) return undefined;
    this.#sessions.set(key, { ...session, usedMs: nowMs });
    return session;
  }

  /** Ends one. */
  close(token: string): void {
    this.#sessions.delete(keyOf(token));
  }

  /** How many there are, ended ones that nobody came back to among them. */
  get size(): number {
    return this.#sessions.size;
  }
}

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}
