import { randomUUID } from "node:crypto";
import { join, resolve } from "node:path";
import { type Clock, Failure, quoted } from "#base";
import {
  bytesIn,
  contentMissing,
  createVerifier,
  type FetchOptions,
  type Ingest,
  type NamedContent,
  type Store,
} from "#content";
import type { Descriptor, Digest } from "#oci";
import { type Disk, readText, replaceFile, systemDisk } from "./disk.ts";
import { storeFailure, storeFull } from "./failure.ts";
import { DiskIngest, type HashedPrefix } from "./ingest.ts";
import {
  blobFolder,
  blobPath,
  formatIndex,
  isPartialName,
  LAYOUT_MARKER,
  type Layout,
  layoutOf,
  partialPath,
  refuseAlien,
} from "./layout.ts";
import { type Lock, takeLock } from "./lock.ts";
import { NameTable } from "./names.ts";
import { logPath, PartialFile, readPartial } from "./partial-file.ts";
import { streamFile } from "./read.ts";
import { sharedRun } from "./shared-run.ts";

/** How to open a store. */
export interface StoreOptions {
  readonly clock: Clock;
  /** Takes no lock and changes nothing; sees what the writer has committed. */
  readonly readOnly?: boolean;
  /** The machine's disk, unless a test stands in its way. */
  readonly disk?: Disk;
}

/** Where a store is, and what it lives by. */
interface StorePlace {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly clock: Clock;
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
  readonly #names: NameTable;
  readonly #clock: Clock;
  readonly #lock: Lock | undefined;
  /** Content of which an ingest has the partial file. */
  readonly #taken = new Set<Digest>();
  /** What was hashed of partial files that no ingest has now. */
  readonly #prefixes = new Map<Digest, HashedPrefix>();
  /** One for each folder of blobs: an fsync makes all names last that are in it, whoever waits. */
  readonly #folderSyncs = new Map<string, () => Promise<void>>();
  #bootIdRead: Promise<string> | undefined;
  #ingests = 0;
  #indexIsStale = false;
  #flushing: Promise<void> = Promise.resolve();

