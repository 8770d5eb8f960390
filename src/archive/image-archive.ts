import { posix } from "node:path";
import { Failure, formatBytes, isFailure, printable, quoted } from "#base";
import {
  type CallOptions,
  contentMissing,
  createHasher,
  digestOf,
  type Fetcher,
  type FetchOptions,
} from "#content";
import {
  type Descriptor,
  type Digest,
  diffIdsOf,
  isJsonObject,
  MANIFEST_BYTES_MAX,
  OCI_INDEX,
  OCI_MANIFEST,
  parseDocument,
  tryParseDigest,
} from "#oci";
import {
  type Compression,
  compressionOf,
  DEFAULT_LIMITS,
  decompress,
  RATIO_MATTERS_BYTES,
} from "./compression.ts";
import { archiveTooLarge } from "./failure.ts";
import { readTar, type TarEntry } from "./tar.ts";

/** A file or link of an image archive, or of a folder that is an OCI layout. */
export type Member = Pick<TarEntry, "path" | "type" | "linkPath" | "size" | "holes" | "body">;

/** Reads the members of an archive from the first on. It is called more than once. */
export type OpenMembers = (options: CallOptions) => AsyncIterable<Member>;

/** An image in an archive. */
export interface ArchivedImage {
  /** As they stand there: `docker.io/library/busybox:1.36`, or without host, or none at all. */
  readonly names: readonly string[];
  /** Its manifest or index; of a `docker save` archive a manifest that is made of its parts. */
  readonly root: Descriptor;
}

