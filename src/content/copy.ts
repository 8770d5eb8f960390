import { isFailure } from "#base";
import type { Descriptor } from "#oci";
import { releaseChunk } from "./chunk.ts";
import type { CallOptions, Fetcher, Ingest, Store } from "./ports.ts";
import { bytesIn } from "./ranges.ts";

/** How to copy, and who wants to know how far it is. */
export interface CopyOptions extends CallOptions {
  /** Called with the count of each piece of bytes that was taken in. */
  readonly onBytes?: (bytes: number) => void;
}

/** What a copy cost. */
export interface CopyResult {
  /** Bytes that were fetched; 0 when the content was there. */
  readonly bytesMoved: number;
}

/**
 * Brings into a store what is missing of content. It passes through in pieces, no faster than the
 * store takes them, and is visible only once the store has verified it. When what an earlier attempt
 * left turns out to be wrong, the content is fetched whole, once (C-86).
 *
 * @throws {Failure} what the fetcher and the store's {@link Ingest} throw; nothing is visible then
 */
export async function copyContent(
  fetcher: Fetcher,
  store: Store,
  descriptor: Descriptor,
  options: CopyOptions,
): Promise<CopyResult> {
  if (await store.has(descriptor)) return { bytesMoved: 0 };
  let bytesMoved = 0;
  const onBytes = (bytes: number) => {
    bytesMoved += bytes;
    options.onBytes?.(bytes);
  };
  let isResumed = false;
  try {
    // The store first: a full disk is found before anything crosses the link.
    await using ingest = await store.ingest(descriptor);
    isResumed = bytesIn(ingest.missing) < descriptor.size;
    await fill(ingest, fetcher, descriptor, { ...options, onBytes });
  } catch (error) {
    if (!isResumed || !isFailure(error, "digest-mismatch")) throw error;
    await using ingest = await store.ingest(descriptor);
    await fill(ingest, fetcher, descriptor, { ...options, onBytes });
  }
  return { bytesMoved };
}

async function fill(
  ingest: Ingest,
  fetcher: Fetcher,
  descriptor: Descriptor,
  { signal, onBytes }: CopyOptions,
): Promise<void> {
  for (const range of ingest.missing) {
    let offset = range.start;
    const isWhole = range.end - range.start === descriptor.size;
    const options = isWhole ? { signal } : { signal, range };
    for await (const chunk of await fetcher.fetch(descriptor, options)) {
      signal.throwIfAborted();
      await ingest.write(chunk, offset);
      offset += chunk.byteLength;
      onBytes?.(chunk.byteLength);
      releaseChunk(chunk);
    }
  }
  await ingest.commit();
}

/**
 * Puts content that is in memory into a store, unless it is there: the exact bytes of a manifest that
 * was read before (C-63).
 *
 * @throws {Failure} what the store's {@link Ingest} throws; nothing is visible then
 */
export async function writeContent(
  store: Store,
  descriptor: Descriptor,
  bytes: Uint8Array,
): Promise<void> {
  if (await store.has(descriptor)) return;
  await using ingest = await store.ingest(descriptor);
  await ingest.write(bytes, 0);
  await ingest.commit();
}
