import type { HeldManifest } from "#content";
import { type Digest, MANIFEST_BYTES_MAX, OCI_INDEX } from "#oci";
import { nextLink } from "./list.ts";
import type { RepositoryRequest } from "./repository-request.ts";
import { type Answer, jsonAnswer, WireError } from "./wire.ts";

/**
 * Who refers to a digest, as an index: of what was pushed and what was delivered, whether the digest
 * itself is here or not (S-7). Nobody is an empty list and not an error; only under a namespace of
 * which nothing is here the client is to ask elsewhere (S-41).
 */
export async function listReferrers(
  { repository, url }: RepositoryRequest,
  subject: Digest,
): Promise<Answer> {
  if (url.searchParams.has("ns") && !(await repository.exists())) {
    throw new WireError("NAME_UNKNOWN", "this registry has no such repository");
  }
  const types = url.searchParams.getAll("artifactType");
  const after = url.searchParams.get("last") ?? "";
  const referrers = (await repository.referrers(subject)).filter(
    ({ descriptor, artifactType }) =>
      descriptor.digest > after && (types.length === 0 || types.includes(artifactType ?? "")),
  );
  const { manifests, next } = firstPage(referrers);
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  return jsonAnswer(document, 200, {
    "content-type": OCI_INDEX,
    "cache-control": "no-cache",
    ...(types.length === 0 ? {} : { "oci-filters-applied": "artifactType" }),
    ...(next === undefined ? {} : { link: nextLink(url, { last: next }) }),
  });
}

/** As many as a client will read: an index may be as large as a manifest. */
function firstPage(referrers: readonly HeldManifest[]): { manifests: object[]; next?: string } {
  const manifests: object[] = [];
  let bytes = 0;
  let last: string | undefined;
  for (const { descriptor, artifactType, annotations } of referrers) {
    const entry = { ...descriptor, artifactType, annotations };
    bytes += Buffer.byteLength(JSON.stringify(entry));
    if (last !== undefined && bytes > MANIFEST_BYTES_MAX / 2) return { manifests, next: last };
    manifests.push(entry);
    last = descriptor.digest;
  }
  return { manifests };
}
