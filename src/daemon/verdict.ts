import type { Hold } from "./decide.ts";
import type { ActivationSummary, ProofSummary, Trouble } from "./operations.ts";
import type { Activity, DeliveryState, RevisionState, SiteState, Waiting } from "./state.ts";

/** What the sentence about a site is made of. */
export interface Situation {
  readonly activity: Activity;
  readonly wanted: RevisionState | null;
  readonly active: RevisionState | null;
  readonly staged: RevisionState | null;
  readonly refused: SiteState["refused"];
  /** Why the inputs can't be read. */
  readonly unreadable: Trouble | null;
  readonly paused: SiteState["paused"];
  /** Of the delivery at work or the last one. */
  readonly delivery: DeliveryState | null;
  readonly deliveryWaits: Waiting | null;
  /** Why the last delivery failed, the first reason of several; null when it did not. */
  readonly deliveryTrouble: Trouble | null;
  readonly activation: ActivationSummary | null;
  readonly hold: Hold | null;
  /** Where a turn is at work: what it brings, and what a rollback takes back. */
  readonly turning: { readonly to: RevisionState | null; readonly undoes: RevisionState | null };
  /** Of the active revision as it is now; null when there is none of it. */
  readonly proof: ProofSummary | null;
  /** Why the proof could not be made; null when it was, or was not tried. */
  readonly proofTrouble: Trouble | null;
  /** Whether the embedded registry takes requests, and why not, where that is known. */
  readonly registry: { readonly isServing: boolean; readonly trouble: Trouble | null };
  /** For times of the day in sentences. */
  readonly timeZone: string;
}

type Verdict = SiteState["verdict"];

/** The state of a site in one sentence, with numbers in it, and what is to be done. */
export function verdictOf(situation: Situation): Verdict {
  return (
    whileTurning(situation) ??
    whileStaging(situation) ??
    whenHeld(situation) ??
    withoutRevision(situation) ??
    ofInputs(situation) ??
    ofProof(situation)
  );
}

function whileTurning({ activity, turning, activation, hold, ...rest }: Situation) {
  if (activity === "activating") {
    return working(`Activating ${label(turning.to)}: ${imagesOf(turning.to)}`);
  }
  if (activity === "rolling-back") return working(`Rolling back from ${label(turning.undoes)}`);
  if (hold?.kind !== "turn-retry") return undefined;
  const failed = activation?.steps.find(({ outcome }) => outcome === "failed");
  const at = clockTime(hold.untilMs, rest.timeZone);
  return {
    level: "failed",
    sentence: `An activation has failed ${times(hold.attempt)}${failed === undefined ? "" : ` at the step ${failed.name}: ${failed.text}`}; it is tried again at ${at}`,
    remedy: failed?.trouble?.hint ?? "Look into the journal, or roll back",
  } satisfies Verdict;
}

function whileStaging(situation: Situation): Verdict | undefined {
  const { activity, wanted, active, staged, delivery, deliveryWaits, timeZone } = situation;
  if (activity !== "staging" || delivery === null) return undefined;
  const [here, images] = imagesHere(delivery);
  const count = `${here} of ${images} images`;
  if (deliveryWaits !== null) {
    const until =
      deliveryWaits.untilMs === null ? "" : ` until ${clockTime(deliveryWaits.untilMs, timeZone)}`;
    return {
      level: "waiting",
      sentence: `Waiting${until}: ${deliveryWaits.reason}; ${count} of ${label(wanted)} are here`,
      remedy: null,
    };
  }
  const isKnown = wanted !== null && (wanted.id === active?.id || wanted.id === staged?.id);
  const verb = isKnown
    ? `Checking ${label(wanted)} for new content`
    : `Delivering ${label(wanted)}`;
  return working([`${verb}: ${count}`, ...bytesText(delivery), ...leftText(delivery)].join(", "));
}

