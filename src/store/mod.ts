/**
 * The content-addressed store on disk: a valid OCI image layout in which nothing unverified is ever
 * visible, not after a crash and not for a moment.
 *
 * Two processes may write, a delivery and a registry. Content that is not all here is kept, and gone on
 * with at the byte, also after the death of the process or of the machine. What
 * nothing leads to any more is collected, without a lock that anybody would wait for.
 *
 * @module
 */
export type { NamingStore } from "./blob-places.ts";
export {
  type CollectedBlob,
  type Collection,
  type CollectOptions,
  collectStore,
  GRACE_MS,
  GRACE_MS_MIN,
} from "./collect.ts";
export { type Disk, type DiskFile, systemDisk } from "./disk.ts";
export type { GenerationRole } from "./generations.ts";
export { holdNames } from "./hold-names.ts";
export type { Journal, JournalData, JournalEntry, JournalQuery } from "./journal.ts";
export type { WriterRole } from "./layout.ts";
export { type LayoutSource, openLayout } from "./layout-source.ts";
export { createDiskLedger } from "./ledger.ts";
export type { MarkTrouble } from "./mark.ts";
export { nameOfRevision } from "./names.ts";
export { openStore, reserveDeliveries, type StoreOptions } from "./open-store.ts";
export type { CoreSearch, HandedOver, ProviderMemory } from "./provider-memory.ts";
export type { KeptRevision, KeptRevisions } from "./revisions.ts";
export type { DiskStore } from "./store.ts";
export type { UplinkMinute } from "./uplink-minutes.ts";
export {
  type Verification,
  type VerifyOptions,
  type VerifyScope,
  verifyStore,
  type WrongBlob,
} from "./verify.ts";
