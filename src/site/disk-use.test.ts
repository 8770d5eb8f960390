import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base";
import { nameOfRevision, openStore } from "#store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { type KeptNames, readDiskUse } from "./disk-use.ts";

test("each blob is told once, of whoever keeps it first, and what nobody keeps beside them", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: systemClock });
  // Two layers, config, manifest and index each.
  await buildImage(store, "quay.io/team/shared:v1", { seed: "shared" });
  await buildImage(store, "quay.io/team/old:v1", { seed: "old" });
  await buildImage(store, nameOfRevision("b", "quay.io/team/new:v1"), { seed: "new" });
  await putBytes(store, "a/b", randomBytes("lone", 1_000));
  const blobsOf = async (active: KeptNames, staged: KeptNames) => {
    const { use, freeBytes, totalBytes } = await readDiskUse(
      folder.path,
      store,
      { active, staged },
      0,
    );
    expect(freeBytes).toBeWithin(0, totalBytes + 1);
    return Object.fromEntries(Object.entries(use).map(([who, { blobs }]) => [who, blobs]));
  };
  const one = { id: "a", declared: ["quay.io/team/shared:v1", "quay.io/team/old:v1"] };
  const two = { id: "b", declared: ["quay.io/team/shared:v1", "quay.io/team/new:v1"] };
  const before = await blobsOf(one, two);
  expect(before).toMatchObject({ previous: 0, pushed: 0, partial: 0, unkept: 1, quarantine: 0 });
  expect(before["active"]).toBe(2 * (before["staged"] ?? 0));
  expect(before["staged"]).toBeGreaterThan(2);

  // What is no blob is left out, wherever it lies.
  writeFileSync(join(folder.path, "blobs", "sha256", "copy.bak"), "x");
  mkdirSync(join(folder.path, "blobs", "sha256", "lost+found"));
  writeFileSync(join(folder.path, "ingest", "sha256-1"), "half");
  expect(await blobsOf(one, two)).toEqual({ ...before, partial: 1 });
});
