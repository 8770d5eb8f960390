import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { readImageGraph, type Store } from "#content";
import { type Digest, parsePlatform, referrersTag } from "#oci";
import { createDeliverySite } from "#test-support/delivery-site";
import { createEventClock } from "#test-support/event-clock";
import { createScriptedTargets, type ScriptedTargets } from "#test-support/scripted-target";
import type { DeliveryEvent } from "./event.ts";

const OS = "reg.test/os/kairos:v1";
const CNI = "reg.test/cni/cilium:v1";
const SHOP = "apps.test/shop:v1";
const TILL = "apps.test/till:v2";
const SITE = { provider: [OS], infrastructure: [CNI], application: [SHOP, TILL] };
const SHOP_THERE = "spectro-images/apps.test/shop";
const TILL_THERE = "spectro-images/apps.test/till";

function openSite(platforms?: readonly string[]) {
  const site = createDeliverySite();
  const registry = createScriptedTargets();
  const some = platforms === undefined ? {} : { platforms };
  site.world.push(OS, { layers: ["system"] });
  site.world.push(CNI, { layers: ["shared base", "agent"] });
  const shop = site.world.push(SHOP, { layers: ["shared base", "the shop"], ...some });
  const till = site.world.push(TILL, { layers: ["shared base", "the till"], ...some });
  return { ...site, registry, shop, till };
}

function failing(
  code: string,
  options: { transient?: boolean; retryAfterMs?: number } = {},
): Failure {
  return new Failure({ code, message: "Cannot go on", hint: "Wait", ...options });
}

const DOWN = failing("registry-unreachable", { transient: true });

function uploadsOf(events: readonly DeliveryEvent[]): Record<string, string> {
  const done = events.filter((event) => event.type === "upload-done");
  return Object.fromEntries(done.map(({ image, outcome }) => [image, outcome]));
}

function tagsOf({ tags }: ScriptedTargets): Record<string, Digest> {
  return Object.fromEntries(tags);
}

function ordinalOf(
  events: readonly DeliveryEvent[],
  type: DeliveryEvent["type"],
  image: string,
): number {
  return events.findIndex(
    (event) => event.type === type && "image" in event && event.image === image,
  );
}

