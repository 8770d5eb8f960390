import { join } from "node:path";
import type { Clock } from "#base";
import { type Descriptor, type Digest, tryParseDigest } from "#oci";
import type { Disk } from "./disk.ts";
import { blobFolder, blobPath, type Layout } from "./layout.ts";
import { sharedRun } from "./shared-run.ts";

/** The verified content of a store, a file each. It rejects with the system's errors. */
export class Blobs {
  readonly #layout: Layout;
  readonly #disk: Disk;
  readonly #clock: Clock;
  /** One for each folder of blobs: an fsync makes all names last that are in it, whoever waits. */
  readonly #folderSyncs = new Map<string, () => Promise<void>>();

  constructor(layout: Layout, disk: Disk, clock: Clock) {
    this.#layout = layout;
    this.#disk = disk;
    this.#clock = clock;
  }

  /** Whether the content is there, whole. It looks at the disk (S-65). */
  async has({ digest, size }: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
    return (await this.#disk.sizeOf(blobPath(this.#layout, digest))) === size;
  }

  /** All that is there, in the order of the digests. */
  async list(): Promise<readonly Digest[]> {
    const digests: Digest[] = [];
    for (const algorithm of ["sha256", "sha512"]) {
      for (const hex of await this.#disk.list(join(this.#layout.blobs, algorithm))) {
        const digest = tryParseDigest(`${algorithm}:${hex}`);
        if (digest !== undefined) digests.push(digest);
      }
    }
    return digests.sort();
  }

  /** Keeps all that is there from being collected until then, in milliseconds since 1970, whoever names it. */
  async keepAll(untilMs: number): Promise<void> {
    for (const digest of await this.list()) {
      await this.#disk.touch(blobPath(this.#layout, digest), untilMs);
    }
  }

  /**
   * Whether the content is there, whole; then it counts as committed now. A collection looks at this time
   * again once it has moved a file away, so that one of both sees the other (S-82).
   */
  async lease(descriptor: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
    const path = blobPath(this.#layout, descriptor.digest);
    return (await this.has(descriptor)) && (await this.#disk.touch(path, this.#clock.now()));
  }

  /**
   * Shows a file, which is verified, durable and closed, under its digest: rename, then fsync of the
   * folder. A rename that may not last is taken back.
   */
  async publish(path: string, descriptor: Descriptor): Promise<void> {
    const { digest } = descriptor;
    const target = blobPath(this.#layout, digest);
    const wasThere = await this.has(descriptor);
    // It may have been written long before it is committed.
    await this.#disk.touch(path, this.#clock.now());
    await this.#disk.rename(path, target);
    try {
      await this.#syncFolder(blobFolder(this.#layout, digest));
    } catch (error) {
      if (!wasThere) await this.#disk.rename(target, path).catch(() => {});
      throw error;
    }
  }

  /** As {@link publish}, but what is there already stays: then the file is left where it is. */
  async publishNew(path: string, descriptor: Descriptor): Promise<void> {
    if (await this.has(descriptor)) {
      // Whoever put it there may not have come as far as to make its name last, and may take it back.
      await this.#syncFolder(blobFolder(this.#layout, descriptor.digest));
      if (await this.lease(descriptor)) return;
    }
    await this.publish(path, descriptor);
  }

  #syncFolder(path: string): Promise<void> {
    const sync = this.#folderSyncs.get(path) ?? sharedRun(() => this.#disk.syncFolder(path));
    this.#folderSyncs.set(path, sync);
    return sync();
  }
}
