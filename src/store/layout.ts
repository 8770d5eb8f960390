import { join } from "node:path";
import { quoted } from "#base";
import type { NamedContent } from "#content";
import {
  type Descriptor,
  type Digest,
  digestAlgorithm,
  digestHex,
  isIndexType,
  isJsonObject,
  isManifestType,
  OCI_INDEX,
  tryParseDigest,
} from "#oci";
import { type Disk, readText } from "./disk.ts";
import { storeUnusable } from "./failure.ts";

/**
 * What a process opened the store to write for. One process has a role at a time, and each role has its
 * own lock and its own folder for what is not verified, so that a registry and a delivery can write to
 * one store: verified content they add by rename, names in the database.
 */
export type WriterRole = "delivery" | "registry";

/** Where things lie in a data folder, which is an OCI image layout with a few files beside it. */
export interface Layout {
  readonly dataDir: string;
  readonly blobs: string;
  /** Content that is not verified yet, of the role; nothing in it is ever shown. */
  readonly ingest: string;
  /** Content that is pushed, of which nobody knows yet what it is; nothing in it is ever shown. */
  readonly uploads: string;
  /** Blobs and databases that turned out wrong; nothing in it is ever shown, and only a person deletes it. */
  readonly quarantine: string;
  /** Blobs that are about to be removed; nothing in it is ever shown. */
  readonly trash: string;
  /** The mark of the writer of this role, and those of all roles. */
  readonly writerMark: string;
  readonly writerMarks: readonly string[];
  readonly database: string;
  readonly index: string;
  readonly marker: string;
}

/** The places in a data folder, given as an absolute path, as a process of that role uses it. */
export function layoutOf(dataDir: string, role: WriterRole = "delivery"): Layout {
  const uploads = join(dataDir, "uploads");
  const marks = {
    delivery: join(dataDir, "writer.json"),
    registry: join(dataDir, "writer-registry.json"),
  };
  return {
    dataDir,
    blobs: join(dataDir, "blobs"),
    ingest: role === "registry" ? join(uploads, "ingest") : join(dataDir, "ingest"),
    uploads,
    quarantine: join(dataDir, "quarantine"),
    trash: join(dataDir, "trash"),
    writerMark: marks[role],
    writerMarks: Object.values(marks),
    database: join(dataDir, "drayage.db"),
    index: join(dataDir, "index.json"),
    marker: join(dataDir, "oci-layout"),
  };
}

/** The folder of a digest's blob. A {@link Digest} was parsed, so no other path can come of it (SEC-5, S-69). */
export function blobFolder({ blobs }: Layout, digest: Digest): string {
  return join(blobs, digestAlgorithm(digest));
}

/** The file of a digest's blob. */
export function blobPath(layout: Layout, digest: Digest): string {
  return join(blobFolder(layout, digest), digestHex(digest));
}

/** The file of a digest's content while not all of it is here. */
export function partialPath({ ingest }: Layout, digest: Digest): string {
  return join(ingest, `${digestAlgorithm(digest)}-${digestHex(digest)}`);
}

/** Whether this is the last part of a {@link partialPath}. */
export function isPartialName(name: string): boolean {
  return /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})$/.test(name);
}

/** Where the file of a digest's blob lies between its life and its end. */
export function trashPath({ trash }: Layout, digest: Digest): string {
  return join(trash, `${digestAlgorithm(digest)}-${digestHex(digest)}`);
}

/** Where in `quarantine/` there is room for a file of that name: what was moved there before stays as it is. */
export async function freeQuarantinePath(
  disk: Disk,
  { quarantine }: Layout,
  name: string,
): Promise<string> {
  for (let n = 1; ; n += 1) {
    const path = join(quarantine, n === 1 ? name : `${name}.${n}`);
    if ((await disk.status(path)) === undefined) return path;
  }
}

/** The file of an upload. An id that was not checked by {@link isUploadId} could lead anywhere. */
export function uploadPath({ uploads }: Layout, id: string): string {
  return join(uploads, id);
}

