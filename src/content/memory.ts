import type { Descriptor, Digest } from "#oci";
import type { Ingest, NamedContent, Store } from "./ports.ts";
import { contentMissing, createVerifier } from "./verify.ts";

/** A {@link Store} in memory, which can also hand out content for ranges, as the registry wants it. */
export interface MemoryStore extends Store {
  /** @throws {Failure} `content-missing` */
  openBlob(descriptor: Descriptor): Promise<Blob>;
  /** Changes whenever a name does. */
  revision(): string;
}

/** Small enough that a reader which stops early is noticed in a test. */
const CHUNK_BYTES = 64 * 1024;

/** Makes an empty store that lives as long as the process: for tests, and for what need not last. */
export function createMemoryStore(): MemoryStore {
  const contents = new Map<Digest, Uint8Array<ArrayBuffer>>();
  const names = new Map<string, Descriptor>();
  let changes = 0;

  const find = (descriptor: Descriptor): Uint8Array<ArrayBuffer> | undefined => {
    const bytes = contents.get(descriptor.digest);
    return bytes?.byteLength === descriptor.size ? bytes : undefined;
  };
  const get = (descriptor: Descriptor): Uint8Array<ArrayBuffer> => {
    const bytes = find(descriptor);
    if (bytes === undefined) throw contentMissing(descriptor);
    return bytes;
  };

  return {
    has: async (descriptor) => find(descriptor) !== undefined,
    async fetch(descriptor, { signal }) {
      signal.throwIfAborted();
      return streamOf(get(descriptor), signal);
    },
    ingest: async (descriptor) =>
      ingestInto(descriptor, (bytes) => contents.set(descriptor.digest, bytes)),
    async name(name, descriptor) {
      get(descriptor);
      names.set(name, nameable(descriptor));
      changes += 1;
    },
    lookup: async (name) => names.get(name),
    names: async () =>
      [...names]
        .map(([name, descriptor]): NamedContent => ({ name, descriptor }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    openBlob: async (descriptor) => new Blob([get(descriptor)]),
    revision: () => String(changes),
  };
}

/** What a name remembers: how to get the content. Where it was listed, and why, is not its business. */
function nameable({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function ingestInto(
  descriptor: Descriptor,
  keep: (bytes: Uint8Array<ArrayBuffer>) => void,
): Ingest {
  const verifier = createVerifier(descriptor);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  return {
    async write(bytes) {
      verifier.update(bytes);
      chunks.push(new Uint8Array(bytes));
    },
    async commit() {
      verifier.end();
      keep(new Uint8Array(await new Blob(chunks).arrayBuffer()));
    },
    async [Symbol.asyncDispose]() {
      chunks.length = 0;
    },
  };
}

function streamOf(bytes: Uint8Array, signal: AbortSignal): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (signal.aborted) return controller.error(signal.reason);
        if (offset === bytes.byteLength) return controller.close();
        // A copy: what a reader does to its bytes must not reach the content.
        controller.enqueue(bytes.slice(offset, offset + CHUNK_BYTES));
        offset = Math.min(offset + CHUNK_BYTES, bytes.byteLength);
      },
    },
    { highWaterMark: 0 },
  );
}
