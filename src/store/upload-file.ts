import type { Clock } from "#base";
import { createHasher, type Hasher } from "#content";
import { type Digest, type DigestAlgorithm, digestAlgorithm } from "#oci";
import type { Disk, DiskFile } from "./disk.ts";
import { Gatherer } from "./gatherer.ts";

/** So much at most is lost to a power cut, and what arrives in so long a time. */
const UNSYNCED_BYTES_MAX = 64 * 1024 * 1024;
const UNSYNCED_MS_MAX = 2000;

/** What is on the disk already is read back for the hash in pieces of this size. */
const READ_BYTES = 512 * 1024;

/** The sha256 of the bytes before `end`; most uploads want no other, so it is made in passing. */
export interface UploadHash {
  readonly hasher: Hasher;
  end: number;
}

/** What the file of an upload needs. */
export interface UploadFilePlace {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly path: string;
  /** How much of it counts: what lies beyond was never durable, or was never recorded to be. */
  readonly bytes: number;
  readonly hash: UploadHash;
  /** See {@link Gatherer}. */
  readonly gatheredBytesMin: number;
  /** Called each time that more is durable, with how much that is. */
  recordDurable(bytes: number): Promise<void>;
}

/** The file of an upload while somebody is at it. It rejects with the system's errors. */
export class UploadFile {
  readonly #place: UploadFilePlace;
  readonly #file: DiskFile;
  readonly #gatherer: Gatherer;
  #durableBytes: number;
  #isSynced: boolean;
  #syncedMs: number;

  private constructor(place: UploadFilePlace, file: DiskFile, isSynced: boolean) {
    const { bytes, gatheredBytesMin, clock } = place;
    this.#place = place;
    this.#file = file;
    this.#durableBytes = bytes;
    this.#isSynced = isSynced;
    this.#syncedMs = clock.monotonic();
    this.#gatherer = new Gatherer({
      offset: bytes,
      gatheredBytesMin,
      write: (piece, offset) => this.#write(piece, offset),
    });
  }

  /** Opens it as it counts: what lies beyond is cut off. */
  static async open(place: UploadFilePlace): Promise<UploadFile> {
    const { disk, path, bytes } = place;
    const size = await disk.sizeOf(path);
    const file =
      (size === undefined ? undefined : await disk.edit(path)) ?? (await disk.create(path));
    try {
      if ((size ?? 0) !== bytes) await file.truncate(bytes);
      return new UploadFile(place, file, size === bytes);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
  }

  /** Takes the bytes that come next; they may be reused once the promise has settled. */
  async take(bytes: Uint8Array): Promise<void> {
    await this.#gatherer.take(bytes);
    const unsyncedBytes = this.#gatherer.end - this.#durableBytes;
    const isLate = this.#place.clock.monotonic() - this.#syncedMs >= UNSYNCED_MS_MAX;
    if (isLate || unsyncedBytes >= UNSYNCED_BYTES_MAX) await this.sync();
  }

  /** Makes the file durable, with all that was taken and nothing else. */
  async sync(): Promise<void> {
    const { clock, recordDurable } = this.#place;
    const bytes = this.#gatherer.end;
    await this.#gatherer.flush();
    if (!this.#isSynced) await this.#file.sync();
    this.#isSynced = true;
    if (bytes > this.#durableBytes) await recordDurable(bytes);
    this.#durableBytes = bytes;
    this.#syncedMs = clock.monotonic();
  }

  /** The digest of what was durable when it was opened; asked for once, at the end of the upload. */
  async digest(expected: Digest): Promise<Digest> {
    const { hash, bytes } = this.#place;
    const algorithm = digestAlgorithm(expected);
    if (algorithm === "sha256" && hash.end === bytes) return hash.hasher.digest();
    return this.#readBack(algorithm, bytes);
  }

  async close(): Promise<void> {
    this.#gatherer.release();
    await this.#file.close();
  }

  async #write(piece: Uint8Array, offset: number): Promise<void> {
    const { hash } = this.#place;
    this.#isSynced = false;
    const writing = this.#file.write(piece, offset);
    // While the disk is at it, and the bytes are in the processor's cache.
    if (hash.end === offset) {
      hash.hasher.update(piece);
      hash.end += piece.byteLength;
    }
    await writing;
  }

  async #readBack(algorithm: DigestAlgorithm, bytes: number): Promise<Digest> {
    const hasher = createHasher(algorithm);
    const buffer = new Uint8Array(READ_BYTES);
    for (let offset = 0; offset < bytes; ) {
      const count = await this.#file.read(buffer.subarray(0, bytes - offset), offset);
      // A file that ends too soon has another digest: that is how it is told.
      if (count === 0) break;
      hasher.update(buffer.subarray(0, count));
      offset += count;
    }
    return hasher.digest();
  }
}
