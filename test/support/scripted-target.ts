import { Failure } from "#base";
import { fetchVerified, resolveAndFetch, type Target } from "#content";
import type { LocalRegistry, UploadNeed } from "#deliver";
import { childrenOf, type Descriptor, type Digest, parseDocument } from "#oci";
import type { Reference } from "#reference";

/** One thing that was asked of a {@link ScriptedTargets}. */
export interface TargetRequest {
  readonly kind: "prepare" | "resolve" | "has" | "blob" | "manifest";
  /** Empty for `prepare`. */
  readonly repository: string;
  /** Tag or digest. */
  readonly target: string;
  /** Of a manifest: the tag that it is pushed under. */
  readonly tag?: string;
}

/** A registry in memory that takes pushes: what it holds, what it was asked, how it fails. */
export interface ScriptedTargets extends LocalRegistry {
  readonly requests: readonly TargetRequest[];
  /** Every blob whose bytes were sent, as often as they were. */
  readonly sent: readonly Digest[];
  /** Every blob that was mounted, with the repository that it came from. */
  readonly mounted: readonly { readonly digest: Digest; readonly from: string }[];
  readonly needs: readonly UploadNeed[];
  /** The most blobs that were ever pushed at once. */
  readonly pushesMax: number;
  /** `repository:tag` and what it stands for. */
  readonly tags: ReadonlyMap<string, Digest>;
  /** Refuses an index of which a child is not there, as distribution does. True at first. */
  wantsWholeIndexes: boolean;
  /** Decides whether the request with this number (from 1) fails; `lose` answers well and keeps nothing. */
  fault: ((request: TargetRequest, ordinal: number) => Failure | "lose" | undefined) | undefined;
  /** Called after every request, with everything in place. */
  afterEach: (() => void) | undefined;
  /** Names that stand for something of which not all that this registry wants is there. */
  incompleteTags(): readonly string[];
  /** What a repository's manifest or blob is, for comparing. */
  holds(repository: string, digest: Digest): boolean;
  /** Lets a tag stand for something else, as another client would. */
  move(name: string, descriptor: Descriptor): void;
  /** Takes content out of a repository. */
  remove(repository: string, digest: Digest): void;
  forget(): void;
}

