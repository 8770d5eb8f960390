import type { DeliveryFailure, DeliverySummary, DeliveryWarning, UntimedEvent } from "./event.ts";

/** What the events of a delivery add up to, for its summary. */
export interface DeliveryRecord {
  hear(event: UntimedEvent): void;
  soFar(): Pick<DeliverySummary, "failures" | "warnings" | "bytesMoved" | "bytesFetched">;
}

/** A record of nothing yet. */
export function createRecord(): DeliveryRecord {
  const failures: DeliveryFailure[] = [];
  const warnings: DeliveryWarning[] = [];
  let bytesMoved = 0;
  let bytesFetched = 0;
  return {
    hear(event) {
      if (event.type === "bytes") bytesFetched += event.bytes;
      if (event.type === "warning") warnings.push({ image: event.image, message: event.message });
      if (event.type === "upload-done") bytesMoved += event.bytesMoved;
      if (event.type === "core-images-done" || event.type === "hand-over-done") {
        if (event.failure !== undefined) failures.push(event.failure);
      }
      if (event.type !== "image-done") return;
      bytesMoved += event.bytesMoved;
      if (event.failure !== undefined) failures.push(event.failure);
    },
    soFar: () => ({ failures, warnings, bytesMoved, bytesFetched }),
  };
}
