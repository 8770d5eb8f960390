import { join, resolve } from "node:path";
import { type Clock, Failure, quoted } from "#base";
import { Blobs } from "./blobs.ts";
import { StoreDatabase } from "./database.ts";
import { type Disk, readText, replaceFile, systemDisk } from "./disk.ts";
import { storeFailure } from "./failure.ts";
import { IndexFile } from "./index-file.ts";
import {
  isPartialName,
  LAYOUT_MARKER,
  type Layout,
  layoutOf,
  refuseAlien,
  type WriterRole,
} from "./layout.ts";
import { type Lock, takeLock } from "./lock.ts";
import { NameTable } from "./names.ts";
import { openDatabase } from "./open-database.ts";
import { logPath, readPartial } from "./partial-file.ts";
import { forgetOldPushSessions } from "./push-sessions.ts";
import { DiskStore, type StorePlace } from "./store.ts";
import { UploadTable } from "./upload-table.ts";
import { DiskUploads } from "./uploads.ts";
import { beginRun } from "./writer-run.ts";

/** How to open a store. */
export interface StoreOptions {
  readonly clock: Clock;
  /** Takes no lock and changes nothing; sees what the writers have committed. */
  readonly readOnly?: boolean;
  /** What for, when it is to be written to; one process at a time has each. A delivery by default. */
  readonly role?: WriterRole;
  /**
   * A delivery for the process that has {@link reserveDeliveries reserved} them, which started this one.
   * An earlier one may still be ending, after its own process died: it is waited for.
   */
  readonly isReserved?: boolean;
  /** The machine's disk, unless a test stands in its way. */
  readonly disk?: Disk;
}

/**
 * Opens the store of a data folder. One process delivers and one is a registry, at the same time if
 * need be; any number may look beside them.
 *
 * @throws {Failure} `store-locked` when another process has the role; `store-missing` when there is
 *   nothing to look at; `store-unusable`, `store-newer`, `store-full`, `store-broken`
 */
export async function openStore(dataDir: string, options: StoreOptions): Promise<DiskStore> {
  const { clock, readOnly = false, role = "delivery", disk = systemDisk } = options;
  const layout = layoutOf(resolve(dataDir), role);
  const place = { layout, disk, clock, blobs: new Blobs(layout, disk, clock) };
  try {
    if (readOnly) return await openReader(place);
    const isOwn = role === "delivery" && options.isReserved !== true;
    const waitMs = options.isReserved === true ? ENDING_MS : 0;
    return await openWriter(place, { role, waitMs, isOwn });
  } catch (error) {
    const attempt = { verb: "open", object: "the store", dataDir: layout.dataDir };
    throw storeFailure(error, attempt);
  }
}

/** What a process whose other half died needs to end, which it does at once, and much more. */
const ENDING_MS = 10_000;

/**
 * Keeps deliveries to this process, and to those that it starts and lets deliver for it, until the lock is
 * released. Makes the data folder where there is none.
 *
 * @throws {Failure} `store-locked` when another process delivers or has reserved it; `store-unusable`
 */
export async function reserveDeliveries(
  dataDir: string,
  { clock, disk = systemDisk }: Pick<StoreOptions, "clock" | "disk">,
): Promise<Lock> {
  const layout = layoutOf(resolve(dataDir));
  try {
    await disk.makeFolder(layout.dataDir);
    await refuseAlien(disk, layout);
    return await takeLock(disk, layout.dataDir, { role: "deliveries", clock });
  } catch (error) {
    const attempt = { verb: "open", object: "the store", dataDir: layout.dataDir };
    throw storeFailure(error, attempt);
  }
}

async function openReader(place: StorePlace): Promise<DiskStore> {
  const { layout, disk } = place;
  const isThere = (await disk.sizeOf(layout.database)) !== undefined;
  const database = isThere ? StoreDatabase.openForReading(layout.database) : undefined;
  if (database !== undefined) return new DiskStore(place, database);
  throw new Failure({
    code: "store-missing",
    message: `Cannot open store ${quoted(layout.dataDir)}: there is none yet, expected one that was delivered to`,
    hint: "Run `dray deliver` first, or name the right folder with `--data-dir`",
  });
}

interface WriterOptions {
  readonly role: WriterRole;
  readonly waitMs: number;
  /** Deliveries are kept to this process as long as the store is open. */
  readonly isOwn: boolean;
}

async function openWriter(
  place: StorePlace,
  { role, waitMs, isOwn }: WriterOptions,
): Promise<DiskStore> {
  const { layout, disk, clock, blobs } = place;
  await disk.makeFolder(layout.dataDir);
  await refuseAlien(disk, layout);
  const reservation = isOwn
    ? await takeLock(disk, layout.dataDir, { role: "deliveries", clock })
    : undefined;
  let lock: Lock;
  try {
    lock = both(await takeLock(disk, layout.dataDir, { role, clock, waitMs }), reservation);
  } catch (error) {
    reservation?.release();
    throw error;
  }
  let database: StoreDatabase | undefined;
  try {
    await prepareFolders(layout, disk);
    const opened = await openDatabase({ layout, disk, clock, blobs }, role);
    database = opened.database;
    await bringUpToDate(layout, disk, database);
    // A disk that is full has no room even for that, and what is on it must be served.
    await forgetOldPushSessions(database, clock.now()).catch(() => {});
    const table = new UploadTable(database);
    const publish = blobs.publishNew.bind(blobs);
    const uploads =
      role === "registry"
        ? await DiskUploads.open({ layout, disk, clock, table, publish })
        : undefined;
    const run = await beginRun(disk, layout, clock);
    return new DiskStore(place, database, { lock, run, uploads, recovery: opened.recovery });
  } catch (error) {
    database?.close();
    lock.release();
    throw error;
  }
}

function both(lock: Lock, other: Lock | undefined): Lock {
  return {
    release() {
      lock.release();
      other?.release();
    },
  };
}

async function prepareFolders(layout: Layout, disk: Disk): Promise<void> {
  await removeJunk(layout, disk);
  await disk.makeFolder(layout.ingest);
  // Now, because a disk that is full has no room for it when a collection is to make some.
  await disk.makeFolder(layout.trash);
  await disk.makeFolder(join(layout.blobs, "sha256"));
  await disk.makeFolder(join(layout.blobs, "sha512"));
  await disk.syncFolder(layout.blobs);
}

async function bringUpToDate(layout: Layout, disk: Disk, database: StoreDatabase): Promise<void> {
  const { marker: path, dataDir: folder, ingest } = layout;
  if ((await readText(disk, path)) !== LAYOUT_MARKER) {
    await replaceFile(disk, { path, folder, draft: join(ingest, "draft") }, LAYOUT_MARKER);
  }
  await new IndexFile(layout, disk, new NameTable(database)).check();
  await disk.syncFolder(folder);
}

/**
 * Of what a writer that died left in its `ingest/`, content that can be gone on with stays; the rest
 * is nobody's: this process is the only one of its role.
 */
async function removeJunk({ ingest }: Layout, disk: Disk): Promise<void> {
  const entries = await disk.list(ingest);
  const bootId = (await disk.bootId()) ?? "";
  const kept = new Set<string>();
  for (const entry of entries) {
    const path = join(ingest, entry);
    if (!isPartialName(entry) || (await readPartial(disk, path, { bootId })).length === 0) continue;
    kept.add(path).add(logPath(path));
  }
  for (const entry of entries) {
    const path = join(ingest, entry);
    if (!kept.has(path)) await disk.remove(path);
  }
}
