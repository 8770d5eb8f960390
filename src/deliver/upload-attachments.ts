import { type Failure, isFailure } from "#base";
import type { ImageGraph, Target } from "#content";
import { type Attachment, attachmentsOf } from "./attachments.ts";
import { pushContent, resolveIfThere } from "./push-content.ts";
import {
  REGISTRY_REFUSES,
  REPOSITORY_REFUSES,
  type Upload,
  type UploadSession,
} from "./upload-session.ts";

/**
 * Uploads the signatures and the like that the store has of an image, behind the image, under the tags
 * and digests that they had (C-123). What there is already costs one request each.
 *
 * What the registry refuses of them is a warning: it can run the image all the same.
 *
 * @throws {Failure} what may pass, and what is no matter of the signature
 */
export async function uploadAttachments(
  upload: Upload,
  { root, manifest }: ImageGraph,
  target: Target,
  session: UploadSession,
): Promise<void> {
  const { store, signal, emit } = session.context;
  const { image, planned } = upload.work;
  const attached = { declared: planned.declared, subjects: [root.digest, manifest.digest] };
  // One after the other: they come in the order in which they refer to each other.
  for (const attachment of await attachmentsOf(attached, store, { signal })) {
    try {
      await uploadAttachment(upload, attachment, target, session);
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error) || error.transient || isOfThePlace(error)) throw error;
      const { digest } = attachment.root.descriptor;
      const message = `What belongs to it (${attachment.tag ?? digest}) was not uploaded. ${error.message}`;
      emit({ type: "warning", image, message });
    }
  }
}

function isOfThePlace({ code }: Failure): boolean {
  return REGISTRY_REFUSES.has(code) || REPOSITORY_REFUSES.has(code);
}

async function uploadAttachment(
  upload: Upload,
  { root, documents, blobs, tag }: Attachment,
  target: Target,
  session: UploadSession,
): Promise<void> {
  const { digest } = root.descriptor;
  if ((await resolveIfThere(target, tag ?? digest, session)) === digest) return;
  await pushContent(upload, { documents, blobs, tag }, target, session);
}
