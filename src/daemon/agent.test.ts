import { describe, expect, test } from "bun:test";
import { Failure, Secret, systemClock } from "#base";
import {
  type Agent,
  type AgentNews,
  type AgentRecords,
  createAgent,
  type SiteState,
} from "#daemon";
import { openStore } from "#store";
import { type AgentWorld, START_MS, startAgent } from "#test-support/agent-world";
import { createEventClock } from "#test-support/event-clock";
import {
  createMemoryRecords,
  createMemorySite,
  declaredIn,
  type MemoryRecords,
  type MemorySite,
  nothingCame,
  planOf,
  revisionOf,
  sketchOf,
  summaryOf,
  untilAborted,
} from "#test-support/memory-operations";
import { temporaryFolder } from "#test-support/program";

const HOUR_MS = 3_600_000;
const NEVER = new Promise<never>(() => {});

const failure = (code: string, message = "Cannot do it: it is scripted") =>
  new Failure({ code, message, hint: "Change the script" });

/** What moved and turned, without looks. */
const worksOf = ({ calls }: MemorySite) =>
  calls.filter((call) => /^(stage|activate|prove|verify|collect)/.test(call));

const isReady = ({ agent }: AgentWorld) => agent.state().verdict.level === "ready";

async function ready(world: AgentWorld, ...apps: readonly string[]) {
  const { id } = world.site.want(sketchOf(...apps));
  await world.until("it is ready", () => isReady(world) && world.agent.state().active?.id === id);
  return id;
}

