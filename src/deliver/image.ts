import { Failure, isFailure } from "#base";
import { type ImageGraph, platformWarning, readImageGraph, type Source } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { PlannedImage } from "#plan";
import { formatReference, tagOrDigest } from "#reference";
import type { DeliveryContext } from "./context.ts";
import type { ImageOutcome } from "./event.ts";
import { BlobRefused, createManifestReader, type ManifestReader } from "./manifest-reader.ts";
import type { Origin } from "./retry.ts";
import { settleAll } from "./settle-all.ts";
import type { Transfers } from "./transfer.ts";

/** One image on its way, and what is known of it so far. */
export interface ImageWork extends Origin {
  readonly planned: PlannedImage;
  readonly source: Source;
  readonly reader: ManifestReader;
  /** Whether its stage has begun: from then on, what goes wrong in reading it is final. */
  isDue: boolean;
  /** What its name stands for: resolved once, so that all of it is of one moment (SEC-20). */
  root?: Descriptor;
  /** What its name stood for before is not all there, so the source must be waited for. */
  mustBring: boolean;
  /** The reading ahead of its turn: undefined when that was not possible. */
  ahead: Promise<ImageGraph | undefined>;
  isSized: boolean;
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
  context: DeliveryContext,
): ImageWork {
  const image = formatReference(planned.declared);
  const origin = { image, registry: planned.source.domain, source };
  const reader = createManifestReader(origin, context);
  const ahead = Promise.resolve(undefined);
  return {
    ...origin,
    planned,
    reader,
    isDue: false,
    mustBring: false,
    ahead,
    isSized: false,
    bytesMoved: 0,
  };
}

/**
 * Reads the manifests of an image, and asks for no blob, so that its size is known before its turn.
 *
 * @returns undefined when that is not possible: a config is needed, or something went wrong so early
 *   that it is tried again when the turn comes
 */
export async function readAhead(
  work: ImageWork,
  context: DeliveryContext,
): Promise<ImageGraph | undefined> {
  try {
    work.root = await resolveRoot(work, context);
    return await readGraph(work, work.root, context);
  } catch (error) {
    if (work.isDue && !(error instanceof BlobRefused)) throw error;
    return undefined;
  }
}

/**
 * Makes an image complete in the store under its declared name, or lets what the name stood for
 * before stand when the source can't be reached: a site that could run yesterday can run today.
 *
 * @throws {Failure} when neither can be; what was brought stays
 */
export async function deliverImage(
  work: ImageWork,
  transfers: Transfers,
  context: DeliveryContext,
): Promise<ImageResult> {
  const { image } = work;
  const named = await context.store.lookup(image);
  try {
    return await bringImage(work, named, transfers, context);
  } catch (error) {
    const isUnreachable = isFailure(error) && error.transient;
    if (!isUnreachable || named === undefined) throw error;
    if (!(await stands(work, named, context))) {
      // The source was given one attempt only, for the sake of what turns out not to be there.
      work.mustBring = true;
      work.ahead = Promise.resolve(undefined);
      return bringImage(work, named, transfers, context);
    }
    const message = `What was verified before (${named.digest}) stands. ${error.message}`;
    context.emit({ type: "warning", image, message });
    return { outcome: "stood", digest: named.digest };
  }
}

/**
 * Blobs first, then the manifests from the leaf to the root, then the name: at no moment does the name
 * stand for something that is not all there.
 */
async function bringImage(
  work: ImageWork,
  named: Descriptor | undefined,
  transfers: Transfers,
  context: DeliveryContext,
): Promise<ImageResult> {
  const { store } = context;
  const bring = async (blob: Descriptor) => {
    context.tally.add(blob, await store.has(blob));
    const bytesMoved = await transfers.bring(blob, work);
    work.bytesMoved += bytesMoved;
  };
  const ahead = await work.ahead;
  work.root ??= await resolveRoot(work, context);
  const { root } = work;
  const graph = ahead ?? (await readGraph(work, root, context, bring));

  const lacking = await lackingBlobs(work, graph, context);
  // When one fails the others are let finish: the next delivery finds them, and images share them.
  await settleAll(lacking.map(bring));
  const manifests = graph.documents.filter(({ descriptor }) => !work.reader.isStored(descriptor));
  for (const { descriptor, bytes } of manifests.toReversed()) {
    await using ingest = await store.ingest(descriptor);
    await ingest.write(bytes);
    await ingest.commit();
  }
  const wasNamed = named?.digest === root.digest;
  if (!wasNamed) await store.name(work.image, root);
  await warnAbout(work, graph, context);
  const wasComplete = wasNamed && lacking.length + manifests.length + work.bytesMoved === 0;
  return { outcome: wasComplete ? "present" : "delivered", digest: root.digest };
}

/**
 * What the image's name stands for. A name that is pinned to a digest needs nobody's word once the
 * store has it.
 */
async function resolveRoot(
  { image, planned, registry, source, mustBring }: ImageWork,
  { store, signal }: DeliveryContext,
): Promise<Descriptor> {
  const pinned = planned.source.digest;
  const named = await store.lookup(image);
  if (named !== undefined && named.digest === pinned) return named;
  const patience = named === undefined || mustBring ? "full" : "brief";
  const root = await source.resolve(tagOrDigest(planned.source), { signal, patience });
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
  { store, tally, emit }: DeliveryContext,
): Promise<void> {
  if (work.isSized) return;
  work.isSized = true;
  for (const blob of blobs) tally.add(blob, await store.has(blob));
  tally.countImage();
  emit({
    type: "image-sized",
    image: work.image,
    digest: root.digest,
    bytesTotal: sumSizes(blobs),
    bytesHere: sumSizes(blobs.filter((blob) => tally.wasHere(blob))),
    overall: tally.totals(),
  });
}

function sumSizes(blobs: readonly Descriptor[]): number {
  return blobs.reduce((bytes, { size }) => bytes + size, 0);
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
    if (!(await store.has(blob))) lacking.push(blob);
    else if (!tally.wasHere(blob)) emit({ type: "blob-done", image, digest, size, bytesMoved: 0 });
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
