import { createTimetable } from "#link";
import type { Chore, Course, Turn } from "./course.ts";
import type { AgentSettings } from "./settings.ts";

/** A piece of work of the agent; there is one at a time. */
export type Command =
  | { readonly kind: "stage"; readonly id: string }
  | { readonly kind: "turn"; readonly turn: Turn }
  | { readonly kind: "prove"; readonly id: string; readonly full: boolean; readonly asked: boolean }
  | {
      readonly kind: "verify";
      readonly scope: "all" | "sample" | "since-unclean";
      readonly asked: boolean;
    }
  | { readonly kind: "collect"; readonly dryRun: boolean; readonly asked: boolean };

/** Why something that is to be done is not done now. */
export type Hold =
  | { readonly kind: "paused" }
  | { readonly kind: "turn-retry"; readonly untilMs: number; readonly attempt: number }
  | { readonly kind: "stage-retry"; readonly untilMs: number; readonly attempt: number }
  | { readonly kind: "operator" }
  | { readonly kind: "rolled-back" }
  /** `untilMs` is null when no window ever opens. */
  | { readonly kind: "window"; readonly untilMs: number | null };

/** What to do now; with nothing to do, why, and when to ask again at the latest. */
export interface Decision {
  readonly command: Command | null;
  readonly hold: Hold | null;
  /** Milliseconds since 1970. */
  readonly wakeMs: number;
}

/** What decisions depend on beside the course. */
export interface Circumstances {
  readonly nowMs: number;
  readonly settings: AgentSettings;
  /** The machine's time zone. */
  readonly timeZone: string;
  /**
   * Whether the delivery at work, or the last one, moves nothing, on purpose: no window of the link is
   * open, or its quota is used up. That may go on for days, in which the site is looked after.
   */
  readonly isStalled: boolean;
}

/** The clock on the wall may be set, so a window is looked for again after so long. */
const LOOK_MS = 60_000;

/** Nothing is put off longer than its period and this share of it; else the clock was set back. */
const JITTER_MAX = 0.1;

/** What an agent does next. Depends on nothing else, so that every situation can be tested. */
export function decide(course: Course, around: Circumstances): Decision {
  const { nowMs, settings } = around;
  const turn = decideTurn(course, around);
  const stage = decideStage(course, around);
  const upkeep = decideUpkeep(course, around);
  const command =
    (course.isUnclean ? verifyCommand("since-unclean", false) : null) ??
    turn.command ??
    (isFirst(upkeep, around) ? upkeep : (stage.command ?? upkeep));
  const hold = turn.hold ?? stage.hold;
  const wakes = [
    nowMs + settings.proveMs,
    ...[turn.hold, stage.hold].flatMap((each) => wakeOf(each, nowMs)),
    ...choresOf(course).map((chore) => course.dueMs[chore]),
  ];
  return { command, hold, wakeMs: Math.min(...wakes.filter((wakeMs) => wakeMs > nowMs)) };
}

/** Whether a piece of work gives way to what is to be done now. An activation never does. */
export function givesWay(work: Command, course: Course, around: Circumstances): boolean {
  const turn = decideTurn(course, around).command;
  switch (work.kind) {
    case "turn":
      return false;
    case "stage":
      if (turn !== null || course.isPaused || course.wanted !== work.id) return true;
      return around.isStalled && decideUpkeep(course, around) !== null;
    default:
      if (work.kind === "verify" && work.scope === "since-unclean") return false;
      if (turn !== null) return true;
      return !work.asked && decideStage(course, around).command !== null;
  }
}

/** Before a delivery comes what somebody waits for, and anything while it would only stand still. */
function isFirst(upkeep: Upkeep | null, { isStalled }: Circumstances): boolean {
  return upkeep !== null && (upkeep.asked || isStalled);
}

type Upkeep = Extract<Command, { readonly asked: boolean }>;

interface Part {
  readonly command: Command | null;
  readonly hold: Hold | null;
}

const NOTHING: Part = { command: null, hold: null };

