import { readFile, writeFile } from "node:fs/promises";
import { type Disk, type DiskFile, systemDisk } from "#store";

/** Disks lose and keep bytes in units of this size. */
const SECTOR_BYTES = 512;

/** A disk that remembers what was fsynced, and can lose the rest as a power cut does. */
export interface PowerCutDisk extends Disk {
  /**
   * Of each sector that was written and not fsynced, leaves the new bytes, the old ones, or neither.
   * Then the machine starts anew.
   *
   * @param random numbers in [0, 1)
   */
  cutPower(random: () => number): Promise<void>;
  /** What of a file was fsynced; undefined when nobody opened it for writing. */
  durable(path: string): Uint8Array | undefined;
}

/** The machine's disk, but for files that this object has opened for writing. */
export function createPowerCutDisk(): PowerCutDisk {
  const durable = new Map<string, Uint8Array>();
  let boots = 1;
  const watched = (file: DiskFile, path: string): DiskFile => ({
    ...file,
    async sync() {
      // What is written meanwhile may be lost.
      const bytes = await readFile(path);
      await file.sync();
      durable.set(path, bytes);
    },
  });
  return {
    ...systemDisk,
    bootId: async () => `boot-${boots}`,
    async create(path) {
      const file = await systemDisk.create(path);
      durable.set(path, new Uint8Array());
      return watched(file, path);
    },
    async edit(path) {
      const file = await systemDisk.edit(path);
      return file === undefined ? undefined : watched(file, path);
    },
    async rename(from, to) {
      await systemDisk.rename(from, to);
      const bytes = durable.get(from);
      durable.delete(from);
      if (bytes !== undefined) durable.set(to, bytes);
    },
    async remove(path) {
      await systemDisk.remove(path);
      durable.delete(path);
    },
    durable: (path) => durable.get(path),
    async cutPower(random) {
      boots += 1;
      for (const [path, before] of durable) {
        const now = await readFile(path);
        const after = mixed(before, now, random);
        await writeFile(path, after);
        durable.set(path, after);
      }
    },
  };
}

function mixed(before: Uint8Array, now: Uint8Array, random: () => number): Uint8Array {
  const after = new Uint8Array(random() < 0.5 ? before.byteLength : now.byteLength);
  let choice = 0;
  for (let at = 0; at < after.byteLength; at += 1) {
    if (at % SECTOR_BYTES === 0) choice = random();
    const [was, is] = [before[at] ?? 0, now[at] ?? 0];
    // A byte that was not written stays, also beside some that were: every log relies on it.
    after[at] = is === was ? is : choice < 0.3 ? is : choice < 0.6 ? was : 0xee;
  }
  return after;
}
