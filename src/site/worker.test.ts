import { expect, test } from "bun:test";
import { DEFAULT_SITE } from "#profile";
import { collectStore, GRACE_MS, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { createMemoryFiles } from "#test-support/memory-files";
import { temporaryFolder } from "#test-support/program";
import type { SiteContext } from "./context.ts";
import { startedSite } from "./started-site.ts";
import type { WorkKind, WorkKinds, WorkOrder } from "./work.ts";
import { type FromWorker, readLine, type ToWorker, writeLine } from "./work-wire.ts";
import { serveWork } from "./worker.ts";

const CONTEXT: SiteContext = {
  ...{ env: {}, home: "/root", version: "1", platform: "linux/amd64" },
  clock: createManualClock(),
  random: () => 0,
  files: createMemoryFiles({
    "site.yaml": "profiles: [store.yaml]\n",
    "store.yaml": "spec: [",
  }),
};

function orderOf<K extends WorkKind>(
  kind: K,
  order: WorkKinds[K]["order"],
  dataDir: string,
  version = "1",
): WorkOrder<K> {
  const started = startedSite(DEFAULT_SITE);
  const sources = { site: "site.yaml" };
  return { version, kind, order, site: { sources, dataDir, started, inputs: null } };
}

/** An agent in memory that writes to a worker, and what it hears of it. */
function startWorker(signal: AbortSignal = new AbortController().signal) {
  const input = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1e6 });
  const writer = input.writable.getWriter();
  const heard: FromWorker[] = [];
  const last = Promise.withResolvers<FromWorker>();
  const write = (text: string) => {
    for (const line of text.trimEnd().split("\n")) heard.push(readLine<FromWorker>(line));
    const latest = heard.at(-1);
    if (latest && /done|failed|stopped|broken/.test(latest.type)) last.resolve(latest);
  };
  const over = serveWork({ context: CONTEXT, input: input.readable, write, signal });
  return {
    ...{ heard, over, last: last.promise },
    tell: (message: ToWorker) => writer.write(new TextEncoder().encode(writeLine(message))),
    leave: () => writer.close(),
  };
}

test("a worker does what it is ordered, tells what it came to, and ends with its agent", async () => {
  await using folder = await temporaryFolder();
  const worker = startWorker();
  void worker.tell({ type: "order", order: orderOf("read", {}, folder.path) });
  const last = await worker.last;
  if (last.type !== "done") throw new Error(JSON.stringify(last));
  const { seen, inputs, watched } = last.result as Exclude<
    WorkKinds["read"]["result"],
    { failure: unknown }
  >;
  expect(seen.faults.length).toBeGreaterThan(0);
  expect(Object.keys(inputs.files).sort()).toEqual(["site.yaml", "store.yaml"]);
  expect(watched.map(([path]) => path).sort()).toEqual(["site.yaml", "store.yaml"]);
  expect(await Promise.race([worker.over.then(() => "over"), Promise.resolve("waits")])).toBe(
    "waits",
  );
  await worker.leave();
  await worker.over;
});

test("a failure of the world is told with all that it says", async () => {
  await using folder = await temporaryFolder();
  const worker = startWorker();
  void worker.tell({ type: "order", order: orderOf("verify", { scope: "all" }, folder.path) });
  expect(await worker.last).toMatchObject({
    type: "failed",
    failure: { code: "store-missing", hint: expect.stringContaining("dray"), transient: false },
  });
  await worker.leave();
});

test("an order of another version is not carried out", async () => {
  await using folder = await temporaryFolder();
  const worker = startWorker();
  const order = orderOf("read", {}, folder.path, "2");
  void worker.tell({ type: "order", order });
  expect(await worker.last).toMatchObject({ type: "broken", message: "Error: an order of 2" });
  await worker.leave();
});

test("work that was stopped, by the agent or by a signal, is told as stopped", async () => {
  await using folder = await temporaryFolder();
  const order = orderOf("read", {}, folder.path);
  const steered = {
    ...order,
    site: { ...order.site, sources: { profile: ["oci://127.0.0.1:1/a:v1"] } },
  };
  const agent = startWorker();
  void agent.tell({ type: "order", order: steered });
  void agent.tell({ type: "stop" });
  expect(await agent.last).toEqual({ type: "stopped" });
  await agent.leave();
  const machine = startWorker(AbortSignal.abort(new Error("interrupted")));
  void machine.tell({ type: "order", order: steered });
  expect(await machine.last).toEqual({ type: "stopped" });
  await machine.leave();
});

test("a registry that steers and can't be asked is no end of the files that were read", async () => {
  await using folder = await temporaryFolder();
  const worker = startWorker();
  const order = orderOf("read", {}, folder.path);
  // What is no address is found out before anybody is asked.
  const sources = { site: "site.yaml", profile: ["oci://nobody"] };
  void worker.tell({ type: "order", order: { ...order, site: { ...order.site, sources } } });
  expect(await worker.last).toMatchObject({
    type: "done",
    result: {
      failure: { code: "reference-invalid" },
      watched: [["site.yaml", "absent"]],
    },
  });
  await worker.leave();
});

test("what steers the site is kept with its revisions, before anything was read of it too", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock();
  const names = ["r.example/site:v1", "r.example/read:v1", "r.example/gone:v1"];
  await using store = await openStore(folder.path, { clock });
  await store.generations.begin(names);
  for (const name of names) await buildImage(store, name, { seed: name });
  await store.generations.complete();
  const worker = startWorker();
  const record = JSON.stringify({ version: 1, id: "0123456789ab", plan: { stages: [] } });
  const revisions = { active: record };
  const order = orderOf("keep", { revisions, names: ["r.example/read:v1"] }, folder.path);
  const sources = { site: "site.yaml", profile: ["oci://r.example/site:v1", "oci://nobody"] };
  void worker.tell({ type: "order", order: { ...order, site: { ...order.site, sources } } });
  expect(await worker.last).toEqual({ type: "done", result: null });
  await worker.leave();
  clock.advance(GRACE_MS * 2);
  await collectStore(folder.path, { clock, signal: new AbortController().signal });
  expect((await store.names()).map(({ name }) => name).sort()).toEqual([
    "r.example/read:v1",
    "r.example/site:v1",
  ]);
});
