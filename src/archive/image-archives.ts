import { posix } from "node:path";
import { type Failure, isFailure, quoted } from "#base";
import {
  type CallOptions,
  type Fetcher,
  type ImageGraph,
  readImageGraph,
  type Store,
  writeContent,
} from "#content";
import type { Descriptor, Digest, Platform } from "#oci";
import {
  type ArchivedContent,
  archiveMembers,
  type ImageArchive,
  indexImageArchive,
  invalid,
  type Member,
  ofArchive,
  openImageArchive,
  requireFewHoles,
} from "./image-archive.ts";
import { findFiles, type ImageFile, streamFiles } from "./image-files.ts";
import { type ImageLayer, type LayerOptions, readRoot } from "./layers.ts";

/**
 * Where operating systems keep the images that their cluster starts from: RKE2 and k3s (their air-gap
 * documentation), the Kairos providers of both and of kubeadm (`LocalImagesPath`, `/opt/kube-images`).
 */
export const IMAGE_FOLDERS: readonly string[] = [
  "/var/lib/rancher/rke2/agent/images",
  "/var/lib/rancher/k3s/agent/images",
  "/opt/content/images",
  "/opt/kube-images",
];

/** An image whose layers can be read: mostly a provider image of the store. */
export interface LayeredImage {
  readonly fetcher: Fetcher;
  readonly layers: readonly ImageLayer[];
}

/** An archive in an image. */
export interface FoundArchive {
  /** From the root of the image; of a layout in a folder, the folder. */
  readonly path: string;
  /** Undefined when it can't be used. */
  readonly archive: ImageArchive | undefined;
  /** Why it can't be used. */
  readonly trouble: Failure | undefined;
  readonly files: readonly ImageFile[];
}

/** How archives are looked for. */
export interface FindArchivesOptions extends LayerOptions {
  /** Folders, in which `*` stands for a part of a name; {@link IMAGE_FOLDERS} by default. */
  readonly folders?: readonly string[];
}

/** Names of what k3s and RKE2 import, and of what they might and we can't (a finding, then). */
const ARCHIVE_NAME = /\.(tar|tgz|tbz|tzst|txz)(\.(gz|zst|bz2|lz4|xz))?$/;

const LAYOUT_PART = /\/(oci-layout|index\.json|blobs\/[a-z0-9]+\/[0-9a-f]+)$/;

/**
 * Finds the image archives in an image, and what images are in them. The image is read twice: once for
 * the names of all its files, once more, as far as needed, for the archives. Nothing goes to the disk.
 *
 * An archive that can't be used is told of, and the others are not worse for it.
 *
 * @throws {Failure} what `readLayer` throws: then the image itself is broken
 */
