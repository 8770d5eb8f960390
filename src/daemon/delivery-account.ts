import type { Clock } from "#base";
import type { DeliverySummary } from "#deliver";
import { alike, type ImageTrouble } from "./alike.ts";
import type { Chronicle } from "./chronicle.ts";
import type { Trouble } from "./operations.ts";
import { Repeats, repeatText } from "./repeats.ts";
import { bytesOf } from "./verdict.ts";

/** How a delivery ended; without a summary it came to none. */
export interface DeliveryEnd {
  readonly outcome: DeliverySummary["outcome"];
  readonly summary: DeliverySummary | undefined;
  readonly trouble: Trouble | null;
}

/** What is delivered. */
export interface Delivered {
  /** Of the revision. */
  readonly id: string;
  /** As sentences name it. */
  readonly label: string;
  readonly images: number;
}

/** What an account is kept with. */
export interface DeliveryAccountOptions {
  readonly chronicle: Pick<Chronicle, "tell">;
  readonly clock: Clock;
  /** For times of the day in sentences. */
  readonly timeZone: string;
}

/** Failures of one delivery that get a line of their own. */
const TOLD_MAX = 20;

/**
 * Tells the journal when deliveries begin and how they end: each that something comes of, and of attempts
 * that go on for weeks and end as the one before did, ever fewer.
 */
export class DeliveryAccount {
  readonly #options: DeliveryAccountOptions;
  #of: Delivered = { id: "", label: "", images: 0 };
  /** Attempts at the revision that is delivered now. */
  #repeats = new Repeats();
  #isTold = false;
  /** Failures of the delivery before. */
  #failures: ReadonlySet<string> = new Set();

  constructor(options: DeliveryAccountOptions) {
    this.#options = options;
  }

  /**
   * One begins.
   *
   * @param isLook it only looks whether a tag has moved, which is no news until something comes of it
   */
  begin(delivered: Delivered, isLook: boolean): void {
    if (delivered.id !== this.#of.id) this.#repeats = new Repeats();
    this.#of = delivered;
    // Who tries again what failed has told of it.
    this.#isTold = this.#repeats.has(delivered.id);
    if (!isLook) this.comesOfIt();
  }

  /** Bytes came, or it failed. */
  comesOfIt(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { id, label, images } = this.#of;
    this.#options.chronicle.tell("delivery-begun", `Delivery of ${label} begun: ${images} images`, {
      data: { revision: id, images },
    });
  }

  /** It is over. */
  end(end: DeliveryEnd): void {
    const { outcome, summary, trouble } = end;
    if (outcome === "failed") this.comesOfIt();
    if (!this.#isTold) return;
    const { id, label } = this.#of;
    const { chronicle, clock, timeZone } = this.#options;
    const again = (repeat: Parameters<typeof repeatText>[1]) =>
      chronicle.tell("delivery-failing", repeatText(`Delivery of ${label}`, repeat, timeZone), {
        level: "error",
        data: { revision: id, count: repeat.count, sinceMs: repeat.sinceMs },
      });
    const hasMoved = (summary?.bytesMoved ?? 0) > 0;
    if (outcome === "interrupted" && !hasMoved && this.#repeats.has(id)) return;
    if (outcome === "failed") {
      const nowMs = clock.now();
      // Bytes that came are news, however it ended.
      const same = sameFailure(summary, trouble) + (hasMoved ? nowMs : "");
      this.#repeats.heard({ subject: id, outcome: same }, nowMs, () => this.#tellEnd(end), again);
      return;
    }
    this.#repeats.over(id, again);
    this.#tellEnd(end);
  }

  #tellEnd({ outcome, summary, trouble }: DeliveryEnd): void {
    const { id, label } = this.#of;
    const stages = summary?.stages ?? [];
    const here = stages.reduce((sum, one) => sum + one.delivered + one.present + one.stood, 0);
    const images = stages.reduce((sum, one) => sum + one.images, 0);
    const { bytesMoved = 0, bytesTotal = 0, elapsedMs = 0 } = summary ?? {};
    const numbers =
      summary === undefined
        ? ""
        : `: ${here} of ${images} images, ${bytesOf(bytesMoved, bytesTotal)} fetched in ${Math.round(elapsedMs / 1_000)} s`;
    const why = trouble === null ? "" : `: ${trouble.message}`;
    this.#options.chronicle.tell(
      "delivery-ended",
      `Delivery of ${label} ${outcome}${numbers}${why}`,
      {
        level: outcome === "failed" ? "error" : "info",
        data: { revision: id, outcome, here, images, bytesMoved, bytesTotal, elapsedMs },
      },
    );
    this.#tellFailures(summary === undefined ? [] : failuresOf(summary));
  }

  #tellFailures(failures: readonly ImageTrouble[]): void {
    const before = this.#failures;
    this.#failures = new Set(failures.map(({ message }) => message));
    const news = failures.filter(({ message }) => !before.has(message));
    for (const { images, code, message, hint } of alike(news).slice(0, TOLD_MAX)) {
      this.#options.chronicle.tell("image-failed", message, {
        level: "error",
        data: { revision: this.#of.id, images: images.slice(0, TOLD_MAX), code, hint },
      });
    }
  }
}

/** Of images, of their uploads, and of loading them, each with what it is of. */
export function failuresOf({
  failures,
  uploads,
  runtime,
}: DeliverySummary): readonly ImageTrouble[] {
  return [
    ...failures,
    ...(uploads?.failures ?? []).map((one) => ({ ...one, image: one.image ?? one.registry })),
    ...(runtime?.failures ?? []).map((one) => {
      return { ...one, image: one.image ?? one.runtime, registry: one.runtime };
    }),
  ];
}

/** What a reader of the journal would call the same: how much is here, and why the rest is not. */
function sameFailure(summary: DeliverySummary | undefined, trouble: Trouble | null): string {
  const here = summary?.stages.map(({ delivered, present, stood }) => delivered + present + stood);
  const reasons = alike(summary === undefined ? [] : failuresOf(summary));
  const why = reasons.map(({ code, subject, images }) => [code, subject, images.length]);
  return JSON.stringify([here, why, trouble?.code, trouble?.message]);
}
