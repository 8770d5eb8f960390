import { archiveBroken } from "./failure.ts";

const NOTHING = new Uint8Array(0);

/**
 * Reads a stream in pieces of the sizes that a format asks for. What lies in one chunk is not copied:
 * what is given is a view, good until the next call.
 */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  #offset = 0;
  #isDone = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** How many bytes were given or skipped. */
  get offset(): number {
    return this.#offset;
  }

  /** Exactly so many bytes at once when they are here already: no promise for what needs no waiting. */
  tryRead(count: number): Uint8Array | undefined {
    return this.#chunk.byteLength - this.#at < count ? undefined : this.#take(count);
  }

  /**
   * Exactly so many bytes, or undefined when the stream ended before the first of them.
   *
   * @throws {Failure} `archive-broken` when it ends among them
   */
  async read(count: number, what: string): Promise<Uint8Array | undefined> {
    const here = this.tryRead(count);
    if (here !== undefined) return here;
    const bytes = new Uint8Array(count);
    for (let filled = 0; filled < count; ) {
      const part = await this.#some(count - filled);
      if (part === undefined && filled === 0) return undefined;
      if (part === undefined) throw this.#truncated(what, count - filled);
      bytes.set(part, filled);
      filled += part.byteLength;
    }
    return bytes;
  }

  /** @throws {Failure} `archive-broken` when the stream ends before so many bytes */
  async require(count: number, what: string): Promise<Uint8Array> {
    const bytes = this.tryRead(count) ?? (await this.read(count, what));
    if (bytes === undefined) throw this.#truncated(what, count);
    return bytes;
  }

  /** At least one byte and at most so many. @throws {Failure} `archive-broken` at the end */
  async requireSome(countMax: number, what: string): Promise<Uint8Array> {
    const bytes = await this.#some(countMax);
    if (bytes === undefined) throw this.#truncated(what, countMax);
    return bytes;
  }

  /** @throws {Failure} `archive-broken` when the stream ends before so many bytes */
  async skip(count: number, what: string): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.requireSome(left, what)).byteLength;
  }

  /** Reads to the end, whatever is there. */
  async drain(): Promise<void> {
    while ((await this.#some(Number.MAX_SAFE_INTEGER)) !== undefined);
  }

  /** Gives the stream up. */
  async close(): Promise<void> {
    this.#chunk = NOTHING;
    this.#at = 0;
    if (!this.#isDone) await this.#chunks.return?.();
    this.#isDone = true;
  }

  #take(count: number): Uint8Array {
    const bytes = this.#chunk.subarray(this.#at, this.#at + count);
    this.#at += bytes.byteLength;
    this.#offset += bytes.byteLength;
    return bytes;
  }

  async #some(countMax: number): Promise<Uint8Array | undefined> {
    while (this.#at === this.#chunk.byteLength) {
      if (this.#isDone) return undefined;
      const next = await this.#chunks.next();
      this.#isDone = next.done === true;
      this.#chunk = next.done === true ? NOTHING : next.value;
      this.#at = 0;
    }
    return this.#take(countMax);
  }

  #truncated(what: string, missing: number): Error {
    return archiveBroken(
      `it ends in the middle of ${what}, expected ${missing} more bytes`,
      this.#offset,
    );
  }
}
