import { expect, test } from "bun:test";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { ageBlobs } from "#test-support/aged-store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";

/** A store with an image, and a blob that nothing leads to; all of it was committed hours ago. */
async function openSite() {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "store");
  await using store = await openStore(dataDir, { clock: systemClock });
  await buildImage(store, "quay.io/a:v1", { seed: "a" });
  const lone = await putBytes(store, "a/b", randomBytes("lone", 1000));
  const blobs = join(dataDir, "blobs", "sha256");
  await ageBlobs(dataDir);
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

/** Delivers a profile with one application after the other, all of it hours ago, and gives the site. */
async function deliverInTurn(apps: readonly string[]) {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder());
  const images = Object.fromEntries(["os:v1", ...apps].map((name) => [name, { seed: name }]));
  const source = undo.use(await startLoopbackRegistry(join(folder.path, "source"), { images }));
  const profile = join(folder.path, "profile.json");
  const dataDir = join(folder.path, "store");
  for (const name of apps) {
    const [os, app] = ["os:v1", name].map((image) => `${source.address}/${image}`);
    const pack = (layer: string, values: object) => ({
      ...{ name: layer, layer },
      values: JSON.stringify(values),
    });
    const packs = [
      pack("os", { options: { "system.uri": os } }),
      pack("addon", { pack: { content: { images: [{ image: app }] } } }),
    ];
    const document = { metadata: { name: "store" }, spec: { template: { packs } } };
    await writeFile(profile, JSON.stringify(document));
    const words = [`--profile=${profile}`, `--data-dir=${dataDir}`, "--platform=linux/amd64"];
    expect((await dray(["deliver", ...words])).exitCode).toBe(0);
  }
  await ageBlobs(dataDir);
  const moved = undo.move();
  return { dataDir, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

// A rollback with the link down needs the plan before; more than that is what fills disks.
test("gc keeps what the current and the previous plan declare, and lets go of the one before", async () => {
  await using site = await deliverInTurn(["app:v1", "app:v2", "app:v3"]);
  const run = await dray(["gc", "-d", site.dataDir, "-o", "json"]);
  expect(run.exitCode).toBe(0);
  expect(JSON.parse(run.out).blobs.length).toBeGreaterThan(0);
  const { manifests } = await Bun.file(join(site.dataDir, "index.json")).json();
  const names: string[] = manifests.map(
    ({ annotations }: { annotations: Record<string, string> }) =>
      annotations["org.opencontainers.image.ref.name"]?.replace(/^[^/]*\//, ""),
  );
  expect(names.sort()).toEqual(["app:v2", "app:v3", "os:v1"]);
  expect((await dray(["verify", "-d", site.dataDir])).exitCode).toBe(0);
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
