import type { Ingest, Verifier } from "#content";
import { createVerifier } from "#content";
import type { Descriptor } from "#oci";
import type { DiskFile } from "./disk.ts";

/**
 * Bytes go to the disk in pieces of this size. Larger ones gain nothing on the machines measured, and
 * two of them for each ingest that runs is what a delivery holds in memory.
 */
const PIECE_BYTES = 1024 * 1024;

/** What an ingest needs from its store. */
export interface IngestTarget {
  readonly descriptor: Descriptor;
  readonly file: DiskFile;
  /** Makes the file, which is durable and closed, visible under its digest. */
  publish(): Promise<void>;
  /** Removes the file. Must not fail: what is left over is removed when the store is next opened. */
  discard(): Promise<void>;
  /** The failure that stands for an error of the disk. */
  failure(error: unknown, bytesWritten: number): Promise<unknown>;
}

/**
 * Content on its way to the disk. While one piece is being written, the next is received and hashed,
 * so that hashing and writing overlap.
 */
export class DiskIngest implements Ingest {
  readonly #target: IngestTarget;
  readonly #verifier: Verifier;
  readonly #pieceBytes: number;
  #filling: Uint8Array | undefined;
  #spare: Uint8Array | undefined;
  #filledBytes = 0;
  #offset = 0;
  /** The write that is under way. It stays rejected, so that no later step forgets the error. */
  #writing: Promise<void> = Promise.resolve();
  #isOpen = true;
  #isCommitted = false;

  constructor(target: IngestTarget) {
    this.#target = target;
    this.#verifier = createVerifier(target.descriptor);
    this.#pieceBytes = Math.min(PIECE_BYTES, target.descriptor.size);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#verifier.update(bytes);
    for (let taken = 0; taken < bytes.byteLength; ) {
      this.#filling ??= new Uint8Array(this.#pieceBytes);
      const part = bytes.subarray(taken, taken + this.#pieceBytes - this.#filledBytes);
      this.#filling.set(part, this.#filledBytes);
      this.#filledBytes += part.byteLength;
      taken += part.byteLength;
      if (this.#filledBytes === this.#pieceBytes) await this.#startWriting();
    }
  }

  async commit(): Promise<void> {
    this.#verifier.end();
    await this.#startWriting();
    await this.#settled(this.#writing);
    await this.#settled(this.#target.file.sync());
    await this.#settled(this.#close());
    await this.#settled(this.#target.publish());
    this.#isCommitted = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#close().catch(() => {});
    if (!this.#isCommitted) await this.#target.discard();
  }

  /** Waits for the piece before, and sets the filled one on its way. */
  async #startWriting(): Promise<void> {
    await this.#settled(this.#writing);
    const piece = this.#filling;
    if (piece === undefined || this.#filledBytes === 0) return;
    this.#writing = this.#target.file.write(piece.subarray(0, this.#filledBytes), this.#offset);
    // Whoever waits for it next throws; until then it must not count as unhandled.
    this.#writing.catch(() => {});
    this.#offset += this.#filledBytes;
    this.#filledBytes = 0;
    this.#filling = this.#spare;
    this.#spare = piece;
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#target.file.close();
  }

  async #settled(step: Promise<void>): Promise<void> {
    try {
      await step;
    } catch (error) {
      throw await this.#target.failure(error, this.#offset);
    }
  }
}
