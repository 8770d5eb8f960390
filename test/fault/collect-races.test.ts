import { expect, test } from "bun:test";
import type { Source } from "#content";
import { createRegistry } from "#registry";
import {
  collectStore,
  type Disk,
  type DiskStore,
  GRACE_MS,
  openStore,
  systemDisk,
  type WriterRole,
} from "#store";
import { createManualClock } from "#test-support/clock";
import { createDeliverySite, incompleteNames } from "#test-support/delivery-site";
import { errorOf, PushingClient } from "#test-support/pushing";
import { newFolder } from "./contents.ts";

const { signal } = new AbortController();
const R = "team/app";

async function newStore(role: WriterRole, disk: Disk = systemDisk) {
  const folder = await newFolder();
  const clock = createManualClock();
  const store = await openStore(folder.path, { clock, role, disk });
  return {
    ...{ store, clock },
    collect: () => collectStore(folder.path, { clock, signal }),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("a push that rests for longer than the grace is told which blobs to push again", async () => {
  await using site = await newStore("registry");
  const client = new PushingClient(createRegistry({ store: site.store }));
  const image = await client.image(R, "a");
  site.clock.advance(GRACE_MS * 2);
  expect((await site.collect()).blobs).toHaveLength(2);
  expect(await errorOf(await client.manifest(R, "v1", image))).toBe("400 MANIFEST_BLOB_UNKNOWN");
  await client.image(R, "a");
  expect((await client.manifest(R, "v1", image)).status).toBe(201);
  site.clock.advance(GRACE_MS * 2);
  expect((await site.collect()).blobs).toEqual([]);
});

test("a blob that a client was told is there stays until its manifest can come", async () => {
  await using site = await newStore("registry");
  const client = new PushingClient(createRegistry({ store: site.store }));
  const image = await client.image(R, "a");
  const { config, layers } = JSON.parse(new TextDecoder().decode(image.bytes));
  site.clock.advance(GRACE_MS * 2);
  for (const { digest } of [config, ...layers]) {
    expect((await client.send("HEAD", `/v2/${R}/blobs/${digest}`)).status).toBe(200);
  }
  site.clock.advance(GRACE_MS - 1);
  expect((await site.collect()).blobs).toEqual([]);
  expect((await client.manifest(R, "v1", image)).status).toBe(201);
});

test("a manifest that is being written keeps its blobs, however old they are", async () => {
  let onCreate = async (): Promise<unknown> => undefined;
  const create = async (path: string) => {
    await onCreate();
    return systemDisk.create(path);
  };
  await using site = await newStore("registry", { ...systemDisk, create });
  const client = new PushingClient(createRegistry({ store: site.store }));
  const image = await client.image(R, "a");
  site.clock.advance(GRACE_MS * 2);
  let removed: unknown;
  onCreate = async () => {
    removed ??= (await site.collect()).blobs;
  };
  expect((await client.manifest(R, "v1", image)).status).toBe(201);
  expect(removed).toEqual([]);
});

test("what a delete takes out of a repository goes, and the image beside it is pulled whole", async () => {
  await using site = await newStore("registry");
  const client = new PushingClient(createRegistry({ store: site.store }));
  const [gone, kept] = [await client.image(R, "gone"), await client.image(R, "kept")];
  for (const image of [gone, kept]) await client.manifest(R, image.digest, image);
  const path = `/v2/${R}/manifests/${gone.digest}`;
  expect((await client.send("DELETE", path)).status).toBe(202);
  site.clock.advance(GRACE_MS * 2);
  expect((await site.collect()).blobs).toHaveLength(3);
  const { config, layers } = JSON.parse(new TextDecoder().decode(kept.bytes));
  for (const { digest } of [config, ...layers]) {
    expect((await client.send("GET", `/v2/${R}/blobs/${digest}`)).status).toBe(200);
  }
});

/** Collects while the first blob is on its way, hours after the delivery began. */
function collectingSource(source: Source, collect: () => Promise<unknown>): Source {
  return {
    ...source,
    async fetch(descriptor, options) {
      if (descriptor.mediaType.includes("layer")) await collect();
      return source.fetch(descriptor, options);
    },
  };
}

test("a delivery keeps what it found, however long it takes, while names go that no plan declares", async () => {
  await using site = await newStore("delivery");
  const { store, clock }: { store: DiskStore; clock: typeof site.clock } = site;
  const { world, run } = createDeliverySite(store);
  world.push("reg.test/old:v1", { layers: ["shared", "old"] });
  world.push("reg.test/new:v1", { layers: ["shared", "new"] });
  const { generations } = store;
  for (const name of ["old", "b", "c"]) {
    if (name !== "old") world.push(`reg.test/${name}:v1`, { layers: [name] });
    await run({ application: [`reg.test/${name}:v1`] }, { generations });
  }
  clock.advance(GRACE_MS * 2);
  const dropped: string[] = [];
  const collect = async () => {
    clock.advance(GRACE_MS * 3);
    dropped.push(...(await site.collect()).names);
  };
  const { summary } = await run(
    { application: ["reg.test/new:v1"] },
    { generations, openSource: ({ source }) => collectingSource(world.open(source), collect) },
  );
  expect(summary.outcome).toBe("done");
  expect(dropped).toEqual(["reg.test/old:v1"]);
  expect(await incompleteNames(store)).toEqual([]);
  expect((await store.names()).map(({ name }) => name)).toContain("reg.test/new:v1");
  // Of the shared layer nothing came again.
  expect(world.requests.filter(({ kind }) => kind === "blob")).toHaveLength(9);
});

test("a delivery that is not carried out whole drives out no plan", async () => {
  await using site = await newStore("delivery");
  const { generations } = site.store;
  const { world, run } = createDeliverySite(site.store);
  for (const name of ["a", "b"]) world.push(`reg.test/${name}:v1`, { layers: [name] });
  await run({ application: ["reg.test/a:v1"] }, { generations });
  for (const missing of ["c", "d", "e"]) {
    const images = { application: ["reg.test/b:v1", `reg.test/${missing}:v1`] };
    const { summary } = await run(images, { generations });
    expect(summary.outcome).toBe("failed");
    const infrastructure = ["reg.test/b:v1"];
    await run(
      { infrastructure, application: images.application },
      { generations, until: "infrastructure" },
    );
  }
  site.clock.advance(GRACE_MS * 2);
  expect((await site.collect()).names).toEqual([]);
});
