import { createDeliveryLines, type DeliveryEvent } from "#deliver";
import type { Chronicle } from "./chronicle.ts";

/**
 * Tells the journal what was done with a provider image: what came out of it, that it was given to the
 * operating system, and what the program wrote that took it. Begin and end of deliveries are told elsewhere.
 */
export function createDeliveryNews(
  chronicle: Pick<Chronicle, "tell">,
): (event: DeliveryEvent) => void {
  const lineOf = createDeliveryLines();
  return (event) => {
    const line = lineOf(event);
    const text = textOf(event);
    if (line === undefined || text === undefined) return;
    const isFailed = "failure" in event && event.failure !== undefined;
    chronicle.tell(line.kind, text, { level: isFailed ? "error" : "info", data: line.data });
  };
}

function textOf(event: DeliveryEvent): string | undefined {
  switch (event.type) {
    case "core-images-done": {
      const { image, outcome, names, failure } = event;
      if (failure !== undefined) return `Core images of ${image}: ${failure.message}`;
      const count = names.length === 1 ? "1 core image" : `${names.length} core images`;
      return outcome === "skipped"
        ? `${image} was not looked through for core images`
        : `Took ${count} out of ${image}`;
    }
    case "hand-over-started": {
      const { image, target, program } = event;
      const by = program === null ? "" : `, by ${program}`;
      return `Handing over ${image} to the operating system as ${target}${by}`;
    }
    case "hand-over-done": {
      const { image, outcome, failure } = event;
      if (failure !== undefined) return `Handing over ${image} failed: ${failure.message}`;
      return outcome === "done" ? `Handed over ${image}` : `Handing over ${image} was ${outcome}`;
    }
    default:
      return undefined;
  }
}