describe("deliver() with a local registry", () => {
  test("uploads the application images under their names there, and no other", async () => {
    const { run, registry, shop, till } = openSite();
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(summary.outcome).toBe("done");
    expect(tagsOf(registry)).toEqual({
      [`${SHOP_THERE}:v1`]: shop.digest,
      [`${TILL_THERE}:v2`]: till.digest,
    });
    expect(registry.incompleteTags()).toEqual([]);
    expect(uploadsOf(events)).toEqual({ [SHOP]: "uploaded", [TILL]: "uploaded" });
    expect(summary.uploads).toMatchObject({
      registry: "local.test:5000",
      images: 2,
      uploaded: 2,
      present: 0,
      failed: 0,
      skipped: 0,
      onePlatform: [],
      failures: [],
    });
  });

  test("sends a blob that images share once, and mounts it for the others", async () => {
    const { run, registry } = openSite();
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(new Set(registry.sent).size).toBe(registry.sent.length);
    expect(registry.mounted).toHaveLength(1);
    const told = events.filter((event) => event.type === "upload-bytes");
    const sum = told.reduce((bytes, event) => bytes + event.bytes, 0);
    expect(summary.uploads?.bytesSent).toBe(sum);
    expect(summary.uploads?.bytesMounted).toBe("shared base".length);
  });

  test("sends it again from the next image when the first that sends it fails", async () => {
    const { run, registry, till } = openSite();
    let isRefused = false;
    registry.fault = ({ kind, repository }) => {
      if (kind !== "blob" || isRefused || repository !== SHOP_THERE) return undefined;
      isRefused = true;
      return failing("push-denied");
    };
    const images = { application: [SHOP, TILL] };
    const { summary } = await run(images, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 1, failed: 1 });
    expect(tagsOf(registry)).toEqual({ [`${TILL_THERE}:v2`]: till.digest });
  });

  test("uploads an image while another is still being fetched", async () => {
    const { run, registry, world } = openSite();
    world.push(TILL, { layers: ["a very long layer ".repeat(10_000)] });
    const { events } = await run(SITE, { localRegistry: registry });
    expect(ordinalOf(events, "upload-done", SHOP)).toBeLessThan(
      ordinalOf(events, "image-done", TILL),
    );
  });

  test("at no moment has a name that stands for something incomplete", async () => {
    const { run, registry, shop, till } = openSite(["linux/amd64", "linux/arm64"]);
    registry.wantsWholeIndexes = false;
    const seen: string[] = [];
    registry.afterEach = () => void seen.push(...registry.incompleteTags());
    await run(SITE, { localRegistry: registry });
    expect(registry.tags.size).toBe(2);
    expect(seen).toEqual([]);
    const tagged = registry.requests.filter(({ tag }) => tag !== undefined);
    expect(tagged.map(({ target }) => target)).toEqual([shop.digest, till.digest]);
  });

  test("asks one thing for an image that is there, and moves nothing", async () => {
    const { run, registry } = openSite();
    await run(SITE, { localRegistry: registry });
    registry.forget();
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(registry.requests.map(({ kind }) => kind)).toEqual(["prepare", "resolve", "resolve"]);
    expect(uploadsOf(events)).toEqual({ [SHOP]: "present", [TILL]: "present" });
    expect(summary.uploads).toMatchObject({ present: 2, bytesSent: 0, bytesMounted: 0 });
  });

  test("leaves an image alone that was not delivered, whatever its name stood for before", async () => {
    const { run, registry, world } = openSite();
    await run(SITE, { localRegistry: registry });
    registry.forget();
    world.push(SHOP, { layers: ["shared base", "a new shop"] });
    world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "apps.test/shop"
        ? { kind: "refuse", failure: failing("registry-denied") }
        : undefined;
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(uploadsOf(events)).toEqual({ [TILL]: "present" });
    expect(summary.uploads).toMatchObject({ present: 1, skipped: 1, failures: [] });
    expect(registry.requests.map(({ kind }) => kind)).toEqual(["prepare", "resolve"]);
  });

  test("asks nothing when the plan uploads nothing", async () => {
    const { run, registry } = openSite();
    const options = { localRegistry: registry, until: "infrastructure" } as const;
    const { summary } = await run(SITE, options);
    expect(registry.requests).toEqual([]);
    expect(summary.uploads).toBeNull();
  });

  test("says before the first push what is to come, each blob once", async () => {
    const { run, registry, store } = openSite();
    await run(SITE, { localRegistry: registry });
    const [need] = registry.needs;
    expect(need?.names.map(({ path }) => path)).toEqual([SHOP_THERE, TILL_THERE]);
    const blobs = new Map(await contentsOf(store, [SHOP, TILL]));
    expect(new Map(need?.blobs.map(({ blob }) => [blob.digest, blob.size]))).toEqual(blobs);
    expect(need?.blobs).toHaveLength(blobs.size);
  });

  test("uploads an image pinned to a digest under that digest", async () => {
    const { run, registry, world } = openSite();
    const root = world.push("apps.test/pinned:v1", { layers: ["pinned"] });
    const images = { application: [`apps.test/pinned@${root.digest}`] };
    const first = await run(images, { localRegistry: registry });
    expect(first.summary.uploads).toMatchObject({ uploaded: 1 });
    expect(registry.holds("spectro-images/apps.test/pinned", root.digest)).toBe(true);
    const second = await run(images, { localRegistry: registry });
    expect(second.summary.uploads).toMatchObject({ present: 1 });
  });

  test("brings what another agent pushed in part to its end, and moves no blob twice", async () => {
    const { run, registry } = openSite();
    await run({ application: [SHOP] }, { localRegistry: registry });
    registry.forget();
    const { summary } = await run({ application: [SHOP, TILL] }, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 1, present: 1 });
    expect(registry.sent).toHaveLength(2);
    expect(registry.mounted.map(({ from }) => from)).toEqual([SHOP_THERE]);
  });

  test("two sites that push the same at once both succeed", async () => {
    const one = openSite();
    const two = openSite();
    const runs = await Promise.all([
      one.run(SITE, { localRegistry: one.registry }),
      two.run(SITE, { localRegistry: one.registry }),
    ]);
    for (const { summary } of runs) expect(summary.outcome).toBe("done");
    expect(one.registry.incompleteTags()).toEqual([]);
  });
});

