import { Failure, printable } from "#base";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  type Document,
  formatPlatform,
  isForeignLayerType,
  isIndexType,
  isJsonObject,
  isManifestType,
  isRunnable,
  MANIFEST_BYTES_MAX,
  type ManifestDocument,
  normalizePlatform,
  type Platform,
  parseDocument,
  selectPlatform,
} from "#oci";
import type { CallOptions, Fetcher, GraphDocument } from "./ports.ts";
import { fetchVerified } from "./verify.ts";

/** Everything that one image consists of on one platform. */
export interface ImageGraph {
  /** What the reference stands for: an index, or the manifest itself. */
  readonly root: Descriptor;
  /** From the root down to the chosen manifest. */
  readonly documents: readonly GraphDocument[];
  /** The manifest of the chosen platform. */
  readonly manifest: Descriptor;
  /** Config and layers, each digest once, in the order of the manifest. */
  readonly blobs: readonly Descriptor[];
  /** What the indexes list and this platform does not want; they stay listed, and are not here (C-144). */
  readonly absent: readonly Descriptor[];
  /** Sentences for the operator about what was odd and stopped nothing. */
  readonly warnings: readonly string[];
}

/** How deep indexes may lie in each other (C-68). Real ones are one deep, rarely two. */
const DEPTH_MAX = 8;

/** How many documents are read to choose one image (C-68). Bounds what a hostile index can ask for. */
const READS_MAX = 64;

/**
 * Reads the manifest of an image for one platform, and every index on the way to it. No blob is asked
 * for, so that an image can be sized before its turn to be moved has come (rule `provider-first`);
 * the one exception is an index with several entries that do not say their platform (C-143).
 *
 * An artifact (a Helm chart, a signature) has no platform and is taken whole (C-70).
 *
 * @param source a registry's repository, or a store: what was delivered can be read again offline
 * @throws {Failure} `platform-missing`, which names the platforms there are; `foreign-layer`;
 *   `graph-too-large`; what `fetchVerified` and `parseDocument` throw
 */
export async function readImageGraph(
  source: Fetcher,
  root: Descriptor,
  platform: Platform,
  { signal }: CallOptions,
): Promise<ImageGraph> {
  const walk: Walk = { source, signal, platform, readsLeft: READS_MAX, seen: new Set() };
  const path = await descend(walk, [await read(walk, root)]);
  const last = path?.at(-1);
  if (path === undefined || last === undefined || last.document.kind !== "manifest") {
    throw platformMissing(root, walk);
  }
  refuseForeignLayers(last.descriptor, last.document);
  return {
    root,
    documents: path.map(({ descriptor, bytes }) => ({ descriptor, bytes })),
    manifest: last.descriptor,
    blobs: uniqueByDigest(childrenOf(last.document)),
    absent: absentFrom(path),
    warnings: path.length > 1 && last.descriptor.platform === undefined ? [unsaid(last)] : [],
  };
}

/** Everything that one image consists of, on all of its platforms. */
export interface WholeGraph {
  /** Children before those that list them, the root last: the order in which they can be pushed (C-100). */
  readonly documents: readonly GraphDocument[];
  /** Configs and layers, each digest once; without layers that no registry holds (C-80). */
  readonly blobs: readonly Descriptor[];
}

/**
 * Reads every manifest that an image leads to. No blob is asked for.
 *
 * @throws {Failure} `graph-too-large`; what `fetchVerified` and `parseDocument` throw
 */
export async function readWholeGraph(
  source: Fetcher,
  root: Descriptor,
  { signal }: CallOptions,
): Promise<WholeGraph> {
  const walk: DocumentWalk = { source, signal, readsLeft: READS_MAX };
  const documents = new Map<Digest, GraphDocument>();
  const blobs: Descriptor[] = [];
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    if (documents.has(descriptor.digest)) return;
    if (depth > DEPTH_MAX) throw tooLarge(descriptor, `more than ${DEPTH_MAX} levels`);
    const { bytes, document } = await read(walk, descriptor);
    for (const child of childrenOf(document)) {
      if (document.kind === "index" && isDocumentType(child)) await visit(child, depth + 1);
      else blobs.push(child);
    }
    documents.set(descriptor.digest, { descriptor, bytes });
  };
  await visit(root, 0);
  const held = blobs.filter(({ mediaType }) => !isForeignLayerType(mediaType));
  return { documents: [...documents.values()], blobs: uniqueByDigest(held) };
}

/**
 * What to tell the operator when an image is made for machines that this site does not have, or
 * undefined. What an index says is only advice, and a lone manifest says nothing (C-143, C-144).
 *
 * @param fetcher the store that the image was delivered to: the config is a blob, and asking the
 *   registry for it would move it twice
 */
export async function platformWarning(
  fetcher: Fetcher,
  graph: ImageGraph,
  platform: Platform,
  { signal }: CallOptions,
): Promise<string | undefined> {
  const [config] = graph.blobs;
  const actual = config === undefined ? undefined : await configPlatform(fetcher, config, signal);
  if (actual === undefined || selectPlatform([{ platform: actual }], platform)) return undefined;
  return `The image ${graph.manifest.digest} is made for ${printable(formatPlatform(actual))} and this site is ${formatPlatform(platform)}`;
}

interface DocumentWalk {
  readonly source: Fetcher;
  readonly signal: AbortSignal;
  readsLeft: number;
}

interface Walk extends DocumentWalk {
  readonly platform: Platform;
  /** Platforms that entries claim, for the message when none fits. */
  readonly seen: Set<string>;
}

