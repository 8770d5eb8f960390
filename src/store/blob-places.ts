import { isFailure } from "#base";
import {
  fetchVerified,
  type NamedContent,
  type Page,
  type Repositories,
  type Store,
} from "#content";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  parseDocument,
} from "#oci";

/** What says which names lead to content. Reading is enough. */
export interface NamingStore extends Store {
  /** What was pushed, where the store takes that. */
  readonly repositories?: Repositories;
}

/** How many repositories and tags are asked for at once. */
const PAGE_ENTRIES = 500;

/** Where a blob belongs. */
export interface BlobPlace {
  /** In order. */
  readonly names: string[];
  /** By the manifest that lists it, in bytes. */
  bytesExpected?: number;
}

/** Which names lead to content, and what size its manifests say it has. */
export async function placesOf(
  store: NamingStore,
  wanted: ReadonlySet<Digest>,
  { signal }: { readonly signal: AbortSignal },
): Promise<ReadonlyMap<Digest, BlobPlace>> {
  const places = new Map<Digest, BlobPlace>();
  for await (const { name, descriptor } of namedIn(store)) {
    const reached = new Map([[descriptor.digest, descriptor]]);
    // A map gives what is added while it is gone through, so this reaches every level.
    for (const content of reached.values()) {
      for (const child of await childrenIn(store, content, signal)) {
        if (!reached.has(child.digest)) reached.set(child.digest, child);
      }
      if (!wanted.has(content.digest)) continue;
      const place: BlobPlace = places.get(content.digest) ?? { names: [] };
      place.names.push(name);
      place.bytesExpected ??= content.size;
      places.set(content.digest, place);
    }
  }
  for (const { names } of places.values()) names.sort();
  return places;
}

async function* namedIn(store: NamingStore): AsyncGenerator<NamedContent> {
  yield* await store.names();
  const { repositories } = store;
  if (repositories === undefined) return;
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

/** None when it is no document, or is not here, or is not to be used. */
async function childrenIn(
  store: Store,
  content: Descriptor,
  signal: AbortSignal,
): Promise<readonly Descriptor[]> {
  const { mediaType } = content;
  if (!isManifestType(mediaType) && !isIndexType(mediaType)) return [];
  try {
    return childrenOf(parseDocument(await fetchVerified(store, content, { signal }), mediaType));
  } catch (error) {
    if (isFailure(error)) return [];
    throw error;
  }
}
