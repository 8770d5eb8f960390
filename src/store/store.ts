import { randomUUID } from "node:crypto";
import { assert, type Clock, Failure, quoted } from "#base";
import {
  bytesIn,
  contentMissing,
  createVerifier,
  type FetchOptions,
  type Ingest,
  type NamedContent,
  type PushSessions,
  type Repositories,
  type Store,
  type Uploads,
} from "#content";
import type { Descriptor, Digest } from "#oci";
import { AttachmentChecks } from "./attachment-checks.ts";
import type { Blobs } from "./blobs.ts";
import type { StoreDatabase } from "./database.ts";
import type { Disk } from "./disk.ts";
import { storeFailure, storeFull } from "./failure.ts";
import { Generations } from "./generations.ts";
import { IndexFile } from "./index-file.ts";
import { DiskIngest, type HashedPrefix } from "./ingest.ts";
import { Journal } from "./journal.ts";
import { blobPath, type Layout, partialPath } from "./layout.ts";
import type { Lock } from "./lock.ts";
import { NameTable } from "./names.ts";
import { Notes } from "./notes.ts";
import { type DatabaseRecovery, textOf } from "./open-database.ts";
import { PartialFile, readPartial } from "./partial-file.ts";
import { ProviderMemory } from "./provider-memory.ts";
import { DiskPushSessions } from "./push-sessions.ts";
import { openForOnce, streamFile, unreadable } from "./read.ts";
import { DiskRepositories } from "./repositories.ts";
import { Revisions } from "./revisions.ts";
import { UplinkMinutes } from "./uplink-minutes.ts";
import type { DiskUploads } from "./uploads.ts";
import type { WriterRun } from "./writer-run.ts";

/** Where a store is, and what it lives by. */
export interface StorePlace {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly blobs: Blobs;
}

/** What the process has that may write. */
export interface StoreWriter {
  readonly lock: Lock;
  readonly run: WriterRun;
  /** In the role of a registry. */
  readonly uploads: DiskUploads | undefined;
  /** When its database was damaged. */
  readonly recovery: DatabaseRecovery | undefined;
}

/**
 * The content-addressed store of a site: an OCI image layout that other tools can read, with its
 * names in SQLite.
 *
 * Content becomes visible in one way only: written to `ingest/` and hashed on the way, compared,
 * fsynced, renamed, its folder fsynced (S-60).
 */
export class DiskStore implements Store, AsyncDisposable {
  readonly #layout: Layout;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #blobs: Blobs;
  readonly #database: StoreDatabase;
  readonly #names: NameTable;
  readonly #index: IndexFile;
  readonly #writer: StoreWriter | undefined;
  /** What was pushed. */
  readonly repositories: Repositories;
  /** What deliveries declared. */
  readonly generations: Generations;
  /** When it was last asked what belongs to images. */
  readonly attachmentChecks: AttachmentChecks;
  /** What happened here. */
  readonly journal: Journal;
  /** What came out of provider images, and what the operating system was given. */
  readonly provider: ProviderMemory;
  /** What an agent wants of the site. */
  readonly revisions: Revisions;
  /** What an agent must still know after its death. */
  readonly notes: Notes;
  /** What crossed the uplink in the last week. */
  readonly uplinkMinutes: UplinkMinutes;
  /** Uploads to other registries that may be gone on with. */
  readonly pushSessions: PushSessions;
  /** Content of which an ingest has the partial file. */
  readonly #taken = new Set<Digest>();
  /** What was hashed of partial files that no ingest has now. */
  readonly #prefixes = new Map<Digest, HashedPrefix>();
  #bootIdRead: Promise<string> | undefined;
  #ingests = 0;
  #closing: Promise<void> | undefined;

