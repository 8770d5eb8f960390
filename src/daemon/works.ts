import { backoffMs, type Clock, Failure } from "#base";
import type { DeliveryEvent, DeliverySummary } from "#deliver";
import { alike, type ImageTrouble } from "./alike.ts";
import type { Chronicle } from "./chronicle.ts";
import type { Counters } from "./counters.ts";
import type { Chore, Turn } from "./course.ts";
import type { Command } from "./decide.ts";
import { DeliveryProgress, troubleOf } from "./delivery-progress.ts";
import type { Knowledge } from "./knowledge.ts";
import type { ActivationSummary, Operations, Trouble, UpkeepSummary } from "./operations.ts";
import type { AgentNotes, Reconciler } from "./reconciler.ts";
import { type Repeat, Repeats } from "./repeats.ts";
import type { RevisionBook } from "./revision-book.ts";
import type { AgentSettings } from "./settings.ts";
import { troubleOfError } from "./supervise.ts";
import { uplinkFromDelivery } from "./uplink-news.ts";
import { bytesOf, clockTime, label } from "./verdict.ts";
import { type Concern, error, warning } from "./warnings.ts";

/** What pieces of work are done with. */
export interface WorksOptions {
  readonly operations: Operations;
  readonly book: RevisionBook;
  readonly notes: AgentNotes;
  readonly knowledge: Knowledge;
  readonly counters: Counters;
  readonly chronicle: Chronicle;
  readonly clock: Clock;
  readonly random: () => number;
  /** For times of the day in sentences. */
  readonly timeZone: string;
  /** As they are now. */
  settings(): AgentSettings;
  readonly reconciler: () => Reconciler;
  /** What a delivery tells, as it tells it. */
  onDelivery(event: DeliveryEvent): void;
  /** Whether the uplink carries. */
  onUplink(isUp: boolean): void;
  /** A registry does not let us in. */
  onRefused(): void;
  /** Whether all that must stay is known to the store. */
  isKept(): Promise<boolean>;
}

/** Chores that could not be done are tried again after so long. */
const CHORE_RETRY_MS = 15 * 60_000;

/** Does the pieces of work that were decided on, and tells what became of them. */
export class Works {
  readonly #options: WorksOptions;
  readonly #repeats = new Repeats();
  /** Failures of the delivery before. */
  #told: ReadonlySet<string> = new Set();

  constructor(options: WorksOptions) {
    this.#options = options;
  }

  /** Rejects only when it can't be made durable what became of it. */
  async carryOut(command: Command, signal: AbortSignal): Promise<void> {
    switch (command.kind) {
      case "stage":
        return this.#stage(command.id, signal);
      case "turn":
        return this.#turn(command.turn, signal);
      case "prove":
        return this.#chore("prove", signal, () => this.#prove(command, signal));
      case "verify":
        return this.#chore("verify", signal, () => this.#verify(command, signal));
      case "collect":
        return this.#chore("collect", signal, () => this.#collect(command, signal));
    }
  }

