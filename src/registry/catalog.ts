import { isFailure } from "#base";
import {
  fetchVerified,
  type HeldManifest,
  type NamedContent,
  type Repositories,
  type Store,
  type Uploads,
} from "#content";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  MANIFEST_BYTES_MAX,
  parseDocument,
} from "#oci";
import { canonicalDomain } from "#reference";
import { heldManifest } from "./held.ts";

/** A store that a registry can serve from. */
export interface ServedStore extends Store {
  /**
   * The content as something to send, whole or in part, that is read no sooner than it is sent.
   *
   * @throws {Failure} `content-missing`
   */
  openBlob(descriptor: Descriptor): Promise<Blob>;
  /**
   * Differs whenever a name may have changed, and whenever anybody but this store may have changed what
   * was pushed. Asked for with every request, so it must be cheap.
   */
  revision(): string;
  /** What was pushed. */
  readonly repositories: Repositories;
  /** What is being pushed. */
  readonly uploads: Uploads;
}

/** What was delivered of one repository: what the names of a store make of it. */
export interface DeliveredRepository {
  readonly tags: ReadonlyMap<string, Descriptor>;
  /** What any name of the repository stands for. */
  readonly roots: readonly Descriptor[];
}

/** What can be reached from one root. */
interface Reach {
  readonly contents: ReadonlyMap<Digest, Descriptor>;
  /** The documents that refer to something. */
  readonly referrers: readonly HeldManifest[];
  /** False while the store lacks documents that are listed: they may come later. */
  readonly isComplete: boolean;
}

/** How much of manifests is kept in memory. Thousands of real ones, or four of the largest allowed. */
const CACHE_BYTES_MAX = 16 * 1024 * 1024;

/** Roots whose reach is remembered. More repositories than a site has, and a bound all the same. */
const REACHES_MAX = 10_000;

/** How many documents one root may lead to; real ones lead to tens. */
const DOCUMENTS_MAX = 2000;

/** What was delivered to a store: which repositories, and what belongs to each. */
export class Catalog {
  readonly #store: ServedStore;
  readonly #project: string | undefined;
  readonly #documents = new Map<Digest, Uint8Array<ArrayBuffer>>();
  readonly #reaches = new Map<Digest, Reach>();
  #documentBytes = 0;
  #repositories: ReadonlyMap<string, DeliveredRepository> = new Map();
  #revision: string | undefined;

  /** @param project what may stand before every name, see {@link repositoryKey} */
  constructor(store: ServedStore, project?: string) {
    this.#store = store;
    this.#project = project;
  }

