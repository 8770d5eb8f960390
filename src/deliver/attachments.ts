import { Failure, formatBytes, isFailure } from "#base";
import { type CallOptions, type Fetcher, fetchVerified, type Store } from "#content";
import {
  childrenOf,
  cosignTags,
  type Descriptor,
  type Digest,
  type Document,
  isIndexType,
  isManifestType,
  parseDocument,
  referrersTag,
} from "#oci";
import { type Reference, repositoryName } from "#reference";

/**
 * How many attachments one image may have, and how deep they may lie: a signature of a bill of materials
 * is two deep. Bounds what a registry can make a site fetch (C-123).
 */
export const ATTACHMENTS_MAX = 256;
export const ATTACHMENT_DEPTH_MAX = 4;

/**
 * What one attachment may weigh, in bytes. Bills of materials of large images have tens of megabytes; what
 * is larger is a second form of the image itself, for other runtimes, and nobody asked for it.
 */
const ATTACHMENT_BYTES_MAX = 64 * 1024 * 1024;

/**
 * What the documents of all attachments of one image may weigh, in bytes; they are held in memory. Real ones
 * have a few kilobytes each.
 */
export const ATTACHMENT_DOCUMENTS_BYTES_MAX: number = 4 * 1024 * 1024;

/** How many documents one attachment may have, and how deep; real ones have one. */
const DOCUMENTS_MAX = 64;
const TREE_DEPTH_MAX = 4;

/** A document of an attachment, as its publisher wrote it. */
export interface AttachmentDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly document: Document;
}

/** An attachment with all that belongs to it, on every platform. */
export interface AttachmentTree {
  readonly root: AttachmentDocument;
  /** In the order in which they are stored and pushed: what is listed before what lists it, the root last. */
  readonly documents: readonly AttachmentDocument[];
  /** Each digest once. */
  readonly blobs: readonly Descriptor[];
}

/** Something that belongs to an image beside its own graph: a signature, an attestation, a bill of materials. */
export interface Attachment extends AttachmentTree {
  /** The tag that leads to it, as cosign's do; undefined when it says itself what it refers to. */
  readonly tag?: string;
  /** The `subject` that it refers to: the image, or another attachment of it. */
  readonly subject?: Digest;
}

/** The image whose attachments are meant. */
export interface AttachedImage {
  /** Its declared name; tag and digest take no part. */
  readonly declared: Reference;
  /** What can have attachments: its index, if it has one, and the manifest of the platform. */
  readonly subjects: Iterable<Digest>;
}

/** The name in the store under which the referrers of a digest are listed (C-121). */
export function referrersName(declared: Reference, subject: Digest): string {
  return attachmentName(declared, referrersTag(subject));
}

/** The name in the store of what stands under a tag beside the image. */
export function attachmentName(declared: Reference, tag: string): string {
  return `${repositoryName(declared)}:${tag}`;
}

/**
 * The attachments of an image that are whole in the store, in an order in which they can be pushed behind
 * the image: what is referred to before what refers to it.
 */
export async function attachmentsOf(
  image: AttachedImage,
  store: Store,
  options: CallOptions,
): Promise<readonly Attachment[]> {
  return (await storedAttachments(image, store, options)).attachments;
}

/** What the store has of the attachments of an image. */
export interface StoredAttachments {
  /** See {@link attachmentsOf}. */
  readonly attachments: readonly Attachment[];
  /** Whether something that its names lead to is not there, or not what it should be. */
  readonly isLacking: boolean;
}

