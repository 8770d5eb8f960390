/**
 * The content-addressed store on disk: a valid OCI image layout in which nothing unverified is ever
 * visible, not after a crash and not for a moment.
 *
 * One process writes. Content that is not all here is kept, and gone on with at the byte, also after
 * the death of the process or of the machine. What is not here: collecting, and re-hashing.
 *
 * @module
 */
export { type Disk, type DiskFile, systemDisk } from "./disk.ts";
export { type LayoutSource, openLayout } from "./layout-source.ts";
export { createDiskLedger } from "./ledger.ts";
export { type DiskStore, openStore, type StoreOptions } from "./store.ts";