  /** The repository of a key that {@link repositoryKey} made, or undefined. */
  async repository(key: string): Promise<DeliveredRepository | undefined> {
    return (await this.#current()).get(key);
  }

  /** The keys of all repositories. */
  async keys(): Promise<readonly string[]> {
    return [...(await this.#current()).keys()];
  }

  async #current(): Promise<ReadonlyMap<string, DeliveredRepository>> {
    const revision = this.#store.revision();
    if (revision !== this.#revision) {
      this.#repositories = repositoriesOf(await this.#store.names(), this.#project);
      this.#revision = revision;
    }
    return this.#repositories;
  }

  /** The descriptor of content that a name of the repository leads to, or undefined for all other content. */
  async find(repository: DeliveredRepository, digest: Digest): Promise<Descriptor | undefined> {
    for (const root of repository.roots) {
      const found = await this.#findBelow(root, digest);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The documents whose subject this is, among those that a name of the repository leads to. */
  async referrers(
    repository: DeliveredRepository,
    subject: Digest,
  ): Promise<readonly HeldManifest[]> {
    const referrers = new Map<Digest, HeldManifest>();
    for (const root of repository.roots) {
      const known = this.#reaches.get(root.digest);
      const reach = known?.isComplete === true ? known : await this.#walk(root);
      for (const manifest of reach.referrers) {
        if (manifest.subject === subject) referrers.set(manifest.descriptor.digest, manifest);
      }
    }
    return [...referrers.values()];
  }

  /**
   * The verified bytes of a manifest or index.
   *
   * @throws {Failure} `content-missing`
   */
  async document(descriptor: Descriptor): Promise<Uint8Array<ArrayBuffer>> {
    const cached = this.#documents.get(descriptor.digest);
    if (cached !== undefined) {
      // The newest last: what has not been asked for the longest is dropped first.
      this.#documents.delete(descriptor.digest);
      this.#documents.set(descriptor.digest, cached);
      return cached;
    }
    const signal = new AbortController().signal;
    const bytes = new Uint8Array(await fetchVerified(this.#store, descriptor, { signal }));
    if (!this.#documents.has(descriptor.digest)) this.#remember(descriptor.digest, bytes);
    return bytes;
  }

  /**
   * The content as something to send.
   *
   * @throws {Failure} `content-missing`
   */
  openBlob(descriptor: Descriptor): Promise<Blob> {
    return this.#store.openBlob(descriptor);
  }

  #remember(digest: Digest, bytes: Uint8Array<ArrayBuffer>): void {
    this.#documents.set(digest, bytes);
    this.#documentBytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#documents) {
      if (this.#documentBytes <= CACHE_BYTES_MAX) return;
      this.#documents.delete(oldest);
      this.#documentBytes -= byteLength;
    }
  }

  async #findBelow(root: Descriptor, digest: Digest): Promise<Descriptor | undefined> {
    const known = this.#reaches.get(root.digest);
    const found = known?.contents.get(digest);
    if (found !== undefined || known?.isComplete === true) return found;
    return (await this.#walk(root)).contents.get(digest);
  }

  async #walk(root: Descriptor): Promise<Reach> {
    const contents = new Map<Digest, Descriptor>([[root.digest, root]]);
    const referrers: HeldManifest[] = [];
    let isComplete = true;
    let documents = 0;
    // A map gives what is added while it is gone through, so this reaches every level.
    for (const descriptor of contents.values()) {
      if (!isDocument(descriptor)) continue;
      documents += 1;
      if (documents > DOCUMENTS_MAX) break;
      const read = await this.#read(descriptor);
      if (read === undefined) isComplete = false;
      for (const child of read?.children ?? []) {
        if (!contents.has(child.digest)) contents.set(child.digest, child);
      }
      if (read?.held.subject !== undefined) referrers.push(read.held);
    }
    const reach = { contents, referrers, isComplete };
    if (this.#reaches.size >= REACHES_MAX) this.#reaches.clear();
    this.#reaches.set(root.digest, reach);
    return reach;
  }

  /** Undefined when the document is not here, which is so for other platforms, or not to be used. */
  async #read(
    descriptor: Descriptor,
  ): Promise<{ children: readonly Descriptor[]; held: HeldManifest } | undefined> {
    if (!(await this.#store.has(descriptor))) return undefined;
    try {
      const bytes = await this.document(descriptor);
      const document = parseDocument(bytes, descriptor.mediaType);
      return { children: childrenOf(document), held: heldManifest(descriptor, document, bytes) };
    } catch (error) {
      if (isFailure(error)) return undefined;
      throw error;
    }
  }
}

/**
 * The one spelling under which a repository is kept and asked for. A colon can't stand in the path of
 * a request, so the one before a port becomes `_`, as it does when a name is prepended to a registry.
 *
 * @param project what may stand before every name and says nothing: `<project>/quay.io/team/app` and
 *   `quay.io/team/app` are one repository, for reading and for writing
 */
export function repositoryKey(repository: string, project?: string): string {
  const prefix = `${project ?? ""}/`;
  const isInProject = project !== undefined && repository.startsWith(prefix);
  const name = isInProject ? repository.slice(prefix.length) : repository;
  const slash = name.indexOf("/");
  if (slash === -1) return name;
  const domain = canonicalDomain(name.slice(0, slash));
  return `${domain.replace(":", "_")}${name.slice(slash)}`;
}

function repositoriesOf(
  names: readonly NamedContent[],
  project: string | undefined,
): ReadonlyMap<string, DeliveredRepository> {
  const repositories = new Map<string, ReturnType<typeof emptyRepository>>();
  for (const { name, descriptor } of names) {
    const { repository, tag, isPinned } = splitName(name);
    const key = repositoryKey(repository, project);
    const entry = repositories.get(key) ?? emptyRepository();
    repositories.set(key, entry);
    entry.roots.push(descriptor);
    // `app:v1` itself says more about the tag than `app:v1@sha256:…` does.
    if (tag !== undefined && !(isPinned && entry.tags.has(tag))) entry.tags.set(tag, descriptor);
  }
  return repositories;
}

function emptyRepository(): { tags: Map<string, Descriptor>; roots: Descriptor[] } {
  return { tags: new Map(), roots: [] };
}

/** Splits `repository[:tag][@digest]`. The names of pushed content need not begin with a registry. */
function splitName(name: string): { repository: string; tag?: string; isPinned: boolean } {
  const [named = "", digest] = name.split("@");
  const isPinned = digest !== undefined;
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  if (colon === -1) return { repository: named, isPinned };
  return { repository: named.slice(0, colon), tag: named.slice(colon + 1), isPinned };
}

/** Whether content is a manifest or index; a layer that claims to be one and is too large for it is none. */
export function isDocument({ mediaType, size }: Descriptor): boolean {
  return (isManifestType(mediaType) || isIndexType(mediaType)) && size <= MANIFEST_BYTES_MAX;
}