/** Digests and sizes of the blobs of images in a store. */
async function contentsOf(store: Store, names: readonly string[]) {
  const signal = new AbortController().signal;
  const blobs: [Digest, number][] = [];
  for (const name of names) {
    const root = await store.lookup(name);
    if (root === undefined) continue;
    const graph = await readImageGraph(store, root, parsePlatform("linux/amd64"), { signal });
    blobs.push(...graph.blobs.map(({ digest, size }): [Digest, number] => [digest, size]));
  }
  return blobs;
}

describe("deliver() whose local registry is not up yet", () => {
  test("fetches meanwhile, and uploads when it is", async () => {
    const { run, registry, clock } = openSite();
    registry.fault = ({ kind }) =>
      kind === "prepare" && clock.monotonic() < 120_000 ? DOWN : undefined;
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 2 });
    const waits = events.filter((event) => event.type === "local-registry-waiting");
    expect(waits.length).toBeGreaterThan(3);
    expect(waits[0]).toMatchObject({
      registry: "local.test:5000",
      code: "registry-unreachable",
      untilMs: null,
    });
    expect(new Set(waits.map(({ sinceMs }) => sinceMs)).size).toBe(1);
    for (const { at, nextMs } of waits) expect(nextMs).toBeGreaterThan(at);
    expect(events.filter(({ type }) => type === "local-registry-ready")).toHaveLength(1);
  });

  test("gives up after the wait, tells it once, and keeps what was fetched", async () => {
    const site = openSite();
    const clock = createEventClock(0);
    site.registry.fault = ({ kind }) => (kind === "prepare" ? DOWN : undefined);
    let generationsCompleted = 0;
    const options = {
      localRegistry: site.registry,
      waitForLocalMs: 60_000,
      clock,
      generations: {
        begin: async () => undefined,
        kept: async () => [],
        complete: async () => {
          generationsCompleted += 1;
        },
      },
    };
    const { summary, events } = await clock.run(site.run(SITE, options));
    expect(summary.outcome).toBe("failed");
    expect(summary.failures).toEqual([]);
    expect(summary.uploads?.failures).toEqual([
      expect.objectContaining({ image: null, code: "local-registry-unreachable" }),
    ]);
    expect(summary.uploads).toMatchObject({ uploaded: 0, failed: 0, skipped: 2 });
    expect(uploadsOf(events)).toEqual({ [SHOP]: "skipped", [TILL]: "skipped" });
    expect(summary.stages.every(({ failed, skipped }) => failed + skipped === 0)).toBe(true);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(60_000);
    expect(clock.monotonic()).toBeLessThan(61_000);
    expect(generationsCompleted).toBe(1);

    site.registry.fault = undefined;
    const next = await clock.run(site.run(SITE, options));
    expect(next.summary.outcome).toBe("done");
    expect(next.summary.bytesMoved).toBe(0);
    expect(next.summary.uploads).toMatchObject({ uploaded: 2 });
  });

  test("counts the wait from when nothing is left to be fetched", async () => {
    const site = openSite();
    const clock = createEventClock(0);
    site.registry.fault = ({ kind }) =>
      kind === "prepare" && clock.monotonic() < 150_000 ? DOWN : undefined;
    site.world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "reg.test/cni/cilium" && clock.monotonic() < 100_000
        ? { kind: "refuse", failure: failing("registry-unreachable", { transient: true }) }
        : undefined;
    const options = { localRegistry: site.registry, waitForLocalMs: 60_000, clock };
    const { summary } = await clock.run(site.run(SITE, options));
    expect(summary.uploads).toMatchObject({ uploaded: 2 });
  });

  test("does not wait for it when the delivery itself can't go on", async () => {
    const { run, registry } = openSite();
    registry.fault = ({ kind }) => (kind === "prepare" ? DOWN : undefined);
    const generations = {
      begin: async () => undefined,
      complete: async () => {
        throw failing("store-broken");
      },
      kept: async () => [],
    };
    const waits: (number | null)[] = [];
    const emit = (event: DeliveryEvent) => {
      if (event.type === "local-registry-waiting") waits.push(event.untilMs);
    };
    const running = run(SITE, { localRegistry: registry, generations, emit });
    await expect(running).rejects.toMatchObject({ code: "store-broken" });
    expect(waits.every((untilMs) => untilMs === null)).toBe(true);
  });

  test("asks once when it is not to be waited for", async () => {
    const { run, registry, clock } = openSite();
    registry.fault = ({ kind }) => (kind === "prepare" ? DOWN : undefined);
    const { summary } = await run(SITE, { localRegistry: registry, waitForLocalMs: 0 });
    expect(summary.uploads?.failures.map(({ code }) => code)).toEqual([
      "local-registry-unreachable",
    ]);
    expect(registry.requests).toHaveLength(1);
    expect(clock.sleeps).toEqual([]);
  });

  test("does not wait for what time won't heal", async () => {
    const { run, registry, clock } = openSite();
    registry.fault = ({ kind }) =>
      kind === "prepare" ? failing("registry-unauthorized") : undefined;
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads?.failures.map(({ code }) => code)).toEqual(["registry-unauthorized"]);
    expect(clock.sleeps).toEqual([]);
    expect(summary.stages.map(({ delivered }) => delivered)).toEqual([1, 1, 2]);
  });

  test("waits for it again when it goes away in the middle", async () => {
    const { run, registry, clock } = openSite();
    let downUntilMs = 0;
    registry.fault = (_, ordinal) => {
      if (ordinal === 5) downUntilMs = clock.monotonic() + 200_000;
      return clock.monotonic() < downUntilMs ? DOWN : undefined;
    };
    const { summary, events } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 2, failed: 0 });
    expect(events.filter(({ type }) => type === "local-registry-ready").length).toBeGreaterThan(1);
    expect(registry.incompleteTags()).toEqual([]);
  });
});

