import { Failure, quoted } from "#base";
import { fetchVerified, type GraphDocument, type ImageGraph } from "#content";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  diffIdsOf,
  isIndexType,
  isManifestType,
  parseDocument,
} from "#oci";
import type { Labels } from "./api.ts";
import type { ImportSession } from "./session.ts";
import { type UnpackedLayer, unpack } from "./unpack.ts";
import { labelContent, writeContent } from "./write-content.ts";

/** What an image of the store is to a runtime. */
export interface RunnableImage {
  readonly graph: ImageGraph;
  readonly config: Descriptor;
  readonly layers: readonly { readonly descriptor: Descriptor; readonly diffId: Digest }[];
}

/** What no image names, and so no container can run. */
export function isRunnableGraph(graph: ImageGraph): boolean {
  return runnableConfig(graph) !== undefined;
}

/** The config by whose digest CRI knows an image; undefined for what no runtime runs. */
export function runnableConfig({ documents, manifest }: ImageGraph): Descriptor | undefined {
  return configOf(documents.at(-1), manifest)?.config;
}

/**
 * Reads what a runtime must know of an image: its config, and what its layers unpack to.
 *
 * @throws {Failure} `image-no-root` for a chart, a signature and the like; what reading throws
 */
export async function readRunnable(
  graph: ImageGraph,
  { content, signal }: Pick<ImportSession, "content" | "signal">,
): Promise<RunnableImage> {
  const found = configOf(graph.documents.at(-1), graph.manifest);
  if (found === undefined) throw noRoot(graph, "no config of an image");
  const diffIds = diffIdsOf(await fetchVerified(content, found.config, { signal }));
  if (diffIds?.length !== found.layers.length) {
    throw noRoot(
      graph,
      `${found.layers.length} layers, and a config of ${diffIds?.length ?? "none"}`,
    );
  }
  const layers = found.layers.map((descriptor, i) => ({
    descriptor,
    diffId: diffIds[i] ?? descriptor.digest,
  }));
  return { graph, config: found.config, layers };
}

/**
 * Brings an image into containerd's content store and unpacks it. Layers are sent one after the other,
 * and each is unpacked while the next one is sent.
 *
 * @throws {Failure} `runtime-failed`, `runtime-unreachable`, `layer-mismatch`, what reading throws
 */
export async function importContent(
  { graph, config, layers }: RunnableImage,
  session: ImportSession,
): Promise<void> {
  const write = (descriptor: Descriptor, labels: Labels) =>
    session.flights.run(descriptor.digest, () => writeContent(descriptor, labels, session));
  let sent: Promise<void> = Promise.resolve();
  const sending: UnpackedLayer[] = layers.map((layer) => {
    sent = sent.then(() => write(layer.descriptor, {}));
    return { ...layer, written: sent };
  });
  const unpacking = unpack(sending, session);
  // When one of them fails the other must have ended before anybody hears of it.
  await Promise.allSettled([sent, unpacking]);
  await sent;
  const top = await unpacking;
  await write(config, {});
  if (top !== undefined) {
    await labelContent(
      config,
      { [`containerd.io/gc.ref.snapshot.${session.snapshotter}`]: top },
      session,
    );
  }
  for (const document of graph.documents.toReversed()) {
    await write(document.descriptor, childLabels(document));
  }
}

/**
 * What keeps the children of a manifest from containerd's collection, as its own pulls write it
 * (`core/images/mediatypes.go`, `ChildGCLabels`). Children that are not here do no harm.
 */
function childLabels({ descriptor, bytes }: GraphDocument): Labels {
  const document = parseDocument(bytes, descriptor.mediaType);
  const labels: Record<string, string> = {};
  const counts = new Map<string, number>();
  for (const child of childrenOf(document)) {
    const isConfig = document.kind === "manifest" && child.digest === document.config?.digest;
    const isManifest = isManifestType(child.mediaType) || isIndexType(child.mediaType);
    const kind = isConfig ? "config" : isManifest ? "m." : "l.";
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    labels[`containerd.io/gc.ref.content.${kind}${isConfig ? "" : count}`] = child.digest;
  }
  return labels;
}

function configOf(
  document: GraphDocument | undefined,
  { mediaType }: Descriptor,
): { readonly config: Descriptor; readonly layers: readonly Descriptor[] } | undefined {
  if (document === undefined) return undefined;
  const parsed = parseDocument(document.bytes, mediaType);
  if (parsed.kind !== "manifest" || parsed.config === undefined) return undefined;
  const { config, layers } = parsed;
  return IMAGE_CONFIGS.has(config.mediaType) ? { config, layers } : undefined;
}

const IMAGE_CONFIGS: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);

function noRoot({ manifest }: ImageGraph, found: string): Failure {
  return new Failure({
    code: "image-no-root",
    message: `Cannot load ${manifest.digest} into the runtime: it has ${found}, expected an image that a container can run`,
    hint: `Look at what it is: its type is ${quoted(manifest.mediaType)}`,
  });
}
