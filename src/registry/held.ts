import type { HeldManifest } from "#content";
import { type Descriptor, type Document, referrerEntry } from "#oci";

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
  const { artifactType, annotations } = referrerEntry(descriptor, document, bytes);
  return {
    descriptor,
    subject: document.subject.digest,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
