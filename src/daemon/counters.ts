import type { DeliveryEvent, DeliverySummary } from "#deliver";
import type { AgentCounters } from "./control.ts";
import type { DeliveryProgress } from "./delivery-progress.ts";

/** Counts what happened since the agent started. The numbers only grow. */
export class Counters {
  readonly #uplink = new Map<string, { registry: string; stage: string; bytes: number }>();
  readonly #failures = new Map<string, number>();
  readonly #deliveries = { done: 0, failed: 0, interrupted: 0 };
  #uploadBytes = 0;
  #retries = 0;
  #resumes = 0;

  /** Of a delivery, whose images say which registry and stage bytes are of. */
  hear(event: DeliveryEvent, progress: DeliveryProgress): void {
    switch (event.type) {
      case "bytes":
        if (event.isNear !== true) this.#arrived(event.image, event.bytes, progress);
        return;
      case "upload-bytes":
        // Fewer than none when the registry lost some: what was sent stays sent.
        this.#uploadBytes += Math.max(0, event.bytes);
        return;
      case "retry":
      case "upload-retry":
        this.#retries += 1;
        return;
      case "resume":
        this.#resumes += 1;
        return;
      case "image-done":
      case "upload-done":
        if (event.failure !== undefined) this.failed(event.failure.code);
        return;
      default:
        return;
    }
  }

  /** Something failed with that code. */
  failed(code: string): void {
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
  }

  /** A delivery is over. */
  ended(outcome: DeliverySummary["outcome"]): void {
    this.#deliveries[outcome] += 1;
  }

  /** As the metrics read them. */
  read(): AgentCounters {
    return {
      uplinkBytes: [...this.#uplink.values()].map((each) => ({ ...each })),
      uploadBytes: this.#uploadBytes,
      deliveries: { ...this.#deliveries },
      failures: [...this.#failures].map(([code, count]) => ({ code, count })),
      retries: this.#retries,
      resumes: this.#resumes,
    };
  }

  #arrived(image: string, bytes: number, progress: DeliveryProgress): void {
    const { registry = "", stage = "" } = progress.image(image) ?? {};
    const key = `${stage} ${registry}`;
    const sum = this.#uplink.get(key);
    if (sum === undefined) this.#uplink.set(key, { registry, stage, bytes });
    else sum.bytes += bytes;
  }
}