/** What a member is whose bytes are wanted. */
export interface ArchivedContent {
  readonly descriptor: Pick<Descriptor, "digest" | "size">;
  /** To be read, or not, before the next one is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * The images of an archive: `docker save` of any age from 1.10 on, crane, an OCI layout in a tar, or a
 * folder of that layout. As a {@link Fetcher} it gives all content of them; manifests and configs from
 * memory, everything else by reading the archive again from its start.
 */
export interface ImageArchive extends Fetcher {
  readonly images: readonly ArchivedImage[];
  /** How many bytes this content really has; undefined when it is not in it. */
  sizeOf(digest: Digest): number | undefined;
  /**
   * Gives several contents in one reading, in the order in which they come.
   *
   * @param members a reading that is under way by itself; by default the archive is read anew
   */
  contents(
    wanted: ReadonlySet<Digest>,
    options: CallOptions,
    members?: AsyncIterable<Member>,
  ): AsyncGenerator<ArchivedContent>;
}

/** The members of an archive file: a tar, packed or not. */
export async function* archiveMembers(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Member> {
  yield* readTar(decompress(bytes, DEFAULT_LIMITS));
}

/** Manifests and configs of an archive that are kept in memory, in bytes; RKE2's has 300 KB. */
const DOCUMENT_BYTES_MAX = 64 * 1024 * 1024;

/** Members that an archive may have, of all kinds. A layout of a thousand images has some 20,000. */
const MEMBERS_MAX = 200_000;

/**
 * Reads an archive once and tells what images are in it. Everything is hashed on the way, and a blob
 * that is not what its name says is a failure.
 *
 * @throws {Failure} `image-archive-invalid` for what holds no image, or not all of one; and what
 *   reading the archive throws
 */
export async function openImageArchive(
  open: OpenMembers,
  options: CallOptions,
): Promise<ImageArchive> {
  return archiveOf(await indexMembers(open(options)), open);
}

/** {@link openImageArchive} where the first reading is under way by itself. */
export async function indexImageArchive(
  members: AsyncIterable<Member>,
  open: OpenMembers,
): Promise<ImageArchive> {
  return archiveOf(await indexMembers(members), open);
}

interface IndexedFile {
  /** Of its member in the archive: a path may stand there several times, and the last one counts. */
  readonly position: number;
  readonly digest: Digest;
  readonly size: number;
  readonly start: Uint8Array;
}

/** What one reading of an archive tells. */
interface MemberIndex {
  readonly files: ReadonlyMap<string, IndexedFile>;
  readonly links: ReadonlyMap<string, string>;
  /** JSON that is small enough to be a manifest or a config. */
  readonly documents: ReadonlyMap<Digest, Uint8Array>;
}

const START_BYTES = 8;

async function indexMembers(members: AsyncIterable<Member>): Promise<MemberIndex> {
  const files = new Map<string, IndexedFile>();
  const links = new Map<string, string>();
  const documents = new Map<Digest, Uint8Array>();
  let documentBytes = 0;
  let position = -1;
  for await (const member of members) {
    position += 1;
    if (position >= MEMBERS_MAX) {
      throw archiveTooLarge(`more than ${MEMBERS_MAX} files`, `${MEMBERS_MAX}`);
    }
    const path = memberPath(member.path);
    if (member.type === "symlink") {
      links.set(path, posix.join(posix.dirname(path), member.linkPath));
    } else if (member.type === "hardlink") {
      links.set(path, memberPath(member.linkPath));
    } else if (member.type === "file") {
      requireFewHoles(member);
      const { file, document } = await readMember(member);
      files.set(path, { ...file, position });
      if (document === undefined || documents.has(file.digest)) continue;
      documentBytes += document.byteLength;
      if (documentBytes > DOCUMENT_BYTES_MAX) {
        throw archiveTooLarge("too many manifests and configs", `${DOCUMENT_BYTES_MAX} bytes`);
      }
      documents.set(file.digest, document);
    }
  }
  return { files, links, documents };
}

/** `./blobs/x` and `/blobs/x` are `blobs/x`: the members are a list of names and no disk. */
function memberPath(path: string): string {
  return posix.normalize(path).replace(/^(\.\.?\/|\/)+/, "");
}

/**
 * Nobody writes images with holes in them, and reading one costs time alone: a file of a petabyte is a
 * few hundred bytes of an archive.
 *
 * @throws {Failure} `archive-too-large`
 */
export function requireFewHoles({ path, holes }: Pick<Member, "path" | "holes">): void {
  if (holes <= RATIO_MATTERS_BYTES) return;
  throw archiveTooLarge(
    `${formatBytes(holes)} of holes in ${quoted(path)}`,
    formatBytes(RATIO_MATTERS_BYTES),
  );
}

async function readMember({ size, body, path }: Member) {
  const hasher = createHasher(path.includes("sha512/") ? "sha512" : "sha256");
  const kept: Uint8Array[] = [];
  let start = new Uint8Array(0);
  let isDocument = size <= MANIFEST_BYTES_MAX;
  for await (const chunk of body) {
    if (start.byteLength < START_BYTES) {
      start = Uint8Array.from([...start, ...chunk.subarray(0, START_BYTES - start.byteLength)]);
    }
    // JSON begins with a brace or a bracket, perhaps after white space.
    if (kept.length === 0) isDocument &&= /^[\s]*[[{]/.test(Buffer.from(start).toString("latin1"));
    if (isDocument) kept.push(chunk.slice());
    hasher.update(chunk);
  }
  const document = isDocument && kept.length > 0 ? new Uint8Array(Buffer.concat(kept)) : undefined;
  return { file: { digest: hasher.digest(), size, start }, document };
}

function archiveOf(index: MemberIndex, open: OpenMembers): ImageArchive {
  const made = new Map<Digest, Uint8Array>();
  const images = imagesOf(index, made);
  const files = [...index.files.values()];
  const digests = new Map(files.map(({ position, digest }) => [position, digest]));
  const sizes = new Map(files.map(({ digest, size }) => [digest, size]));
  const document = (digest: Digest) => made.get(digest) ?? index.documents.get(digest);
  const archive: ImageArchive = {
    images,
    sizeOf: (digest) => made.get(digest)?.byteLength ?? sizes.get(digest),
    async *contents(wanted, options, members = open(options)) {
      const left = new Set(wanted);
      for (const digest of wanted) {
        const bytes = document(digest);
        if (bytes === undefined) continue;
        left.delete(digest);
        yield { descriptor: { digest, size: bytes.byteLength }, body: once(bytes) };
      }
      if (left.size === 0) return;
      let position = -1;
      for await (const { size, body } of members) {
        position += 1;
        const digest = digests.get(position);
        if (digest === undefined || !left.delete(digest)) continue;
        yield { descriptor: { digest, size }, body };
        if (left.size === 0) return;
      }
    },
    fetch: (descriptor, options) => fetchFrom(archive, descriptor, options),
  };
  return archive;
}

async function fetchFrom(
  archive: ImageArchive,
  descriptor: Descriptor,
  { signal, range = { start: 0, end: descriptor.size } }: FetchOptions,
): Promise<ReadableStream<Uint8Array>> {
  signal.throwIfAborted();
  if (archive.sizeOf(descriptor.digest) === undefined) throw contentMissing(descriptor);
  const chunks = (async function* () {
    for await (const { body } of archive.contents(new Set([descriptor.digest]), { signal })) {
      let offset = 0;
      for await (const chunk of body) {
        signal.throwIfAborted();
        const part = chunk.slice(
          Math.max(0, range.start - offset),
          Math.max(0, range.end - offset),
        );
        offset += chunk.byteLength;
        if (part.byteLength > 0) yield part;
        if (offset >= range.end) return;
      }
    }
  })();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await chunks.return();
      },
    },
    { highWaterMark: 0 },
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes.slice();
}

function imagesOf(index: MemberIndex, made: Map<Digest, Uint8Array>): readonly ArchivedImage[] {
  const layout = documentAt(index, "index.json");
  const docker = documentAt(index, "manifest.json");
  const listed = layout === undefined ? [] : layoutImages(index, layout);
  const isNamed = listed.some(({ names }) => names.length > 0);
  // Docker writes both forms at once; one that has the names is the better one.
  if (docker === undefined || isNamed) {
    if (listed.length > 0) return listed;
  } else {
    return dockerImages(index, docker, made);
  }
  if (index.files.has("repositories")) {
    throw invalid(
      "it is of the form that `docker save` wrote before version 1.10",
      "Pull the image and save it again with a current Docker",
    );
  }
  throw invalid("it has neither images in index.json nor in manifest.json");
}

/** Annotations by which tools keep a whole name, containerd's first: the other is often the tag alone. */
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

function layoutImages(index: MemberIndex, bytes: Uint8Array): readonly ArchivedImage[] {
  requireTrueNames(index);
  const document = parseDocument(bytes, OCI_INDEX);
  const images = new Map<Digest, { root: Descriptor; names: Set<string> }>();
  for (const root of document.kind === "index" ? document.manifests : []) {
    if (!index.documents.has(root.digest)) {
      throw invalid(`the manifest ${root.digest} that its index.json lists is not in it`);
    }
    const { annotations = {}, ...bare } = root;
    const image = images.get(root.digest) ?? { root: bare, names: new Set<string>() };
    const name = NAME_ANNOTATIONS.map((key) => annotations[key]).find(isWholeName);
    if (name !== undefined) image.names.add(name);
    images.set(root.digest, image);
  }
  return [...images.values()].map(({ root, names }) => ({ root, names: [...names] }));
}

/** A tag alone (`latest`) could be of anything. */
function isWholeName(name: string | undefined): name is string {
  return name !== undefined && /[/:@]/.test(name);
}

/** @throws {Failure} `image-archive-invalid` for a blob that is not what its name says */
function requireTrueNames({ files }: MemberIndex): void {
  for (const [path, { digest }] of files) {
    const [, algorithm, hex] = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(path) ?? [];
    const named = tryParseDigest(`${algorithm}:${hex}`);
    if (named !== undefined && named !== digest) {
      throw invalid(`its blob ${named} has digest ${digest}, expected the one it is named by`);
    }
  }
}

/** `manifest.json` of `docker save`: for each image its config, its names, its layers, as paths. */
function dockerImages(
  index: MemberIndex,
  bytes: Uint8Array,
  made: Map<Digest, Uint8Array>,
): readonly ArchivedImage[] {
  const json = parseJson(bytes);
  if (!Array.isArray(json) || json.length === 0) throw invalid("its manifest.json lists no image");
  return json.map((entry, i) => {
    const { Config: config, RepoTags: tags, Layers: layers } = isJsonObject(entry) ? entry : {};
    if (typeof config !== "string" || !isTexts(layers)) {
      throw invalid(`image ${i + 1} of its manifest.json names no config or no layers`);
    }
    const root = dockerManifest(index, config, layers, made);
    return { names: isTexts(tags) ? tags : [], root };
  });
}

const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

/** The manifest that the parts come to. The same parts always give the same one. */
function dockerManifest(
  index: MemberIndex,
  configPath: string,
  layerPaths: readonly string[],
  made: Map<Digest, Uint8Array>,
): Descriptor {
  const config = fileAt(index, configPath);
  const diffIds = diffIdsOf(index.documents.get(config.digest) ?? new Uint8Array());
  if (diffIds === undefined || diffIds.length !== layerPaths.length) {
    throw invalid(`its config ${quoted(configPath)} does not describe ${layerPaths.length} layers`);
  }
  const layers = layerPaths.map((path, i) => {
    const { digest, size, start } = fileAt(index, path);
    const compression = compressionOf(start);
    if (compression === "none" && digest !== diffIds[i]) {
      throw invalid(`its layer ${quoted(path)} has digest ${digest}, expected ${diffIds[i]}`);
    }
    return { mediaType: LAYER_TYPES[compression], digest, size };
  });
  const document = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: config.digest,
      size: config.size,
    },
    layers,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(document));
  const digest = digestOf(bytes);
  made.set(digest, bytes);
  return { mediaType: OCI_MANIFEST, digest, size: bytes.byteLength };
}

