import { childrenIn, type NamedContent, type Repositories, type Store, taggedIn } from "#content";
import type { Digest } from "#oci";

/** What says which names lead to content. Reading is enough. */
export interface NamingStore extends Store {
  /** What was pushed, where the store takes that. */
  readonly repositories?: Repositories;
}

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
      for (const child of await childrenIn(store, content, { signal })) {
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
  if (store.repositories !== undefined) yield* taggedIn(store.repositories);
}