describe("an agent", () => {
  test("stages, activates and proves what is wanted, and its journal tells it", async () => {
    const world = startAgent();
    const id = await ready(world, "shop");
    expect(worksOf(world.site)).toEqual([`stage ${id}`, `activate ${id}`, `prove ${id}`]);
    expect(world.site.kept).toEqual({ active: id });
    expect(world.agent.state()).toMatchObject({
      activity: { name: "idle", waiting: null },
      active: { id, profiles: ["store"], images: 2 },
      ...{ staged: null, previous: null, warnings: [] },
      delivery: { outcome: "done", bytesMoved: 2_000_000 },
    });
    await world.stop();
    expect(await world.journal()).toEqual([
      "agent-started: Agent 1.0 started on edge-1: nothing is active yet",
      `revision-seen: New inputs at store.json: store (revision ${id}), 2 images`,
      `delivery-begun: Delivery of store (revision ${id}) begun: 2 images`,
      `delivery-ended: Delivery of store (revision ${id}) done: 2 of 2 images, 2.0 of 2.0 MB fetched in 1 s`,
      `revision-staged: Staged store (revision ${id}): all is here, verified`,
      `revision-activated: Activated store (revision ${id})`,
      "proof-held: Proven: 2 of 2 references",
      "agent-stopped: Agent stopped",
    ]);
  });

  test("goes on serving what is active when a new profile is refused, and shows its faults", async () => {
    const world = startAgent();
    const id = await ready(world, "shop");
    world.site.want({ packs: [] });
    await world.until("it is refused", () => world.agent.state().refused !== null);
    await world.pass(HOUR_MS);
    world.site.change();
    await world.pass(HOUR_MS);
    const told = (await world.journal()).filter((line) => line.startsWith("revision-refused"));
    expect(told).toHaveLength(1);
    const { refused, active, verdict } = world.agent.state();
    expect(refused?.faults.length).toBeGreaterThan(0);
    expect(active?.id).toBe(id);
    expect(verdict.level).toBe("wanting");
    expect(verdict.sentence).toContain("store stays in force with 2 images");
    expect(worksOf(world.site).filter((call) => !call.startsWith("prove"))).toHaveLength(2);
    world.site.want(sketchOf("shop"));
    await world.until("it is in order again", () => isReady(world));
    expect(world.agent.state().refused).toBeNull();
    await world.stop();
  });

  test("gives up staging for newer inputs, and fetches again nothing that is here", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const aborts: unknown[] = [];
    site.script.stage = async (revision, { signal, emit }) => {
      const plan = planOf(revision);
      const [first = ""] = declaredIn(plan);
      site.held.add(first);
      emit({ at: 0, type: "waiting", reason: "the window of link.windows", untilMs: null });
      await untilAborted(NEVER, signal).catch((error: unknown) => aborts.push(error));
      return { ...summaryOf(plan, { missing: [] }), outcome: "interrupted" };
    };
    const old = site.want(sketchOf("shop"));
    await world.until("it waits", () => agent.state().activity.waiting !== null);
    expect(agent.state().verdict.sentence).toContain("Waiting: the window of link.windows");
    site.script = {};
    const id = await ready(world, "shop", "till");
    expect(aborts).toHaveLength(1);
    expect(worksOf(site)).toEqual([
      `stage ${old.id}`,
      `stage ${id}`,
      `activate ${id}`,
      `prove ${id}`,
    ]);
    expect(agent.state().delivery).toMatchObject({ bytesHere: 1_000_000, bytesMoved: 2_000_000 });
    expect(agent.counters().deliveries).toEqual({ done: 1, failed: 0, interrupted: 1 });
    await world.stop();
  });

  test("tries what failed again with back-off, shows why, and at once when it is told to", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const plan = planOf(site.want(sketchOf("shop")));
    const missing = ["quay.io/team/shop:latest"];
    site.script.stage = async () => summaryOf(plan, { missing, moved: 1 });
    await world.until("it failed", () => agent.state().activity.waiting !== null);
    const { activity, warnings, verdict } = agent.state();
    expect(activity.waiting?.untilMs).toBeGreaterThan(START_MS);
    expect(warnings).toMatchObject([
      {
        ...{ level: "error", code: "registry-unauthorized", subject: missing[0] },
        hint: "Give the account a right to pull",
      },
    ]);
    expect(verdict).toMatchObject({ level: "wanting", remedy: "Give the account a right to pull" });
    await world.pass(3 * HOUR_MS);
    const attempts = worksOf(site).length;
    const told = (await world.journal()).filter((line) => line.startsWith("image-failed"));
    expect(told).toHaveLength(1);
    expect(attempts).toBeGreaterThan(6);
    expect(attempts).toBeLessThan(20);
    expect(site.turnedTo).toBeUndefined();
    const since = agent.state().warnings[0]?.sinceMs;
    expect(since).toBe(warnings[0]?.sinceMs);
    site.script = {};
    const reads = () => site.calls.filter((call) => call === "read").length;
    const before = reads();
    await agent.act("stage", "ana");
    await world.until("it is ready", () => isReady(world));
    expect(agent.state().warnings).toEqual([]);
    expect(reads()).toBe(before + 1);
    expect(agent.counters().failures).toEqual([]);
    expect(await world.journal()).toContain("action: ana asked to stage now");
    await world.stop();
  });

  test("waits for an operator, then activates, and rolls back when told to, and stays there", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { site, agent } = world;
    const one = site.want(sketchOf("shop")).id;
    await world.until("it is staged", () => agent.state().staged !== null);
    await world.pass(HOUR_MS);
    expect(site.turnedTo).toBeUndefined();
    expect(agent.state().activity.waiting?.reason).toBe("an operator activates (dray activate)");
    expect(site.kept).toEqual({ staged: one });
    await agent.act("activate", "ana");
    await world.until("one is active", () => isReady(world));
    const two = site.want(sketchOf("shop", "till")).id;
    await world.until("two is staged", () => agent.state().staged?.id === two);
    await agent.act("activate", "ana");
    await world.until("two is active", () => isReady(world) && site.turnedTo === two);
    expect(site.kept).toEqual({ active: two, previous: one });
    await agent.act("rollback", "ben");
    await world.until("one is back", () => agent.state().active?.id === one);
    await world.pass(24 * HOUR_MS);
    expect(site.turnedTo).toBe(one);
    expect(site.kept).toEqual({ active: one, staged: two });
    expect(agent.state().verdict.sentence).toContain("Rolled back");
    await expect(agent.act("rollback", "ben")).rejects.toMatchObject({ code: "action-refused" });
    await agent.act("activate", "ben");
    await world.until("two is active again", () => agent.state().active?.id === two);
    const told = (await agent.journal({ limit: 100 })).filter(({ kind }) => kind === "action");
    expect(told.map(({ by }) => by)).toEqual(["ben", "ben", "ana", "ana"]);
    await world.stop();
  });

  test("tells of a delivery that fails in one way again and again at first, ever more seldom, and in the end", async () => {
    const world = startAgent();
    const { site } = world;
    const revision = site.want(sketchOf("shop"));
    const { id } = revision;
    const plan = planOf(revision);
    site.script.stage = async () => summaryOf(plan, { missing: declaredIn(plan) });
    await world.pass(24 * HOUR_MS);
    const tries = callsOf(site, "stage");
    expect(tries).toBeWithin(65, 128);
    const told = async () => {
      const lines = (await world.journal()).filter((line) => /^(delivery|image)-/.test(line));
      return lines.map((line) => line.replace(` of store (revision ${id})`, ""));
    };
    const before = await told();
    expect(before).toEqual([
      "delivery-begun: Delivery begun: 2 images",
      "delivery-ended: Delivery failed: 0 of 2 images, 0.0 of 2.0 MB fetched in 1 s",
      expect.stringMatching(/^image-failed: 2 images, the first of them: /),
      ...[2, 4, 8, 16, 32, 64].map(
        (times) =>
          `delivery-failing: Delivery has failed ${times} times in the same way since 2026-01-05 12:00`,
      ),
    ]);
    site.script = {};
    await world.until("it is ready", () => isReady(world));
    expect((await told()).slice(before.length)).toEqual([
      `delivery-failing: Delivery has failed ${tries} times in the same way since 2026-01-05 12:00`,
      "delivery-ended: Delivery done: 2 of 2 images, 2.0 of 2.0 MB fetched in 1 s",
    ]);
    await world.stop();
  });

  test("tells of an attempt by which something came, although it failed like the one before", async () => {
    const world = startAgent();
    const { site } = world;
    const plan = planOf(site.want(sketchOf("shop")));
    const missing = declaredIn(plan).slice(1);
    site.script.stage = async () => summaryOf(plan, { missing, moved: 1 });
    await world.pass(2 * HOUR_MS);
    const lines = (await world.journal()).filter((line) => line.startsWith("delivery-"));
    expect(lines.filter((line) => line.startsWith("delivery-begun"))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith("delivery-ended"))).toHaveLength(
      callsOf(site, "stage"),
    );
    await world.stop();
  });

  test("warns once of a registry that refuses all its images", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const plan = planOf(site.want(sketchOf("shop", "till")));
    const missing = declaredIn(plan);
    site.script.stage = async () => summaryOf(plan, { missing });
    await world.until("it failed", () => agent.state().activity.waiting !== null);
    expect(agent.state().warnings).toMatchObject([
      {
        ...{ level: "error", code: "registry-unauthorized", subject: "quay.io" },
        message: `3 images, the first of them: Cannot fetch ${missing[0]}: refused`,
      },
    ]);
    await world.stop();
  });

  test("heeds what the inputs say of its work by now: when to activate, how often to prove", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { site, agent } = world;
    const { id } = site.want(sketchOf("shop"));
    await world.until("it is staged", () => agent.state().staged?.id === id);
    const settings = { ...site.manner.settings, activation: "immediate", proveMs: 60_000 } as const;
    site.manner = { ...site.manner, settings };
    await world.pass(HOUR_MS);
    expect(agent.state().active).toBeNull();
    site.change();
    await world.until("it is ready", () => isReady(world));
    const proofs = callsOf(site, "prove");
    await world.pass(HOUR_MS);
    expect(callsOf(site, "prove") - proofs).toBeWithin(58, 62);
    await world.stop();
  });

  test("begins a delivery again when the uplink may be used in another way, and fetches nothing twice", async () => {
    const world = startAgent();
    const { site, agent } = world;
    site.script.stage = async (revision, { signal }) => {
      const plan = planOf(revision);
      site.held.add(declaredIn(plan)[0] ?? "");
      return untilAborted(NEVER, signal);
    };
    const { id } = site.want(sketchOf("shop"));
    await world.until("it stages", () => agent.state().activity.name === "staging");
    site.change();
    await world.pass(1_000);
    expect(callsOf(site, "stage")).toBe(1);
    site.script = {};
    site.manner = { ...site.manner, link: "a window is open now" };
    site.change();
    await world.until("it is ready", () => isReady(world));
    expect(worksOf(site).slice(0, 3)).toEqual([`stage ${id}`, `stage ${id}`, `activate ${id}`]);
    expect(agent.state().delivery).toMatchObject({ bytesHere: 1_000_000, bytesMoved: 1_000_000 });
    expect(await world.journal()).toContain(
      "link-changed: The uplink is used as `link` of the inputs says by now",
    );
    await world.stop();
  });

  test("says which settings count only after a restart, until they are as they were", async () => {
    const world = startAgent();
    const { site, agent } = world;
    await ready(world, "shop");
    site.manner = { ...site.manner, restart: ["dataDir", "agent.listen"] };
    site.change();
    await world.until("it says so", () => agent.state().warnings.length > 0);
    const [told] = agent.state().warnings;
    expect(told).toMatchObject({ level: "warning", code: "restart-needed" });
    expect(told?.message).toContain("dataDir, agent.listen");
    site.manner = { ...site.manner, restart: [] };
    site.change();
    await world.until("it is over", () => agent.state().warnings.length === 0);
    await world.stop();
  });

  test("moves nothing while it is paused, also after a restart", async () => {
    const world = startAgent();
    const { site, agent, clock } = world;
    await ready(world, "shop");
    await agent.act("pause", "ana");
    const { id } = site.want(sketchOf("shop", "till"));
    await world.pass(24 * HOUR_MS);
    await world.stop();
    const next = startAgent({ records: world.records.copy(), site, clock });
    await next.pass(24 * HOUR_MS);
    expect(worksOf(site).some((call) => call === `stage ${id}`)).toBe(false);
    expect(next.agent.state().paused).toMatchObject({ by: "ana" });
    expect(next.agent.state().verdict.sentence).toStartWith("Paused by ana");
    await next.agent.act("resume", "ana");
    await next.until("it goes on", () => site.turnedTo === id);
    await next.stop();
  });

  test("goes on at once where it was paused", async () => {
    const world = startAgent();
    const { site, agent, clock } = world;
    site.script.stage = (_, { signal }) => untilAborted(NEVER, signal);
    site.want(sketchOf("shop"));
    await world.until("it stages", () => agent.state().activity.name === "staging");
    await agent.act("pause", "ana");
    await world.until("it stopped", () => agent.state().activity.waiting !== null);
    site.script = {};
    const resumedMs = clock.now();
    await agent.act("resume", "ana");
    await world.until("it is ready", () => isReady(world));
    expect(clock.now() - resumedMs).toBeLessThan(1_000);
    expect(agent.counters().deliveries).toEqual({ done: 1, failed: 0, interrupted: 1 });
    await world.stop();
  });

  test("warns of content that was found wrong until a proof says that all is here again", async () => {
    const world = startAgent();
    const { site, agent } = world;
    await ready(world, "shop");
    const lost = "quay.io/team/shop:latest";
    site.script.verify = async () => {
      site.held.delete(lost);
      site.script.stage = async (_, { signal }) => untilAborted(NEVER, signal);
      const trouble = [{ code: "blob-wrong", message: "A blob is wrong", hint: "Look" }];
      return { ok: false, text: "1 of 8 is wrong", blobs: 8, bytes: 8, trouble };
    };
    await agent.act("verify", "ana");
    await world.until("it is fetched", () => agent.state().activity.name === "staging");
    expect(agent.state().warnings).toMatchObject([{ code: "blob-wrong" }]);
    site.script = {};
    const mendedMs = world.clock.now();
    await agent.act("pause", "ana");
    await agent.act("resume", "ana");
    await world.until("it is here again", () => agent.state().warnings.length === 0);
    expect(site.held).toContain(lost);
    expect(world.clock.now() - mendedMs).toBeLessThan(HOUR_MS);
    await world.stop();
  });

  test("shows what is on its way, its images and its part of the disk, until it is staged", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { site, agent } = world;
    const revision = site.want(sketchOf("shop"));
    const { id } = revision;
    const plan = planOf(revision);
    const claims: (string | undefined)[] = [];
    site.script.disk = async ({ staged }) => {
      claims.push(staged?.id);
      throw failure("disk");
    };
    site.script.stage = async () => summaryOf(plan, { missing: declaredIn(plan) });
    await world.until("it failed", () => agent.state().activity.waiting !== null);
    await world.pass(1_000);
    expect(agent.state()).toMatchObject({ active: null, staged: null, wanted: { id, images: 2 } });
    expect(await agent.images("staged")).toHaveLength(2);
    expect(claims.at(-1)).toBe(id);
    expect(site.kept).toEqual({});
    site.script = {};
    await world.until("it is staged", () => agent.state().staged?.id === id);
    expect(agent.state().wanted).toBeNull();
    await world.stop();
  });

  test("tells the store what must stay before each collection", async () => {
    const world = startAgent();
    const { site, agent } = world;
    await ready(world, "shop");
    const told: string[] = [];
    site.script.keep = async ({ active }) => {
      told.push(`keep ${active?.id}`);
    };
    site.script.collect = async () => {
      told.push("collect");
      return { ok: true, text: "", blobs: 0, bytes: 0, trouble: [] };
    };
    const id = agent.state().active?.id;
    for (const count of [2, 4]) {
      await agent.act("collect", "ana");
      await world.until("it has collected", () => told.length === count);
    }
    expect(told).toEqual([`keep ${id}`, "collect", `keep ${id}`, "collect"]);
    await world.stop();
  });

  test("tells the store what must stay one at a time, and last what holds", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { site, agent } = world;
    site.want(sketchOf("shop"));
    await world.until("one is staged", () => agent.state().staged !== null);
    await agent.act("activate", "ana");
    await world.until("one is active", () => isReady(world));
    const one = agent.state().active?.id;
    site.want(sketchOf("till"));
    await world.until("two is staged", () => agent.state().staged !== null);
    const told: (string | undefined)[][] = [];
    const slow = Promise.withResolvers<void>();
    site.script.keep = async ({ active, staged }) => {
      told.push([active?.id, staged?.id]);
      if (told.length === 1) await slow.promise;
    };
    const two = agent.state().staged?.id;
    await agent.act("collect", "ana");
    await world.until("it is told", () => told.length === 1);
    site.want(sketchOf("shop"));
    await world.pass(HOUR_MS / 60);
    expect(told).toEqual([[one, two]]);
    slow.resolve();
    await world.until("it is told anew", () => told.length === 2);
    expect(told.at(-1)).toEqual([one, undefined]);
    await world.stop();
  });

  test("keeps what an activation was begun with, though the inputs have gone back since", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const one = await ready(world, "shop");
    site.script.activate = async () => {
      throw failure("runtime-unreachable");
    };
    const { id: two } = site.want(sketchOf("till"));
    await world.until(
      "its activation has failed",
      () => agent.state().activation?.outcome === "failed",
    );
    site.want(sketchOf("shop"));
    await world.until("the inputs are read", () => agent.state().staged === null);
    expect(site.kept).toEqual({ active: one, staged: two });
    await world.stop();
  });

  test("collects nothing as long as the store can't be told what must stay", async () => {
    const world = startAgent();
    const { site, agent } = world;
    site.script.keep = async () => {
      throw failure("store-busy");
    };
    await ready(world, "shop");
    await agent.act("collect", "ana");
    await world.pass(48 * HOUR_MS);
    expect(worksOf(site).some((call) => call.startsWith("collect"))).toBe(false);
    expect(
      agent
        .state()
        .warnings.map(({ code }) => code)
        .sort(),
    ).toEqual(["keep-failed", "store-busy"]);
    site.script = {};
    await world.pass(48 * HOUR_MS);
    expect(worksOf(site).some((call) => call.startsWith("collect"))).toBe(true);
    expect(agent.state().warnings).toEqual([]);
    await world.stop();
  });

  test("starts without a link: what is active stays in force, and why it waits is shown", async () => {
    const world = startAgent();
    const { site, clock } = world;
    const id = await ready(world, "shop");
    await world.stop();
    site.script = {
      read: async () => {
        throw failure("registry-unreachable", "Cannot reach registry.example: no route");
      },
    };
    const next = startAgent({ records: world.records.copy(), site, clock });
    const { agent } = next;
    await next.until("it has tried", () => agent.state().activity.name === "idle");
    await next.pass(HOUR_MS);
    expect(agent.state()).toMatchObject({
      active: { id },
      verdict: { level: "waiting", remedy: "Change the script" },
      warnings: [{ code: "registry-unreachable", level: "warning" }],
    });
    expect(agent.state().parts.find(({ name }) => name === "registry")?.state).toBe("running");
    expect(agent.state().parts.find(({ name }) => name === "watch")?.restarts).toBe(0);
    const unreadable = (await next.journal()).filter((line) =>
      line.startsWith("inputs-unreadable"),
    );
    expect(unreadable).toHaveLength(1);
    site.script = {};
    await next.until("it reads them", () => isReady(next));
    await next.stop();
  });

  test("proves anew when it is started, and is not ready before that", async () => {
    const world = startAgent();
    const { site, clock } = world;
    await ready(world, "shop");
    await world.stop();
    // The disk, or the machine, is another by now.
    site.held.delete("quay.io/team/shop:latest");
    const proving = Promise.withResolvers<void>();
    const { prove } = createMemorySite(clock);
    site.script.stage = (_, { signal }) => untilAborted(NEVER, signal);
    site.script.prove = async (...args) => {
      await proving.promise;
      return prove(...args);
    };
    const next = startAgent({ records: world.records.copy(), site, clock });
    const { agent } = next;
    await next.until("it proves", () => agent.state().activity.name === "proving");
    expect(agent.state()).toMatchObject({ proof: { ok: true }, verdict: { level: "working" } });
    expect(agent.isReadyOffline()).toBe(false);
    proving.resolve();
    await next.until("it fetches what is missing", () => agent.state().activity.name === "staging");
    expect(agent.state().proof?.ok).toBe(false);
    site.script = {};
    await agent.act("pause", "ana");
    await agent.act("resume", "ana");
    await next.until("it is ready", () => isReady(next) && agent.isReadyOffline());
    await next.stop();
  });

  test("looks again at what a proof found wanting, tells of it seldom, and fetches once", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const id = await ready(world, "shop");
    const lost = createMemorySite(world.clock);
    const stages = callsOf(site, "stage");
    site.script.prove = (...args) => lost.prove(...args);
    site.change();
    await world.until("it is wanting", () => agent.state().proof?.ok === false);
    await world.pass(4 * HOUR_MS);
    expect(callsOf(site, "stage")).toBe(stages + 1);
    const told = (await world.journal()).filter((line) => /^proof-(wanting|failing)/.test(line));
    expect(told).toEqual([
      "proof-wanting: Not proven: 2 of 2 references are missing",
      ...[2, 4, 8, 16].map(
        (times) =>
          `proof-failing: The proof of store (revision ${id}) has failed ${times} times in the same way since 2026-01-05 12:00`,
      ),
    ]);
    site.script = {};
    const mendedMs = world.clock.now();
    await world.until("it is ready", () => isReady(world));
    expect(world.clock.now() - mendedMs).toBeLessThan(16 * 60_000);
    await world.stop();
  });

  test("tells of a look that holds again only where somebody asked, or it was time", async () => {
    const world = startAgent();
    const { site, agent } = world;
    await ready(world, "shop");
    const told = async () =>
      (await world.journal()).filter((line) => line.startsWith("proof-held")).length;
    expect(await told()).toBe(1);
    const before = callsOf(site, "prove");
    site.change();
    await world.until("it looked", () => callsOf(site, "prove") > before);
    await world.pass(1_000);
    expect(await told()).toBe(1);
    await agent.act("prove", "ana");
    await world.pass(1_000);
    expect(await told()).toBe(2);
    await world.pass(7 * HOUR_MS);
    expect(await told()).toBe(3);
    await world.stop();
  });

  test("says so where the proof can't be made, and goes on trying", async () => {
    const world = startAgent();
    const { site, agent } = world;
    site.script.prove = async () => {
      throw failure("config-unreadable");
    };
    site.want(sketchOf("shop"));
    await world.until("it has tried", () => agent.state().warnings.length > 0);
    expect(agent.state().verdict).toMatchObject({ level: "wanting", remedy: "Change the script" });
    expect(agent.state().verdict.sentence).toStartWith("Not proven");
    site.script = {};
    await world.pass(HOUR_MS);
    expect(isReady(world)).toBe(true);
    await world.stop();
  });

  test("does the activation again when it is told to although nothing else is staged", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { site, agent } = world;
    await expect(agent.act("activate", "ana")).rejects.toMatchObject({ code: "action-refused" });
    const { id } = site.want(sketchOf("shop"));
    await world.until("it is staged", () => agent.state().staged !== null);
    await agent.act("activate", "ana");
    await world.until("it is ready", () => isReady(world));
    site.turnedTo = undefined;
    await agent.act("activate", "ana");
    await world.until("it is turned to again", () => site.turnedTo === id && isReady(world));
    expect(worksOf(site)).toEqual([
      ...[`stage ${id}`, `activate ${id}`, `prove ${id}`, `activate ${id}`, `prove ${id}`],
    ]);
    expect(agent.state()).toMatchObject({ active: { id }, staged: null, previous: null });
    expect(await world.journal()).toContain(
      `revision-activated: Activated store (revision ${id}) again`,
    );
    await world.stop();
  });

  test("writes the runtime's files again that differ, once: what differs again is another's doing", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const id = await ready(world, "shop");
    const differing = new Set<string>();
    site.script.drift = async () => [...differing];
    site.script.activate = async () => {
      site.turnedTo = id;
      differing.delete("/etc/edited");
      return { outcome: "done", steps: [] };
    };
    // A password in them is another one: of the inputs that makes no other revision.
    differing.add("/etc/edited");
    site.turnedTo = undefined;
    site.change();
    await world.until("it is written again", () => site.turnedTo === id && isReady(world));
    expect(agent.state().warnings).toEqual([]);
    expect((await world.journal()).filter((line) => line.startsWith("runtime-drifted"))).toEqual([
      'runtime-drifted: Cannot find "/etc/edited" of the runtime as the activation writes it, expected no other change since',
    ]);
    differing.add("/etc/fought-over");
    const before = callsOf(site, "activate");
    await world.pass(48 * HOUR_MS);
    expect(callsOf(site, "activate")).toBe(before + 1);
    expect(agent.state().warnings).toMatchObject([{ code: "runtime-drifted", level: "warning" }]);
    differing.clear();
    await world.pass(7 * HOUR_MS);
    expect(agent.state().warnings).toEqual([]);
    await world.stop();
  });

  test("leaves a first activation that always fails for inputs that mend it", async () => {
    const world = startAgent();
    const { site, agent } = world;
    const bad = site.want(sketchOf("shop")).id;
    site.script.activate = async ({ id }) => {
      if (id !== bad) site.turnedTo = id;
      const step = {
        name: "hand-over",
        outcome: id === bad ? "failed" : "done",
        text: "so",
      } as const;
      return { outcome: step.outcome, steps: [step] };
    };
    await world.pass(2 * HOUR_MS);
    expect(agent.state().verdict).toMatchObject({ level: "failed" });
    const { id } = site.want(sketchOf("shop", "till"));
    await world.until("it is ready", () => isReady(world) && agent.state().active?.id === id);
    expect(agent.state().warnings).toEqual([]);
    expect(site.kept).toEqual({ active: id });
    await world.stop();
  });

  test("proves, verifies and collects while a delivery waits for days, and shows what it waits for", async () => {
    const world = startAgent();
    const { site, agent, clock } = world;
    await ready(world, "shop");
    const untilMs = clock.now() + 72 * HOUR_MS;
    site.script.stage = async (_, { signal, emit }) => {
      emit({ at: clock.now(), type: "waiting", reason: "the quota is used up", untilMs });
      return untilAborted(NEVER, signal);
    };
    site.want(sketchOf("shop", "till"));
    const waits = () => agent.state().activity.waiting?.reason === "the quota is used up";
    await world.until("it waits", waits);
    const before = callsOf(site, "prove");
    await agent.act("prove", "ana", { full: true });
    await world.pass(2 * 60_000);
    expect(callsOf(site, "prove")).toBe(before + 1);
    expect(waits()).toBe(true);
    await world.pass(48 * HOUR_MS);
    expect(callsOf(site, "prove") - before).toBeWithin(8, 10);
    expect(callsOf(site, "collect")).toBeWithin(1, 3);
    expect(waits()).toBe(true);
    // It gave way to those alone, and not every minute.
    expect(callsOf(site, "stage")).toBeWithin(10, 16);
    await world.stop();
  });

  test("does what it was told while something else was being written", async () => {
    const clock = createEventClock(START_MS);
    const memory = createMemoryRecords(clock);
    const writes: (() => void)[] = [];
    let isSlow = false;
    const put: typeof memory.notes.put = async (name, value) => {
      if (isSlow && name === "course") await new Promise<void>((go) => writes.push(go));
      await memory.notes.put(name, value);
    };
    const records = { ...memory, notes: { ...memory.notes, put } };
    const night = { days: [1], fromMinute: 1320, toMinute: 1380, bytesPerSecond: undefined };
    const activation = { windows: [night], timeZone: undefined };
    const world = startAgent({ clock, records, settings: { activation } });
    const { site, agent } = world;
    const one = site.want(sketchOf("shop")).id;
    const two = revisionOf(sketchOf("shop", "till"), 0).id;
    for (const id of [one, two]) {
      if (id === two) site.want(sketchOf("shop", "till"));
      await world.until("it is staged", () => agent.state().staged?.id === id);
      await agent.act("activate", "ana");
      await world.until("it is active", () => isReady(world) && agent.state().active?.id === id);
    }
    const three = site.want(sketchOf("shop", "bar")).id;
    await world.until("three is staged", () => agent.state().staged?.id === three);
    await agent.act("pause", "ana");
    const verified = Promise.withResolvers<void>();
    const { verify } = createMemorySite(clock);
    site.script.verify = async (...args) => {
      await verified.promise;
      return verify(...args);
    };
    await agent.act("verify", "ana");
    await world.until("it verifies", () => agent.state().activity.name === "verifying");
    // The window opens, so that the third would be activated by itself once it is resumed.
    isSlow = true;
    clock.set(Date.UTC(2026, 0, 12, 22, 30));
    const writing = (count: number) => world.until("it writes", () => writes.length === count);
    verified.resolve();
    await writing(1);
    const resumed = agent.act("resume", "ana");
    writes[0]?.();
    await writing(2);
    const rolledBack = agent.act("rollback", "ana");
    isSlow = false;
    writes[1]?.();
    await Promise.all([resumed, rolledBack]);
    await world.until("three is active", () => agent.state().active?.id === three);
    expect(site.calls.filter((call) => call.startsWith("activate"))).toEqual(
      [one, two, one, three].map((id) => `activate ${id}`),
    );
    await world.stop();
  });

  test("looks after the site for a month with little to do", async () => {
    const world = startAgent();
    await ready(world, "shop");
    const before = world.site.calls.length;
    await world.pass(30 * 24 * HOUR_MS);
    const count = (name: string) =>
      world.site.calls.slice(before).filter((call) => call.startsWith(name)).length;
    expect(count("prove")).toBeWithin(110, 125);
    expect(count("stage")).toBeWithin(105, 121);
    expect(count("verify sample")).toBeWithin(4, 5);
    expect(count("collect")).toBeWithin(26, 31);
    expect(count("activate")).toBe(0);
    expect(count("credentials")).toBeWithin(640, 721);
    // Looking whether a tag has moved, and finding that none has, is no news.
    const told = await world.journal();
    expect(told.filter((line) => line.startsWith("delivery-"))).toHaveLength(2);
    await world.stop();
  });

  test("contains a part that fails, shows it, and starts it again with back-off", async () => {
    const world = startAgent();
    const { site, agent } = world;
    site.script.serveRegistry = async () => {
      throw failure("address-taken");
    };
    site.want(sketchOf("shop"));
    await world.until("it is proven all the same", () => agent.state().proof?.ok === true);
    const part = () => agent.state().parts.find(({ name }) => name === "registry");
    await world.pass(60_000);
    expect(part()).toMatchObject({ state: "restarting", trouble: { code: "address-taken" } });
    const { restarts = 0 } = part() ?? {};
    expect(restarts).toBeWithin(4, 9);
    // All is here, and nobody can pull it.
    expect(agent.state().verdict).toMatchObject({ level: "wanting", remedy: "Change the script" });
    expect(agent.isReadyOffline()).toBe(false);
    const proofs = callsOf(site, "prove");
    site.script = {};
    await world.until("it runs", () => part()?.address === "127.0.0.1:5055");
    await world.pass(1_000);
    expect(isReady(world) && agent.isReadyOffline()).toBe(true);
    expect(callsOf(site, "prove")).toBe(proofs + 1);
    expect(agent.state().warnings).toEqual([]);
    expect((await world.journal()).filter((line) => line.startsWith("part-crashed"))).toEqual([
      "part-crashed: The part registry failed: Cannot do it: it is scripted",
    ]);
    await world.stop();
  });

  test("ends in time although somebody hangs, who is named, and the next one knows", async () => {
    const world = startAgent();
    const { site, clock } = world;
    site.script.stage = () => NEVER;
    site.want(sketchOf("shop"));
    await world.until("it stages", () => world.agent.state().activity.name === "staging");
    const stoppedMs = clock.now();
    await world.stop();
    expect(clock.now() - stoppedMs).toBeLessThan(3_000);
    expect((await world.journal()).at(-1)).toBe(
      "agent-stopped: Agent stopped; left behind: reconcile",
    );
    site.script = {};
    const next = startAgent({ records: world.records.copy(), site, clock });
    await next.until("it is ready", () => isReady(next));
    expect(worksOf(site)).toContain("verify since-unclean");
    expect((await next.journal()).some((line) => line.startsWith("agent-died"))).toBe(true);
    await next.stop();
  });

  test("looks at what a dead agent wrote, also when one that ended in order did not come to it", async () => {
    const world = startAgent();
    const { site, clock } = world;
    await ready(world, "shop");
    site.script.verify = (_, signal) => untilAborted(NEVER, signal);
    site.script.serveRegistry = (signal) => untilAborted(NEVER, signal);
    const second = startAgent({ records: world.records.copy(), site, clock });
    await second.until("it looks", () => second.agent.state().activity.name === "verifying");
    await second.stop();
    expect((await second.journal()).at(-1)).toBe("agent-stopped: Agent stopped");
    site.script = {};
    const third = startAgent({ records: second.records.copy(), site, clock });
    await third.until("it is ready", () => isReady(third));
    expect(callsOf(site, "verify since-unclean")).toBe(2);
    await third.stop();
    await world.stop();
  });

  test("makes a proof again that was begun before the registry served", async () => {
    const world = startAgent();
    const { site, clock } = world;
    await ready(world, "shop");
    await world.stop();
    const { serveRegistry } = createMemorySite(clock);
    const listening = Promise.withResolvers<void>();
    site.script.serveRegistry = async (...args) => {
      await listening.promise;
      return serveRegistry(...args);
    };
    site.script.prove = (_revision, _options, signal) => untilAborted(NEVER, signal);
    const next = startAgent({ records: world.records.copy(), site, clock });
    await next.until("it proves", () => next.agent.state().activity.name === "proving");
    const before = callsOf(site, "prove");
    listening.resolve();
    await next.until("it proves again", () => callsOf(site, "prove") > before);
    await next.stop();
  });

  test("tells of an uplink that is lost and comes back, and of credentials that change", async () => {
    const world = startAgent();
    const { site } = world;
    const report = (state: "ok" | "unreachable" | "refused") => ({
      ...{ registry: "quay.io", role: "packs" as const, origin: "secret:a", atMs: 0, image: null },
      outcome:
        state === "ok"
          ? { kind: "accepted" as const }
          : { kind: state, code: state, message: "No", hint: "Do" },
      ...{ expiries: [], state, why: "because", hint: "Do", sinceMs: 0 },
    });
    let state: "ok" | "unreachable" | "refused" = "ok";
    site.script.credentials = async () => [report(state)];
    await ready(world, "shop");
    for (const next of ["unreachable", "ok", "refused"] as const) {
      state = next;
      await world.pass(2 * HOUR_MS);
    }
    expect(world.agent.state().warnings).toMatchObject([
      { level: "error", code: "credential-refused", subject: "quay.io (secret:a)" },
    ]);
    expect((await world.journal()).filter((line) => /^(uplink|credential)/.test(line))).toEqual([
      "credential-changed: Credential for quay.io (secret:a) is unreachable: because",
      "uplink-lost: No registry answers over the uplink",
      "credential-changed: Credential for quay.io (secret:a) is ok: because",
      "uplink-back: The uplink carries again",
      "credential-changed: Credential for quay.io (secret:a) is refused: because",
    ]);
    await world.stop();
  });

  test("tries the credentials again when a registry refuses a delivery, and not an hour later", async () => {
    const world = startAgent();
    const { site } = world;
    site.script.stage = nothingCame;
    site.want(sketchOf("shop"));
    await world.until("it is refused", () => callsOf(site, "stage") > 0);
    await world.pass(1_000);
    // Once for the new revision, once for the refusal.
    expect(callsOf(site, "credentials")).toBe(2);
    await world.stop();
  });

  test("tries the credentials again when the inputs were read, for a password makes no other revision", async () => {
    const world = startAgent();
    const { site } = world;
    await ready(world, "shop");
    const before = callsOf(site, "credentials");
    site.want(sketchOf("shop"));
    await world.pass(1_000);
    expect(callsOf(site, "credentials")).toBe(before + 1);
    await world.stop();
  });

  test("stages at once, and activates when a window opens", async () => {
    const night = { days: [1], fromMinute: 1_320, toMinute: 1_380, bytesPerSecond: undefined };
    const opensMs = Date.UTC(2026, 0, 5, 22);
    const world = startAgent({
      settings: { activation: { windows: [night], timeZone: undefined } },
    });
    const { site, agent, clock } = world;
    site.want(sketchOf("shop"));
    await world.pass(5 * HOUR_MS);
    const { activity, staged, verdict } = agent.state();
    expect(staged).not.toBeNull();
    expect(activity.waiting).toMatchObject({ untilMs: opensMs });
    expect(verdict.sentence).toContain("2026-01-05 22:00");
    expect(site.turnedTo).toBeUndefined();
    await world.until("it is active", () => site.turnedTo === staged?.id);
    expect(clock.now()).toBeWithin(opensMs, opensMs + 60_001);
    await world.stop();
  });

  test("tries what failed again once the changed inputs are read, and not before", async () => {
    const world = startAgent();
    const { site, clock } = world;
    const password = { written: "old", read: "" };
    const wanted = site.want(sketchOf("shop"));
    site.script.read = async (signal) => {
      await clock.sleep(100, signal);
      password.read = password.written;
      return { revision: wanted, warnings: [], faults: [] };
    };
    const tried: string[] = [];
    site.script.stage = async (revision) => {
      const plan = planOf(revision);
      tried.push(password.read);
      return summaryOf(plan, { missing: password.read === "new" ? [] : declaredIn(plan) });
    };
    await world.until("it is refused", () => tried.length > 0);
    await world.pass(1_000);
    password.written = "new";
    site.change();
    await world.pass(1_000);
    expect(tried.slice(0, 2)).toEqual(["old", "new"]);
    await world.stop();
  });

  test("goes on trying what it was asked to stage, also when it was here before", async () => {
    const world = startAgent();
    const { site, agent } = world;
    await ready(world, "shop");
    site.script.stage = nothingCame;
    await agent.act("stage", "socket");
    const isWarned = () => agent.state().warnings.length > 0;
    await world.until("it is refused", isWarned);
    site.script = {};
    await world.pass(60_000);
    expect(isWarned()).toBe(false);
    await world.stop();
  });

  test("remembers what crossed the uplink, also over its own death", async () => {
    const world = startAgent();
    const { site, clock } = world;
    await ready(world, "shop");
    await world.pass(HOUR_MS);
    const next = startAgent({ records: world.records.copy(), site, clock });
    await next.until("it is ready", () => isReady(next));
    const slices = next.agent.uplink(24);
    expect(slices.length).toBeWithin(200, 301);
    expect(slices.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(2_000_000);
    expect(next.agent.counters().uplinkBytes).toEqual([]);
    expect(world.agent.counters().uplinkBytes).toEqual([
      { registry: "quay.io", stage: "provider", bytes: 1_000_000 },
      { registry: "quay.io", stage: "application", bytes: 1_000_000 },
    ]);
    await world.stop();
    await next.stop();
  });

  test("tells its readers at most four times a second, and leaves out one that throws", async () => {
    const world = startAgent();
    const news: { readonly ms: number; readonly news: AgentNews }[] = [];
    let thrown = 0;
    world.agent.subscribe(() => {
      thrown += 1;
      throw new Error("bad reader");
    });
    const end = world.agent.subscribe((each) =>
      news.push({ ms: world.clock.monotonic(), news: each }),
    );
    await ready(world, "shop");
    for (const action of ["pause", "resume", "pause", "resume"] as const) {
      await world.agent.act(action, "ana");
      await world.pass(100);
    }
    await world.pass(1_000);
    end();
    const count = news.length;
    const states = news.filter((each) => each.news.type === "state").map(({ ms }) => ms);
    expect(states.length).toBeGreaterThan(1);
    for (const [i, ms] of states.slice(1).entries()) {
      expect(ms - (states[i] ?? 0)).toBeGreaterThanOrEqual(250);
    }
    expect(news.some((each) => each.news.type === "delivery")).toBe(true);
    expect(JSON.stringify(news)).not.toContain('"type":"bytes"');
    expect(thrown).toBe(1);
    await ready(world, "shop", "till");
    expect(news.length).toBe(count);
    await world.stop();
  });

  test("shows the images, the plan and the explanation of a revision, and no secret", async () => {
    const world = startAgent({ settings: { activation: "manual" } });
    const { agent, site } = world;
    await expect(agent.images("active")).rejects.toMatchObject({ code: "revision-missing" });
    expect(() => agent.plan("staged")).toThrow("there is none");
    site.want({
      ...sketchOf("shop"),
      stylus: {
        externalRegistries: {
          registries: [
            { domain: "10.0.0.9:5000/mirror", username: "u", password: "hunter2-in-clear" },
          ],
        },
      },
    });
    await world.until("it is staged", () => agent.state().staged !== null);
    const images = await agent.images("staged");
    expect(images.map(({ stage, outcome }) => `${stage} ${outcome}`)).toEqual([
      "provider delivered",
      "application delivered",
    ]);
    const reference = images[1]?.declared ?? "";
    expect(await agent.explain("staged", reference)).toMatchObject({ reference });
    await expect(agent.explain("staged", "quay.io/other:1")).rejects.toMatchObject({
      code: "image-unknown",
    });
    const all = [images, agent.plan("staged"), agent.state(), await agent.journal({ limit: 100 })];
    expect(JSON.stringify(all)).not.toContain("hunter2");
    expect(JSON.stringify(new Secret("hunter2"))).not.toContain("hunter2");
    await world.stop();
  });
});