function decideTurn(course: Course, around: Circumstances): Part {
  const { turn, turnRetry } = course;
  if (turn === null) return decideActivation(course, around);
  if (turnRetry !== null) {
    // What fails must not stand in the way of the inputs that mend it.
    const isNewer = course.staged !== turn.to && course.staged !== turn.undoes;
    const newer = isNewer ? decideActivation(course, around) : NOTHING;
    if (newer.command !== null) return newer;
    const { atMs: untilMs, attempt } = turnRetry;
    if (around.nowMs < untilMs) {
      return { command: null, hold: { kind: "turn-retry", untilMs, attempt } };
    }
  }
  return { command: { kind: "turn", turn }, hold: null };
}

/** By itself: as the inputs say of when, and never what an operator took back. */
function decideActivation(course: Course, { nowMs, settings, timeZone }: Circumstances): Part {
  const { staged, wanted, rolledBack, isPaused } = course;
  if (staged === null || staged !== wanted) return NOTHING;
  if (isPaused) return { command: null, hold: { kind: "paused" } };
  if (staged === rolledBack) return { command: null, hold: { kind: "rolled-back" } };
  const { activation } = settings;
  if (activation === "manual") return { command: null, hold: { kind: "operator" } };
  if (activation !== "immediate") {
    const { windows, timeZone: zone = timeZone } = activation;
    const link = { bytesPerSecond: undefined, quota: undefined, timeZone: zone, windows };
    const span = createTimetable(link, zone).spanAt(nowMs);
    if (span.bytesPerSecond === 0) {
      const untilMs = Number.isFinite(span.untilMs) ? span.untilMs : null;
      return { command: null, hold: { kind: "window", untilMs } };
    }
  }
  const activate: Turn = { to: staged, why: "activate", undoes: null };
  return { command: { kind: "turn", turn: activate }, hold: null };
}

function decideStage(course: Course, around: Circumstances): Part {
  const { wanted, staged, active, asked, stageRetry, isPaused } = course;
  if (wanted === null) return NOTHING;
  const isHere = wanted === staged || wanted === active;
  if (isHere && !asked.stage && !isDue(course, "resync", around)) return NOTHING;
  if (isPaused) return { command: null, hold: { kind: "paused" } };
  if (stageRetry !== null && around.nowMs < stageRetry.atMs) {
    const { atMs: untilMs, attempt } = stageRetry;
    return { command: null, hold: { kind: "stage-retry", untilMs, attempt } };
  }
  return { command: { kind: "stage", id: wanted }, hold: null };
}

function decideUpkeep(course: Course, around: Circumstances): Upkeep | null {
  const { active, asked, isProven } = course;
  if (active !== null && (asked.prove !== null || isDue(course, "prove", around))) {
    const full = asked.prove === "full";
    return { kind: "prove", id: active, full, asked: asked.prove !== null };
  }
  if (asked.verify) return verifyCommand("all", true);
  if (asked.collect !== null) {
    return { kind: "collect", dryRun: asked.collect === "dry-run", asked: true };
  }
  if (isDue(course, "verify", around)) return verifyCommand("sample", false);
  if (isProven && isDue(course, "collect", around)) {
    return { kind: "collect", dryRun: false, asked: false };
  }
  return null;
}

function verifyCommand(
  scope: "all" | "sample" | "since-unclean",
  asked: boolean,
): Extract<Command, { kind: "verify" }> {
  return { kind: "verify", scope, asked };
}

function isDue(course: Course, chore: Chore, { nowMs, settings }: Circumstances): boolean {
  const dueMs = course.dueMs[chore];
  const periodMs = settings[`${chore}Ms`];
  return nowMs >= dueMs || dueMs - nowMs > periodMs * (1 + JITTER_MAX);
}

/** Those whose time brings something to do. */
function choresOf({ wanted, active, isProven, isPaused }: Course): readonly Chore[] {
  return [
    ...(wanted === null || isPaused ? [] : (["resync"] as const)),
    ...(active === null ? [] : (["prove"] as const)),
    "verify",
    ...(isProven ? (["collect"] as const) : []),
  ];
}

function wakeOf(hold: Hold | null, nowMs: number): readonly number[] {
  switch (hold?.kind) {
    case "turn-retry":
    case "stage-retry":
      return [hold.untilMs];
    case "window":
      return [Math.min(hold.untilMs ?? Number.POSITIVE_INFINITY, nowMs + LOOK_MS)];
    default:
      return [];
  }
}
