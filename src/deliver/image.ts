import { Failure, isFailure, type Limiter } from "#base";
import {
  type GraphDocument,
  type ImageGraph,
  platformWarning,
  type ResolveOptions,
  readImageGraph,
  type Source,
} from "#content";
import type { Descriptor, Digest } from "#oci";
import type { PlannedImage } from "#plan";
import { formatReference, tagOrDigest } from "#reference";
import { bringAttachments } from "./bring-attachments.ts";
import type { DeliveryContext } from "./context.ts";
import type { ByteTotals, ImageOutcome } from "./event.ts";
import { describeInFolders, isInFolders, lookupInFolders } from "./folders.ts";
import { BlobRefused, createManifestReader, type ManifestReader } from "./manifest-reader.ts";
import { type Origin, withRetries } from "./retry.ts";
import { settleAll } from "./settle-all.ts";
import type { Transfers } from "./transfer.ts";

/** One image on its way, and what is known of it so far. */
export interface ImageWork extends Origin {
  readonly planned: PlannedImage;
  readonly source: Source;
  readonly reader: ManifestReader;
  /** What its name stands for: resolved once, so that all of it is of one moment (SEC-20). */
  root?: Descriptor;
  /** What its name stood for before is not all there, so the source must be waited for. */
  mustBring: boolean;
  /** What reading ahead of its turn gave: undefined when that was not possible. */
  graph?: ImageGraph;
  /** What went wrong in reading ahead. */
  aheadFailure?: Failure;
  /** Tells, once, that something is done for it: it has its turn, and now a place on the link. */
  begin: () => void;
  isSized: boolean;
  /** What was told of its size. */
  sized?: ByteTotals;
  bytesMoved: number;
}

/** What became of an image, and what its name stands for now. */
export interface ImageResult {
  readonly outcome: ImageOutcome;
  readonly digest: Digest | null;
}

/** An image of which nothing is known yet. */
export function beginImage(
  planned: PlannedImage,
  source: Source,
  requests: Limiter,
  context: DeliveryContext,
): ImageWork {
  const image = formatReference(planned.declared);
  const origin = { image, registry: source.host ?? planned.source.domain, source };
  const reader = createManifestReader(origin, requests, context);
  return {
    ...origin,
    planned,
    reader,
    mustBring: false,
    begin: () => undefined,
    isSized: false,
    bytesMoved: 0,
  };
}

/**
 * Reads the manifests of an image, and asks for no blob, so that its size is known before its turn.
 * It is not always possible: a config may be needed, or its registry can't be reached now. That is
 * tried again when its turn comes, with patience.
 */
export async function readAhead(
  work: ImageWork,
  requests: Limiter,
  context: DeliveryContext,
): Promise<void> {
  try {
    work.root = await resolveRoot(work, requests, context);
    work.graph = await readGraph(work, work.root, context);
  } catch (error) {
    if (context.signal.aborted) return;
    if (isFailure(error)) work.aheadFailure = error;
    else if (!(error instanceof BlobRefused)) throw error;
  }
}

/**
 * Makes an image complete in the store under its declared name. When its source can't be reached, what
 * a folder holds under that name is taken, or what the name stood for before stands: a site that could
 * run yesterday can run today.
 *
 * @throws {Failure} when none of it can be; what was brought stays
 */
export async function deliverImage(
  work: ImageWork,
  requests: Limiter,
  transfers: Transfers,
  context: DeliveryContext,
): Promise<ImageResult> {
  const { image, reader } = work;
  reader.isPatient = true;
  const named = await context.store.lookup(image);
  try {
    // Asking again would give the same.
    if (work.aheadFailure?.transient === false) throw work.aheadFailure;
    return await bringImage(work, named, requests, transfers, context);
  } catch (error) {
    if (!isFailure(error) || !isOutOfReach(error)) throw error;
    const carried = await bringFromFolders(work, error, requests, transfers, context);
    if (carried !== undefined) return carried;
    if (named === undefined) throw error;
    if (!(await stands(work, named, context))) {
      // The source was given one attempt only, for the sake of what turns out not to be there.
      work.mustBring = true;
      return bringImage(work, named, requests, transfers, context);
    }
    const message = `What was verified before (${named.digest}) stands. ${error.message}`;
    context.emit({ type: "warning", image, message });
    return { outcome: "stood", digest: named.digest };
  }
}

