import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm, rmdir, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SAMPLE_IMAGES } from "#test-support/sample-site";
import { Crossings } from "./crossings.ts";
import { type ChaosSite, checkStore, SEED, withChaosSite } from "./site.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

/** Of a blob whose bytes came and found no room. */
const LOST_BYTES_MAX = MIB;

const canMount = await tryMount();

describe.skipIf(!canMount)("a small file system (needs root, to mount a tmpfs)", () => {
  test("that can't hold the delivery is refused before a blob moves, and said by how much", async () => {
    await onSmallDisk("refused", 8, async (site, disk) => {
      const { exitCode, told } = await site.start().ended;
      expect(exitCode).toBe(1);
      expect(told.join("\n")).toContain("store-full");
      expect(site.registry.answers).toHaveLength(0);
      await disk.resize(96);
      await expectComplete(site);
    });
  });

  test("that fills up in mid-delivery: stops, says how much it needs, goes on once there is room", async () => {
    await onSmallDisk("full", 96, async (site, disk) => {
      const { ended } = site.start();
      await site.registry.untilSent(6 * MIB);
      await disk.fill();
      const { exitCode, told } = await ended;
      expect(exitCode).toBe(1);
      expect(told.join("\n")).toMatch(/store-full: .*, expected (at least )?[0-9.]+ [KMG]iB/);
      await checkStore(site.dataDir);
      await disk.empty();
      await expectComplete(site);
    });
  });
});

/** The next delivery is complete, and fetches nothing that the disk had taken. */
async function expectComplete({ registry, dataDir, start }: ChaosSite): Promise<void> {
  expect(await start().ended).toMatchObject({ exitCode: 0, told: [] });
  expect(await checkStore(dataDir)).toHaveLength(SAMPLE_IMAGES.length);
  const again = [...new Crossings().add(registry.answers).values()];
  expect(Math.max(...again)).toBeLessThanOrEqual(LOST_BYTES_MAX);
}

interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  resize(sizeMiB: number): Promise<void>;
  /** Takes all that is free. */
  fill(): Promise<void>;
  empty(): Promise<void>;
}

async function onSmallDisk(
  name: string,
  sizeMiB: number,
  use: (site: ChaosSite, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  await using disk = await mountTmpfs(sizeMiB);
  if (disk === undefined) throw new Error("a tmpfs could be mounted before, and now can't");
  const options = { layerBytesMax: 4 * MIB, bytesPerSecond: 10 * MIB };
  const seed = `${SEED}/${name}`;
  await withChaosSite({ ...options, name, seed, dataDir: join(disk.path, "store") }, (site) =>
    use(site, disk),
  );
}

async function tryMount(): Promise<boolean> {
  await using disk = await mountTmpfs(1);
  return disk !== undefined;
}

/** A file system in memory; undefined where this user may not mount one. */
async function mountTmpfs(sizeMiB: number): Promise<SmallDisk | undefined> {
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
