import { createHash } from "node:crypto";
import { relative, resolve } from "node:path";
import { type Clock, systemErrorCode } from "#base";
import { createHasher } from "#content";
import { type Digest, digestAlgorithm } from "#oci";
import { type NamingStore, placesOf } from "./blob-places.ts";
import { Blobs } from "./blobs.ts";
import { type Disk, type DiskFile, type FileStatus, systemDisk } from "./disk.ts";
import { storeFailure } from "./failure.ts";
import { blobPath, freeQuarantinePath, type Layout, layoutOf } from "./layout.ts";
import { BLOCK_BYTES, NO_BYPASS } from "./system-file.ts";
import { markVerified, suspectsSince } from "./writer-run.ts";

/** Which blobs are looked at. */
export type VerifyScope =
  | { readonly kind: "whole" }
  /** So many of a hundred, at least one; the seed alone decides which. */
  | { readonly kind: "sample"; readonly percent: number; readonly seed: string }
  /** What was committed since the writer began that died, or is at work now. */
  | { readonly kind: "since-unclean" };

/** How to verify a store. */
export interface VerifyOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly scope: VerifyScope;
  /** Reads no faster, so that the site's own programs get the disk. As fast as it goes by default. */
  readonly bytesPerSecond?: number;
  /** Called after each piece with the bytes done, and all there are to do. */
  readonly onProgress?: (bytesDone: number, bytesTotal: number) => void;
  /** The machine's disk, unless a test stands in its way. */
  readonly disk?: Disk;
}

/** A blob that is not what its name says. */
export interface WrongBlob {
  readonly digest: Digest;
  /** `content`: other bytes; `unreadable`: the disk gives them no more. */
  readonly problem: "content" | "unreadable";
  readonly digestFound?: Digest;
  readonly bytesFound: number;
  /** Undefined when no manifest in the store says it. */
  readonly bytesExpected?: number;
  /** The names that lead to it, in order: of what was delivered, and `repository:tag` of what was pushed. */
  readonly names: readonly string[];
  /** Where it is now, relative to the data folder; undefined when it could not be moved away. */
  readonly quarantined?: string;
  /** Why it could not be moved away: the system's word. */
  readonly stuck?: string;
}

/** What a verification found. */
export interface Verification {
  readonly blobsInStore: number;
  readonly blobsVerified: number;
  readonly bytesVerified: number;
  /** For `since-unclean`: undefined when the last writer ended as it should. Milliseconds since 1970. */
  readonly sinceMs?: number;
  readonly wrong: readonly WrongBlob[];
}

/**
 * Two of them: one is read while the other is hashed. A core hashes it in 0.6 ms, so that a program
 * that does other things beside it keeps its pace.
 */
const READ_BYTES = 1024 * 1024;

/** How far a pace may lag behind before it forgets: what was not used for a while is no credit. */
const PACE_LAG_MS_MAX = 1_000;

/**
 * Hashes the blobs of a store anew, as the disk has them and not as memory remembers them, and moves
 * what is wrong into `quarantine/`, where nobody serves it and nobody deletes it. To the store it is
 * missing from then on, so the next delivery fetches it again.
 *
 * It takes no lock and runs beside a delivery and a registry: a blob that vanishes or is replaced
 * meanwhile is no fault.
 *
 * @param store the store of the folder, for the names that lead to what is wrong
 * @throws {Failure} `store-unusable`, `store-broken`, when the folder itself can't be read
 */
export async function verifyStore(
  dataDir: string,
  store: NamingStore,
  options: VerifyOptions,
): Promise<Verification> {
  const { disk = systemDisk } = options;
  const layout = layoutOf(resolve(dataDir));
  try {
    return await new Verifying(layout, disk, store, options).run();
  } catch (error) {
    throw storeFailure(error, { verb: "verify", object: "the store", dataDir: layout.dataDir });
  }
}

interface Chosen {
  readonly digest: Digest;
  readonly size: number;
}

