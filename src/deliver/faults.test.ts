import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base";
import { createMemoryStore, type Ingest, type Store } from "#content";
import { createDeliverySite, incompleteNames } from "#test-support/delivery-site";
import type { Fault } from "#test-support/scripted-world";

const OS = "reg.test/os/kairos:v1";
const CNI = "reg.test/cni/cilium:v1";
const APP = "other.test/apps/shop:v1";
const SITE = { provider: [OS], infrastructure: [CNI], application: [APP] };

function filledSite(store?: Store) {
  const site = createDeliverySite(store);
  site.world.push(OS, { layers: ["base system", "kubernetes"] });
  site.world.push(CNI, { layers: ["shared base", "cilium agent"], platforms: ["linux/amd64"] });
  site.world.push(APP, { layers: ["shared base", "the shop"], platforms: ["linux/amd64"] });
  return site;
}

function broken(code: string, transient: boolean): Failure {
  return new Failure({ code, message: "Cannot go on", hint: "Wait", transient });
}

const FAULTS: Readonly<Record<string, Fault>> = {
  denied: { kind: "refuse", failure: broken("registry-denied", false) },
  unreachable: { kind: "refuse", failure: broken("registry-unreachable", true) },
  cut: { kind: "cut", afterBytes: 5, failure: broken("registry-unreachable", true) },
  lie: { kind: "lie" },
};

/** A store that counts what it is asked to write, remembers what it committed, and can fail. */
function watchedStore() {
  const inner = createMemoryStore();
  const committed: string[] = [];
  const watched = {
    committed,
    writes: 0,
    fault: undefined as ((ordinal: number) => Failure | undefined) | undefined,
    store: undefined as unknown as Store,
  };
  const admit = () => {
    watched.writes += 1;
    const failure = watched.fault?.(watched.writes);
    if (failure !== undefined) throw failure;
  };
  watched.store = {
    ...inner,
    async ingest(descriptor) {
      admit();
      const ingest = await inner.ingest(descriptor);
      return {
        get missing() {
          return ingest.missing;
        },
        async write(bytes, offset) {
          admit();
          await ingest.write(bytes, offset);
        },
        async commit() {
          admit();
          await ingest.commit();
          committed.push(descriptor.digest);
        },
        [Symbol.asyncDispose]: () => ingest[Symbol.asyncDispose](),
      } satisfies Ingest;
    },
    async name(name, descriptor) {
      admit();
      committed.push(name);
      await inner.name(name, descriptor);
    },
  };
  return watched;
}

describe("deliver() whose n-th request fails", () => {
  test.each(Object.keys(FAULTS))(
    "%s: tells no lie, and the next fetches only the rest",
    async (kind) => {
      const whole = filledSite();
      await whole.run(SITE);
      const requests = whole.world.requests.length;
      expect(requests).toBe(13);
      for (let n = 1; n <= requests; n += 1) {
        const { store, committed } = watchedStore();
        const site = filledSite(store);
        site.world.fault = (_, ordinal) => (ordinal === n ? FAULTS[kind] : undefined);
        await site.run(SITE);
        expect(await incompleteNames(store)).toEqual([]);

        const kept = new Set(committed);
        site.world.forget();
        site.world.fault = undefined;
        const { summary } = await site.run(SITE);
        expect(summary.outcome).toBe("done");
        expect(await incompleteNames(store)).toEqual([]);
        expect((await store.names()).length).toBe(3);
        const fetched = site.world.requests.filter(({ kind }) => kind !== "resolve");
        expect(fetched.filter(({ target }) => kept.has(target))).toEqual([]);
      }
    },
  );
});

describe("deliver() whose n-th write fails", () => {
  test("shows nothing that is not whole, and the next one completes", async () => {
    const whole = watchedStore();
    await filledSite(whole.store).run(SITE);
    expect(whole.writes).toBeGreaterThan(30);
    for (let n = 1; n <= whole.writes; n += 1) {
      const watched = watchedStore();
      const site = filledSite(watched.store);
      watched.fault = (ordinal) => (ordinal >= n ? broken("store-full", false) : undefined);
      const { summary } = await site.run(SITE);
      expect(summary.outcome).toBe("failed");
      expect(new Set(summary.failures.map(({ code }) => code))).toEqual(new Set(["store-full"]));
      expect(await incompleteNames(watched.store)).toEqual([]);

      const kept = new Set(watched.committed);
      site.world.forget();
      watched.fault = undefined;
      expect((await site.run(SITE)).summary.outcome).toBe("done");
      const fetched = site.world.requests.filter(({ kind }) => kind !== "resolve");
      expect(fetched.filter(({ target }) => kept.has(target))).toEqual([]);
    }
  });

  test("writes blobs before manifests, manifests from the leaf up, and the name last", async () => {
    const { store, committed } = watchedStore();
    const site = filledSite(store);
    await site.run({ application: [APP] });
    const asked = site.world.requests;
    const manifest = asked.findLast(({ kind }) => kind === "manifest");
    const index = await store.lookup(APP);
    expect(committed.slice(-3)).toEqual([manifest?.target ?? "", index?.digest ?? "", APP]);
    const blobs = asked.filter(({ kind }) => kind === "blob").map(({ target }) => target);
    expect(committed.slice(0, -3).toSorted()).toEqual(blobs.toSorted());
  });
});

describe("deliver(), whatever fails", () => {
  const fault = fc.option(fc.constantFrom(...Object.values(FAULTS)), { freq: 3, nil: undefined });

  test("names only what is complete, adds up, and keeps the order of the stages", async () => {
    const property = fc.asyncProperty(
      fc.array(fault, { maxLength: 60 }),
      fc.array(fc.constantFrom("system", "base", "tools", "shop", "agent"), { maxLength: 4 }),
      fc.nat({ max: 200 }),
      async (faults, layers, abortAt) => {
        const site = filledSite();
        site.world.push(CNI, { layers });
        const controller = new AbortController();
        let isProviderDone = false;
        let moved = 0;
        site.world.fault = ({ kind, repository }, ordinal) => {
          if (kind === "blob" && !repository.includes("/os/")) expect(isProviderDone).toBe(true);
          return faults[ordinal - 1];
        };
        let told = 0;
        const { summary, events } = await site.run(SITE, {
          signal: controller.signal,
          emit(event) {
            told += 1;
            if (told === abortAt) controller.abort("enough");
            if (event.type === "image-done" && event.image === OS) {
              isProviderDone = event.outcome === "delivered";
            }
            if (event.type === "bytes") moved += event.bytes;
            if (event.type === "recount") moved += event.bytesMoved;
          },
        });
        expect(await incompleteNames(site.store)).toEqual([]);
        expect(moved).toBe(summary.bytesMoved);
        expect(summary.bytesMoved + summary.bytesHere).toBeLessThanOrEqual(summary.bytesTotal);
        for (const { images, delivered, present, stood, failed, skipped } of summary.stages) {
          expect(delivered + present + stood + failed + skipped).toBe(images);
        }
        if (summary.outcome === "done") expect(summary.bytesMoved).toBe(summary.bytesTotal);
        expect(events.at(-1)?.type).toBe("delivery-done");
        expect(site.world.blobsOpen.now).toBe(0);
      },
    );
    await fc.assert(property, { numRuns: 500 });
  }, 30_000);
});
