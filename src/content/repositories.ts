import type { Descriptor, Digest } from "#oci";

/** A manifest or index that was pushed to a repository. */
export interface HeldManifest {
  readonly descriptor: Descriptor;
  /** What it is, for the list of referrers: its own `artifactType`, else the type of its config. */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** What it refers to, if anything. That need not be here. */
  readonly subject?: Digest;
}

/** One page of a list in the order of code units. */
export interface Page {
  /** Nothing up to and including this. From the start by default. */
  readonly after?: string;
  readonly limit: number;
}

/** What a manifest is put under, and what must hold for that. */
export interface PutOptions {
  readonly tags: readonly string[];
  /** What the tags must stand for before: a digest, or null for nothing. Anything by default. */
  readonly expected?: Digest | null;
}

/**
 * What a registry keeps beside content: which blobs and manifests are a repository's own, its tags, and
 * who refers to whom. All of it is what was pushed; what was delivered has names in the `Store`.
 *
 * Every change is durable when its promise resolves, whole or not at all. Names of repositories and
 * tags are taken as they come: whoever calls has checked their grammar.
 */
export interface Repositories {
  /**
   * Makes content that is in the store a blob of the repository, or renews that it is.
   *
   * @throws {Failure} `content-missing` when it is not in the store any more
   */
  linkBlob(repository: string, blob: Descriptor): Promise<void>;
  /** The blob, if the repository has it and the store still does, whole (S-65). */
  blob(repository: string, digest: Digest): Promise<Descriptor | undefined>;
  /** Takes a blob out of the repository; false when it was not in it. The content stays until it is collected. */
  unlinkBlob(repository: string, digest: Digest): Promise<boolean>;
  /**
   * Makes a document that is in the store a manifest of the repository, and points tags at it.
   *
   * @throws {Failure} `tag-moved` when `expected` does not hold, `content-missing` when the document is
   *   not in the store any more; nothing is changed then
   */
  putManifest(repository: string, manifest: HeldManifest, options: PutOptions): Promise<void>;
  /** The manifest, if the repository has it. */
  manifest(repository: string, digest: Digest): Promise<HeldManifest | undefined>;
  /** Takes a manifest and every tag of it out of the repository; false when it was not in it. */
  deleteManifest(repository: string, digest: Digest): Promise<boolean>;
  /** What a tag stands for. */
  tag(repository: string, tag: string): Promise<Descriptor | undefined>;
  /** Takes a tag away, and leaves what it stood for; false when there was none. */
  deleteTag(repository: string, tag: string): Promise<boolean>;
  /** The tags of a repository; undefined when there is no such repository. */
  tags(repository: string, page: Page): Promise<readonly string[] | undefined>;
  /** The manifests whose subject this is, in the order of their digests. The subject need not be here. */
  referrers(repository: string, subject: Digest): Promise<readonly HeldManifest[]>;
  /** The repositories that have a manifest or a blob. */
  list(page: Page): Promise<readonly string[]>;
  /** Whether the repository has a manifest or a blob. */
  has(repository: string): Promise<boolean>;
}