/** Whether the source is only not to be had now: the link is down, or its quota is used up. */
function isOutOfReach({ transient, code }: Failure): boolean {
  return transient || code === "link-quota";
}

/** What a person carried here is all there is to be had now, and newer than what the site has. */
async function bringFromFolders(
  work: ImageWork,
  { message: because }: Failure,
  requests: Limiter,
  transfers: Transfers,
  context: DeliveryContext,
): Promise<ImageResult | undefined> {
  const { image, planned } = work;
  const found = await lookupInFolders(image, context);
  const pinned = planned.source.digest ?? found?.root.digest;
  if (found === undefined || found.root.digest !== pinned) return undefined;
  const offline = beginImage(planned, NO_SOURCE, requests, context);
  offline.root = found.root;
  offline.isSized = work.isSized;
  try {
    const named = await context.store.lookup(image);
    const result = await bringImage(offline, named, requests, transfers, context);
    const message = `What ${found.folder.path} has under this name (${found.root.digest}) was taken. ${because}`;
    context.emit({ type: "warning", image, message });
    return result;
  } catch (error) {
    context.signal.throwIfAborted();
    if (!isFailure(error, "content-missing")) throw error;
    return undefined;
  } finally {
    work.isSized = offline.isSized;
  }
}

/**
 * The image as the folders or the store have it under its name, without asking anybody: what a
 * delivery would fall back on. Undefined when there is no such thing.
 */
export async function readStanding(
  { image, planned }: ImageWork,
  requests: Limiter,
  context: DeliveryContext,
): Promise<ImageGraph | undefined> {
  const { store, platform, signal } = context;
  const found = await lookupInFolders(image, context);
  for (const root of [found?.root, await store.lookup(image)]) {
    if (root === undefined) continue;
    const { reader } = beginImage(planned, NO_SOURCE, requests, context);
    try {
      return await readImageGraph(reader.fetcher(root), root, platform, { signal });
    } catch (error) {
      if (!isFailure(error) && !(error instanceof BlobRefused)) throw error;
    }
  }
  return undefined;
}

/** The source of an image of which only the store and the folders are asked. */
const NO_SOURCE: Source = {
  resolve: async (tagOrDigest) => {
    throw notCarried(tagOrDigest);
  },
  fetchManifest: async (tagOrDigest) => {
    throw notCarried(tagOrDigest);
  },
  fetch: async (descriptor) => {
    throw notCarried(descriptor.digest);
  },
};

