/** A link that carries less than this in a window carries nothing: at 30 s, 34 bytes a second. */
const WINDOW_BYTES_MIN = 1024;

/**
 * Tells a stalled transfer from a slow one: by how few bytes came in a window of waiting, so that a
 * byte a minute is a stall and two thousand a second are none. Only time spent waiting for the other
 * side counts; how long we ourselves took or held back in between does not, nor does the whole (C-54).
 */
export class StallWindow {
  readonly #windowMs: number;
  #waitedMs = 0;
  #bytes = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** How much waiting is left until the window is judged, in milliseconds. */
  get leftMs(): number {
    return this.#windowMs - this.#waitedMs;
  }

  /** Counts a wait and what came of it; true when that ends a window in which too little came. */
  isStalledAfter(waitedMs: number, bytes: number): boolean {
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    if (this.leftMs > 0) return false;
    const isStalled = this.#bytes < WINDOW_BYTES_MIN;
    this.#waitedMs = 0;
    this.#bytes = 0;
    return isStalled;
  }
}
