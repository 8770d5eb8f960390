import { formatDuration, printable } from "#base";
import type { DeliveryEvent, LoadFailure, LoadSummary } from "#deliver";

/** The line that stays of an event, or undefined. */
export function runtimeLine(
  event: DeliveryEvent,
  paint: (code: number, text: string) => string,
): string | undefined {
  switch (event.type) {
    case "runtime-warning":
      return `${paint(33, "warning:")} ${printable(event.runtime)}: ${event.message}`;
    case "runtime-failed":
      return `${paint(31, "failed   ")}  ${event.failure.message}`;
    case "runtime-loaded": {
      const { outcome, image, failure, ms } = event;
      if (failure !== undefined) return `${paint(31, "failed   ")}  ${image}: ${failure.message}`;
      if (outcome !== "loaded") return undefined;
      return `${paint(32, "loaded   ")}  ${image} into the runtime, ${formatDuration(ms)}`;
    }
    default:
      return undefined;
  }
}

/** What was loaded into the runtime, for eyes. */
export function runtimeSummaryLines(loads: LoadSummary | null): readonly string[] {
  if (loads === null) return [];
  const { runtime, images, loaded, present, failed, skipped } = loads;
  const counts = [
    `${loaded} loaded`,
    `${present} there already`,
    ...(loads["not-runnable"] > 0 ? [`${loads["not-runnable"]} that no container runs`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(skipped > 0 ? [`${skipped} not attempted`] : []),
  ];
  const count = images === 1 ? "1 image" : `${images} images`;
  return [`${count} for ${printable(runtime)}: ${counts.join(", ")}`];
}

/** A failure with what to do next. */
export function runtimeFailureLines(failure: LoadFailure): readonly string[] {
  const { image, message, hint, code } = failure;
  const what = image === null ? "" : `${image} (into the runtime): `;
  return [`error: ${what}${message}`, `hint:  ${hint}`, `code:  ${code}`];
}