interface Node extends GraphDocument {
  readonly document: Document;
}

async function read(walk: DocumentWalk, descriptor: Descriptor): Promise<Node> {
  spendRead(walk, descriptor);
  const bytes = await fetchVerified(walk.source, descriptor, walk);
  return { descriptor, bytes, document: parseDocument(bytes, descriptor.mediaType) };
}

function spendRead(walk: DocumentWalk, descriptor: Descriptor): void {
  if (walk.readsLeft === 0) throw tooLarge(descriptor, `more than ${READS_MAX} documents`);
  walk.readsLeft -= 1;
}

/** From the last document of a path on to the manifest that fits best, or undefined. */
async function descend(walk: Walk, path: readonly Node[]): Promise<readonly Node[] | undefined> {
  const last = path.at(-1);
  if (last === undefined || last.document.kind === "manifest") return path;
  if (path.length > DEPTH_MAX) throw tooLarge(last.descriptor, `more than ${DEPTH_MAX} levels`);
  const entries = last.document.manifests.filter(isCandidate);
  for (const { platform } of entries) if (platform) walk.seen.add(formatPlatform(platform));

  const step = async (entry: Descriptor) => descend(walk, [...path, await read(walk, entry)]);
  const named = selectPlatform(entries, walk.platform);
  if (named !== undefined) return step(named);
  const [only, ...others] = entries;
  if (only?.platform === undefined && only !== undefined && others.length === 0) return step(only);

  const found: { readonly path: readonly Node[]; readonly platform: Platform }[] = [];
  for (const entry of entries) {
    const below = entry.platform === undefined ? await step(entry) : undefined;
    const platform = await platformOf(walk, below?.at(-1));
    if (below !== undefined && platform !== undefined) found.push({ path: below, platform });
  }
  return selectPlatform(found, walk.platform)?.path;
}

/** Attestations and things that are no image at all are never what a machine runs. */
function isCandidate({ mediaType, platform }: Descriptor): boolean {
  return isDocumentType({ mediaType }) && (platform === undefined || isRunnable(platform));
}

function isDocumentType({ mediaType }: Pick<Descriptor, "mediaType">): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType);
}

async function platformOf(walk: Walk, node: Node | undefined): Promise<Platform | undefined> {
  if (node?.document.kind !== "manifest") return undefined;
  const { config } = node.document;
  if (node.descriptor.platform !== undefined || config === undefined) {
    return node.descriptor.platform;
  }
  spendRead(walk, config);
  const platform = await configPlatform(walk.source, config, walk.signal);
  if (platform !== undefined) walk.seen.add(formatPlatform(platform));
  return platform;
}

const IMAGE_CONFIG_TYPES: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);

/** The platform that an image's own config names; undefined for artifacts and for what cannot be read. */
async function configPlatform(
  fetcher: Fetcher,
  config: Descriptor,
  signal: AbortSignal,
): Promise<Platform | undefined> {
  if (!IMAGE_CONFIG_TYPES.has(config.mediaType) || config.size > MANIFEST_BYTES_MAX) {
    return undefined;
  }
  const json = tryParseJson(await fetchVerified(fetcher, config, { signal }));
  if (!isJsonObject(json)) return undefined;
  const { os, architecture, variant } = json;
  if (typeof os !== "string" || typeof architecture !== "string") return undefined;
  return normalizePlatform({
    os,
    architecture,
    ...(typeof variant === "string" && variant !== "" ? { variant } : {}),
  });
}

function tryParseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function uniqueByDigest(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  const unique = new Map<Digest, Descriptor>();
  for (const descriptor of descriptors) {
    if (!unique.has(descriptor.digest)) unique.set(descriptor.digest, descriptor);
  }
  return [...unique.values()];
}

function absentFrom(path: readonly Node[]): readonly Descriptor[] {
  const here = new Set(path.map(({ descriptor }) => descriptor.digest));
  const listed = path.flatMap(({ document }) =>
    document.kind === "index" ? document.manifests : [],
  );
  return uniqueByDigest(listed).filter(({ digest }) => !here.has(digest));
}

/** A registry does not hold these layers, so an image with one can't be made to work offline (C-80). */
function refuseForeignLayers({ digest }: Descriptor, { layers }: ManifestDocument): void {
  const position = layers.findIndex(({ mediaType }) => isForeignLayerType(mediaType));
  const layer = layers[position];
  if (layer === undefined) return;
  throw new Failure({
    code: "foreign-layer",
    message: `Cannot take image ${digest}: its layer ${position + 1} (${layer.digest}) is kept outside of registries (${printable(layer.mediaType)}), expected layers that the registry holds`,
    hint: "Build the image on a base without non-distributable layers, and push it again",
  });
}

function platformMissing(root: Descriptor, { platform, seen }: Walk): Failure {
  const there = [...seen].slice(0, 20).map((text) => printable(text, 60));
  return new Failure({
    code: "platform-missing",
    message: `Cannot choose an image from index ${root.digest}: it has ${there.join(", ") || "no platform"}, expected ${formatPlatform(platform)}`,
    hint: "Ask the publisher for an image of this platform, or set `platform` in the site file to one that there is",
  });
}

function tooLarge({ digest }: Descriptor, found: string): Failure {
  return new Failure({
    code: "graph-too-large",
    message: `Cannot read image index ${digest}: it leads to ${found}, expected an index of single images`,
    hint: "Refer to the image by the digest of its own manifest",
  });
}

function unsaid({ descriptor }: Node): string {
  return `The index does not say for which platform its image ${descriptor.digest} is made`;
}
