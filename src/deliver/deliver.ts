import { type Clock, isFailure, Limiter } from "#base";
import type { Source, Store } from "#content";
import type { Platform } from "#oci";
import { type Plan, type PlannedImage, STAGE_NAMES, type StageName } from "#plan";
import { formatReference } from "#reference";
import type { AttachmentChecks, AttachmentPolicy, DeliveryContext, Folder } from "./context.ts";
import type {
  DeliveryEvent,
  DeliverySummary,
  LoadSummary,
  ProviderSummary,
  StageSummary,
  UploadSummary,
} from "./event.ts";
import { beginImage, type ImageWork, readAhead } from "./image.ts";
import { createLoadStage, type LoadStage, wantsLoad } from "./load.ts";
import type { LocalRegistry } from "./local-registry.ts";
import { finishProvider, type ProviderSteps } from "./provider.ts";
import { createRecord } from "./record.ts";
import type { Runtime } from "./runtime.ts";
import { settleAll } from "./settle-all.ts";
import { type Carriers, deliverStage, skippedStage } from "./stage.ts";
import { refuseWithoutRoom, type SurveyedStage, survey } from "./survey.ts";
import { createTally } from "./tally.ts";
import { createTransfers, DEFAULT_SHARES, type LinkShares } from "./transfer.ts";
import { createUploadStage, type UploadStage, wantsUpload } from "./upload.ts";
import type { AbsentPlatforms } from "./upload-session.ts";

/** Names and manifests that are asked for at once: each is a round trip and next to no bytes. */
const REQUESTS_MAX = 16;

/** Keeps what the plans declare, so that a collection knows. */
export interface Generations {
  /** From now on all of these names stay, and what comes for them. */
  begin(names: Iterable<string>): Promise<void>;
  /** What began last was carried out whole. */
  complete(): Promise<void>;
  /** The names that stay as of now, also those that came out of provider images. */
  kept(): Promise<readonly string[]>;
}

/** What a delivery needs of the world. */
export interface DeliverOptions {
  readonly store: Store;
  /** The machines that the images are for. */
  readonly platform: Platform;
  /** `always` without it. */
  readonly attachments?: AttachmentPolicy;
  /** Where it is remembered when attachments were asked for. Nowhere, without it. */
  readonly attachmentChecks?: AttachmentChecks;
  readonly clock: Clock;
  /** A number in [0, 1), to spread retries. */
  readonly random: () => number;
  /** Places beside the store where content may lie already; asked before any registry. None without it. */
  readonly folders?: readonly Folder[];
  /** Bytes that the disk of the store can still take, where that is known. */
  readonly bytesFree?: () => Promise<number | undefined>;
  /** Gives the repository that an image is fetched from. It asks nobody and does not fail. */
  readonly openSource: (image: PlannedImage) => Source;
  /** Hears everything that happens, in order. It is called often: it must be quick, and must not throw. */
  readonly emit: (event: DeliveryEvent) => void;
  /** Ends the delivery early; whatever was brought in whole stays, for the next one to go on from. */
  readonly signal: AbortSignal;
  /** The last stage to deliver; all of them without it. */
  readonly until?: StageName;
  readonly shares?: LinkShares;
  /** Told of the plan before anything is looked for in the store. Nobody is, without it. */
  readonly generations?: Generations;
  /** What is done with the provider images once they are complete. Nothing, without it. */
  readonly provider?: ProviderSteps;
  /** Where every image is uploaded that has a name there in the plan. None is, without it. */
  readonly localRegistry?: LocalRegistry;
  /**
   * How long the local registry is waited for once nothing is left to be fetched, in milliseconds; 0:
   * it is asked once. Ten minutes without it.
   */
  readonly waitForLocalMs?: number;
  /** Where every image is loaded that a container may want. Nowhere, without it. */
  readonly runtime?: Runtime;
  /** `one-platform` without it. */
  readonly absentPlatforms?: AbsentPlatforms;
}

const WAIT_FOR_LOCAL_MS = 10 * 60_000;

/**
 * Carries a plan out once: brings every image that is not complete in the store, stage by stage.
 *
 * The manifests of all stages are read first, so that size and time are known, and a delivery for
 * which there is no room is refused before it begins. No blob of a later stage is asked for before the
 * stages before it are through, and when a provider image fails, or what is to be done with it,
 * nothing else begins (rule `provider-first`). In the other stages an image that fails stops no other.
 *
 * What has a name in the local registry is uploaded there meanwhile, each image once it is complete. An
 * upload that fails stops no fetch, and what was fetched whole counts as carried out.
 *
 * With a runtime all of them but the provider images are loaded into it, each once it is complete, and
 * so are core images; what no kept plan needs is let go at the end. A failure of that stops no fetch.
 *
 * What the world did wrong is in the summary and does not reject. A disk that is full or broken ends
 * the delivery, because nothing more could be kept.
 *
 * @throws {Failure} `store-full` before anything moved, when the disk can't hold what is missing
 */
