import { Failure } from "#base";
import type { Descriptor, Digest } from "#oci";
import type { HeldManifest, Page, Repositories } from "./repositories.ts";
import { contentMissing } from "./verify.ts";

/** What one repository has. */
interface MemoryRepository {
  readonly blobs: Map<Digest, Descriptor>;
  readonly manifests: Map<Digest, HeldManifest>;
  readonly tags: Map<string, Digest>;
}

/**
 * Makes {@link Repositories} that live as long as the process.
 *
 * @param isHere whether the store has content, whole
 */
export function createMemoryRepositories(
  isHere: (descriptor: Descriptor) => boolean,
): Repositories {
  const repositories = new Map<string, MemoryRepository>();

  const open = (name: string): MemoryRepository => {
    const repository = repositories.get(name) ?? emptyRepository();
    repositories.set(name, repository);
    return repository;
  };
  /** A repository is there as long as it has something. */
  const leave = (name: string): void => {
    const repository = repositories.get(name);
    if (repository?.blobs.size === 0 && repository.manifests.size === 0) repositories.delete(name);
  };

  return {
    async linkBlob(name, blob) {
      if (!isHere(blob)) throw contentMissing(blob);
      const { mediaType, digest, size } = blob;
      open(name).blobs.set(digest, { mediaType, digest, size });
    },
    async blob(name, digest) {
      const blob = repositories.get(name)?.blobs.get(digest);
      return blob !== undefined && isHere(blob) ? blob : undefined;
    },
    async unlinkBlob(name, digest) {
      const wasThere = repositories.get(name)?.blobs.delete(digest) ?? false;
      leave(name);
      return wasThere;
    },
    async putManifest(name, manifest, { tags, expected }) {
      if (!isHere(manifest.descriptor)) throw contentMissing(manifest.descriptor);
      const { digest } = manifest.descriptor;
      const held = repositories.get(name)?.tags;
      if (expected !== undefined) {
        for (const tag of tags) if ((held?.get(tag) ?? null) !== expected) throw tagMoved();
      }
      const repository = open(name);
      repository.manifests.set(digest, manifest);
      for (const tag of tags) repository.tags.set(tag, digest);
    },
    manifest: async (name, digest) => repositories.get(name)?.manifests.get(digest),
    async deleteManifest(name, digest) {
      const repository = repositories.get(name);
      const wasThere = repository?.manifests.delete(digest) ?? false;
      for (const [tag, target] of repository?.tags ?? []) {
        if (target === digest) repository?.tags.delete(tag);
      }
      leave(name);
      return wasThere;
    },
    async tag(name, tag) {
      const repository = repositories.get(name);
      const digest = repository?.tags.get(tag);
      return digest === undefined ? undefined : repository?.manifests.get(digest)?.descriptor;
    },
    deleteTag: async (name, tag) => repositories.get(name)?.tags.delete(tag) ?? false,
    async tags(name, page) {
      const repository = repositories.get(name);
      return repository === undefined ? undefined : pageOf(repository.tags.keys(), page);
    },
    async referrers(name, subject) {
      const manifests = [...(repositories.get(name)?.manifests.values() ?? [])];
      return manifests
        .filter((manifest) => manifest.subject === subject)
        .sort((a, b) => (a.descriptor.digest < b.descriptor.digest ? -1 : 1));
    },
    list: async (page) => pageOf(repositories.keys(), page),
    has: async (name) => repositories.has(name),
  };
}

function emptyRepository(): MemoryRepository {
  return { blobs: new Map(), manifests: new Map(), tags: new Map() };
}

function pageOf(names: Iterable<string>, { after, limit }: Page): readonly string[] {
  const rest = [...names].filter((name) => after === undefined || name > after);
  return rest.sort().slice(0, limit);
}

function tagMoved(): Failure {
  return new Failure({
    code: "tag-moved",
    message: "Cannot put the manifest: a tag stands for something else, expected what was named",
    hint: "Read what the tag stands for now, and put the manifest again on the grounds of that",
  });
}
