import { habitOf, type PushHabit, QUIRKS, type Quirk } from "./quirks.ts";

const MIB = 1024 * 1024;

/**
 * What goes in one request at first. A cut costs no more than this; smaller would cost speed.
 *
 * 256 MiB to docker-registry 2.8 on loopback, two runs: one PUT 2.3 and 2.0 s; chunks of 128 MiB 2.0 and
 * 2.0 s, 32 MiB 2.1 and 1.9 s, 16 MiB 2.3 and 2.4 s, 8 MiB 2.3 and 2.2 s, 4 MiB 3.1 and 3.3 s.
 */
const FIRST_BYTES = 16 * MIB;

/** As long as nothing breaks, chunks grow to this: what they gain beyond is not to be measured. */
const MAX_BYTES = 64 * MIB;

/** Each chunk costs a request, and on most registries a file or object. */
const MIN_BYTES = 256 * 1024;

/** What the registry asks for as the least is believed up to here. */
const ASKED_MIN_BYTES_MAX = 64 * MIB;

/** What breaks does not break at the same byte each time. */
const SAFE_PART = 0.75;

/** After a cut larger chunks are tried when so many went through; each trial that fails doubles it. */
const CALM_CHUNKS_FIRST = 8;
const CALM_CHUNKS_MAX = 512;

/**
 * How blobs go to one host: whole or in chunks, and how large. It begins with what is known of such
 * registries (C-108) and learns what this one, and the link to it, bears (C-109).
 */
export class PushManner {
  readonly #host: string;
  readonly #quirks: readonly Quirk[];
  #habit: PushHabit;
  #chunkBytes = FIRST_BYTES;
  #chunkBytesMax = MAX_BYTES;
  #chunkBytesMin = 0;
  #wholeBytesMax = Number.POSITIVE_INFINITY;
  #refusesChunks = false;
  #saysTooLittle = false;
  #wasCut = false;
  /** What went through since the last cut, and how much of that makes a trial worth it. */
  #calmChunks = 0;
  #calmChunksMin = CALM_CHUNKS_FIRST;
  /** What went through well before the trial that is on; 0 without one. */
  #provenBytes = 0;

  /** @param quirks looked at before those that are known */
  constructor(host: string, quirks: readonly Quirk[] = []) {
    this.#host = host;
    this.#quirks = [...quirks, ...QUIRKS];
    this.#habit = habitOf(host, undefined, this.#quirks);
  }

  /**
   * Learns who it is, and what it wants, from an answer that opens an upload (C-107).
   *
   * Where chunks were cut, larger ones are tried only now: there are registries that drop an upload whose
   * chunk is cut, and at its beginning nothing is lost by that.
   */
  met(headers: Headers): void {
    if (this.#wasCut && this.#calmChunks >= this.#calmChunksMin) {
      this.#calmChunks = 0;
      this.#provenBytes = this.#chunkBytes;
      this.#grow();
    }
    this.#habit = habitOf(this.#host, headers, this.#quirks);
    const asked = Number(headers.get("oci-chunk-min-length") ?? "");
    if (Number.isSafeInteger(asked) && asked > 0) {
      this.#chunkBytesMin = Math.min(asked, ASKED_MIN_BYTES_MAX);
    }
  }

  /** How large the next chunk of an upload may be. */
  get chunkBytes(): number {
    const max = Math.min(this.#chunkBytesMax, this.#habit.chunkBytesMax ?? MAX_BYTES);
    const min = Math.max(this.#chunkBytesMin, this.#habit.chunkBytesMin ?? 0);
    return Math.max(min, Math.min(max, this.#chunkBytes));
  }

  /** Whether a blob goes in one PUT, and not in chunks. */
  goesWhole(sizeBytes: number): boolean {
    if (this.#refusesChunks) return true;
    const { takes, wholeBytesMax = Number.POSITIVE_INFINITY } = this.#habit;
    if (sizeBytes > Math.min(wholeBytesMax, this.#wholeBytesMax)) return false;
    return takes === "whole" || sizeBytes <= this.chunkBytes;
  }

  /** See {@link PushHabit.endsWithLastChunk}. */
  get endsWithLastChunk(): boolean {
    return this.#habit.endsWithLastChunk === true;
  }

  /** See {@link PushHabit.saysTooLittle}. */
  get saysTooLittle(): boolean {
    return this.#saysTooLittle || this.#habit.saysTooLittle === true;
  }

  /** Whether requests go over connections of their own, because those to this host break. */
  get isFragile(): boolean {
    return this.#wasCut;
  }

  /** So much went through in one request. */
  wentThrough(bytes: number): void {
    if (bytes < this.chunkBytes) return;
    if (this.#wasCut) this.#calmChunks += 1;
    else this.#grow();
  }

  #grow(): void {
    this.#chunkBytes = Math.min(MAX_BYTES, this.#chunkBytes * 2);
  }

  /**
   * The connection broke after so many bytes of one request.
   *
   * @returns whether chunks are smaller from now on, so that the next attempt is another one
   */
  wasCut(sentBytes: number): boolean {
    const before = this.chunkBytes;
    this.#wasCut = true;
    this.#calmChunks = 0;
    if (this.#provenBytes > 0) {
      this.#chunkBytes = this.#provenBytes;
      this.#provenBytes = 0;
      this.#calmChunksMin = Math.min(CALM_CHUNKS_MAX, this.#calmChunksMin * 2);
    } else {
      const safeBytes = Math.floor(Math.min(this.#chunkBytes / 2, sentBytes * SAFE_PART));
      this.#chunkBytes = Math.max(MIN_BYTES, safeBytes);
    }
    return this.chunkBytes < before;
  }

  /** The registry refused a chunk as too large; false when there is nothing smaller to try. */
  refusedChunkSize(bytes: number): boolean {
    if (bytes <= MIN_BYTES || bytes <= this.#chunkBytesMin) return false;
    this.#chunkBytesMax = Math.max(MIN_BYTES, Math.floor(bytes / 2));
    return true;
  }

  /** The registry takes no chunks. */
  refusedChunks(): void {
    this.#refusesChunks = true;
  }

  /** The registry does not take a blob of that size in one request; false when it takes no chunks. */
  refusedWhole(sizeBytes: number): boolean {
    if (this.#refusesChunks) return false;
    this.#wholeBytesMax = Math.min(this.#wholeBytesMax, sizeBytes - 1);
    this.#chunkBytesMax = Math.min(
      this.#chunkBytesMax,
      Math.max(MIN_BYTES, Math.floor(sizeBytes / 2)),
    );
    return true;
  }

  /** What it said of how far an upload is was less than what it has. */
  saidTooLittle(): void {
    this.#saysTooLittle = true;
  }
}
