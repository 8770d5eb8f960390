import type { Descriptor } from "#oci";
import type { CallOptions, Fetcher, Store } from "./ports.ts";

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
 * Brings content into a store, unless it is there. It passes through in pieces, no faster than the
 * store takes them, and is visible only once the store has verified it.
 *
 * @throws {Failure} what the fetcher and the store's {@link Ingest} throw; nothing is visible then
 */
export async function copyContent(
  fetcher: Fetcher,
  store: Store,
  descriptor: Descriptor,
  { signal, onBytes }: CopyOptions,
): Promise<CopyResult> {
  if (await store.has(descriptor)) return { bytesMoved: 0 };
  // The store first: a full disk is found before anything crosses the link.
  await using ingest = await store.ingest(descriptor);
  for await (const chunk of await fetcher.fetch(descriptor, { signal })) {
    signal.throwIfAborted();
    await ingest.write(chunk);
    onBytes?.(chunk.byteLength);
  }
  await ingest.commit();
  return { bytesMoved: descriptor.size };
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
  await ingest.write(bytes);
  await ingest.commit();
}
