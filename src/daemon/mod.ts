/**
 * The agent: the one process on a host that keeps the site as its inputs want it. It reads them, stages
 * what is new completely before it activates it, comes back to what was before when it is told to, proves,
 * cleans up, and tells in one document how the site is.
 *
 * What it drives it sees through a port of its own, `Operations`. Where it is between what is wanted and
 * what is, it decides by pure functions (`course`, `decide`).
 *
 * @module
 */

export { type Agent, type AgentOptions, type AgentRecords, createAgent } from "./agent.ts";
export { type AgentJournal, entryOf, type JournalLine } from "./chronicle.ts";
export type { AgentControl, AgentCounters, AgentNews, RevisionRole } from "./control.ts";
export { compileSeldom } from "./engine.ts";
export type {
  ActivationStep,
  ActivationSummary,
  DiskUse,
  ImageWhereabouts,
  InputsSeen,
  LinkState,
  Operations,
  ProofSummary,
  Revision,
  Trouble,
  UpkeepSummary,
  Ways,
  Work,
} from "./operations.ts";
export {
  type AddressDoorOptions,
  addressDoor,
  type DoorOptions,
  socketDoor,
} from "./server/doors.ts";
export { refuseExposure as refuseApiExposure } from "./server/serve.ts";
export { type ActivationPolicy, type AgentSettings, DEFAULT_AGENT_SETTINGS } from "./settings.ts";
export {
  ACTION_NAMES,
  type ActionName,
  type Activity,
  type DeliveryState,
  type ImageState,
  type JournalEntry,
  type PartState,
  type RevisionState,
  type SiteState,
  type UplinkSlice,
  type Warning,
} from "./state.ts";
export type { Part } from "./supervise.ts";
