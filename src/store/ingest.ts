import { assert, type Clock } from "#base";
import {
  type ByteRange,
  bytesIn,
  contentTooLong,
  contentTooShort,
  gapsIn,
  type Ingest,
  type Verifier,
  withRange,
} from "#content";
import type { Descriptor } from "#oci";
import { Gatherer } from "./gatherer.ts";
import type { PartialFile } from "./partial-file.ts";

/**
 * Bytes are gathered until there are so many, and go to the disk with what came along: twice as many
 * mostly, for a socket gives up to half a MiB at a time. Half of that costs a tenth more time in all
 * (measured); more would be lost when the process dies. That is what is gathered and what was just
 * handed over, 1 MiB at most: the ranges of a blob share it, and those beside the first have little.
 */
const GATHERED_BYTES_MIN = 512 * 1024;
const GATHERED_BESIDE_BYTES_MIN = 64 * 1024;

/** What was written earlier is read back for the hash in pieces of this size. */
const READ_BYTES = 512 * 1024;

/** So much at most is lost to a power cut, and what arrives in so long a time. */
const UNSYNCED_BYTES_MAX = 64 * 1024 * 1024;
const UNSYNCED_MS_MAX = 2000;

/** How far the hash of content has come: it has seen the bytes before `end`, in order. */
export interface HashedPrefix {
  readonly verifier: Verifier;
  end: number;
}

/** What an ingest needs from its store. */
export interface IngestTarget {
  readonly descriptor: Descriptor;
  readonly clock: Clock;
  readonly partial: PartialFile;
  /** Covers bytes of the partial file only. */
  readonly prefix: HashedPrefix;
  /** Makes the file, which is durable and closed, visible under its digest. */
  publish(): Promise<void>;
  /** Called once at the end; with the prefix when the partial file is kept. */
  release(prefix?: HashedPrefix): void;
  /** The failure that stands for an error of the disk. */
  failure(error: unknown): Promise<unknown>;
}

/** A range that is being written. */
interface Lane {
  readonly gatherer: Gatherer;
  writtenMs: number;
  /** Its gatherer has something to take or to write. */
  isBusy: boolean;
}

/**
 * Content on its way to the disk, in one range or several. It is hashed in order: in passing, where
 * the bytes come in order, and else read back from the disk once all before them is hashed.
 */
export class DiskIngest implements Ingest {
  readonly #target: IngestTarget;
  readonly #lanes = new Set<Lane>();
  readonly #active = new Set<Promise<void>>();
  /** What was taken in, written or not. */
  #claimed: readonly ByteRange[];
  #hashing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #syncedMs: number;
  /** The first error of what runs beside the writes. */
  #broken: { readonly error: unknown } | undefined;
  #state: "open" | "committing" | "leaving" | "ended" = "open";

  constructor(target: IngestTarget) {
    this.#target = target;
    this.#claimed = target.partial.written;
    this.#syncedMs = target.clock.monotonic();
    this.#startHashing();
  }

  get missing(): readonly ByteRange[] {
    return gapsIn(this.#claimed, { start: 0, end: this.#target.descriptor.size });
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    const { descriptor } = this.#target;
    const range = { start: offset, end: offset + bytes.byteLength };
    if (range.end > descriptor.size) throw contentTooLong(descriptor);
    assert(this.#state === "open", "an ingest that is committed or disposed of takes no more");
    // Nothing is written twice: the hash may have seen it.
    const fresh = gapsIn(this.#claimed, range);
    this.#claimed = withRange(this.#claimed, range);
    const taking = this.#settled(this.#takeAll(bytes, offset, fresh));
    this.#active.add(taking);
    try {
      await taking;
    } finally {
      this.#active.delete(taking);
    }
  }

  async commit(): Promise<void> {
    const { descriptor, partial, prefix } = this.#target;
    const bytesMissing = bytesIn(this.missing);
    if (bytesMissing > 0) throw contentTooShort(descriptor, descriptor.size - bytesMissing);
    this.#state = "committing";
    await this.#settled(this.#drain());
    // The disk takes its time while the rest is hashed. Nothing is visible before both are done.
    await this.#settled(Promise.all([partial.syncData(), this.#hashed()]));
    try {
      prefix.verifier.end();
    } catch (error) {
      this.#state = "ended";
      await partial.discard();
      this.#target.release();
      throw error;
    }
    await this.#settled(partial.close().then(() => this.#target.publish()));
    this.#state = "ended";
    await partial.release();
    this.#target.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "ended" || this.#state === "leaving") return;
    this.#state = "leaving";
    const { partial, prefix } = this.#target;
    await this.#drain().catch(() => {});
    await this.#hashed().catch(() => {});
    await partial.keep();
    this.#target.release(prefix);
  }

  async #takeAll(bytes: Uint8Array, offset: number, fresh: readonly ByteRange[]): Promise<void> {
    this.#throwIfBroken();
    for (const { start, end } of fresh) {
      await this.#take(bytes.subarray(start - offset, end - offset), start);
    }
  }

  async #take(bytes: Uint8Array, offset: number): Promise<void> {
    const lane = this.#laneAt(offset);
    const { gatherer } = lane;
    lane.isBusy = true;
    try {
      await gatherer.take(bytes);
      const isAtEnd = !this.missing.some(({ start }) => start === gatherer.end);
      const isLate = this.#target.clock.monotonic() - lane.writtenMs >= UNSYNCED_MS_MAX;
      if (isAtEnd || isLate) await gatherer.flush();
      if (isAtEnd) this.#leave(lane);
    } finally {
      lane.isBusy = false;
    }
    this.#startSync();
  }

  #laneAt(offset: number): Lane {
    // One that is at work takes nothing: another connection may bring what follows before it is written.
    for (const lane of this.#lanes) if (!lane.isBusy && lane.gatherer.end === offset) return lane;
    const { clock, descriptor } = this.#target;
    const isFirst = this.#lanes.size === 0;
    const gatherer = new Gatherer({
      offset,
      gatheredBytesMin: isFirst ? GATHERED_BYTES_MIN : GATHERED_BESIDE_BYTES_MIN,
      enoughBytes: () => GATHERED_BYTES_MIN / this.#lanes.size,
      bytesMax: descriptor.size,
      write: async (piece, start) => {
        await this.#writePiece(piece, start);
        lane.writtenMs = clock.monotonic();
      },
    });
    const lane: Lane = { gatherer, writtenMs: clock.monotonic(), isBusy: false };
    this.#lanes.add(lane);
    return lane;
  }

  #leave(lane: Lane): void {
    this.#lanes.delete(lane);
    lane.gatherer.release();
  }

