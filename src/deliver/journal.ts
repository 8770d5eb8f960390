import type { DeliveryEvent, DeliveryFailure } from "./event.ts";

/** A line for the journal of a site. */
export interface DeliveryLine {
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Failures of one delivery that are told in full. */
const FAILURES_MAX = 20;

/** The last lines of a command's output that are kept. */
const OUTPUT_LINES_MAX = 100;

/** Names of core images that are listed. */
const NAMES_MAX = 200;

/**
 * Makes the lines that a journal should have of a delivery out of its events: that it begins, so that one
 * that was killed can be seen, what was done with the provider image, and how it ended.
 */
export function createDeliveryLines(): (event: DeliveryEvent) => DeliveryLine | undefined {
  const output: string[] = [];
  return (event) => {
    switch (event.type) {
      case "plan-started": {
        const images = event.stages.reduce((sum, stage) => sum + stage.images, 0);
        return line("delivery-begun", { images, uploads: event.uploads, stages: event.stages });
      }
      case "core-images-done": {
        const { image, outcome, archives, names, ms, failure } = event;
        if (outcome === "present" || (outcome === "loaded" && names.length === 0)) return undefined;
        const listed = { images: names.length, names: names.slice(0, NAMES_MAX) };
        const told = failure === undefined ? {} : { failure: brief(failure) };
        return line("core-images", { image, outcome, archives, ...listed, ms, ...told });
      }
      case "hand-over-started": {
        output.length = 0;
        const { image, digest, form, target, program } = event;
        return line("hand-over-begun", { image, digest, form, target, program });
      }
      case "hand-over-output":
        output.push(event.line);
        if (output.length > OUTPUT_LINES_MAX) output.shift();
        return undefined;
      case "hand-over-done": {
        const { image, outcome, digest, exitStatus, ms, failure } = event;
        if (outcome === "present") return undefined;
        const told = failure === undefined ? {} : { failure: brief(failure) };
        const end = { image, outcome, digest, exitStatus, ms };
        return line("hand-over-done", { ...end, output: [...output], ...told });
      }
      case "local-registry-failed":
        return line("local-registry-failed", { failure: brief(event.failure) });
      case "delivery-refused":
        return line("delivery-refused", { failure: brief({ ...event, image: null }) });
      case "delivery-done":
        return line("delivery-done", summaryOf(event));
      default:
        return undefined;
    }
  };
}

function line(kind: string, data: DeliveryLine["data"]): DeliveryLine {
  return { kind, data };
}

function summaryOf({ summary }: DeliveryEvent & { readonly type: "delivery-done" }) {
  const { outcome, stages, failures, warnings, provider, uploads, elapsedMs } = summary;
  const { bytesTotal, bytesHere, bytesMoved, bytesFetched } = summary;
  return {
    ...{ outcome, elapsedMs, bytesTotal, bytesHere, bytesMoved, bytesFetched, stages },
    warnings: warnings.length,
    failed: failures.length,
    failures: failures.slice(0, FAILURES_MAX).map(brief),
    handOver: provider?.handOver ?? null,
    uploads: uploads === null ? null : uploadsOf(uploads),
  };
}

function uploadsOf(uploads: NonNullable<DeliverySummaryUploads>) {
  const { registry, images, uploaded, present, failed, skipped, bytesSent, failures } = uploads;
  return {
    ...{ registry, images, uploaded, present, failed, skipped, bytesSent },
    failures: failures.slice(0, FAILURES_MAX).map(brief),
  };
}

type DeliverySummaryUploads = (DeliveryEvent & {
  readonly type: "delivery-done";
})["summary"]["uploads"];

function brief({
  image,
  code,
  message,
  hint,
}: Pick<DeliveryFailure, "code" | "message" | "hint"> & { readonly image: string | null }) {
  return { image, code, message, hint };
}
