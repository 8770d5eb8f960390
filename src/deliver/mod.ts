/**
 * Carries a plan out once: every image that is not complete in the store is brought there, in the
 * order of the stages, each blob once, and everything that happens is told as it happens.
 *
 * Knows no HTTP and no disk: images come from `Source`s and go to a `Store`. Nothing in here decides
 * where an image comes from; that is the plan's.
 *
 * @module
 */
export type { Folder } from "./context.ts";
export { type DeliverOptions, deliver, type Generations } from "./deliver.ts";
export { type Estimate, type EstimateOptions, estimate } from "./estimate.ts";
export type {
  ByteTotals,
  DeliveryEvent,
  DeliveryFailure,
  DeliverySummary,
  DeliveryWarning,
  ImageOutcome,
  StageSummary,
} from "./event.ts";
export type { Need, StageNeed } from "./survey.ts";
export type { LinkShares } from "./transfer.ts";
