import type { Finding } from "#base";
import type { CredentialReport } from "#credential";
import type { DeliverySummary, ImageOutcome, UploadOutcome } from "#deliver";
import type { StageName } from "#plan";
import type {
  ActivationSummary,
  DiskUse,
  ImageWhereabouts,
  LinkState,
  ProofSummary,
  Trouble,
  UpkeepSummary,
} from "./operations.ts";

/** What the agent is at. */
export type Activity =
  | "starting"
  | "idle"
  | "planning"
  | "staging"
  | "activating"
  | "rolling-back"
  | "proving"
  | "verifying"
  | "collecting";

/** Why nothing moves at the moment although something is to be done. */
export interface Waiting {
  /** Fit to print: `no window of link.windows is open`, `an operator activates (dray activate)`. */
  readonly reason: string;
  readonly sinceMs: number;
  /** Null when it is not known. */
  readonly untilMs: number | null;
}

/** A revision as people see it. */
export interface RevisionState {
  readonly id: string;
  readonly source: string;
  readonly profiles: readonly string[];
  readonly images: number;
  readonly seenMs: number;
  readonly stagedMs: number | null;
  readonly activatedMs: number | null;
}

/** How a level of trouble is shown. */
export type Level = "ready" | "working" | "waiting" | "wanting" | "failed";

/**
 * What moves at the moment, or moved last. Bytes are of blobs; those shared by images count once.
 */
export interface DeliveryState {
  readonly revision: string;
  readonly startedMs: number;
  readonly endedMs: number | null;
  readonly outcome: DeliverySummary["outcome"] | null;
  readonly stages: readonly {
    readonly name: StageName;
    readonly images: number;
    readonly done: number;
    readonly failed: number;
  }[];
  readonly bytesTotal: number;
  /** Was on the site before the delivery began; what came since is `bytesMoved`. */
  readonly bytesHere: number;
  readonly bytesMoved: number;
  /** Images of which `bytesTotal` is known already. */
  readonly imagesSized: number;
  /** Over the last ten seconds, in bytes per second; null before something moved. */
  readonly bytesPerSecond: number | null;
  /** Honest: null where it can't be told (not all is sized, nothing moved for long, a window is shut). */
  readonly remainingMs: number | null;
  readonly uploads: {
    readonly registry: string | null;
    readonly images: number;
    readonly done: number;
    readonly failed: number;
    readonly bytesSent: number;
  } | null;
  /** Bytes that came from each registry, and how many images it gives. The flow picture reads these. */
  readonly sources: readonly {
    readonly registry: string;
    readonly stage: StageName;
    readonly images: number;
    readonly bytesTotal: number;
    readonly bytesMoved: number;
    readonly bytesHere: number;
  }[];
}

/** One part of the agent that is restarted by itself when it fails. */
export interface PartState {
  readonly name: "registry" | "api" | "socket" | "watch" | "reconcile" | "credentials" | "upkeep";
  readonly state: "running" | "restarting" | "stopped";
  readonly sinceMs: number;
  readonly restarts: number;
  readonly address?: string;
  readonly trouble?: Trouble;
  /** When it is tried again. */
  readonly nextMs?: number;
}

/** Something that needs a person; `code` and `subject` name it, so that it can be counted once. */
export interface Warning extends Trouble {
  readonly level: "warning" | "error";
  /** An image, a registry, a file; empty for the site as a whole. */
  readonly subject: string;
  readonly sinceMs: number;
}

/**
 * The state of a site as one document: what `dray status`, the status page and the metrics show, and
 * `GET /api/v1/site` answers. No secret is in it, all texts are fit to print.
 */
export interface SiteState {
  readonly apiVersion: "drayage/v1";
  readonly kind: "SiteState";
  /** Counts up with each change: what a reader has, it need not ask for again. */
  readonly revisionOfState: number;
  readonly at: number;
  readonly version: string;
  readonly host: string;
  readonly startedMs: number;
  readonly verdict: {
    readonly level: Level;
    /** What state the site is in, in one sentence. */
    readonly sentence: string;
    /** What to do; null where nothing needs to be done. */
    readonly remedy: string | null;
  };
  readonly activity: {
    readonly name: Activity;
    readonly sinceMs: number;
    readonly waiting: Waiting | null;
  };
  readonly paused: { readonly sinceMs: number; readonly by: string } | null;
  readonly active: RevisionState | null;
  readonly staged: RevisionState | null;
  readonly previous: RevisionState | null;
  /** What the newest inputs want, as long as it is not here completely: neither active nor staged. */
  readonly wanted: RevisionState | null;
  /** The newest inputs, when they are refused; the active revision stays in force. */
  readonly refused: {
    readonly source: string;
    readonly atMs: number;
    readonly faults: readonly Finding[];
  } | null;
  readonly delivery: DeliveryState | null;
  readonly activation: (ActivationSummary & { readonly atMs: number }) | null;
  readonly proof: ProofSummary | null;
  readonly link: LinkState | null;
  readonly disk: DiskUse | null;
  readonly credentials: readonly CredentialReport[];
  readonly upkeep: {
    readonly verified: (UpkeepSummary & { readonly atMs: number }) | null;
    readonly collected: (UpkeepSummary & { readonly atMs: number }) | null;
  };
  readonly parts: readonly PartState[];
  readonly warnings: readonly Warning[];
  /** What an operator may ask for now, and why not, where not: the page greys these out. */
  readonly actions: Readonly<
    Record<ActionName, { readonly allowed: boolean; readonly why: string }>
  >;
}

/** What an operator can ask of the agent: `POST /api/v1/actions/<name>`. */
export const ACTION_NAMES = [
  "stage",
  "activate",
  "rollback",
  "pause",
  "resume",
  "prove",
  "verify",
  "collect",
] as const;

/** One of {@link ACTION_NAMES}. */
export type ActionName = (typeof ACTION_NAMES)[number];

/** One image of a revision, as `GET /api/v1/images?revision=active|staged` lists it. */
export interface ImageState {
  readonly declared: string;
  readonly stage: StageName;
  readonly packs: readonly string[];
  readonly source: string;
  readonly registry: string;
  readonly credential: string | null;
  readonly local: string | null;
  /** The rules, in order; their texts are in the explanation. */
  readonly because: readonly { readonly rule: string; readonly text: string }[];
  readonly whereabouts: ImageWhereabouts;
  /** Of the delivery at work or the last one. */
  readonly outcome: ImageOutcome | "waiting" | "moving" | null;
  readonly upload: UploadOutcome | "waiting" | "moving" | null;
  readonly bytesMoved: number;
  readonly failure: Trouble | null;
}

/** Bytes over the uplink in one slice of time, for `GET /api/v1/uplink?hours=24`. */
export interface UplinkSlice {
  readonly atMs: number;
  readonly ms: number;
  readonly bytes: number;
  /** The cap that held; null: none. */
  readonly capBytesPerSecond: number | null;
}

/** One line of the journal, newest first in `GET /api/v1/journal?before=ID&limit=N`. */
export interface JournalEntry {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  /** Fit to print. */
  readonly text: string;
  readonly level: "info" | "warning" | "error";
  /** Who asked for it: a user, `socket`, or null for the agent itself. */
  readonly by: string | null;
  readonly data: unknown;
}