export async function deliver(plan: Plan, options: DeliverOptions): Promise<DeliverySummary> {
  const { clock, signal, shares = DEFAULT_SHARES, bytesFree } = options;
  const startedMs = clock.monotonic();
  const stopper = new AbortController();
  const record = createRecord();
  const context: DeliveryContext = {
    ...options,
    folders: options.folders ?? [],
    tally: createTally(),
    answering: new Set(),
    signal: AbortSignal.any([signal, stopper.signal]),
    stop: (because) => stopper.abort(because),
    emit(event) {
      record.hear(event);
      options.emit({ at: clock.now(), ...event });
    },
  };
  const carriers = {
    requests: new Limiter(REQUESTS_MAX),
    transfers: createTransfers(context, shares),
    bytesToCome() {
      const { bytesTotal, bytesHere } = context.tally.totals();
      return Math.max(0, bytesTotal - bytesHere - record.soFar().bytesFetched);
    },
  };
  await options.generations?.begin(namesOf(plan));
  const wanted = beginStages(plan, options, carriers.requests, context);
  await readStagesAhead(wanted, carriers.requests, context);
  if (bytesFree !== undefined) {
    await requireRoom(wanted, bytesFree, context);
  }
  const uploadStage = openUploads(wanted, carriers, options, context);
  const loads = openLoads(wanted, options, context);
  const unwanted = plan.stages.slice(wanted.length);
  let stages: readonly StageSummary[] = [];
  const finished: { provider: ProviderSummary | null } = { provider: null };
  let uploads: UploadSummary | null = null;
  let runtime: LoadSummary | null = null;
  // A plan that was not carried out whole lets nothing go.
  let kept: readonly string[] | undefined;
  try {
    const finish = async (works: readonly ImageWork[]) => {
      if (options.provider === undefined) return true;
      const declared = new Set(namesOf(plan));
      finished.provider = await finishProvider(works, options.provider, declared, context);
      for (const name of finished.provider.coreImages?.names ?? []) {
        if (!declared.has(name)) loads?.offerNamed(name);
      }
      return finished.provider.isDone;
    };
    stages = await deliverStages(
      wanted,
      { ...carriers, uploads: uploadStage, loads },
      finish,
      context,
    );
    const isDone = finished.provider?.isDone !== false;
    const isWhole = isDone && stages.every(({ failed, skipped }) => failed + skipped === 0);
    // Before the local registry is waited for: it has no say in what is kept.
    if (isWhole && unwanted.every(({ images }) => images.length === 0)) {
      await options.generations?.complete();
      if (loads !== undefined) kept = await options.generations?.kept();
    }
  } catch (error) {
    // What runs beside the fetches would wait for a registry that nobody needs any more.
    context.stop(error);
    throw error;
  } finally {
    // Neither waits for the other, and neither is left running when the other throws.
    const [uploading, loading] = [uploadStage?.finish(), loads?.finish(kept)];
    await Promise.allSettled([uploading, loading]);
    uploads = (await uploading) ?? null;
    runtime = (await loading) ?? null;
  }
  const { provider } = finished;
  const skipped =
    provider?.isDone === false ||
    [...stages, uploads, runtime].some((one) => one !== null && one.skipped > 0);
  const { failures, warnings, bytesMoved, bytesFetched } = record.soFar();
  const hasFailed = [{ failures }, uploads, runtime].some(
    (one) => one !== null && one.failures.length > 0,
  );
  const { bytesTotal, bytesHere } = context.tally.totals();
  const summary: DeliverySummary = {
    outcome: signal.aborted && skipped ? "interrupted" : hasFailed ? "failed" : "done",
    stages: [...stages, ...unwanted.map(({ name, images }) => skippedStage(name, images.length))],
    failures,
    warnings,
    provider,
    uploads,
    runtime,
    bytesTotal,
    bytesHere,
    bytesMoved,
    bytesFetched,
    elapsedMs: clock.monotonic() - startedMs,
  };
  context.emit({ type: "delivery-done", summary });
  return summary;
}

interface StageWork {
  readonly name: StageName;
  readonly works: readonly ImageWork[];
}

/** What the plan declares, as it is named in the store; also what is of a later stage than is wanted. */
function namesOf({ stages }: Plan): readonly string[] {
  return stages.flatMap(({ images }) => images.map(({ declared }) => formatReference(declared)));
}

