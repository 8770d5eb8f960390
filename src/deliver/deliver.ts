import { type Clock, Limiter } from "#base";
import type { Source, Store } from "#content";
import type { Platform } from "#oci";
import { type Plan, type PlannedImage, STAGE_NAMES, type StageName } from "#plan";
import type { DeliveryContext } from "./context.ts";
import type { DeliveryEvent, DeliverySummary, StageSummary } from "./event.ts";
import { beginImage, type ImageWork, readAhead } from "./image.ts";
import { createRecord } from "./record.ts";
import { deliverStage, skippedStage } from "./stage.ts";
import { createTally } from "./tally.ts";
import { createTransfers } from "./transfer.ts";

/** How much goes on at once. */
export interface Concurrency {
  /** Images whose turn it is. */
  readonly images: number;
  /** Blobs on the link, over all images. */
  readonly blobs: number;
  /** Images whose manifests are read ahead of their turn. */
  readonly manifests: number;
}

/** Few enough for a slow disk and for registries that cut off greedy clients; enough to fill a link. */
const DEFAULT_CONCURRENCY: Concurrency = { images: 4, blobs: 6, manifests: 8 };

/** What a delivery needs of the world. */
export interface DeliverOptions {
  readonly store: Store;
  /** The machines that the images are for. */
  readonly platform: Platform;
  readonly clock: Clock;
  /** A number in [0, 1), to spread retries. */
  readonly random: () => number;
  /** Gives the repository that an image is fetched from. It asks nobody and does not fail. */
  readonly openSource: (image: PlannedImage) => Source;
  /** Hears everything that happens, in order. It is called often: it must be quick, and must not throw. */
  readonly emit: (event: DeliveryEvent) => void;
  /** Ends the delivery early; whatever was brought in whole stays, for the next one to go on from. */
  readonly signal: AbortSignal;
  /** The last stage to deliver; all of them without it. */
  readonly until?: StageName;
  readonly concurrency?: Concurrency;
}

/**
 * Carries a plan out once: brings every image that is not complete in the store, stage by stage.
 *
 * No blob of a later stage is asked for before the stages before it are through, and when a provider
 * image fails nothing else begins (rule `provider-first`). In the other stages an image that fails
 * stops no other. Manifests of all stages are read ahead, so that size and time left are known.
 *
 * What the world did wrong is in the summary and never rejects. A disk that is full or broken ends
 * the delivery, because nothing more could be kept.
 */
export async function deliver(plan: Plan, options: DeliverOptions): Promise<DeliverySummary> {
  const { clock, signal, concurrency = DEFAULT_CONCURRENCY } = options;
  const startedMs = clock.monotonic();
  const stopper = new AbortController();
  const record = createRecord();
  const tally = createTally();
  const context: DeliveryContext = {
    ...options,
    tally,
    signal: AbortSignal.any([signal, stopper.signal]),
    stop: (because) => stopper.abort(because),
    emit(event) {
      record.hear(event);
      options.emit({ at: clock.now(), ...event });
    },
  };

  const wanted = beginStages(plan, options, context);
  const stages = await deliverStages(wanted, concurrency, context);
  const wasCutShort = signal.aborted && stages.some(({ skipped }) => skipped > 0);
  const unwanted = plan.stages.slice(wanted.length);
  const { failures, warnings, bytesMoved } = record.soFar();
  const { bytesTotal, bytesHere } = tally.totals();
  const summary: DeliverySummary = {
    outcome: wasCutShort ? "interrupted" : failures.length > 0 ? "failed" : "done",
    stages: [...stages, ...unwanted.map(({ name, images }) => skippedStage(name, images.length))],
    failures,
    warnings,
    bytesTotal,
    bytesHere,
    bytesMoved,
    elapsedMs: clock.monotonic() - startedMs,
  };
  context.emit({ type: "delivery-done", summary });
  return summary;
}

interface StageWork {
  readonly name: StageName;
  readonly works: readonly ImageWork[];
}

/** The stages that are asked for, and nothing of them done yet. */
function beginStages(
  { stages }: Plan,
  { until = "application", openSource }: DeliverOptions,
  context: DeliveryContext,
): readonly StageWork[] {
  const wanted = stages.slice(0, STAGE_NAMES.indexOf(until) + 1);
  context.emit({
    type: "plan-started",
    stages: wanted.map(({ name, images }) => ({ name, images: images.length })),
  });
  return wanted.map(({ name, images }) => ({
    name,
    works: images.map((image) => beginImage(image, openSource(image), context)),
  }));
}

/** One stage after the other; when this settles, nothing runs any more. */
async function deliverStages(
  stages: readonly StageWork[],
  concurrency: Concurrency,
  context: DeliveryContext,
): Promise<readonly StageSummary[]> {
  const carriers = {
    transfers: createTransfers(context, concurrency.blobs),
    images: new Limiter(concurrency.images),
  };
  const summaries: StageSummary[] = [];
  beginReadingAhead(stages, new Limiter(concurrency.manifests), context);
  try {
    for (const { name, works } of stages) {
      if (context.signal.aborted) summaries.push(skippedStage(name, works.length));
      else summaries.push(await deliverStage(name, works, carriers, context));
      const providerFailed = name === "provider" && summaries.some(({ failed }) => failed > 0);
      if (providerFailed) context.stop("a provider image failed");
    }
    return summaries;
  } finally {
    await Promise.allSettled(stages.flatMap(({ works }) => works.map(({ ahead }) => ahead)));
  }
}

/**
 * Begins to read the manifests of all images, those of a stage only after those of the stages before
 * it: what is read for sizing must not stand in the way of what the provider images wait for.
 */
function beginReadingAhead(
  stages: readonly StageWork[],
  limiter: Limiter,
  context: DeliveryContext,
): void {
  let stagesBefore: Promise<unknown> = Promise.resolve();
  for (const { works } of stages) {
    const turn = stagesBefore;
    for (const work of works) {
      work.ahead = turn.then(() => limiter.run(context.signal, () => readAhead(work, context)));
    }
    stagesBefore = Promise.allSettled(works.map(({ ahead }) => ahead));
  }
}
