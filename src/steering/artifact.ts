import { Failure, formatBytes, quoted } from "#base";
import { digestOf } from "#content";
import { type Descriptor, type ManifestDocument, OCI_MANIFEST, parseDocument } from "#oci";
import { clashingPath, isSafePath } from "./artifact-path.ts";

/** What the manifest says that it is (OCI image spec 1.1, "Guidelines for Artifact Usage"). */
export const SITE_ARTIFACT = "application/vnd.drayage.site.v1";

/** Of the files of an artifact. Whatever is of no type of ours is a file that profiles may name. */
export const PROFILE_YAML = "application/vnd.drayage.profile.v1+yaml";
export const PROFILE_JSON = "application/vnd.drayage.profile.v1+json";
export const USER_DATA = "application/vnd.drayage.user-data.v1+yaml";
export const PLAIN_FILE = "application/vnd.drayage.file.v1";

const OURS = "application/vnd.drayage.";

/** Guidance of the image specification for an artifact without a config. */
const EMPTY_CONFIG_TYPE = "application/vnd.oci.empty.v1+json";
const EMPTY_CONFIG = new TextEncoder().encode("{}");

/** Annotations of the image specification ("Pre-Defined Annotation Keys"). */
const TITLE = "org.opencontainers.image.title";
const VERSION = "org.opencontainers.image.version";
const CREATED = "org.opencontainers.image.created";

/** Set by oras on a folder that it packed (oras-go, `content/file`). */
const ORAS_UNPACK = "io.deis.oras.content.unpack";

/** Files of one artifact. A profile of forty packs with folders of their own has some two hundred. */
export const FILES_MAX = 1_000;

/** Largest file, in bytes; the bound of every input that is read. */
export const FILE_BYTES_MAX: number = 16 * 1024 * 1024;

/** All files of an artifact together, in bytes: they are in memory at once while it is planned. */
export const ARTIFACT_BYTES_MAX: number = 64 * 1024 * 1024;

/** What a file is for. Profiles and user data are read because they are there, others because a profile names them. */
export type FileRole = "profile" | "user-data" | "file";

/** One input file on its way into an artifact. */
export interface InputFile {
  /** Relative to the root of the artifact, `/` between its parts. */
  readonly path: string;
  readonly role: FileRole;
  readonly bytes: Uint8Array;
}

/** What an artifact says of itself beside its files. */
export interface ArtifactLabels {
  /** For people: `1.4.0`. */
  readonly version?: string;
  /** RFC 3339. Without it the same files give the same digest. */
  readonly created?: string;
}

