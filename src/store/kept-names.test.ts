import { expect, test } from "bun:test";
import { parseDigest } from "#oci";
import { nameOfRevision, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";

test("the names of the current and the previous plan are kept, and those out of their provider images", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: createManualClock() });
  const { generations } = store;
  expect(await generations.kept()).toEqual([]);
  for (const names of [
    ["os:1", "a:1"],
    ["os:1", "a:2"],
    ["os:1", "a:3"],
  ]) {
    await generations.begin(names);
    await generations.complete();
  }
  for (const name of ["os:0", "os:1"]) await buildImage(store, name, { seed: name });
  const manifest = parseDigest(`sha256:${"0".repeat(64)}`);
  const search = { provider: "os:1", manifest, settings: "", archives: 1, warnings: [] };
  await store.provider.complete({ ...search, names: ["etcd:1"] });
  await store.provider.complete({ ...search, provider: "os:0", names: ["etcd:0"] });
  expect(await generations.kept()).toEqual(["a:2", "a:3", "etcd:1", "os:1"]);
  // A delivery that has begun, and may be given up, needs its own too.
  await generations.begin(["b:1"]);
  expect(await generations.kept()).toEqual(["a:2", "a:3", "b:1", "etcd:1", "os:1"]);
});

test("what revisions have for themselves is kept from collection, and no runtime is told of it", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: createManualClock() });
  await store.generations.hold({ active: ["a:1", nameOfRevision("0123456789ab", "a:1")] });
  expect(await store.generations.kept()).toEqual(["a:1"]);
});