/** With the machine's clock: what a database takes is not to be had by passing time. */
async function atWork(store: AgentRecords, site: MemorySite, act: (agent: Agent) => Promise<void>) {
  const agent = createAgent({
    ...{ operations: site, records: store, clock: systemClock, random: () => 0.5 },
    ...{ version: "1.0", host: "edge-1", timeZone: "UTC" },
  });
  const end = new AbortController();
  const running = agent.run(end.signal);
  await act(agent);
  end.abort(new Error("stop"));
  await running;
}

const comesTo = (agent: Agent, isSo: (state: SiteState) => boolean) =>
  new Promise<void>((resolve) => {
    const end = agent.subscribe((news) => {
      if (news.type !== "state" || !isSo(news.state)) return;
      end();
      resolve();
    });
  });

const toldOf = (agent: Agent, kind: string) =>
  new Promise<void>((resolve) => {
    const end = agent.subscribe((news) => {
      if (news.type !== "journal" || news.entry.kind !== kind) return;
      end();
      resolve();
    });
  });

test("a store on disk remembers for the agent, whoever opens it next", async () => {
  await using folder = await temporaryFolder();
  const site = createMemorySite(systemClock);
  const { id } = site.want(sketchOf("shop"));
  {
    await using store = await openStore(folder.path, { clock: systemClock });
    await atWork(store, site, async (agent) => {
      await comesTo(agent, ({ verdict }) => verdict.level === "ready");
      await agent.act("pause", "ana");
    });
  }
  await using store = await openStore(folder.path, { clock: systemClock });
  await atWork(store, site, async (agent) => {
    const provenAnew = toldOf(agent, "proof-held");
    await comesTo(agent, ({ activity }) => activity.name === "idle");
    expect(agent.state()).toMatchObject({
      ...{ active: { id }, paused: { by: "ana" }, proof: { ok: true } },
      verdict: { level: "waiting" },
    });
    await provenAnew;
    expect(agent.uplink(1).reduce((sum, { bytes }) => sum + bytes, 0)).toBe(2_000_000);
  });
  const kinds = (await store.journal.read()).map(({ kind }) => kind);
  expect(kinds).toEqual([
    ...["agent-stopped", "proof-held", "agent-started"],
    ...["agent-stopped", "action", "proof-held"],
    ...["revision-activated", "revision-staged", "delivery-ended", "delivery-begun"],
    ...["revision-seen", "agent-started"],
  ]);
});

