import { join, resolve } from "node:path";
import { assert, type Clock, Failure, isFailure, quoted, systemErrorCode } from "#base";
import type { Digest } from "#oci";
import { Blobs } from "./blobs.ts";
import { StoreDatabase } from "./database.ts";
import { type Disk, systemDisk } from "./disk.ts";
import { storeFailure } from "./failure.ts";
import { type Found, Garbage } from "./garbage.ts";
import { undeclared } from "./generations.ts";
import { IndexFile } from "./index-file.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { takeLock } from "./lock.ts";
import type { MarkTrouble } from "./mark.ts";
import { NameTable } from "./names.ts";
import { dropStaleLinks } from "./stale-links.ts";
import { type Chosen, Trash } from "./trash.ts";

/** How long what nobody names stays by default, since it was committed, linked or leased last (S-82). */
export const GRACE_MS: number = 60 * 60 * 1000;

/** Less would not cover the time between a lease and the name that it is for. */
export const GRACE_MS_MIN: number = 60 * 1000;

/** So many blobs are away at a time while it is looked again whether anybody wants them. */
const BATCH_BLOBS = 500;

/** How to collect. */
export interface CollectOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** {@link GRACE_MS} by default, {@link GRACE_MS_MIN} at least. */
  readonly graceMs?: number;
  /** Says what would be removed; changes nothing. */
  readonly isDryRun?: boolean;
  /** The machine's disk, unless a test stands in its way. */
  readonly disk?: Disk;
}

/** A blob that was removed, or would be. */
export interface CollectedBlob {
  readonly digest: Digest;
  readonly size: number;
  /** What is known to have named it: names that are removed with it, and repositories it was pushed to. */
  readonly lastNamed: readonly string[];
}

/** What a collection did, or would do. */
export interface Collection {
  readonly blobs: readonly CollectedBlob[];
  readonly bytes: number;
  /** Names of delivered images that neither the current nor the previous plan declares, in order. */
  readonly names: readonly string[];
  /** What nobody names either, and is too young to go. */
  readonly young: { readonly blobs: number; readonly bytes: number };
  /** Blobs that are here and that somebody needs, or may be about to need. */
  readonly live: number;
  /** Why nothing was removed: it can't be known what is live. */
  readonly trouble: readonly MarkTrouble[];
}

/**
 * Removes the blobs that nothing leads to, and the names that no plan declares any more. It runs beside a
 * delivery and a registry, and holds neither up; a lock keeps a second collection away.
 *
 * What is live is marked first. What is not, and is older than the grace, is moved into `trash/`; then
 * all is marked again, what is reached now is put back, and only the rest is removed. Whoever is about to
 * name content leases it before (`Store.lease`), so what is named after the second look is younger than
 * the grace, or not there for whoever wants to name it. All that a delivery has brought or found since it
 * began stays until it is over.
 *
 * Interrupted anywhere, the next one begins by putting back what is in `trash/`. It needs no room on the
 * disk: where the database can't be changed before there is some, blobs that nothing names go first.
 *
 * @throws {Failure} `store-missing`, `store-locked`, `store-unusable`, `store-broken`, `store-full`
 */
export async function collectStore(dataDir: string, options: CollectOptions): Promise<Collection> {
  const { disk = systemDisk, clock, isDryRun = false, graceMs = GRACE_MS } = options;
  assert(graceMs >= GRACE_MS_MIN, "the grace of a collection covers what is being named");
  const layout = layoutOf(resolve(dataDir));
  try {
    if ((await disk.sizeOf(layout.database)) === undefined) throw missing(layout);
    if (isDryRun) return await collectWith(openForReading(layout), { ...options, layout, disk });
    const lock = await takeLock(disk, layout.dataDir, { role: "collection", clock });
    try {
      const database = StoreDatabase.openForWriting(layout.database);
      return await collectWith(database, { ...options, layout, disk });
    } finally {
      lock.release();
    }
  } catch (error) {
    throw storeFailure(error, { verb: "collect", object: "the store", dataDir: layout.dataDir });
  }
}

function openForReading(layout: Layout): StoreDatabase {
  const database = StoreDatabase.openForReading(layout.database);
  if (database === undefined) throw missing(layout);
  return database;
}

function missing({ dataDir }: Layout): Failure {
  return new Failure({
    code: "store-missing",
    message: `Cannot collect store ${quoted(dataDir)}: there is none yet, expected one that was delivered to`,
    hint: "Run `dray deliver` first, or name the right folder with `--data-dir`",
  });
}

interface Place extends CollectOptions {
  readonly layout: Layout;
  readonly disk: Disk;
}

async function collectWith(database: StoreDatabase, place: Place): Promise<Collection> {
  try {
    return await new Collecting(database, place).run();
  } finally {
    database.close();
  }
}

class Collecting {
  readonly #database: StoreDatabase;
  readonly #place: Place;
  readonly #trash: Trash;
  readonly #garbage: Garbage;
  readonly #blobs: CollectedBlob[] = [];
  readonly #names = new Set<string>();

  constructor(database: StoreDatabase, place: Place) {
    const { layout, disk, clock, graceMs = GRACE_MS } = place;
    this.#database = database;
    this.#place = place;
    this.#trash = new Trash(layout, disk);
    const blobs = new Blobs(layout, disk, clock);
    this.#garbage = new Garbage({ ...place, database, blobs, trash: this.#trash, graceMs });
  }

