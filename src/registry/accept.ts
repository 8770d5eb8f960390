import { bareMediaType, isIndexType, isManifestType } from "#oci";

/**
 * Whether a manifest of this type may be sent for an `Accept` header.
 *
 * It is sent as it is stored or not at all, for another form would have another digest. Only a client
 * that names manifest types and not this one is turned away (S-24): what else is in the header says
 * nothing about manifests, and clients are careless with it.
 */
export function accepts(header: string | null, mediaType: string): boolean {
  if (header === null) return true;
  let namesOthers = false;
  // Clients name the common types first, so most of a list is never read.
  for (const entry of header.split(",")) {
    const type = bareMediaType(entry);
    if (type === mediaType || type === "*/*" || type === "application/*") return true;
    namesOthers ||= isManifestType(type) || isIndexType(type);
  }
  return !namesOthers;
}

/** Whether a client has this version already: `If-None-Match`, quoted or not, weak or strong (S-25). */
export function matchesEtag(header: string | null, digest: string): boolean {
  if (header === null) return false;
  return header.split(",").some((entry) => {
    const tag = entry
      .trim()
      .replace(/^W\//, "")
      .replace(/^"(.*)"$/, "$1");
    return tag === "*" || tag === digest;
  });
}
