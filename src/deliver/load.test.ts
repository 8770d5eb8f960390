import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { createMemoryStore } from "#content";
import type { DeliverOptions, DeliveryEvent, Runtime } from "#deliver";
import { createDeliverySite, type StageImages } from "#test-support/delivery-site";

const PLAN: StageImages = {
  provider: ["os.io/os:1"],
  infrastructure: ["a.io/cni:1"],
  application: ["a.io/app:1", "a.io/side:1"],
};

function failure(code: string): Failure {
  return new Failure({ code, message: `Cannot: ${code}`, hint: "Do that" });
}

interface Script {
  readonly prepare?: () => Promise<readonly string[]>;
  readonly load?: (name: string) => Promise<"loaded" | "present" | "not-runnable">;
  readonly retain?: () => Promise<void>;
}

/** A runtime that remembers what it was asked for. */
function scripted({ prepare, load, retain }: Script = {}) {
  const loaded: string[] = [];
  const retained: (readonly string[])[] = [];
  const runtime: Runtime = {
    address: "test at here",
    prepare: prepare ?? (async () => []),
    async load({ name, graph }) {
      expect(graph.blobs.length).toBeGreaterThan(0);
      const outcome = (await load?.(name)) ?? "loaded";
      loaded.push(name);
      return outcome;
    },
    async retain(names) {
      retained.push(names);
      await retain?.();
    },
  };
  return { runtime, loaded, retained };
}

async function run(script: Script, options: Partial<DeliverOptions> = {}, plan = PLAN) {
  const site = createDeliverySite(createMemoryStore());
  for (const name of ["os.io/os:1", "a.io/cni:1", "a.io/app:1", "a.io/side:1"]) {
    site.world.push(name, { layers: [name] });
  }
  const { runtime, loaded, retained } = scripted(script);
  const generations = {
    begin: async () => undefined,
    complete: async () => undefined,
    kept: async () => ["a.io/app:1", "a.io/earlier:1"],
  };
  const { summary, events } = await site.run(plan, { runtime, generations, ...options });
  const of = <T extends DeliveryEvent["type"]>(type: T) =>
    events.filter((event): event is DeliveryEvent & { readonly type: T } => event.type === type);
  return { site, summary, events, of, loaded: loaded.sort(), retained };
}