/** What was found before the names are known. */
type Found = Omit<WrongBlob, "names" | "bytesExpected">;

class Verifying {
  readonly #layout: Layout;
  readonly #disk: Disk;
  readonly #store: NamingStore;
  readonly #options: VerifyOptions;
  readonly #pace: (bytes: number) => Promise<void>;
  #buffers: readonly [Uint8Array, Uint8Array] = [
    new Uint8Array(READ_BYTES),
    new Uint8Array(READ_BYTES),
  ];
  #blobsVerified = 0;
  #bytesVerified = 0;
  #bytesTotal = 0;

  constructor(layout: Layout, disk: Disk, store: NamingStore, options: VerifyOptions) {
    this.#layout = layout;
    this.#disk = disk;
    this.#store = store;
    this.#options = options;
    this.#pace = createPace(options);
  }

  async run(): Promise<Verification> {
    const { scope, clock } = this.#options;
    const startedMs = clock.now();
    const sinceMs = await suspectsSince(this.#disk, this.#layout);
    const digests = await new Blobs(this.#layout, this.#disk, clock).list();
    const chosen = await this.#choose(digests, sinceMs);
    const found: Found[] = [];
    for (const blob of chosen) {
      const wrong = await this.#examine(blob);
      if (wrong !== undefined) found.push(wrong);
    }
    if (scope.kind !== "sample" && found.every(({ stuck }) => stuck === undefined)) {
      await this.#markVerified(sinceMs, startedMs);
    }
    return {
      blobsInStore: digests.length,
      blobsVerified: this.#blobsVerified,
      bytesVerified: this.#bytesVerified,
      ...(scope.kind === "since-unclean" && sinceMs !== undefined ? { sinceMs } : {}),
      wrong: await this.#withNames(found),
    };
  }

  async #choose(
    digests: readonly Digest[],
    sinceMs: number | undefined,
  ): Promise<readonly Chosen[]> {
    const { scope } = this.#options;
    if (scope.kind === "since-unclean" && sinceMs === undefined) return [];
    const firstMs = scope.kind === "since-unclean" ? (sinceMs ?? 0) : 0;
    const chosen: Chosen[] = [];
    for (const digest of scope.kind === "sample" ? sampleOf(digests, scope) : digests) {
      const status = await this.#disk.status(blobPath(this.#layout, digest));
      if (status === undefined || status.changedMs < firstMs) continue;
      chosen.push({ digest, size: status.size });
      this.#bytesTotal += status.size;
    }
    return chosen;
  }

  async #examine({ digest }: Chosen): Promise<Found | undefined> {
    const path = blobPath(this.#layout, digest);
    const status = await this.#disk.status(path);
    // While it is open no other file gets its inode, so it can be told from one that takes its place.
    const file = status === undefined ? undefined : await this.#disk.open(path);
    if (status === undefined || file === undefined) return undefined;
    try {
      const read = await this.#read(path, digest);
      if (read === undefined) return undefined;
      this.#blobsVerified += 1;
      if (read.digestFound === digest) return undefined;
      return await this.#quarantine({ digest, ...read }, status);
    } finally {
      await file.close();
    }
  }

  async #read(
    path: string,
    digest: Digest,
  ): Promise<Pick<Found, "problem" | "digestFound" | "bytesFound"> | undefined> {
    for (const open of [this.#disk.openPastCache, this.#disk.open]) {
      const file = await open(path);
      if (file === undefined) return undefined;
      const before = this.#bytesVerified;
      try {
        const digestFound = await this.#hash(file, digest);
        const bytesFound = this.#bytesVerified - before;
        return { problem: "content", digestFound, bytesFound };
      } catch (error) {
        const code = systemErrorCode(error);
        const bytesFound = this.#bytesVerified - before;
        // A sector that is gone is the blob's fault; where it lies now, no other file gets it.
        if (code === "EIO") return { problem: "unreadable", bytesFound };
        if (!NO_BYPASS.has(code) || open === this.#disk.open) throw error;
        this.#bytesVerified = before;
      } finally {
        await file.close();
      }
    }
    return undefined;
  }

  async #hash(file: DiskFile, digest: Digest): Promise<Digest> {
    const { signal, onProgress } = this.#options;
    const hasher = createHasher(digestAlgorithm(digest));
    let [current, other] = this.#buffers;
    let count = await file.read(current, 0);
    for (let offset = 0; count > 0; ) {
      signal.throwIfAborted();
      await this.#pace(count);
      offset += count;
      // What ends within a block is the end of the file, and where it ends nothing can be read directly.
      const isEnd = count % BLOCK_BYTES !== 0;
      const next = isEnd ? Promise.resolve(0) : file.read(other, offset);
      // Awaited below, and not before the hash is done.
      next.catch(() => undefined);
      hasher.update(current.subarray(0, count));
      this.#bytesVerified += count;
      onProgress?.(this.#bytesVerified, this.#bytesTotal);
      [current, other] = [other, current];
      count = await next;
    }
    return hasher.digest();
  }

  /** Moves it away, unless it is another file by now. */
  async #quarantine(wrong: Found, { inode }: FileStatus): Promise<Found | undefined> {
    const path = blobPath(this.#layout, wrong.digest);
    try {
      await this.#disk.makeFolder(this.#layout.quarantine);
      const name = wrong.digest.replace(":", "-");
      const target = await freeQuarantinePath(this.#disk, this.#layout, name);
      if ((await this.#disk.status(path))?.inode !== inode) return undefined;
      await this.#disk.rename(path, target);
      if ((await this.#disk.status(target))?.inode !== inode) {
        // A good one came between the last look and the move.
        await this.#disk.rename(target, path);
        return undefined;
      }
      await this.#disk.syncFolder(this.#layout.quarantine);
      return { ...wrong, quarantined: relative(this.#layout.dataDir, target) };
    } catch (error) {
      const stuck = systemErrorCode(error);
      if (stuck === undefined) throw error;
      return { ...wrong, stuck };
    }
  }

  /** Without it, the same is verified once more the next time: that is no reason to fail. */
  async #markVerified(sinceMs: number | undefined, atMs: number): Promise<void> {
    if (sinceMs === undefined) return;
    await markVerified(this.#disk, this.#layout, atMs).catch(() => undefined);
  }

  async #withNames(found: readonly Found[]): Promise<readonly WrongBlob[]> {
    if (found.length === 0) return [];
    const places = await placesOf(this.#store, new Set(found.map(({ digest }) => digest)), {
      signal: this.#options.signal,
    });
    return found.map((wrong) => ({ ...wrong, names: [], ...places.get(wrong.digest) }));
  }
}

/** The sample that the seed decides: always the same of the same blobs, in their order. */
function sampleOf(
  digests: readonly Digest[],
  { percent, seed }: { readonly percent: number; readonly seed: string },
): readonly Digest[] {
  const rank = (digest: Digest) => createHash("sha256").update(`${seed}/${digest}`).digest("hex");
  const ranked = digests.map((digest) => ({ digest, rank: rank(digest) }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const count = Math.ceil((digests.length * percent) / 100);
  return ranked
    .slice(0, count)
    .map(({ digest }) => digest)
    .sort();
}

function createPace({
  bytesPerSecond,
  clock,
  signal,
}: VerifyOptions): (bytes: number) => Promise<void> {
  if (bytesPerSecond === undefined) return () => Promise.resolve();
  let dueMs = clock.monotonic();
  return async (bytes) => {
    const nowMs = clock.monotonic();
    dueMs = Math.max(dueMs, nowMs - PACE_LAG_MS_MAX) + (bytes / bytesPerSecond) * 1000;
    if (dueMs > nowMs) await clock.sleep(dueMs - nowMs, signal);
  };
}
