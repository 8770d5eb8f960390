import { Failure, formatBytes, isFailure, type Limiter } from "#base";
import {
  digestOf,
  type Fetcher,
  type ImageGraph,
  type ResolveOptions,
  type Source,
  writeContent,
} from "#content";
import {
  cosignTags,
  type Descriptor,
  type Digest,
  formatReferrers,
  OCI_INDEX,
  referrerEntry,
} from "#oci";
import type { Reference } from "#reference";
import {
  ATTACHMENT_DEPTH_MAX,
  ATTACHMENT_DOCUMENTS_BYTES_MAX,
  ATTACHMENTS_MAX,
  type AttachmentDocument,
  type AttachmentTree,
  attachmentName,
  listedIn,
  readAttachment,
  referrersName,
  storedAttachments,
  storedReferrers,
} from "./attachments.ts";
import type { DeliveryContext } from "./context.ts";
import { lookupInFolders, readFromFolders } from "./folders.ts";
import { createManifestReader, type ManifestReader } from "./manifest-reader.ts";
import type { Origin } from "./retry.ts";
import { settleAll } from "./settle-all.ts";
import type { Transfers } from "./transfer.ts";

/** The image whose attachments are to come. */
export interface Attaching {
  readonly origin: Origin;
  readonly declared: Reference;
  readonly graph: ImageGraph;
  /** Whether the image has moved, or something of it is still to come. */
  readonly isMoved: boolean;
  /** Whether the image became complete under its name: nothing is named beside one that did not. */
  readonly isWhole: Promise<boolean>;
  /** Counts a blob that is about to come. */
  readonly count: (blob: Descriptor) => Promise<void>;
  /** Puts a document into the store, over what is there too. */
  readonly write: (document: AttachmentDocument) => Promise<void>;
  /** Told when more has to come than was known: these blobs, which were counted. */
  readonly onFound: (blobs: readonly Descriptor[]) => void;
}

/** What carries attachments, as it carries images. */
export interface AttachmentCarriers {
  readonly requests: Limiter;
  readonly transfers: Transfers;
}

/**
 * Brings what belongs to an image beside its own graph, and names it in the store (C-123): what refers to
 * it by `subject`, under the fallback tag of the specification, and what stands under cosign's tags. It
 * comes from the source of the image and from the folders.
 *
 * What there is is asked for and read while the image is still on its way: these are many round trips and
 * few bytes. Blobs of it, and its names, wait until the image is complete.
 *
 * What was brought once stays as long as its image is declared, also when the source no longer lists it: a
 * signature that was true stays true, and a registry that forgot its list must not make the site's
 * admission refuse the image. What can't be brought is a warning of the image and never its failure.
 *
 * @returns bytes of blobs that came over the link
 */
export async function bringAttachments(
  image: Attaching,
  carriers: AttachmentCarriers,
  context: DeliveryContext,
): Promise<number> {
  const { attachments = "always", attachmentChecks, folders, clock, emit, signal } = context;
  if (attachments === "never") return 0;
  const isDue = await isSourceDue(image, context);
  if (!isDue && folders.length === 0) return 0;
  // A failure that may pass is not waited out: the image is complete, and others wait for the link.
  const origin = { ...image.origin, isPatient: false };
  const errand: Errand = {
    ...{ image, origin, carriers, context },
    isSourceAsked: isDue && image.origin.source.referrers !== undefined,
    reader: createManifestReader(origin, carriers.requests, context),
    options: { signal, patience: image.isMoved ? "full" : "brief" },
    subjects: new Set(),
    seen: new Set(),
    troubles: [],
    moved: { bytes: 0 },
    documents: { bytes: 0 },
  };
  const subjects = [...subjectsOf(image.graph)];
  await settleAll(subjects.map((each) => around(each, 0, image.isWhole, errand)));
  if (!(await image.isWhole)) return 0;
  const message = describeTroubles(errand);
  if (message !== undefined) emit({ type: "warning", image: origin.image, message });
  if (errand.isSourceAsked && errand.troubles.length === 0) {
    await attachmentChecks?.note(origin.image, image.graph.root.digest, clock.now());
  }
  return errand.moved.bytes;
}

/** Eight requests for each of hundreds of images are too many for every time that nothing has changed. */
const CHECK_AGAIN_MS = 24 * 60 * 60 * 1000;

async function isSourceDue(
  { origin, declared, graph, isMoved }: Attaching,
  { attachments, attachmentChecks, store, clock, signal }: DeliveryContext,
): Promise<boolean> {
  if (attachments !== "daily" || isMoved) return true;
  const lastMs = await attachmentChecks?.last(origin.image, graph.root.digest);
  if (lastMs === undefined) return true;
  const agoMs = clock.now() - lastMs;
  // The clock may have been set back.
  if (agoMs < 0 || agoMs >= CHECK_AGAIN_MS) return true;
  // What was found wrong on the disk and moved away is not waited for.
  const image = { declared, subjects: subjectsOf(graph) };
  return (await storedAttachments(image, store, { signal })).isLacking;
}

