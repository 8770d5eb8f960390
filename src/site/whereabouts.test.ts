import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { createMemoryStore, type MemoryStore, readImageGraph } from "#content";
import { type Descriptor, parsePlatform } from "#oci";
import { formatReference } from "#reference";
import { createEventClock } from "#test-support/event-clock";
import { buildImage, putJson } from "#test-support/images";
import { app, OS, PROVIDER_IMAGE, planCluster } from "#test-support/plan-inputs";
import type { RuntimeImage, RuntimeImages } from "./runtime-images.ts";
import { Whereabouts } from "./whereabouts.ts";

const APP = "quay.io/team/app:v1";
const CHART = "quay.io/team/chart:v1";
const NEVER = new AbortController().signal;
const SOCKET = "/run/containerd.sock";

type Answer = Readonly<Record<string, RuntimeImage>> | Failure | "hangs";

/** A store with one image for two platforms, and a runtime that answers what a test says. */
async function openWorld() {
  const memory = createMemoryStore();
  const root = await buildImage(memory, APP, {
    ...{ seed: "app", layerBytes: 10_000, layers: 3 },
    platforms: ["linux/amd64", "linux/arm64"],
  });
  const config = { mediaType: "application/vnd.cncf.helm.config.v1+json" };
  const chart = await putJson(memory, "application/vnd.oci.image.manifest.v1+json", {
    ...{ schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" },
    config: { ...(await putJson(memory, config.mediaType, {})), ...config },
    layers: [],
  });
  await memory.name(CHART, chart);
  const world = {
    clock: createEventClock(Date.UTC(2026, 0, 1)),
    root,
    reads: 0,
    asked: 0,
    hasPinning: true,
    answer: {} as Answer,
    store: {
      lookup: (name: string) => memory.lookup(name),
      fetch: (...args: Parameters<typeof memory.fetch>) => {
        world.reads += 1;
        return memory.fetch(...args);
      },
    },
  };
  const whereabouts = new Whereabouts({
    clock: world.clock,
    async listRuntime(): Promise<RuntimeImages> {
      world.asked += 1;
      const { answer, hasPinning } = world;
      if (answer === "hangs") return new Promise(() => {});
      if (answer instanceof Failure) throw answer;
      const find: RuntimeImages["find"] = (name) => answer[formatReference(name)];
      return { version: "1.7", hasPinning, find };
    },
  });
  const plan = planCluster({ packs: [OS, app("apps", APP, CHART, "quay.io/team/absent:v1")] });
  return Object.assign(world, {
    /** The digest of the config of the image for amd64. */
    config: await configOf(memory, root),
    of: (platform = "linux/amd64", socket = SOCKET) => {
      const where = { platform: parsePlatform(platform), socket: socket || undefined };
      const sought = { plan, store: world.store, ...where };
      return world.clock.run(whereabouts.of(sought));
    },
    pass: (ms: number) => world.clock.run(world.clock.sleep(ms, NEVER)),
  });
}

async function configOf(store: MemoryStore, root: Descriptor): Promise<string> {
  const platform = parsePlatform("linux/amd64");
  const { blobs } = await readImageGraph(store, root, platform, { signal: NEVER });
  return blobs[0]?.digest ?? "";
}

const image = (id: string, isPinned = true): RuntimeImage => ({ id, isPinned });

describe("the whereabouts of images", () => {
  test("have the bytes of the platform's blobs, read once for each manifest", async () => {
    const world = await openWorld();
    const amd64 = (await world.of()).get(APP);
    expect(amd64).toMatchObject({ digest: world.root.digest });
    // Three layers of 10 kB and what tar, gzip and the config add.
    expect(amd64?.bytes).toBeWithin(30_000, 40_000);
    const { reads } = world;
    expect((await world.of()).get(APP)).toEqual(amd64);
    expect(world.reads).toBe(reads);
    await world.of("linux/arm64");
    expect(world.reads).toBeGreaterThan(reads);
  });

  test("have no bytes where a manifest is gone, or nothing is for this platform, and know them once it is there", async () => {
    const world = await openWorld();
    expect((await world.of("linux/riscv64")).get(APP)).toMatchObject({ bytes: null });
    const { fetch } = world.store;
    world.store.fetch = () => {
      throw new Failure({ code: "content-missing", message: "Cannot", hint: "Do" });
    };
    const broken = await world.of();
    expect(broken.get(APP)).toMatchObject({ digest: world.root.digest, bytes: null });
    world.store.fetch = fetch;
    const mended = await world.of();
    expect(mended.get(APP)?.bytes).toBeGreaterThan(0);
    expect(mended.get("quay.io/team/absent:v1")).toMatchObject({ digest: null, bytes: null });
  });

  test("say what the runtime has, and that another image of the name is not this one", async () => {
    const world = await openWorld();
    const id = world.config;
    const runtimeOf = async (name: string) => {
      await world.pass(6_000);
      return (await world.of()).get(name)?.runtime;
    };
    expect(await runtimeOf(APP)).toBe("absent");
    world.answer = { [APP]: image(id) };
    expect(await runtimeOf(APP)).toBe("pinned");
    world.answer = { [APP]: image(id, false) };
    expect(await runtimeOf(APP)).toBe("present");
    world.answer = { [APP]: image(id) };
    world.hasPinning = false;
    expect(await runtimeOf(APP)).toBe("present");
    world.answer = { [APP]: image("sha256:other") };
    expect(await runtimeOf(APP)).toBe("absent");
    // What no runtime runs, and what is the operating system's, is looked for in none.
    expect(await runtimeOf(CHART)).toBeNull();
    expect(await runtimeOf(PROVIDER_IMAGE)).toBeNull();
  });

  test("ask the runtime once for all who ask within some seconds, and then again", async () => {
    const world = await openWorld();
    await Promise.all([world.of(), world.of(), world.of()]);
    await world.pass(4_900);
    await world.of();
    expect(world.asked).toBe(1);
    await world.pass(200);
    await world.of();
    expect(world.asked).toBe(2);
  });

  test("know nothing of a runtime that is not there, does not answer, or hangs", async () => {
    const world = await openWorld();
    expect((await world.of("linux/amd64", "")).get(APP)?.runtime).toBeNull();
    expect(world.asked).toBe(0);
    world.answer = new Failure({ code: "runtime-unreachable", message: "Cannot", hint: "Do" });
    expect((await world.of()).get(APP)).toMatchObject({ runtime: null, digest: world.root.digest });
    await world.pass(6_000);
    world.answer = "hangs";
    expect((await world.of()).get(APP)?.runtime).toBeNull();
  });
});