/** Looks up what the names of the store say that an image has, and reads all of its documents. */
export async function storedAttachments(
  { declared, subjects }: AttachedImage,
  store: Store,
  options: CallOptions,
): Promise<StoredAttachments> {
  const attachments: Attachment[] = [];
  let isLacking = false;
  let waiting = [...new Set(subjects)];
  const seen = new Set(waiting);
  const take = async (root: Descriptor, place: Pick<Attachment, "tag" | "subject">) => {
    const tree = await readWhole(root, store, options);
    if (tree === undefined) isLacking = true;
    const isReferring = place.subject === tree?.root.document.subject?.digest;
    const isTaken = tree !== undefined && (isReferring || place.tag !== undefined);
    if (isTaken) attachments.push({ ...tree, ...place });
    return isTaken;
  };
  for (const tag of waiting.flatMap(cosignTags)) {
    const root = await store.lookup(attachmentName(declared, tag));
    if (root !== undefined) await take(root, { tag });
  }
  for (let depth = 0; depth < ATTACHMENT_DEPTH_MAX; depth += 1) {
    const next: Digest[] = [];
    for (const subject of waiting) {
      const listed = await storedReferrers(declared, subject, store, options);
      if (listed === undefined) isLacking = true;
      for (const entry of listed ?? []) {
        if (seen.has(entry.digest) || attachments.length >= ATTACHMENTS_MAX) continue;
        seen.add(entry.digest);
        // What belongs to something that is not whole here is of no use to anybody.
        if (await take(entry, { subject })) next.push(entry.digest);
      }
    }
    waiting = next;
  }
  return { attachments, isLacking };
}

/** What the store lists as the referrers of a digest; undefined when the list can't be read. */
export async function storedReferrers(
  declared: Reference,
  subject: Digest,
  store: Store,
  { signal }: CallOptions,
): Promise<readonly Descriptor[] | undefined> {
  const list = await store.lookup(referrersName(declared, subject));
  if (list === undefined) return [];
  try {
    return listedIn(await fetchVerified(store, list, { signal }));
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

/**
 * What a list of referrers has.
 *
 * @throws {Failure} `manifest-invalid` when it is none
 */
export function listedIn(bytes: Uint8Array): readonly Descriptor[] {
  const document = parseDocument(bytes);
  return document.kind === "index" ? document.manifests : [];
}

/** Undefined when something of it is not there. */
async function readWhole(
  root: Descriptor,
  store: Store,
  options: CallOptions,
): Promise<AttachmentTree | undefined> {
  try {
    const tree = await readAttachment(root, store, options);
    for (const blob of tree.blobs) if (!(await store.has(blob))) return undefined;
    return tree;
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

/**
 * Reads all documents of an attachment, and no blob. It has no platform, and is taken whole (C-70).
 *
 * @throws {Failure} `attachment-too-large`; what `fetchVerified` and `parseDocument` throw
 */
export async function readAttachment(
  descriptor: Descriptor,
  source: Fetcher,
  { signal }: CallOptions,
): Promise<AttachmentTree> {
  const documents: AttachmentDocument[] = [];
  const blobs = new Map<Digest, Descriptor>();
  const seen = new Set<Digest>();
  const read = async ({ mediaType, digest, size }: Descriptor, depth: number) => {
    if (depth > TREE_DEPTH_MAX || seen.size >= DOCUMENTS_MAX) {
      throw tooLarge(descriptor, "it leads to ever more manifests", `at most ${DOCUMENTS_MAX}`);
    }
    seen.add(digest);
    const plain = { mediaType, digest, size };
    const bytes = await fetchVerified(source, plain, { signal });
    const document = parseDocument(bytes, mediaType);
    for (const child of childrenOf(document)) {
      if (!isDocument(child)) blobs.set(child.digest, child);
      else if (!seen.has(child.digest)) await read(child, depth + 1);
    }
    const whole = { descriptor: plain, bytes, document };
    documents.push(whole);
    return whole;
  };
  const root = await read(descriptor, 1);
  const bytes = [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
  if (bytes > ATTACHMENT_BYTES_MAX) {
    const found = `it has ${formatBytes(bytes)}`;
    throw tooLarge(descriptor, found, `at most ${formatBytes(ATTACHMENT_BYTES_MAX)}`);
  }
  return { root, documents, blobs: [...blobs.values()] };
}

function isDocument({ mediaType }: Descriptor): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType);
}

function tooLarge({ digest }: Descriptor, found: string, expected: string): Failure {
  return new Failure({
    code: "attachment-too-large",
    message: `Cannot bring attachment ${digest}: ${found}, expected ${expected}`,
    hint: "Declare it as an image of its own, or copy it by hand, if the site needs it",
  });
}
