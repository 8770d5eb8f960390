import type { HeldManifest, Page, Repositories } from "#content";
import type { Descriptor, Digest } from "#oci";
import { type Catalog, type DeliveredRepository, isDocument, type ServedStore } from "./catalog.ts";

/** Where repositories have what is theirs. */
export interface RepositoryPlace {
  readonly store: ServedStore;
  /** Those of the store, which remember what they answered. */
  readonly repositories: Repositories;
  readonly catalog: Catalog;
}

/**
 * One repository as a client sees it: what was delivered to it and what was pushed to it, as one.
 *
 * What was delivered comes first. A tag that was delivered stands for what the delivery verified,
 * whatever was pushed under it before: the cluster must get what its profile declares. What was pushed
 * is seen again once the delivery no longer has the tag.
 */
export class Repository {
  /** The one spelling of its name, see `repositoryKey`. */
  readonly key: string;
  readonly #store: ServedStore;
  readonly #repositories: Repositories;
  readonly #catalog: Catalog;
  readonly #delivered: DeliveredRepository | undefined;

  /** Use {@link openRepository}. */
  constructor(
    key: string,
    { store, repositories, catalog }: RepositoryPlace,
    delivered: DeliveredRepository | undefined,
  ) {
    this.key = key;
    this.#store = store;
    this.#repositories = repositories;
    this.#catalog = catalog;
    this.#delivered = delivered;
  }

  /** Whether there is anything in it. */
  async exists(): Promise<boolean> {
    return this.#delivered !== undefined || this.#repositories.has(this.key);
  }

  /** What a tag stands for. */
  async tag(tag: string): Promise<Descriptor | undefined> {
    return this.deliveredTag(tag) ?? this.pushedTag(tag);
  }

  /** What the delivery says that a tag stands for. */
  deliveredTag(tag: string): Descriptor | undefined {
    return this.#delivered?.tags.get(tag);
  }

  /** What a push says that a tag stands for. */
  pushedTag(tag: string): Promise<Descriptor | undefined> {
    return this.#repositories.tag(this.key, tag);
  }

  /** Whether a name that was delivered leads to the content. */
  async delivers(digest: Digest): Promise<boolean> {
    return (await this.#findDelivered(digest)) !== undefined;
  }

  /** The manifest or index, if the repository has it and the store does. */
  async manifest(digest: Digest): Promise<Descriptor | undefined> {
    const delivered = await this.#findDelivered(digest);
    if (delivered !== undefined && isDocument(delivered) && (await this.#store.has(delivered))) {
      return delivered;
    }
    return this.pushedManifest(digest);
  }

  /** The manifest or index, if it was pushed to the repository and the store has it. */
  async pushedManifest(digest: Digest): Promise<Descriptor | undefined> {
    const pushed = (await this.#repositories.manifest(this.key, digest))?.descriptor;
    return pushed !== undefined && (await this.#store.has(pushed)) ? pushed : undefined;
  }

  /** The blob, if the repository has it and the store does, whole (S-65). */
  async blob(digest: Digest): Promise<Descriptor | undefined> {
    const delivered = await this.#findDelivered(digest);
    if (delivered !== undefined && (await this.#store.has(delivered))) return delivered;
    return this.pushedBlob(digest);
  }

  /** The blob, if it was pushed to the repository and the store has it, whole. */
  pushedBlob(digest: Digest): Promise<Descriptor | undefined> {
    return this.#repositories.blob(this.key, digest);
  }

  /** One page of the tags in the order of code units; undefined when there is no such repository. */
  async tags({ after = "", limit }: Page): Promise<readonly string[] | undefined> {
    const pushed = await this.#repositories.tags(this.key, { after, limit });
    if (pushed === undefined && this.#delivered === undefined) return undefined;
    const delivered = [...(this.#delivered?.tags.keys() ?? [])].filter((tag) => tag > after);
    return [...new Set([...delivered, ...(pushed ?? [])])].sort().slice(0, limit);
  }

  /** The manifests whose subject this is, in the order of their digests (S-7). */
  async referrers(subject: Digest): Promise<readonly HeldManifest[]> {
    const pushed = await this.#repositories.referrers(this.key, subject);
    const delivered =
      this.#delivered === undefined ? [] : await this.#catalog.referrers(this.#delivered, subject);
    const all = new Map([...delivered, ...pushed].map((held) => [held.descriptor.digest, held]));
    return [...all.values()].sort((a, b) => (a.descriptor.digest < b.descriptor.digest ? -1 : 1));
  }

  async #findDelivered(digest: Digest): Promise<Descriptor | undefined> {
    return this.#delivered && this.#catalog.find(this.#delivered, digest);
  }
}

/** The repository of a key that `repositoryKey` made, whether there is anything in it or not. */
export async function openRepository(key: string, place: RepositoryPlace): Promise<Repository> {
  return new Repository(key, place, await place.catalog.repository(key));
}
