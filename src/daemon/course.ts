/** A turn of the cluster to another revision, which has begun, or was ordered, and has not ended. */
export interface Turn {
  readonly to: string;
  readonly why: "activate" | "roll-back";
  /** Of a rollback: what it takes back. */
  readonly undoes: string | null;
}

/** What is done again and again, whether anybody asks for it or not. */
export type Chore = "resync" | "prove" | "verify" | "collect";

/** A next attempt of something that failed. */
export interface Retry {
  /** How many attempts have failed, from 1. */
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** What survives the death of the agent; ids of revisions. */
export interface Standing {
  /** The newest inputs that were not refused. */
  readonly wanted: string | null;
  /** Here completely, and waits to be activated. It is the active one when that has got new content. */
  readonly staged: string | null;
  readonly active: string | null;
  /** What a rollback goes back to. */
  readonly previous: string | null;
  /** Not activated by itself until the inputs change. */
  readonly rolledBack: string | null;
  readonly turn: Turn | null;
}

/** Where an agent is between what is wanted of the site and what is. Never changed, only replaced. */
export interface Course extends Standing {
  readonly isPaused: boolean;
  /** What operators asked for and was not done yet. */
  readonly asked: {
    readonly stage: boolean;
    readonly prove: "short" | "full" | null;
    readonly verify: boolean;
    readonly collect: "dry-run" | "remove" | null;
  };
  readonly stageRetry: Retry | null;
  readonly turnRetry: Retry | null;
  /** When each is to be done next, in milliseconds since 1970. */
  readonly dueMs: Readonly<Record<Chore, number>>;
  /** The agent before this one did not end in order, and what it wrote was not looked at yet. */
  readonly isUnclean: boolean;
  /** Whether the active revision was proven since the agent started, and held the last time. */
  readonly isProven: boolean;
}

/** What happens to a course. Times are milliseconds since 1970. */
export type CourseEvent =
  /** The inputs were read and are not refused. */
  | { readonly type: "seen"; readonly id: string; readonly nowMs: number }
  /**
   * The inputs were read and may be others than they were: what failed may succeed, and what was proven
   * may hold no more. A password, a certificate or the site file makes no other revision.
   */
  | { readonly type: "inputs-changed" }
  /** The embedded registry serves from now on: what was proven without it is to be proven with it. */
  | { readonly type: "registry-up" }
  /** What the activation of a revision wrote is not there any more as it should be. */
  | { readonly type: "drifted"; readonly id: string }
  | {
      readonly type: "stage-done";
      readonly id: string;
      /** Whether anything came that was not here: then there is something to activate. */
      readonly hasMoved: boolean;
      readonly nextMs: number;
    }
  | { readonly type: "stage-failed"; readonly id: string; readonly retryMs: number }
  | { readonly type: "turn-begun"; readonly turn: Turn }
  | { readonly type: "turn-done" }
  | { readonly type: "turn-failed"; readonly retryMs: number }
  | {
      readonly type: "proven";
      readonly id: string;
      readonly ok: boolean;
      /** Whether something else is wanting than the time before: then it may help to fetch again. */
      readonly isNews: boolean;
      readonly nextMs: number;
    }
  | { readonly type: "verified"; readonly ok: boolean; readonly nextMs: number }
  | { readonly type: "collected"; readonly nextMs: number }
  /** A chore could not be done; it is tried again then. */
  | { readonly type: "chore-failed"; readonly chore: Chore; readonly nextMs: number }
  | { readonly type: "asked-stage" }
  | { readonly type: "asked-activate" }
  | { readonly type: "asked-rollback" }
  | { readonly type: "asked-pause" }
  | { readonly type: "asked-resume" }
  | { readonly type: "asked-prove"; readonly full: boolean }
  | { readonly type: "asked-verify" }
  | { readonly type: "asked-collect"; readonly dryRun: boolean };

/** A site that nothing was ever wanted of. */
export const NEW_COURSE: Course = {
  ...{ wanted: null, staged: null, active: null, previous: null, rolledBack: null, turn: null },
  isPaused: false,
  asked: { stage: false, prove: null, verify: false, collect: null },
  stageRetry: null,
  turnRetry: null,
  dueMs: { resync: 0, prove: 0, verify: 0, collect: 0 },
  isUnclean: false,
  isProven: false,
};

/** The revision that a rollback goes back to, and what it takes back; undefined when there is none. */
export function rollbackOf(course: Course): Turn | undefined {
  const { active, previous, turn } = course;
  // What was only half done is taken back to what was whole before it.
  if (turn?.why === "activate" && active !== null && turn.to !== active) {
    return { to: active, why: "roll-back", undoes: turn.to };
  }
  if (turn?.why === "roll-back" || previous === null || active === null) return undefined;
  return { to: previous, why: "roll-back", undoes: active };
}

/**
 * What an operator's word activates: what is staged, else what was begun and has not ended, else the
 * active revision once more, whose files may be gone. Null when there is none of these.
 */
export function activationOf({ turn, turnRetry, staged, wanted, active }: Course): string | null {
  if (turn?.why !== "activate") return staged ?? active;
  // Newer inputs may be what mends an activation that fails.
  const isMended = turnRetry !== null && staged !== null && staged === wanted;
  return isMended ? staged : turn.to;
}

/** The course after an event. Events that came too late, of revisions that nobody wants now, change nothing. */
export function follow(course: Course, event: CourseEvent): Course {
  const { asked, dueMs } = course;
  switch (event.type) {
    case "seen":
      return seen(course, event.id);
    case "inputs-changed":
      return {
        ...course,
        stageRetry: null,
        turnRetry: soon(course.turnRetry),
        dueMs: proveNow(dueMs),
      };
    case "registry-up":
      return { ...course, dueMs: proveNow(dueMs) };
    case "drifted":
      return drifted(course, event.id);
    case "stage-done":
      return staged(course, event);
    case "stage-failed": {
      if (event.id !== course.wanted) return course;
      const attempt = (course.stageRetry?.attempt ?? 0) + 1;
      // What was asked for stays so: of what is here already nothing else would have it tried again.
      return { ...course, stageRetry: { attempt, atMs: event.retryMs } };
    }
    case "turn-begun":
      return begun(course, event.turn);
    case "turn-done":
      return turned(course);
    case "turn-failed": {
      const attempt = (course.turnRetry?.attempt ?? 0) + 1;
      return { ...course, turnRetry: { attempt, atMs: event.retryMs } };
    }
    case "proven":
      return proven(course, event);
    case "verified":
      return {
        ...course,
        isUnclean: false,
        // What was found wrong is away now, and must come again.
        isProven: course.isProven && event.ok,
        asked: { ...asked, verify: false, stage: asked.stage || !event.ok },
        dueMs: { ...(event.ok ? dueMs : proveNow(dueMs)), verify: event.nextMs },
      };
    case "collected":
      return {
        ...course,
        asked: { ...asked, collect: null },
        dueMs: { ...dueMs, collect: event.nextMs },
      };
    case "chore-failed":
      return choreFailed(course, event);
    default:
      return ordered(course, event);
  }
}

function ordered(course: Course, event: CourseEvent): Course {
  const { asked } = course;
  switch (event.type) {
    case "asked-stage":
      return { ...course, stageRetry: null, asked: { ...asked, stage: true } };
    case "asked-activate": {
      const to = activationOf(course);
      if (to === null) return course;
      const rolledBack = course.rolledBack === to ? null : course.rolledBack;
      const turn: Turn = { to, why: "activate", undoes: null };
      return { ...course, turn, turnRetry: null, rolledBack, isProven: false };
    }
    case "asked-rollback": {
      const turn = rollbackOf(course);
      return turn === undefined ? course : { ...course, turn, turnRetry: null, isProven: false };
    }
    case "asked-pause":
      return { ...course, isPaused: true };
    case "asked-resume":
      return { ...course, isPaused: false };
    case "asked-prove":
      return { ...course, asked: { ...asked, prove: event.full ? "full" : "short" } };
    case "asked-verify":
      return { ...course, asked: { ...asked, verify: true } };
    case "asked-collect":
      return { ...course, asked: { ...asked, collect: event.dryRun ? "dry-run" : "remove" } };
    default:
      return course;
  }
}

/** It is tried at once; that it has failed, and how often, stays known. */
function soon(retry: Retry | null): Retry | null {
  return retry && { ...retry, atMs: 0 };
}

function proveNow(dueMs: Course["dueMs"]): Course["dueMs"] {
  return { ...dueMs, prove: 0 };
}

/** As with new content: it is activated again, by the same rules as anything that is staged. */
function drifted(course: Course, id: string): Course {
  const { active, wanted, staged: waiting, turn } = course;
  if (id !== active || id !== wanted || waiting !== null || turn !== null) return course;
  return { ...course, staged: id };
}

function begun(course: Course, turn: Turn): Course {
  const { to, why } = turn;
  const isAgain = course.turn?.to === to && course.turn.why === why;
  return { ...course, turn, turnRetry: isAgain ? course.turnRetry : null, isProven: false };
}

function seen(course: Course, id: string): Course {
  if (id === course.wanted) return course;
  return {
    ...course,
    wanted: id,
    // What is active already leaves nothing to be activated.
    staged: id === course.active ? null : course.staged,
    rolledBack: null,
    stageRetry: null,
  };
}

function staged(
  course: Course,
  { id, hasMoved, nextMs }: Extract<CourseEvent, { type: "stage-done" }>,
): Course {
  if (id !== course.wanted) return course;
  const isUnchanged = id === course.active && !hasMoved;
  return {
    ...course,
    staged: isUnchanged ? course.staged : id,
    stageRetry: null,
    asked: { ...course.asked, stage: false },
    dueMs: { ...course.dueMs, resync: nextMs },
  };
}

function turned(course: Course): Course {
  const { turn, active, staged: waiting, previous, wanted } = course;
  if (turn === null) return course;
  const { to, undoes } = turn;
  const done = {
    ...course,
    ...{ turn: null, turnRetry: null, active: to, isProven: false },
    dueMs: proveNow(course.dueMs),
  };
  if (turn.why === "activate") {
    return {
      ...done,
      staged: waiting === to ? null : waiting,
      previous: active === to ? previous : active,
      rolledBack: course.rolledBack === to ? null : course.rolledBack,
    };
  }
  // What was taken back stays at hand: an operator may think better of it.
  const kept = waiting ?? (undoes === wanted ? undoes : null);
  const left = active === to ? previous : kept === undoes ? null : undoes;
  return { ...done, staged: kept === to ? null : kept, previous: left, rolledBack: undoes };
}

function proven(
  course: Course,
  { id, ok, isNews, nextMs }: Extract<CourseEvent, { type: "proven" }>,
): Course {
  const { asked, dueMs, active, wanted } = course;
  if (id !== active) return course;
  return {
    ...course,
    isProven: ok,
    // What is missing is fetched again, if it is still wanted.
    asked: { ...asked, prove: null, stage: asked.stage || (!ok && isNews && active === wanted) },
    dueMs: { ...dueMs, prove: nextMs },
  };
}

function choreFailed(
  course: Course,
  { chore, nextMs }: Extract<CourseEvent, { type: "chore-failed" }>,
): Course {
  const { asked } = course;
  const answered = {
    resync: { ...asked, stage: false },
    prove: { ...asked, prove: null },
    verify: { ...asked, verify: false },
    collect: { ...asked, collect: null },
  };
  return {
    ...course,
    // Who can't look can't do so at once again either: what is here is served, and verified weekly.
    isUnclean: course.isUnclean && chore !== "verify",
    asked: answered[chore],
    dueMs: { ...course.dueMs, [chore]: nextMs },
  };
}