describe("deliver() whose local registry refuses", () => {
  /** The layer that the site's images share. */
  async function findShared(): Promise<Digest | undefined> {
    const { run, registry } = openSite();
    await run(SITE, { localRegistry: registry });
    return registry.mounted[0]?.digest;
  }

  test("for hours: that is not waited out, and the next run completes", async () => {
    const { run, registry, clock } = openSite();
    registry.fault = ({ kind }) =>
      kind === "manifest"
        ? failing("registry-busy", { transient: true, retryAfterMs: 3 * 3_600_000 })
        : undefined;
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ failed: 2 });
    expect(clock.sleeps).toEqual([]);
    registry.fault = undefined;
    const next = await run(SITE, { localRegistry: registry });
    expect(next.summary.uploads).toMatchObject({ uploaded: 2 });
  });

  test("one image: the others are uploaded", async () => {
    const { run, registry, till } = openSite();
    registry.fault = ({ kind, tag, repository }) =>
      kind === "manifest" && tag !== undefined && repository === SHOP_THERE
        ? failing("tag-immutable")
        : undefined;
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.outcome).toBe("failed");
    expect(summary.uploads?.failures).toEqual([
      {
        image: SHOP,
        local: `local.test:5000/${SHOP_THERE}:v1`,
        registry: "local.test:5000",
        code: "tag-immutable",
        message: "Cannot go on",
        hint: "Wait",
      },
    ]);
    expect(tagsOf(registry)).toEqual({ [`${TILL_THERE}:v2`]: till.digest });
  });

  test.each(["registry-certificate", "registry-read-only"])(
    "with %s: nothing more is tried, and the fetch goes on",
    async (code) => {
      const { run, registry, world } = openSite();
      world.push(TILL, { layers: ["a very long layer ".repeat(10_000)] });
      registry.fault = ({ kind }) => (kind === "blob" ? failing(code) : undefined);
      const { summary } = await run(SITE, { localRegistry: registry });
      expect(summary.uploads?.failures.map(({ image, code }) => [image, code])).toEqual([
        [SHOP, code],
      ]);
      expect(summary.uploads).toMatchObject({ failed: 1, skipped: 1 });
      expect(summary.stages.map(({ delivered }) => delivered)).toEqual([1, 1, 2]);
    },
  );

  test.each(["registry-full", "registry-unauthorized", "project-missing"])(
    "one repository with %s: the others are uploaded, and the next run completes",
    async (code) => {
      const shared = await findShared();
      const { run, registry, till } = openSite();
      let troubles = 0;
      registry.fault = ({ kind, repository, target }) => {
        if (kind !== "blob" || target === shared) return undefined;
        if (repository === SHOP_THERE) return failing(code);
        troubles += 1;
        // So that the other is still under way when this one fails for good.
        return troubles < 6 ? DOWN : undefined;
      };
      const { summary } = await run(SITE, { localRegistry: registry });
      expect(summary.uploads).toMatchObject({ uploaded: 1, failed: 1, skipped: 0 });
      expect(summary.uploads?.failures.map(({ image, code }) => [image, code])).toEqual([
        [SHOP, code],
      ]);
      expect(tagsOf(registry)).toEqual({ [`${TILL_THERE}:v2`]: till.digest });
      registry.fault = undefined;
      const next = await run(SITE, { localRegistry: registry });
      expect(next.summary.uploads).toMatchObject({ uploaded: 1, present: 1, failed: 0 });
    },
  );

  test("with a password that is revoked in the middle: it is told once, and nothing more is tried", async () => {
    const { run, registry } = openSite();
    registry.fault = ({ kind }, ordinal) =>
      ordinal > 4 && (kind === "blob" || kind === "prepare")
        ? failing("registry-unauthorized")
        : undefined;
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 0, failed: 0, skipped: 2 });
    expect(summary.uploads?.failures.map(({ image, code }) => [image, code])).toEqual([
      [null, "registry-unauthorized"],
    ]);
    expect(summary.stages.map(({ delivered }) => delivered)).toEqual([1, 1, 2]);
  });

  test("with registry-full a layer that images share: it is sent once, and each is named", async () => {
    const shared = await findShared();
    const { run, registry } = openSite();
    let refusals = 0;
    registry.fault = ({ kind, target }) => {
      if (kind !== "blob" || target !== shared) return undefined;
      refusals += 1;
      return failing("registry-full");
    };
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(refusals).toBe(1);
    expect(summary.uploads?.failures.map(({ code }) => code)).toEqual([
      "registry-full",
      "registry-full",
    ]);
    expect(registry.tags.size).toBe(0);
  });

  test.each(["registry-unauthorized", "registry-read-only", "project-missing"])(
    "with %s once: it is prepared anew, and goes on",
    async (code) => {
      const { run, registry } = openSite();
      registry.fault = ({ kind }) =>
        kind === "blob" && registry.needs.length === 1 ? failing(code) : undefined;
      const { summary } = await run(SITE, { localRegistry: registry });
      expect(summary.uploads).toMatchObject({ uploaded: 2, failed: 0 });
      expect(registry.needs).toHaveLength(2);
    },
  );

  test("names a registry that took a blob and did not keep it", async () => {
    const { run, registry } = openSite();
    registry.fault = ({ kind, repository }) =>
      kind === "manifest" && repository === SHOP_THERE ? "lose" : undefined;
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads?.failures.map(({ image, code }) => [image, code])).toEqual([
      [SHOP, "push-not-stored"],
    ]);
  });

  test("names a blob that is gone right after it was pushed", async () => {
    const { run, registry } = openSite();
    registry.fault = ({ kind, repository, target }) => {
      if (kind === "has" && repository === SHOP_THERE) {
        registry.remove(repository, target as Digest);
      }
      return undefined;
    };
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads?.failures[0]?.code).toBe("push-not-stored");
    expect(summary.uploads?.failures[0]?.message).toContain(SHOP_THERE);
  });

  test("names a tag that somebody else moved right after the push", async () => {
    const { run, registry, till } = openSite();
    registry.fault = ({ kind, target }) => {
      if (kind === "resolve" && target === "v1" && registry.tags.has(`${SHOP_THERE}:v1`)) {
        registry.move(`${SHOP_THERE}:v1`, till);
      }
      return undefined;
    };
    const { summary } = await run(SITE, { localRegistry: registry });
    expect(summary.uploads?.failures.map(({ code }) => code)).toEqual(["tag-moved"]);
  });

  test("pushes a blob again that the registry collected before its manifest came", async () => {
    const { run, registry } = openSite();
    let isCollected = false;
    registry.fault = ({ kind, repository, target }) => {
      if (kind === "manifest" && !isCollected) {
        isCollected = true;
        const [digest] = registry.sent.filter((sent) => registry.holds(repository, sent));
        if (digest !== undefined) registry.remove(repository, digest);
        expect(target).not.toBe("");
      }
      return undefined;
    };
    const { summary } = await run({ application: [SHOP] }, { localRegistry: registry });
    expect(summary.uploads).toMatchObject({ uploaded: 1 });
    expect(registry.sent).toHaveLength(4);
    expect(registry.incompleteTags()).toEqual([]);
  });
});

