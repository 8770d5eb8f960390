import { type Clock, Failure, quoted } from "#base";
import { planDocument } from "#plan";
import { type AgentJournal, Chronicle } from "./chronicle.ts";
import type { AgentControl, AgentNews, RevisionRole } from "./control.ts";
import { Counters } from "./counters.ts";
import type { CourseEvent } from "./course.ts";
import { createDeliveryNews } from "./delivery-news.ts";
import { imageStatesOf } from "./image-states.ts";
import { type KeptProof, Knowledge } from "./knowledge.ts";
import { Newsroom } from "./newsroom.ts";
import type { Operations, Revision } from "./operations.ts";
import { type AgentNotes, Reconciler, refusals } from "./reconciler.ts";
import { RevisionBook, type RevisionRecords } from "./revision-book.ts";
import { siteStateOf, unfinished } from "./site-state.ts";
import type { ActionName, ImageState, JournalEntry, SiteState, UplinkSlice } from "./state.ts";
import { type Part, supervise, troubleOfError } from "./supervise.ts";
import { Uplink, type UplinkMinutes } from "./uplink.ts";
import { label } from "./verdict.ts";
import { error, warning } from "./warnings.ts";
import { Watchers } from "./watchers.ts";
import { Works } from "./works.ts";

/** Where an agent keeps what must survive it. A store that is open to write is one. */
export interface AgentRecords {
  readonly revisions: RevisionRecords;
  readonly notes: AgentNotes;
  readonly journal: AgentJournal;
  readonly uplinkMinutes: UplinkMinutes;
}

/** What an agent is made of. */
export interface AgentOptions {
  readonly operations: Operations;
  readonly records: AgentRecords;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** Of this program. */
  readonly version: string;
  /** The name of this machine. */
  readonly host: string;
  /** IANA name of the zone of the clock on the wall. */
  readonly timeZone: string;
}

/** The one process on a host that keeps the site as its inputs want it. */
export interface Agent extends AgentControl {
  /**
   * Works until the signal, and ends at a durable point in under 3 s: who hangs is left behind, and named
   * in the journal. `doors` are parts beside its own: what lets people in.
   *
   * @throws {Failure} `store-broken`, `store-full`, `store-busy`: it can't be read or written where the
   *   agent before this one stood
   */
  run(signal: AbortSignal, doors?: readonly Part[]): Promise<void>;
}

/** An agent that does not work yet. */
export function createAgent(options: AgentOptions): Agent {
  return new SiteAgent(options);
}

class SiteAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #counters = new Counters();
  readonly #knowledge: Knowledge;
  readonly #book: RevisionBook;
  readonly #reconciler: Reconciler;
  readonly #chronicle: Chronicle;
  readonly #newsroom: Newsroom;
  readonly #uplink: Uplink;
  readonly #watchers: Watchers;
  readonly #startedMs: number;
  #keeping = Promise.resolve(true);
  #isDirty = true;
  #builtMs = Number.NEGATIVE_INFINITY;
  #state: SiteState | undefined;

  constructor(options: AgentOptions) {
    const { operations, records, clock, random, timeZone } = options;
    const settings = () => operations.ways().settings;
    this.#options = options;
    this.#startedMs = clock.now();
    const onChange = () => this.#changed();
    this.#knowledge = new Knowledge(() => clock.now(), onChange);
    this.#book = new RevisionBook(records.revisions);
    this.#newsroom = new Newsroom(
      clock,
      () => this.state(),
      () => this.#isStaging(),
    );
    this.#chronicle = new Chronicle(
      records.journal,
      () => clock.now(),
      (entry) => this.#newsroom.tell({ type: "journal", entry }),
      (trouble) => this.#knowledge.warn("journal", trouble === null ? [] : [warning(trouble)]),
    );
    this.#uplink = new Uplink({
      ...{ clock, minutes: records.uplinkMinutes, chronicle: this.#chronicle },
      cap: () => this.#knowledge.link?.capBytesPerSecond ?? null,
    });
    const shared = {
      ...{ operations, clock, random, settings },
      ...{ book: this.#book, knowledge: this.#knowledge, chronicle: this.#chronicle },
      onUplink: (isUp: boolean) => this.#uplink.carries(isUp),
    };
    const tellOfProvider = createDeliveryNews(this.#chronicle);
    const works = new Works({
      ...shared,
      ...{ notes: records.notes, timeZone },
      counters: this.#counters,
      reconciler: () => this.#reconciler,
      onDelivery: (event) => {
        tellOfProvider(event);
        if (event.type === "bytes" && event.isNear !== true) this.#arrived(event.bytes);
        else if (event.type !== "upload-bytes") this.#newsroom.tell({ type: "delivery", event });
        this.#changed();
      },
      onRefused: () => this.#watchers.wake("credentials"),
      keep: () => this.#keep(),
    });
    this.#reconciler = new Reconciler({
      ...{ book: this.#book, notes: records.notes, clock, settings, timeZone, onChange },
      isStalled: () => this.#isStalled(),
      carryOut: async (command, signal) => {
        await works.carryOut(command, signal);
        this.#watchers.wake("upkeep");
      },
      keep: async () => {
        await this.#keep();
      },
    });
    this.#watchers = new Watchers({
      ...shared,
      reconciler: this.#reconciler,
      claimants: () => this.#claimants(),
      writeUplink: () => this.#uplink.write(),
    });
  }

  async run(signal: AbortSignal, doors: readonly Part[] = []): Promise<void> {
    const { clock, random, records, version } = this.#options;
    const isUnclean = (await records.notes.get("running")) !== undefined;
    await this.#reconciler.load(isUnclean);
    await this.#recollect();
    await records.notes.put("running", { sinceMs: this.#startedMs, version });
    this.#tellStart(isUnclean);
    this.#newsroom.open(signal);
    const crashes = new Map<string, string>();
    const left = await supervise([...this.#parts(), ...doors], signal, {
      ...{ clock, random },
      onChange: (part) => {
        this.#knowledge.parts.set(part.name, part);
        const { trouble } = part;
        const concerns = trouble === undefined ? [] : [error(trouble, part.name)];
        this.#knowledge.warn(`part ${part.name}`, concerns);
      },
      onCrash: ({ name, restarts }, { code, message }) => {
        // The part's own state counts them; the journal is for what is new.
        if (crashes.get(name) === message) return;
        crashes.set(name, message);
        this.#chronicle.tell("part-crashed", `The part ${name} failed: ${message}`, {
          level: "error",
          data: { part: name, code, restarts },
        });
      },
    });
    await this.#end(left);
  }

  #parts(): readonly Part[] {
    const watchers = this.#watchers;
    return [
      { name: "registry", run: (signal, tell) => this.#serveRegistry(signal, tell) },
      { name: "watch", run: (signal) => watchers.watchInputs(signal) },
      { name: "reconcile", run: (signal) => this.#reconciler.run(signal) },
      { name: "credentials", run: (signal) => watchers.watchCredentials(signal) },
      { name: "upkeep", run: (signal) => watchers.watchSurroundings(signal) },
    ];
  }

  async #serveRegistry(signal: AbortSignal, onListening: (address: string) => void) {
    await this.#options.operations.serveRegistry(signal, (address) => {
      onListening(address);
      // Only a broken disk rejects it, of which the other parts tell.
      this.#reconciler.dispatch({ type: "registry-up" }).catch(() => undefined);
    });
  }

  /** What was found out before the agent died, and still holds. */
  async #recollect(): Promise<void> {
    const { notes } = this.#options.records;
    await this.#uplink.load();
    // Written by this program; what another version wrote otherwise is found out anew.
    const proof = (await notes.get("proof")) as KeptProof | undefined;
    const isOurs = typeof proof?.document === "string";
    const paused = (await notes.get("paused")) as SiteState["paused"] | undefined;
    const upkeep = (await notes.get("upkeep")) as Partial<SiteState["upkeep"]> | undefined;
    const { isPaused } = this.#reconciler.course;
    this.#knowledge.learn({
      proof: isOurs ? proof : null,
      paused: isPaused ? (paused ?? { sinceMs: this.#startedMs, by: "an operator" }) : null,
      verified: upkeep?.verified ?? null,
      collected: upkeep?.collected ?? null,
    });
  }

  #tellStart(isUnclean: boolean): void {
    const { version, host } = this.#options;
    if (isUnclean) {
      this.#chronicle.tell(
        "agent-died",
        "The agent before this one did not end in order: what it wrote last is verified",
        { level: "warning" },
      );
    }
    const { active } = this.#reconciler.course;
    const what =
      active === null
        ? "nothing is active yet"
        : `${label(this.#book.state(active))} (revision ${active}) is active`;
    this.#chronicle.tell("agent-started", `Agent ${version} started on ${host}: ${what}`, {
      data: { version, host, active, isUnclean },
    });
  }

  async #end(left: readonly string[]): Promise<void> {
    const { notes } = this.#options.records;
    const who = left.length === 0 ? "" : `; left behind: ${left.join(", ")}`;
    this.#chronicle.tell("agent-stopped", `Agent stopped${who}`, {
      level: left.length === 0 ? "info" : "warning",
      data: { left },
    });
    // The disk may be full or gone; to end is all that is left to do.
    await this.#uplink.write().catch(() => undefined);
    await this.#chronicle.flush();
    if (left.length === 0) await notes.put("running", undefined).catch(() => undefined);
  }

  state(): SiteState {
    const { clock, version, host, timeZone } = this.#options;
    const isOld = this.#isStaging() && clock.monotonic() - this.#builtMs >= RATE_OLD_MS;
    if (this.#state !== undefined && !this.#isDirty && !isOld) return this.#state;
    const before = this.#state;
    this.#state = siteStateOf({
      ...{ knowledge: this.#knowledge, book: this.#book, timeZone },
      course: this.#reconciler.course,
      decision: this.#reconciler.decision,
      work: this.#reconciler.work,
      about: {
        ...{ at: clock.now(), version, host, startedMs: this.#startedMs },
        revisionOfState: (before?.revisionOfState ?? 0) + 1,
      },
      before: before?.activity ?? { name: "starting", sinceMs: this.#startedMs, waiting: null },
    });
    this.#isDirty = false;
    this.#builtMs = clock.monotonic();
    return this.#state;
  }

  subscribe(listener: (news: AgentNews) => void): () => void {
    return this.#newsroom.subscribe(listener);
  }

  async images(role: RevisionRole): Promise<readonly ImageState[]> {
    const { operations } = this.#options;
    const revision = this.#inRole(role);
    const plan = operations.plan(revision);
    const whereabouts = await operations.whereabouts(revision, plan);
    const { progress } = this.#knowledge;
    const isOfIt = progress?.revision === revision.id;
    return imageStatesOf(plan, whereabouts, isOfIt ? (progress ?? undefined) : undefined);
  }

  async explain(role: RevisionRole, reference: string): Promise<unknown> {
    const explanation = await this.#options.operations.explain(this.#inRole(role), reference);
    if (explanation === undefined) {
      throw new Failure({
        code: "image-unknown",
        message: `Cannot explain ${quoted(reference)}: the ${role} revision does not have it, expected one of its images as declared`,
        hint: "Write the reference as the list of images has it, registry and tag included",
      });
    }
    return explanation;
  }

  plan(role: RevisionRole): unknown {
    return planDocument(this.#options.operations.plan(this.#inRole(role)));
  }

  isReadyOffline(): boolean {
    return this.#reconciler.course.isProven && this.#knowledge.registry.isServing;
  }

  proof(): string | null {
    return this.#knowledge.proof?.document ?? null;
  }

  journal(page: {
    readonly before?: number;
    readonly limit: number;
  }): Promise<readonly JournalEntry[]> {
    return this.#chronicle.read(page);
  }

  uplink(hours: number): readonly UplinkSlice[] {
    return this.#uplink.slices(hours);
  }

  counters() {
    return this.#counters.read();
  }

  async act(
    action: ActionName,
    by: string,
    { full = false, dryRun = false }: { readonly full?: boolean; readonly dryRun?: boolean } = {},
  ): Promise<void> {
    const why = refusals(this.#reconciler.course, this.#reconciler.work?.command)[action];
    if (why !== null) {
      throw new Failure({
        code: "action-refused",
        message: `Cannot ${action}: ${why}`,
        hint: "Run `dray status` to see what the agent is at",
      });
    }
    if (action === "pause" || action === "resume") await this.#pause(action, by);
    else await this.#reconciler.dispatch(askedEvent(action, full, dryRun));
    const how =
      action === "prove" && full
        ? " in full"
        : action === "collect" && dryRun
          ? " as a dry run"
          : "";
    const text = `${by} asked to ${ACTION_WORDS[action]}${how}`;
    this.#chronicle.tell("action", text, { by, data: { action, full, dryRun } });
    if (action === "stage") this.#watchers.wake("inputs");
  }

  async #pause(action: "pause" | "resume", by: string): Promise<void> {
    const { clock, records } = this.#options;
    const paused = action === "pause" ? { sinceMs: clock.now(), by } : null;
    if (paused !== null) await records.notes.put("paused", paused);
    await this.#reconciler.dispatch({ type: action === "pause" ? "asked-pause" : "asked-resume" });
    // Once it is durable: else it would be shown as what it is not.
    this.#knowledge.learn({ paused });
  }

  /**
   * Tells the store what must stay; gives whether that went well. One at a time: what is told last counts,
   * and must be what holds.
   */
  #keep(): Promise<boolean> {
    this.#keeping = this.#keeping.then(() => this.#keepNow());
    return this.#keeping;
  }

  async #keepNow(): Promise<boolean> {
    try {
      const kept = this.#kept();
      if (Object.keys(kept).length > 0) await this.#options.operations.keep(kept);
      this.#knowledge.warn("keep", []);
      return true;
    } catch (thrown) {
      this.#knowledge.warn("keep", [warning(troubleOfError(thrown))]);
      return false;
    }
  }

  #kept(): Parameters<Operations["keep"]>[0] {
    const { active, staged, previous, turn } = this.#reconciler.course;
    // An activation that was begun is tried again, whatever the inputs say by now.
    return this.#inRoles({ active, staged: staged ?? turn?.to ?? null, previous });
  }

  /** Of the disk: what is on its way counts as staged. */
  #claimants(): Parameters<Operations["disk"]>[0] {
    const { course } = this.#reconciler;
    const { active, staged, previous } = course;
    return this.#inRoles({ active, staged: staged ?? unfinished(course), previous });
  }

  #inRoles(
    roles: Readonly<Record<RevisionRole, string | null>>,
  ): Parameters<Operations["keep"]>[0] {
    const entries = Object.entries(roles).flatMap(([role, id]) =>
      id === null ? [] : [[role, this.#book.get(id)] as const],
    );
    return Object.fromEntries(entries);
  }

  #arrived(bytes: number): void {
    if (this.#uplink.arrived(bytes)) this.#watchers.wake("upkeep");
  }

  #idIn(role: RevisionRole): string | null {
    const { course } = this.#reconciler;
    // Who looks at what is staged wants to see it come.
    return role === "staged" ? (course.staged ?? unfinished(course)) : course[role];
  }

  #inRole(role: RevisionRole): Revision {
    const id = this.#idIn(role);
    if (id === null) throw revisionMissing(role);
    return this.#book.get(id);
  }

  /** Over so long that the site is better looked after meanwhile. */
  #isStalled(): boolean {
    const { waiting } = this.#knowledge.progress ?? {};
    if (waiting === null || waiting === undefined) return false;
    const nowMs = this.#options.clock.now();
    const leftMs = (waiting.untilMs ?? Number.POSITIVE_INFINITY) - nowMs;
    return Math.max(nowMs - waiting.sinceMs, leftMs) >= STALL_MS;
  }

  #isStaging(): boolean {
    return this.#reconciler?.work?.command.kind === "stage";
  }

  #changed(): void {
    this.#isDirty = true;
    this.#newsroom?.changed();
  }
}

/** A delivery that moves nothing for so long stands still. */
const STALL_MS = 60_000;

/** A rate that is older than this is looked at again. */
const RATE_OLD_MS = 250;

const ACTION_WORDS: Readonly<Record<ActionName, string>> = {
  stage: "stage now",
  activate: "activate",
  rollback: "roll back",
  pause: "pause",
  resume: "resume",
  prove: "prove",
  verify: "verify",
  collect: "collect",
};

function askedEvent(
  action: Exclude<ActionName, "pause" | "resume">,
  full: boolean,
  dryRun: boolean,
): CourseEvent {
  switch (action) {
    case "prove":
      return { type: "asked-prove", full };
    case "collect":
      return { type: "asked-collect", dryRun };
    default:
      return { type: `asked-${action}` };
  }
}

function revisionMissing(role: RevisionRole): Failure {
  return new Failure({
    code: "revision-missing",
    message: `Cannot show the ${role} revision: there is none`,
    hint: "Run `dray status` to see which revisions there are",
  });
}
