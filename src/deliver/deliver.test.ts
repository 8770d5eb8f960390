import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { createMemoryStore, type Store } from "#content";
import { parseReference } from "#reference";
import { createDeliverySite, incompleteNames } from "#test-support/delivery-site";
import type { Fault, ScriptedRequest } from "#test-support/scripted-world";
import type { Folder } from "./context.ts";
import type { DeliveryEvent } from "./event.ts";
import { createDeliveryLines, type DeliveryLine } from "./journal.ts";
import { DEFAULT_SHARES } from "./transfer.ts";

const OS = "reg.test/os/kairos:v1";
const CNI = "reg.test/cni/cilium:v1";
const CSI = "reg.test/csi/longhorn:v1";
const APP = "other.test/apps/shop:v1";
const SITE = { provider: [OS], infrastructure: [CNI, CSI], application: [APP] };

function filledSite(store?: Store) {
  const site = createDeliverySite(store);
  site.world.push(OS, { layers: ["base system", "kubernetes"] });
  site.world.push(CNI, { layers: ["shared base", "cilium agent"] });
  site.world.push(CSI, { layers: ["shared base", "longhorn manager"] });
  site.world.push(APP, { layers: ["shared base", "the shop"] });
  return site;
}

function failing(
  code: string,
  options: { transient?: boolean; retryAfterMs?: number } = {},
): Failure {
  return new Failure({ code, message: "Cannot ask the registry", hint: "Wait", ...options });
}

const UNREACHABLE: Fault = {
  kind: "refuse",
  failure: failing("registry-unreachable", { transient: true }),
};
const RESET = failing("registry-unreachable", { transient: true });

function outcomes(events: readonly DeliveryEvent[]): Record<string, string> {
  const done = events.filter((event) => event.type === "image-done");
  return Object.fromEntries(done.map(({ image, outcome }) => [image, outcome]));
}

function blobsOf(requests: readonly ScriptedRequest[]): readonly string[] {
  return requests.filter(({ kind }) => kind === "blob").map(({ target }) => target);
}

