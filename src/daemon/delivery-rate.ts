/** Long enough that a rate can be read, short enough that a stall is seen. */
const WINDOW_MS = 10_000;

/** Closer together they say nothing more. */
const SAMPLE_MS = 250;

/** How fast bytes have come over the last ten seconds. Times are of a clock that never jumps. */
export class DeliveryRate {
  /** Oldest first. */
  readonly #samples: { readonly ms: number; readonly bytes: number }[] = [];
  #bytes = 0;

  /** Bytes arrived. */
  add(bytes: number, ms: number): void {
    if (this.#samples.length === 0) this.#samples.push({ ms, bytes: this.#bytes });
    this.#bytes += bytes;
    this.#sample(ms);
  }

  /** Bytes per second; null before anything can be told. */
  perSecond(ms: number): number | null {
    if (this.#samples.length > 0) this.#sample(ms);
    const oldest = this.#samples[0];
    if (oldest === undefined || ms - oldest.ms < SAMPLE_MS) return null;
    return Math.round(((this.#bytes - oldest.bytes) * 1_000) / (ms - oldest.ms));
  }

  #sample(ms: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && ms - last.ms < SAMPLE_MS) return;
    this.#samples.push({ ms, bytes: this.#bytes });
    // One from before the window stays, so that the window is always covered whole.
    while ((this.#samples[1]?.ms ?? ms) <= ms - WINDOW_MS) this.#samples.shift();
  }
}
