import type { Clock } from "#base";
import {
  activationOf,
  type Course,
  type CourseEvent,
  follow,
  NEW_COURSE,
  rollbackOf,
  type Standing,
  type Turn,
} from "./course.ts";
import { type Command, type Decision, decide, givesWay } from "./decide.ts";
import type { RevisionBook } from "./revision-book.ts";
import type { AgentSettings } from "./settings.ts";

/** Where what is no revision is kept over the death of the agent: the notes of the store. */
export interface AgentNotes {
  /** Undefined when there is none. @throws {Failure} what a disk does */
  get(name: string): Promise<unknown>;
  /** Durable once it resolves; `undefined` removes it. @throws {Failure} what a disk does */
  put(name: string, value: unknown): Promise<void>;
}

/** What a reconciler works with. */
export interface ReconcilerOptions {
  readonly book: RevisionBook;
  readonly notes: AgentNotes;
  readonly clock: Clock;
  /** As they are now. */
  settings(): AgentSettings;
  readonly timeZone: string;
  /** Whether the delivery at work moves nothing, and will not for long. */
  isStalled(): boolean;
  /** Does one piece of work; it tells by events what became of it. */
  carryOut(command: Command, signal: AbortSignal): Promise<void>;
  /** Those that must not be collected are others now. */
  keep(): Promise<void>;
  onChange(): void;
}

/** The longest that a timer is set for: more than 24 days overflow it. */
const REST_MS_MAX = 24 * 3_600_000;

/** The work that is being done. */
export interface CurrentWork {
  readonly command: Command;
  readonly sinceMs: number;
}

/** A delivery that stands still is looked at so often: what becomes due meanwhile is no event. */
const STALL_LOOK_MS = 60_000;

const COURSE_NOTE = "course";

/**
 * Brings the site to what is wanted of it, one piece of work at a time. Every step is durable before the
 * next one begins, so that the next agent goes on where this one died.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  #course: Course = NEW_COURSE;
  #decision: Decision | undefined;
  #work: (CurrentWork & { readonly giveUp: AbortController }) | undefined;
  #dispatching: Promise<void> = Promise.resolve();
  #rest = new AbortController();
  /** The note as it was written last. */
  #noted = "";
  /** The last delivery gave way because it stood still. */
  #stoodStill = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Where the site is between what is wanted and what is. */
  get course(): Course {
    return this.#course;
  }

  /** What was decided last; undefined before anything was. */
  get decision(): Decision | undefined {
    return this.#decision;
  }

  /** Undefined when nothing is being done. */
  get work(): CurrentWork | undefined {
    return this.#work;
  }

  /** Goes on where the agent before this one died. @throws {Failure} what a disk does */
  async load(isUnclean: boolean): Promise<void> {
    const { book, notes, clock } = this.#options;
    const settings = this.#options.settings();
    const standing = await book.load();
    const note = courseNote(await notes.get(COURSE_NOTE));
    const nowMs = clock.now();
    this.#course = {
      ...NEW_COURSE,
      ...standing,
      ...{ isUnclean: isUnclean || note.isUnclean, isPaused: note.isPaused },
      dueMs: {
        resync: note.resync ?? 0,
        // Disk, runtime and registries may be others than before the start: nothing is proven of them.
        prove: 0,
        verify: note.verify ?? nowMs + settings.verifyMs,
        collect: note.collect ?? nowMs + settings.collectMs,
      },
    };
    // Known over an end in order that comes before the look.
    if (isUnclean) await this.#note(this.#course);
  }

  /**
   * Something happened. It is durable once this resolves, and what is being done gives way if it must.
   *
   * @param prepare what goes with it, and must not come between others
   * @throws {Failure} what a disk does; then nothing has happened
   */
  dispatch(event: CourseEvent, prepare?: () => void): Promise<void> {
    const step = this.#dispatching.then(async () => {
      prepare?.();
      await this.#apply(event);
    });
    this.#dispatching = step.catch(() => undefined);
    return step;
  }

  /** Works until the signal. @throws {Failure} what a disk does */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      await this.#settled();
      const decision = decide(this.#course, this.#around());
      this.#decision = decision;
      this.#options.onChange();
      if (decision.command === null) await this.#sleepUntil(decision.wakeMs, signal);
      else await this.#carryOut(decision.command, signal);
    }
  }

  /** A delivery that is under way ends at a durable point, and is begun again. */
  stageAnew(): void {
    if (this.#work?.command.kind === "stage") this.#work.giveUp.abort();
  }

  /** All that was told counts before the next step: also what is told while something is written. */
  async #settled(): Promise<void> {
    for (let last: unknown; last !== this.#dispatching; ) {
      last = this.#dispatching;
      await last;
    }
  }

  async #apply(event: CourseEvent): Promise<void> {
    const { book, keep, onChange } = this.#options;
    const before = this.#course;
    const next = follow(before, event);
    if (next !== before) {
      if (hasOther(STANDING_KEYS, before, next)) {
        await book.save(next);
        // It is durable: should the note fail, the next step must still not begin where this one did.
        this.#course = next;
        if (hasOther(KEPT_KEYS, before, next)) await keep();
      }
      await this.#note(next);
      this.#course = next;
    }
    if (isNewToProof(event) && this.#work?.command.kind === "prove") this.#work.giveUp.abort();
    this.#giveWay();
    this.#rest.abort();
    onChange();
  }

  async #note(course: Course): Promise<void> {
    const note = noteOf(course);
    const text = JSON.stringify(note);
    if (text === this.#noted) return;
    await this.#options.notes.put(COURSE_NOTE, note);
    this.#noted = text;
  }

  #giveWay(): void {
    const work = this.#work;
    const around = this.#around();
    if (work === undefined || !givesWay(work.command, this.#course, around)) return;
    this.#stoodStill = around.isStalled;
    work.giveUp.abort();
  }

  async #lookAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(STALL_LOOK_MS, signal).catch(() => undefined);
      if (!signal.aborted) this.#giveWay();
    }
  }

  async #carryOut(command: Command, signal: AbortSignal): Promise<void> {
    const { clock, carryOut, onChange } = this.#options;
    const giveUp = new AbortController();
    const over = new AbortController();
    this.#work = { command, giveUp, sinceMs: clock.now() };
    onChange();
    try {
      if (command.kind === "turn") await this.#beginTurn(command.turn);
      if (command.kind === "stage") {
        this.#stoodStill = false;
        void this.#lookAgain(AbortSignal.any([signal, over.signal]));
      }
      await carryOut(command, AbortSignal.any([signal, giveUp.signal]));
    } finally {
      over.abort();
      this.#work = undefined;
      onChange();
    }
  }

  /** Before anything of the cluster is touched: who finds it half done must do it again. */
  async #beginTurn(turn: Turn): Promise<void> {
    if (JSON.stringify(turn) === JSON.stringify(this.#course.turn)) return;
    await this.dispatch({ type: "turn-begun", turn });
  }

  async #sleepUntil(wakeMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const rest = new AbortController();
    this.#rest = rest;
    const ms = Math.min(REST_MS_MAX, Math.max(0, wakeMs - clock.now()));
    try {
      await clock.sleep(ms, AbortSignal.any([signal, rest.signal]));
    } catch (error) {
      if (!rest.signal.aborted) throw error;
    }
  }

  #around() {
    const { clock, settings, timeZone } = this.#options;
    const isStalled =
      this.#work?.command.kind === "stage" ? this.#options.isStalled() : this.#stoodStill;
    return { nowMs: clock.now(), settings: settings(), timeZone, isStalled };
  }
}