  async #stage(id: string, signal: AbortSignal): Promise<void> {
    const { book, knowledge, clock, operations, chronicle } = this.#options;
    let summary: DeliverySummary | undefined;
    let trouble: Trouble | null = null;
    let progress: DeliveryProgress | undefined;
    // To look whether a tag has moved is nothing to tell of until something comes of it, and to try
    // again what failed is nothing before it ends in another way.
    const isRepeated = id === this.#options.reconciler().course.active;
    const isRetry = this.#repeats.has(deliveryOf(id));
    let isTold = isRetry;
    const tellBegun = () => {
      if (isTold) return;
      isTold = true;
      const images = book.state(id)?.images ?? 0;
      chronicle.tell("delivery-begun", `Delivery of ${this.#label(id)} begun: ${images} images`, {
        data: { revision: id, images },
      });
    };
    try {
      const revision = await book.get(id);
      progress = new DeliveryProgress(id, revision.plan, clock);
      knowledge.learn({ progress });
      if (!isRepeated) tellBegun();
      const heard = progress;
      const emit = (event: DeliveryEvent) => {
        if (event.type === "bytes") tellBegun();
        this.#hear(event, heard);
      };
      summary = await operations.stage(revision, { signal, emit });
    } catch (thrown) {
      if (!signal.aborted) trouble = troubleOfError(thrown);
    }
    progress?.end(summary, signal.aborted);
    if (trouble !== null || summary?.outcome === "failed") tellBegun();
    await this.#staged(id, summary, trouble, signal, isTold);
  }

  #hear(event: DeliveryEvent, progress: DeliveryProgress): void {
    progress.hear(event);
    this.#options.counters.hear(event, progress);
    this.#options.onDelivery(event);
  }

  async #staged(
    id: string,
    summary: DeliverySummary | undefined,
    trouble: Trouble | null,
    signal: AbortSignal,
    isTold: boolean,
  ): Promise<void> {
    const { knowledge, counters, clock, settings, onUplink, onRefused } = this.#options;
    const isStopped = summary === undefined ? trouble === null : summary.outcome === "interrupted";
    const outcome = isStopped ? "interrupted" : (summary?.outcome ?? "failed");
    counters.ended(outcome);
    if (trouble !== null) counters.failed(trouble.code);
    const isUp = summary === undefined || isStopped ? undefined : uplinkFromDelivery(summary);
    if (isUp !== undefined) onUplink(isUp);
    if (summary?.failures.some(({ code }) => REFUSALS.has(code))) onRefused();
    if (isTold) this.#tellDelivery(id, outcome, summary, trouble);
    // What gave way is begun again, or is no longer wanted.
    if (isStopped && signal.aborted) return;
    const first = trouble ?? (summary === undefined ? undefined : failuresOf(summary)[0]);
    const isDone = outcome === "done";
    const deliveryTrouble = isDone ? null : first === undefined ? NO_REASON : troubleOf(first);
    knowledge.learn({ deliveryTrouble });
    const registryOf = (image: string) => knowledge.progress?.image(image)?.registry ?? "";
    knowledge.warn("delivery", concernsOf(summary, trouble, registryOf));
    const { course } = this.#options.reconciler();
    if (!isDone) {
      const attempt = (course.stageRetry?.attempt ?? 0) + 1;
      await this.#dispatch({ type: "stage-failed", id, retryMs: this.#retryAt(attempt) });
      return;
    }
    const hasMoved = summary?.stages.some(({ delivered }) => delivered > 0) ?? false;
    const nextMs = this.#later(settings().resyncMs);
    const isNew = course.wanted === id && (id !== course.active || hasMoved);
    const wasStaged = course.staged === id && !hasMoved;
    await this.#options.reconciler().dispatch({ type: "stage-done", id, hasMoved, nextMs }, () => {
      if (isNew && !wasStaged) this.#options.book.stamp(id, { stagedMs: clock.now() });
    });
    if (isNew && !wasStaged) {
      this.#tell("revision-staged", `Staged ${this.#label(id)}: all is here, verified`, {
        revision: id,
      });
    }
  }

  /** Once, where one attempt after the other ends as the one before did. */
  #tellDelivery(
    id: string,
    outcome: DeliverySummary["outcome"],
    summary: DeliverySummary | undefined,
    trouble: Trouble | null,
  ): void {
    const subject = deliveryOf(id);
    const again = this.#again(`Delivery of ${this.#label(id)}`, "delivery-failing", id);
    const news = () => this.#tellDelivered(id, outcome, summary, trouble);
    const hasMoved = (summary?.bytesMoved ?? 0) > 0;
    if (outcome === "interrupted" && !hasMoved && this.#repeats.has(subject)) return;
    if (outcome === "failed") {
      const nowMs = this.#options.clock.now();
      // Bytes that came are news, however it ended.
      const same = sameFailure(summary, trouble) + (hasMoved ? nowMs : "");
      this.#repeats.heard({ subject, outcome: same }, nowMs, news, again);
      return;
    }
    this.#repeats.over(subject, again);
    news();
  }

  /** Tells how often something ended in the same way. */
  #again(what: string, kind: string, revision: string) {
    return ({ count, sinceMs }: Repeat) => {
      const since = clockTime(sinceMs, this.#options.timeZone);
      const text = `${what} has failed ${count} times in the same way since ${since}`;
      this.#tell(kind, text, { revision, count, sinceMs }, "error");
    };
  }

  #tellDelivered(
    id: string,
    outcome: DeliverySummary["outcome"],
    summary: DeliverySummary | undefined,
    trouble: Trouble | null,
  ): void {
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
      `Delivery of ${this.#label(id)} ${outcome}${numbers}${why}`,
      {
        level: outcome === "failed" ? "error" : "info",
        data: { revision: id, outcome, here, images, bytesMoved, bytesTotal, elapsedMs },
      },
    );
    const failures = summary === undefined ? [] : failuresOf(summary);
    const told = this.#told;
    this.#told = new Set(failures.map(({ message }) => message));
    // What fails again as it did the time before is known: attempts go on for weeks.
    const news = failures.filter(({ message }) => !told.has(message));
    for (const { images, code, message, hint } of alike(news).slice(0, TOLD_MAX)) {
      this.#options.chronicle.tell("image-failed", message, {
        level: "error",
        data: { revision: id, images: images.slice(0, TOLD_MAX), code, hint },
      });
    }
  }

  async #turn(turn: Turn, signal: AbortSignal): Promise<void> {
    const { book, operations, knowledge, clock, counters } = this.#options;
    const { to, why } = turn;
    let summary: ActivationSummary;
    try {
      const revision = await book.get(to);
      const emit = (event: DeliveryEvent) => this.#options.onDelivery(event);
      summary = await operations.activate(revision, { signal, emit });
    } catch (thrown) {
      if (signal.aborted) return;
      const trouble = troubleOfError(thrown);
      summary = { outcome: "failed", steps: [failedStep(trouble)] };
    }
    if (summary.outcome === "interrupted") return;
    knowledge.learn({ activation: { ...summary, atMs: clock.now() } });
    const failed = summary.steps.filter(({ outcome }) => outcome === "failed");
    const troubles = failed.map(({ name, text, trouble }) => trouble ?? stepTrouble(name, text));
    knowledge.warn(
      "activation",
      troubles.map((each) => error(each)),
    );
    for (const { code } of troubles) counters.failed(code);
    if (summary.outcome === "failed") {
      const attempt = (this.#options.reconciler().course.turnRetry?.attempt ?? 0) + 1;
      const at = failed[0] === undefined ? "" : ` at ${failed[0].name}: ${failed[0].text}`;
      const what = `Activation of ${this.#label(to)}`;
      this.#repeats.heard(
        { subject: `turn ${to}`, outcome: at },
        clock.now(),
        () => this.#tell("activation-failed", `${what} failed${at}`, turn, "error"),
        this.#again(what, "activation-failing", to),
      );
      await this.#dispatch({ type: "turn-failed", retryMs: this.#retryAt(attempt) });
      return;
    }
    this.#repeats.over(
      `turn ${to}`,
      this.#again(`Activation of ${this.#label(to)}`, "activation-failing", to),
    );
    const undone = turn.undoes === null ? "" : ` from ${turn.undoes}`;
    await this.#options.reconciler().dispatch({ type: "turn-done" }, () => {
      book.stamp(to, { activatedMs: clock.now() });
    });
    if (why === "activate") {
      this.#tell("revision-activated", `Activated ${this.#label(to)}`, turn);
    } else this.#tell("revision-rolled-back", `Rolled back to ${this.#label(to)}${undone}`, turn);
  }

  async #prove({ id, full }: Extract<Command, { kind: "prove" }>, signal: AbortSignal) {
    const { operations, book, knowledge, notes, settings } = this.#options;
    const { summary, document } = await operations.prove(await book.get(id), { full }, signal);
    const proof = { revision: id, summary, document };
    await notes.put("proof", proof);
    knowledge.learn({ proof });
    knowledge.warn(
      "proof",
      alike(summary.wanting.map((one) => ({ ...one, registry: hostOf(one.image) }))).map((one) =>
        error(one, one.subject),
      ),
    );
    // What was found wrong is away, and all is here again.
    if (summary.ok) knowledge.warn("verified", []);
    const text = summary.ok
      ? `Proven: ${summary.sentence}`
      : `Not proven: ${summary.references - summary.held} of ${summary.references} references are missing`;
    this.#tell(
      summary.ok ? "proof-held" : "proof-wanting",
      text,
      { revision: id, digest: summary.digest },
      summary.ok ? "info" : "error",
    );
    const nextMs = this.#later(settings().proveMs, 0);
    await this.#dispatch({ type: "proven", id, ok: summary.ok, nextMs });
  }

  async #verify({ scope }: Extract<Command, { kind: "verify" }>, signal: AbortSignal) {
    const { operations, settings } = this.#options;
    const summary = await operations.verify(scope, signal);
    await this.#upkeep("verified", summary);
    const nextMs = this.#later(settings().verifyMs);
    await this.#dispatch({ type: "verified", ok: summary.ok, nextMs });
  }

  async #collect({ dryRun }: Extract<Command, { kind: "collect" }>, signal: AbortSignal) {
    const { operations, isKept, settings } = this.#options;
    if (!(await isKept())) throw notKept();
    const summary = await operations.collect({ dryRun }, signal);
    await this.#upkeep("collected", summary);
    await this.#dispatch({ type: "collected", nextMs: this.#later(settings().collectMs) });
  }

  async #upkeep(kind: "verified" | "collected", summary: UpkeepSummary): Promise<void> {
    const { knowledge, clock, notes } = this.#options;
    knowledge.learn({ [kind]: { ...summary, atMs: clock.now() } });
    knowledge.warn(
      kind,
      summary.trouble.map((trouble) => error(trouble)),
    );
    this.#tell(
      kind,
      summary.text,
      { blobs: summary.blobs, bytes: summary.bytes },
      summary.ok ? "info" : "error",
    );
    await notes.put("upkeep", { verified: knowledge.verified, collected: knowledge.collected });
  }

  /** A chore that can't be done is told of, and tried again later; one that gave way stays due. */
  async #chore(chore: Chore, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    const { knowledge, clock, counters } = this.#options;
    const again = ({ count, sinceMs }: Repeat) => {
      const since = clockTime(sinceMs, this.#options.timeZone);
      const text = `To ${chore} has failed ${count} times in the same way since ${since}`;
      this.#tell(`${chore}-failing`, text, { count, sinceMs }, "error");
    };
    try {
      await act();
      knowledge.warn(`chore ${chore}`, []);
      this.#repeats.over(chore, again);
    } catch (thrown) {
      if (signal.aborted) return;
      const trouble = troubleOfError(thrown);
      counters.failed(trouble.code);
      knowledge.warn(`chore ${chore}`, [error(trouble)]);
      const { code, message } = trouble;
      const news = () => this.#tell(`${chore}-failed`, message, { code }, "error");
      this.#repeats.heard({ subject: chore, outcome: message }, clock.now(), news, again);
      const nextMs = clock.now() + CHORE_RETRY_MS;
      await this.#dispatch({ type: "chore-failed", chore, nextMs });
    }
  }

  #dispatch(event: Parameters<Reconciler["dispatch"]>[0]): Promise<void> {
    return this.#options.reconciler().dispatch(event);
  }

  #retryAt(attempt: number): number {
    const { clock, random, settings } = this.#options;
    return clock.now() + backoffMs(attempt, random(), settings().retry);
  }

  /** A period from now, and up to a tenth more. */
  #later(periodMs: number, jitter = 0.1): number {
    const { clock, random } = this.#options;
    return clock.now() + Math.round(periodMs * (1 + jitter * random()));
  }

  #label(id: string): string {
    return `${label(this.#options.book.state(id))} (revision ${id})`;
  }

  #tell(kind: string, text: string, data: object, level: "info" | "error" = "info"): void {
    this.#options.chronicle.tell(kind, text, { level, data: { ...data } });
  }
}