describe("deliver() of an index to a local registry", () => {
  const PLATFORMS = ["linux/amd64", "linux/arm64"];

  test("pushes it as it is where the registry takes that", async () => {
    const { run, registry, shop } = openSite(PLATFORMS);
    registry.wantsWholeIndexes = false;
    const { summary } = await run({ application: [SHOP] }, { localRegistry: registry });
    expect(tagsOf(registry)).toEqual({ [`${SHOP_THERE}:v1`]: shop.digest });
    expect(summary.uploads?.onePlatform).toEqual([]);
    expect(summary.warnings).toEqual([]);
  });

  test("pushes the one platform where the registry does not, and says what that means", async () => {
    const { run, registry, shop } = openSite(PLATFORMS);
    const { summary } = await run({ application: [SHOP] }, { localRegistry: registry });
    const digest = registry.tags.get(`${SHOP_THERE}:v1`);
    expect(digest).toBeDefined();
    expect(digest).not.toBe(shop.digest);
    expect(registry.incompleteTags()).toEqual([]);
    expect(summary.outcome).toBe("done");
    expect(summary.uploads).toMatchObject({ uploaded: 1, onePlatform: [SHOP] });
    const [warning] = summary.warnings;
    expect(warning?.message).toContain(shop.digest);
    expect(warning?.message).toContain(digest ?? "-");

    registry.forget();
    const second = await run({ application: [SHOP] }, { localRegistry: registry });
    expect(registry.requests.map(({ kind }) => kind)).toEqual(["prepare", "resolve"]);
    expect(second.summary.uploads).toMatchObject({ present: 1, onePlatform: [SHOP] });
  });

  test("asks a registry that refused one no second time", async () => {
    const { run, registry, shop, world } = openSite(PLATFORMS);
    const layers = ["a very long layer ".repeat(10_000)];
    const till = world.push(TILL, { layers, platforms: PLATFORMS });
    await run({ application: [SHOP, TILL] }, { localRegistry: registry });
    const pushed = registry.requests.filter(({ kind }) => kind === "manifest");
    expect(pushed.filter(({ target }) => target === shop.digest)).toHaveLength(1);
    expect(pushed.filter(({ target }) => target === till.digest)).toEqual([]);
    expect(registry.tags.size).toBe(2);
  });

  test("fetches the other platforms and pushes it whole where that is wanted", async () => {
    const { run, registry, shop, store } = openSite(PLATFORMS);
    const options = { localRegistry: registry, absentPlatforms: "complete" } as const;
    const { summary, events } = await run({ application: [SHOP] }, options);
    expect(tagsOf(registry)).toEqual({ [`${SHOP_THERE}:v1`]: shop.digest });
    expect(registry.incompleteTags()).toEqual([]);
    expect(summary.warnings).toEqual([]);
    expect(summary.bytesMoved).toBe(summary.bytesTotal);
    const moved = events.filter((event) => event.type === "bytes");
    expect(moved.reduce((bytes, event) => bytes + event.bytes, 0)).toBe(summary.bytesMoved);
    const sized = events.filter((event) => event.type === "image-sized");
    expect(sized.at(-1)?.overall.bytesTotal).toBe(summary.bytesTotal);
    expect(await store.lookup(SHOP)).toEqual(shop);

    registry.forget();
    await run({ application: [SHOP] }, options);
    expect(registry.requests.map(({ kind }) => kind)).toEqual(["prepare", "resolve"]);
  });

  test("goes over to the whole index when the setting changes", async () => {
    const { run, registry, shop } = openSite(PLATFORMS);
    await run({ application: [SHOP] }, { localRegistry: registry });
    const options = { localRegistry: registry, absentPlatforms: "complete" } as const;
    await run({ application: [SHOP] }, options);
    expect(tagsOf(registry)).toEqual({ [`${SHOP_THERE}:v1`]: shop.digest });
  });

  test("says so when the other platforms can't be fetched, and loses nothing", async () => {
    const { run, registry, world, shop } = openSite(PLATFORMS);
    await run(
      { application: [SHOP] },
      { localRegistry: registry, absentPlatforms: "one-platform" },
    );
    world.fault = () => ({ kind: "refuse", failure: DOWN });
    const options = { localRegistry: registry, absentPlatforms: "complete" } as const;
    const { summary } = await run({ application: [SHOP] }, options);
    expect(summary.uploads?.failures.map(({ code }) => code)).toEqual(["platforms-missing"]);
    expect(registry.incompleteTags()).toEqual([]);
    expect(registry.tags.get(`${SHOP_THERE}:v1`)).not.toBe(shop.digest);
  });
});