/** What of an image can have attachments: its index, if it has one, and the manifest of the platform. */
function subjectsOf({ root, manifest }: ImageGraph): ReadonlySet<Digest> {
  return new Set([root.digest, manifest.digest]);
}

/** The attachments of one image on their way. */
interface Errand {
  readonly image: Attaching;
  readonly origin: Origin;
  readonly carriers: AttachmentCarriers;
  readonly context: DeliveryContext;
  /** A source that can list no referrers is none that attachments could come from. */
  readonly isSourceAsked: boolean;
  readonly reader: ManifestReader;
  readonly options: ResolveOptions;
  /** Whose referrers were asked for. */
  readonly subjects: Set<Digest>;
  readonly seen: Set<Digest>;
  readonly troubles: Failure[];
  readonly moved: { bytes: number };
  /** What was read, or is about to be. */
  readonly documents: { bytes: number };
}

/**
 * All requests about one digest at once: each is a round trip and next to no bytes.
 *
 * @param isThere whether what has the digest is in the store, once that is decided
 */
async function around(
  subject: Digest,
  depth: number,
  isThere: Promise<boolean>,
  errand: Errand,
): Promise<void> {
  if (errand.subjects.has(subject)) return;
  errand.subjects.add(subject);
  const tags = depth === 0 ? cosignTags(subject) : [];
  await settleAll([
    bringReferrers(subject, depth, isThere, errand),
    ...tags.map((tag) => orTrouble(errand, () => bringTag(tag, isThere, errand))),
  ]);
}

async function bringTag(tag: string, isThere: Promise<boolean>, errand: Errand): Promise<void> {
  const { image, context } = errand;
  const name = attachmentName(image.declared, tag);
  const root =
    (await orTrouble(errand, () => resolveTag(tag, errand))) ??
    (await lookupInFolders(name, context))?.root;
  if (root === undefined) return;
  admit(root, errand);
  const tree = await readTree(root, errand);
  if (await bringAfter(isThere, tree, errand)) await nameIt(name, root, errand);
}

async function resolveTag(tag: string, errand: Errand): Promise<Descriptor | undefined> {
  try {
    return await ask(errand, (source) => source.resolve(tag, errand.options));
  } catch (error) {
    if (isFailure(error, "content-missing")) return undefined;
    throw error;
  }
}

async function bringReferrers(
  subject: Digest,
  depth: number,
  isThere: Promise<boolean>,
  errand: Errand,
): Promise<void> {
  const listed = await listReferrers(subject, errand);
  const read = await settleAll(
    listed.map((each) => orTrouble(errand, () => readReferrer(each, subject, errand))),
  );
  const referrers = read
    .filter((tree) => tree !== undefined)
    .map((tree) => ({ tree, isHere: bringAfter(isThere, tree, errand) }));
  const isDeepest = depth + 1 >= ATTACHMENT_DEPTH_MAX;
  await settleAll([
    nameReferrers(subject, referrers, errand),
    ...(isDeepest ? [] : referrers).map(({ tree, isHere }) =>
      around(tree.root.descriptor.digest, depth + 1, isHere, errand),
    ),
  ]);
}

/** A referrer on its way, and whether it is in the store, once that is decided. */
interface Referrer {
  readonly tree: AttachmentTree;
  readonly isHere: Promise<boolean>;
}

/** Lists those that came under the name for it. */
async function nameReferrers(
  subject: Digest,
  referrers: readonly Referrer[],
  errand: Errand,
): Promise<void> {
  const { image, context } = errand;
  const areHere = await settleAll(referrers.map(({ isHere }) => isHere));
  const entries = referrers
    .filter((_, i) => areHere[i])
    .map(({ tree: { root } }) => referrerEntry(root.descriptor, root.document, root.bytes));
  if (entries.length === 0) return;
  await orTrouble(errand, async () => {
    const bytes = formatReferrers(entries);
    const size = bytes.byteLength;
    const list = { mediaType: OCI_INDEX, digest: digestOf(bytes), size };
    if (!(await context.store.lease(list))) await writeContent(context.store, list, bytes);
    await nameIt(referrersName(image.declared, subject), list, errand);
  });
}

/** By all who know some: the store, which keeps what it has, the folders, and the source. */
async function listReferrers(subject: Digest, errand: Errand): Promise<readonly Descriptor[]> {
  const { image, context, options } = errand;
  const [stored, carried, listed] = await settleAll([
    storedReferrers(image.declared, subject, context.store, options),
    orTrouble(errand, () => carriedReferrers(subject, errand)),
    orTrouble(errand, () =>
      ask(errand, async (source) => source.referrers?.(subject, options) ?? []),
    ),
  ]);
  const all = [...(stored ?? []), ...(carried ?? []), ...(listed ?? [])];
  return [...new Map(all.map((each) => [each.digest, each])).values()];
}

