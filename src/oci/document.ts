import { Failure, quoted } from "#base";
import {
  type Descriptor,
  isJsonObject,
  type JsonObject,
  malformed,
  readDescriptor,
} from "./descriptor.ts";
import {
  bareMediaType,
  isIndexType,
  isManifestType,
  isSchema1Type,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-type.ts";

/**
 * Largest manifest or index that is read or stored, in bytes. 4 MiB is what registries accept
 * (distribution) and what other clients read (containers/image).
 */
export const MANIFEST_BYTES_MAX: number = 4 * 1024 * 1024;

/** How many entries an index or manifest may list; real ones have tens. Bounds attacker fan-out. */
export const DESCRIPTORS_MAX = 10_000;

/** An image manifest, or an artifact in the same form (Helm charts, signatures). */
export interface ManifestDocument {
  readonly kind: "manifest";
  readonly mediaType: string;
  /** Absent only in the withdrawn OCI artifact manifest. */
  readonly config?: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly artifactType?: string;
}

/** An OCI index or a Docker manifest list: one name for several platforms. */
export interface IndexDocument {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly artifactType?: string;
}

/** What a tag can stand for: one image, or an index of several. */
export type Document = ManifestDocument | IndexDocument;

/**
 * Reads the bytes of a manifest or index as a registry sent them.
 *
 * @param contentType the media type that came beside the bytes, if any; parameters are ignored, and
 *   one that says nothing (`application/octet-stream`, `text/plain`, JSON) gives way to the content
 * @throws {Failure} `manifest-invalid` for anything that breaks the specification or is ambiguous
 *   (CVE-2021-41190), so that no JSON of another kind passes for an empty image; `manifest-schema1`
 *   for Docker's schema 1, `manifest-unsupported` for other types
 */
export function parseDocument(bytes: Uint8Array, contentType?: string): Document {
  const json = parseJson(bytes);
  const mediaType = mediaTypeOf(json, contentType);
  if (isSchema1Type(mediaType) || json["schemaVersion"] === 1) throw schema1();
  const subject =
    json["subject"] === undefined ? {} : { subject: readDescriptor(json["subject"], "subject") };
  const artifactType =
    typeof json["artifactType"] === "string" ? { artifactType: json["artifactType"] } : {};
  if (isIndexType(mediaType)) {
    return {
      kind: "index",
      mediaType,
      manifests: readList(json, "manifests"),
      ...subject,
      ...artifactType,
    };
  }
  if (!isManifestType(mediaType)) throw unsupported(mediaType);
  if (json["config"] === undefined && mediaType !== OCI_ARTIFACT_MANIFEST) {
    throw malformed("config", "an image manifest must name its config");
  }
  const config =
    json["config"] === undefined ? {} : { config: readDescriptor(json["config"], "config") };
  const layers = readList(
    json,
    json["layers"] === undefined && json["blobs"] !== undefined ? "blobs" : "layers",
  );
  return { kind: "manifest", mediaType, ...config, layers, ...subject, ...artifactType };
}

/** Everything a document points at that belongs to it: children of an index; config and layers. */
export function childrenOf(document: Document): readonly Descriptor[] {
  if (document.kind === "index") return document.manifests;
  return document.config === undefined ? document.layers : [document.config, ...document.layers];
}

function parseJson(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch (cause) {
    throw new Failure({
      code: "manifest-invalid",
      message: `Cannot use the manifest: it is not JSON but begins with ${quoted(startOf(bytes), 60)}`,
      hint: "A proxy or login page may have answered in place of the registry: open the registry's address by hand",
      cause,
    });
  }
  if (!isJsonObject(value)) throw malformed("the document", "expected a JSON object");
  return value;
}

function startOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, 60));
}

const SAYS_NOTHING: ReadonlySet<string> = new Set([
  "",
  "application/octet-stream",
  "application/json",
  "text/plain",
  "binary/octet-stream",
]);

function mediaTypeOf(json: JsonObject, contentType: string | undefined): string {
  const listsManifests = json["manifests"] !== undefined;
  if (listsManifests && (json["layers"] !== undefined || json["config"] !== undefined)) {
    throw malformed(
      "the document",
      "it claims to be an index and an image at once (CVE-2021-41190)",
    );
  }
  const declared = typeof json["mediaType"] === "string" ? json["mediaType"] : undefined;
  const received = contentType === undefined ? "" : bareMediaType(contentType);
  if (SAYS_NOTHING.has(received))
    return checkShape(declared ?? (listsManifests ? OCI_INDEX : OCI_MANIFEST), json);
  if (declared !== undefined && declared !== received) {
    throw malformed(
      "mediaType",
      `it is ${quoted(declared)} while the registry calls it ${quoted(received)}`,
    );
  }
  return checkShape(received, json);
}

/** An index must list manifests and an image must not, whatever name it goes by. */
function checkShape(mediaType: string, json: JsonObject): string {
  const listsManifests = json["manifests"] !== undefined;
  if (isIndexType(mediaType) && !listsManifests)
    throw malformed("manifests", "an index must list manifests");
  if (isManifestType(mediaType) && listsManifests) {
    throw malformed("manifests", "an image manifest must not list manifests");
  }
  return mediaType;
}

function readList(json: JsonObject, field: string): readonly Descriptor[] {
  const list = json[field] ?? [];
  if (!Array.isArray(list)) throw malformed(field, "expected a list");
  if (list.length > DESCRIPTORS_MAX)
    throw malformed(field, `expected at most ${DESCRIPTORS_MAX} entries`);
  return list.map((entry, i) => readDescriptor(entry, `${field}[${i}]`));
}

function schema1(): Failure {
  return new Failure({
    code: "manifest-schema1",
    message: "Cannot use the manifest: it is of Docker's schema 1, which was withdrawn in 2019",
    hint: "Push the image again with a current tool, which writes an OCI or Docker schema 2 manifest",
  });
}

function unsupported(mediaType: string): Failure {
  return new Failure({
    code: "manifest-unsupported",
    message: `Cannot use the manifest: its media type is ${quoted(mediaType)}, expected an OCI or Docker manifest or index`,
    hint: "Check that the reference names an image and not something else that the registry holds",
  });
}
