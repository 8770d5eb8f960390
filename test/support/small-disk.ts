import { mkdtemp, rm, rmdir, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system in memory, which is unmounted when it is disposed of. */
export interface SmallDisk extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** Makes it so large, with what is on it. */
  resize(sizeMiB: number): Promise<void>;
  /** Takes all that is free. */
  fill(): Promise<void>;
  /** Gives back what {@link SmallDisk.fill} took. */
  empty(): Promise<void>;
}

/** Whether this user may mount one, which takes root. */
export async function canMountSmallDisk(): Promise<boolean> {
  await using disk = await mountSmallDisk(1);
  return disk !== undefined;
}

/** Mounts one; undefined where this user may not. */
export async function mountSmallDisk(sizeMiB: number): Promise<SmallDisk | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const path = await mkdtemp(join(tmpdir(), "dray-disk-"));
  const mount = async (...options: readonly string[]) =>
    Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options.join(","), "tmpfs", path]).exitCode === 0;
  if (!(await mount(`size=${sizeMiB}m`))) {
    await rmdir(path);
    return undefined;
  }
  const ballast = join(path, "ballast");
  return {
    path,
    async resize(newSizeMiB) {
      if (!(await mount("remount", `size=${newSizeMiB}m`)))
        throw new Error(`cannot resize ${path}`);
    },
    async fill() {
      const { bavail, bsize } = await statfs(path);
      // The delivery may take some of it first: then this is refused, and the disk is as full.
      await writeFile(ballast, new Uint8Array(bavail * bsize)).catch(unlessFull);
    },
    empty: () => rm(ballast),
    async [Symbol.asyncDispose]() {
      Bun.spawnSync(["umount", "-l", path]);
      await rmdir(path);
    },
  };
}

function unlessFull(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOSPC") throw error;
}