  /** Use {@link openStore}. */
  constructor({ layout, disk, clock }: StorePlace, names: NameTable, lock: Lock | undefined) {
    this.#layout = layout;
    this.#disk = disk;
    this.#clock = clock;
    this.#names = names;
    this.#lock = lock;
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    const path = blobPath(this.#layout, descriptor.digest);
    return this.#attempt("look for", descriptor.digest, async () => {
      return (await this.#disk.sizeOf(path)) === descriptor.size;
    });
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
    const file = await this.#attempt("read", descriptor.digest, () =>
      this.#disk.open(blobPath(this.#layout, descriptor.digest)),
    );
    if (file === undefined) throw contentMissing(descriptor);
    return streamFile(file, descriptor, range ?? { start: 0, end: descriptor.size }, signal);
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
    this.#requireLock();
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
      publish: () => this.#publish(path, descriptor),
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
    this.#requireLock();
    if (!(await this.has(descriptor))) throw contentMissing(descriptor);
    await this.#attempt("name", quoted(name), async () => this.#names.put(name, descriptor));
    this.#indexIsStale = true;
  }

  lookup(name: string): Promise<Descriptor | undefined> {
    return this.#attempt("look up", quoted(name), async () => this.#names.get(name));
  }

  names(): Promise<readonly NamedContent[]> {
    return this.#attempt("list", "the names", async () => this.#names.all());
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
    this.#flushing = this.#flushing.catch(() => {}).then(() => this.#writeIndex());
    return this.#flushing;
  }

  /**
   * Closes the store. It does not fail, so that it can't hide why a caller leaves: an index that could
   * not be written is written when the store is next opened; {@link flush} tells whoever must know now.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush().catch(() => {});
    this.#names.close();
    this.#lock?.release();
  }

  async #writeIndex(): Promise<void> {
    if (!this.#indexIsStale) return;
    const { index, ingest, dataDir } = this.#layout;
    const text = formatIndex(await this.names());
    this.#indexIsStale = false;
    try {
      await this.#attempt("write", quoted(index), () => {
        const draft = join(ingest, "index.json");
        return replaceFile(this.#disk, { path: index, folder: dataDir, draft }, text);
      });
    } catch (error) {
      this.#indexIsStale = true;
      throw error;
    }
  }

  /** Rename, then fsync of the folder. A rename that may not last is taken back. */
  async #publish(path: string, { digest, size }: Descriptor): Promise<void> {
    const target = blobPath(this.#layout, digest);
    const wasThere = (await this.#disk.sizeOf(target)) === size;
    await this.#disk.rename(path, target);
    try {
      await this.#syncFolder(blobFolder(this.#layout, digest));
    } catch (error) {
      if (!wasThere) await this.#disk.rename(target, path).catch(() => {});
      throw error;
    }
  }

  #syncFolder(path: string): Promise<void> {
    const sync = this.#folderSyncs.get(path) ?? sharedRun(() => this.#disk.syncFolder(path));
    this.#folderSyncs.set(path, sync);
    return sync();
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

  #requireLock(): void {
    if (this.#lock !== undefined) return;
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

/**
 * Opens the store of a data folder. One process writes; any number may look beside it.
 *
 * @throws {Failure} `store-locked` when another process writes; `store-missing` when there is nothing to
 *   look at; `store-unusable`, `store-newer`, `store-full`, `store-broken`
 */
export async function openStore(dataDir: string, options: StoreOptions): Promise<DiskStore> {
  const { clock, readOnly = false, disk = systemDisk } = options;
  const layout = layoutOf(resolve(dataDir));
  try {
    const place = { layout, disk, clock };
    return readOnly ? await openReader(place) : await openWriter(place);
  } catch (error) {
    const attempt = { verb: "open", object: "the store", dataDir: layout.dataDir };
    throw storeFailure(error, attempt);
  }
}

async function openReader(place: StorePlace): Promise<DiskStore> {
  const { layout, disk } = place;
  const isThere = (await disk.sizeOf(layout.database)) !== undefined;
  const names = isThere ? NameTable.openForReading(layout.database) : undefined;
  if (names !== undefined) return new DiskStore(place, names, undefined);
  throw new Failure({
    code: "store-missing",
    message: `Cannot open store ${quoted(layout.dataDir)}: there is none yet, expected one that was delivered to`,
    hint: "Run `dray deliver` first, or name the right folder with `--data-dir`",
  });
}

async function openWriter(place: StorePlace): Promise<DiskStore> {
  const { layout, disk, clock } = place;
  await disk.makeFolder(layout.dataDir);
  await refuseAlien(disk, layout);
  const lock = await takeLock(disk, layout.dataDir, clock);
  let names: NameTable | undefined;
  try {
    await prepareFolders(layout, disk);
    names = NameTable.openForWriting(layout.database);
    await bringUpToDate(layout, disk, names);
    return new DiskStore(place, names, lock);
  } catch (error) {
    names?.close();
    lock.release();
    throw error;
  }
}

async function prepareFolders(layout: Layout, disk: Disk): Promise<void> {
  await removeJunk(layout, disk);
  await disk.makeFolder(layout.ingest);
  await disk.makeFolder(join(layout.blobs, "sha256"));
  await disk.makeFolder(join(layout.blobs, "sha512"));
  await disk.syncFolder(layout.blobs);
}

async function bringUpToDate(layout: Layout, disk: Disk, names: NameTable): Promise<void> {
  const { marker, index, dataDir, ingest } = layout;
  const wanted = [
    { path: marker, text: LAYOUT_MARKER },
    { path: index, text: formatIndex(names.all()) },
  ];
  for (const { path, text } of wanted) {
    if ((await readText(disk, path)) === text) continue;
    await replaceFile(disk, { path, folder: dataDir, draft: join(ingest, "draft") }, text);
  }
  await disk.syncFolder(dataDir);
}

/**
 * Of what a writer that died left in `ingest/`, content that can be gone on with stays; the rest is
 * nobody's: this process is the only writer.
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
