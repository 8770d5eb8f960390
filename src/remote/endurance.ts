/** No piece is smaller, however soon connections break: each costs a request. */
const PIECE_BYTES_MIN = 64 * 1024;

/** What breaks does not break at the same byte each time; heads and the wrapping of TLS count too. */
const SAFE_PART = 0.75;

/** Whoever carries so much has no limit that is worth minding. */
const NO_LIMIT_BYTES = 256 * 1024 * 1024;

/** More is tried after so many times the limit went through whole; each failed trial doubles it. */
const CALM_LIMITS_FIRST = 8;
const CALM_LIMITS_MAX = 512;

const GROWTH = 1.5;

/** More than this part of the proven limit was a trial, and not just the proven limit and a head. */
const TRIAL_PART = 1.25;

/**
 * A host that is near sends faster than anybody reads, and megabytes wait in the kernel. Until one of
 * its connections carried this much, no more than a small piece is asked for at a time.
 */
const UNTRIED_BYTES = 32 * 1024 * 1024;
const UNTRIED_PIECE_BYTES = 1024 * 1024;

/** From further away nothing much waits unread, and a request for each piece would take its time. */
const NEAR_MS = 10;
const NEWEST_PART = 0.25;

/**
 * What the connections to one host carry before they break. Some links cut each after so many bytes,
 * and what is on its way then is lost: whoever asks for no more than a connection bears loses nothing.
 *
 * The limit comes from the connections that broke; it is raised again slowly, and in the end forgotten.
 */
export class Endurance {
  #limitBytes = Number.POSITIVE_INFINITY;
  /** With this limit connections stayed whole for long; 0 before any did. */
  #provenBytes = 0;
  /** What came since the limit was last changed. */
  #calmBytes = 0;
  #calmLimits = CALM_LIMITS_FIRST;
  #servesPieces = true;
  #isTried = false;
  /** From a request to the head of its answer, smoothed. */
  #answerMs = 0;

  /** What one connection is given to carry, heads included; infinite as long as none broke. */
  get connectionBytesMax(): number {
    return this.#limitBytes;
  }

  /** What is asked for in one request; infinite where pieces bring nothing or are not served. */
  get pieceBytesMax(): number {
    if (!this.#servesPieces) return Number.POSITIVE_INFINITY;
    const isUntried = !this.#isTried && this.#limitBytes === Number.POSITIVE_INFINITY;
    return isUntried && this.#answerMs < NEAR_MS ? UNTRIED_PIECE_BYTES : this.#limitBytes;
  }

  /** The head of an answer came so long after the request. */
  answered(afterMs: number): void {
    this.#answerMs += (afterMs - this.#answerMs) * NEWEST_PART;
  }

  /** The host answers a request for a piece with something else. */
  refusedPiece(): void {
    this.#servesPieces = false;
  }

  /**
   * A connection brought a body whole.
   *
   * @param carriedBytes all that it ever brought
   */
  carried(bytes: number, carriedBytes: number): void {
    this.#isTried ||= carriedBytes >= UNTRIED_BYTES;
    if (this.#limitBytes === Number.POSITIVE_INFINITY) return;
    this.#calmBytes += bytes;
    if (this.#calmBytes < this.#calmLimits * this.#limitBytes) return;
    this.#provenBytes = this.#limitBytes;
    this.#calmBytes = 0;
    this.#limitBytes = Math.floor(this.#limitBytes * GROWTH);
    if (this.#limitBytes > NO_LIMIT_BYTES) this.#forget();
  }

  /**
   * A connection broke inside of a body.
   *
   * @param carriedBytes all that it ever brought
   * @param wantedBytes what that would have been with the rest of the body
   */
  broke(carriedBytes: number, wantedBytes: number): void {
    this.#calmBytes = 0;
    if (wantedBytes <= this.#provenBytes * TRIAL_PART || this.#provenBytes === 0) {
      this.#provenBytes = 0;
      const safeBytes = Math.floor(carriedBytes * SAFE_PART);
      this.#limitBytes = Math.max(PIECE_BYTES_MIN, Math.min(this.#limitBytes, safeBytes));
      return;
    }
    // What broke was asked for on trial, or before the limit was known: what was proven still holds.
    if (this.#limitBytes <= this.#provenBytes) return;
    this.#limitBytes = this.#provenBytes;
    this.#calmLimits = Math.min(CALM_LIMITS_MAX, this.#calmLimits * 2);
  }

  #forget(): void {
    this.#limitBytes = Number.POSITIVE_INFINITY;
    this.#provenBytes = 0;
    this.#calmLimits = CALM_LIMITS_FIRST;
  }
}