function whenHeld(situation: Situation): Verdict | undefined {
  const { hold, staged, paused, timeZone, active } = situation;
  if (paused !== null) {
    const left = hold === null ? "nothing is waiting" : "nothing moves until it is resumed";
    return {
      level: "waiting",
      sentence: `Paused by ${paused.by}: ${left}${stays(active)}`,
      remedy: "Run `dray resume` when the site may go on",
    };
  }
  switch (hold?.kind) {
    case "stage-retry":
      return deliveryFailed(situation, hold.untilMs);
    case "operator":
      return {
        level: "waiting",
        sentence: `Staged, and waiting for an operator: ${imagesOf(staged)} of ${label(staged)} are here${stays(active)}`,
        remedy: "Run `dray activate`",
      };
    case "rolled-back":
      return {
        level: "waiting",
        sentence: `Rolled back from ${label(staged)}, whose ${imagesOf(staged)} are still here${stays(active)}`,
        remedy: "Change the profile, or run `dray activate` to try it again",
      };
    case "window": {
      const opens =
        hold.untilMs === null ? "never opens" : `opens at ${clockTime(hold.untilMs, timeZone)}`;
      return {
        level: "waiting",
        sentence: `Staged, and waiting for the activation window, which ${opens}: ${imagesOf(staged)} of ${label(staged)} are here${stays(active)}`,
        remedy: hold.untilMs === null ? "Correct agent.activation in the site file" : null,
      };
    }
    default:
      return undefined;
  }
}

function deliveryFailed(situation: Situation, untilMs: number): Verdict {
  const { wanted, active, delivery, deliveryTrouble, timeZone } = situation;
  const [here, images] = delivery === null ? [0, wanted?.images ?? 0] : imagesHere(delivery);
  const isWhole = here === images && delivery !== null;
  const what = isWhole
    ? `${label(wanted)} is here, but not done with`
    : `${images - here} of ${images} images of ${label(wanted)} are missing`;
  const why = deliveryTrouble === null ? "" : ` (${deliveryTrouble.code})`;
  const other = active !== null && active.id !== wanted?.id ? stays(active) : "";
  return {
    level: "wanting",
    sentence: `Not ready: ${what}${why}; tried again at ${clockTime(untilMs, timeZone)}${other}`,
    remedy: deliveryTrouble?.hint ?? null,
  };
}

function withoutRevision(situation: Situation): Verdict | undefined {
  const { activity, wanted, active, refused, unreadable } = situation;
  if (wanted !== null || active !== null) return undefined;
  if (refused !== null) {
    return {
      level: "failed",
      sentence: `Refused: ${refused.source} has ${faults(refused.faults.length)}, and no revision is active`,
      remedy: refused.faults[0]?.remedy ?? null,
    };
  }
  if (unreadable !== null) {
    return {
      level: "failed",
      sentence: `Waiting for the inputs: ${unreadable.message}`,
      remedy: unreadable.hint,
    };
  }
  const isStarting = activity === "starting" || activity === "planning";
  return working(isStarting ? "Starting: the inputs are being read" : "Nothing is wanted yet");
}

function ofInputs({ refused, unreadable, active, wanted }: Situation): Verdict | undefined {
  const force = active ?? wanted;
  if (refused !== null) {
    return {
      level: "wanting",
      sentence: `The newest inputs are refused with ${faults(refused.faults.length)}; ${label(force)} stays in force with ${imagesOf(force)}`,
      remedy: refused.faults[0]?.remedy ?? null,
    };
  }
  if (unreadable !== null) {
    return {
      level: "waiting",
      sentence: `The inputs can't be read (${unreadable.code}); ${label(force)} stays in force with ${imagesOf(force)}`,
      remedy: unreadable.hint,
    };
  }
  return undefined;
}

