import type { CredentialReport } from "#credential";
import type { ActivationSummary, DiskUse, InputsSeen, ProofSummary, UpkeepSummary } from "#daemon";
import type { DeliverySummary } from "#deliver";
import type { SiteArtifact } from "#steering";
import type { KeptInputs } from "./kept-inputs.ts";
import type { PlanSources } from "./plan-inputs.ts";
import type { SiteSettings } from "./site-settings.ts";
import type { StartedSite } from "./started-site.ts";
import type { ToldFailure } from "./told-failure.ts";
import type { Versions } from "./watched-files.ts";

/**
 * The pieces of work that an agent has done in processes of their own, by name: what each is told, and
 * what it comes to: plain values and bytes. Revisions go by their records, which hold no secrets.
 */
export interface WorkKinds {
  /** Reads the inputs as they are now, and plans. */
  readonly read: { readonly order: object; readonly result: InputsRead | InputsUnread };
  /** Asks the registries that steer whether they have something else than what was read. */
  readonly look: {
    readonly order: { readonly artifacts: readonly Pick<SiteArtifact, "name" | "manifest">[] };
    readonly result: boolean;
  };
  readonly stage: { readonly order: OfRevision; readonly result: DeliverySummary };
  readonly activate: {
    readonly order: OfRevision & {
      /** Where the store is served by plain http on loopback; null: nowhere. */
      readonly servedAt: string | null;
    };
    readonly result: ActivationSummary;
  };
  readonly drift: { readonly order: OfRevision; readonly result: readonly string[] };
  readonly prove: {
    readonly order: OfRevision & { readonly full: boolean };
    readonly result: { readonly summary: ProofSummary; readonly document: string };
  };
  readonly verify: {
    readonly order: { readonly scope: "all" | "sample" | "since-unclean" };
    readonly result: UpkeepSummary;
  };
  readonly collect: {
    readonly order: { readonly dryRun: boolean };
    readonly result: UpkeepSummary;
  };
  readonly credentials: {
    readonly order: OfRevision;
    readonly result: readonly CredentialReport[];
  };
  /** Tells the store what must not be collected. */
  readonly keep: {
    readonly order: {
      readonly revisions: RecordsInRoles;
      /** Further names, of whatever role, beside those of what the inputs name in registries that steer. */
      readonly names: readonly string[];
    };
    readonly result: null;
  };
  readonly disk: {
    readonly order: { readonly revisions: RecordsInRoles };
    readonly result: DiskUse;
  };
}

/** Records of the revisions that play a part, by the part. */
export type RecordsInRoles = Readonly<Partial<Record<"active" | "staged" | "previous", string>>>;

/** The name of a piece of work. */
export type WorkKind = keyof WorkKinds;

/** The pieces of work that are done for a revision. */
export type WorkOfRevision = "stage" | "activate" | "drift" | "prove" | "credentials";

interface OfRevision {
  readonly record: string;
}

/** All that a process must know to do one piece of work. */
export interface WorkOrder<K extends WorkKind = WorkKind> {
  /** Of the program: another one may mean something else by an order. */
  readonly version: string;
  readonly kind: K;
  readonly order: WorkKinds[K]["order"];
  readonly site: WorkSite;
}

/** The site that work is done at. */
export interface WorkSite {
  readonly sources: PlanSources;
  readonly dataDir: string;
  /** What holds of the site file until the agent is started again. */
  readonly started: StartedSite;
  /** By which registries, runtime and link are dealt with; null: as the files are now. */
  readonly inputs: KeptInputs | null;
}

/** What reading the inputs comes to. */
export interface InputsRead {
  readonly seen: InputsSeen;
  readonly inputs: KeptInputs;
  readonly watched: Versions;
  readonly settings: SiteSettings;
}

/** What keeps the inputs from being read, and what was read until then: a change of it may mend that. */
export interface InputsUnread {
  readonly failure: ToldFailure;
  readonly watched: Versions;
}