  /** Use `openStore`. */
  constructor(place: StorePlace, database: StoreDatabase, writer?: StoreWriter) {
    const { layout, disk, clock, blobs } = place;
    this.#layout = layout;
    this.#disk = disk;
    this.#clock = clock;
    this.#blobs = blobs;
    this.#database = database;
    this.#names = new NameTable(database);
    this.#index = new IndexFile(layout, disk, this.#names);
    this.#writer = writer;
    this.generations = new Generations({
      ...{ database, clock },
      requireWriter: () => this.#requireWriter(),
      failure: (error) => storeFailure(error, this.#attemptTo("record", "what a plan declares")),
    });
    this.attachmentChecks = new AttachmentChecks({
      database,
      requireWriter: () => this.#requireWriter(),
      failure: (error) => storeFailure(error, this.#attemptTo("record", "what was asked for")),
    });
    this.journal = new Journal({
      ...{ database, clock },
      requireWriter: () => this.#requireWriter(),
      failure: (error) => storeFailure(error, this.#attemptTo("use", "the journal")),
    });
    this.provider = new ProviderMemory({
      ...{ database, clock },
      requireWriter: () => this.#requireWriter(),
      failure: (error) => storeFailure(error, this.#attemptTo("record", "the provider image")),
    });
    const agentPlace = {
      database,
      requireWriter: () => this.#requireWriter(),
      failure: (error: unknown) =>
        storeFailure(error, this.#attemptTo("record", "what the agent is at")),
    };
    this.revisions = new Revisions(agentPlace);
    this.notes = new Notes(agentPlace);
    this.uplinkMinutes = new UplinkMinutes(agentPlace);
    this.pushSessions = new DiskPushSessions({
      database,
      requireWriter: () => this.#requireWriter(),
      failure: (error) => storeFailure(error, this.#attemptTo("record", "an upload")),
    });
    this.repositories = new DiskRepositories({
      ...{ database, clock },
      has: (descriptor) => this.has(descriptor),
      lease: (descriptor) => this.lease(descriptor),
      requireWriter: () => this.#requireWriter(),
      failure: (error, repository) =>
        storeFailure(error, this.#attemptTo("use repository", quoted(repository))),
    });
  }

  /** What became of a damaged database when this store was opened: a sentence for people, if it was. */
  get recoveryText(): string | undefined {
    const recovery = this.#writer?.recovery;
    return recovery && textOf(recovery);
  }

  /** What is being pushed. Only a store that is open in the role of a registry has it. */
  get uploads(): Uploads {
    const uploads = this.#writer?.uploads;
    assert(uploads !== undefined, "uploads are asked for of a store that is open for a registry");
    return uploads;
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return this.#attempt("look for", descriptor.digest, () => this.#blobs.has(descriptor));
  }

  lease(descriptor: Descriptor): Promise<boolean> {
    if (this.#writer === undefined) return this.has(descriptor);
    return this.#attempt("look for", descriptor.digest, () => this.#blobs.lease(descriptor));
  }

  async bytesHere(descriptor: Descriptor): Promise<number> {
    const { digest, size } = descriptor;
    if (await this.has(descriptor)) return size;
    if (this.#taken.has(digest)) return 0;
    return this.#attempt("look for", digest, async () => {
      const wanted = { size, bootId: await this.#bootId() };
      return bytesIn(await readPartial(this.#disk, partialPath(this.#layout, digest), wanted));
    });
  }

  /** Bytes that may still be written; undefined where the file system does not say. */
  freeBytes(): Promise<number | undefined> {
    return this.#disk.freeBytes(this.#layout.ingest).catch(() => undefined);
  }

  async fetch(
    descriptor: Descriptor,
    { signal, range }: FetchOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    signal.throwIfAborted();
    if (!(await this.has(descriptor))) throw contentMissing(descriptor);
    const wanted = range ?? { start: 0, end: descriptor.size };
    const opened = await this.#attempt("read", descriptor.digest, () =>
      openForOnce(this.#disk, blobPath(this.#layout, descriptor.digest), wanted),
    );
    if (opened === undefined) throw contentMissing(descriptor);
    return streamFile(opened.file, {
      range: wanted,
      signal,
      isPastCache: opened.isPastCache,
      failure: (error) => unreadable(descriptor, error),
    });
  }

  /**
   * The content as a file that is opened when it is read, so that a server can send it, or a range of
   * it, without a copy in this process.
   *
   * @throws {Failure} `content-missing`
   */
  async openBlob(descriptor: Descriptor): Promise<Blob> {
    if (!(await this.has(descriptor))) throw contentMissing(descriptor);
    return Bun.file(blobPath(this.#layout, descriptor.digest));
  }

  /** @throws {Failure} `store-full` at once when the content can't fit, before anything crosses the link */
  async ingest(descriptor: Descriptor): Promise<Ingest> {
    this.#requireWriter();
    const { digest } = descriptor;
    // One ingest goes on with what is left of the content; another beside it has a file of its own.
    const isOwner = !this.#taken.has(digest);
    if (isOwner) this.#taken.add(digest);
    try {
      return await this.#beginIngest(descriptor, isOwner);
    } catch (error) {
      if (isOwner) this.#taken.delete(digest);
      throw storeFailure(error, this.#attemptTo("store", digest));
    }
  }

  async #beginIngest(descriptor: Descriptor, isOwner: boolean): Promise<Ingest> {
    const { digest, size } = descriptor;
    this.#ingests += 1;
    const own = partialPath(this.#layout, digest);
    const path = isOwner ? own : `${own}.${this.#ingests}`;
    const bootId = await this.#bootId();
    const partial = await PartialFile.open(this.#disk, {
      path,
      folder: this.#layout.ingest,
      size,
      bootId,
      isKept: isOwner,
    });
    try {
      await this.#refuseTooLarge(descriptor, partial);
    } catch (error) {
      await partial.keep();
      throw error;
    }
    return new DiskIngest({
      descriptor,
      clock: this.#clock,
      partial,
      prefix: this.#takePrefix(descriptor, partial, isOwner),
      publish: () => this.#blobs.publish(path, descriptor),
      release: (prefix) => {
        if (!isOwner) return;
        this.#taken.delete(digest);
        if (prefix !== undefined) this.#prefixes.set(digest, prefix);
      },
      failure: (error) => this.#ingestFailure(error, descriptor, partial),
    });
  }

  /** What an earlier ingest of this process has hashed need not be read back. */
  #takePrefix(descriptor: Descriptor, { written }: PartialFile, isOwner: boolean): HashedPrefix {
    const known = isOwner ? this.#prefixes.get(descriptor.digest) : undefined;
    if (isOwner) this.#prefixes.delete(descriptor.digest);
    const [first] = written;
    const endHere = first?.start === 0 ? first.end : 0;
    if (known !== undefined && known.end <= endHere) return known;
    return { verifier: createVerifier(descriptor), end: 0 };
  }

  async name(name: string, descriptor: Descriptor): Promise<void> {
    this.#requireWriter();
    if (!(await this.lease(descriptor))) throw contentMissing(descriptor);
    await this.#attempt("name", quoted(name), () => this.#names.put(name, descriptor));
    this.#index.noteChange();
  }

  lookup(name: string): Promise<Descriptor | undefined> {
    return this.#attempt("look up", quoted(name), async () => this.#names.get(name));
  }

  names(): Promise<readonly NamedContent[]> {
    return this.#attempt("list", "the names", async () => this.#names.inForce());
  }

  /** The names that one revision has for itself, see {@link nameOfRevision}, as they are in force. */
  namesOfRevision(revision: string): Promise<readonly NamedContent[]> {
    return this.#attempt("list", "the names", async () => this.#names.ofRevision(revision));
  }

  /** Differs whenever a name may have changed, also when another process changed it. */
  revision(): string {
    return this.#names.revision();
  }

  /**
   * Brings `index.json`, which other tools read, up to the names. A name is durable without it; it
   * is written once for many names, when this is called and when the store is closed.
   */
  flush(): Promise<void> {
    return this.#attempt("write", quoted(this.#layout.index), () => this.#index.flush());
  }

  /**
   * Closes the store. It does not fail, so that it can't hide why a caller leaves: an index that could
   * not be written is written when the store is next opened; {@link flush} tells whoever must know now.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writer?.uploads?.close();
    await this.flush().catch(() => {});
    this.#database.close();
    await this.#writer?.run.end().catch(() => {});
    this.#writer?.lock.release();
  }

  async #refuseTooLarge(descriptor: Descriptor, { written }: PartialFile): Promise<void> {
    const freeBytes = await this.freeBytes();
    const neededBytes = descriptor.size - bytesIn(written);
    if (freeBytes === undefined || freeBytes >= neededBytes) return;
    const attempt = this.#attemptTo("store", descriptor.digest);
    throw storeFull(attempt, { freeBytes, neededBytes });
  }

  async #ingestFailure(
    error: unknown,
    { digest, size }: Descriptor,
    { written }: PartialFile,
  ): Promise<unknown> {
    const room = { freeBytes: await this.freeBytes(), neededBytes: size - bytesIn(written) };
    return storeFailure(error, this.#attemptTo("store", digest), room);
  }

  #bootId(): Promise<string> {
    // Where the system has none, nothing is taken for written since the same start but by this store.
    this.#bootIdRead ??= this.#disk.bootId().then((id) => id ?? randomUUID());
    return this.#bootIdRead;
  }

  #requireWriter(): void {
    if (this.#writer !== undefined) return;
    throw new Failure({
      code: "store-read-only",
      message: `Cannot write to store ${quoted(this.#layout.dataDir)}: it is open for reading, expected the writer`,
      hint: "Run `dray deliver`, which writes to the store",
    });
  }

  #attemptTo(verb: string, object: string) {
    return { verb, object, dataDir: this.#layout.dataDir };
  }

  async #attempt<T>(verb: string, object: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw storeFailure(error, this.#attemptTo(verb, object));
    }
  }
}