describe("a disk that takes nothing", () => {
  test("keeps no step from being done again once there is room", async () => {
    const world = startAgent();
    const { records, agent, site } = world;
    const one = await ready(world, "shop");
    records.refuse = () => {
      throw failure("store-full");
    };
    const two = site.want(sketchOf("shop", "till")).id;
    await world.pass(60_000);
    expect(site.turnedTo).toBe(one);
    expect(agent.state().active?.id).toBe(one);
    expect(agent.state().warnings.map(({ code }) => code)).toContain("store-full");
    records.refuse = () => {};
    await world.until("it goes on", () => isReady(world) && site.turnedTo === two);
    await world.stop();
  });

  test("is proven all the same", async () => {
    const world = startAgent();
    const { records, agent, site } = world;
    await ready(world, "shop");
    const before = callsOf(site, "prove");
    records.refuse = (what) => {
      if (what === "note proof") throw failure("store-full");
    };
    await agent.act("prove", "ana");
    await world.until("it is proven", () => callsOf(site, "prove") > before && isReady(world));
    await world.pass(1_000);
    expect(agent.state().warnings.map(({ code }) => code)).toEqual(["store-full"]);
    expect((await world.journal()).some((line) => line.startsWith("prove-failed"))).toBe(false);
    records.refuse = () => {};
    await agent.act("prove", "ana");
    await world.until("it is kept again", () => agent.state().warnings.length === 0);
    await world.stop();
  });

  test("shows a pause only when it is durable", async () => {
    const world = startAgent();
    const { records, agent } = world;
    await ready(world, "shop");
    records.refuse = (what) => {
      if (what === "note course") throw failure("store-full");
    };
    await expect(agent.act("pause", "ana")).rejects.toMatchObject({ code: "store-full" });
    expect(agent.state().paused).toBeNull();
    records.refuse = () => {};
    await agent.act("pause", "ana");
    records.refuse = (what) => {
      if (what === "note course") throw failure("store-full");
    };
    await expect(agent.act("resume", "ana")).rejects.toMatchObject({ code: "store-full" });
    expect(agent.state().paused).toMatchObject({ by: "ana" });
    await world.stop();
  });

  test("keeps nothing back that was half written", async () => {
    const world = startAgent();
    const { records, agent, site } = world;
    await ready(world, "shop");
    const { id } = site.want(sketchOf("shop", "till"));
    // The standing is durable, and the note that goes with it is not.
    records.refuse = (what) => {
      if (what === "note course" && agent.state().delivery?.outcome === "done") {
        throw failure("store-full");
      }
    };
    await world.pass(60_000);
    records.refuse = () => {};
    await world.until("it is ready", () => isReady(world) && agent.state().active?.id === id);
    const next = startAgent({ records: records.copy(), site, clock: world.clock });
    await next.until("it is ready too", () => isReady(next));
    expect(next.agent.state().active?.id).toBe(id);
    await next.stop();
    await world.stop();
  });

  test("is told of what happened while it did, in order and with its time, once there is room", async () => {
    const world = startAgent();
    const { records, agent, site, clock } = world;
    await ready(world, "shop");
    await world.pass(1_000);
    records.refuse = (what) => {
      if (what === "journal") throw failure("store-full");
    };
    const fullMs = clock.now();
    site.want(sketchOf("shop", "till"));
    await world.until("it is ready", () => agent.state().active?.images === 3 && isReady(world));
    await world.pass(HOUR_MS);
    expect(agent.state().warnings.map(({ code }) => code)).toContain("store-full");
    records.refuse = () => {};
    await world.stop();
    const entries = (await agent.journal({ limit: 100 })).toReversed();
    const told = entries.slice(entries.findIndex(({ at }) => at >= fullMs));
    expect(told.map(({ kind }) => kind)).toEqual([
      ...["revision-seen", "delivery-begun", "delivery-ended", "revision-staged"],
      ...["revision-activated", "proof-held", "agent-stopped"],
    ]);
    expect(told.at(-2)?.at).toBeLessThan(fullMs + HOUR_MS / 2);
  });
});

