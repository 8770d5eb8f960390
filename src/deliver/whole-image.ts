import { Failure, isFailure } from "#base";
import { type ImageGraph, readWholeGraph, type WholeGraph } from "#content";
import { countBlob, tellMore, writeManifest } from "./image.ts";
import { settleAll } from "./settle-all.ts";
import type { Upload, UploadSession } from "./upload-session.ts";

/**
 * Brings all platforms of an image into the store, over the link and verified like all that comes; the
 * embedded registry gains them too.
 *
 * @throws {Failure} `platforms-missing` when their source is out of reach; what a transfer throws
 */
export async function bringAllPlatforms(
  upload: Upload,
  graph: ImageGraph,
  { transfers, registry, context }: UploadSession,
): Promise<WholeGraph> {
  const { work } = upload;
  const { store, signal } = context;
  work.reader.isPatient = true;
  try {
    const whole = await readWholeGraph(work.reader.fetcher(graph.root), graph.root, { signal });
    const here = new Set(graph.blobs.map(({ digest }) => digest));
    const more = whole.blobs.filter(({ digest }) => !here.has(digest));
    for (const blob of more) await countBlob(blob, context);
    tellMore(work, graph, more, context);
    await settleAll(
      more.map(async (blob) => {
        if (await store.lease(blob)) return;
        const bytesMoved = await transfers.bring(blob, work);
        upload.bytesMoved += bytesMoved;
      }),
    );
    for (const { descriptor, bytes } of whole.documents) {
      if (!(await store.lease(descriptor))) await writeManifest(store, descriptor, bytes);
    }
    return whole;
  } catch (error) {
    signal.throwIfAborted();
    if (!isFailure(error) || !error.transient) throw error;
    // It is the source that is out of reach: the local registry must not be suspected for it.
    throw new Failure({
      code: "platforms-missing",
      message: `Cannot upload ${work.image}: ${registry.address} takes no index with absent platforms, and they can't be fetched. ${error.message}`,
      hint: `${error.hint}; or set localRegistry.indexes to one-platform`,
      cause: error,
    });
  }
}
