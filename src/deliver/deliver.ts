import { type Clock, Limiter } from "#base";
import type { Source, Store } from "#content";
import type { Platform } from "#oci";
import { type Plan, type PlannedImage, STAGE_NAMES, type StageName } from "#plan";
import { formatReference } from "#reference";
import type { DeliveryContext, Folder } from "./context.ts";
import type { DeliveryEvent, DeliverySummary, StageSummary } from "./event.ts";
import { beginImage, type ImageWork, readAhead } from "./image.ts";
import { createRecord } from "./record.ts";
import { settleAll } from "./settle-all.ts";
import { type Carriers, deliverStage, skippedStage } from "./stage.ts";
import { refuseWithoutRoom, survey } from "./survey.ts";
import { createTally } from "./tally.ts";
import { createTransfers, DEFAULT_SHARES, type LinkShares } from "./transfer.ts";

/** Names and manifests that are asked for at once: each is a round trip and next to no bytes. */
const REQUESTS_MAX = 16;

/** Keeps what the plans declare, so that a collection knows. */
export interface Generations {
  /** From now on all of these names stay, and what comes for them. */
  begin(names: Iterable<string>): Promise<void>;
  /** What began last was carried out whole. */
  complete(): Promise<void>;
}

/** What a delivery needs of the world. */
export interface DeliverOptions {
  readonly store: Store;
  /** The machines that the images are for. */
  readonly platform: Platform;
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
}

/**
 * Carries a plan out once: brings every image that is not complete in the store, stage by stage.
 *
 * The manifests of all stages are read first, so that size and time are known, and a delivery for
 * which there is no room is refused before it begins. No blob of a later stage is asked for before the
 * stages before it are through, and when a provider image fails nothing else begins (rule
 * `provider-first`). In the other stages an image that fails stops no other.
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
  };
  await options.generations?.begin(namesOf(plan));
  const wanted = beginStages(plan, options, carriers.requests, context);
  await readStagesAhead(wanted, carriers.requests, context);
  if (bytesFree !== undefined) {
    refuseWithoutRoom(await survey(wanted.map(graphsOf), context), await bytesFree());
  }
  const stages = await deliverStages(wanted, carriers, context);
  const wasCutShort = signal.aborted && stages.some(({ skipped }) => skipped > 0);
  const unwanted = plan.stages.slice(wanted.length);
  const { failures, warnings, bytesMoved, bytesFetched } = record.soFar();
  const { bytesTotal, bytesHere } = context.tally.totals();
  const summary: DeliverySummary = {
    outcome: wasCutShort ? "interrupted" : failures.length > 0 ? "failed" : "done",
    stages: [...stages, ...unwanted.map(({ name, images }) => skippedStage(name, images.length))],
    failures,
    warnings,
    bytesTotal,
    bytesHere,
    bytesMoved,
    bytesFetched,
    elapsedMs: clock.monotonic() - startedMs,
  };
  const isWhole = summary.outcome === "done" && unwanted.every(({ images }) => images.length === 0);
  if (isWhole) await options.generations?.complete();
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

function graphsOf({ name, works }: StageWork) {
  return { name, graphs: works.map(({ graph }) => graph) };
}

/** The stages that are asked for, and nothing of them done yet. */
function beginStages(
  { stages }: Plan,
  { until = "application", openSource }: DeliverOptions,
  requests: Limiter,
  context: DeliveryContext,
): readonly StageWork[] {
  const wanted = stages.slice(0, STAGE_NAMES.indexOf(until) + 1);
  context.emit({
    type: "plan-started",
    stages: wanted.map(({ name, images }) => ({ name, images: images.length })),
  });
  return wanted.map(({ name, images }) => ({
    name,
    works: images.map((image) => beginImage(image, openSource(image), requests, context)),
  }));
}

/** How many images are read ahead at a time, and so how many wait in vain for a registry that is silent. */
const AHEAD_MAX = 8;

const NEVER: AbortSignal = new AbortController().signal;

/**
 * Reads the manifests of all images, those of a stage only after those of the stages before it: what
 * is read for sizing must not stand in the way of what the provider images wait for. A registry that
 * once did not give what it was asked for is left alone until its images have their turn.
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
  for (const { works } of stages) {
    // Those that wait are let in also after the end is called for: they see it, and return at once.
    await settleAll(works.map((work) => ahead.run(NEVER, () => readOne(work))));
  }
}

/** One stage after the other; when this settles, nothing runs any more. */
async function deliverStages(
  stages: readonly StageWork[],
  carriers: Carriers,
  context: DeliveryContext,
): Promise<readonly StageSummary[]> {
  const summaries: StageSummary[] = [];
  for (const { name, works } of stages) {
    if (context.signal.aborted) summaries.push(skippedStage(name, works.length));
    else summaries.push(await deliverStage(name, works, carriers, context));
    const providerFailed = name === "provider" && summaries.some(({ failed }) => failed > 0);
    if (providerFailed) context.stop("a provider image failed");
  }
  return summaries;
}
