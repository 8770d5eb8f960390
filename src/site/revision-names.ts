import type { Store } from "#content";
import { type DiskStore, nameOfRevision } from "#store";

/**
 * The store as a revision fills it before it is in force: what it names is named for it alone, so that
 * nothing changes for the cluster. What it has no name for yet is found where it is in force.
 */
export function openRevisionNames(store: DiskStore, revision: string): Store {
  return {
    has: (descriptor) => store.has(descriptor),
    lease: (descriptor) => store.lease(descriptor),
    bytesHere: (descriptor) => store.bytesHere(descriptor),
    fetch: (descriptor, options) => store.fetch(descriptor, options),
    ingest: (descriptor) => store.ingest(descriptor),
    names: () => store.names(),
    name: (name, descriptor) => store.name(nameOfRevision(revision, name), descriptor),
    async lookup(name) {
      return (await store.lookup(nameOfRevision(revision, name))) ?? (await store.lookup(name));
    },
  };
}

/**
 * Puts the names of a revision in force. A name that stands as it should costs nothing, and done again
 * after a death in between it does the rest.
 *
 * @returns how many names stand for something else than before
 * @throws {Failure} `content-missing` when what the revision had is gone; what a disk does
 */
export async function putInForce(
  store: DiskStore,
  revision: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<number> {
  let changed = 0;
  for (const { name, descriptor } of await store.namesOfRevision(revision)) {
    signal.throwIfAborted();
    const before = await store.lookup(name);
    if (before?.digest === descriptor.digest) continue;
    await store.name(name, descriptor);
    changed += 1;
  }
  await store.flush();
  return changed;
}
