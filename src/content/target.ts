import type { Descriptor, Digest } from "#oci";
import type { CallOptions, Fetcher, Source } from "./ports.ts";

/** How a blob came to be in a repository, and what it cost. */
export interface PushedBlob {
  /**
   * - `present`: it was there
   * - `mounted`: the registry took it from another of its repositories
   * - `sent`: its bytes were sent, or those that were missing
   */
  readonly outcome: "present" | "mounted" | "sent";
  /** Bytes of it that were handed to the network, each time they were. */
  readonly bytesSent: number;
}

/** What a push of a blob needs beside the blob. */
export interface PushBlobOptions extends CallOptions {
  /** Repositories of the same registry that hold it, the likeliest first (C-101). None by default. */
  readonly mountFrom?: readonly string[];
  /**
   * Hears how many bytes more the other side has; fewer than none when it turns out that it lost some.
   * What it is told adds up to the size of the blob when its bytes were sent.
   */
  readonly onProgress?: (bytes: number) => void;
}

/** What a push of a manifest needs beside the manifest. */
export interface PushManifestOptions extends CallOptions {
  /** Under its digest only, without one. */
  readonly tag?: string;
}

/**
 * One repository of a registry as a place to put an image: blobs first, then manifests from the leaf to
 * the root, then the tag (C-100).
 *
 * Every call may be repeated: what is there already is found and not sent again. What is thrown names
 * the registry, what was to be pushed, and what to do.
 */
export interface Target extends Source {
  /** Its name within the registry, which {@link PushBlobOptions.mountFrom} of another one takes. */
  readonly repository: string;
  /** Whether the repository answers for the content: a manifest as a manifest, all else as a blob. */
  has(descriptor: Descriptor, options: CallOptions): Promise<boolean>;
  /**
   * Brings a blob into the repository: finds it there, mounts it, or sends it. An upload that was cut
   * goes on where the registry says it stopped, also one of a process that died; where a registry can't
   * say, it begins anew.
   *
   * @param content gives the blob's bytes, or any range of them
   * @throws {Failure} `push-denied`, `push-too-large`, `registry-full`, `registry-read-only`, … (see the
   *   implementation); transient ones only after all patience
   */
  pushBlob(blob: Descriptor, content: Fetcher, options: PushBlobOptions): Promise<PushedBlob>;
  /**
   * Puts a manifest or index, its bytes as they are, and makes sure that it is there under its digest.
   * Where it refers to a `subject` and the registry keeps no referrers, its fallback tag is kept (C-122).
   *
   * @throws {Failure} `manifest-blob-unknown` when the registry misses what it names (also an index
   *   with absent children, where the registry takes none); `tag-immutable`; as `pushBlob`
   */
  pushManifest(
    manifest: Descriptor,
    bytes: Uint8Array,
    options: PushManifestOptions,
  ): Promise<void>;
}

/** An upload to a registry that may be gone on with. */
export interface PushSession {
  /** Host of the registry's API, with port. */
  readonly registry: string;
  readonly repository: string;
  readonly digest: Digest;
  /** Where it goes on: the latest `Location`, absolute. It may hold a secret: it is printed nowhere. */
  readonly location: string;
  /** How many bytes the registry acknowledged. It is asked before anything is sent on. */
  readonly bytes: number;
  /** Milliseconds since 1970 of the last acknowledgement. */
  readonly atMs: number;
}

/** Remembers uploads beyond the death of the process (C-110). */
export interface PushSessions {
  find(registry: string, repository: string, digest: Digest): Promise<PushSession | undefined>;
  /** Keeps it instead of an earlier one of the same blob in the same repository. */
  keep(session: PushSession): Promise<void>;
  forget(registry: string, repository: string, digest: Digest): Promise<void>;
}
