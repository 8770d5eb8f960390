import type { Finding } from "#base";
import type { CredentialReport } from "#credential";
import type { DeliveryEvent, DeliverySummary } from "#deliver";
import type { Plan } from "#plan";
import type { AgentSettings } from "./settings.ts";

/**
 * What is wanted of the site at one moment: the plan of a profile version. The word of the field is
 * revision: there is an active one, perhaps one that is staged, and the one before, for a rollback.
 */
export interface Revision {
  /**
   * Twelve hex digits of the SHA-256 over all that is decided: the plan without places and secrets, and
   * what the site file says of what is done with it. A comment or a new password is no new revision.
   */
  readonly id: string;
  /** Where it was read, fit to print: `/etc/drayage/profiles`, `registry.example.com/site@sha256:…`. */
  readonly source: string;
  /** When it was first seen, in milliseconds since 1970. */
  readonly seenMs: number;
  /** Names of the cluster profiles. */
  readonly profiles: readonly string[];
  /** How many images it has. */
  readonly images: number;
  /** All that is kept of it to come back to it after a restart or by a rollback: JSON, without secrets. */
  readonly record: string;
}

/** What reading the inputs comes to. */
export interface InputsSeen {
  /** With a plan as far as it could be made, when it is refused. */
  readonly revision: Revision;
  readonly warnings: readonly Finding[];
  /** Why it is refused; none when it is not. */
  readonly faults: readonly Finding[];
}

/** How the inputs want the agent to work; no part of what is wanted of the site, so of no revision. */
export interface Ways {
  readonly settings: AgentSettings;
  /** Differs when the uplink is to be used in another way. What is under way is then begun again. */
  readonly link: string;
  /** Names of settings that were changed, and count only once the agent is started again. */
  readonly restart: readonly string[];
}

/** What a piece of work is given: when to stop, and whom to tell. */
export interface Work {
  /** Aborted: end at a durable point, soon. */
  readonly signal: AbortSignal;
  /** Everything that happens, as `deliver` tells it. */
  emit(event: DeliveryEvent): void;
}

/** Something that a person must know of and do. Fit to print, without secrets. */
export interface Trouble {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** How one step of an activation went: `redirect`, `load`, `hand-over`. */
export interface ActivationStep {
  readonly name: "names" | "redirect" | "load" | "hand-over";
  /** `skipped` where the site file does not want it. */
  readonly outcome: "done" | "skipped" | "failed";
  /** One sentence, fit to print: `3 files changed`, `42 images pinned`. */
  readonly text: string;
  readonly trouble?: Trouble;
}

/** What became of an activation. It is `done` when no step failed. */
export interface ActivationSummary {
  readonly outcome: "done" | "failed" | "interrupted";
  readonly steps: readonly ActivationStep[];
}

/** What the proof said, in short; the whole document is kept beside it. */
export interface ProofSummary {
  readonly at: number;
  readonly ok: boolean;
  /** `This site is ready offline: 42 of 42 references`. */
  readonly sentence: string;
  readonly references: number;
  readonly held: number;
  /** What is missing, each with what to do; at most a hundred. */
  readonly wanting: readonly (Trouble & { readonly image: string })[];
  readonly digest: string;
}

/** What a re-hash or a collection did, in a sentence and numbers. */
export interface UpkeepSummary {
  readonly ok: boolean;
  readonly text: string;
  readonly blobs: number;
  readonly bytes: number;
  readonly trouble: readonly Trouble[];
}

/** What the disk of the store is used for, in bytes. A blob that several keep counts for the first of them. */
export interface DiskUse {
  readonly at: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly use: Readonly<
    Record<
      /** By what keeps it, in the order in which they claim a shared blob. */
      "active" | "staged" | "previous" | "pushed" | "partial" | "unkept" | "quarantine",
      { readonly bytes: number; readonly blobs: number }
    >
  >;
}

/** The uplink's budget at this moment. Rates in bytes per second. */
export interface LinkState {
  /** Null: no cap. 0: no window is open. */
  readonly capBytesPerSecond: number | null;
  /** When the cap changes next, in milliseconds since 1970. */
  readonly untilMs: number | null;
  readonly quota: {
    readonly bytes: number;
    readonly usedBytes: number;
    readonly renewsMs: number;
  } | null;
}

/** Where an image of a revision is, as far as is known without asking anybody outside this host. */
export interface ImageWhereabouts {
  /** In the store, complete, under its declared name. */
  readonly digest: string | null;
  readonly bytes: number | null;
  /** What the runtime has under its name; null where none is configured or it can't be asked. */
  readonly runtime: "pinned" | "present" | "absent" | null;
}

/**
 * Everything that the agent drives, as it sees it. The program's is put together from the other rooms
 * (`site`); the agent's own tests have one that lives in memory.
 *
 * All of these may throw a `Failure` for what the world did, and reject with the signal's reason when it
 * is aborted.
 */
export interface Operations {
  /** Reads the inputs as they are now, and plans. */
  read(signal: AbortSignal): Promise<InputsSeen>;
  /** As the newest inputs say that are not refused. They may change with each {@link Operations.read}. */
  ways(): Ways;
  /**
   * The plan of a revision, to be looked at: of each credential it has the origin. It is made of the record
   * each time, for it is large and seldom asked for.
   *
   * @throws {Failure} `revision-broken`
   */
  plan(revision: Revision): Plan;
  /** Resolves when the inputs may have changed: a file did, or it is time to ask the registry that steers. */
  changed(signal: AbortSignal): Promise<void>;
  /**
   * Why one image of a revision, as declared, comes from where it comes: the document of
   * `dray explain -o json`. Undefined when the revision does not have it.
   */
  explain(revision: Revision, reference: string): Promise<unknown>;

  /** Brings everything onto the site, verified, and to its local registry; nothing changes for the cluster. */
  stage(revision: Revision, work: Work): Promise<DeliverySummary>;
  /** Turns the cluster to it: mirrors, runtime, the operating system's hand-over. Can be done again. */
  activate(revision: Revision, work: Work): Promise<ActivationSummary>;
  /**
   * The runtime's files that are not as {@link Operations.activate} would write them now: somebody edited
   * them, or a password in them is another one by now. Writes nothing.
   */
  drift(revision: Revision, signal: AbortSignal): Promise<readonly string[]>;
  /** Tells the store which revisions must not be collected. */
  keep(revisions: {
    readonly active?: Revision;
    readonly staged?: Revision;
    readonly previous?: Revision;
  }): Promise<void>;
  prove(
    revision: Revision,
    options: { readonly full: boolean },
    signal: AbortSignal,
  ): Promise<{
    readonly summary: ProofSummary;
    /** The whole proof as a text of JSON: nobody needs it but who asks for it. */
    readonly document: string;
  }>;
  verify(scope: "all" | "sample" | "since-unclean", signal: AbortSignal): Promise<UpkeepSummary>;
  collect(options: { readonly dryRun: boolean }, signal: AbortSignal): Promise<UpkeepSummary>;
  credentials(revision: Revision, signal: AbortSignal): Promise<readonly CredentialReport[]>;

  /** Serves the store as a registry until the signal; rejects when it can't. */
  serveRegistry(signal: AbortSignal, onListening: (address: string) => void): Promise<void>;

  disk(revisions: Parameters<Operations["keep"]>[0], signal: AbortSignal): Promise<DiskUse>;
  link(): Promise<LinkState>;
  /** @param plan that of the revision */
  whereabouts(revision: Revision, plan: Plan): Promise<ReadonlyMap<string, ImageWhereabouts>>;
}
