import { join, resolve } from "node:path";
import { type Clock, Failure, quoted } from "#base";
import {
  type CallOptions,
  contentMissing,
  type Ingest,
  type NamedContent,
  type Store,
} from "#content";
import type { Descriptor } from "#oci";
import { type Disk, readText, replaceFile, systemDisk } from "./disk.ts";
import { type Room, storeFailure, storeFull } from "./failure.ts";
import { DiskIngest } from "./ingest.ts";
import {
  blobFolder,
  blobPath,
  formatIndex,
  LAYOUT_MARKER,
  type Layout,
  layoutOf,
  refuseAlien,
} from "./layout.ts";
import { type Lock, takeLock } from "./lock.ts";
import { NameTable } from "./names.ts";
import { streamFile } from "./read.ts";

/** How to open a store. */
export interface StoreOptions {
  readonly clock: Clock;
  /** Takes no lock and changes nothing; sees what the writer has committed. */
  readonly readOnly?: boolean;
  /** The machine's disk, unless a test stands in its way. */
  readonly disk?: Disk;
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
  readonly #lock: Lock | undefined;
  #ingests = 0;
  #indexIsStale = false;
  #flushing: Promise<void> = Promise.resolve();

  /** Use {@link openStore}. */
  constructor(layout: Layout, disk: Disk, names: NameTable, lock: Lock | undefined) {
    this.#layout = layout;
    this.#disk = disk;
    this.#names = names;
    this.#lock = lock;
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    const path = blobPath(this.#layout, descriptor.digest);
    return this.#attempt("look for", descriptor.digest, async () => {
      return (await this.#disk.sizeOf(path)) === descriptor.size;
    });
  }

  async fetch(
    descriptor: Descriptor,
    { signal }: CallOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    signal.throwIfAborted();
    if (!(await this.has(descriptor))) throw contentMissing(descriptor);
    const file = await this.#attempt("read", descriptor.digest, () =>
      this.#disk.open(blobPath(this.#layout, descriptor.digest)),
    );
    if (file === undefined) throw contentMissing(descriptor);
    return streamFile(file, descriptor, signal);
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
    const { ingest } = this.#layout;
    this.#ingests += 1;
    const path = join(ingest, `${descriptor.digest.replace(":", "-")}.${this.#ingests}`);
    await this.#refuseTooLarge(descriptor);
    const file = await this.#attempt("store", descriptor.digest, () => this.#disk.create(path));
    return new DiskIngest({
      descriptor,
      file,
      publish: () => this.#publish(path, descriptor),
      discard: () => this.#disk.remove(path).catch(() => {}),
      failure: (error, bytesWritten) => this.#ingestFailure(error, descriptor, bytesWritten),
    });
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
      await this.#disk.syncFolder(blobFolder(this.#layout, digest));
    } catch (error) {
      if (!wasThere) await this.#disk.remove(target).catch(() => {});
      throw error;
    }
  }

  async #refuseTooLarge(descriptor: Descriptor): Promise<void> {
    const freeBytes = await this.#freeBytes();
    if (freeBytes === undefined || freeBytes >= descriptor.size) return;
    throw storeFull(this.#attemptTo("store", descriptor.digest), {
      freeBytes,
      neededBytes: descriptor.size,
    });
  }

  async #ingestFailure(
    error: unknown,
    { digest, size }: Descriptor,
    bytesWritten: number,
  ): Promise<unknown> {
    const freeBytes = await this.#freeBytes();
    // What this ingest has written is given back when it is dropped, and is free for the next attempt.
    const room: Room = {
      freeBytes: freeBytes === undefined ? undefined : freeBytes + bytesWritten,
      neededBytes: size,
    };
    return storeFailure(error, this.#attemptTo("store", digest), room);
  }

  /** Undefined where the file system does not say. */
  #freeBytes(): Promise<number | undefined> {
    return this.#disk.freeBytes(this.#layout.ingest).catch(() => undefined);
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
    return readOnly ? await openReader(layout, disk) : await openWriter(layout, disk, clock);
  } catch (error) {
    const attempt = { verb: "open", object: "the store", dataDir: layout.dataDir };
    throw storeFailure(error, attempt);
  }
}

async function openReader(layout: Layout, disk: Disk): Promise<DiskStore> {
  const isThere = (await disk.sizeOf(layout.database)) !== undefined;
  const names = isThere ? NameTable.openForReading(layout.database) : undefined;
  if (names !== undefined) return new DiskStore(layout, disk, names, undefined);
  throw new Failure({
    code: "store-missing",
    message: `Cannot open store ${quoted(layout.dataDir)}: there is none yet, expected one that was delivered to`,
    hint: "Run `dray deliver` first, or name the right folder with `--data-dir`",
  });
}

async function openWriter(layout: Layout, disk: Disk, clock: Clock): Promise<DiskStore> {
  await disk.makeFolder(layout.dataDir);
  await refuseAlien(disk, layout);
  const lock = await takeLock(disk, layout.dataDir, clock);
  let names: NameTable | undefined;
  try {
    await prepareFolders(layout, disk);
    names = NameTable.openForWriting(layout.database);
    await bringUpToDate(layout, disk, names);
    return new DiskStore(layout, disk, names, lock);
  } catch (error) {
    names?.close();
    lock.release();
    throw error;
  }
}

/** What a writer that died left in `ingest/` is nobody's: this process is the only writer. */
async function prepareFolders(layout: Layout, disk: Disk): Promise<void> {
  for (const left of await disk.list(layout.ingest)) await disk.remove(join(layout.ingest, left));
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
