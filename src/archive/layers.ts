import { Failure, isFailure } from "#base";
import {
  type CallOptions,
  createHasher,
  type Fetcher,
  fetchVerified,
  type ImageGraph,
  releaseChunk,
} from "#content";
import { type Descriptor, type Digest, diffIdsOf, digestAlgorithm, parseDocument } from "#oci";
import { DEFAULT_LIMITS, decompress, type UnpackLimits } from "./compression.ts";
import { NODES_MAX, RootTree } from "./root-tree.ts";
import { readTar, type TarEntry } from "./tar.ts";

/** A layer of an image: what is stored, and what it must be once it is unpacked. */
export interface ImageLayer {
  readonly descriptor: Descriptor;
  /** The digest of the tar archive (OCI image spec, "Layer DiffID"). */
  readonly diffId: Digest;
}

/** How layers are read. */
export interface LayerOptions extends CallOptions {
  /** Of one layer. */
  readonly limits?: UnpackLimits;
  /** Names that the image may have. */
  readonly nodesMax?: number;
}

/**
 * The layers of an image from the bottom one up, each with the digest that its config promises.
 *
 * @throws {Failure} `image-no-root` for what is no image of a root file system: a chart, a signature
 */
export async function imageLayers(
  fetcher: Fetcher,
  graph: Pick<ImageGraph, "documents" | "manifest">,
  { signal }: CallOptions,
): Promise<readonly ImageLayer[]> {
  const bytes = graph.documents.at(-1)?.bytes ?? new Uint8Array();
  const document = parseDocument(bytes, graph.manifest.mediaType);
  if (document.kind !== "manifest" || document.config === undefined) {
    throw noRoot(graph.manifest, "no config");
  }
  const diffIds = diffIdsOf(await fetchVerified(fetcher, document.config, { signal }));
  if (diffIds === undefined) throw noRoot(graph.manifest, "a config that lists no layers");
  if (diffIds.length !== document.layers.length) {
    throw noRoot(
      graph.manifest,
      `${document.layers.length} layers and a config of ${diffIds.length}`,
    );
  }
  return document.layers.map((descriptor, i) => ({
    descriptor,
    diffId: diffIds[i] ?? descriptor.digest,
  }));
}

/**
 * Reads one layer, entry by entry. When the last entry was read, its digest was compared.
 *
 * @throws {Failure} what `decompress` and `readTar` throw, with the layer named; `digest-mismatch`
 */
export async function* readLayer(
  fetcher: Fetcher,
  layer: ImageLayer,
  { signal, limits = DEFAULT_LIMITS }: LayerOptions,
): AsyncGenerator<TarEntry> {
  try {
    const packed = await fetcher.fetch(layer.descriptor, { signal });
    yield* readTar(verified(decompress(givenBack(packed), limits), layer, signal));
  } catch (error) {
    throw ofLayer(error, layer);
  }
}

/** Whoever asks for the next chunk has done with this one. */
async function* givenBack(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk;
    releaseChunk(chunk);
  }
}

/** The whole image as names in memory, and nothing of what files hold. */
export async function readRoot(
  fetcher: Fetcher,
  layers: readonly ImageLayer[],
  options: LayerOptions,
): Promise<RootTree> {
  const tree = new RootTree(options.nodesMax ?? NODES_MAX);
  for (const [position, layer] of layers.entries()) {
    for await (const entry of readLayer(fetcher, layer, options)) {
      try {
        tree.apply(entry, position);
      } catch (error) {
        throw ofLayer(error, layer);
      }
    }
  }
  return tree;
}

async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  { diffId, descriptor }: ImageLayer,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const hasher = createHasher(digestAlgorithm(diffId));
  for await (const chunk of givenBack(chunks)) {
    signal.throwIfAborted();
    hasher.update(chunk);
    yield chunk;
  }
  const actual = hasher.digest();
  if (actual === diffId) return;
  throw new Failure({
    code: "digest-mismatch",
    message: `Cannot accept layer ${descriptor.digest}: unpacked it has digest ${actual}, expected ${diffId} of the image's config`,
    hint: "Run `dray verify`, then `dray deliver` again; if it stays so, ask the publisher to push the image again",
  });
}

const OF_LAYER = new WeakSet<Failure>();

/** The failure with the layer named, once. */
export function ofLayer(error: unknown, { descriptor }: ImageLayer): unknown {
  if (!isFailure(error) || OF_LAYER.has(error) || error.message.includes(descriptor.digest)) {
    return error;
  }
  const failure = new Failure({
    code: error.code,
    message: `${error.message} (layer ${descriptor.digest})`,
    hint: error.hint,
    cause: error,
  });
  OF_LAYER.add(failure);
  return failure;
}

function noRoot({ digest }: Descriptor, found: string): Failure {
  return new Failure({
    code: "image-no-root",
    message: `Cannot read the layers of ${digest}: it has ${found}, expected an image of a root file system`,
    hint: "Name an image that a machine or a container runs from; charts and signatures have no files",
  });
}