async function carriedReferrers(
  subject: Digest,
  { image, origin, context }: Errand,
): Promise<readonly Descriptor[]> {
  const found = await lookupInFolders(referrersName(image.declared, subject), context);
  const bytes = found && (await readFromFolders(found.root, origin.image, context));
  return bytes === undefined ? [] : listedIn(bytes);
}

async function readReferrer(
  descriptor: Descriptor,
  subject: Digest,
  errand: Errand,
): Promise<AttachmentTree> {
  admit(descriptor, errand);
  const tree = await readTree(descriptor, errand);
  // What a list says is only a claim; the referrer's own bytes are what was signed.
  if (tree.root.document.subject?.digest !== subject) throw refersElsewhere(descriptor, subject);
  return tree;
}

/** @throws {Failure} `attachments-too-many` when there is no room for one more */
function admit({ digest }: Descriptor, { seen, image }: Errand): void {
  if (seen.size >= ATTACHMENTS_MAX && !seen.has(digest)) {
    throw tooMany(image.origin.image, "there are more", `at most ${ATTACHMENTS_MAX}`);
  }
  seen.add(digest);
}

/** @throws {Failure} `attachments-too-many` when there is no room for its documents */
function readTree(root: Descriptor, errand: Errand): Promise<AttachmentTree> {
  const { reader, options, documents, image } = errand;
  const fetcher = reader.fetcher(root);
  const bounded: Fetcher = {
    async fetch(document, call) {
      if (documents.bytes + document.size > ATTACHMENT_DOCUMENTS_BYTES_MAX) {
        const bytesMax = formatBytes(ATTACHMENT_DOCUMENTS_BYTES_MAX);
        throw tooMany(image.origin.image, "their manifests are larger", `at most ${bytesMax}`);
      }
      documents.bytes += document.size;
      return fetcher.fetch(document, call);
    },
  };
  return readAttachment(root, bounded, options);
}

/** Brings an attachment once what it belongs to is in the store, and tells whether it is there then. */
async function bringAfter(
  isThere: Promise<boolean>,
  tree: AttachmentTree,
  errand: Errand,
): Promise<boolean> {
  if (!(await isThere)) return false;
  const isHere = await orTrouble(errand, async () => {
    await bring(tree, errand);
    return true;
  });
  return isHere === true;
}

/** Blobs first, then the documents, the root last: the name comes only when all is there. */
async function bring({ documents, blobs }: AttachmentTree, errand: Errand): Promise<void> {
  const { image, origin, carriers, context, reader, moved } = errand;
  const { store } = context;
  const lacking: Descriptor[] = [];
  for (const blob of blobs) {
    await image.count(blob);
    if (!(await store.lease(blob))) lacking.push(blob);
  }
  if (lacking.length > 0) image.onFound(lacking);
  await settleAll(
    lacking.map(async (blob) => {
      const bytes = await carriers.transfers.bring(blob, origin);
      moved.bytes += bytes;
    }),
  );
  for (const document of documents) {
    const { descriptor } = document;
    const isHere = reader.isStored(descriptor) && (await store.lease(descriptor));
    if (!isHere) await image.write(document);
  }
}

async function nameIt(name: string, content: Descriptor, { context }: Errand): Promise<void> {
  const named = await context.store.lookup(name);
  if (named?.digest !== content.digest) await context.store.name(name, content);
}

function ask<T>(
  { origin, carriers, context, isSourceAsked }: Errand,
  question: (source: Source) => Promise<T>,
): Promise<T | undefined> {
  if (!isSourceAsked) return Promise.resolve(undefined);
  return carriers.requests.run(context.signal, () => question(origin.source));
}

/** What the world did wrong with one attachment stops no other. */
async function orTrouble<T>(
  { troubles, context }: Errand,
  task: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    context.signal.throwIfAborted();
    if (!isFailure(error)) throw error;
    troubles.push(error);
    return undefined;
  }
}

/** One sentence for all of them: what went wrong with the first may have gone wrong with each. */
function describeTroubles({ troubles, image }: Errand): string | undefined {
  // What is here stands, and it is asked for again.
  const worth = troubles.filter(({ transient }) => image.isMoved || !transient);
  const messages = new Set(worth.map(({ message }) => message));
  const [first, ...others] = messages;
  if (first === undefined) return undefined;
  const more = others.length === 0 ? "" : ` (and ${others.length} more of this kind)`;
  return `Signatures or other attachments of it may be missing. ${first}${more}`;
}

function refersElsewhere({ digest }: Descriptor, subject: Digest): Failure {
  return new Failure({
    code: "referrer-invalid",
    message: `Cannot bring attachment ${digest}: it does not refer to ${subject}, expected what the registry lists as referring to it to do so`,
    hint: "Delete the entry from the list of referrers at the registry, or have the attachment pushed again",
  });
}

function tooMany(image: string, found: string, expected: string): Failure {
  return new Failure({
    code: "attachments-too-many",
    message: `Cannot bring all attachments of ${image}: ${found}, expected ${expected}`,
    hint: "Delete what nobody needs of what refers to the image at the registry",
  });
}
