import { expect, setDefaultTimeout, test } from "bun:test";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import type { SiteState } from "#daemon";
import { openStore } from "#store";
import { freePort } from "#test-support/docker-registry";
import { buildImage, type ImageOptions } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startAgentProgram } from "#test-support/running-agent";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

const INFRA = (registry: string) => `metadata: { name: infra }
spec:
  template:
    packs:
      - name: edge-native-byoi
        layer: os
        version: 2.1.0
        values: |
          options:
            system.uri: ${registry}/kairos/core:v1
`;

const APPS = (registry: string, ...images: readonly string[]) => `metadata: { name: apps }
spec:
  template:
    packs:
      - name: apps
        layer: addon
        version: 1.0.0
        values: |
          pack:
            content:
              images:
${images.map((image) => `                - image: ${registry}/${image}\n`).join("")}`;

/** A registry upstream, and a site that follows a folder of profiles. */
async function openSite(images: Readonly<Record<string, ImageOptions>>, more = "") {
  const folder = await temporaryFolder();
  const upstream = join(folder.path, "registry");
  let registry = await startLoopbackRegistry(upstream, { images });
  const { address } = registry;
  const profiles = join(folder.path, "profiles");
  const siteFile = join(folder.path, "site.yaml");
  const file = (name: string) => join(profiles, name);
  /** As editors and other tools do: whole, under another name, then renamed. */
  const write = async (name: string, text: string) => {
    await Bun.write(file(`.${name}.draft`), text);
    await rename(file(`.${name}.draft`), file(name));
  };
  await write("10-infra.yaml", INFRA(address));
  await write("20-apps.yaml", APPS(address, "team/app:v1"));
  const port = await freePort();
  const writeSite = (extra: string, at: number = port, nodes = "") =>
    writeFile(
      siteFile,
      `apiVersion: drayage/v1
kind: Site
profiles: [profiles]
registry: { listen: "127.0.0.1:${at}"${nodes} }
${extra}`,
    );
  await writeSite(more);
  const dataDir = join(folder.path, "store");
  return {
    ...{ address, dataDir, profiles, write, writeSite },
    ...{ port, embedded: `127.0.0.1:${port}`, nodePassword: join(folder.path, "node-password") },
    handed: join(folder.path, "handed"),
    certs: join(folder.path, "certs.d"),
    args: ["--site", siteFile, "-o", "json"],
    requests: () => registry.requests,
    cutLink: () => registry[Symbol.asyncDispose](),
    async mendLink() {
      const at = Number(address.split(":")[1]);
      registry = await startLoopbackRegistry(upstream, { images: {}, port: at });
    },
    /** Upstream the tag stands for something else from now on. */
    async moveTag(name: string, options: ImageOptions) {
      await this.cutLink();
      {
        await using store = await openStore(upstream, { clock: systemClock });
        await buildImage(store, name, options);
      }
      await this.mendLink();
    },
    async digestServed(name: string) {
      const url = `http://127.0.0.1:${port}/v2/${name.replace(":", "/manifests/")}`;
      const accept =
        "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
      const response = await fetch(`${url}?ns=${address}`, { method: "HEAD", headers: { accept } });
      return response.headers.get("docker-content-digest");
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function isReady({ verdict, staged }: SiteState): boolean {
  return verdict.level === "ready" && staged === null;
}

const IMAGES = {
  "kairos/core:v1": { seed: "core", layerBytes: 60_000 },
  "team/app:v1": { seed: "app1", layerBytes: 60_000 },
  "team/app:v2": { seed: "app2", layerBytes: 60_000 },
};

test("an agent that starts with no link waits and says why, and delivers when the link comes", async () => {
  await using site = await openSite(IMAGES);
  await site.cutLink();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const waiting = await agent.until("it waits", ({ activity }) => activity.waiting !== null);
  expect(waiting.verdict.level).not.toBe("ready");
  expect(waiting.warnings.map(({ code }) => code)).toContain("registry-unreachable");
  await site.mendLink();
  await agent.act("stage");
  const { active, proof } = await agent.until(
    "it is ready",
    ({ verdict }) => verdict.level === "ready",
  );
  expect(active).toMatchObject({ images: 2 });
  expect(proof).toMatchObject({ ok: true, references: 2, held: 2 });
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  for (const line of agent.log().trim().split("\n")) {
    expect(Object.keys(JSON.parse(line))).toContain("kind");
  }
});

test("a new profile is staged and activated, and a broken one leaves it in force", async () => {
  await using site = await openSite(IMAGES);
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const { active: first } = await agent.until("it is ready", isReady);
  await site.write("20-apps.yaml", APPS(site.address, "team/app:v1", "team/app:v2"));
  const { active: second } = await agent.until(
    "the new one is proven",
    (state) => isReady(state) && state.active?.id !== first?.id,
  );
  expect(second).toMatchObject({ images: 3 });
  expect(await site.digestServed("team/app:v2")).toStartWith("sha256:");
  await site.write("20-apps.yaml", "spec: [");
  const { active, refused } = await agent.until("it is refused", (state) => state.refused !== null);
  expect(active?.id).toBe(second?.id ?? "");
  expect(refused?.faults[0]).toMatchObject({ file: join(site.profiles, "20-apps.yaml") });
  await site.write("20-apps.yaml", APPS(site.address, "team/app:v1", "team/app:v2"));
  const mended = await agent.until("nothing is refused", (state) => state.refused === null);
  expect(mended.active?.id).toBe(second?.id ?? "");
  const kinds = (await agent.journal()).map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === "revision-activated")).toHaveLength(2);
  expect(kinds.filter((kind) => kind === "revision-refused")).toHaveLength(1);
});

test("what is staged changes nothing for the cluster before it is activated, and a rollback brings back what was", async () => {
  await using site = await openSite(IMAGES, "agent: { activation: manual }\n");
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("it is staged", ({ staged }) => staged !== null);
  expect(await site.digestServed("team/app:v1")).toBeNull();
  await agent.act("activate");
  const { active: first } = await agent.until("it is ready", isReady);
  const before = await site.digestServed("team/app:v1");
  expect(before).toStartWith("sha256:");
  // The same tag is another image upstream by now, and a new profile wants it.
  await site.moveTag("team/app:v1", { seed: "moved", layerBytes: 60_000 });
  await site.write("20-apps.yaml", APPS(site.address, "team/app:v1", "team/app:v2"));
  const { staged } = await agent.until("the next one is staged", (state) => state.staged !== null);
  expect(await site.digestServed("team/app:v1")).toBe(before);
  expect(await site.digestServed("team/app:v2")).toBeNull();
  await agent.act("activate");
  await agent.until(
    "the next one is active",
    (state) => isReady(state) && state.active?.id === staged?.id,
  );
  const after = await site.digestServed("team/app:v1");
  expect(after).toStartWith("sha256:");
  expect(after).not.toBe(before);
  // Back without a link, over a death of the agent.
  await site.cutLink();
  agent.kill("SIGKILL");
  await agent.exited;
  await using next = await startAgentProgram(site.dataDir, site.args);
  await next.act("rollback");
  await next.until(
    "the first one is back",
    ({ active, proof }) => active?.id === first?.id && proof?.ok === true,
  );
  expect(await site.digestServed("team/app:v1")).toBe(before);
});

test("a shut window of activation holds what is staged, and says so, until an operator asks", async () => {
  const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
  const windows = `activation: { timeZone: UTC, windows: [{ days: [${day}] }] }`;
  await using site = await openSite(IMAGES, `agent: { ${windows} }\n`);
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const { active, activity } = await agent.until(
    "it waits with all of it here",
    (state) => state.staged !== null && state.activity.waiting !== null,
  );
  expect(active).toBeNull();
  expect(activity.waiting?.reason).toContain("window");
  expect(await site.digestServed("team/app:v1")).toBeNull();
  await agent.act("activate");
  await agent.until("it is ready", isReady);
});

test.each(["SIGKILL", "SIGTERM"] as const)(
  "an agent that is ended by %s in mid-delivery goes on at the byte",
  async (signal) => {
    const images = {
      ...IMAGES,
      "kairos/core:v1": { seed: "core", layers: 1, layerBytes: 8 * MIB },
    };
    await using site = await openSite(images, "link: { rate: 4MB }\n");
    await using agent = await startAgentProgram(site.dataDir, site.args);
    await agent.until("3 MiB are here", ({ delivery }) => (delivery?.bytesMoved ?? 0) > 3 * MIB);
    agent.kill(signal);
    expect(await agent.exited).toBe(signal === "SIGTERM" ? 0 : 137);
    await site.writeSite("");
    await using next = await startAgentProgram(site.dataDir, site.args);
    const { delivery, proof } = await next.until("it is ready", isReady);
    expect(proof?.ok).toBe(true);
    // What is written is not fetched again; a buffer that was on its way may be.
    expect(delivery?.bytesMoved).toBeLessThan(6.5 * MIB);
    const kinds = (await next.journal()).map(({ kind }) => kind);
    expect(kinds.includes("agent-died")).toBe(signal === "SIGKILL");
  },
);

test("the operating system is handed its image once for each version, by the activation", async () => {
  const command = `[sh, -c, 'echo "$1" >> "$2"', sh, "{digest}", handed]`;
  const handOver = `provider: { handOver: { form: reference, command: ${command} } }\n`;
  await using site = await openSite(IMAGES, "agent: { activation: manual }\n");
  await site.writeSite(`agent: { activation: manual }\n${handOver.replace("handed", site.handed)}`);
  const lines = async () => (await Bun.file(site.handed).text()).trim().split("\n");
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("it is staged", ({ staged }) => staged !== null);
  expect(await Bun.file(site.handed).exists()).toBe(false);
  await agent.act("activate");
  const { activation } = await agent.until("it is ready", isReady);
  expect(activation?.steps.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
    ...["names done", "redirect skipped", "load skipped", "hand-over done"],
  ]);
  expect(await lines()).toEqual([expect.stringMatching(/^sha256:/)]);
  // Another version of the applications has the same operating system.
  await site.write("20-apps.yaml", APPS(site.address, "team/app:v2"));
  await agent.until("the next one is staged", ({ staged }) => staged !== null);
  await agent.act("activate");
  await agent.until("the next one is ready", isReady);
  expect(await lines()).toHaveLength(1);
});