/** Whether this could be the id of an upload: 128 bits in hex. */
export function isUploadId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

/** What marks a folder as an OCI image layout (OCI image spec, "oci-layout file"). */
export const LAYOUT_MARKER = `${JSON.stringify({ imageLayoutVersion: "1.0.0" })}\n`;

/**
 * The `index.json` of a store: every name, in order, so that the same names always give the same
 * bytes. It is for other tools; of ours only what makes up for a lost database reads it.
 */
export function formatIndex(names: readonly NamedContent[]): string {
  const manifests = names.map(({ name, descriptor: { mediaType, digest, size } }) => ({
    mediaType,
    digest,
    size,
    annotations: { "org.opencontainers.image.ref.name": name },
  }));
  return `${JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, null, 1)}\n`;
}

/** Annotations by which tools keep a whole name, the specification's own first. */
const NAME_ANNOTATIONS = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/**
 * The names in an `index.json` that was parsed, whoever wrote it, with descriptors that can be used; the
 * first of a name counts.
 */
export function namesInIndex(json: unknown): ReadonlyMap<string, Descriptor> {
  const entries: unknown = isJsonObject(json) ? json["manifests"] : undefined;
  const names = new Map<string, Descriptor>();
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isJsonObject(entry)) continue;
    const { mediaType, digest: text, size, annotations } = entry;
    const digest = typeof text === "string" ? tryParseDigest(text) : undefined;
    if (digest === undefined || typeof mediaType !== "string" || !isSize(size)) continue;
    if (!isManifestType(mediaType) && !isIndexType(mediaType)) continue;
    for (const key of NAME_ANNOTATIONS) {
      const name = isJsonObject(annotations) ? annotations[key] : undefined;
      if (typeof name === "string" && !names.has(name))
        names.set(name, { mediaType, digest, size });
    }
  }
  return names;
}

function isSize(size: unknown): size is number {
  return typeof size === "number" && Number.isSafeInteger(size) && size > 0;
}

/** What a store creates before its database, and what file systems put into their root. */
const HARMLESS =
  /^(blobs|ingest|uploads|trash|lock(-registry|-collection|-deliveries)?\.(db(-journal)?|json(\.draft)?)|lost\+found)$/;

/**
 * Refuses a folder that is somebody else's: we would write into it, and over its `index.json`.
 *
 * @throws {Failure} `store-unusable`
 */
export async function refuseAlien(disk: Disk, layout: Layout): Promise<void> {
  const entries = await disk.list(layout.dataDir);
  if (isStore(entries)) return refuseOtherVersion(disk, layout);
  const alien = entries.find((entry) => !HARMLESS.test(entry) && !entry.startsWith("drayage.db"));
  if (alien === undefined) return;
  throw storeUnusable(layout.dataDir, `it holds ${quoted(alien, 80)}, which no \`dray\` wrote`);
}

/**
 * Whether these are the entries of a store. One whose database was lost, or moved away because it was
 * damaged, is known by what nobody got who found a folder of somebody else's.
 */
function isStore(entries: readonly string[]): boolean {
  const isLocked = entries.some((entry) => /^lock(-registry|-deliveries)?\.db$/.test(entry));
  return entries.includes("drayage.db") || (isLocked && entries.includes("trash"));
}

async function refuseOtherVersion(disk: Disk, layout: Layout): Promise<void> {
  const marker = await readText(disk, layout.marker);
  if (marker === undefined || marker.trim() === "") return;
  const version = layoutVersion(marker);
  if (version?.startsWith("1.")) return;
  throw storeUnusable(
    layout.dataDir,
    `its oci-layout file says version ${quoted(version ?? "unknown", 40)}`,
  );
}

function layoutVersion(marker: string): string | undefined {
  try {
    const json: unknown = JSON.parse(marker);
    const version = isJsonObject(json) ? json["imageLayoutVersion"] : undefined;
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}
