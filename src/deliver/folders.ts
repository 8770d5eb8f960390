import { isFailure } from "#base";
import { copyContent, fetchVerified } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { DeliveryContext, Folder } from "./context.ts";

/** What a name or digest stands for according to the folders, and which of them says so. */
export interface Found {
  readonly root: Descriptor;
  readonly folder: Folder;
}

/** Whether one of the folders has the content, as far as a glance tells. */
export async function isInFolders(
  content: Descriptor,
  { folders }: Pick<DeliveryContext, "folders">,
): Promise<boolean> {
  for (const folder of folders) if (await folder.has(content)) return true;
  return false;
}

/** The root that the folders give for a declared name: the first of them that knows it. */
export async function lookupInFolders(
  name: string,
  { folders }: DeliveryContext,
): Promise<Found | undefined> {
  for (const folder of folders) {
    const root = await folder.lookup(name);
    if (root !== undefined) return { root, folder };
  }
  return undefined;
}

/** The manifest or index of a digest, as the folders have it. */
export async function describeInFolders(
  digest: Digest,
  { folders }: DeliveryContext,
): Promise<Descriptor | undefined> {
  for (const folder of folders) {
    const root = await folder.describe(digest);
    if (root !== undefined) return root;
  }
  return undefined;
}

/** A manifest out of the folders, verified; undefined when none has it whole. */
export async function readFromFolders(
  manifest: Descriptor,
  image: string,
  context: DeliveryContext,
): Promise<Uint8Array | undefined> {
  return tryFolders(manifest, image, context, (folder) =>
    fetchVerified(folder, manifest, { signal: context.signal }),
  );
}

/**
 * Takes a blob out of the folders into the store, which verifies it like all else.
 *
 * @returns whether it is in the store now
 */
export async function copyFromFolders(
  blob: Descriptor,
  image: string,
  context: DeliveryContext,
): Promise<boolean> {
  const { store, signal } = context;
  const copied = await tryFolders(blob, image, context, (folder) =>
    copyContent(folder, store, blob, { signal }),
  );
  return copied !== undefined;
}

/** What a folder has wrong does no harm: a person is told, and it comes over the link. */
const FOLDER_IS_WRONG: ReadonlySet<string> = new Set([
  "content-missing",
  "content-too-long",
  "content-too-short",
  "digest-mismatch",
  "folder-unreadable",
]);

async function tryFolders<T>(
  content: Descriptor,
  image: string,
  { folders, signal, emit }: DeliveryContext,
  take: (folder: Folder) => Promise<T>,
): Promise<T | undefined> {
  for (const folder of folders) {
    try {
      if (await folder.has(content)) return await take(folder);
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error) || !FOLDER_IS_WRONG.has(error.code)) throw error;
      const message = `What ${folder.path} holds of ${content.digest} is not used. ${error.message}`;
      emit({ type: "warning", image, message });
    }
  }
  return undefined;
}
