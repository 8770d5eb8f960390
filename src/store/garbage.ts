import type { Clock } from "#base";
import type { Digest } from "#oci";
import { attachedTo } from "./attached-names.ts";
import type { Blobs } from "./blobs.ts";
import type { StoreDatabase } from "./database.ts";
import type { Disk, FileStatus } from "./disk.ts";
import { latestGeneration, openGeneration, undeclared } from "./generations.ts";
import { blobPath, type Layout, trashPath } from "./layout.ts";
import {
  type KnownDocuments,
  linksIn,
  type MarkOptions,
  type MarkTrouble,
  mark,
  type Root,
  rootsIn,
} from "./mark.ts";
import { REPOSITORIES_SINCE } from "./schema.ts";
import type { Chosen, Trash } from "./trash.ts";

/** What is needed to tell what nobody needs. */
export interface GarbagePlace {
  readonly database: StoreDatabase;
  readonly layout: Layout;
  readonly disk: Disk;
  readonly blobs: Blobs;
  readonly trash: Trash;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What nobody names stays for so long, in milliseconds. */
  readonly graceMs: number;
}

/** Whether content of these times may go: old enough for all who may be about to name it. */
type IsOld = (timeMs: number) => boolean;

/** What is to go, as the first look found it. */
export interface Found {
  readonly chosen: readonly Chosen[];
  readonly names: readonly Root[];
  /** As of which plan the names may go. */
  readonly generation: string;
  readonly live: number;
  readonly young: { readonly blobs: number; readonly bytes: number };
  readonly trouble: readonly MarkTrouble[];
}

/**
 * Tells what of a store nobody needs: blobs that nothing leads to, and names that no plan declares. It
 * changes nothing. One is made for one collection: it remembers the documents that it has read.
 */
export class Garbage {
  readonly #database: StoreDatabase;
  readonly #place: GarbagePlace;
  readonly #known: KnownDocuments = new Map();
  readonly #isOld: IsOld;
  #live: ReadonlySet<Digest> = new Set();

  constructor(place: GarbagePlace) {
    this.#database = place.database;
    this.#place = place;
    // Before anything is marked: what a delivery names by its end is then either seen or young.
    this.#isOld = this.#createAge();
  }

  /** Whether what was said of content at that time, in milliseconds since 1970, is so old that it may go. */
  isOld(timeMs: number): boolean {
    return this.#isOld(timeMs);
  }

  /** Whether anything led to the content when it was last looked. */
  isLive(digest: Digest): boolean {
    return this.#live.has(digest);
  }

  /** Looks at everything. */
  async find(): Promise<Found> {
    const generation = this.generation();
    const dropped = new Set(this.#undeclaredNames());
    const roots = rootsIn(this.#database);
    let names = roots.filter(({ name }) => dropped.has(name));
    let staying = roots.filter(({ name }) => !dropped.has(name));
    let marks = await this.#mark(staying);
    // What belongs to what stays does too, and so does what belongs to that.
    for (let more = attachedTo(marks.live, staying, names); more.length > 0; ) {
      names = names.filter((root) => !more.includes(root));
      staying = [...staying, ...more];
      marks = await this.#mark(staying);
      more = attachedTo(marks.live, staying, names);
    }
    const chosen: Chosen[] = [];
    const young = { blobs: 0, bytes: 0 };
    let live = 0;
    for (const digest of await this.#list()) {
      this.#place.signal.throwIfAborted();
      if (marks.live.has(digest)) {
        live += 1;
        continue;
      }
      const status = await this.status(digest);
      if (status === undefined) continue;
      if (this.#isOld(status.modifiedMs)) chosen.push({ digest, ...status });
      else {
        young.blobs += 1;
        young.bytes += status.size;
      }
    }
    return { chosen, names, generation, live, young, trouble: marks.trouble };
  }

  /** Marks all again, as it is by now; what is reached is told at once. */
  async lookAgain(onReach: (digest: Digest) => Promise<void>): Promise<readonly MarkTrouble[]> {
    return (await this.#mark(rootsIn(this.#database), onReach)).trouble;
  }

  /** As of which plan names may go. */
  generation(): string {
    const isKnown = this.#database.hasVersion(REPOSITORIES_SINCE);
    return isKnown ? latestGeneration(this.#database) : "";
  }

  /** What the file of content is, also of what is about to be removed. */
  async status(digest: Digest): Promise<FileStatus | undefined> {
    const { disk, layout } = this.#place;
    return (await disk.status(blobPath(layout, digest))) ?? disk.status(trashPath(layout, digest));
  }

  /** What is known to have named the chosen: names that go with it, and repositories. For people. */
  async lastNames({ chosen, names }: Found): Promise<ReadonlyMap<Digest, readonly string[]>> {
    const found = new Map<Digest, string[]>(chosen.map(({ digest }) => [digest, []]));
    for (const root of names) {
      const { live } = await mark([root], { ...this.#place, known: this.#known });
      for (const digest of live) found.get(digest)?.push(root.name);
    }
    for (const { digest, repository } of linksIn(this.#database)) {
      found.get(digest)?.push(repository);
    }
    return found;
  }

  /** Keeps what has an age of less than the grace, or a negative one: then the clock was set back. */
  #createAge(): IsOld {
    const { clock, graceMs } = this.#place;
    const nowMs = clock.now();
    const open = this.#database.hasVersion(REPOSITORIES_SINCE)
      ? openGeneration(this.#database)
      : undefined;
    // Of one that began in the future nothing can be told by times.
    const sinceMs = open === undefined || open.begunMs <= nowMs ? open?.begunMs : 0;
    const firstMs = sinceMs ?? Number.POSITIVE_INFINITY;
    return (timeMs) => nowMs - timeMs >= graceMs && timeMs < firstMs;
  }

  #undeclaredNames(): readonly string[] {
    if (!this.#database.hasVersion(REPOSITORIES_SINCE)) return [];
    const sql = `SELECT name ${undeclared(this.#database)}`;
    const rows = this.#database.rows<{ readonly name: string }>(sql);
    return rows.map(({ name }) => name);
  }

  /** What the roots lead to, and what repositories were given lately. */
  async #mark(roots: readonly Root[], onReach?: MarkOptions["onReach"]) {
    const marks = await mark(roots, {
      ...this.#place,
      known: this.#known,
      ...(onReach === undefined ? {} : { onReach }),
    });
    const live = new Set(marks.live);
    for (const { digest, linkedMs } of linksIn(this.#database)) {
      if (this.#isOld(linkedMs)) continue;
      await onReach?.(digest);
      live.add(digest);
    }
    this.#live = live;
    return { live, trouble: marks.trouble };
  }

  async #list(): Promise<readonly Digest[]> {
    const { trash, blobs } = this.#place;
    return [...new Set([...(await trash.left()), ...(await blobs.list())])].sort();
  }
}