/** Content with its descriptor. */
export interface Blob {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** An artifact as bytes, ready to be pushed: blobs first, then the manifest. */
export interface WrittenArtifact {
  readonly manifest: Blob;
  /** The config first, then the files in code-unit order of their paths; the same content once. */
  readonly blobs: readonly Blob[];
  readonly files: readonly ListedFile[];
}

/** A file that a manifest lists. */
export interface ListedFile {
  readonly path: string;
  readonly role: FileRole;
  readonly descriptor: Descriptor;
}

/** A manifest that was read: what the artifact holds, none of it fetched. */
export interface ListedArtifact {
  readonly config: Descriptor;
  readonly files: readonly ListedFile[];
}

/**
 * Makes an artifact of input files. The same files and labels give the same bytes, in whatever order the
 * files are given.
 *
 * @throws {Failure} `artifact-invalid` for files that nobody could read back ({@link readManifest})
 */
export function writeArtifact(
  files: readonly InputFile[],
  { version, created }: ArtifactLabels = {},
): WrittenArtifact {
  const config = blobOf(EMPTY_CONFIG, EMPTY_CONFIG_TYPE);
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const layers = sorted.map((file) => {
    const { descriptor, bytes } = blobOf(file.bytes, mediaTypeOf(file));
    return { descriptor: { ...descriptor, annotations: { [TITLE]: file.path } }, bytes };
  });
  const annotations = {
    ...(created === undefined ? {} : { [CREATED]: created }),
    ...(version === undefined ? {} : { [VERSION]: version }),
  };
  const document = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: SITE_ARTIFACT,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
  const manifest = blobOf(new TextEncoder().encode(JSON.stringify(document)), OCI_MANIFEST);
  const blobs = new Map([config, ...layers].map((blob) => [blob.descriptor.digest, blob]));
  return { manifest, blobs: [...blobs.values()], files: readManifest(manifest.bytes).files };
}

function blobOf(bytes: Uint8Array, mediaType: string): Blob {
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
}

function mediaTypeOf({ path, role }: InputFile): string {
  if (role === "user-data") return USER_DATA;
  if (role === "file") return PLAIN_FILE;
  return /\.json$/i.test(path) ? PROFILE_JSON : PROFILE_YAML;
}

/**
 * Reads the manifest of an artifact that somebody else made, and refuses what could not be taken in whole
 * and safely. Nothing is fetched for what is refused.
 *
 * @throws {Failure} `artifact-invalid`: another kind of artifact, a file without a path or with one that
 *   leads out, two files at one path, too many or too large ones, no profile; `manifest-invalid` and others of
 *   `parseDocument`
 */
export function readManifest(bytes: Uint8Array): ListedArtifact {
  const document = parseDocument(bytes);
  if (document.kind !== "manifest") throw invalid("it is an index", "one manifest");
  requireType(document);
  const { config, layers } = document;
  if (config === undefined) throw invalid("it has no config", "an OCI image manifest");
  if (layers.length > FILES_MAX) {
    throw invalid(`it has ${layers.length} files`, `at most ${FILES_MAX}`);
  }
  const files = layers.map(readLayer);
  const clash = clashingPath(files.map(({ path }) => path));
  if (clash !== undefined) {
    throw invalid(`two of its files are at ${quoted(clash)}`, "each at a path of its own");
  }
  const sizes = [config, ...layers].map(({ size }) => size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > ARTIFACT_BYTES_MAX) {
    throw invalid(
      `it has ${formatBytes(total)}`,
      `at most ${formatBytes(ARTIFACT_BYTES_MAX)} in all its files`,
    );
  }
  if (!files.some(({ role }) => role === "profile")) {
    throw invalid("none of its files is a cluster profile", `one of type ${PROFILE_YAML}`);
  }
  if (files.filter(({ role }) => role === "user-data").length > 1) {
    throw invalid("it has user data twice", "at most one file of user data");
  }
  return { config, files };
}

/** Registries of before OCI 1.1 know only the type of the config. */
function requireType({ artifactType, config }: ManifestDocument): void {
  const type = artifactType ?? config?.mediaType ?? "";
  if (type === SITE_ARTIFACT) return;
  throw invalid(`its type is ${quoted(type, 100)}`, `artifactType ${SITE_ARTIFACT}`);
}

function readLayer({ mediaType, digest, size, annotations }: Descriptor, i: number): ListedFile {
  const path = annotations?.[TITLE];
  if (path === undefined) throw invalid(`layer ${i + 1} has no ${TITLE}`, "the path of its file");
  if (!isSafePath(path)) {
    throw invalid(`it has a file at ${quoted(path)}`, "a relative path that stays inside");
  }
  if (annotations?.[ORAS_UNPACK] === "true") {
    throw invalid(
      `${quoted(path)} is a packed folder`,
      "each file by itself: name files to `oras push`, not folders",
    );
  }
  if (size > FILE_BYTES_MAX) {
    throw invalid(
      `${quoted(path)} has ${formatBytes(size)}`,
      `at most ${formatBytes(FILE_BYTES_MAX)}`,
    );
  }
  // What is read as a file must be that file and no form of it, so its type is no more than a word.
  return { path, role: roleOf(mediaType, path), descriptor: { mediaType, digest, size } };
}

function roleOf(mediaType: string, path: string): FileRole {
  switch (mediaType) {
    case PROFILE_YAML:
    case PROFILE_JSON:
      return "profile";
    case USER_DATA:
      return "user-data";
    case PLAIN_FILE:
      return "file";
  }
  if (!mediaType.startsWith(OURS)) return "file";
  throw invalid(
    `${quoted(path)} is of type ${quoted(mediaType, 100)}`,
    "one that this version of dray knows",
  );
}

function invalid(found: string, expected: string): Failure {
  return new Failure({
    code: "artifact-invalid",
    message: `Cannot use the site artifact: ${found}, expected ${expected}`,
    hint: "Make it with `dray publish`, or as docs/steering.md says",
  });
}