export async function findImageArchives(
  { fetcher, layers }: LayeredImage,
  options: FindArchivesOptions,
): Promise<readonly FoundArchive[]> {
  const tree = await readRoot(fetcher, layers, options);
  const files = findFiles(tree, options.folders ?? IMAGE_FOLDERS);
  const archives = files.filter(({ path }) => ARCHIVE_NAME.test(path));
  const found: FoundArchive[] = [];
  for await (const { file, body } of streamFiles(fetcher, layers, archives, options)) {
    const open = (call: CallOptions) =>
      membersOf({ fetcher, layers }, file, { ...options, ...call });
    found.push(
      await judged(file.path, [file], () => indexImageArchive(archiveMembers(body), open)),
    );
  }
  for (const [path, parts] of layoutsIn(files)) {
    const open = (call: CallOptions) =>
      layoutMembers({ fetcher, layers }, path, parts, { ...options, ...call });
    found.push(await judged(path, parts, () => openImageArchive(open, options)));
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function judged(
  path: string,
  files: readonly ImageFile[],
  read: () => Promise<ImageArchive>,
): Promise<FoundArchive> {
  try {
    for (const file of files) requireFewHoles(file);
    return { path, files, archive: await read(), trouble: undefined };
  } catch (error) {
    const named = ofArchive(error, `/${path}`);
    // A layer that is not what it should be is no matter of one archive.
    const isOfLayer = isFailure(error, "digest-mismatch") || isFailure(error, "content-missing");
    if (!isFailure(named) || isOfLayer) throw error;
    return { path, files, archive: undefined, trouble: named };
  }
}

/** Folders that are OCI layouts, with their files. */
function layoutsIn(files: readonly ImageFile[]): ReadonlyMap<string, readonly ImageFile[]> {
  const layouts = new Map<string, ImageFile[]>();
  for (const { path } of files) {
    if (posix.basename(path) === "oci-layout") layouts.set(posix.dirname(path), []);
  }
  for (const file of files) {
    if (!LAYOUT_PART.test(file.path)) continue;
    layouts.get(file.path.replace(LAYOUT_PART, ""))?.push(file);
  }
  return layouts;
}

async function* membersOf(
  { fetcher, layers }: LayeredImage,
  file: ImageFile,
  options: LayerOptions,
): AsyncGenerator<Member> {
  for await (const { body } of streamFiles(fetcher, layers, [file], options)) {
    yield* archiveMembers(body);
  }
}

async function* layoutMembers(
  { fetcher, layers }: LayeredImage,
  folder: string,
  parts: readonly ImageFile[],
  options: LayerOptions,
): AsyncGenerator<Member> {
  for await (const { file, body } of streamFiles(fetcher, layers, parts, options)) {
    const path = file.path.slice(folder.length + 1);
    const { size, holes } = file;
    yield { path, type: "file", linkPath: "", size, holes, body };
  }
}

/** How images of archives are put into a store. */
export interface LoadOptions extends LayerOptions {
  readonly platform: Platform;
  /** The name that the store shall have for a name of an archive; undefined to leave it out. */
  readonly nameOf: (name: string) => string | undefined;
}

/** An image that the store has now. */
export interface LoadedImage {
  readonly name: string;
  readonly root: Descriptor;
  /** The archive that it came from. */
  readonly path: string;
}

/** What loading came to. */
export interface Loading {
  readonly loaded: readonly LoadedImage[];
  /** Why some archives, or images in them, could not be loaded. */
  readonly trouble: readonly Failure[];
}

/**
 * Puts the images of archives into a store, named, blobs first. Each layer of the image around them is
 * read once more at most, and not at all for what the store has. An image of another platform, or one
 * that is not all in its archive, is told of, and the others are loaded.
 *
 * @throws {Failure} what reading the image around them and writing to the store throws
 */
export async function loadImages(
  { fetcher, layers }: LayeredImage,
  found: readonly FoundArchive[],
  store: Store,
  options: LoadOptions,
): Promise<Loading> {
  const wanted = new Map<FoundArchive, Map<Digest, Descriptor>>();
  const graphs: NamedGraph[] = [];
  const trouble = found.flatMap((each) => each.trouble ?? []);
  for (const each of found) {
    const missing = new Map<Digest, Descriptor>();
    for (const { root, names } of each.archive?.images ?? []) {
      const graph = await graphIn(each, root, options);
      if (isFailure(graph)) {
        trouble.push(graph);
        continue;
      }
      const isTrue = (name: string) => !name.includes("@") || name.endsWith(`@${root.digest}`);
      graphs.push({ graph, names: names.filter(isTrue), path: each.path });
      trouble.push(
        ...names.filter((name) => !isTrue(name)).map((name) => untrue(each, root, name)),
      );
      for (const blob of graph.blobs) {
        if (!(await store.lease(blob))) missing.set(blob.digest, blob);
      }
    }
    if (missing.size > 0) wanted.set(each, missing);
  }
  await loadBlobs({ fetcher, layers }, wanted, store, options);
  return { loaded: await nameAll(graphs, store, options), trouble };
}

/** Whoever asks by digest would be given something else. */
function untrue({ path }: FoundArchive, { digest }: Descriptor, name: string): Failure {
  const what = `it calls ${digest} ${quoted(name)}, expected a name with that digest or with none`;
  return ofArchive(invalid(what), `/${path}`);
}

interface NamedGraph {
  readonly graph: ImageGraph;
  readonly names: readonly string[];
  readonly path: string;
}

/** What an image of an archive consists of, or why it can't be loaded. */
async function graphIn(
  { archive, path }: FoundArchive,
  root: Descriptor,
  options: LoadOptions,
): Promise<ImageGraph | Failure> {
  try {
    if (archive === undefined) throw invalid("it could not be read");
    const graph = await readImageGraph(archive, root, options.platform, options);
    for (const { digest, size } of graph.blobs) {
      const found = archive.sizeOf(digest);
      const whole = `${digest}, which its image ${root.digest} needs,`;
      if (found === undefined) throw invalid(`${whole} is not in it`);
      if (found !== size) throw invalid(`${whole} has ${found} bytes, expected ${size}`);
    }
    return graph;
  } catch (error) {
    const named = ofArchive(error, `/${path}`);
    if (isFailure(named)) return named;
    throw error;
  }
}

async function loadBlobs(
  image: LayeredImage,
  wanted: ReadonlyMap<FoundArchive, ReadonlyMap<Digest, Descriptor>>,
  store: Store,
  options: LoadOptions,
): Promise<void> {
  const byFile = new Map<ImageFile, ReadonlyMap<Digest, Descriptor>>();
  const taken = new Set<Digest>();
  const take = async (
    contents: AsyncIterable<ArchivedContent>,
    missing: ReadonlyMap<Digest, Descriptor>,
  ) => {
    for await (const { descriptor, body } of contents) {
      const blob = missing.get(descriptor.digest);
      if (blob === undefined || taken.has(blob.digest)) continue;
      await takeIn(store, blob, body);
      taken.add(blob.digest);
    }
  };
  for (const [{ files, archive }, missing] of wanted) {
    const [file, ...others] = files;
    if (file !== undefined && others.length === 0) byFile.set(file, missing);
    else if (archive !== undefined) {
      await take(archive.contents(new Set(missing.keys()), options), missing);
    }
  }
  for await (const streamed of streamFiles(
    image.fetcher,
    image.layers,
    [...byFile.keys()],
    options,
  )) {
    const missing = byFile.get(streamed.file);
    const owner = [...wanted.keys()].find(({ files }) => files[0] === streamed.file);
    if (missing === undefined || owner?.archive === undefined) continue;
    await take(
      owner.archive.contents(new Set(missing.keys()), options, archiveMembers(streamed.body)),
      missing,
    );
  }
}

async function nameAll(
  graphs: readonly NamedGraph[],
  store: Store,
  { nameOf }: LoadOptions,
): Promise<readonly LoadedImage[]> {
  const loaded: LoadedImage[] = [];
  for (const { graph, names, path } of graphs) {
    // Children before what names them.
    for (const { descriptor, bytes } of [...graph.documents].reverse()) {
      await writeContent(store, descriptor, bytes);
    }
    for (const written of names) {
      const name = nameOf(written);
      if (name === undefined) continue;
      await store.name(name, graph.root);
      loaded.push({ name, root: graph.root, path });
    }
  }
  return loaded;
}

/** Brings content into the store whose bytes can't be asked for in parts: what is there already passes by. */
async function takeIn(
  store: Store,
  descriptor: Descriptor,
  body: AsyncIterable<Uint8Array>,
): Promise<void> {
  await using ingest = await store.ingest(descriptor);
  const missing = [...ingest.missing];
  let offset = 0;
  for await (const chunk of body) {
    const end = offset + chunk.byteLength;
    for (const range of missing) {
      const from = Math.max(offset, range.start);
      const to = Math.min(end, range.end);
      if (from < to) await ingest.write(chunk.slice(from - offset, to - offset), from);
    }
    offset = end;
  }
  await ingest.commit();
}
