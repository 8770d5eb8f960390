import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { Failure, isFailure, quoted, systemErrorCode } from "#base";
import { type CallOptions, createVerifier, type Fetcher, type ImageGraph } from "#content";
import {
  type Descriptor,
  digestAlgorithm,
  digestHex,
  OCI_INDEX,
  OCI_MANIFEST,
  parseDocument,
} from "#oci";
import { makeDraft, removeDraft, requireFree, withFolder } from "./draft-folder.ts";
import { systemCalls } from "./system-calls.ts";
import { paddingAfter, plainHeader, TAR_END } from "./tar-writer.ts";

/** An image that is handed over: one platform of it. */
export interface ExportImage {
  /** The name that stands in what is written. */
  readonly name: string;
  readonly graph: ImageGraph;
}

/** How an image is written to a folder. */
export interface ExportLayoutOptions extends CallOptions {
  /** Where the store has a blob as a file. With it, blobs become hard links where the disk allows it. */
  readonly blobFile?: (descriptor: Descriptor) => string;
}

/** What an export came to. */
export interface Exported {
  readonly path: string;
  readonly blobs: number;
  /** Of all blobs. */
  readonly bytes: number;
  /** Blobs that take no room: they are the store's own files under another name. */
  readonly linked: number;
}

/**
 * Writes one platform of an image as an OCI image layout, which skopeo, oras, crane, umoci and
 * buildah read. The folder must not be there, or be empty; it stands there whole or not at all.
 *
 * @throws {Failure} `folder-taken`, `export-failed`, and what reading the content throws
 */
export async function exportLayout(
  fetcher: Fetcher,
  image: ExportImage,
  target: string,
  { signal, blobFile }: ExportLayoutOptions,
): Promise<Exported> {
  const folder = requireFree(target);
  const draft = makeDraft(folder);
  const contents = contentsOf(image);
  let linked = 0;
  try {
    for (const descriptor of contents) {
      const path = join(draft, blobPath(descriptor));
      mkdirSync(dirname(path), { recursive: true });
      const file = blobFile?.(descriptor);
      if (file !== undefined && tryLink(file, path)) linked += 1;
      else await writeFile(path, await verified(fetcher, descriptor, { signal }));
    }
    for (const [name, text] of layoutFiles(image)) await writeFile(join(draft, name), [text]);
    withFolder(draft, (fd) => systemCalls().syncFileSystem(fd));
    renameSync(draft, folder);
    withFolder(dirname(folder), fsyncSync);
  } catch (error) {
    removeDraft(draft);
    throw exportFailure(error, folder);
  }
  return { path: folder, ...totals(contents), linked };
}

/**
 * Writes one platform of an image as a tar archive that is an OCI image layout and what `docker save`
 * writes at once, as Docker 25 has it. So it is read as `oci-archive:` (skopeo, podman), by
 * `docker load` and `ctr images import`, and by `kairos-agent upgrade --source ocifile:`, which knows
 * the latter form only.
 *
 * @throws {Failure} `export-failed`, and what reading the content throws
 */
export async function exportArchive(
  fetcher: Fetcher,
  image: ExportImage,
  target: string,
  options: CallOptions,
): Promise<Exported> {
  const contents = contentsOf(image);
  const draft = join(dirname(target), `.${basename(target)}.dray-${process.pid}`);
  try {
    mkdirSync(dirname(target), { recursive: true });
    rmSync(draft, { force: true });
    await writeFile(draft, archiveOf(fetcher, image, contents, options));
    renameSync(draft, target);
    withFolder(dirname(target), fsyncSync);
  } catch (error) {
    rmSync(draft, { force: true });
    throw exportFailure(error, target);
  }
  return { path: target, ...totals(contents), linked: 0 };
}

