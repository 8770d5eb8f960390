import { expect, test } from "bun:test";
import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";

/** A store with an image, and a blob that nothing leads to; all of it was committed hours ago. */
async function openSite() {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "store");
  await using store = await openStore(dataDir, { clock: systemClock });
  await buildImage(store, "quay.io/a:v1", { seed: "a" });
  const lone = await putBytes(store, "a/b", randomBytes("lone", 1000));
  const blobs = join(dataDir, "blobs", "sha256");
  const past = new Date(systemClock.now() - 3 * 3_600_000);
  for (const name of await readdir(blobs)) await utimes(join(blobs, name), past, past);
  return {
    ...{ dataDir, lone },
    gc: (...words: string[]) => dray(["gc", "-d", dataDir, ...words]),
    here: async () => (await readdir(blobs)).length,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

test("gc says what it would remove, removes it, and then has nothing to do", async () => {
  await using site = await openSite();
  const dry = await site.gc("--dry-run");
  expect(dry.out).toContain(`${site.lone.digest} (1.0 kB): nothing leads to it\n`);
  expect(dry.out).toContain("Would remove 1 blob (1.0 kB); 4 live\n");
  expect(dry.exitCode).toBe(0);
  expect(await site.here()).toBe(5);

  const young = await site.gc("--grace", "1d");
  expect(young.out).toBe("Removed 0 blobs (0 B); 4 live; 1 blob (1.0 kB) too young\n");

  const real = await site.gc("-o", "json");
  expect(JSON.parse(real.out)).toMatchObject({
    kind: "Collection",
    dryRun: false,
    blobs: [{ digest: site.lone.digest, size: 1000, because: "nothing leads to it" }],
    bytes: 1000,
    trouble: [],
  });
  expect(await site.here()).toBe(4);
  expect((await site.gc()).out).toBe("Removed 0 blobs (0 B); 4 live\n");
});

test("gc refuses a grace that covers nothing, and a folder that is no store", async () => {
  await using site = await openSite();
  for (const grace of ["0m", "30s", "-1h", "1", "h"]) {
    const { exitCode, err } = await site.gc(`--grace=${grace}`);
    expect(exitCode).toBe(2);
    expect(err).toContain("at least 1m");
  }
  const none = await dray(["gc", "-d", join(site.dataDir, "blobs")]);
  expect(none.exitCode).toBe(1);
  expect(none.err).toContain("expected one that was delivered to");
});
