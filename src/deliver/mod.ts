/**
 * Carries a plan out once: every image that is not complete in the store is brought there, in the
 * order of the stages, each blob once, and everything that happens is told as it happens.
 *
 * Knows no HTTP and no disk: images come from `Source`s and go to a `Store`. Nothing in here decides
 * where an image comes from; that is the plan's.
 *
 * @module
 */
export { type AttachedImage, type Attachment, attachmentsOf } from "./attachments.ts";
export type { AttachmentChecks, AttachmentPolicy, Folder } from "./context.ts";
export { type DeliverOptions, deliver, type Generations } from "./deliver.ts";
export { type Estimate, type EstimateOptions, estimate } from "./estimate.ts";
export type {
  ByteTotals,
  DeliveryEvent,
  DeliveryFailure,
  DeliverySummary,
  DeliveryWarning,
  HandOverOutcome,
  ImageOutcome,
  LoadFailure,
  LoadOutcome,
  LoadSummary,
  ProviderSummary,
  StageSummary,
  UploadFailure,
  UploadOutcome,
  UploadSummary,
} from "./event.ts";
export { createFetchingHost, type FetchingHost, type FetchingHostOptions } from "./fetcher.ts";
export { createDeliveryLines, type DeliveryLine } from "./journal.ts";
export type { LocalRegistry, UploadNeed } from "./local-registry.ts";
export {
  CommandFailure,
  type CoreImageOptions,
  type CoreImages,
  type CoreLoading,
  type HandOver,
  type HandOverEnd,
  type HandOverOptions,
  type HandOverStart,
  type ProviderImage,
  type ProviderSteps,
} from "./provider.ts";
export type { Runtime, RuntimeImage } from "./runtime.ts";
export type { Need, StageNeed } from "./survey.ts";
export type { LinkShares } from "./transfer.ts";
export type { AbsentPlatforms } from "./upload-session.ts";
