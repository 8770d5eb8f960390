import type { HeldManifest } from "#content";
import { type Descriptor, type Document, isJsonObject } from "#oci";

/**
 * What a repository remembers of a manifest or index: enough to list it among the referrers of its
 * subject without reading it again (S-7). Annotations are read only where there is a subject.
 *
 * @param bytes of the document, which were parsed before
 */
export function heldManifest(
  { mediaType, digest, size }: Descriptor,
  document: Document,
  bytes: Uint8Array,
): HeldManifest {
  const descriptor = { mediaType, digest, size };
  if (document.subject === undefined) return { descriptor };
  // OCI distribution spec, "Listing Referrers": an image that does not say what it is, is what its config is.
  const config = document.kind === "manifest" ? document.config : undefined;
  const artifactType = document.artifactType || config?.mediaType;
  const annotations = annotationsOf(bytes);
  return {
    descriptor,
    subject: document.subject.digest,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function annotationsOf(bytes: Uint8Array): Readonly<Record<string, string>> | undefined {
  const json: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const annotations = isJsonObject(json) ? json["annotations"] : undefined;
  if (!isJsonObject(annotations)) return undefined;
  const strings = Object.entries(annotations).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return Object.fromEntries(strings);
}