  async run(): Promise<Collection> {
    const { isDryRun = false, layout, disk } = this.#place;
    if (isDryRun) return this.#report(await this.#garbage.find(), true);
    await disk.makeFolder(layout.trash);
    await disk.remove(join(layout.trash, "index.json"));
    await this.#trash.putBack(await this.#trash.left());
    let found = await this.#garbage.find();
    if (found.trouble.length > 0) return this.#report(found, false);
    let wereNamesDropped = await this.#tryDropNames(found);
    let trouble = await this.#sweep(found);
    if (!wereNamesDropped && trouble.length === 0) {
      // There is room now, if there was anything to remove; or there is another plan.
      found = await this.#garbage.find();
      wereNamesDropped = found.trouble.length === 0 && (await this.#tryDropNames(found));
      trouble = wereNamesDropped ? await this.#sweep(found) : found.trouble;
    }
    await this.#dropLinks();
    return this.#report({ ...found, trouble }, false);
  }

  /**
   * Before their content goes, and durably. False when the disk is too full for it, and when another
   * plan has come since they were found: what belongs to its images was not looked for.
   */
  async #tryDropNames({ names, generation }: Found): Promise<boolean> {
    if (names.length === 0) return true;
    const { layout, disk } = this.#place;
    const database = this.#database;
    try {
      const dropped = await database.change(() => {
        if (this.#garbage.generation() !== generation) return undefined;
        return database.rows<{ readonly name: string }>(
          `DELETE ${undeclared(database)} AND name IN (SELECT value FROM json_each(?1)) RETURNING name`,
          JSON.stringify(names.map(({ name }) => name)),
        );
      });
      if (dropped === undefined) return false;
      for (const { name } of dropped) this.#names.add(name);
    } catch (error) {
      const failure = storeFailure(error, this.#attempt());
      if (isFailure(failure, "store-full")) return false;
      throw failure;
    }
    const index = new IndexFile({ ...layout, ingest: layout.trash }, disk, new NameTable(database));
    // The next process that opens the store to write brings it up to the names.
    await index.check().catch(() => {});
    return true;
  }

  /** What stands in the way of it, if anything; then what is away is put back. */
  async #sweep(found: Found): Promise<readonly MarkTrouble[]> {
    const lastNamed = await this.#garbage.lastNames(found);
    const waiting = [...found.chosen].reverse();
    while (waiting.length > 0) {
      const away = new Map<Digest, Chosen>();
      try {
        await this.#takeSome(waiting, away);
        const trouble = await this.#lookAgain(away);
        if (trouble.length > 0) return trouble;
        for (const { digest, size } of [...away.values()]) {
          await this.#trash.remove(digest);
          away.delete(digest);
          this.#blobs.push({ digest, size, lastNamed: lastNamed.get(digest) ?? [] });
        }
      } finally {
        // Nothing is left when all went well. What can't be put back now is by the next collection.
        await this.#trash.putBack(away.keys()).catch(() => {});
      }
    }
    return [];
  }

  async #takeSome(waiting: Chosen[], away: Map<Digest, Chosen>): Promise<void> {
    for (let blob = waiting.pop(); blob !== undefined; blob = waiting.pop()) {
      this.#place.signal.throwIfAborted();
      try {
        if (await this.#trash.take(blob)) away.set(blob.digest, blob);
      } catch (error) {
        await this.#trash.putBack([blob.digest]).catch(() => {});
        // No room for one more entry in the folder: there will be when these are gone.
        if (away.size === 0 || !isFull(error)) throw error;
        waiting.push(blob);
        return;
      }
      if (away.size >= BATCH_BLOBS) return;
    }
  }

  /** Marks all again, and puts back at once what is reached. */
  async #lookAgain(away: Map<Digest, Chosen>): Promise<readonly MarkTrouble[]> {
    if (away.size === 0) return [];
    const putBack = async (digest: Digest) => {
      if (!away.has(digest)) return;
      await this.#trash.putBack([digest]);
      away.delete(digest);
    };
    return this.#garbage.lookAgain(putBack);
  }

  async #dropLinks(): Promise<void> {
    const garbage = this.#garbage;
    try {
      await dropStaleLinks(this.#database, {
        isStale: ({ linkedMs, digest }) => garbage.isOld(linkedMs) && !garbage.isLive(digest),
        isHere: async (digest) => (await garbage.status(digest)) !== undefined,
      });
    } catch (error) {
      // They harm nobody, and the next collection finds them.
      if (!isFailure(storeFailure(error, this.#attempt()), "store-full")) throw error;
    }
  }

  async #report(found: Found, isDryRun: boolean): Promise<Collection> {
    const { chosen, names, live, young, trouble } = found;
    const isSafe = isDryRun && trouble.length === 0;
    const lastNamed = isSafe ? await this.#garbage.lastNames(found) : new Map();
    const planned = chosen.map(({ digest, size }) => ({
      ...{ digest, size },
      lastNamed: lastNamed.get(digest) ?? [],
    }));
    const blobs = isSafe ? planned : this.#blobs;
    const told = isSafe ? names.map(({ name }) => name) : [...this.#names];
    return {
      blobs,
      bytes: blobs.reduce((bytes, { size }) => bytes + size, 0),
      names: told.sort(),
      ...{ young, live, trouble },
    };
  }

  #attempt() {
    return { verb: "collect", object: "the store", dataDir: this.#place.layout.dataDir };
  }
}

function isFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes(systemErrorCode(error) ?? "");
}
