import type { Course } from "./course.ts";
import type { Command, Decision, Hold } from "./decide.ts";
import type { Knowledge } from "./knowledge.ts";
import { type CurrentWork, refusals } from "./reconciler.ts";
import type { RevisionBook } from "./revision-book.ts";
import { ACTION_NAMES, type Activity, type SiteState, type Waiting } from "./state.ts";
import { verdictOf } from "./verdict.ts";

/** What the state of a site is made of. */
export interface SiteStateParts {
  readonly knowledge: Knowledge;
  readonly book: RevisionBook;
  readonly course: Course;
  readonly decision: Decision | undefined;
  readonly work: CurrentWork | undefined;
  readonly timeZone: string;
  /** What is known before anything is found out. */
  readonly about: Pick<SiteState, "at" | "version" | "host" | "startedMs" | "revisionOfState">;
  /** The activity before, so that it is known since when this one is. */
  readonly before: SiteState["activity"];
}

/** The state of a site as one document. */
export function siteStateOf(parts: SiteStateParts): SiteState {
  const { knowledge, book, course, decision, work, about, timeZone } = parts;
  const name = activityOf(knowledge, work?.command);
  const [active, staged] = [book.state(course.active), book.state(course.staged)];
  const progress = knowledge.progress;
  const delivery = progress?.state() ?? null;
  const hold = work === undefined ? (decision?.hold ?? null) : null;
  const proof = knowledge.proof?.revision === course.active ? knowledge.proof.summary : null;
  // One that held before the last start or turn says nothing of what is here now.
  const isPast = proof?.ok === true && !course.isProven;
  const verdict = verdictOf({
    ...{ activity: name, active, staged, delivery, hold, timeZone },
    wanted: book.state(course.wanted),
    refused: knowledge.refused,
    unreadable: knowledge.unreadable,
    paused: knowledge.paused,
    deliveryWaits: name === "staging" ? (progress?.waiting ?? null) : null,
    deliveryTrouble: knowledge.deliveryTrouble,
    activation: knowledge.activation,
    turning: {
      to: book.state(course.turn?.to ?? null),
      undoes: book.state(course.turn?.undoes ?? null),
    },
    proof: isPast ? null : proof,
    proofTrouble: knowledge.proofTrouble,
    registry: knowledge.registry,
  });
  const refused = refusals(course, work?.command);
  return {
    apiVersion: "drayage/v1",
    kind: "SiteState",
    ...about,
    verdict,
    activity: activityState(parts, name, hold),
    paused: knowledge.paused,
    ...{ active, staged },
    previous: book.state(course.previous),
    wanted: book.state(unfinished(course)),
    refused: knowledge.refused,
    delivery,
    activation: knowledge.activation,
    proof,
    link: knowledge.link,
    disk: knowledge.disk,
    credentials: knowledge.credentials,
    upkeep: { verified: knowledge.verified, collected: knowledge.collected },
    parts: [...knowledge.parts.values()],
    warnings: knowledge.warnings,
    actions: Object.fromEntries(
      ACTION_NAMES.map((action) => [
        action,
        { allowed: refused[action] === null, why: refused[action] ?? "" },
      ]),
    ) as SiteState["actions"],
  };
}

/** What is on its way: neither active nor staged. */
export function unfinished({ wanted, staged, active }: Course): string | null {
  return wanted === active || wanted === staged ? null : wanted;
}

function activityOf({ hasLooked, isReading }: Knowledge, command: Command | undefined): Activity {
  switch (command?.kind) {
    case "stage":
      return "staging";
    case "turn":
      return command.turn.why === "activate" ? "activating" : "rolling-back";
    case "prove":
      return "proving";
    case "verify":
      return "verifying";
    case "collect":
      return "collecting";
    default:
      if (!hasLooked) return "starting";
      return isReading ? "planning" : "idle";
  }
}

function activityState(
  { work, about, before, knowledge }: SiteStateParts,
  name: Activity,
  hold: Hold | null,
): SiteState["activity"] {
  const isSame = before.name === name;
  const sinceMs = work?.sinceMs ?? (isSame ? before.sinceMs : about.at);
  if (name === "staging") return { name, sinceMs, waiting: knowledge.progress?.waiting ?? null };
  const reason = hold === null ? null : reasonOf(hold, knowledge);
  if (hold === null || reason === null) return { name, sinceMs, waiting: null };
  const waitsAlready = before.waiting?.reason === reason ? before.waiting.sinceMs : about.at;
  const untilMs = "untilMs" in hold ? hold.untilMs : null;
  const waiting: Waiting = { reason, sinceMs: waitsAlready, untilMs };
  return { name, sinceMs, waiting };
}

function reasonOf(hold: Hold, { paused, deliveryTrouble }: Knowledge): string {
  switch (hold.kind) {
    case "paused":
      return paused === null
        ? "it is paused (dray resume)"
        : `${paused.by} paused it (dray resume)`;
    case "turn-retry":
      return "an activation failed and is tried again";
    case "stage-retry":
      return deliveryTrouble === null
        ? "a delivery failed and is tried again"
        : `a delivery failed and is tried again: ${deliveryTrouble.message}`;
    case "operator":
      return "an operator activates (dray activate)";
    case "rolled-back":
      return "it was rolled back: other inputs, or an operator activates (dray activate)";
    case "window":
      return "no window of agent.activation is open";
  }
}
