import { type Clock, Failure, Limiter } from "#base";
import type { ImageGraph, Source, Store } from "#content";
import type { Platform } from "#oci";
import type { Plan, PlannedImage } from "#plan";
import type { DeliveryContext, Folder } from "./context.ts";
import type { DeliveryFailure } from "./event.ts";
import { beginImage, type ImageWork, readAhead, readStanding } from "./image.ts";
import { settleAll } from "./settle-all.ts";
import { describe } from "./stage.ts";
import { type Survey, survey } from "./survey.ts";
import { createTally } from "./tally.ts";

/** What an estimate needs of the world: a delivery's, and nothing that could change it. */
export interface EstimateOptions {
  /** Is read only. */
  readonly store: Store;
  readonly folders: readonly Folder[];
  readonly platform: Platform;
  readonly clock: Clock;
  readonly random: () => number;
  readonly openSource: (image: PlannedImage) => Source;
  readonly signal: AbortSignal;
}

/** What a delivery would cost if it began now. */
export interface Estimate extends Survey {
  /** Images whose size is not known, with the reason; they are not in the figures. */
  readonly unsized: readonly DeliveryFailure[];
}

const REQUESTS_MAX = 16;

/**
 * Asks the registries for names and manifests only, and says what a delivery of the plan would move.
 * An image whose registry can't be reached counts as it stands in the store, if it does.
 */
export async function estimate(plan: Plan, options: EstimateOptions): Promise<Estimate> {
  const requests = new Limiter(REQUESTS_MAX);
  const context: DeliveryContext = {
    ...options,
    tally: createTally(),
    answering: new Set(),
    stop: () => undefined,
    emit: () => undefined,
  };
  const unsized: DeliveryFailure[] = [];
  const size = async (work: ImageWork): Promise<ImageGraph | undefined> => {
    await readAhead(work, requests, context);
    options.signal.throwIfAborted();
    const { graph, aheadFailure } = work;
    if (graph !== undefined) return graph;
    const standing =
      aheadFailure?.transient === true ? await readStanding(work, requests, context) : undefined;
    if (standing === undefined) unsized.push(describe(work, aheadFailure ?? platformUnsaid()));
    return standing;
  };
  const stages = await settleAll(
    plan.stages.map(async ({ name, images }) => {
      const works = images.map((image) =>
        beginImage(image, options.openSource(image), requests, context),
      );
      const graphs = await settleAll(works.map(size));
      return { name, images: works.map(({ image }, i) => ({ image, graph: graphs[i] })) };
    }),
  );
  return { ...(await survey(stages, context)), unsized };
}

function platformUnsaid(): Failure {
  return new Failure({
    code: "size-unknown",
    message:
      "Cannot tell the size before the delivery: the index does not say for which platforms its images are, expected it to",
    hint: "The delivery reads their configs to find out; pin the image by the digest of its own manifest to know before",
  });
}
