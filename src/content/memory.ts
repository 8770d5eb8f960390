import { type Clock, systemClock } from "#base";
import type { Descriptor, Digest } from "#oci";
import { createMemoryRepositories } from "./memory-repositories.ts";
import { createMemoryUploads } from "./memory-uploads.ts";
import type { ByteRange, Ingest, NamedContent, Store } from "./ports.ts";
import { bytesIn, gapsIn, withRange } from "./ranges.ts";
import type { Repositories } from "./repositories.ts";
import type { Uploads } from "./uploads.ts";
import { contentMissing, contentTooLong, contentTooShort, createVerifier } from "./verify.ts";

/** A {@link Store} in memory, which can also hand out content for ranges, as the registry wants it. */
export interface MemoryStore extends Store {
  /** @throws {Failure} `content-missing` */
  openBlob(descriptor: Descriptor): Promise<Blob>;
  /** Changes whenever a name does. */
  revision(): string;
  /** What was pushed. */
  readonly repositories: Repositories;
  /** What is being pushed. */
  readonly uploads: Uploads;
}

/** Small enough that a reader which stops early is noticed in a test. */
const CHUNK_BYTES = 64 * 1024;

/** Content of which not all is here, or not yet verified. */
interface Partial {
  readonly size: number;
  written: readonly ByteRange[];
  readonly pieces: { readonly offset: number; readonly bytes: Uint8Array<ArrayBuffer> }[];
  /** Whether an ingest is at it. */
  isTaken: boolean;
}

/** Makes an empty store that lives as long as the process: for tests, and for what need not last. */
export function createMemoryStore(clock: Clock = systemClock): MemoryStore {
  const contents = new Map<Digest, Uint8Array<ArrayBuffer>>();
  const partials = new Map<Digest, Partial>();
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
    // Nothing is ever collected.
    lease(descriptor) {
      return this.has(descriptor);
    },
    async bytesHere(descriptor) {
      if (find(descriptor) !== undefined) return descriptor.size;
      const partial = partials.get(descriptor.digest);
      const isUsable = partial?.isTaken === false && partial.size === descriptor.size;
      return isUsable ? bytesIn(partial.written) : 0;
    },
    async fetch(descriptor, { signal, range }) {
      signal.throwIfAborted();
      return streamOf(get(descriptor).subarray(range?.start, range?.end), signal);
    },
    async ingest(descriptor) {
      const { digest, size } = descriptor;
      const left = partials.get(digest);
      const isOurs = left?.isTaken !== true;
      const isUsable = isOurs && left?.size === size;
      const partial: Partial = isUsable ? left : { size, written: [], pieces: [], isTaken: true };
      partial.isTaken = true;
      if (isOurs) partials.set(digest, partial);
      const forget = () => void (isOurs && partials.delete(digest));
      return ingestInto(descriptor, partial, forget, (bytes) => contents.set(digest, bytes));
    },
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
    repositories: createMemoryRepositories((descriptor) => find(descriptor) !== undefined),
    uploads: createMemoryUploads({
      clock,
      keep: (digest, bytes) => void contents.set(digest, bytes),
    }),
  };
}

/** What a name remembers: how to get the content. Where it was listed, and why, is not its business. */
function nameable({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function ingestInto(
  descriptor: Descriptor,
  partial: Partial,
  forget: () => void,
  keep: (bytes: Uint8Array<ArrayBuffer>) => void,
): Ingest {
  const { size } = descriptor;
  return {
    get missing() {
      return gapsIn(partial.written, { start: 0, end: size });
    },
    async write(bytes, offset) {
      const range = { start: offset, end: offset + bytes.byteLength };
      if (range.end > size) throw contentTooLong(descriptor);
      for (const { start, end } of gapsIn(partial.written, range)) {
        const piece = new Uint8Array(bytes.subarray(start - offset, end - offset));
        partial.pieces.push({ offset: start, bytes: piece });
      }
      partial.written = withRange(partial.written, range);
    },
    async commit() {
      const bytesHere = bytesIn(partial.written);
      if (bytesHere < size) throw contentTooShort(descriptor, bytesHere);
      forget();
      const verifier = createVerifier(descriptor);
      const pieces = partial.pieces.toSorted((a, b) => a.offset - b.offset);
      for (const { bytes } of pieces) verifier.update(bytes);
      verifier.end();
      keep(new Uint8Array(await new Blob(pieces.map(({ bytes }) => bytes)).arrayBuffer()));
    },
    async [Symbol.asyncDispose]() {
      partial.isTaken = false;
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
