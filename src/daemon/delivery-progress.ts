import { type Clock, printable } from "#base";
import type {
  ByteTotals,
  DeliveryEvent,
  DeliverySummary,
  ImageOutcome,
  UploadOutcome,
} from "#deliver";
import type { Plan, StageName } from "#plan";
import { formatReference } from "#reference";
import { DeliveryRate } from "./delivery-rate.ts";
import type { Trouble } from "./operations.ts";
import type { DeliveryState, Waiting } from "./state.ts";

/** Where one image of a delivery is. */
export interface ImageProgress {
  readonly stage: StageName;
  readonly registry: string;
  outcome: ImageOutcome | "waiting" | "moving";
  upload: UploadOutcome | "waiting" | "moving" | null;
  bytesTotal: number;
  bytesHere: number;
  bytesMoved: number;
  isSized: boolean;
  failure: Trouble | null;
}

/** How far a delivery is, as its events tell. */
export class DeliveryProgress {
  readonly #clock: Clock;
  /** Id of what is delivered. */
  readonly revision: string;
  readonly #startedMs: number;
  readonly #rate = new DeliveryRate();
  readonly #images = new Map<string, ImageProgress>();
  readonly #stages: { name: StageName; images: number }[];
  readonly #localRegistry: string | null;
  #overall: ByteTotals = { bytesTotal: 0, bytesHere: 0 };
  #bytesMoved = 0;
  #bytesSent = 0;
  #endedMs: number | null = null;
  #outcome: DeliverySummary["outcome"] | null = null;
  #waiting: Waiting | null = null;

