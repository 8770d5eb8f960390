import { backoffMs, type Clock, Failure, quoted } from "#base";
import type { DeliveryEvent, DeliverySummary } from "#deliver";
import { alike } from "./alike.ts";
import type { Chronicle } from "./chronicle.ts";
import type { Counters } from "./counters.ts";
import type { Chore, Turn } from "./course.ts";
import type { Command } from "./decide.ts";
import { DeliveryAccount, failuresOf } from "./delivery-account.ts";
import { DeliveryProgress, troubleOf } from "./delivery-progress.ts";
import type { KeptProof, Knowledge } from "./knowledge.ts";
import type {
  ActivationSummary,
  Operations,
  ProofSummary,
  Revision,
  Trouble,
  UpkeepSummary,
} from "./operations.ts";
import type { AgentNotes, Reconciler } from "./reconciler.ts";
import { type Repeat, Repeats, repeatText } from "./repeats.ts";
import type { RevisionBook } from "./revision-book.ts";
import type { AgentSettings } from "./settings.ts";
import { troubleOfError } from "./supervise.ts";
import { uplinkFromDelivery } from "./uplink-news.ts";
import { label } from "./verdict.ts";
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
  /** Tells the store what must stay; gives whether that went well. */
  keep(): Promise<boolean>;
}

/** Chores that could not be done are tried again after so long. */
const CHORE_RETRY_MS = 15 * 60_000;

/** Does the pieces of work that were decided on, and tells what became of them. */
export class Works {
  readonly #options: WorksOptions;
  readonly #repeats = new Repeats();
  readonly #account: DeliveryAccount;
  /** Files that an activation is to mend, or has mended before. */
  #drift = "";

  constructor(options: WorksOptions) {
    this.#options = options;
    this.#account = new DeliveryAccount(options);
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
    const { book, knowledge, clock, operations } = this.#options;
    let summary: DeliverySummary | undefined;
    let trouble: Trouble | null = null;
    let progress: DeliveryProgress | undefined;
    const isLook = id === this.#options.reconciler().course.active;
    const images = book.state(id)?.images ?? 0;
    this.#account.begin({ id, label: this.#label(id), images }, isLook);
    try {
      const revision = book.get(id);
      progress = new DeliveryProgress(id, operations.plan(revision), clock);
      knowledge.learn({ progress });
      const heard = progress;
      const emit = (event: DeliveryEvent) => {
        if (event.type === "bytes") this.#account.comesOfIt();
        this.#hear(event, heard);
      };
      summary = await operations.stage(revision, { signal, emit });
    } catch (thrown) {
      if (!signal.aborted) trouble = troubleOfError(thrown);
    }
    progress?.end(summary, signal.aborted);
    await this.#staged(id, summary, trouble, signal);
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
  ): Promise<void> {
    const { knowledge, counters, clock, settings, onUplink, onRefused } = this.#options;
    const isStopped = summary === undefined ? trouble === null : summary.outcome === "interrupted";
    const outcome = isStopped ? "interrupted" : (summary?.outcome ?? "failed");
    counters.ended(outcome);
    if (trouble !== null) counters.failed(trouble.code);
    const isUp = summary === undefined || isStopped ? undefined : uplinkFromDelivery(summary);
    if (isUp !== undefined) onUplink(isUp);
    if (summary?.failures.some(({ code }) => REFUSALS.has(code))) onRefused();
    this.#account.end({ outcome, summary, trouble });
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

  /** Tells how often something ended in the same way. */
  #again(what: string, kind: string, revision: string) {
    return (repeat: Repeat) => {
      const { count, sinceMs } = repeat;
      const text = repeatText(what, repeat, this.#options.timeZone);
      this.#tell(kind, text, { revision, count, sinceMs }, "error");
    };
  }

  async #turn(turn: Turn, signal: AbortSignal): Promise<void> {
    const { book, operations, knowledge, clock, counters } = this.#options;
    const { to, why } = turn;
    const isAgain = to === this.#options.reconciler().course.active;
    let summary: ActivationSummary;
    try {
      const revision = book.get(to);
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
      const again = isAgain ? " again" : "";
      this.#tell("revision-activated", `Activated ${this.#label(to)}${again}`, turn);
    } else this.#tell("revision-rolled-back", `Rolled back to ${this.#label(to)}${undone}`, turn);
  }