describe("deliver()", () => {
  test("brings every image of every stage into the store under its declared name", async () => {
    const site = filledSite();
    const { summary, events } = await site.run(SITE);
    expect(summary.outcome).toBe("done");
    expect(outcomes(events)).toEqual({
      [OS]: "delivered",
      [CNI]: "delivered",
      [CSI]: "delivered",
      [APP]: "delivered",
    });
    expect((await site.store.names()).map(({ name }) => name)).toEqual([APP, CNI, CSI, OS]);
    expect(await incompleteNames(site.store)).toEqual([]);
  });

  test("stores under the declared name what it fetched from the source", async () => {
    const site = createDeliverySite();
    const root = site.world.push("mirror.test/ext/shop:v1", { layers: ["a"] });
    await site.run({ application: [`${APP} <- mirror.test/ext/shop:v1`] });
    expect(await site.store.lookup(APP)).toEqual(root);
    expect(site.world.requests[0]?.repository).toBe("mirror.test/ext/shop");
  });

  test("fetches a blob that several images share once, and counts it once", async () => {
    const site = filledSite();
    const { summary, events } = await site.run(SITE);
    const blobs = blobsOf(site.world.requests);
    expect(new Set(blobs).size).toBe(blobs.length);
    const moved = events
      .filter((event) => event.type === "bytes")
      .reduce((sum, { bytes }) => sum + bytes, 0);
    expect(summary.bytesMoved).toBe(moved);
    expect(summary.bytesTotal).toBe(moved);
    expect(summary.bytesHere).toBe(0);
  });

  test("tells of every blob that an image lacked, whoever brought it", async () => {
    const site = filledSite();
    const { events } = await site.run(SITE);
    for (const image of [OS, CNI, CSI, APP]) {
      const sized = events.find((event) => event.type === "image-sized" && event.image === image);
      const arrived = events
        .filter((event) => event.type === "blob-done" && event.image === image)
        .reduce((sum, event) => sum + (event.type === "blob-done" ? event.size : 0), 0);
      expect(sized?.type === "image-sized" && sized.bytesTotal).toBe(arrived);
    }
  });

  test("asks for no blob of another image before the provider images are complete", async () => {
    const site = filledSite();
    let isProviderDone = false;
    const early: ScriptedRequest[] = [];
    site.world.fault = (request) => {
      if (request.kind === "blob" && request.repository !== "reg.test/os/kairos") {
        if (!isProviderDone) early.push(request);
      }
      return undefined;
    };
    await site.run(SITE, {
      emit: (event) => {
        if (event.type === "stage-done" && event.name === "provider") isProviderDone = true;
      },
    });
    expect(isProviderDone).toBe(true);
    expect(early).toEqual([]);
  });

  test("asks for no config of another image early, even to find out its platform", async () => {
    const site = filledSite();
    site.world.push(APP, {
      layers: ["x"],
      platforms: ["linux/amd64", "linux/arm64"],
      unsaid: true,
    });
    const { events, summary } = await site.run(SITE);
    const blobRequests = site.world.requests.filter(({ kind }) => kind === "blob");
    const firstOfOthers = blobRequests.findIndex(({ repository }) => !repository.includes("/os/"));
    expect(firstOfOthers).toBe(3);
    expect(summary.outcome).toBe("done");
    expect(blobsOf(site.world.requests).length).toBe(new Set(blobsOf(site.world.requests)).size);
    expect(outcomes(events)[APP]).toBe("delivered");
    const moved = events
      .filter((event) => event.type === "bytes")
      .reduce((sum, { bytes }) => sum + bytes, 0);
    expect(summary).toMatchObject({ bytesMoved: moved, bytesTotal: moved, bytesHere: 0 });
    const manifests = site.world.requests.filter(({ kind }) => kind === "manifest");
    const asked = manifests.map(({ repository, target }) => `${repository} ${target}`);
    expect(new Set(asked).size).toBe(manifests.length);
  });

  test("asks for the manifests of the provider images before those of others", async () => {
    const site = filledSite();
    await site.run(SITE);
    const manifests = site.world.requests.filter(({ kind }) => kind === "manifest");
    expect(manifests[0]).toMatchObject({ repository: "reg.test/os/kairos", target: "v1" });
  });

  test("takes nothing into the store of what is no image, whatever it calls itself", async () => {
    const site = createDeliverySite();
    const root = site.world.push(APP, { layers: ["x"] });
    const mediaType = "application/vnd.docker.distribution.manifest.v1+json";
    const { summary, events } = await site.run(
      { application: [APP] },
      {
        openSource: ({ source }) => ({
          ...site.world.open(source),
          fetchManifest: async (tag, options) => {
            const { bytes } = await site.world.open(source).fetchManifest(tag, options);
            return { descriptor: { ...root, mediaType }, bytes };
          },
        }),
      },
    );
    expect(summary.failures.map(({ code }) => code)).toEqual(["manifest-invalid"]);
    expect(events.filter(({ type }) => type === "bytes")).toEqual([]);
  });

  test("knows the size of all stages while the provider image is still moving", async () => {
    const site = filledSite();
    site.world.push(OS, { layers: ["system ".repeat(1_000)] });
    const { events } = await site.run(SITE);
    const types = events.map(({ type }) => type);
    const lastSized = events.findLastIndex((event) => event.type === "image-sized");
    expect(types.filter((type) => type === "image-sized").length).toBe(4);
    expect(lastSized).toBeLessThan(
      events.findIndex((event) => event.type === "stage-done" && event.name === "provider"),
    );
    const sized = events[lastSized];
    expect(sized?.type === "image-sized" && sized.overall.images).toBe(4);
  });

  test("stops when a provider image fails, and leaves the later stages alone", async () => {
    const site = filledSite();
    site.world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "reg.test/os/kairos"
        ? { kind: "refuse", failure: failing("registry-denied") }
        : undefined;
    const { summary } = await site.run(SITE);
    expect(summary.outcome).toBe("failed");
    expect(summary.failures.map(({ image, code }) => [image, code])).toEqual([
      [OS, "registry-denied"],
    ]);
    expect(summary.stages.map(({ failed, skipped }) => [failed, skipped])).toEqual([
      [1, 0],
      [0, 2],
      [0, 1],
    ]);
    expect(blobsOf(site.world.requests).length).toBe(3);
  });

  test("goes on past an image that fails in a later stage", async () => {
    const site = filledSite();
    site.world.fault = ({ repository }) =>
      repository === "reg.test/cni/cilium"
        ? { kind: "refuse", failure: failing("registry-denied") }
        : undefined;
    const { summary, events } = await site.run(SITE);
    expect(summary.outcome).toBe("failed");
    expect(outcomes(events)).toEqual({
      [OS]: "delivered",
      [CNI]: "failed",
      [CSI]: "delivered",
      [APP]: "delivered",
    });
    expect(summary.failures).toEqual([
      {
        image: CNI,
        source: CNI,
        registry: "reg.test",
        code: "registry-denied",
        message: "Cannot ask the registry",
        hint: "Wait",
      },
    ]);
  });

  test("brings a blob from the image's own registry when another's lacks it", async () => {
    const site = filledSite();
    site.world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "reg.test/cni/cilium"
        ? { kind: "refuse", failure: failing("content-missing") }
        : undefined;
    const { events } = await site.run({ infrastructure: [CNI, CSI] });
    expect(outcomes(events)).toEqual({ [CNI]: "failed", [CSI]: "delivered" });
  });

  test("goes no further than the stage it is told", async () => {
    const site = filledSite();
    const { summary } = await site.run(SITE, { until: "infrastructure" });
    expect(summary.outcome).toBe("done");
    expect(summary.stages.map(({ delivered, skipped }) => [delivered, skipped])).toEqual([
      [1, 0],
      [2, 0],
      [0, 1],
    ]);
    expect(site.world.requests.some(({ repository }) => repository.includes("shop"))).toBe(false);
  });

  test("keeps an index whole and fetches only what its platform needs", async () => {
    const site = createDeliverySite();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = site.world.push(APP, { layers: ["one", "two"], platforms });
    await site.run({ application: [APP] });
    expect(await site.store.lookup(APP)).toEqual(root);
    const kinds = site.world.requests.map(({ kind }) => kind).join(" ");
    expect(kinds).toBe("manifest manifest blob blob blob");
  });

  test("resolves a tag once, so that a tag that moves meanwhile gives no mixture", async () => {
    const site = filledSite();
    const root = site.world.push(APP, { layers: ["old"] });
    await site.run(SITE, {
      emit: (event) => {
        if (event.type === "image-sized" && event.image === APP) {
          site.world.push(APP, { layers: ["new"] });
        }
      },
    });
    expect(await site.store.lookup(APP)).toEqual(root);
    expect(await incompleteNames(site.store)).toEqual([]);
  });

  test("refuses a registry's word for a digest that the reference does not name", async () => {
    const site = filledSite();
    site.world.push(CNI, { layers: ["other"] });
    const pinned = site.world.push(APP, { layers: ["mine"] });
    const image = `other.test/apps/shop@${pinned.digest}`;
    const { summary } = await site.run(
      { application: [image] },
      {
        openSource: ({ source }) => {
          const open = site.world.open(source);
          const liar = site.world.open(parseReference(CNI));
          return { ...open, fetchManifest: (_, options) => liar.fetchManifest("v1", options) };
        },
      },
    );
    expect(summary.failures[0]?.code).toBe("digest-mismatch");
    expect(await site.store.names()).toEqual([]);
  });

  test("keeps to the limit of blobs on the link", async () => {
    const site = filledSite();
    await site.run(SITE, { shares: { ...DEFAULT_SHARES, places: 2, placesForSmall: 0 } });
    expect(site.world.blobsOpen).toEqual({ now: 0, max: 2 });
  });

  test("warns when a lone manifest is for another machine, and delivers it", async () => {
    const site = createDeliverySite();
    site.world.push(APP, { layers: ["x"], platforms: ["linux/arm64"], unsaid: true });
    const { summary } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(summary.warnings.map(({ image }) => image)).toContain(APP);
    expect(summary.warnings.map(({ message }) => message).join()).toContain("linux/arm64");
  });
});

