import { releaseChunk } from "#content";
import { BLOCK_BYTES } from "./system-file.ts";

/** How one range is written. */
export interface GathererOptions {
  /** Where the first byte belongs. */
  readonly offset: number;
  /** So many bytes are worth a write; twice as many are gathered at most. */
  readonly gatheredBytesMin: number;
  /** So many are enough now, where that is fewer: others gather as well. */
  readonly enoughBytes?: () => number;
  /** How many can come, where that is known: it bounds the memory. */
  readonly bytesMax?: number;
  /** Writes a piece, which is not touched until the promise has settled. */
  write(piece: Uint8Array, offset: number): Promise<void>;
}

/**
 * Gathers bytes that come in order until there are so many that the disk is worth asking, and hands
 * them on in whole blocks: the disk then takes them past the page cache.
 */
export class Gatherer {
  readonly #options: GathererOptions;
  /** What is gathered: the content's bytes from `start` on and before `end`. */
  #start: number;
  #end: number;
  /** Holds the content from `bufferStart` on, a multiple of the block size: so blocks are blocks in memory too. */
  #buffer: Uint8Array | undefined;
  #bufferStart: number;

  constructor(options: GathererOptions) {
    const { offset } = options;
    this.#options = options;
    this.#start = offset;
    this.#end = offset;
    this.#bufferStart = blockStart(offset);
  }

  /** Where the next byte belongs. */
  get end(): number {
    return this.#end;
  }

  /** Takes the bytes that come next; they may be reused once the promise has settled. */
  async take(bytes: Uint8Array): Promise<void> {
    this.#buffer ??= this.#createBuffer();
    const buffer = this.#buffer;
    for (let rest = bytes; rest.byteLength > 0; ) {
      const at = this.#end - this.#bufferStart;
      const part = rest.subarray(0, buffer.byteLength - at);
      buffer.set(part, at);
      this.#end += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (this.#end - this.#start >= this.#enoughBytes()) await this.#write(blockStart(this.#end));
    }
  }

  #enoughBytes(): number {
    const { gatheredBytesMin, enoughBytes } = this.#options;
    const bytes = enoughBytes?.() ?? gatheredBytesMin;
    // Less than a block would never go to the disk.
    return Math.min(gatheredBytesMin, Math.max(bytes, 2 * BLOCK_BYTES));
  }

  /** Writes all that is gathered. */
  flush(): Promise<void> {
    return this.#write(this.#end);
  }

  /** Gives the memory back. Nothing can be taken afterwards. */
  release(): void {
    if (this.#buffer !== undefined) releaseChunk(this.#buffer);
  }

  /** Not before the first byte: many a request ends an upload, and brings none. */
  #createBuffer(): Uint8Array {
    const { gatheredBytesMin, bytesMax = Number.POSITIVE_INFINITY } = this.#options;
    return new Uint8Array(Math.min(2 * gatheredBytesMin, bytesMax) + BLOCK_BYTES);
  }

  /** Writes what is gathered before `end`, and moves the rest to the front. */
  async #write(end: number): Promise<void> {
    const buffer = this.#buffer;
    const bufferStart = this.#bufferStart;
    if (buffer === undefined || end <= this.#start) return;
    const piece = buffer.subarray(this.#start - bufferStart, end - bufferStart);
    await this.#options.write(piece, this.#start);
    this.#start = end;
    this.#bufferStart = blockStart(end);
    buffer.copyWithin(0, this.#bufferStart - bufferStart, this.#end - bufferStart);
  }
}

function blockStart(offset: number): number {
  return offset - (offset % BLOCK_BYTES);
}
