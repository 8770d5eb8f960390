import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { freePort } from "#test-support/docker-registry";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { siteState } from "#test-support/page-states";
import { dray, PROGRAM, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { TOOLS_CACHE } from "#test-support/tools-cache";
import { siteMetrics } from "../../src/daemon/server/metrics.ts";
import { processMetrics } from "../../src/daemon/server/process-metrics.ts";

// Programs are started: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const DEPLOY = join(import.meta.dir, "..", "..", "deploy");

/** Where one is: on the PATH, or where `tools/install-programs.sh` puts it. */
function programPath(name: string, folder: string): string | null {
  return Bun.which(name) ?? Bun.which(join(TOOLS_CACHE, folder, name));
}

const PROMTOOL = programPath("promtool", "prometheus");
const SYSTEMD = Bun.which("systemd-analyze");
const STRACE = Bun.which("strace");

/** Whether this user may take rights and places from a program. */
const CAN_CONFINE =
  process.getuid?.() === 0 &&
  Bun.spawnSync(["unshare", "--mount", "setpriv", "--no-new-privs", "true"]).exitCode === 0;

const ABSENT = Object.entries({ promtool: PROMTOOL, "systemd-analyze": SYSTEMD, strace: STRACE })
  .filter(([, path]) => path === null)
  .map(([name]) => name);
for (const name of ABSENT) console.warn(`${name} is not installed: its tests are left out`);
test.skip.each(ABSENT)("%s is left out: the program is not on this machine", () => undefined);

async function run(command: readonly string[], cwd = DEPLOY) {
  const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe" });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { told: `${out}${err}`, exitCode };
}

interface Target {
  readonly expr: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly targets?: readonly Target[];
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
}

async function panels(): Promise<readonly Panel[]> {
  const text = await readFile(join(DEPLOY, "grafana-dashboard.json"), "utf8");
  return (JSON.parse(text) as { panels: readonly Panel[] }).panels;
}

async function dashboardExpressions(): Promise<readonly string[]> {
  return (await panels())
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    .map((expr) =>
      expr
        .replaceAll("$job", "drayage")
        .replaceAll("$instance", ".*")
        .replaceAll("$__rate_interval", "5m"),
    );
}

interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

async function alertRules(): Promise<readonly AlertRule[]> {
  const text = await readFile(join(DEPLOY, "alerts.yaml"), "utf8");
  const { groups } = parse(text) as { groups: readonly { rules: readonly AlertRule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

/** Names of all series that an agent tells, with the labels that they may have. */
function toldSeries(): ReadonlyMap<string, ReadonlySet<string>> {
  const MB = 1_000_000;
  const counters = {
    uplinkBytes: [{ registry: "quay.io", stage: "provider", bytes: MB }],
    uploadBytes: MB,
    deliveries: { done: 1, failed: 0, interrupted: 0 },
    failures: [{ code: "registry-unauthorized", count: 1 }],
    retries: 0,
    resumes: 0,
  };
  const stage = { name: "provider" as const, images: 1, done: 0, failed: 0 };
  const uploads = { registry: "a", images: 1, done: 0, failed: 0, bytesSent: 0 };
  const delivery = {
    ...{ revision: "0", startedMs: 0, endedMs: null, outcome: null, stages: [stage] },
    ...{ bytesTotal: MB, bytesHere: 0, bytesMoved: 0, imagesSized: 1, bytesPerSecond: 1 },
    ...{ remainingMs: 1, uploads, sources: [] },
  };
  const api = { readers: 0, requests: new Map([[200, 1]]), failedLogins: 0 };
  const metrics = [
    ...siteMetrics(siteState({ delivery }), counters, api),
    ...processMetrics(Date.now()),
  ];
  return new Map(
    metrics.map(({ name, type, samples }) => [
      type === "counter" ? `${name}_total` : name,
      new Set(samples.flatMap(({ labels }) => Object.keys(labels))),
    ]),
  );
}

/** Labels that every series gets from who scrapes it. */
const SCRAPED = ["job", "instance"];

/** What an expression names and no agent tells: series, and labels of them. */
function untold(expr: string): readonly string[] {
  const told = toldSeries();
  const named = [...expr.matchAll(/\b((?:drayage|process)_[a-z_]+)(?:\{([^}]*)\})?/g)];
  return named.flatMap(([, name = "", matchers = ""]) => {
    const labels = told.get(name);
    if (labels === undefined) return [name];
    const asked = [...matchers.matchAll(/([a-z_]+)\s*(?:=|!=|=~|!~)\s*"/g)].map(
      ([, label = ""]) => label,
    );
    return asked
      .filter((label) => !labels.has(label) && !SCRAPED.includes(label))
      .map((label) => `${name}{${label}}`);
  });
}

describe("what Prometheus and Grafana are given", () => {
  test("a series or a label that no agent tells is found", () => {
    expect(untold('drayage_proof_ok == 0 or drayage_proof_okay{a="b"}')).toEqual([
      "drayage_proof_okay",
    ]);
    expect(untold('drayage_store_bytes{use="a", class!="b", job="c"}')).toEqual([
      "drayage_store_bytes{class}",
    ]);
  });

  test("the dashboard and the alerts ask only for what an agent tells", async () => {
    const rules = await alertRules();
    const all = [...(await dashboardExpressions()), ...rules.map(({ expr }) => expr)];
    expect(all.length).toBeGreaterThan(40);
    expect(all.flatMap(untold)).toEqual([]);
  });

  test("the panels of the dashboard are named, explained, and don't overlap", async () => {
    const all = await panels();
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    const shown = all.filter(({ type }) => type !== "row");
    expect(
      shown.filter(({ title, description = "" }) => title === "" || description === ""),
    ).toEqual([]);
    const taken = new Map<string, string>();
    const overlaps: string[] = [];
    for (const { title, gridPos } of all) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          const other = taken.get(`${x} ${y}`);
          if (other !== undefined || x >= 24) overlaps.push(`${title} and ${other}`);
          taken.set(`${x} ${y}`, title);
        }
      }
    }
    expect(overlaps).toEqual([]);
  });

  test("every alert says what to do, by commands that there are", async () => {
    const help = (await dray(["--help"])).out;
    for (const { alert, annotations } of await alertRules()) {
      expect(Object.keys(annotations).sort(), alert).toEqual(["description", "summary"]);
      const text = Object.values(annotations).join(" ");
      for (const [, command] of text.matchAll(/`dray ([a-z-]+)/g))
        expect(help).toContain(`  ${command} `);
    }
  });

  test.skipIf(PROMTOOL === null)("promtool takes the alerts, and their tests pass", async () => {
    const check = await run([PROMTOOL ?? "", "check", "rules", "alerts.yaml"]);
    expect(check).toMatchObject({ exitCode: 0 });
    const tested = await run([PROMTOOL ?? "", "test", "rules", "alerts.test.yaml"]);
    expect(tested).toMatchObject({ exitCode: 0 });
  });

  test.skipIf(PROMTOOL === null)("promtool takes every expression of the dashboard", async () => {
    await using folder = await temporaryFolder();
    const rules = (await dashboardExpressions()).map((expr, i) => ({ record: `panel:${i}`, expr }));
    const file = join(folder.path, "rules.yaml");
    await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    expect(await run([PROMTOOL ?? "", "check", "rules", file])).toMatchObject({ exitCode: 0 });
  });
});

/** The unit as it would be installed, with its program where this machine has it. */
async function installedUnit(folder: string, dropIns: readonly string[] = []): Promise<string> {
  const text = await readFile(join(DEPLOY, "drayage.service"), "utf8");
  const unit = join(folder, "drayage.service");
  await writeFile(unit, text.replaceAll("/usr/local/bin/dray", PROGRAM));
  await mkdir(`${unit}.d`);
  for (const name of dropIns)
    await cp(join(DEPLOY, "drayage.service.d", name), join(`${unit}.d`, name));
  return unit;
}

/** Of 10, 2.6 with systemd 252; what is left is a user of its own, the network, and the engine that writes code. */
const EXPOSURE_MAX = 3;

describe.skipIf(SYSTEMD === null)("the systemd unit", () => {
  for (const dropIns of [[], ["hand-over.conf"]]) {
    test(`systemd finds nothing wrong with it and ${dropIns.join() || "no drop-in"}`, async () => {
      await using folder = await temporaryFolder();
      const unit = await installedUnit(folder.path, dropIns);
      expect(await run([SYSTEMD ?? "", "verify", unit])).toEqual({ told: "", exitCode: 0 });
    });
  }

  test(`its exposure is at most ${EXPOSURE_MAX} of 10`, async () => {
    await using folder = await temporaryFolder();
    const unit = await installedUnit(folder.path);
    const words = ["security", "--offline=true", `--threshold=${EXPOSURE_MAX * 10}`, unit];
    expect(await run([SYSTEMD ?? "", ...words])).toMatchObject({ exitCode: 0 });
  });

  test.skipIf(STRACE === null)("an agent at work makes no system call beside those", async () => {
    await using site = await openSite();
    const log = join(site.folder, "calls");
    // -D: the tracer stands aside, so that a signal reaches the agent.
    await site.untilReady([STRACE ?? "", "-D", "-f", "-qq", "-o", log]);
    const lines = (await readFile(log, "utf8")).split("\n");
    const made = new Set(lines.flatMap((line) => /^\d+ +([a-z0-9_]+)\(/.exec(line)?.[1] ?? []));
    expect(made.size).toBeGreaterThan(20);
    const allowed = await systemCalls("@system-service");
    expect([...made].filter((call) => !allowed.has(call))).toEqual([]);
  });

  test.skipIf(!CAN_CONFINE)(
    "an agent at work needs no right and no place beside those",
    async () => {
      await using site = await openSite();
      const unit = await readFile(join(DEPLOY, "drayage.service"), "utf8");
      const [, kept = ""] = /^CapabilityBoundingSet=(.+)$/m.exec(unit) ?? [];
      const rights = kept.split(" ").map((name) => `+${name.replace("CAP_", "").toLowerCase()}`);
      // As ProtectSystem=strict has it: everything is read-only but the data folder.
      const confine = `
      mkdir -p "$0" && mount --bind "$0" "$0" && mount -o remount,bind,ro / || exit 99
      exec setpriv --no-new-privs --inh-caps -all --bounding-set "$1" "\${@:2}"`;
      const bounds = ["-all", ...rights].join(",");
      const confined = ["unshare", "--mount", "bash", "-c", confine, site.store, bounds];
      const outside = await run([...confined, "touch", join(site.folder, "elsewhere")]);
      expect(outside.told).toContain("Read-only file system");
      await site.untilReady(confined);
    },
  );
});

/** A registry with the images of a small site, and an agent that brings them. */
async function openSite() {
  const folder = await temporaryFolder();
  const images = Object.fromEntries(
    SAMPLE_IMAGES.map((name) => [
      `spectro-images/${name}`,
      { seed: name, layers: 2, layerBytes: 30_000 },
    ]),
  );
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    ...{ images, login: SAMPLE_LOGIN },
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const site = join(folder.path, "site.yaml");
  const store = join(folder.path, "store");
  const listen = `registry: { listen: "127.0.0.1:${await freePort()}" }`;
  await writeFile(site, `dataDir: ${store}\nplatform: linux/amd64\n${listen}\n`);
  const words = [PROGRAM, "agent", ...args, `--site=${site}`, "--listen=127.0.0.1:0"];
  return {
    ...{ folder: folder.path, store },
    /** Runs the agent by another program, until the site is proven, and ends it in order. */
    async untilReady(by: readonly string[]) {
      const child = Bun.spawn([...by, ...words], { stdout: "ignore", stderr: "pipe" });
      const told = new Response(child.stderr).text();
      let shown = "";
      while (child.exitCode === null && !shown.startsWith("READY")) {
        shown = (await dray(["status", `--site=${site}`])).out;
      }
      child.kill("SIGTERM");
      await child.exited;
      if (!shown.startsWith("READY")) throw new Error(`${shown}\n${await told}`);
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What a set of systemd's stands for, the sets in it unfolded. */
async function systemCalls(set: string): Promise<ReadonlySet<string>> {
  const { told } = await run([SYSTEMD ?? "", "syscall-filter", "--no-pager", set]);
  const names = told
    .split("\n")
    .slice(1)
    .map((line) => line.trim())
    .filter((name) => /^@?[a-z0-9_-]+$/.test(name));
  const nested = await Promise.all(names.filter((name) => name.startsWith("@")).map(systemCalls));
  return new Set([...names, ...nested.flatMap((calls) => [...calls])]);
}
