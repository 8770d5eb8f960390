import { type Clock, Failure, isFailure, quoted } from "#base";
import type { Blobs } from "./blobs.ts";
import { StoreDatabase } from "./database.ts";
import type { Disk } from "./disk.ts";
import { damageIn, isDamage } from "./failure.ts";
import { Journal } from "./journal.ts";
import { freeQuarantinePath, type Layout, type WriterRole } from "./layout.ts";
import { type Lock, takeLock } from "./lock.ts";
import { recoverNames } from "./recover-names.ts";
import { type PushedRows, readPushed, restorePushed } from "./recover-pushed.ts";
import { Trash } from "./trash.ts";

/**
 * For so long nothing is collected that was here when the database was lost: what nobody names any more
 * may be what a plan declares, which says so again with its next delivery, and the link may be down.
 */
const KEPT_MS = 7 * 24 * 3600 * 1000;

/** What was made of a store whose database was damaged, or gone. */
export interface DatabaseRecovery {
  /** What was wrong with it, in words. */
  readonly problem: string;
  /** Where it lies now, relative to the data folder; undefined when there was none. */
  readonly quarantined?: string;
  /** How many names of what was delivered came back. */
  readonly names: number;
  /** How many pushed manifests could still be read, and have their repositories and tags again. */
  readonly manifests: number;
}

/** What is needed to open the database of a store. */
export interface DatabasePlace {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly blobs: Blobs;
}

/**
 * Opens the database to write. One that is damaged is moved into `quarantine/`, and a new one takes its
 * place: no blob is lost, what was delivered has its names again, and of what was pushed whatever can
 * still be read. What an agent had staged is staged anew. It is said in the journal.
 *
 * @param role whose lock the caller holds
 * @throws {Failure} `store-newer`; `store-broken` when another process has the damaged database open;
 *   errors of the system and of SQLite as they are
 */
export async function openDatabase(
  place: DatabasePlace,
  role: WriterRole,
): Promise<{ readonly database: StoreDatabase; readonly recovery?: DatabaseRecovery }> {
  const { layout } = place;
  const damage = await openSound(place);
  if (damage instanceof StoreDatabase) {
    // Whoever made it may have died before it came as far as the names.
    await recoverNames({ ...place, database: damage });
    return { database: damage };
  }
  const { problem } = damage;
  const locks = await takeOtherLocks(place, role, problem);
  try {
    const trash = new Trash(layout, place.disk);
    await trash.putBack(await trash.left());
    await place.blobs.keepAll(place.clock.now() + KEPT_MS);
    const pushed = readPushed(layout.database);
    const quarantined = await setAside(place);
    const database = StoreDatabase.openForWriting(layout.database);
    try {
      return {
        database,
        recovery: await refill(database, { ...place, pushed, problem, quarantined }),
      };
    } catch (error) {
      database.close();
      throw error;
    }
  } finally {
    for (const lock of locks) lock.release();
  }
}

async function openSound({
  layout,
  disk,
}: DatabasePlace): Promise<StoreDatabase | { readonly problem: string }> {
  // A store that was open once has an index: its database can't be new.
  const isUsed = (await disk.sizeOf(layout.index)) !== undefined;
  if (isUsed && !(await disk.sizeOf(layout.database))) return { problem: "it is gone, or empty" };
  try {
    return StoreDatabase.openForWriting(layout.database);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { problem: damageIn(error) };
  }
}

/** Whoever has the database open would go on with it, and nobody would see what they write. */
async function takeOtherLocks(
  { layout, disk, clock }: DatabasePlace,
  own: WriterRole,
  problem: string,
): Promise<readonly Lock[]> {
  const locks: Lock[] = [];
  try {
    for (const role of ["delivery", "registry", "collection"] as const) {
      if (role !== own) locks.push(await takeLock(disk, layout.dataDir, { role, clock }));
    }
    return locks;
  } catch (error) {
    for (const lock of locks) lock.release();
    if (!isFailure(error, "store-locked")) throw error;
    throw new Failure({
      code: "store-broken",
      message: `Cannot set the database of ${quoted(layout.dataDir)} aside, which is damaged (${problem}): another \`dray\` has it open, expected none`,
      hint: `${error.hint}: the next one to open it alone gets a new database, and no blob is lost`,
      cause: error,
    });
  }
}

/** The database before its log: a log that is left alone is no database, and SQLite removes it. */
async function setAside({ layout, disk }: DatabasePlace): Promise<string | undefined> {
  const { database, quarantine, dataDir } = layout;
  const isThere = ((await disk.sizeOf(database)) ?? 0) > 0;
  const target = isThere ? await freeQuarantinePath(disk, layout, "drayage.db") : undefined;
  if (target !== undefined) {
    await disk.makeFolder(quarantine);
    await disk.rename(database, target);
    if ((await disk.sizeOf(`${database}-wal`)) !== undefined) {
      await disk.rename(`${database}-wal`, `${target}-wal`);
    }
    await disk.syncFolder(quarantine);
  }
  for (const end of ["", "-wal", "-shm"]) await disk.remove(`${database}${end}`);
  await disk.syncFolder(dataDir);
  return target?.slice(dataDir.length + 1);
}

interface Remains extends DatabasePlace {
  readonly pushed: PushedRows;
  readonly problem: string;
  readonly quarantined: string | undefined;
}

async function refill(
  database: StoreDatabase,
  { layout, disk, clock, blobs, pushed, problem, quarantined }: Remains,
): Promise<DatabaseRecovery> {
  const [names, manifests] = await Promise.all([
    recoverNames({ layout, disk, blobs, database }),
    restorePushed(database, blobs, pushed),
  ]);
  const recovery = {
    problem,
    ...(quarantined === undefined ? {} : { quarantined }),
    names,
    manifests,
  };
  const journal = new Journal({ database, clock, requireWriter() {}, failure: (error) => error });
  // A disk that is full has room for the names, if for anything; that it is said can wait for nobody.
  await journal
    .add("database-replaced", { text: textOf(recovery), level: "warning", by: null, ...recovery })
    .catch(() => {});
  return recovery;
}

/** A recovery as a sentence for people. */
export function textOf({ problem, quarantined, names, manifests }: DatabaseRecovery): string {
  const where = quarantined === undefined ? "" : ` and lies in ${quarantined} now`;
  return `The database of the store was damaged (${problem})${where}; no content is lost: ${names} delivered names and ${manifests} pushed manifests are known again`;
}