async function* archiveOf(
  fetcher: Fetcher,
  image: ExportImage,
  contents: readonly Descriptor[],
  options: CallOptions,
): AsyncGenerator<Uint8Array> {
  const entry = async function* (path: string, size: number, body: Bytes) {
    yield plainHeader({ path, size });
    yield* body;
    yield paddingAfter(size);
  };
  // What says what the archive is stands first, so that nobody has to read all of it to know.
  for (const [name, bytes] of layoutFiles(image)) yield* entry(name, bytes.byteLength, [bytes]);
  const docker = dockerManifest(image);
  yield* entry("manifest.json", docker.byteLength, [docker]);
  for (const folder of new Set(contents.map((each) => `${dirname(blobPath(each))}/`))) {
    yield plainHeader({ path: folder, size: 0 });
  }
  for (const descriptor of contents) {
    const body = await verified(fetcher, descriptor, options);
    yield* entry(blobPath(descriptor), descriptor.size, body);
  }
  yield TAR_END;
}

type Bytes = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Everything of the platform: the manifest, the config, each layer once. Indexes would name what is not here. */
function contentsOf({ graph }: ExportImage): readonly Descriptor[] {
  return [graph.manifest, ...graph.blobs];
}

function manifestOf({ graph }: ExportImage) {
  const bytes = graph.documents.at(-1)?.bytes ?? new Uint8Array();
  const document = parseDocument(bytes, graph.manifest.mediaType);
  return document.kind === "manifest" ? document : { config: undefined, layers: [] };
}

function layoutFiles({ name, graph }: ExportImage): readonly (readonly [string, Uint8Array])[] {
  const { mediaType, digest, size, platform } = graph.manifest;
  const index = {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [
      {
        ...{ mediaType: mediaType || OCI_MANIFEST, digest, size },
        ...(platform === undefined ? {} : { platform }),
        annotations: {
          "org.opencontainers.image.ref.name": name,
          "io.containerd.image.name": name,
        },
      },
    ],
  };
  return [
    ["oci-layout", json({ imageLayoutVersion: "1.0.0" })],
    ["index.json", json(index)],
  ];
}

function dockerManifest(image: ExportImage): Uint8Array {
  const { config, layers } = manifestOf(image);
  // A digest is no name to `docker load`.
  const isTagged = !image.name.includes("@");
  return json([
    {
      Config: config === undefined ? "" : blobPath(config),
      RepoTags: isTagged ? [image.name] : null,
      Layers: layers.map(blobPath),
    },
  ]);
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function blobPath({ digest }: Descriptor): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** The content, compared while it passes by. */
async function verified(
  fetcher: Fetcher,
  descriptor: Descriptor,
  { signal }: CallOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const stream = await fetcher.fetch(descriptor, { signal });
  return (async function* () {
    const verifier = createVerifier(descriptor);
    for await (const chunk of stream) {
      verifier.update(chunk);
      yield chunk;
    }
    verifier.end();
  })();
}

/** Whether the file got a second name: not across file systems, nor where there are no hard links. */
function tryLink(file: string, path: string): boolean {
  try {
    linkSync(file, path);
    return true;
  } catch (error) {
    if (["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "ENOENT"].includes(systemErrorCode(error) ?? "")) {
      return false;
    }
    throw error;
  }
}

async function writeFile(path: string, chunks: Bytes): Promise<void> {
  const fd = openSync(path, "wx", 0o644);
  try {
    for await (const chunk of chunks) {
      for (let done = 0; done < chunk.byteLength; ) {
        done += writeSync(fd, chunk, done, chunk.byteLength - done);
      }
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function totals(contents: readonly Descriptor[]): Pick<Exported, "blobs" | "bytes"> {
  return { blobs: contents.length, bytes: contents.reduce((sum, { size }) => sum + size, 0) };
}

function exportFailure(error: unknown, path: string): unknown {
  const code = systemErrorCode(error);
  if (isFailure(error) || code === undefined) return error;
  return new Failure({
    code: "export-failed",
    message: `Cannot export to ${quoted(path)}: the system answered ${code}, expected to write there`,
    hint: "Make room on the disk, or name a place that this user may write to",
    cause: error,
  });
}