  constructor(revision: string, plan: Plan, clock: Clock) {
    this.#clock = clock;
    this.revision = revision;
    this.#startedMs = clock.now();
    this.#localRegistry = plan.registries.local?.address ?? null;
    this.#stages = plan.stages.map(({ name, images }) => ({ name, images: images.length }));
    for (const image of plan.stages.flatMap((stage) => stage.images)) {
      this.#images.set(formatReference(image.declared), {
        stage: image.category,
        registry: image.source.domain,
        outcome: "waiting",
        upload: image.local === null ? null : "waiting",
        ...{ bytesTotal: 0, bytesHere: 0, bytesMoved: 0, isSized: false, failure: null },
      });
    }
  }

  /** Of an image as declared; undefined for one that the plan does not have. */
  image(declared: string): Readonly<ImageProgress> | undefined {
    return this.#images.get(declared);
  }

  /** Why nothing moves at all; null as soon as something does. */
  get waiting(): Waiting | null {
    return this.#waiting;
  }

  /** Takes in what happened. */
  hear(event: DeliveryEvent): void {
    const image = "image" in event ? this.#images.get(event.image ?? "") : undefined;
    switch (event.type) {
      case "image-started":
        if (image !== undefined) image.outcome = "moving";
        return;
      case "image-sized":
        this.#overall = event.overall;
        if (image !== undefined) {
          image.isSized = true;
          image.bytesTotal = event.bytesTotal;
          image.bytesHere = event.bytesHere;
        }
        return;
      case "bytes":
        this.#waiting = null;
        this.#rate.add(event.bytes, this.#clock.monotonic());
        this.#move(image, event.bytes);
        return;
      case "recount": {
        this.#move(image, event.bytesMoved);
        const { bytesTotal, bytesHere } = this.#overall;
        this.#overall = { bytesTotal, bytesHere: bytesHere + event.bytesHere };
        if (image !== undefined) image.bytesHere += event.bytesHere;
        return;
      }
      case "waiting":
        this.#waiting = {
          reason: printable(event.reason),
          sinceMs: event.at,
          untilMs: event.untilMs,
        };
        return;
      case "image-done":
        if (image === undefined) return;
        image.outcome = event.outcome;
        image.failure = event.failure === undefined ? null : troubleOf(event.failure);
        return;
      default:
        this.#hearUpload(event, image);
    }
  }

  #hearUpload(event: DeliveryEvent, image: ImageProgress | undefined): void {
    switch (event.type) {
      case "local-registry-waiting":
        // Images go on being fetched meanwhile; while they do, nothing waits.
        if (this.#areAllFetched()) {
          const reason = `the local registry ${printable(event.registry)} can't be pushed to: ${printable(event.message)}`;
          this.#waiting = { reason, sinceMs: event.sinceMs, untilMs: event.nextMs };
        }
        return;
      case "local-registry-ready":
        this.#waiting = null;
        return;
      case "upload-started":
        if (image !== undefined) image.upload = "moving";
        return;
      case "upload-bytes":
        this.#waiting = null;
        this.#bytesSent += event.bytes;
        return;
      case "upload-done":
        if (image === undefined) return;
        image.upload = event.outcome;
        if (event.failure !== undefined) image.failure = troubleOf(event.failure);
        return;
      default:
        return;
    }
  }

  /** It is over; undefined when it ended with no summary. */
  end(summary: DeliverySummary | undefined, isInterrupted: boolean): void {
    this.#endedMs = this.#clock.now();
    this.#waiting = null;
    this.#outcome = summary?.outcome ?? (isInterrupted ? "interrupted" : "failed");
    for (const image of this.#images.values()) {
      if (image.outcome === "waiting" || image.outcome === "moving") image.outcome = "skipped";
      if (image.upload === "waiting" || image.upload === "moving") image.upload = "skipped";
    }
  }

  /** As people see it. */
  state(): DeliveryState {
    const images = [...this.#images.values()];
    const { bytesTotal, bytesHere } = this.#overall;
    const isOver = this.#endedMs !== null;
    const ms = this.#clock.monotonic();
    const imagesSized = images.filter(isSettledInSize).length;
    const bytesPerSecond = isOver ? null : this.#rate.perSecond(ms);
    const leftBytes = bytesTotal - bytesHere - this.#bytesMoved;
    const isTold = imagesSized === images.length && this.#waiting === null;
    return {
      revision: this.revision,
      startedMs: this.#startedMs,
      endedMs: this.#endedMs,
      outcome: this.#outcome,
      stages: this.#stages.map(({ name, images: count }) => {
        const outcomes = images.filter(({ stage }) => stage === name).map((one) => one.outcome);
        const failed = outcomes.filter((outcome) => outcome === "failed").length;
        return { name, images: count, done: outcomes.filter(isHere).length, failed };
      }),
      ...{ bytesTotal, bytesHere, bytesMoved: this.#bytesMoved, imagesSized, bytesPerSecond },
      remainingMs:
        isTold && bytesPerSecond ? Math.max(0, (leftBytes * 1_000) / bytesPerSecond) : null,
      uploads: this.#uploads(images),
      sources: sourcesOf(images),
    };
  }

  #move(image: ImageProgress | undefined, bytes: number): void {
    this.#bytesMoved += bytes;
    if (image !== undefined) image.bytesMoved += bytes;
  }

  #areAllFetched(): boolean {
    return [...this.#images.values()].every(
      ({ outcome }) => outcome !== "waiting" && outcome !== "moving",
    );
  }

  #uploads(images: readonly ImageProgress[]): DeliveryState["uploads"] {
    const uploads = images.flatMap(({ upload }) => (upload === null ? [] : [upload]));
    if (uploads.length === 0) return null;
    return {
      registry: this.#localRegistry,
      images: uploads.length,
      done: uploads.filter((upload) => upload === "uploaded" || upload === "present").length,
      failed: uploads.filter((upload) => upload === "failed").length,
      bytesSent: this.#bytesSent,
    };
  }
}

/** What failed before it was sized will never be: the total is known without it. */
function isSettledInSize({ isSized, outcome }: ImageProgress): boolean {
  return isSized || (outcome !== "waiting" && outcome !== "moving");
}

/** Whether an image is complete in the store. */
export function isHere(outcome: ImageProgress["outcome"]): boolean {
  return outcome === "delivered" || outcome === "present" || outcome === "stood";
}

function sourcesOf(images: readonly ImageProgress[]): DeliveryState["sources"] {
  const sources = new Map<string, DeliveryState["sources"][number]>();
  for (const image of images) {
    const { registry, stage } = image;
    const key = JSON.stringify([registry, stage]);
    const sum = sources.get(key);
    sources.set(key, {
      registry,
      stage,
      images: (sum?.images ?? 0) + 1,
      bytesTotal: (sum?.bytesTotal ?? 0) + image.bytesTotal,
      bytesMoved: (sum?.bytesMoved ?? 0) + image.bytesMoved,
      bytesHere: (sum?.bytesHere ?? 0) + image.bytesHere,
    });
  }
  return [...sources.values()];
}

/** What of a failure is told to people. */
export function troubleOf({ code, message, hint }: Trouble): Trouble {
  return { code, message, hint };
}
