import type { Descriptor, Digest } from "#oci";

/** Every call that may take time can be given up. */
export interface CallOptions {
  readonly signal: AbortSignal;
}

/** How much an answer is worth. */
export interface ResolveOptions extends CallOptions {
  /**
   * `brief`: one attempt, because the caller has a last verified answer to stand on; a site whose
   * uplink is down must not wait for it image by image. `full`, the default: all the patience there is.
   */
  readonly patience?: "full" | "brief";
}

/** Turns a tag or digest into the descriptor of a manifest or index. */
export interface Resolver {
  /** @throws {Failure} `content-missing` when there is no such tag or digest */
  resolve(tagOrDigest: string, options: ResolveOptions): Promise<Descriptor>;
}

/** A manifest or index as its publisher wrote it. */
export interface GraphDocument {
  readonly descriptor: Descriptor;
  /** The exact bytes: what is stored and passed on, never written anew (C-63). */
  readonly bytes: Uint8Array;
}

/** Bytes of content, from `start` on and before `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What of the content is wanted. */
export interface FetchOptions extends CallOptions {
  /** All of it by default. */
  readonly range?: ByteRange;
}

/**
 * Gives content by its descriptor: manifests, configs, layers alike.
 *
 * What comes may be wrong: the bytes are the other side's word until a {@link Store} or
 * `fetchVerified` has compared size and digest.
 */
export interface Fetcher {
  /**
   * Opens the content, or a range of it: the stream holds exactly the bytes that were asked for. Its
   * chunks belong to the reader, memory and all: nobody else reads, writes or keeps them.
   * Cancelling it, or aborting the signal at any time until its end, releases what it holds.
   *
   * @throws {Failure} `content-missing` when it is not there; `range-ignored` when a range that ends
   *   before the content does was asked for and the other side sends only the whole. A range up to the
   *   end is always served, by reading past what is not wanted if need be (C-84).
   */
  fetch(descriptor: Descriptor, options: FetchOptions): Promise<ReadableStream<Uint8Array>>;
}

/**
 * Connections that bring more than this each, in bytes per millisecond, have no need of another: what
 * limits is the line, or one of the machines. 8 MB/s is what TCP makes of 100 ms and a loss of 0.0005 %;
 * a loss of 1 % leaves 160 of 2500 (measured).
 */
export const SLOW_BYTES_PER_MS = 8_000;

/** One repository of a registry: where an image comes from. */
export interface Source extends Resolver, Fetcher {
  /** The host that answers, with port, where that is not the registry of the image's name. */
  readonly host?: string | undefined;
  /**
   * How many more contents, or ranges of one, would begin to come from there at once, because nobody
   * else waits for the place. Undefined where nothing is known of it.
   */
  readonly spareTransfers?: number | undefined;
  /**
   * What a tag or digest stands for, with its bytes: for who does not have them, and would ask for them
   * as soon as `resolve` had answered. Over a link it is one round trip in place of two. The bytes are the
   * other side's word, as with `fetch`.
   *
   * @throws {Failure} `content-missing` when there is no such tag or digest; `digest-mismatch` when the
   *   bytes are not what the other side says they are
   */
  fetchManifest(tagOrDigest: string, options: ResolveOptions): Promise<GraphDocument>;
  /**
   * The manifests of the repository that refer to this one: signatures, bills of materials. From the
   * registry's own list, else from the fallback tag (C-120, C-121); empty when there are none. A source
   * that can't have any leaves the method out.
   */
  referrers?(subject: Digest, options: ResolveOptions): Promise<readonly Descriptor[]>;
}

/**
 * Content on its way into a store. Nothing of it is visible before `commit`.
 *
 * It must be disposed of (`await using`). What was not committed is kept for the next ingest of the
 * same content, also of another process, also after the death of the machine: then what was fsynced.
 */
export interface Ingest extends AsyncDisposable {
  /** What is still to come, in ascending order, as of now; empty when everything is here. */
  readonly missing: readonly ByteRange[];
  /**
   * Takes in bytes where they belong. They must lie at the start of a missing range, or follow a
   * write of this ingest; several ranges may be written at the same time. The array may be reused
   * once the promise has settled.
   *
   * @throws {Failure} `content-too-long` for bytes beyond the size of the descriptor; `store-full`,
   *   `store-broken` when the disk refuses
   */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /**
   * Makes the content durable, then visible, in this order: compare size and digest, fsync the file,
   * rename it into place, fsync the folder.
   *
   * @throws {Failure} `content-too-short` when something is missing; `digest-mismatch`, after which
   *   nothing of it is kept; `store-full`, `store-broken`. Nothing is visible then
   */
  commit(): Promise<void>;
}

/** A name and what it stands for. */
export interface NamedContent {
  /** The reference as declared and normalised; for content that was pushed, `repository:tag`. */
  readonly name: string;
  readonly descriptor: Descriptor;
}

/**
 * A content-addressed store. What it shows was verified when it came in: nothing else is ever
 * visible, not after a crash and not for a moment.
 */
export interface Store extends Fetcher {
  /** Whether the content is there, whole. It looks at the disk and not at a memory of it (S-65). */
  has(descriptor: Descriptor): Promise<boolean>;
  /**
   * Like `has`, and what is there stays for a while, as if it had been committed now: for whoever is
   * about to name it, or has said that it need not come again (S-82). After `false` it must come again.
   */
  lease(descriptor: Descriptor): Promise<boolean>;
  /**
   * How many bytes of the content need not be fetched: all of them when it is there, else those with
   * which an ingest would begin now.
   */
  bytesHere(descriptor: Descriptor): Promise<number>;
  /**
   * Begins to take in content, or goes on where an earlier ingest of it ended. Two ingests of the same
   * content may run; the result is one copy, and the second goes on from nothing.
   */
  ingest(descriptor: Descriptor): Promise<Ingest>;
  /**
   * Gives content a name, or moves the name to it, durably. The content itself must be there; an
   * index may name children that are not.
   *
   * @throws {Failure} `content-missing` when the content itself is not in the store
   */
  name(name: string, descriptor: Descriptor): Promise<void>;
  /** What a name stands for, or undefined. */
  lookup(name: string): Promise<Descriptor | undefined>;
  /** All names, in the order of their code units. */
  names(): Promise<readonly NamedContent[]>;
}
