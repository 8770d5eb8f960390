import { expect, test } from "bun:test";
import { cp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import { openStore } from "#store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { newFolder } from "./contents.ts";
import { faultyDisk, WRITE_FAULTS } from "./faulty-disk.ts";

const clock = systemClock;
const NAME = "quay.io/team/app:v1";

/** Only a test that hangs takes so long. */
const HANG_MS = 120_000;

test.each(WRITE_FAULTS)(
  "a damaged database is replaced though the disk fails at the n-th operation, for every n: %s, %s",
  async (fault, code) => {
    await using template = await newFolder();
    const { root, other } = await damagedStore(template.path);
    for (let failAt = 1, isOver = false; !isOver; failAt += 1) {
      await using folder = await newFolder();
      await cp(template.path, folder.path, { recursive: true, preserveTimestamps: true });
      const { disk, state } = faultyDisk(failAt, fault, code);
      try {
        await (await openStore(folder.path, { clock, disk }))[Symbol.asyncDispose]();
      } catch (error) {
        if (!isFailure(error)) throw error;
      }
      isOver = state.operations < failAt;
      await using store = await openStore(folder.path, { clock });
      expect(await store.lookup(NAME)).toEqual(root);
      expect(await Promise.all([root, other].map((each) => store.has(each)))).toEqual([true, true]);
      // Whatever else could not be done, what is damaged is for a person to look at.
      expect(await readdir(join(folder.path, "quarantine"))).toContain("drayage.db");
    }
  },
  HANG_MS,
);

async function damagedStore(path: string) {
  await using store = await openStore(path, { clock });
  const root = await buildImage(store, NAME, { seed: "delivered" });
  const other = await putBytes(store, "application/x", randomBytes("other", 5_000));
  await store[Symbol.asyncDispose]();
  await writeFile(join(path, "drayage.db"), "no database ".repeat(1_000));
  await rm(join(path, "drayage.db-wal"));
  return { root, other };
}
