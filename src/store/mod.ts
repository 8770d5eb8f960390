/**
 * The content-addressed store on disk: a valid OCI image layout in which nothing unverified is ever
 * visible, not after a crash and not for a moment.
 *
 * One process writes. What is not here: collecting, re-hashing, and going on with half a blob.
 *
 * @module
 */
export { type Disk, type DiskFile, systemDisk } from "./disk.ts";
export { type DiskStore, openStore, type StoreOptions } from "./store.ts";
