import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import { createDeliverySite } from "#test-support/delivery-site";
import type { DeliverOptions } from "./deliver.ts";
import type { DeliveryEvent } from "./event.ts";
import { createDeliveryLines } from "./journal.ts";
import { CommandFailure, type CoreImages, type HandOver } from "./provider.ts";

const OS = "reg.test/os/kairos:v1";
const OTHER_OS = "reg.test/os/recovery:v1";
const APP = "other.test/apps/shop:v1";
const SITE = { provider: [OS], application: [APP] };
const PAUSE = "registry.k8s.io/pause:3.9";

function filledSite() {
  const site = createDeliverySite();
  site.world.push(OS, { layers: ["base system"] });
  site.world.push(OTHER_OS, { layers: ["another system"] });
  site.world.push(APP, { layers: ["the shop"] });
  return site;
}

/** What was asked of the steps, in order, each with the blobs that had been asked for by then. */
function createSteps(site: ReturnType<typeof filledSite>) {
  const calls: string[] = [];
  const call = (text: string) => {
    const blobs = site.world.requests.filter(({ kind }) => kind === "blob").length;
    calls.push(`${text} after ${blobs} blobs`);
  };
  const coreImages: CoreImages = {
    async load({ name }, { declared }) {
      call(`core images of ${name}, but for ${[...declared].sort().join(" ")}`);
      return { outcome: "loaded", archives: 1, names: [PAUSE], warnings: ["/x.tar is broken"] };
    },
  };
  const handOver: HandOver = {
    async run({ name, graph }, { onStart, onOutput }) {
      call(`hand-over of ${name}`);
      const start = { form: "rootfs", target: "/os", program: "agent" };
      onStart(start);
      onOutput(`has ${graph.blobs.length} blobs`);
      return { ...start, outcome: "done", exitStatus: 0 };
    },
  };
  return { calls, coreImages, handOver };
}

function failure(code: string): Failure {
  return new Failure({ code, message: "Cannot do it: found, expected", hint: "Do this" });
}

const typesOf = (events: readonly DeliveryEvent[]) =>
  events.map(({ type }) => type).filter((type) => /^(core|hand|stage)/.test(type));

async function runWith(provider: NonNullable<DeliverOptions["provider"]>, images = SITE) {
  const site = filledSite();
  const completed: string[] = [];
  const generations = {
    begin: async () => {},
    complete: async () => void completed.push("whole"),
    kept: async () => [],
  };
  const run = await site.run(images, { provider, generations });
  return { ...run, site, completed };
}

