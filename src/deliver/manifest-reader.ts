import { isFailure, type Limiter } from "#base";
import {
  type CallOptions,
  type Fetcher,
  fetchVerified,
  type GraphDocument,
  type Store,
  verifyContent,
} from "#content";
import { type Descriptor, type Digest, isIndexType, isManifestType } from "#oci";
import type { DeliveryContext } from "./context.ts";
import { readFromFolders } from "./folders.ts";
import { type Origin, withRetries } from "./retry.ts";

/**
 * The manifests of one image: each is read once, from the store when it is there, then from the
 * folders, else from its source.
 */
export interface ManifestReader {
  /** From now on a source that breaks off is waited for; before, that is left for when it matters. */
  isPatient: boolean;
  /**
   * The image as something to read its graph from.
   *
   * @param root what the image's name stands for: it is read as a manifest, whatever it calls itself
   * @param bringConfig puts a config into the store. It is a blob, and crosses the link once like all
   *   of them; without this, asking for one throws a {@link BlobRefused}.
   */
  fetcher(root: Descriptor, bringConfig?: (config: Descriptor) => Promise<unknown>): Fetcher;
  /**
   * Takes in a manifest that came along with what a name stands for, so that it is not asked for again.
   *
   * @throws {Failure} `content-too-long`, `content-too-short`, `digest-mismatch`
   */
  take(manifest: GraphDocument): void;
  /** Whether the store gave this manifest, whole. */
  isStored(manifest: Descriptor): boolean;
}

/** Thrown instead of asking for a blob of an image whose turn has not come (rule `provider-first`). */
export class BlobRefused extends Error {}

/** Reads the manifests of an image that has nothing read yet. */
export function createManifestReader(
  origin: Origin,
  requests: Limiter,
  context: DeliveryContext,
): ManifestReader {
  const { store, signal } = context;
  const read = new Map<Digest, { readonly bytes: Uint8Array; readonly isStored: boolean }>();

  async function readManifest(content: Descriptor, options: CallOptions): Promise<Uint8Array> {
    const known = read.get(content.digest);
    if (known !== undefined) return known.bytes;
    const stored = await readStored(store, content, options);
    const bytes =
      stored ??
      (await readFromFolders(content, origin.image, context)) ??
      (await askSource(content, options));
    read.set(content.digest, { bytes, isStored: stored !== undefined });
    return bytes;
  }

  async function askSource(content: Descriptor, options: CallOptions): Promise<Uint8Array> {
    const ask = (source: Fetcher) =>
      requests.run(signal, () => fetchVerified(source, content, options));
    return withRetries(ask, { origin, content, isPatient: reader.isPatient }, context);
  }

  const reader: ManifestReader = {
    isPatient: false,
    fetcher: (root, bringConfig) => ({
      async fetch(descriptor, options) {
        const { digest, mediaType } = descriptor;
        if (digest === root.digest || isManifestType(mediaType) || isIndexType(mediaType)) {
          return streamOf(await readManifest(descriptor, options));
        }
        if (bringConfig === undefined) throw new BlobRefused(digest);
        await bringConfig(descriptor);
        return store.fetch(descriptor, options);
      },
    }),
    take({ descriptor, bytes }) {
      verifyContent(descriptor, bytes);
      read.set(descriptor.digest, { bytes, isStored: false });
    },
    isStored: ({ digest }) => read.get(digest)?.isStored === true,
  };
  return reader;
}

/** From the store, or undefined: a manifest that went bad on disk is as good as none, and is fetched. */
async function readStored(
  store: Store,
  manifest: Descriptor,
  options: CallOptions,
): Promise<Uint8Array | undefined> {
  if (!(await store.has(manifest))) return undefined;
  try {
    return await fetchVerified(store, manifest, options);
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