/** A registry that holds nothing yet. */
export function createScriptedTargets(address = "local.test:5000"): ScriptedTargets {
  const contents = new Map<string, { descriptor: Descriptor; bytes: Uint8Array }>();
  const tags = new Map<string, Descriptor>();
  const requests: TargetRequest[] = [];
  const sent: Digest[] = [];
  const mounted: { digest: Digest; from: string }[] = [];
  const needs: UploadNeed[] = [];
  let ordinal = 0;
  let pushes = 0;
  let pushesMax = 0;
  const key = (repository: string, digest: Digest) => `${repository}@${digest}`;

  const admit = async (request: TargetRequest, signal: AbortSignal): Promise<boolean> => {
    signal.throwIfAborted();
    requests.push(request);
    ordinal += 1;
    const fault = registry.fault?.(request, ordinal);
    await Promise.resolve();
    if (fault instanceof Failure) throw fault;
    return fault !== "lose";
  };

  const isComplete = (repository: string, digest: Digest): boolean => {
    const held = contents.get(key(repository, digest));
    if (held === undefined) return false;
    const document = parseDocument(held.bytes, held.descriptor.mediaType);
    const children = childrenOf(document).map((child) =>
      document.kind === "index"
        ? isComplete(repository, child.digest)
        : contents.has(key(repository, child.digest)),
    );
    const isPart = document.kind === "index" && !registry.wantsWholeIndexes;
    return isPart ? children.includes(true) : !children.includes(false);
  };

  const open = (repository: string): Target => ({
    repository,
    async resolve(target, { signal }) {
      await admit({ kind: "resolve", repository, target }, signal);
      const found =
        tags.get(`${repository}:${target}`) ?? contents.get(`${repository}@${target}`)?.descriptor;
      if (found === undefined) throw missing(target);
      return found;
    },
    fetchManifest(target, options) {
      return resolveAndFetch(this, target, options);
    },
    async fetch({ digest }) {
      const held = contents.get(key(repository, digest));
      if (held === undefined) throw missing(digest);
      return new Blob([new Uint8Array(held.bytes)]).stream();
    },
    async has({ digest }, { signal }) {
      await admit({ kind: "has", repository, target: digest }, signal);
      return contents.has(key(repository, digest));
    },
    async pushBlob(blob, content, { signal, mountFrom = [], onProgress }) {
      const { digest } = blob;
      pushes += 1;
      pushesMax = Math.max(pushesMax, pushes);
      try {
        const isKept = await admit({ kind: "blob", repository, target: digest }, signal);
        if (contents.has(key(repository, digest))) return { outcome: "present", bytesSent: 0 };
        const from = mountFrom.find((other) => contents.has(key(other, digest)));
        const there = from === undefined ? undefined : contents.get(key(from, digest));
        if (from !== undefined && there !== undefined) {
          mounted.push({ digest, from });
          if (isKept) contents.set(key(repository, digest), there);
          return { outcome: "mounted", bytesSent: 0 };
        }
        const bytes = await fetchVerified(content, blob, { signal });
        sent.push(digest);
        if (isKept) contents.set(key(repository, digest), { descriptor: blob, bytes });
        onProgress?.(bytes.byteLength);
        return { outcome: "sent", bytesSent: bytes.byteLength };
      } finally {
        pushes -= 1;
        registry.afterEach?.();
      }
    },
    async pushManifest(manifest, bytes, { signal, tag }) {
      const { digest, mediaType } = manifest;
      const request = { kind: "manifest", repository, target: digest } as const;
      const isKept = await admit(tag === undefined ? request : { ...request, tag }, signal);
      const document = parseDocument(bytes, mediaType);
      const isStrict = document.kind === "manifest" || registry.wantsWholeIndexes;
      const absent = childrenOf(document).find((child) => {
        return !contents.has(key(repository, child.digest));
      });
      if (isStrict && absent !== undefined) throw unknown(absent.digest);
      const descriptor = { mediaType, digest, size: bytes.byteLength };
      if (isKept) contents.set(key(repository, digest), { descriptor, bytes });
      if (isKept && tag !== undefined) tags.set(`${repository}:${tag}`, descriptor);
      registry.afterEach?.();
    },
  });

  const registry: ScriptedTargets = {
    address,
    requests,
    sent,
    mounted,
    needs,
    wantsWholeIndexes: true,
    fault: undefined,
    afterEach: undefined,
    get pushesMax() {
      return pushesMax;
    },
    get tags() {
      return new Map([...tags].map(([name, { digest }]) => [name, digest]));
    },
    async prepare(need, { signal }) {
      needs.push(need);
      await admit({ kind: "prepare", repository: "", target: "" }, signal);
    },
    target: ({ path }: Reference) => open(path),
    incompleteTags: () =>
      [...tags].flatMap(([name, { digest }]) => {
        return isComplete(name.slice(0, name.lastIndexOf(":")), digest) ? [] : [name];
      }),
    holds: (repository, digest) => contents.has(key(repository, digest)),
    remove: (repository, digest) => void contents.delete(key(repository, digest)),
    move: (name, descriptor) => void tags.set(name, descriptor),
    forget() {
      requests.length = 0;
      sent.length = 0;
      mounted.length = 0;
      needs.length = 0;
      ordinal = 0;
    },
  };
  return registry;
}

function missing(target: string): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot find ${target}: the registry has none, expected one`,
    hint: "Push it",
  });
}

function unknown(digest: Digest): Failure {
  return new Failure({
    code: "manifest-blob-unknown",
    message: `Cannot push the manifest: the registry misses ${digest}`,
    hint: "Push it first",
  });
}