describe("once the provider image is complete", () => {
  test("its core images are loaded, then it is handed over, and only then do others begin", async () => {
    const site = filledSite();
    const { calls, ...provider } = createSteps(site);
    const { summary, events } = await site.run(SITE, { provider });
    expect(calls).toEqual([
      `core images of ${OS}, but for ${APP} ${OS} after 2 blobs`,
      `hand-over of ${OS} after 2 blobs`,
    ]);
    expect(typesOf(events)).toEqual([
      ...["stage-started", "stage-done", "core-images-started", "core-images-done"],
      ...["hand-over-started", "hand-over-output", "hand-over-done"],
      ...["stage-started", "stage-done", "stage-started", "stage-done"],
    ] as DeliveryEvent["type"][]);
    expect(summary).toMatchObject({
      outcome: "done",
      provider: { coreImages: { archives: 1, names: [PAUSE] }, handOver: "done", isDone: true },
      warnings: [{ image: OS, message: "/x.tar is broken" }],
    });
    const digest = (await site.store.lookup(OS))?.digest;
    expect(events.find(({ type }) => type === "hand-over-done")).toMatchObject({
      ...{ image: OS, outcome: "done", exitStatus: 0, digest },
    });
  });

  test.each([
    ["core images", "core-images-done", "store-full"],
    ["the hand-over", "hand-over-done", "hand-over-failed"],
  ] as const)("when %s can't be done nothing after it begins", async (step, type, code) => {
    const calls: string[] = [];
    const { summary, events, site, completed } = await runWith({
      coreImages: {
        async load() {
          calls.push("core images");
          if (step === "core images") throw failure(code);
          return { outcome: "present", archives: 0, names: [], warnings: [] };
        },
      },
      handOver: {
        async run() {
          calls.push("the hand-over");
          throw new CommandFailure(
            { code, message: "Cannot hand over: 3, expected 0", hint: "Look" },
            3,
          );
        },
      },
    });
    expect(calls.at(-1)).toBe(step);
    expect(site.world.requests.filter(({ kind }) => kind === "blob")).toHaveLength(2);
    expect(events.find((event) => event.type === type)).toMatchObject({
      ...{ image: OS, outcome: "failed", failure: { image: OS, code } },
      ...(step === "the hand-over" ? { exitStatus: 3 } : {}),
    });
    expect(summary).toMatchObject({
      ...{ outcome: "failed", failures: [{ image: OS, code, registry: "reg.test" }] },
      provider: { isDone: false, handOver: step === "the hand-over" ? "failed" : "skipped" },
      stages: [{ delivered: 1 }, {}, { skipped: 1 }],
    });
    // What was not carried out whole drives no plan out.
    expect(completed).toEqual([]);
  });

  test("a plan with provider images alone is not whole either until they are handed over", async () => {
    const handOver: HandOver = { run: () => Promise.reject(failure("hand-over-timeout")) };
    const { summary, completed } = await runWith({ handOver }, { provider: [OS], application: [] });
    expect([summary.outcome, completed]).toEqual(["failed", []]);
    const { completed: whole } = await runWith({}, { provider: [OS], application: [] });
    expect(whole).toEqual(["whole"]);
  });

  test("what is wrong in the program is no failure of the world, and ends all", async () => {
    const handOver: HandOver = { run: () => Promise.reject(new TypeError("a bug")) };
    await expect(runWith({ handOver })).rejects.toThrow("a bug");
  });

  test("two provider images are no one to hand over, and the core images of both are loaded", async () => {
    const site = filledSite();
    const { calls, ...provider } = createSteps(site);
    const { summary } = await site.run({ ...SITE, provider: [OS, OTHER_OS] }, { provider });
    expect(calls).toHaveLength(2);
    expect(summary.failures).toMatchObject([{ code: "hand-over-ambiguous" }]);
    expect(summary.failures[0]?.message).toContain(`${OS}, ${OTHER_OS}`);
  });

  test("a delivery that is ended meanwhile is interrupted, and has not failed", async () => {
    const site = filledSite();
    const ending = new AbortController();
    const handOver: HandOver = {
      async run(_, { signal }) {
        ending.abort();
        signal.throwIfAborted();
        throw failure("unreachable");
      },
    };
    const { summary, events } = await site.run(
      { provider: [OS] },
      { provider: { handOver }, signal: ending.signal },
    );
    expect(summary).toMatchObject({ outcome: "interrupted", failures: [] });
    expect(events.find(({ type }) => type === "hand-over-done")).toMatchObject({
      outcome: "skipped",
      digest: null,
    });
  });

  test("none of it is begun when the provider image fails", async () => {
    const site = createDeliverySite();
    const { calls, ...provider } = createSteps(site as ReturnType<typeof filledSite>);
    const { summary } = await site.run({ provider: [OS] }, { provider });
    expect([summary.outcome, summary.provider, calls]).toEqual(["failed", null, []]);
  });

  test("where there is no provider image nothing is done, and that is well", async () => {
    const site = filledSite();
    const { calls, ...provider } = createSteps(site);
    const { summary } = await site.run({ application: [APP] }, { provider });
    expect(calls).toEqual([]);
    expect(summary).toMatchObject({ outcome: "done", provider: { handOver: null, isDone: true } });
  });

  test("what stands is handed over when its registry is out of reach", async () => {
    const site = filledSite();
    await site.run(SITE);
    const { calls, ...provider } = createSteps(site);
    const transient = { code: "registry-unreachable", message: "Cannot", hint: "Wait" };
    site.world.fault = () => ({
      kind: "refuse",
      failure: new Failure({ ...transient, transient: true }),
    });
    const { summary } = await site.run(SITE, { provider });
    expect(summary.stages[0]).toMatchObject({ stood: 1 });
    expect(calls).toHaveLength(2);
  });
});

describe("the journal of a delivery", () => {
  const linesOf = (events: readonly DeliveryEvent[]) => {
    const lineOf = createDeliveryLines();
    return events.flatMap((event) => lineOf(event) ?? []);
  };

  test("tells that it began, what was handed over with the last of the output, and its end", async () => {
    const site = filledSite();
    const { coreImages } = createSteps(site);
    const handOver: HandOver = {
      async run(_, { onStart, onOutput }) {
        onStart({ form: "oci", target: "/os", program: "agent" });
        for (let n = 1; n <= 150; n += 1) onOutput(`line ${n}`);
        const fields = { code: "hand-over-failed", message: "Cannot do it", hint: "Do this" };
        throw new CommandFailure(fields, 9);
      },
    };
    const { events } = await site.run(SITE, { provider: { coreImages, handOver } });
    const lines = linesOf(events);
    expect(lines.map(({ kind }) => kind)).toEqual([
      ...["delivery-begun", "core-images", "hand-over-begun", "hand-over-done", "delivery-done"],
    ]);
    const [begun, core, , done, end] = lines.map(({ data }) => data);
    expect(begun).toMatchObject({ images: 2, uploads: 0 });
    expect(core).toMatchObject({ image: OS, images: 1, names: [PAUSE] });
    expect(done).toMatchObject({ outcome: "failed", exitStatus: 9 });
    expect(done?.["failure"]).toMatchObject({ code: "hand-over-failed", hint: "Do this" });
    expect(done?.["output"]).toEqual(Array.from({ length: 100 }, (_, i) => `line ${i + 51}`));
    expect(end).toMatchObject({ outcome: "failed", failed: 1, warnings: 1, handOver: "failed" });
  });

  test("does not repeat what was done before", async () => {
    const present: HandOver = {
      run: async () => ({
        ...{ form: "oci", target: "/os", program: null },
        ...{ outcome: "present", exitStatus: null },
      }),
    };
    const coreImages: CoreImages = {
      load: async () => ({ outcome: "present", archives: 1, names: [PAUSE], warnings: [] }),
    };
    const site = filledSite();
    const { events } = await site.run(SITE, { provider: { coreImages, handOver: present } });
    expect(linesOf(events).map(({ kind }) => kind)).toEqual(["delivery-begun", "delivery-done"]);
  });
});
