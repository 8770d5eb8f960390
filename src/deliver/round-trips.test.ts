import { describe, expect, test } from "bun:test";
import type { Source } from "#content";
import { createDeliverySite, type StageImages } from "#test-support/delivery-site";
import { createEventClock } from "#test-support/event-clock";
import type { ScriptedRequest } from "#test-support/scripted-world";

const OS = "reg.test/os/kairos:v1";
const INDEXED = ["linux/amd64", "linux/arm64"];

/** So many images of a kind. */
const some = (kind: string, count: number) =>
  Array.from({ length: count }, (_, i) => `reg.test/${kind}/${i}:v1`);

/** A site whose registries are one tick of the clock away, and which counts the ticks. */
function farSite() {
  const site = createDeliverySite();
  let clock = createEventClock(0);
  const blobsAskedAt: number[] = [];
  const far = (source: Source): Source => {
    const tick = (signal: AbortSignal) => clock.sleep(1, signal);
    return {
      ...source,
      async resolve(target, options) {
        await tick(options.signal);
        return source.resolve(target, options);
      },
      async fetchManifest(target, options) {
        await tick(options.signal);
        return source.fetchManifest(target, options);
      },
      async fetch(descriptor, options) {
        if (!/manifest|index/.test(descriptor.mediaType)) blobsAskedAt.push(clock.monotonic());
        await tick(options.signal);
        return source.fetch(descriptor, options);
      },
    };
  };
  return {
    ...site,
    /** Delivers, and gives how many round trips it took until the first blob was asked for, and in all. */
    async deliver(images: StageImages) {
      clock = createEventClock(0);
      blobsAskedAt.length = 0;
      site.world.forget();
      const { summary } = await clock.run(
        site.run(images, {
          ...{ clock, attachments: "never" },
          openSource: ({ source }) => far(site.world.open(source)),
        }),
      );
      expect(summary.outcome).toBe("done");
      return { firstBlob: blobsAskedAt[0], all: clock.monotonic() };
    },
  };
}

/** What was asked of one image before its blobs. */
function asked(requests: readonly ScriptedRequest[]): readonly string[] {
  return requests
    .filter(({ kind }) => kind !== "blob")
    .map(({ kind, target }) => (target === "v1" ? `${kind} by name` : kind));
}

describe("an image that the site does not have", () => {
  test("has its blobs asked for after one round trip", async () => {
    const site = farSite();
    site.world.push(OS, { layers: ["system"] });
    expect(await site.deliver({ provider: [OS] })).toEqual({ firstBlob: 1, all: 2 });
    expect(asked(site.world.requests)).toEqual(["manifest by name"]);
  });

  test("has them asked for after two when it has an index", async () => {
    const site = farSite();
    site.world.push(OS, { layers: ["system"], platforms: INDEXED });
    expect(await site.deliver({ provider: [OS] })).toEqual({ firstBlob: 2, all: 3 });
    expect(asked(site.world.requests)).toEqual(["manifest by name", "manifest"]);
  });

  test("and is pinned to a digest is asked for by it, once", async () => {
    const site = farSite();
    const { digest } = site.world.push(OS, { layers: ["system"] });
    const pinned = `reg.test/os/kairos@${digest}`;
    expect(await site.deliver({ provider: [pinned] })).toEqual({ firstBlob: 1, all: 2 });
    expect(site.world.requests[0]).toMatchObject({ kind: "manifest", target: digest });
    expect(asked(site.world.requests)).toHaveLength(1);
  });
});

describe("an image that the site has", () => {
  test("is asked what it stands for, and for nothing else while that stays", async () => {
    const site = farSite();
    site.world.push(OS, { layers: ["system"], platforms: INDEXED });
    await site.deliver({ provider: [OS] });
    expect(await site.deliver({ provider: [OS] })).toEqual({ firstBlob: undefined, all: 1 });
    expect(asked(site.world.requests)).toEqual(["resolve by name"]);
  });

  test("is asked for by digest once it has moved", async () => {
    const site = farSite();
    site.world.push(OS, { layers: ["system"] });
    await site.deliver({ provider: [OS] });
    site.world.push(OS, { layers: ["newer system"] });
    expect(await site.deliver({ provider: [OS] })).toEqual({ firstBlob: 2, all: 3 });
    expect(asked(site.world.requests)).toEqual(["resolve by name", "manifest"]);
  });
});

test("the manifests of all stages are asked for side by side, the provider's first", async () => {
  const site = farSite();
  const images = {
    provider: [OS],
    infrastructure: some("infra", 3),
    application: some("app", 4),
  };
  for (const name of Object.values(images).flat()) {
    site.world.push(name, { layers: [name], platforms: INDEXED });
  }
  expect((await site.deliver(images)).firstBlob).toBe(2);
  expect(site.world.requests[0]?.repository).toBe("reg.test/os/kairos");
});