  async #prove({ id, full, asked }: Extract<Command, { kind: "prove" }>, signal: AbortSignal) {
    const { operations, book, knowledge, settings, clock } = this.#options;
    const revision = book.get(id);
    await this.#lookForDrift(revision, signal);
    const { summary, document } = await operations.prove(revision, { full }, signal);
    const proof = { revision: id, summary, document };
    knowledge.learn({ proof, proofTrouble: null });
    knowledge.warn(
      "proof",
      alike(summary.wanting.map((one) => ({ ...one, registry: hostOf(one.image) }))).map((one) =>
        error(one, one.subject),
      ),
    );
    // What was found wrong is away, and all is here again.
    if (summary.ok) knowledge.warn("verified", []);
    // To look again at what was proven, for the inputs were read again, is no news when it still holds.
    const { isProven, dueMs } = this.#options.reconciler().course;
    const isRoutine = isProven && dueMs.prove === 0 && !asked;
    const isNews = this.#tellProof(id, summary, isRoutine);
    const periodMs = summary.ok ? settings().proveMs : Math.min(settings().proveMs, CHORE_RETRY_MS);
    const nextMs = clock.now() + periodMs;
    await this.#dispatch({ type: "proven", id, ok: summary.ok, isNews, nextMs });
    await this.#keepProof(proof);
  }

  /** To be shown by the next agent. One that can't be kept holds all the same: a disk may be full. */
  async #keepProof(proof: KeptProof): Promise<void> {
    const { notes, knowledge } = this.#options;
    try {
      await notes.put("proof", proof);
      knowledge.warn("proof note", []);
    } catch (thrown) {
      knowledge.warn("proof note", [warning(troubleOfError(thrown))]);
    }
  }

  /** What is wanting in the same way as before is no news; gives whether it is. */
  #tellProof(id: string, summary: ProofSummary, isRoutine: boolean): boolean {
    const data = { revision: id, digest: summary.digest };
    const again = this.#again(`The proof of ${this.#label(id)}`, "proof-failing", id);
    if (summary.ok) {
      this.#repeats.over("proof", again);
      if (!isRoutine) this.#tell("proof-held", `Proven: ${summary.sentence}`, data);
      return true;
    }
    let isNews = false;
    const news = () => {
      isNews = true;
      const missing = summary.references - summary.held;
      const text =
        missing === 0
          ? `Not proven: ${summary.wanting[0]?.message ?? summary.sentence}`
          : `Not proven: ${missing} of ${summary.references} references are missing`;
      this.#tell("proof-wanting", text, data, "error");
    };
    const wanting = summary.wanting.map(({ code, image }) => [code, image]);
    const outcome = JSON.stringify([id, summary.held, wanting]);
    this.#repeats.heard({ subject: "proof", outcome }, this.#options.clock.now(), news, again);
    return isNews;
  }

  /**
   * Has an activation done again whose files are not as it wrote them. What differs again after that is
   * another's doing: two that mend against each other would never come to rest.
   */
  async #lookForDrift(revision: Revision, signal: AbortSignal): Promise<void> {
    const { operations, knowledge } = this.#options;
    const files = await operations.drift(revision, signal);
    const before = this.#drift;
    this.#drift = files.join("\n");
    knowledge.warn("drift", files.length === 0 ? [] : [warning(drifted(files))]);
    if (files.length === 0 || this.#drift === before) return;
    this.#tell("runtime-drifted", drifted(files).message, {
      ...{ revision: revision.id, files: files.slice(0, TOLD_MAX) },
    });
    await this.#dispatch({ type: "drifted", id: revision.id });
  }

  async #verify({ scope }: Extract<Command, { kind: "verify" }>, signal: AbortSignal) {
    const { operations, settings } = this.#options;
    const summary = await operations.verify(scope, signal);
    await this.#upkeep("verified", summary);
    const nextMs = this.#later(settings().verifyMs);
    await this.#dispatch({ type: "verified", ok: summary.ok, nextMs });
  }

  async #collect({ dryRun }: Extract<Command, { kind: "collect" }>, signal: AbortSignal) {
    const { operations, keep, settings } = this.#options;
    // Each time: what steers the site, and must stay too, may be another without any other revision.
    if (!(await keep())) throw notKept();
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
    const again = (repeat: Repeat) => {
      const { count, sinceMs } = repeat;
      const text = repeatText(`To ${chore}`, repeat, this.#options.timeZone);
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
      if (chore === "prove") knowledge.learn({ proofTrouble: trouble });
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
  #later(periodMs: number): number {
    const { clock, random } = this.#options;
    return clock.now() + Math.round(periodMs * (1 + random() / 10));
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

function drifted([first = "", ...more]: readonly string[]): Trouble {
  const files = more.length === 0 ? quoted(first) : `${quoted(first)} and ${more.length} more`;
  return {
    code: "runtime-drifted",
    message: `Cannot find ${files} of the runtime as the activation writes it, expected no other change since`,
    hint: "It is written again when `agent.activation` allows it, or by `dray activate`; see who else changes it",
  };
}

/** What a registry's failure is called when it knows us, and says no, or is not to be trusted itself. */
const REFUSALS: ReadonlySet<string> = new Set([
  ...(["registry-unauthorized", "registry-denied", "registry-certificate"] as const),
]);

/** Files that a line of the journal names. */
const TOLD_MAX = 20;

const NO_REASON: Trouble = {
  code: "delivery-failed",
  message: "Cannot deliver everything, expected all images to be here",
  hint: "Look into the journal: `dray journal`",
};

/** Of a reference as declared. */
const hostOf = (image: string) => image.split("/", 1)[0] ?? "";

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