describe("with a runtime", () => {
  test("all images but the provider's are loaded once they are complete, and the kept names retained", async () => {
    const { summary, of, loaded, retained, events } = await run({});
    expect(loaded).toEqual(["a.io/app:1", "a.io/cni:1", "a.io/side:1"]);
    expect(retained).toEqual([["a.io/app:1", "a.io/earlier:1"]]);
    expect(summary.outcome).toBe("done");
    expect(summary.runtime).toMatchObject({ images: 3, loaded: 3, failed: 0, skipped: 0 });
    for (const { image } of of("runtime-loaded")) {
      const done = events.findIndex(
        (event) => event.type === "image-done" && event.image === image,
      );
      const load = events.findIndex(
        (event) => event.type === "runtime-loaded" && event.image === image,
      );
      expect(done).toBeLessThan(load);
    }
  });

  test("what is there already, and what no container runs, is counted as such", async () => {
    const { summary } = await run({
      load: async (name) => (name === "a.io/app:1" ? "present" : "not-runnable"),
    });
    expect(summary.runtime).toMatchObject({ loaded: 0, present: 1, "not-runnable": 2 });
    expect(summary.outcome).toBe("done");
  });

  test("an image that fails stops no other, and no fetch", async () => {
    const { summary, of, loaded } = await run({
      async load(name) {
        if (name === "a.io/cni:1") throw failure("layer-mismatch");
        return "loaded";
      },
    });
    expect(loaded).toEqual(["a.io/app:1", "a.io/side:1"]);
    expect(summary.outcome).toBe("failed");
    expect(summary.failures).toEqual([]);
    expect(summary.runtime?.failures).toEqual([
      expect.objectContaining({ image: "a.io/cni:1", code: "layer-mismatch", hint: "Do that" }),
    ]);
    expect(
      of("runtime-loaded")
        .map(({ outcome }) => outcome)
        .sort(),
    ).toEqual([...["failed", "loaded", "loaded"]] as never);
  });

  test("a runtime that is not there is told once, and all images are fetched", async () => {
    const { summary, of, loaded, retained } = await run({
      prepare: async () => {
        throw failure("runtime-unreachable");
      },
    });
    expect({ loaded, retained }).toEqual({ loaded: [], retained: [] });
    expect(of("runtime-failed")).toHaveLength(1);
    expect(summary.runtime).toMatchObject({ images: 3, skipped: 3 });
    expect(summary.runtime?.failures).toEqual([
      expect.objectContaining({ image: null, code: "runtime-unreachable" }),
    ]);
    expect(summary.outcome).toBe("failed");
    expect(summary.stages.map(({ delivered }) => delivered)).toEqual([1, 1, 2]);
  });

  test("a runtime that hangs is waited for once, and not for each image", async () => {
    const { summary, of } = await run({
      load: async () => {
        throw failure("runtime-silent");
      },
    });
    expect(of("runtime-failed")).toHaveLength(1);
    expect(summary.runtime?.failures).toHaveLength(1);
    expect(summary.outcome).toBe("failed");
  });

  test("a runtime that goes away is told once", async () => {
    const { summary, of } = await run({
      load: async () => {
        throw failure("runtime-unreachable");
      },
    });
    expect(of("runtime-failed")).toHaveLength(1);
    expect(summary.runtime?.failures).toHaveLength(1);
    const { failed = 0, skipped = 0, images } = summary.runtime ?? { images: 0 };
    expect(failed + skipped).toBe(images);
  });

  test("warnings of the runtime are told, and stop nothing", async () => {
    const { summary, of } = await run({ prepare: async () => ["it is old"] });
    expect(of("runtime-warning").map(({ message }) => message)).toEqual(["it is old"]);
    expect(summary.outcome).toBe("done");
  });

  test("a plan that was not carried out whole lets nothing go", async () => {
    const { retained, summary } = await run({}, { until: "infrastructure" });
    expect(retained).toHaveLength(0);
    expect(summary.runtime).toMatchObject({ images: 1, loaded: 1 });
    const broken = await run({}, {}, { ...PLAN, application: ["a.io/app:1", "a.io/absent:1"] });
    expect(broken.summary.outcome).toBe("failed");
    expect(broken.retained).toHaveLength(0);
    expect(broken.summary.runtime).toMatchObject({ images: 3, loaded: 2, skipped: 1 });
  });

  test("what can't be let go is a failure of the runtime", async () => {
    const { summary } = await run({
      retain: async () => {
        throw failure("runtime-failed");
      },
    });
    expect(summary.runtime?.failures).toEqual([
      expect.objectContaining({ image: null, code: "runtime-failed" }),
    ]);
    expect(summary.outcome).toBe("failed");
  });

  test("core images are loaded too", async () => {
    const store = createMemoryStore();
    const site = createDeliverySite(store);
    for (const name of ["os.io/os:1", "a.io/cni:1"]) site.world.push(name, { layers: [name] });
    const { runtime, loaded } = scripted();
    const provider: NonNullable<DeliverOptions["provider"]> = {
      coreImages: {
        async load(image) {
          await store.name("k8s.io/etcd:1", image.graph.root);
          const names = ["a.io/cni:1", "k8s.io/etcd:1"];
          return { outcome: "loaded", archives: 1, names, warnings: [] };
        },
      },
    };
    const plan = { provider: ["os.io/os:1"], infrastructure: ["a.io/cni:1"] };
    const { summary } = await site.run(plan, { runtime, provider });
    expect(loaded.sort()).toEqual(["a.io/cni:1", "k8s.io/etcd:1"]);
    expect(summary.runtime).toMatchObject({ images: 2, loaded: 2, skipped: 0 });
  });

  test("a bug in the runtime is thrown, and nothing is left running", async () => {
    const load = async () => {
      throw new TypeError("a bug");
    };
    await expect(run({ load })).rejects.toThrow("a bug");
  });

  test.each(["prepare", "load"] as const)(
    "a bug in %s is thrown when the images on their way are done with, and ends no program before",
    async (step) => {
      const site = createDeliverySite(createMemoryStore());
      for (const name of ["a.io/app:1", "a.io/side:1"]) site.world.push(name, { layers: [name] });
      const openSource: DeliverOptions["openSource"] = ({ source }) => {
        const opened = site.world.open(source);
        const fetch: typeof opened.fetch = async (content, options) => {
          if (source.path !== "side" || !content.mediaType.includes("layer")) {
            return opened.fetch(content, options);
          }
          await new Promise((resolve) => options.signal.addEventListener("abort", resolve));
          // What nobody waits for when the event loop comes round again counts as unheard.
          for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
          throw options.signal.reason;
        };
        return { ...opened, fetch };
      };
      const { runtime } = scripted({
        [step]: async () => {
          throw new TypeError("a bug");
        },
      });
      const plan = { application: ["a.io/app:1", "a.io/side:1"] };
      await expect(site.run(plan, { runtime, openSource })).rejects.toThrow("a bug");
    },
  );
});
