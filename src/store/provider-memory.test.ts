import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { type Digest, parseDigest } from "#oci";
import { type CoreSearch, collectStore, type HandedOver, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";

const { signal } = new AbortController();
const PROVIDER = "quay.io/kairos/os:v1";
const NEXT = "quay.io/kairos/os:v2";
const [OLD, NEW]: readonly Digest[] = ["0", "1"].map((c) => parseDigest(`sha256:${c.repeat(64)}`));

function searchOf(manifest: Digest, names: readonly string[], provider = PROVIDER): CoreSearch {
  return { provider, manifest, settings: "a", archives: 2, names, warnings: ["/x: broken"] };
}

test("what was found in a provider image is known to the next process, by digest and settings", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const clock = createManualClock();
  const search = searchOf(OLD as Digest, ["k8s/a:1", "k8s/b:1"]);
  {
    await using store = await openStore(dataDir, { clock });
    await buildImage(store, PROVIDER, { seed: "os" });
    await store.provider.begin(search);
    expect(await store.provider.search(PROVIDER, OLD as Digest, "a")).toBeUndefined();
    expect(await store.provider.names(PROVIDER)).toEqual(search.names);
    await store.provider.complete(search);
  }
  await using store = await openStore(dataDir, { clock, readOnly: true });
  expect(await store.provider.search(PROVIDER, OLD as Digest, "a")).toEqual(search);
  expect(await store.provider.search(PROVIDER, NEW as Digest, "a")).toBeUndefined();
  expect(await store.provider.search(PROVIDER, OLD as Digest, "b")).toBeUndefined();
  expect(await store.provider.search(NEXT, OLD as Digest, "a")).toBeUndefined();
  await expect(store.provider.begin(search)).rejects.toMatchObject({ code: "store-read-only" });
});

test("the names of the image before stay until those of the next are loaded", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: createManualClock() });
  await buildImage(store, PROVIDER, { seed: "os" });
  await store.provider.complete(searchOf(OLD as Digest, ["k8s/a:1", "k8s/b:1"]));
  await store.provider.begin(searchOf(NEW as Digest, ["k8s/b:1", "k8s/c:1"]));
  expect(await store.provider.names(PROVIDER)).toEqual(["k8s/a:1", "k8s/b:1", "k8s/c:1"]);
  await store.provider.complete(searchOf(NEW as Digest, ["k8s/b:1", "k8s/c:1"]));
  expect(await store.provider.names(PROVIDER)).toEqual(["k8s/b:1", "k8s/c:1"]);
});

test("a collection keeps what came out of a provider image as long as a plan has that image", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const clock = createManualClock();
  const deliver = async (provider: string, core: readonly string[]) => {
    await using store = await openStore(dataDir, { clock });
    await store.generations.begin([provider]);
    await buildImage(store, provider, { seed: provider });
    for (const name of core) await buildImage(store, name, { seed: name });
    await store.provider.complete(searchOf(OLD as Digest, core, provider));
    await store.generations.complete();
  };
  const names = async () => {
    await collectStore(dataDir, { clock, signal, graceMs: 60_000 });
    await using store = await openStore(dataDir, { clock, readOnly: true });
    return (await store.names()).map(({ name }) => name);
  };
  await deliver(PROVIDER, ["k8s.io/a:1", "k8s.io/both:1"]);
  clock.advance(3_600_000);
  await deliver(NEXT, ["k8s.io/b:1", "k8s.io/both:1"]);
  // The plan before is kept, and what came out of its image with it.
  expect(await names()).toEqual(["k8s.io/a:1", "k8s.io/b:1", "k8s.io/both:1", PROVIDER, NEXT]);
  await deliver("quay.io/kairos/os:v3", []);
  expect(await names()).toEqual([
    ...["k8s.io/b:1", "k8s.io/both:1"],
    ...["quay.io/kairos/os:v2", "quay.io/kairos/os:v3"],
  ]);
});

test("what a look at an earlier store would collect can be asked before it is brought up to date", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock();
  {
    await using store = await openStore(folder.path, { clock });
    await buildImage(store, PROVIDER, { seed: "os" });
    await store.generations.begin([]);
    await store.generations.complete();
  }
  const database = new Database(join(folder.path, "drayage.db"));
  for (const table of ["journal", "core_searches", "core_names", "hand_over"]) {
    database.run(`DROP TABLE ${table}`);
  }
  database.run("PRAGMA user_version = 4");
  database.close();
  const { names } = await collectStore(folder.path, { clock, signal, isDryRun: true });
  expect(names).toEqual([PROVIDER]);
  await using store = await openStore(folder.path, { clock, readOnly: true });
  expect(await store.provider.search(PROVIDER, OLD as Digest, "a")).toBeUndefined();
  expect(await store.provider.names(PROVIDER)).toEqual([]);
  expect(await store.provider.handedOver()).toBeUndefined();
});

test("what the operating system was given last is known to the next process, and only that", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock();
  const handed: HandedOver = {
    ...{ manifest: OLD as Digest, form: "rootfs", path: "/x", identity: "7" },
    ...{ command: ["a", "{source}"], starts: 2, doneMs: null },
  };
  const last: HandedOver = { ...handed, manifest: NEW as Digest, identity: null, doneMs: 5 };
  {
    await using store = await openStore(folder.path, { clock });
    expect(await store.provider.handedOver()).toBeUndefined();
    await store.provider.noteHandOver(handed);
    expect(await store.provider.handedOver()).toEqual(handed);
    await store.provider.noteHandOver(last);
  }
  await using store = await openStore(folder.path, { clock, readOnly: true });
  expect(await store.provider.handedOver()).toEqual(last);
});