function imagesOf({ name, works }: StageWork): SurveyedStage {
  return { name, images: works.map(({ image, graph }) => ({ image, graph })) };
}

/** The stages that are asked for, and nothing of them done yet. */
function beginStages(
  { stages }: Plan,
  { until = "application", openSource, localRegistry }: DeliverOptions,
  requests: Limiter,
  context: DeliveryContext,
): readonly StageWork[] {
  const wanted = stages.slice(0, STAGE_NAMES.indexOf(until) + 1);
  const uploads = wanted.flatMap(({ images }) => images).filter(({ local }) => local !== null);
  context.emit({
    type: "plan-started",
    stages: wanted.map(({ name, images }) => ({ name, images: images.length })),
    uploads: localRegistry === undefined ? 0 : uploads.length,
  });
  return wanted.map(({ name, images }) => ({
    name,
    works: images.map((image) => beginImage(image, openSource(image), requests, context)),
  }));
}

/** @throws {Failure} `store-full`, which is told as well: what was begun is to have an end in the journal */
async function requireRoom(
  wanted: readonly StageWork[],
  bytesFree: NonNullable<DeliverOptions["bytesFree"]>,
  context: DeliveryContext,
): Promise<void> {
  const found = await survey(wanted.map(imagesOf), context);
  try {
    refuseWithoutRoom(found, await bytesFree());
  } catch (error) {
    if (isFailure(error)) {
      const { code, message, hint } = error;
      context.emit({ type: "delivery-refused", code, message, hint });
    }
    throw error;
  }
}

/** Undefined when nothing is to be uploaded: then the local registry is not even asked. */
function openUploads(
  stages: readonly StageWork[],
  { transfers }: Carriers,
  options: DeliverOptions,
  context: DeliveryContext,
): UploadStage | undefined {
  const { localRegistry: registry, waitForLocalMs: waitMs = WAIT_FOR_LOCAL_MS } = options;
  const { absentPlatforms = "one-platform" } = options;
  const works = stages.flatMap(({ works }) => works).filter(wantsUpload);
  if (registry === undefined || works.length === 0) return undefined;
  return createUploadStage(works, { registry, waitMs, absentPlatforms, transfers }, context);
}

/** Undefined without a runtime: then nobody is asked. */
function openLoads(
  stages: readonly StageWork[],
  { runtime }: DeliverOptions,
  context: DeliveryContext,
): LoadStage | undefined {
  if (runtime === undefined) return undefined;
  return createLoadStage(stages.flatMap(({ works }) => works).filter(wantsLoad), runtime, context);
}

/** How many images are read ahead at a time, and so how many wait in vain for a registry that is silent. */
const AHEAD_MAX = 8;

const NEVER: AbortSignal = new AbortController().signal;

/**
 * Reads the manifests of all images, in the order of the stages but with no pause between them: the
 * first blob waits for all of them, and each is a round trip and next to no bytes. A registry that once
 * did not give what it was asked for is left alone until its images have their turn.
 */
async function readStagesAhead(
  stages: readonly StageWork[],
  requests: Limiter,
  context: DeliveryContext,
): Promise<void> {
  const ahead = new Limiter(AHEAD_MAX);
  const troubled = new Set<string>();
  const readOne = async (work: ImageWork) => {
    if (context.signal.aborted || troubled.has(work.registry)) return;
    await readAhead(work, requests, context);
    if (work.aheadFailure?.transient === true) troubled.add(work.registry);
  };
  const works = stages.flatMap((stage) => stage.works);
  // Those that wait are let in also after the end is called for: they see it, and return at once.
  await settleAll(works.map((work) => ahead.run(NEVER, () => readOne(work))));
}

/**
 * One stage after the other; when this settles, nothing runs any more.
 *
 * @param finishProviders what is left to do once all provider images are complete; false when it failed
 */
async function deliverStages(
  stages: readonly StageWork[],
  carriers: Carriers,
  finishProviders: (works: readonly ImageWork[]) => Promise<boolean>,
  context: DeliveryContext,
): Promise<readonly StageSummary[]> {
  const summaries: StageSummary[] = [];
  for (const { name, works } of stages) {
    if (context.signal.aborted) summaries.push(skippedStage(name, works.length));
    else summaries.push(await deliverStage(name, works, carriers, context));
    if (name !== "provider" || context.signal.aborted) continue;
    if (summaries.some(({ failed }) => failed > 0)) context.stop("a provider image failed");
    else if (!(await finishProviders(works))) context.stop("a provider image is not handed over");
  }
  return summaries;
}
