import { isFailure } from "#base";
import { createDeliveryLines, type DeliveryEvent } from "#deliver";
import type { Journal } from "#store";

/** Writes a delivery into the journal of its site while it happens. */
export interface DeliveryJournal {
  hear(event: DeliveryEvent): void;
  /** Resolves once all is durable; a message when the journal could not be written. Doesn't fail for that. */
  finish(): Promise<string | undefined>;
}

/** A journal that can't be written ends no delivery: what ended it would not be told there either. */
export function createDeliveryJournal(journal: Journal): DeliveryJournal {
  const lineOf = createDeliveryLines();
  const writing: Promise<void>[] = [];
  return {
    hear(event) {
      const line = lineOf(event);
      if (line === undefined) return;
      const added = journal.add(line.kind, line.data);
      // It is looked at in the end.
      added.catch(() => undefined);
      writing.push(added);
    },
    async finish() {
      for (const result of await Promise.allSettled(writing)) {
        if (result.status === "fulfilled") continue;
        if (!isFailure(result.reason)) throw result.reason;
        return result.reason.message;
      }
      return undefined;
    },
  };
}