  async #writePiece(piece: Uint8Array, offset: number): Promise<void> {
    const { partial, prefix } = this.#target;
    try {
      const written = partial.write(piece, offset);
      // While the disk is at it, and the bytes are in the processor's cache.
      if (this.#hashing === undefined && offset === prefix.end) {
        prefix.verifier.update(piece);
        prefix.end += piece.byteLength;
      }
      await written;
    } catch (error) {
      this.#broken ??= { error };
      throw error;
    }
    this.#startHashing();
    this.#startSync();
  }

  /** Reads back what lies at the end of the hashed prefix, when it came in before its turn. */
  #startHashing(): void {
    const isStopped = this.#broken !== undefined || this.#state === "leaving";
    if (isStopped || this.#hashing !== undefined || this.#isHashed()) return;
    this.#hashing = this.#hashOn();
  }

  /** Waits until all that is written is hashed, or hashing is given up. */
  async #hashed(): Promise<void> {
    while (this.#hashing !== undefined) await this.#hashing;
    this.#throwIfBroken();
  }

  #isHashed(): boolean {
    return this.#endOfWritten() <= this.#target.prefix.end;
  }

  /** Where the written range ends in which the hashed prefix does. */
  #endOfWritten(): number {
    const { partial, prefix } = this.#target;
    const range = partial.written.find(({ start, end }) => start <= prefix.end && prefix.end < end);
    return range?.end ?? prefix.end;
  }

  async #hashOn(): Promise<void> {
    const { partial, prefix, descriptor } = this.#target;
    const buffer = new Uint8Array(READ_BYTES);
    try {
      while (!this.#isHashed() && this.#state !== "leaving") {
        const end = Math.min(this.#endOfWritten(), prefix.end + READ_BYTES);
        const count = await partial.read(buffer.subarray(0, end - prefix.end), prefix.end);
        if (count === 0) throw contentTooShort(descriptor, prefix.end);
        prefix.verifier.update(buffer.subarray(0, count));
        prefix.end += count;
      }
    } catch (error) {
      this.#broken ??= { error };
    } finally {
      // In one step with the last look, so that what is written next begins it again.
      this.#hashing = undefined;
    }
  }

  #startSync(): void {
    const { partial, clock } = this.#target;
    const { unsyncedBytes } = partial;
    const isDue =
      unsyncedBytes >= UNSYNCED_BYTES_MAX ||
      (unsyncedBytes > 0 && clock.monotonic() - this.#syncedMs >= UNSYNCED_MS_MAX);
    if (!isDue || this.#syncing !== undefined) return;
    this.#syncing = partial
      .sync()
      .catch((error: unknown) => {
        this.#broken ??= { error };
      })
      .finally(() => {
        this.#syncing = undefined;
        this.#syncedMs = clock.monotonic();
      });
  }

  /** Waits until all that was taken in is written. */
  async #drain(): Promise<void> {
    await Promise.allSettled(this.#active);
    for (const lane of this.#lanes) {
      if (this.#broken !== undefined) break;
      await lane.gatherer.flush().catch(() => "kept in #broken");
    }
    await this.#syncing;
    this.#throwIfBroken();
  }

  #throwIfBroken(): void {
    if (this.#broken !== undefined) throw this.#broken.error;
  }

  async #settled<T>(step: Promise<T>): Promise<T> {
    try {
      return await step;
    } catch (error) {
      throw await this.#target.failure(error);
    }
  }
}