test("an activation that fails is told with its step, and what was done of it is written", async () => {
  await using site = await openSite(IMAGES);
  await site.writeSite(
    `runtime: { kind: containerd, configDir: certs.d, socket: no-containerd.sock }\n`,
  );
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const state = await agent.until("it has failed", ({ activation }) => activation !== null);
  expect(state.activation?.outcome).toBe("failed");
  expect(state.activation?.steps.at(-1)).toMatchObject({ name: "load", outcome: "failed" });
  expect(state.warnings.map(({ code }) => code)).toContain("runtime-unreachable");
  const hosts = await Bun.file(join(site.certs, site.address, "hosts.toml")).text();
  expect(hosts).toContain(`http://${site.embedded}`);
});

test("the runtime's files are written again when a password in them was changed, or they are gone", async () => {
  await using site = await openSite(IMAGES);
  // Of images for other machines nothing is loaded, so that no containerd is needed.
  const platform = process.arch === "x64" ? "linux/arm64" : "linux/amd64";
  const nodes = `, nodes: { username: node, passwordFile: node-password }`;
  const runtime = `platform: ${platform}\nruntime: { kind: containerd, configDir: certs.d }\n`;
  await writeFile(site.nodePassword, "the first one\n");
  await site.writeSite(runtime, site.port, nodes);
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const { active } = await agent.until("it is active", (state) => state.active !== null);
  const path = join(site.certs, site.address, "hosts.toml");
  const hosts = async () => (await Bun.file(path).exists()) && (await Bun.file(path).text());
  const before = await hosts();
  expect(before).toContain("Authorization");
  await writeFile(site.nodePassword, "the second one\n");
  await agent.until("the new one is written", async () => (await hosts()) !== before);
  const after = await hosts();
  await agent.until("that activation is over", ({ activity }) => activity.name !== "activating");
  await rm(path);
  await agent.act("activate");
  await agent.until("it is written again", async () => (await hosts()) === after);
  await rm(path);
  agent.kill("SIGTERM");
  await agent.exited;
  await using next = await startAgentProgram(site.dataDir, site.args);
  await next.until("a start finds it gone", async () => (await hosts()) === after);
  expect((await next.state()).active?.id).toBe(active?.id ?? "");
  const told = (await next.journal()).filter(({ kind }) => kind === "runtime-drifted");
  expect(told).toHaveLength(2);
  expect(JSON.stringify(told)).not.toContain("second one");
});