describe("a second deliver()", () => {
  test("asks only what the tags stand for, and moves nothing", async () => {
    const site = filledSite();
    const first = await site.run(SITE);
    site.world.forget();
    const { summary, events } = await site.run(SITE);
    expect(site.world.requests.map(({ kind }) => kind)).toEqual(Array(4).fill("resolve"));
    expect(new Set(Object.values(outcomes(events)))).toEqual(new Set(["present"]));
    expect(summary.bytesMoved).toBe(0);
    expect(summary.bytesHere).toBe(first.summary.bytesTotal);
  });

  test("asks nobody for an image that is pinned and complete", async () => {
    const site = createDeliverySite();
    const { digest } = site.world.push(APP, { layers: ["one"] });
    const image = `other.test/apps/shop@${digest}`;
    await site.run({ application: [image] });
    site.world.forget();
    const { events } = await site.run({ application: [image] });
    expect(site.world.requests).toEqual([]);
    expect(outcomes(events)).toEqual({ [image]: "present" });
  });

  test("moves only what is new when a tag has moved", async () => {
    const site = filledSite();
    await site.run(SITE);
    const root = site.world.push(APP, { layers: ["shared base", "the new shop"] });
    site.world.forget();
    const { summary } = await site.run(SITE);
    expect(blobsOf(site.world.requests).length).toBe(2);
    expect(summary.stages[2]?.delivered).toBe(1);
    expect(await site.store.lookup(APP)).toEqual(root);
  });

  test("lets the last verified digest stand when the registry can not be reached", async () => {
    const site = filledSite();
    await site.run(SITE);
    const before = await site.store.names();
    site.world.push(APP, { layers: ["new"] });
    site.world.fault = () => UNREACHABLE;
    const { summary, events } = await site.run(SITE);
    expect(summary.outcome).toBe("done");
    expect(new Set(Object.values(outcomes(events)))).toEqual(new Set(["stood"]));
    expect(summary.warnings.map(({ image }) => image).toSorted()).toEqual([APP, CNI, CSI, OS]);
    expect(await site.store.names()).toEqual(before);
  });

  test("leaves a registry alone that fails while manifests are read ahead, until its images' turn", async () => {
    const site = filledSite();
    const apps = Array.from({ length: 40 }, (_, i) => `silent.test/app-${i}:1`);
    site.world.fault = ({ repository }) =>
      repository.startsWith("silent.test/") ? UNREACHABLE : undefined;
    await site.run({ provider: [OS], application: apps });
    const { requests } = site.world;
    const firstBlob = requests.findIndex(({ kind }) => kind === "blob");
    const inVain = requests
      .slice(0, firstBlob)
      .filter(({ repository }) => repository.startsWith("silent"));
    expect(firstBlob).toBeGreaterThan(0);
    expect(inVain.length).toBeLessThanOrEqual(8);
    expect(new Set(requests.map(({ repository }) => repository)).size).toBe(1 + apps.length);
  });

  test("asks once when there is something to stand on, and with patience when it turns out not to be", async () => {
    const site = filledSite();
    await site.run({ application: [APP] });
    const gap = blobsOf(site.world.requests)[1];
    site.world.forget();
    site.world.fault = () => UNREACHABLE;
    const patienceOf = () => site.world.requests.map(({ patience }) => patience);
    await site.run({ application: [APP] });
    expect(new Set(patienceOf())).toEqual(new Set(["brief"]));

    const store: Store = { ...site.store, has: async (d) => d.digest !== gap && site.store.has(d) };
    const { summary } = await site.run({ application: [APP] }, { store });
    expect(patienceOf().at(-1)).toBe("full");
    expect(summary.outcome).toBe("failed");
  });

  test("lets it stand too when the link goes before the new one is complete", async () => {
    for (const gone of ["manifest", "blob"] as const) {
      const site = filledSite();
      const before = site.world.push(APP, { layers: ["old"] });
      await site.run({ application: [APP] });
      site.world.push(APP, { layers: ["new"] });
      site.world.fault = ({ kind }) => (kind === gone ? UNREACHABLE : undefined);
      const { summary, events } = await site.run({ application: [APP] });
      expect(outcomes(events)).toEqual({ [APP]: "stood" });
      expect(summary.warnings[0]?.message).toContain(before.digest);
      expect(await site.store.lookup(APP)).toEqual(before);
      expect(events.filter(({ type }) => type === "image-sized").length).toBe(1);
    }
  });

  test("fails when the registry refuses, whatever the store has", async () => {
    for (const code of ["registry-unauthorized", "registry-denied", "content-missing"]) {
      const site = filledSite();
      await site.run(SITE);
      site.world.fault = () => ({ kind: "refuse", failure: failing(code) });
      const { summary } = await site.run({ application: [APP] });
      expect(summary.failures.map((failure) => failure.code)).toEqual([code]);
    }
  });

  test("lets nothing stand that is not complete", async () => {
    const site = filledSite();
    await site.run({ application: [APP] });
    const gap = blobsOf(site.world.requests)[1];
    const store: Store = { ...site.store, has: async (d) => d.digest !== gap && site.store.has(d) };
    site.world.fault = () => UNREACHABLE;
    const { summary } = await site.run({ application: [APP] }, { store });
    expect(summary.failures.map(({ code }) => code)).toEqual(["registry-unreachable"]);
  });

  test("fetches a manifest again that went bad in the store", async () => {
    const site = createDeliverySite();
    const root = site.world.push(APP, { layers: ["one"] });
    await site.run({ application: [APP] });
    let bad = true;
    const store: Store = {
      ...site.store,
      fetch: async (descriptor, options) =>
        bad && descriptor.digest === root.digest
          ? new Blob(["x".repeat(root.size)]).stream()
          : site.store.fetch(descriptor, options),
      async ingest(descriptor) {
        if (descriptor.digest === root.digest) bad = false;
        return site.store.ingest(descriptor);
      },
    };
    const { events } = await site.run({ application: [APP] }, { store });
    expect(outcomes(events)).toEqual({ [APP]: "delivered" });
    expect(bad).toBe(false);
  });
});