describe("deliver() of a signed image to a local registry", () => {
  function signedSite() {
    const site = openSite();
    const tag = `${referrersTag(site.shop.digest)}.sig`;
    const signature = site.world.attach("apps.test/shop", { text: "signature", tag });
    const list = site.world.attach("apps.test/shop", { text: "materials", subject: site.shop });
    return { ...site, tag, signature, list };
  }

  test("uploads what belongs to it behind the image, and only asks for it the next time", async () => {
    const { run, registry, shop, tag, signature, list } = signedSite();
    const images = { application: [SHOP] };
    await run(images, { localRegistry: registry });
    expect(tagsOf(registry)).toEqual({
      [`${SHOP_THERE}:v1`]: shop.digest,
      [`${SHOP_THERE}:${tag}`]: signature.digest,
    });
    const tagged = registry.requests.filter((request) => request.tag !== undefined);
    expect(tagged.map((request) => request.tag)).toEqual(["v1", tag]);
    expect(registry.holds(SHOP_THERE, list.digest)).toBe(true);

    registry.forget();
    await run(images, { localRegistry: registry });
    const asked = registry.requests.map(({ target }) => target);
    expect(asked).toEqual(["", "v1", tag, list.digest]);
  });

  test("warns when the registry takes the image and refuses the signature", async () => {
    const { run, registry, tag } = signedSite();
    registry.fault = (request) => (request.tag === tag ? failing("push-denied") : undefined);
    const { summary } = await run({ application: [SHOP] }, { localRegistry: registry });
    expect(summary.outcome).toBe("done");
    expect(summary.uploads).toMatchObject({ uploaded: 1 });
    expect(summary.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining(`(${tag}) was not uploaded`),
    ]);
  });
});