test("a delivery beside an agent is told to ask it, and a second agent who runs", async () => {
  await using site = await openSite(IMAGES);
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("it is ready", isReady);
  const delivery = await dray(["deliver", ...site.args, "--data-dir", site.dataDir]);
  expect(delivery.exitCode).toBe(1);
  expect(delivery.err).toContain(`process ${agent.pid}`);
  expect(delivery.err).toContain("[agent-running]");
  expect(delivery.err).toContain("dray stage");
  const second = await dray(["agent", ...site.args, "--data-dir", site.dataDir]);
  expect(second.exitCode).toBe(1);
  expect(second.err).toContain(`process ${agent.pid}`);
});

test("an API that others could reach unguarded is refused with its place, before anything begins", async () => {
  await using site = await openSite(IMAGES, 'agent:\n  listen: "0.0.0.0:5999"\n');
  const run = await dray(["agent", ...site.args, "--data-dir", site.dataDir]);
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("site.yaml:6:11: Cannot serve the agent's API on");
  expect(run.err).toContain("[api-exposed]");
  expect(await Bun.file(join(site.dataDir, "oci-layout")).exists()).toBe(false);
  // Who says otherwise on the command line is heard.
  const flags = ["--data-dir", site.dataDir, "--listen", "0.0.0.0:0"];
  await site.writeSite("");
  const flagged = await dray(["agent", ...site.args, ...flags]);
  expect(flagged.exitCode).toBe(2);
  expect(flagged.err).not.toContain("site.yaml");
});

