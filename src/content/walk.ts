import { isFailure } from "#base";
import { childrenOf, type Descriptor, isIndexType, isManifestType, parseDocument } from "#oci";
import type { CallOptions, Fetcher, NamedContent } from "./ports.ts";
import type { Page, Repositories } from "./repositories.ts";
import { fetchVerified } from "./verify.ts";

/** How many repositories and tags are asked for at once. */
const PAGE_ENTRIES = 500;

/**
 * What content leads to, for who goes through all of a store: none when it is no document, or is not
 * here, or is not to be used.
 */
export async function childrenIn(
  store: Fetcher,
  content: Descriptor,
  options: CallOptions,
): Promise<readonly Descriptor[]> {
  const { mediaType } = content;
  if (!isManifestType(mediaType) && !isIndexType(mediaType)) return [];
  try {
    return childrenOf(parseDocument(await fetchVerified(store, content, options), mediaType));
  } catch (error) {
    if (isFailure(error)) return [];
    throw error;
  }
}

/** Every tag of every repository, as `REPOSITORY:TAG`, with what it stands for. */
export async function* taggedIn(repositories: Repositories): AsyncGenerator<NamedContent> {
  for await (const repository of pages((page) => repositories.list(page))) {
    for await (const tag of pages((page) => repositories.tags(repository, page))) {
      const descriptor = await repositories.tag(repository, tag);
      if (descriptor !== undefined) yield { name: `${repository}:${tag}`, descriptor };
    }
  }
}

async function* pages(
  list: (page: Page) => Promise<readonly string[] | undefined>,
): AsyncGenerator<string> {
  for (let page: Page = { limit: PAGE_ENTRIES }; ; ) {
    const entries = (await list(page)) ?? [];
    yield* entries;
    const after = entries.at(-1);
    if (after === undefined || entries.length < PAGE_ENTRIES) return;
    page = { limit: PAGE_ENTRIES, after };
  }
}
