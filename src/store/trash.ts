import { type Digest, parseDigest } from "#oci";
import type { Disk, FileStatus } from "./disk.ts";
import { blobFolder, blobPath, isPartialName, type Layout, trashPath } from "./layout.ts";

/** A blob as it was when it was chosen to go. */
export interface Chosen extends Pick<FileStatus, "size" | "inode" | "modifiedMs"> {
  readonly digest: Digest;
}

/**
 * The folder where blobs lie between their life and their end. Whoever wants one meanwhile finds that it
 * is not there, and brings it again; what turns out to be wanted is put back.
 *
 * The rename is what decides: a lease that came before it shows in the times of the file after it, and
 * none comes after it. What is in it was never made to last, so after a power cut a file may be in either
 * place. It rejects with the system's errors.
 */
export class Trash {
  readonly #layout: Layout;
  readonly #disk: Disk;

  constructor(layout: Layout, disk: Disk) {
    this.#layout = layout;
    this.#disk = disk;
  }

  /** What a collection that was interrupted has left. */
  async left(): Promise<readonly Digest[]> {
    const entries = await this.#disk.list(this.#layout.trash);
    return entries.filter(isPartialName).map((entry) => parseDigest(entry.replace("-", ":")));
  }

  /** Moves a blob there; false when it is another file by now, or was leased: then it stays. */
  async take(blob: Chosen): Promise<boolean> {
    const { digest } = blob;
    const path = blobPath(this.#layout, digest);
    const target = trashPath(this.#layout, digest);
    if (!isSame(blob, await this.#disk.status(path))) return false;
    await this.#disk.rename(path, target);
    if (isSame(blob, await this.#disk.status(target))) return true;
    await this.putBack([digest]);
    return false;
  }

  /** Puts blobs back where they were, durably; one that came again meanwhile is the one that stays. */
  async putBack(digests: Iterable<Digest>): Promise<void> {
    const folders = new Set<string>();
    for (const digest of digests) {
      const path = blobPath(this.#layout, digest);
      const target = trashPath(this.#layout, digest);
      if ((await this.#disk.status(target)) === undefined) continue;
      if ((await this.#disk.status(path)) !== undefined) {
        await this.#disk.remove(target);
        continue;
      }
      await this.#disk.rename(target, path);
      folders.add(blobFolder(this.#layout, digest));
    }
    for (const folder of folders) await this.#disk.syncFolder(folder);
  }

  /** The end of it. */
  async remove(digest: Digest): Promise<void> {
    await this.#disk.remove(trashPath(this.#layout, digest));
  }
}

function isSame(blob: Chosen, found: FileStatus | undefined): boolean {
  return found?.inode === blob.inode && found.modifiedMs === blob.modifiedMs;
}