test("what the site file says of the agent's work counts at once, and its doors stay where they are", async () => {
  await using site = await openSite(IMAGES, "agent: { activation: manual }\n");
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("it is staged", ({ staged }) => staged !== null);
  await site.writeSite('agent: { activation: immediate, listen: "127.0.0.1:1" }\n', 2);
  // The address of the page stands on the command line, that of the registry in the file alone.
  const { warnings, parts } = await agent.until("it is ready", isReady);
  expect(warnings.map(({ code, message }) => `${code}: ${message}`)).toEqual([
    expect.stringMatching(/^restart-needed: Cannot apply registry\.listen to an agent that runs/),
  ]);
  expect(parts.find(({ name }) => name === "registry")?.address).toContain(site.embedded);
  expect(await site.digestServed("team/app:v1")).toStartWith("sha256:");
  const unix = join(site.dataDir, "agent.sock");
  const answer = await fetch("http://agent/api/v1/images?revision=active", { unix });
  const images = (await answer.json()) as { items?: unknown } | readonly unknown[];
  expect(JSON.stringify(images)).toContain('"runtime":null');
  expect(JSON.stringify(images)).not.toContain('"bytes":null');
});

test("a site file with a fault is refused before anything begins", async () => {
  await using site = await openSite(IMAGES, "agent: { activation: soon }\n");
  const run = await dray(["agent", ...site.args, "--data-dir", site.dataDir]);
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("[value-unknown]");
  expect(await Bun.file(join(site.dataDir, "oci-layout")).exists()).toBe(false);
});