test("deliver() whose local registry has no room for a signature says so, and brings it the next time", async () => {
  const { run, registry, world, shop } = openSite();
  const tag = `${referrersTag(shop.digest)}.sig`;
  world.attach("apps.test/shop", { text: "signature", tag });
  registry.fault = (request) => (request.tag === tag ? failing("registry-full") : undefined);
  const { summary } = await run(SITE, { localRegistry: registry });
  expect(summary.uploads).toMatchObject({ uploaded: 1, failed: 1 });
  registry.fault = undefined;
  const next = await run(SITE, { localRegistry: registry });
  expect(next.summary.outcome).toBe("done");
  expect(registry.tags.has(`${SHOP_THERE}:${tag}`)).toBe(true);
});

describe("deliver() whose n-th request to the local registry fails", () => {
  test.each([
    ["for a moment", DOWN],
    ["for good", failing("push-denied")],
    ["quietly", "lose"],
  ] as const)("%s: no name stands for less, and the next completes", async (_, fault) => {
    const whole = openSite(["linux/amd64", "linux/arm64"]);
    await whole.run(SITE, { localRegistry: whole.registry });
    const requests = whole.registry.requests.length;
    expect(requests).toBeGreaterThan(15);
    for (let n = 1; n <= requests; n += 1) {
      const { run, registry } = openSite(["linux/amd64", "linux/arm64"]);
      registry.fault = (_, ordinal) => (ordinal === n ? fault : undefined);
      const { summary } = await run(SITE, { localRegistry: registry });
      expect(registry.incompleteTags()).toEqual([]);
      expect(summary.stages.map(({ delivered }) => delivered)).toEqual([1, 1, 2]);
      if (fault === DOWN) expect(summary.outcome).toBe("done");

      registry.fault = undefined;
      const next = await run(SITE, { localRegistry: registry });
      expect(next.summary.outcome).toBe("done");
      expect(next.summary.bytesMoved).toBe(0);
      expect(registry.tags.size).toBe(2);
      expect(registry.incompleteTags()).toEqual([]);
    }
  });
});

describe("deliver() that is given up", () => {
  test("while it waits for the local registry: it is interrupted, and nothing runs on", async () => {
    const { run, registry, clock } = openSite();
    const controller = new AbortController();
    registry.fault = ({ kind }) => {
      if (kind === "prepare" && clock.monotonic() > 60_000) controller.abort("enough");
      return kind === "prepare" ? DOWN : undefined;
    };
    const options = { localRegistry: registry, signal: controller.signal };
    const { summary } = await run(SITE, options);
    expect(summary.outcome).toBe("interrupted");
    expect(summary.uploads).toMatchObject({ skipped: 2, failures: [] });
  });
});

describe("deliver() to the embedded registry as the local one", () => {
  test("uploads nothing but the name, after a look at the store", async () => {
    const { run, registry } = openSite();
    const local = { ...registry, servesTheStore: true };
    const first = await run(SITE, { localRegistry: local });
    expect(first.summary.uploads).toMatchObject({ uploaded: 2, bytesSent: 0, bytesMounted: 0 });
    const second = await run(SITE, { localRegistry: local });
    expect(second.summary.uploads).toMatchObject({ present: 2, bytesSent: 0 });
    expect(registry.sent).toEqual([]);
  });
});
