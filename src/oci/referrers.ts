import { type Descriptor, isJsonObject, stringsOf } from "./descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "./digest.ts";
import { type Document, MANIFEST_BYTES_MAX } from "./document.ts";
import { OCI_INDEX } from "./media-type.ts";

/** How long the parts of a {@link referrersTag} may be (OCI distribution spec, "Referrers Tag Schema"). */
const TAG_ALGORITHM_MAX = 32;
const TAG_HEX_MAX = 64;

/** What cosign puts behind the tag of a digest: signatures, attestations, bills of materials (C-123). */
const COSIGN_SUFFIXES = [".sig", ".att", ".sbom"] as const;

const ATTACHMENT_TAG = /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64})(\.sig|\.att|\.sbom)?$/;

/**
 * The tag under which a registry without a list of referrers has one: `sha256-<hex>`. A digest of sha512
 * is cut off, for a tag has 128 characters at most (C-121).
 */
export function referrersTag(digest: Digest): string {
  const algorithm = digestAlgorithm(digest).slice(0, TAG_ALGORITHM_MAX);
  return `${algorithm}-${digestHex(digest).slice(0, TAG_HEX_MAX)}`;
}

/** The tags under which cosign keeps what it adds to a digest; none for sha512, which no tag can hold whole. */
export function cosignTags(digest: Digest): readonly string[] {
  if (digestAlgorithm(digest) !== "sha256") return [];
  return COSIGN_SUFFIXES.map((suffix) => `${referrersTag(digest)}${suffix}`);
}

/**
 * The {@link referrersTag} of what a tag belongs to, when it is one itself or one of {@link cosignTags};
 * undefined for every other tag.
 */
export function subjectTagOf(tag: string): string | undefined {
  return ATTACHMENT_TAG.exec(tag)?.[1];
}

/**
 * A document that refers to another, as lists of referrers have it: with what it is and its annotations
 * (OCI distribution spec, "Listing Referrers").
 *
 * @param bytes of the document, which were parsed before
 */
export function referrerEntry(
  { mediaType, digest, size }: Descriptor,
  document: Document,
  bytes: Uint8Array,
): Descriptor {
  const config = document.kind === "manifest" ? document.config : undefined;
  // An image that does not say what it is, is what its config is; an index has none.
  const artifactType = document.artifactType || config?.mediaType;
  const annotations = annotationsOf(bytes);
  return {
    ...{ mediaType, digest, size },
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function annotationsOf(bytes: Uint8Array): Readonly<Record<string, string>> | undefined {
  const json: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const annotations = isJsonObject(json) ? json["annotations"] : undefined;
  return isJsonObject(annotations) ? stringsOf(annotations) : undefined;
}

/**
 * The list of referrers that stands under a {@link referrersTag}: each once, in the order of their digests,
 * so that the same referrers always give the same bytes. Annotations that would make it too large for
 * clients to read are left out; they are in the referrers themselves.
 */
export function formatReferrers(entries: Iterable<Descriptor>): Uint8Array<ArrayBuffer> {
  const unique = new Map([...entries].map((entry) => [entry.digest, entry]));
  const manifests = [...unique.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
  const whole = encodeIndex(manifests);
  if (whole.byteLength <= MANIFEST_BYTES_MAX) return whole;
  return encodeIndex(manifests.map(({ annotations: _, ...entry }) => entry));
}

function encodeIndex(manifests: readonly Descriptor[]): Uint8Array<ArrayBuffer> {
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  return new TextEncoder().encode(JSON.stringify(document));
}