describe("deliver() on a bad link", () => {
  test("goes on with a blob where it broke off, with growing waits", async () => {
    const site = filledSite();
    let cuts = 4;
    site.world.fault = ({ kind }) => {
      if (kind !== "blob" || cuts === 0) return undefined;
      cuts -= 1;
      return { kind: "cut", afterBytes: 5, failure: RESET };
    };
    const { size } = site.world.push(APP, { layers: [] });
    const { summary, events } = await site.run({ application: [APP] });
    expect(size).toBeGreaterThan(0);
    expect(summary).toMatchObject({ outcome: "done", bytesFetched: summary.bytesTotal });
    expect(site.clock.sleeps).toEqual([1_000, 2_000, 4_000, 8_000]);
    const retries = events.filter((event) => event.type === "retry");
    expect(retries.map(({ attempt }) => attempt)).toEqual([2, 3, 4, 5]);
    const blobs = site.world.requests.filter(({ kind }) => kind === "blob");
    expect(blobs.map(({ range }) => range?.start)).toEqual([undefined, 5, 10, 15, 20]);
    expect(await incompleteNames(site.store)).toEqual([]);
  });

  test("gives a blob up after eight attempts that brought next to nothing", async () => {
    const site = filledSite();
    site.world.push(APP, { layers: [] });
    site.world.fault = ({ kind }) =>
      kind === "blob" ? { kind: "cut", afterBytes: 5, failure: RESET } : undefined;
    const { summary, events } = await site.run({ application: [APP] });
    expect(summary.failures.map(({ code }) => code)).toEqual(["registry-unreachable"]);
    expect(summary).toMatchObject({ bytesMoved: 0, bytesFetched: 40 });
    expect(blobsOf(site.world.requests).length).toBe(8);
    expect(site.clock.sleeps.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(2 * 60_000);
    const recounts = events.filter((event) => event.type === "recount");
    expect(recounts.map(({ bytesMoved }) => bytesMoved)).toEqual([-40]);
    expect(await site.store.names()).toEqual([]);
    site.world.fault = undefined;
    site.world.forget();
    const second = await site.run({ application: [APP] });
    expect(second.summary).toMatchObject({ outcome: "done", bytesHere: 40 });
    expect(second.summary.bytesMoved).toBe(second.summary.bytesTotal - 40);
  });

  test("has no end of patience with a link that brings something each time", async () => {
    const site = filledSite();
    // The scripted config repeats the layer, so it is as large.
    site.world.push(APP, { layers: ["x".repeat(20 * 70_000 - 100)] });
    site.world.fault = ({ kind }) =>
      kind === "blob" ? { kind: "cut", afterBytes: 70_000, failure: RESET } : undefined;
    const { summary, events } = await site.run({ application: [APP] });
    expect(summary).toMatchObject({ outcome: "done", bytesFetched: summary.bytesTotal });
    expect(events.filter(({ type }) => type === "resume").length).toBe(2 * 19);
    expect(site.clock.sleeps).toEqual([]);
  });

  test("counts little progress together, so that a link of crumbs is enough", async () => {
    const site = filledSite();
    site.world.push(APP, { layers: ["x".repeat(600_000)] });
    site.world.fault = ({ kind }) =>
      kind === "blob" ? { kind: "cut", afterBytes: 30_000, failure: RESET } : undefined;
    const { summary } = await site.run({ application: [APP] });
    expect(summary).toMatchObject({ outcome: "done", bytesFetched: summary.bytesTotal });
    expect(site.clock.sleeps.length).toBeGreaterThan(8);
    expect(Math.max(...site.clock.sleeps)).toBeLessThan(10_000);
  });

  test("waits for a registry that has answered before, and brings the others meanwhile", async () => {
    const site = filledSite();
    site.world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "reg.test/cni/cilium" && site.clock.monotonic() < 60_000
        ? UNREACHABLE
        : undefined;
    const { summary, events } = await site.run(SITE);
    expect(summary.outcome).toBe("done");
    const done = events.filter((event) => event.type === "image-done").map(({ image }) => image);
    expect(done).toEqual([OS, CSI, CNI, APP]);
  });

  test("is brief with a registry that never answered: its client was patient", async () => {
    const site = filledSite();
    site.world.push(APP, { layers: [] });
    site.world.fault = () => UNREACHABLE;
    const { summary } = await site.run({ application: [APP] });
    expect(summary.failures.map(({ code }) => code)).toEqual(["registry-unreachable"]);
    expect(site.world.requests.map(({ patience }) => patience)).toEqual(["brief", "full"]);
    expect(site.clock.sleeps).toEqual([]);
  });

  test("waits as long as the registry asks, but not for hours", async () => {
    const site = filledSite();
    const later = (retryAfterMs: number): Fault => ({
      kind: "refuse",
      failure: failing("registry-rate-limited", { transient: true, retryAfterMs }),
    });
    const faults = [
      { kind: "cut", afterBytes: 5, failure: RESET } as const,
      later(90_000),
      later(6 * 3_600_000),
    ];
    site.world.fault = ({ kind }) => (kind === "blob" ? faults.shift() : undefined);
    site.world.push(APP, { layers: [] });
    const { summary } = await site.run({ application: [APP] });
    expect(site.clock.sleeps).toEqual([1_000, 90_000]);
    expect(summary.failures.map(({ code }) => code)).toEqual(["registry-rate-limited"]);
  });

  test("asks once more for wrong bytes, then names image, registry and digest", async () => {
    for (const kind of ["blob", "manifest"] as const) {
      const site = createDeliverySite();
      const root = site.world.push(APP, { layers: [] });
      site.world.fault = (request) => (request.kind === kind ? { kind: "lie" } : undefined);
      const { summary } = await site.run({ application: [APP] });
      const [failure] = summary.failures;
      const asked = site.world.requests.filter((request) => request.kind === kind);
      expect(asked.length).toBe(2);
      expect(failure?.code).toBe("digest-mismatch");
      expect(failure?.message).toContain(APP);
      expect(failure?.message).toContain("other.test");
      const digest = kind === "manifest" ? root.digest : asked[0]?.target;
      expect(failure?.message).toContain(digest ?? "no request");
      expect(await site.store.names()).toEqual([]);
    }
  });

  test("waits for a registry that has answered, if only with the index, and then broke off", async () => {
    const site = createDeliverySite();
    site.world.push(APP, { layers: ["a"], platforms: ["linux/amd64"] });
    // Once while it is read ahead, and once in its turn.
    let cuts = 2;
    site.world.fault = ({ kind, target }) =>
      kind === "manifest" && target !== "v1" && cuts-- > 0 ? UNREACHABLE : undefined;
    const { summary } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(site.world.requests.filter(({ target }) => target === "v1")).toHaveLength(1);
  });

  test("survives one lie", async () => {
    const site = filledSite();
    let lies = 1;
    site.world.fault = ({ kind }) => (kind === "blob" && lies-- > 0 ? { kind: "lie" } : undefined);
    expect((await site.run(SITE)).summary.outcome).toBe("done");
  });
});

describe("deliver() on a full disk", () => {
  test("ends at once, and what was committed stays", async () => {
    const inner = createMemoryStore();
    let room = 4;
    const site = filledSite({
      ...inner,
      async ingest(descriptor) {
        if (room === 0) throw failing("store-full");
        room -= 1;
        return inner.ingest(descriptor);
      },
    });
    const { summary } = await site.run(SITE);
    expect(summary.outcome).toBe("failed");
    expect(new Set(summary.failures.map(({ code }) => code))).toEqual(new Set(["store-full"]));
    expect(summary.stages[0]?.delivered).toBe(1);
    expect(summary.stages[2]?.skipped).toBe(1);
    expect((await inner.names()).map(({ name }) => name)).toEqual([OS]);
  });
});

describe("deliver() and the room on the disk", () => {
  test("refuses before it starts, and says how much more is needed", async () => {
    const site = filledSite();
    const MIB = 1024 * 1024;
    site.world.push(APP, { layers: ["x".repeat(10 * MIB)] });
    const running = site.run(SITE, { bytesFree: async () => 5 * MIB });
    await expect(running).rejects.toMatchObject({ code: "store-full" });
    await expect(running).rejects.toThrow(
      /5\.2 MB free, expected 25\.\d MB .* needs (?:19|20)\.\d MB more/,
    );
    // Nobody can believe a size whose image is not named.
    await expect(running).rejects.toThrow(`The most of it, 21.0 MB, is for ${APP}`);
    expect(blobsOf(site.world.requests)).toEqual([]);
  });

  test("leaves an end in the journal when it refuses", async () => {
    const lineOf = createDeliveryLines();
    const lines: DeliveryLine[] = [];
    const emit = (event: DeliveryEvent) => {
      const line = lineOf(event);
      if (line !== undefined) lines.push(line);
    };
    const running = filledSite().run(SITE, { bytesFree: async () => 1, emit });
    await expect(running).rejects.toMatchObject({ code: "store-full" });
    expect(lines.map(({ kind }) => kind)).toEqual(["delivery-begun", "delivery-refused"]);
    expect(lines[1]?.data).toMatchObject({ failure: { code: "store-full", image: null } });
  });

  test("needs none for what is here", async () => {
    const site = filledSite();
    await site.run(SITE);
    const { summary } = await site.run(SITE, { bytesFree: async () => 0 });
    expect(summary.outcome).toBe("done");
  });
});

describe("deliver() with a folder that a person brought", () => {
  /** A folder that holds what another site's store does. */
  function folderOf(store: Store, path = "/media/stick"): Folder {
    const known = async (digest: string) =>
      (await store.names()).map(({ descriptor }) => descriptor).find((d) => d.digest === digest);
    return {
      path,
      has: (descriptor) => store.has(descriptor),
      fetch: (descriptor, options) => store.fetch(descriptor, options),
      lookup: (name) => store.lookup(name),
      describe: known,
    };
  }

  test("asks its registry for the tag alone", async () => {
    const first = filledSite();
    await first.run(SITE);
    first.world.forget();
    const store = createMemoryStore();
    const { summary } = await first.run(SITE, { store, folders: [folderOf(first.store)] });
    expect(summary).toMatchObject({ outcome: "done", bytesMoved: 0, bytesFetched: 0 });
    expect(summary.bytesHere).toBe(summary.bytesTotal);
    expect(first.world.requests.map(({ kind }) => kind)).toEqual(Array(4).fill("resolve"));
    expect(await incompleteNames(store)).toEqual([]);
  });

  test("asks nobody for an image that is pinned", async () => {
    const site = createDeliverySite();
    const { digest } = site.world.push(APP, { layers: ["one"] });
    const image = `other.test/apps/shop@${digest}`;
    await site.run({ application: [image] });
    site.world.forget();
    const store = createMemoryStore();
    const folders = [folderOf(site.store)];
    const { events } = await site.run({ application: [image] }, { store, folders });
    expect(site.world.requests).toEqual([]);
    expect(outcomes(events)).toEqual({ [image]: "delivered" });
  });

  test("takes the folder's word for a name when the registry can't be asked", async () => {
    const site = filledSite();
    await site.run(SITE);
    site.world.fault = () => UNREACHABLE;
    const store = createMemoryStore();
    const folders = [folderOf(site.store)];
    const { summary } = await site.run(SITE, { store, folders });
    expect(summary.outcome).toBe("done");
    expect(summary.warnings.map(({ message }) => message).join()).toContain("/media/stick");
    expect(await store.names()).toEqual(await site.store.names());
  });

  test("lets what the store has stand when the folder has only a part", async () => {
    const site = filledSite();
    await site.run(SITE);
    const other = filledSite();
    const root = other.world.push(APP, { layers: ["newer"] });
    await other.run(SITE);
    const partial: Store = {
      ...other.store,
      has: async ({ digest, mediaType }) =>
        digest === root.digest || mediaType.includes("manifest"),
      fetch: (descriptor, options) => other.store.fetch(descriptor, options),
    };
    site.world.fault = () => UNREACHABLE;
    const before = await site.store.lookup(APP);
    const { summary, events } = await site.run(
      { application: [APP] },
      { folders: [folderOf(partial)] },
    );
    expect(summary.outcome).toBe("done");
    expect(outcomes(events)).toEqual({ [APP]: "stood" });
    expect(await site.store.lookup(APP)).toEqual(before);
  });

  test("warns of bytes that are wrong, and fetches those over the link", async () => {
    const site = filledSite();
    await site.run(SITE);
    const layers = blobsOf(site.world.requests);
    site.world.forget();
    const folder = folderOf(site.store);
    const lying: Folder = {
      ...folder,
      async fetch(descriptor, options) {
        if (descriptor.digest !== layers[1]) return folder.fetch(descriptor, options);
        return new Blob([new Uint8Array(descriptor.size)]).stream();
      },
    };
    const store = createMemoryStore();
    const { summary, events } = await site.run(SITE, { store, folders: [lying] });
    expect(blobsOf(site.world.requests)).toEqual([layers[1] ?? ""]);
    expect(summary.warnings.map(({ message }) => message).join()).toContain("is not used");
    expect(summary.bytesMoved + summary.bytesHere).toBe(summary.bytesTotal);
    expect(events.some(({ type }) => type === "recount")).toBe(true);
    expect(await incompleteNames(store)).toEqual([]);
  });
});

describe("deliver() that is given up", () => {
  test("ends though a registry never answers, and a second one goes on from there", async () => {
    const site = filledSite();
    const controller = new AbortController();
    site.world.fault = ({ kind, repository }) =>
      kind === "blob" && repository === "other.test/apps/shop" ? { kind: "hang" } : undefined;
    const { summary } = await site.run(SITE, {
      signal: controller.signal,
      emit: (event) => {
        if (event.type === "image-started" && event.image === APP) controller.abort("enough");
      },
    });
    expect(summary.outcome).toBe("interrupted");
    expect(summary.stages.map(({ delivered, skipped }) => [delivered, skipped])).toEqual([
      [1, 0],
      [2, 0],
      [0, 1],
    ]);
    const fetched = new Set(blobsOf(site.world.requests));
    site.world.forget();
    site.world.fault = undefined;
    const second = await site.run(SITE);
    expect(second.summary.outcome).toBe("done");
    expect(second.summary.stages.map(({ present }) => present)).toEqual([1, 2, 0]);
    expect(blobsOf(site.world.requests).filter((digest) => fetched.has(digest))).toEqual([]);
  });

  test("was not interrupted when everything was done by then", async () => {
    const site = filledSite();
    const controller = new AbortController();
    const { summary } = await site.run(SITE, {
      signal: controller.signal,
      emit: (event) => {
        if (event.type === "stage-done" && event.name === "application") controller.abort("late");
      },
    });
    expect(summary.outcome).toBe("done");
  });

  test("does nothing at all when it was given up before it began", async () => {
    const site = filledSite();
    const { summary } = await site.run(SITE, { signal: AbortSignal.abort("no") });
    expect(summary.outcome).toBe("interrupted");
    expect(summary.stages.map(({ skipped }) => skipped)).toEqual([1, 2, 1]);
    expect(site.world.requests).toEqual([]);
  });

  test("lets a bug in its own program through, with nothing left running", async () => {
    const site = filledSite();
    site.world.fault = ({ kind, repository }) => {
      if (kind === "blob" && repository === "reg.test/cni/cilium") throw new TypeError("a bug");
      return kind === "blob" && repository === "reg.test/csi/longhorn"
        ? { kind: "hang" }
        : undefined;
    };
    await expect(site.run(SITE)).rejects.toThrow("a bug");
    expect(site.world.blobsOpen.now).toBe(0);
  });
});