function notKept(): Failure {
  return new Failure({
    code: "keep-failed",
    message: "Cannot collect: the store could not be told what must stay, expected it to know",
    hint: "See the other warnings of `dray status` for the reason",
  });
}

/** What a registry's failure is called when it knows us, and says no, or is not to be trusted itself. */
const REFUSALS: ReadonlySet<string> = new Set([
  ...(["registry-unauthorized", "registry-denied", "registry-certificate"] as const),
]);

/** Failures of one delivery that get a line of their own. */
const TOLD_MAX = 20;

const NO_REASON: Trouble = {
  code: "delivery-failed",
  message: "Cannot deliver everything, expected all images to be here",
  hint: "Look into the journal: `dray journal`",
};

/** Of images, of their uploads, and of loading them, each with what it is of. */
function failuresOf({ failures, uploads, runtime }: DeliverySummary): readonly ImageTrouble[] {
  return [
    ...failures,
    ...(uploads?.failures ?? []).map((one) => ({ ...one, image: one.image ?? one.registry })),
    ...(runtime?.failures ?? []).map((one) => {
      return { ...one, image: one.image ?? one.runtime, registry: one.runtime };
    }),
  ];
}

const deliveryOf = (id: string) => `delivery ${id}`;

/** Of a reference as declared. */
const hostOf = (image: string) => image.split("/", 1)[0] ?? "";