function notCarried(content: string): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot take ${content} from a folder: none has it, expected it in one of them`,
    hint: "Name the folders that hold the image with --from, or run `dray deliver` when its registry can be reached",
  });
}

/**
 * Blobs first, then the manifests from the leaf to the root, then the name: at no moment does the name
 * stand for something that is not all there.
 */
async function bringImage(
  work: ImageWork,
  named: Descriptor | undefined,
  requests: Limiter,
  transfers: Transfers,
  context: DeliveryContext,
): Promise<ImageResult> {
  const { store } = context;
  const bring = async (blob: Descriptor) => {
    await countBlob(blob, context);
    const bytesMoved = await transfers.bring(blob, work);
    work.bytesMoved += bytesMoved;
  };
  if (work.graph === undefined) work.begin();
  work.root ??= await resolveRoot(work, requests, context);
  const { root } = work;
  work.graph ??= await readGraph(work, root, context, bring);
  const { graph } = work;

  const lacking = await lackingBlobs(work, graph, context);
  const manifests = await lackingManifests(work, graph, context);
  const wasNamed = named?.digest === root.digest;
  const isMoved = !wasNamed || lacking.length + manifests.length + work.bytesMoved > 0;
  const complete = async () => {
    // When one fails the others are let finish: the next delivery finds them, and images share them.
    await settleAll(lacking.map(bring));
    for (const { descriptor, bytes } of manifests.toReversed()) {
      await writeManifest(store, descriptor, bytes);
    }
    if (!wasNamed) await store.name(work.image, root);
    await warnAbout(work, graph, context);
  };
  await withAttachments(complete, work, { graph, isMoved }, { requests, transfers }, context);
  return { outcome: isMoved ? "delivered" : "present", digest: root.digest };
}

/**
 * Completes an image and brings what belongs to it. Both begin at once, so that the many small requests
 * for attachments are answered while blobs move; what is found comes when the image is complete under
 * its name, and can't undo that.
 */
async function withAttachments(
  complete: () => Promise<void>,
  work: ImageWork,
  { graph, isMoved }: { readonly graph: ImageGraph; readonly isMoved: boolean },
  carriers: { readonly requests: Limiter; readonly transfers: Transfers },
  context: DeliveryContext,
): Promise<void> {
  const { declared } = work.planned;
  const failed = new AbortController();
  const signal = AbortSignal.any([context.signal, failed.signal]);
  const { promise: isWhole, resolve } = Promise.withResolvers<boolean>();
  const completing = complete().then(
    () => resolve(true),
    (error: unknown) => {
      resolve(false);
      failed.abort(error);
      throw error;
    },
  );
  const attaching = bringAttachments(
    {
      ...{ origin: work, declared, graph, isMoved, isWhole },
      count: (blob) => countBlob(blob, context),
      write: ({ descriptor, bytes }) => writeManifest(context.store, descriptor, bytes),
      onFound: (blobs) => tellMore(work, graph, blobs, context),
    },
    carriers,
    { ...context, signal },
  ).then((bytesMoved) => {
    work.bytesMoved += bytesMoved;
  });
  await settleAll([completing, attaching]);
}

/** Over what is there too: a manifest that went bad on disk is put right. */
export async function writeManifest(
  store: DeliveryContext["store"],
  descriptor: Descriptor,
  bytes: Uint8Array,
): Promise<void> {
  await using ingest = await store.ingest(descriptor);
  for (const { start, end } of ingest.missing)
    await ingest.write(bytes.subarray(start, end), start);
  await ingest.commit();
}

/**
 * What the image's name stands for. A name that is pinned to a digest needs nobody's word once the
 * store or a folder has it.
 *
 * Of a name that neither of them knows the manifest is wanted as well, and comes with the answer. Else it
 * is most likely the same, and asking only for its digest moves nothing and counts against no quota.
 */
async function resolveRoot(
  work: ImageWork,
  requests: Limiter,
  context: DeliveryContext,
): Promise<Descriptor> {
  const { image, planned, registry, mustBring, reader } = work;
  const { store, signal } = context;
  const pinned = planned.source.digest;
  const named = await store.lookup(image);
  if (named !== undefined && named.digest === pinned) return named;
  const carried = pinned === undefined ? undefined : await describeInFolders(pinned, context);
  if (carried !== undefined) return carried;
  const isCovered = named !== undefined || (await lookupInFolders(image, context)) !== undefined;
  const isPatient = reader.isPatient && (mustBring || !isCovered);
  const options: ResolveOptions = { signal, patience: isPatient ? "full" : "brief" };
  const wanted = tagOrDigest(planned.source);
  const ask = (source: Source) =>
    requests.run(signal, async () => {
      if (isCovered) return source.resolve(wanted, options);
      const manifest = await source.fetchManifest(wanted, options);
      reader.take(manifest);
      return manifest.descriptor;
    });
  const root = await withRetries(ask, { origin: work, isPatient }, context);
  if (pinned === undefined || root.digest === pinned) return root;
  // SEC-6: the pinned digest is the only word that counts, whatever the registry says of it.
  throw new Failure({
    code: "digest-mismatch",
    message: `Cannot deliver ${image}: registry ${registry} gave ${root.digest}, expected the digest of the reference`,
    hint: `Look for a proxy or a broken cache in front of ${registry}`,
  });
}

async function readGraph(
  work: ImageWork,
  root: Descriptor,
  context: DeliveryContext,
  bringConfig?: (config: Descriptor) => Promise<unknown>,
): Promise<ImageGraph> {
  const { platform, signal } = context;
  const fetcher = work.reader.fetcher(root, bringConfig);
  const graph = await readImageGraph(fetcher, root, platform, { signal });
  await tellSize(work, graph, context);
  return graph;
}

/** Once for an image, also when it turns out that another digest than the one that was sized stands. */
async function tellSize(
  work: ImageWork,
  { root, blobs }: ImageGraph,
  context: DeliveryContext,
): Promise<void> {
  if (work.isSized) return;
  work.isSized = true;
  for (const blob of blobs) await countBlob(blob, context);
  const { tally, emit } = context;
  tally.countImage();
  work.sized = weigh(blobs, context);
  emit({
    type: "image-sized",
    image: work.image,
    digest: root.digest,
    ...work.sized,
    overall: tally.totals(),
  });
}

function weigh(blobs: readonly Descriptor[], { tally }: DeliveryContext): ByteTotals {
  return {
    bytesTotal: blobs.reduce((bytes, { size }) => bytes + size, 0),
    bytesHere: blobs.reduce((bytes, blob) => bytes + tally.hereOf(blob), 0),
  };
}

/** An image that was sized turns out to need these blobs as well. */
export function tellMore(
  work: ImageWork,
  { root, blobs }: ImageGraph,
  more: readonly Descriptor[],
  context: DeliveryContext,
): void {
  const before = work.sized ?? weigh(blobs, context);
  const added = weigh(more, context);
  work.sized = {
    bytesTotal: before.bytesTotal + added.bytesTotal,
    bytesHere: before.bytesHere + added.bytesHere,
  };
  const overall = context.tally.totals();
  const { image } = work;
  context.emit({ type: "image-sized", image, digest: root.digest, ...work.sized, overall });
}

/** Takes a blob into the tally, unless it is counted already. */
export async function countBlob(blob: Descriptor, context: DeliveryContext): Promise<void> {
  const { store, tally } = context;
  if (tally.has(blob)) return;
  // What an earlier delivery brought and could not name is not to go while this one reads on.
  await store.lease(blob);
  const bytesHere = await store.bytesHere(blob);
  const isCarried = bytesHere < blob.size && (await isInFolders(blob, context));
  tally.add(blob, isCarried ? blob.size : bytesHere);
}

/** What is still to be brought; of what another image brought since the delivery began, it tells. */
async function lackingBlobs(
  { image }: ImageWork,
  { blobs }: ImageGraph,
  { store, tally, emit }: DeliveryContext,
): Promise<readonly Descriptor[]> {
  const lacking: Descriptor[] = [];
  for (const blob of blobs) {
    const { digest, size } = blob;
    const bytesHere = tally.hereOf(blob);
    // What is found here will be named only when the rest has come.
    if (!(await store.lease(blob))) lacking.push(blob);
    else if (bytesHere < size) {
      emit({ type: "blob-done", image, digest, size, bytesHere, bytesMoved: 0 });
    }
  }
  return lacking;
}

/** What is still to be written of the manifests, the root first. */
async function lackingManifests(
  { reader }: ImageWork,
  { documents }: ImageGraph,
  { store }: DeliveryContext,
): Promise<readonly GraphDocument[]> {
  const lacking: GraphDocument[] = [];
  for (const document of documents) {
    const { descriptor } = document;
    const isHere = reader.isStored(descriptor) && (await store.lease(descriptor));
    if (!isHere) lacking.push(document);
  }
  return lacking;
}

/** Whether an image that was named before is complete for this platform, without asking anybody. */
async function stands(
  work: ImageWork,
  named: Descriptor,
  context: DeliveryContext,
): Promise<boolean> {
  const { store, platform, signal } = context;
  try {
    const graph = await readImageGraph(store, named, platform, { signal });
    for (const blob of graph.blobs) if (!(await store.has(blob))) return false;
    await tellSize(work, graph, context);
    return true;
  } catch (error) {
    if (isFailure(error)) return false;
    throw error;
  }
}

async function warnAbout(
  { image }: ImageWork,
  graph: ImageGraph,
  { store, platform, signal, emit }: DeliveryContext,
): Promise<void> {
  const otherPlatform = await platformWarning(store, graph, platform, { signal });
  const messages = otherPlatform === undefined ? [] : [otherPlatform];
  for (const message of [...graph.warnings, ...messages]) emit({ type: "warning", image, message });
}