/** Old archives share layers by links, which may lead to links. */
const LINKS_MAX = 8;

function fileAt({ files, links }: MemberIndex, path: string): IndexedFile {
  let at: string | undefined = posix.normalize(path);
  for (let followed = 0; at !== undefined && followed <= LINKS_MAX; followed += 1) {
    const file = files.get(at);
    if (file !== undefined) return file;
    at = links.get(at);
  }
  throw invalid(`${quoted(path)}, which its manifest.json names, is not in it`);
}

function documentAt({ files, documents }: MemberIndex, path: string): Uint8Array | undefined {
  const file = files.get(path);
  return file === undefined ? undefined : documents.get(file.digest);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** The failure for an archive that can't be used. */
export function invalid(
  what: string,
  hint = "Make the archive again, with `docker save`, `crane pull` or `skopeo copy`",
): Failure {
  return new Failure({
    code: "image-archive-invalid",
    message: `Cannot use the image archive: ${what}`,
    hint,
  });
}

/** The failure with the archive named. */
export function ofArchive<T>(error: T, path: string): T extends Failure ? Failure : unknown;
export function ofArchive(error: unknown, path: string): unknown {
  if (!isFailure(error)) return error;
  const { code, message, hint } = error;
  return new Failure({ code, message: `${message} (in ${printable(path)})`, hint, cause: error });
}
