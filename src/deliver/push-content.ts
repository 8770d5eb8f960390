import { Failure, isFailure } from "#base";
import type { GraphDocument, Target } from "#content";
import { type Descriptor, type Digest, isIndexType } from "#oci";
import { settleAll } from "./settle-all.ts";
import type { Upload, UploadSession } from "./upload-session.ts";

/** What one name of a repository is to stand for, with all that belongs to it. */
export interface PushedContent {
  /** Children before those that list them, and last what the name is for. */
  readonly documents: readonly GraphDocument[];
  readonly blobs: readonly Descriptor[];
  /** It is named by its digest only, without one. */
  readonly tag?: string | undefined;
}

/**
 * Pushes blobs, then manifests from the leaf to the root, the last one under the tag (C-100), and asks
 * for all of it afterwards. What is there is found and not sent again.
 *
 * @throws {Failure} `push-not-stored` when the registry took something and does not have it;
 *   `tag-moved` when the tag stands for something else right after; what a {@link Target} throws
 */
export async function pushContent(
  upload: Upload,
  content: PushedContent,
  target: Target,
  session: UploadSession,
): Promise<void> {
  const { documents, blobs, tag } = content;
  await pushBlobs(upload, blobs, target, session);
  const top = documents.at(-1);
  for (const document of documents) {
    const named = document === top && tag !== undefined ? { tag } : {};
    await pushDocument(upload, document, { blobs, ...named }, target, session);
  }
  if (top !== undefined) await readBack(upload, top.descriptor.digest, tag, target, session);
}

async function pushBlobs(
  upload: Upload,
  blobs: readonly Descriptor[],
  target: Target,
  { pushes, context: { signal, emit } }: UploadSession,
): Promise<void> {
  const { image } = upload.work;
  const pushOne = async (blob: Descriptor) => {
    const onProgress = (bytes: number) => {
      upload.bytesTaken += bytes;
      emit({ type: "upload-bytes", image, digest: blob.digest, bytes });
    };
    const { outcome, bytesSent } = await pushes.push(blob, target, { signal, onProgress });
    upload.bytesSent += bytesSent;
    if (outcome === "mounted") upload.bytesMounted += blob.size;
    if (outcome !== "present") upload.unconfirmed.set(blob.digest, blob);
  };
  // When one fails the others are let finish: the next attempt finds them, and images share them.
  await settleAll(blobs.map(pushOne));
}

async function pushDocument(
  upload: Upload,
  { descriptor, bytes }: GraphDocument,
  { blobs, tag }: { readonly blobs: readonly Descriptor[]; readonly tag?: string },
  target: Target,
  session: UploadSession,
): Promise<void> {
  const { requests, pushes } = session;
  const { signal } = session.context;
  const options = tag === undefined ? { signal } : { signal, tag };
  const push = () => requests.run(signal, () => target.pushManifest(descriptor, bytes, options));
  try {
    await push();
  } catch (error) {
    if (!isFailure(error, "manifest-blob-unknown") || isIndexType(descriptor.mediaType))
      throw error;
    // The registry collected a blob that it had a moment ago (C-112): asked once more, and no more.
    pushes.forget(blobs, target);
    await pushBlobs(upload, blobs, target, session);
    await push();
  }
}

/** A registry may answer 201 and keep nothing. */
async function readBack(
  upload: Upload,
  digest: Digest,
  tag: string | undefined,
  target: Target,
  session: UploadSession,
): Promise<void> {
  const { requests, pushes } = session;
  const { signal } = session.context;
  const found = await resolveIfThere(target, tag ?? digest, session);
  if (found === undefined) throw lost(digest, upload, session);
  if (found !== digest) throw moved(tag ?? digest, digest, found, target, session);
  await settleAll(
    [...upload.unconfirmed.values()].map(async (blob) => {
      if (await requests.run(signal, () => target.has(blob, { signal }))) {
        upload.unconfirmed.delete(blob.digest);
        return;
      }
      pushes.forget([blob], target);
      throw lost(blob.digest, upload, session);
    }),
  );
}

/** What a tag or digest stands for in a repository, or undefined when it is not there. */
export async function resolveIfThere(
  target: Target,
  tagOrDigest: string,
  { requests, context: { signal } }: UploadSession,
): Promise<Digest | undefined> {
  try {
    const { digest } = await requests.run(signal, () => target.resolve(tagOrDigest, { signal }));
    return digest;
  } catch (error) {
    if (isFailure(error, "content-missing")) return undefined;
    throw error;
  }
}

function lost(
  content: Digest,
  { local, work: { image } }: Upload,
  { registry: { address } }: UploadSession,
): Failure {
  return new Failure({
    code: "push-not-stored",
    message: `Cannot upload ${image}: ${address} took ${content} for ${local} and does not have it, expected it to keep what it takes`,
    hint: `Look at the storage of ${address} and at what its log says; the next \`dray deliver\` pushes what it lacks`,
  });
}

function moved(
  name: string,
  pushed: Digest,
  found: Digest,
  { repository }: Target,
  { registry: { address } }: UploadSession,
): Failure {
  return new Failure({
    code: "tag-moved",
    message: `Cannot rely on ${name} of ${repository} at ${address}: it stands for ${found} right after the push, expected ${pushed}`,
    hint: "Somebody else pushes to this name: find out who, or give this site a project of its own (localRegistry.project)",
  });
}
