import { Failure, isFailure } from "#base";
import { type ImageGraph, readImageGraph, type Target } from "#content";
import { type Digest, formatPlatform } from "#oci";
import { pushContent, resolveIfThere } from "./push-content.ts";
import { uploadAttachments } from "./upload-attachments.ts";
import type { Upload, UploadSession } from "./upload-session.ts";
import { bringAllPlatforms } from "./whole-image.ts";

/** What became of an upload. */
export interface UploadResult {
  readonly outcome: "uploaded" | "present";
  /** What the name stands for there. */
  readonly digest: Digest;
  /** That is this platform's manifest, and the image is an index. */
  readonly isOnePlatform: boolean;
}

/**
 * Makes an image that is complete in the store complete in the local registry, and then what belongs to
 * it beside its own graph. What is there under its name already costs one request.
 *
 * @throws {Failure} what `pushContent` and `bringAllPlatforms` throw
 */
export async function uploadImage(upload: Upload, session: UploadSession): Promise<UploadResult> {
  const { registry, context } = session;
  const { store, platform, signal } = context;
  const root = await store.lookup(upload.work.image);
  if (root === undefined) throw gone(upload);
  const graph = await readImageGraph(store, root, platform, { signal });
  if (registry.servesTheStore === true) return serveFromStore(upload, graph, session);
  const target = registry.target(upload.reference);
  const there = await findThere(upload, graph, target, session);
  if (there !== undefined) session.pushes.note(graph.blobs, target);
  const digest = there ?? (await pushGraph(upload, graph, target, session));
  const isOnePlatform = digest !== root.digest;
  if (isOnePlatform) warnOfOnePlatform(upload, graph, session);
  await uploadAttachments(upload, graph, target, session);
  return { outcome: there === undefined ? "uploaded" : "present", digest, isOnePlatform };
}

/** Nothing is pushed; that it is all there is looked at once more. */
async function serveFromStore(
  upload: Upload,
  { root, documents, blobs }: ImageGraph,
  { context: { store } }: UploadSession,
): Promise<UploadResult> {
  for (const content of [...documents.map(({ descriptor }) => descriptor), ...blobs]) {
    if (!(await store.has(content))) throw gone(upload);
  }
  const outcome = upload.isNew ? "uploaded" : "present";
  return { outcome, digest: root.digest, isOnePlatform: false };
}

/** What the image's name stands for there if that is the image, in a form that is good enough. */
async function findThere(
  { reference }: Upload,
  { root, manifest }: ImageGraph,
  target: Target,
  session: UploadSession,
): Promise<Digest | undefined> {
  const good = new Set([root.digest]);
  if (session.absentPlatforms === "one-platform") good.add(manifest.digest);
  // A name without a tag can only be asked for by what it may stand for.
  const names = reference.tag === undefined ? [...good] : [reference.tag];
  for (const name of names) {
    const digest = await resolveIfThere(target, name, session);
    if (digest !== undefined && good.has(digest)) return digest;
  }
  return undefined;
}

/** Gives what the name stands for then. */
async function pushGraph(
  upload: Upload,
  graph: ImageGraph,
  target: Target,
  session: UploadSession,
): Promise<Digest> {
  const { root, manifest, documents, blobs, absent } = graph;
  const { tag } = upload.reference;
  const isWhole = absent.length === 0;
  if (isWhole || !session.refusesPartIndexes) {
    try {
      const content = { documents: documents.toReversed(), blobs, tag };
      await pushContent(upload, content, target, session);
      return root.digest;
    } catch (error) {
      if (isWhole || !isFailure(error, "manifest-blob-unknown")) throw error;
      session.refusesPartIndexes = true;
    }
  }
  if (session.absentPlatforms === "complete") {
    const whole = await bringAllPlatforms(upload, graph, session);
    await pushContent(upload, { ...whole, tag }, target, session);
    return root.digest;
  }
  await pushContent(upload, { documents: documents.slice(-1), blobs, tag }, target, session);
  return manifest.digest;
}

function warnOfOnePlatform(
  { work: { image }, local }: Upload,
  { root, manifest }: ImageGraph,
  { registry, context }: UploadSession,
): void {
  const platform = formatPlatform(context.platform);
  context.emit({
    type: "warning",
    image,
    message: `The local registry ${registry.address} takes no index with absent platforms, so ${local} stands for the manifest of ${platform} (${manifest.digest}). Pulls by the digest of the index (${root.digest}) are answered by the embedded registry only; localRegistry.indexes: complete uploads all platforms`,
  });
}

function gone({ work: { image }, local }: Upload): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot upload ${image} as ${local}: the store has not all of it any more, expected what was delivered`,
    hint: "Run `dray verify`, then `dray deliver` again",
  });
}
