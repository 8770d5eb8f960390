import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { SAMPLE_IMAGES } from "#test-support/sample-site";
import { canMountSmallDisk, mountSmallDisk, type SmallDisk } from "#test-support/small-disk";
import { Crossings } from "./crossings.ts";
import { type ChaosSite, checkStore, SEED, withChaosSite } from "./site.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

/** Of a blob whose bytes came and found no room. */
const LOST_BYTES_MAX = MIB;

const canMount = await canMountSmallDisk();

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
      expect(told.join("\n")).toMatch(
        /store-full: .*; [0-9.]+ [kM]?B of this delivery are still to come/,
      );
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

async function onSmallDisk(
  name: string,
  sizeMiB: number,
  use: (site: ChaosSite, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  await using disk = await mountSmallDisk(sizeMiB);
  if (disk === undefined) throw new Error("a tmpfs could be mounted before, and now can't");
  const options = { layerBytesMax: 4 * MIB, bytesPerSecond: 10 * MIB };
  const seed = `${SEED}/${name}`;
  await withChaosSite({ ...options, name, seed, dataDir: join(disk.path, "store") }, (site) =>
    use(site, disk),
  );
}
