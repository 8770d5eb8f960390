import type { Digest } from "#oci";
import type { RepositoryRequest } from "./repository-request.ts";
import type { TagOrDigest } from "./route.ts";
import { type Answer, emptyAnswer, type WireCode, WireError } from "./wire.ts";

/**
 * Deletes a tag, and leaves what it stood for; or a manifest with every tag of it, and leaves what it
 * points at (S-28). The content itself goes when it is collected.
 *
 * @throws {WireError} `DENIED` for what was delivered: a delivery without it takes it away
 */
export async function deleteManifest(
  { repositories, repository }: RepositoryRequest,
  reference: TagOrDigest,
): Promise<Answer> {
  if ("tag" in reference) {
    if (repository.deliveredTag(reference.tag) !== undefined) throw delivered();
    const wasThere = await repositories.deleteTag(repository.key, reference.tag);
    return deleted(wasThere, "MANIFEST_UNKNOWN");
  }
  if (await repository.delivers(reference.digest)) throw delivered();
  const wasThere = await repositories.deleteManifest(repository.key, reference.digest);
  return deleted(wasThere, "MANIFEST_UNKNOWN");
}

/**
 * Takes a blob out of this repository; others keep it (SEC-12).
 *
 * @throws {WireError} `DENIED` for what was delivered
 */
export async function deleteBlob(
  { repositories, repository }: RepositoryRequest,
  digest: Digest,
): Promise<Answer> {
  if (await repository.delivers(digest)) throw delivered();
  return deleted(await repositories.unlinkBlob(repository.key, digest), "BLOB_UNKNOWN");
}

function deleted(wasThere: boolean, unknown: WireCode): Answer {
  if (wasThere) return emptyAnswer(202, {});
  throw new WireError(unknown, "the repository does not have it");
}

function delivered(): WireError {
  return new WireError("DENIED", "it was delivered to this site: only a delivery takes it away");
}
