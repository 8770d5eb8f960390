import { formatDuration, printable } from "#base";
import type { DeliveryEvent, ProviderSummary } from "#deliver";

/** The line that stays of an event of the provider stage, or undefined. What was done before is no news. */
export function providerLine(
  event: DeliveryEvent,
  paint: (code: number, text: string) => string,
): string | undefined {
  switch (event.type) {
    case "core-images-done": {
      const { outcome, image, names, archives, ms, failure } = event;
      if (failure !== undefined) return `${paint(31, "failed   ")}  ${image}: ${failure.message}`;
      if (outcome !== "loaded") return undefined;
      if (archives === 0) return `note: no core images in ${image}`;
      const found = `${counted(names.length, "core image")} of ${counted(archives, "archive")}`;
      return `${paint(32, "loaded   ")}  ${found} in ${image}, ${formatDuration(ms)}`;
    }
    case "hand-over-started": {
      const by = event.program === null ? "" : `, then runs ${printable(event.program)}`;
      return `hands over ${event.image} as ${event.form}: ${printable(event.target)}${by}`;
    }
    case "hand-over-output":
      return `  | ${event.line}`;
    case "hand-over-done": {
      const { outcome, image, ms, failure } = event;
      if (failure !== undefined) return `${paint(31, "failed   ")}  ${image}: ${failure.message}`;
      if (outcome !== "done") return undefined;
      return `${paint(32, "given    ")}  ${image} to the operating system, ${formatDuration(ms)}`;
    }
    default:
      return undefined;
  }
}

/** What was done with the provider image, for eyes. */
export function providerSummaryLines(provider: ProviderSummary | null): readonly string[] {
  if (provider === null) return [];
  const { coreImages, handOver } = provider;
  const images = coreImages?.names.length ?? 0;
  return [
    ...(images === 0 ? [] : [`${counted(images, "core image")} from inside the provider image`]),
    ...(handOver === null ? [] : [`the operating system ${HAND_OVER_TEXTS[handOver]}`]),
  ];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

const HAND_OVER_TEXTS = {
  done: "was given the provider image",
  present: "has the provider image already",
  failed: "could not be given the provider image: nothing else was begun",
  skipped: "was not given the provider image",
} as const;
