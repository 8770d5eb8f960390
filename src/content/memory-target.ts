import { Failure } from "#base";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  type Document,
  isForeignLayerType,
  isIndexType,
  isManifestType,
  parseDocument,
} from "#oci";
import type { Target } from "./target.ts";
import { contentMissing, createVerifier, resolveAndFetch, verifyContent } from "./verify.ts";

/** The repositories of one registry, in memory. */
export interface MemoryRegistry {
  /** The repository of that name, which is there as soon as it is asked for. */
  target(repository: string): Target;
}

/** Small enough that a reader which stops early is noticed in a test. */
const CHUNK_BYTES = 64 * 1024;

interface Held {
  readonly blobs: Map<Digest, Uint8Array>;
  readonly manifests: Map<Digest, { readonly descriptor: Descriptor; readonly bytes: Uint8Array }>;
  readonly tags: Map<string, Digest>;
}

/** Makes a registry without content that lives as long as the process: for tests. */
export function createMemoryRegistry(): MemoryRegistry {
  const repositories = new Map<string, Held>();
  const open = (name: string): Held => {
    const known = repositories.get(name);
    if (known !== undefined) return known;
    const held: Held = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, held);
    return held;
  };
  return { target: (repository) => targetOf(repository, open(repository), open) };
}

function targetOf(repository: string, held: Held, open: (name: string) => Held): Target {
  const bytesOf = (descriptor: Descriptor): Uint8Array => {
    const { digest } = descriptor;
    const bytes = isDocument(descriptor)
      ? held.manifests.get(digest)?.bytes
      : held.blobs.get(digest);
    if (bytes?.byteLength !== descriptor.size) throw contentMissing(descriptor);
    return bytes;
  };
  return {
    repository,
    async has(descriptor, { signal }) {
      signal.throwIfAborted();
      return isDocument(descriptor)
        ? held.manifests.has(descriptor.digest)
        : held.blobs.has(descriptor.digest);
    },
    async resolve(tagOrDigest, { signal }) {
      signal.throwIfAborted();
      const found = held.manifests.get(held.tags.get(tagOrDigest) ?? (tagOrDigest as Digest));
      if (found === undefined) throw unknownName(repository, tagOrDigest);
      return found.descriptor;
    },
    fetchManifest(tagOrDigest, options) {
      return resolveAndFetch(this, tagOrDigest, options);
    },
    async fetch(descriptor, { signal, range }) {
      signal.throwIfAborted();
      return streamOf(bytesOf(descriptor).subarray(range?.start, range?.end), signal);
    },
    async referrers(subject, { signal }) {
      signal.throwIfAborted();
      return [...held.manifests.values()]
        .filter(({ descriptor, bytes }) => subjectOf(descriptor, bytes) === subject)
        .map(({ descriptor }) => descriptor);
    },
    async pushBlob(blob, content, { signal, mountFrom = [], onProgress = () => undefined }) {
      signal.throwIfAborted();
      if (held.blobs.has(blob.digest)) return { outcome: "present", bytesSent: 0 };
      const mounted = mountFrom.map((name) => open(name).blobs.get(blob.digest)).find(Boolean);
      if (mounted !== undefined) {
        held.blobs.set(blob.digest, mounted);
        return { outcome: "mounted", bytesSent: 0 };
      }
      const verifier = createVerifier(blob);
      const chunks: Uint8Array[] = [];
      for await (const chunk of await content.fetch(blob, { signal })) {
        signal.throwIfAborted();
        verifier.update(chunk);
        chunks.push(new Uint8Array(chunk));
        onProgress(chunk.byteLength);
      }
      verifier.end();
      held.blobs.set(blob.digest, new Uint8Array(Buffer.concat(chunks)));
      return { outcome: "sent", bytesSent: blob.size };
    },
    async pushManifest(manifest, bytes, { signal, tag }) {
      signal.throwIfAborted();
      verifyContent(manifest, bytes);
      const document = parseDocument(bytes, manifest.mediaType);
      const missing = missingIn(held, document);
      if (missing.length > 0) throw blobUnknown(repository, missing);
      const { mediaType, digest, size } = manifest;
      const descriptor = { mediaType, digest, size };
      held.manifests.set(digest, { descriptor, bytes: new Uint8Array(bytes) });
      if (tag !== undefined) held.tags.set(tag, digest);
    },
  };
}

function isDocument({ mediaType }: Descriptor): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType);
}

function missingIn({ blobs, manifests }: Held, document: Document): readonly Digest[] {
  return childrenOf(document)
    .filter(({ mediaType, digest }) => {
      return !isForeignLayerType(mediaType) && !blobs.has(digest) && !manifests.has(digest);
    })
    .map(({ digest }) => digest);
}

function subjectOf({ mediaType }: Descriptor, bytes: Uint8Array): Digest | undefined {
  return parseDocument(bytes, mediaType).subject?.digest;
}

function streamOf(bytes: Uint8Array, signal: AbortSignal): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (signal.aborted) return controller.error(signal.reason);
        if (offset === bytes.byteLength) return controller.close();
        const chunk = bytes.slice(offset, offset + CHUNK_BYTES);
        offset += chunk.byteLength;
        controller.enqueue(chunk);
      },
    },
    { highWaterMark: 0 },
  );
}

function unknownName(repository: string, name: string): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot find ${name} in ${repository}: it is not there, expected it`,
    hint: "Push it first",
  });
}

function blobUnknown(repository: string, missing: readonly Digest[]): Failure {
  return new Failure({
    code: "manifest-blob-unknown",
    message: `Cannot push the manifest to ${repository}: it misses ${missing.join(", ")}, expected all that the manifest names`,
    hint: "Push what is missing first",
  });
}