/** What a reader of the journal would call the same: how much is here, and why the rest is not. */
function sameFailure(summary: DeliverySummary | undefined, trouble: Trouble | null): string {
  const here = summary?.stages.map(({ delivered, present, stood }) => delivered + present + stood);
  const reasons = alike(summary === undefined ? [] : failuresOf(summary));
  const why = reasons.map(({ code, subject, images }) => [code, subject, images.length]);
  return JSON.stringify([here, why, trouble?.code, trouble?.message]);
}

function concernsOf(
  summary: DeliverySummary | undefined,
  trouble: Trouble | null,
  registryOf: (image: string) => string,
): readonly Concern[] {
  const failures = summary === undefined ? [] : failuresOf(summary);
  const warnings = (summary?.warnings ?? []).map(({ image, message }) => {
    return { code: "delivery-warning", message, hint: "", image, registry: registryOf(image) };
  });
  return [
    ...(trouble === null ? [] : [error(trouble)]),
    ...alike(failures).map((one) => error(one, one.subject)),
    ...alike(warnings, "text").map((one) => warning(one, one.subject)),
  ];
}

function failedStep(trouble: Trouble): ActivationSummary["steps"][number] {
  return { name: "names", outcome: "failed", text: trouble.message, trouble };
}

function stepTrouble(name: string, text: string): Trouble {
  return {
    code: "activation-failed",
    message: `Cannot activate: the step ${name} failed: ${text}`,
    hint: "Look into the journal, or roll back with `dray rollback`",
  };
}