function ofProof(situation: Situation): Verdict {
  const { active, wanted, proof, proofTrouble, registry } = situation;
  if (active === null) return working(`Preparing ${label(wanted)}: ${imagesOf(wanted)}`);
  if (!registry.isServing) return withoutRegistry(registry.trouble);
  if (proof === null && proofTrouble !== null) {
    return {
      level: "wanting",
      sentence: `Not proven: whether ${label(active)} is ready offline can't be looked at (${proofTrouble.code})`,
      remedy: proofTrouble.hint,
    };
  }
  if (proof === null) {
    return working(
      `Proving: ${imagesOf(active)} of ${label(active)} are looked at, whether the site is ready offline`,
    );
  }
  if (!proof.ok) {
    const [first] = proof.wanting;
    const missing = proof.references - proof.held;
    // All may be here, and the runtime not be sent to it.
    const why =
      missing === 0 && first !== undefined
        ? first.message
        : `${missing} of ${proof.references} images of ${label(active)} are missing`;
    return {
      level: "wanting",
      sentence: `Not ready offline: ${why}`,
      remedy: first?.hint ?? "Run `dray prove` to see what is missing",
    };
  }
  const isOne = proof.references === 1;
  const images = isOne ? "the one image" : `all ${proof.references} images`;
  return {
    level: "ready",
    sentence: `Ready offline: ${images} of ${label(active)} ${isOne ? "is" : "are"} here and proven`,
    remedy: null,
  };
}

/** `edge-store` or, of many profiles, `edge-store and 2 more`. */
export function label(revision: RevisionState | null): string {
  const [first, ...more] = revision?.profiles ?? [];
  if (revision === null) return "no revision";
  if (first === undefined) return `revision ${revision.id}`;
  return more.length === 0 ? first : `${first} and ${more.length} more`;
}

/** All may be here: nobody can pull it. */
function withoutRegistry(trouble: Trouble | null): Verdict {
  if (trouble === null) return working("Starting: the embedded registry does not serve yet");
  return {
    level: "wanting",
    sentence: `Not ready offline: the embedded registry does not serve: ${trouble.message}`,
    remedy: trouble.hint,
  };
}

/** `3.1 of 9.8 GB`, in the unit of the larger. */
export function bytesOf(part: number, whole: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (whole >= 999.5 * 1000 ** power && power < units.length - 1) power += 1;
  const digits = power === 0 ? 0 : 1;
  const [a, b] = [part, whole].map((bytes) => (bytes / 1000 ** power).toFixed(digits));
  return `${a} of ${b} ${units[power]}`;
}

/** `about 25 min`: no more exactly than can be known. */
export function aboutTime(ms: number): string {
  const minutes = Math.ceil(ms / 60_000);
  if (minutes <= 1) return "about a minute";
  if (minutes < 90) return `about ${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `about ${hours} h` : `about ${Math.round(hours / 24)} days`;
}

/** `2026-11-23 22:00`: a time that a person at the site can compare with the clock on the wall. */
export function clockTime(ms: number, timeZone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(ms))
    .toZonedDateTimeISO(timeZone)
    .toPlainDateTime()
    .toString({ smallestUnit: "minute" })
    .replace("T", " ");
}

function working(sentence: string): Verdict {
  return { level: "working", sentence, remedy: null };
}

function imagesHere({ stages }: DeliveryState): readonly [here: number, images: number] {
  return [
    stages.reduce((sum, { done }) => sum + done, 0),
    stages.reduce((sum, { images }) => sum + images, 0),
  ];
}

function bytesText({ bytesTotal, bytesHere, bytesMoved }: DeliveryState): readonly string[] {
  if (bytesTotal === 0) return [];
  return [bytesOf(Math.min(bytesTotal, bytesHere + bytesMoved), bytesTotal)];
}

function leftText({ remainingMs }: DeliveryState): readonly string[] {
  return remainingMs === null ? [] : [`${aboutTime(remainingMs)} left`];
}

function imagesOf(revision: RevisionState | null): string {
  return countedImages(revision?.images ?? 0);
}

/** `1 image`, `42 images`. */
export function countedImages(count: number): string {
  return count === 1 ? "1 image" : `${count} images`;
}

function faults(count: number): string {
  return count === 1 ? "1 fault" : `${count} faults`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

function stays(active: RevisionState | null): string {
  return active === null ? "" : `; ${label(active)} stays active with ${imagesOf(active)}`;
}