/** A proof that is being made may have looked at what is another by now: it is begun again. */
function isNewToProof({ type }: CourseEvent): boolean {
  return type === "inputs-changed" || type === "registry-up";
}

const KEPT_KEYS = ["active", "staged", "previous"] as const;
const STANDING_KEYS = [...KEPT_KEYS, "wanted", "rolledBack", "turn"] as const;

function hasOther(keys: readonly (keyof Standing)[], a: Standing, b: Standing): boolean {
  return keys.some((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
}

interface CourseNote {
  readonly isPaused: boolean;
  /** What an agent wrote that died was not looked at yet. */
  readonly isUnclean: boolean;
  readonly resync?: number;
  readonly verify?: number;
  readonly collect?: number;
}

function noteOf({ isPaused, isUnclean, dueMs: { resync, verify, collect } }: Course): CourseNote {
  return { isPaused, isUnclean, resync, verify, collect };
}

function courseNote(value: unknown): CourseNote {
  if (typeof value !== "object" || value === null) return { isPaused: false, isUnclean: false };
  const note: Readonly<Record<string, unknown>> = { ...value };
  const times = ["resync", "verify", "collect"].flatMap((chore) =>
    typeof note[chore] === "number" ? [[chore, note[chore]]] : [],
  );
  return {
    isPaused: note["isPaused"] === true,
    isUnclean: note["isUnclean"] === true,
    ...Object.fromEntries(times),
  };
}

/** What an operator may ask for now; a text says why not. */
export function refusals(course: Course, work: Command | undefined) {
  const { active, turn, isPaused, asked } = course;
  const isTurning = work?.kind === "turn";
  const turningText = "an activation is at work: wait until it has ended";
  return {
    stage: isPaused ? "the agent is paused: resume it first" : null,
    activate: isTurning
      ? turningText
      : activationOf(course) === null
        ? "no revision is staged or active"
        : null,
    rollback: isTurning
      ? turningText
      : rollbackOf(course) !== undefined
        ? null
        : turn?.why === "roll-back"
          ? "a rollback is being tried already"
          : "there is no previous revision to go back to",
    pause: isPaused ? "the agent is paused already" : null,
    resume: isPaused ? null : "the agent is not paused",
    prove: active === null ? "no revision is active" : asked.prove === null ? null : ASKED,
    verify: asked.verify ? ASKED : null,
    collect: asked.collect === null ? null : ASKED,
  };
}

const ASKED = "it was asked for already, and is done next";
