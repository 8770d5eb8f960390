import { type Failure, formatBytes, isFailure, type Limiter } from "#base";
import type { StageName } from "#plan";
import { formatReference } from "#reference";
import type { DeliveryContext } from "./context.ts";
import type { DeliveryFailure, ImageOutcome, StageSummary } from "./event.ts";
import { deliverImage, type ImageResult, type ImageWork } from "./image.ts";
import type { LoadStage } from "./load.ts";
import { settleAll } from "./settle-all.ts";
import type { Transfers } from "./transfer.ts";
import type { UploadStage } from "./upload.ts";

/** With these the store takes nothing more, so no image can be brought. */
const STORE_REFUSES: ReadonlySet<string> = new Set([
  "store-full",
  "store-broken",
  "store-unusable",
]);

/** What carries the images of a stage out. */
export interface Carriers {
  readonly transfers: Transfers;
  /** Limits how many manifests and names are asked for at once. */
  readonly requests: Limiter;
  /** What blobs of the delivery are still to come, in bytes, as far as is known. */
  readonly bytesToCome: () => number;
  /** Where every image goes when its turn is over; nowhere without a local registry. */
  readonly uploads?: UploadStage | undefined;
  /** Where every image goes that a container may want, when its turn is over; nowhere without a runtime. */
  readonly loads?: LoadStage | undefined;
}

/**
 * Delivers the images of one stage; resolves when nothing of it runs any more. All of them have their
 * turn at once, so that none that waits for its registry holds up another; what is limited is what
 * they ask for, and that is served in their order.
 */
export async function deliverStage(
  name: StageName,
  works: readonly ImageWork[],
  carriers: Carriers,
  context: DeliveryContext,
): Promise<StageSummary> {
  context.emit({ type: "stage-started", stage: name, images: works.length });
  const turns = works.map(async (work): Promise<ImageOutcome> => {
    try {
      return await takeTurn(name, work, carriers, context);
    } catch (error) {
      if (context.signal.aborted) return "skipped";
      context.stop(error);
      throw error;
    }
  });
  const summary = summarize(name, await settleAll(turns));
  context.emit({ type: "stage-done", ...summary });
  return summary;
}

/** The summary of a stage none of whose images was tried. */
export function skippedStage(name: StageName, images: number): StageSummary {
  return summarize(name, Array<ImageOutcome>(images).fill("skipped"));
}

function summarize(name: StageName, outcomes: readonly ImageOutcome[]): StageSummary {
  const count = (outcome: ImageOutcome) => outcomes.filter((each) => each === outcome).length;
  return {
    name,
    images: outcomes.length,
    delivered: count("delivered"),
    present: count("present"),
    stood: count("stood"),
    failed: count("failed"),
    skipped: count("skipped"),
  };
}

async function takeTurn(
  stage: StageName,
  work: ImageWork,
  carriers: Carriers,
  context: DeliveryContext,
): Promise<ImageOutcome> {
  context.signal.throwIfAborted();
  const { clock, emit } = context;
  const { image, planned } = work;
  const started: { ms?: number } = {};
  work.begin = () => {
    if (started.ms !== undefined) return;
    started.ms = clock.monotonic();
    emit({ type: "image-started", stage, image, source: formatReference(planned.source) });
  };
  const end = await attempt(work, carriers, context);
  // An image whose blobs others brought, or that never got as far, begins and ends in one moment.
  if (started.ms === undefined && context.signal.aborted) return "skipped";
  work.begin();
  emit({
    type: "image-done",
    stage,
    image,
    ...end,
    bytesMoved: work.bytesMoved,
    ms: clock.monotonic() - (started.ms ?? 0),
  });
  carriers.uploads?.offer(work, end.outcome);
  carriers.loads?.offer(work, end.outcome);
  return end.outcome;
}

interface ImageEnd extends ImageResult {
  readonly failure?: DeliveryFailure;
}

async function attempt(
  work: ImageWork,
  { requests, transfers, bytesToCome }: Carriers,
  context: DeliveryContext,
): Promise<ImageEnd> {
  try {
    return await deliverImage(work, requests, transfers, context);
  } catch (error) {
    if (context.signal.aborted) return { outcome: "skipped", digest: null };
    if (!isFailure(error)) throw error;
    if (STORE_REFUSES.has(error.code)) context.stop(error);
    const failure = withNeed(describe(work, error), bytesToCome());
    return { outcome: "failed", digest: null, failure };
  }
}

/** A disk that is full of other things must get room for all that is to come, and not for this one write. */
function withNeed(failure: DeliveryFailure, bytesToCome: number): DeliveryFailure {
  if (failure.code !== "store-full") return failure;
  const need = `${formatBytes(bytesToCome)} of this delivery are still to come`;
  return { ...failure, message: `${failure.message}; ${need}` };
}

/** A failure of one image, for the summary. */
export function describe(
  { image, planned, registry }: ImageWork,
  { code, message, hint }: Failure,
): DeliveryFailure {
  return { image, source: formatReference(planned.source), registry, code, message, hint };
}
