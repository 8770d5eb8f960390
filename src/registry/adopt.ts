import { childrenOf, type Descriptor, parseDocument } from "#oci";
import { isDocument } from "./catalog.ts";
import { heldManifest } from "./held.ts";
import type { RepositoryRequest } from "./repository-request.ts";

/**
 * Makes content that the repository has only because it was delivered its own as well, with all that
 * is here of what it points at: what is pushed on top of a delivered image must not fall apart when a
 * later delivery no longer has that image.
 */
export async function adopt(from: RepositoryRequest, content: Descriptor): Promise<void> {
  const { store, repositories, catalog, repository } = from;
  const { digest } = content;
  if ((await repository.pushedManifest(digest)) ?? (await repository.pushedBlob(digest))) return;
  if (!isDocument(content)) return repositories.linkBlob(repository.key, content);
  const bytes = await catalog.document(content);
  const document = parseDocument(bytes, content.mediaType);
  for (const child of childrenOf(document)) {
    if (await store.has(child)) await adopt(from, child);
  }
  const held = heldManifest(content, document, bytes);
  await repositories.putManifest(repository.key, held, { tags: [] });
}
