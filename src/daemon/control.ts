import type { DeliveryEvent } from "#deliver";
import type { ActionName, ImageState, JournalEntry, SiteState, UplinkSlice } from "./state.ts";

/** Which of the agent's revisions. */
export type RevisionRole = "active" | "staged" | "previous";

/** Something that readers of the agent are told at once. */
export type AgentNews =
  /** The state changed; told at most four times a second. */
  | { readonly type: "state"; readonly state: SiteState }
  | { readonly type: "journal"; readonly entry: JournalEntry }
  /** Of the delivery at work, as `dray deliver -o json` prints them, without those of bytes. */
  | { readonly type: "delivery"; readonly event: DeliveryEvent };

/** The agent as its API, its page and its metrics see it. */
export interface AgentControl {
  /** Never waits: it is kept up to date. */
  state(): SiteState;
  /** Calls until the returned function is called. A listener that throws is left out. */
  subscribe(listener: (news: AgentNews) => void): () => void;
  /** @throws {Failure} `revision-missing`: there is none in that role */
  images(role: RevisionRole): Promise<readonly ImageState[]>;
  /** @throws {Failure} `revision-missing`, `image-unknown` */
  explain(role: RevisionRole, reference: string): Promise<unknown>;
  /** The plan's document. @throws {Failure} `revision-missing` */
  plan(role: RevisionRole): unknown;
  /**
   * Whether the site was proven since the agent started, holds what it declares, and serves it. Never waits.
   */
  isReadyOffline(): boolean;
  /** The whole document of the last proof as a text of JSON; null when there was none yet. */
  proof(): string | null;
  /** Newest first. @throws {Failure} `store-broken`, `store-busy` */
  journal(page: {
    readonly before?: number;
    readonly limit: number;
  }): Promise<readonly JournalEntry[]>;
  /** Oldest first; about 300 slices whatever the time. */
  uplink(hours: number): readonly UplinkSlice[];
  /**
   * Starts what an operator asks for; it goes on after this resolves. It is in the journal with `by`.
   *
   * @throws {Failure} `action-refused`: it can't be done now, and why
   */
  act(
    action: ActionName,
    by: string,
    options?: { readonly full?: boolean; readonly dryRun?: boolean },
  ): Promise<void>;
  /** Numbers that only grow, since the agent started: the metrics read these. */
  counters(): AgentCounters;
}

/** Counted since the agent started; bytes and events. */
export interface AgentCounters {
  /** Bytes of bodies over the uplink, by registry and by stage. */
  readonly uplinkBytes: readonly {
    readonly registry: string;
    readonly stage: string;
    readonly bytes: number;
  }[];
  readonly uploadBytes: number;
  readonly deliveries: Readonly<Record<"done" | "failed" | "interrupted", number>>;
  /** Of images and uploads, by code. */
  readonly failures: readonly { readonly code: string; readonly count: number }[];
  readonly retries: number;
  readonly resumes: number;
}
