import { type Failure, isFailure, SingleFlight } from "#base";
import type { Fetcher, PushedBlob, Target } from "#content";
import type { Descriptor, Digest } from "#oci";
import { createPlaces } from "./places.ts";

/**
 * Blobs on their way at once. 20 images of 6 layers of 16 MB to a docker-registry on the same two cores
 * (`bun tools/bench/upload.ts`): 6.6 s with 2 places, 4.7 s with 4 or 6, 5.0 s with 12.
 */
const PLACES = 6;

/** So many of the places are left to small blobs, so that no config waits behind a layer of gigabytes. */
const PLACES_FOR_SMALL = 2;

const SMALL_BYTES_MAX = 1024 * 1024;

/** Candidates for one mount: a registry asks each of them until one holds the blob. */
const MOUNT_FROM_MAX = 3;

/** What one push of a blob needs. */
export interface BlobPushOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number) => void;
}

/** Pushes of blobs to one registry, which know of each other: each blob is sent once. */
export interface BlobPushes {
  /**
   * Resolves when the repository holds the blob: it was there, was mounted from another repository, or
   * its bytes were sent. While its bytes are on their way to one repository, the others wait, to mount
   * it from there. What the registry had no room for is not sent again for the next image.
   *
   * @throws {Failure} what the target throws
   */
  push(blob: Descriptor, target: Target, options: BlobPushOptions): Promise<PushedBlob>;
  /** The repository is known to hold these. */
  note(blobs: readonly Descriptor[], target: Target): void;
  /** The repository turned out not to hold these. */
  forget(blobs: readonly Descriptor[], target: Target): void;
}

/** Pushes to a registry of which nothing is known yet. */
export function createBlobPushes(content: Fetcher): BlobPushes {
  const places = createPlaces(PLACES, PLACES_FOR_SMALL);
  const holders = new Map<Digest, Set<string>>();
  const sending = new Map<Digest, Promise<unknown>>();
  const unfit = new Map<Digest, Failure>();
  const flights = new SingleFlight<PushedBlob>();
  const holdersOf = (digest: Digest) => {
    const known = holders.get(digest) ?? new Set<string>();
    holders.set(digest, known);
    return known;
  };

  async function pushInto(
    blob: Descriptor,
    target: Target,
    options: BlobPushOptions,
  ): Promise<PushedBlob> {
    const known = holdersOf(blob.digest);
    // When the one that sends it fails, the first that waited is the next to try.
    for (;;) {
      const ahead = sending.get(blob.digest);
      if (known.size > 0 || ahead === undefined) break;
      await ahead.catch(() => undefined);
    }
    options.signal.throwIfAborted();
    const refusal = unfit.get(blob.digest);
    if (refusal !== undefined) throw refusal;
    const mountFrom = [...known].slice(0, MOUNT_FROM_MAX);
    // What is mounted, most likely, costs a request and no bytes.
    const isSmall = blob.size <= SMALL_BYTES_MAX || mountFrom.length > 0;
    const pushing = places.run(isSmall ? "small" : "large", options.signal, () =>
      target.pushBlob(blob, content, { ...options, mountFrom }),
    );
    const isFirst = mountFrom.length === 0;
    if (isFirst) sending.set(blob.digest, pushing);
    try {
      const pushed = await pushing;
      known.add(target.repository);
      return pushed;
    } catch (error) {
      if (isFailure(error, "registry-full")) unfit.set(blob.digest, error);
      throw error;
    } finally {
      if (isFirst) sending.delete(blob.digest);
    }
  }

  return {
    async push(blob, target, options) {
      if (holdersOf(blob.digest).has(target.repository)) return THERE;
      let isOurs = false;
      const pushed = await flights.run(`${target.repository} ${blob.digest}`, () => {
        isOurs = true;
        return pushInto(blob, target, options);
      });
      return isOurs ? pushed : THERE;
    },
    note(blobs, { repository }) {
      for (const { digest } of blobs) holdersOf(digest).add(repository);
    },
    forget(blobs, { repository }) {
      for (const { digest } of blobs) holders.get(digest)?.delete(repository);
    },
  };
}

const THERE: PushedBlob = { outcome: "present", bytesSent: 0 };