/** What a death leaves: what is durable, and the world as it is. */
interface Left {
  readonly after: string;
  readonly records: MemoryRecords;
  readonly held: readonly string[];
  readonly turnedTo: string | undefined;
  /** Whether an operator was told that the rollback will be done. */
  readonly isPromised: boolean;
}

describe("an agent that comes after one that was killed", () => {
  /** Installs one, updates to two, is told to roll back: every write of it is a place to die at. */
  async function lives(): Promise<{
    readonly left: readonly Left[];
    readonly ids: readonly string[];
  }> {
    const left: Left[] = [];
    const world = startAgent();
    const { records, site } = world;
    let isPromised = false;
    records.onWrite = () => {
      const { held, turnedTo } = site;
      left.push({
        after: `${site.calls.at(-1)}, write ${left.length}`,
        records: records.copy(),
        ...{ held: [...held], turnedTo, isPromised },
      });
    };
    const one = await ready(world, "shop");
    const two = await ready(world, "shop", "till");
    await world.agent.act("rollback", "ana");
    isPromised = true;
    await world.until("it is rolled back", () => isRolledBack(world, one));
    records.onWrite = () => {};
    await world.stop();
    return { left, ids: [one, two] };
  }

  test("ends the turn that it finds half done, whichever way that was", async () => {
    for (const way of ["activate", "rollback"] as const) {
      const world = startAgent({ settings: { activation: "manual" } });
      const { site, agent, clock } = world;
      const one = site.want(sketchOf("shop")).id;
      await world.until("one is staged", () => agent.state().staged !== null);
      await agent.act("activate", "ana");
      await world.until("one is active", () => isReady(world));
      const two = site.want(sketchOf("shop", "till")).id;
      await world.until("two is staged", () => agent.state().staged?.id === two);
      if (way === "rollback") {
        await agent.act("activate", "ana");
        await world.until("two is active", () => isReady(world) && site.turnedTo === two);
      }
      site.script.activate = () => NEVER;
      await agent.act(way, "ana");
      await world.until("it turns", () => /activating|rolling/.test(agent.state().activity.name));
      const records = world.records.copy();
      await world.stop();
      site.script = {};
      const next = startAgent({ records, site, clock, settings: { activation: "manual" } });
      const wanted = way === "rollback" ? one : two;
      await next.until("it has turned", () => isReady(next) || site.turnedTo === wanted);
      await next.pass(HOUR_MS);
      const { active, staged, previous } = next.agent.state();
      expect([active?.id, staged?.id, previous?.id]).toEqual(
        way === "rollback" ? [one, two, undefined] : [two, undefined, one],
      );
      await next.stop();
    }
  });

  const isRolledBack = ({ agent, site }: AgentWorld, one: string) =>
    agent.state().active?.id === one && site.turnedTo === one && agent.state().proof?.ok === true;

  test("goes on in the right place, whenever that was", async () => {
    const { left, ids } = await lives();
    const [one = "", two = ""] = ids;
    expect(left.length).toBeGreaterThan(25);
    let rolledBack = 0;
    for (const { after, records, held, turnedTo, isPromised } of left) {
      const clock = createEventClock(START_MS + HOUR_MS);
      const site = createMemorySite(clock);
      for (const name of held) site.held.add(name);
      site.turnedTo = turnedTo;
      const { roles } = await records.revisions.read();
      const turns: (readonly [string, boolean])[] = [];
      site.script.activate = async (revision, work) => {
        turns.push([
          revision.id,
          declaredIn(planOf(revision)).every((name) => site.held.has(name)),
        ]);
        site.turnedTo = revision.id;
        work.signal.throwIfAborted();
        return { outcome: "done", steps: [] };
      };
      const seesTwo = Object.values(roles).includes(two);
      site.want(seesTwo ? sketchOf("shop", "till") : sketchOf("shop"));
      const world = startAgent({ records, site, clock });
      // Where a rollback was ordered, durably, it holds; else what is wanted comes.
      const isBack = isPromised || "rolling-back" in roles || roles["rolled-back"] === two;
      if (isBack) rolledBack += 1;
      const wanted = isBack || !seesTwo ? one : two;
      const isThere = () => world.agent.state().active?.id === wanted && site.turnedTo === wanted;
      await world.until(`${wanted} is active and proven, after ${after}`, () => {
        return (
          isThere() &&
          world.agent.state().proof?.ok === true &&
          world.agent.state().activity.name === "idle"
        );
      });
      await world.pass(HOUR_MS);
      expect({ after, isThere: isThere() }).toEqual({ after, isThere: true });
      // What is whole is not fetched again, and nothing is turned to that is not.
      expect({ after, turns: turns.filter(([, isWhole]) => !isWhole) }).toEqual({
        after,
        turns: [],
      });
      expect(world.agent.counters().uplinkBytes.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(
        Math.max(0, (seesTwo ? 3 : 2) - held.length) * 1_000_000,
      );
      await world.stop();
    }
    expect(rolledBack).toBeGreaterThan(2);
  });
});
function callsOf({ calls }: MemorySite, name: string): number {
  return calls.filter((call) => call.startsWith(name)).length;
}
