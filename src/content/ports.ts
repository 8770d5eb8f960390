import type { Descriptor } from "#oci";

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

/**
 * Gives content by its descriptor: manifests, configs, layers alike.
 *
 * What comes may be wrong: the bytes are the other side's word until a {@link Store} or
 * `fetchVerified` has compared size and digest.
 */
export interface Fetcher {
  /**
   * Opens the content from its first byte. Cancelling the stream, or aborting the signal at any time
   * until its end, releases what it holds.
   *
   * @throws {Failure} `content-missing` when it is not there
   */
  fetch(descriptor: Descriptor, options: CallOptions): Promise<ReadableStream<Uint8Array>>;
}

/** One repository of a registry: where an image comes from. */
export interface Source extends Resolver, Fetcher {}

/**
 * Content on its way into a store. Bytes are hashed as they come and visible to nobody.
 *
 * It must be disposed of (`await using`): what was not committed is dropped then.
 */
export interface Ingest extends AsyncDisposable {
  /**
   * Appends bytes; the array may be reused once the promise has settled.
   *
   * @throws {Failure} `content-too-long` as soon as there are more bytes than the descriptor says;
   *   `store-full`, `store-broken` when the disk refuses
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Makes the content durable, then visible, in this order: compare size and digest, fsync the file,
   * rename it into place, fsync the folder.
   *
   * @throws {Failure} `content-too-short`, `digest-mismatch`, `store-full`, `store-broken`; nothing
   *   is visible then
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
  /** Begins to take in content. Two ingests of the same content may run; the result is one copy. */
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
