import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, copyFile, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SiteState } from "#daemon";
import { freePort } from "#test-support/docker-registry";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { PROGRAM, temporaryFolder } from "#test-support/program";
import { startAgentProgram } from "#test-support/running-agent";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

const LOGIN = { username: "edge", password: "not-for-anybodys-eyes" };

/** A site whose provider image takes its time, from a registry that wants a login. */
async function openSite() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const at = (name: string) => join(folder.path, name);
  const registry = stack.use(
    await startLoopbackRegistry(at("registry"), {
      images: {
        "kairos/core:v1": { seed: "core", layers: 1, layerBytes: 8 * MIB },
        "team/app:v1": { seed: "app", layerBytes: 20_000 },
      },
      login: LOGIN,
    }),
  );
  const { address } = registry;
  await writeFile(at("password"), `${LOGIN.password}\n`);
  await writeFile(
    at("profile.yaml"),
    `metadata: { name: store }
spec:
  template:
    packs:
      - { name: byoi, layer: os, version: "1", values: "options: { system.uri: ${address}/kairos/core:v1 }" }
      - { name: app, layer: addon, version: "1", values: "pack: { content: { images: [{ image: '${address}/team/app:v1' }] } }" }
`,
  );
  const port = await freePort();
  const writeSite = (more: string) =>
    writeFile(
      at("site.yaml"),
      `profiles: [profile.yaml]
registry: { listen: "127.0.0.1:${port}" }
credentials: [{ registry: "${address}", username: ${LOGIN.username}, passwordFile: password }]
${more}`,
    );
  await writeSite("link: { rate: 4MB }\n");
  const moved = stack.move();
  return {
    ...{ writeSite, at, registry, dataDir: at("store") },
    args: ["--site", at("site.yaml"), "-o", "json"],
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Whether a process runs: one that has ended and that nobody asked after does not. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return stat !== undefined && !/\) [ZX] /.test(stat);
}

/** The processes that work for an agent now. */
async function workersOf(agent: number): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).map(Number).filter((pid) => pid > 0);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const isOurs = /\) [^ZX] (\d+) /.exec(stat)?.[1] === `${agent}`;
      return isOurs && (await wordsOf(pid)).endsWith("agent-worker\0") ? [pid] : [];
    }),
  );
  return found.flat();
}

const wordsOf = (pid: number) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");

async function untilGone(pids: readonly number[]): Promise<void> {
  while ((await Promise.all(pids.map(isRunning))).includes(true)) await Bun.sleep(10);
}

const isHalfHere = ({ delivery }: { readonly delivery: { readonly bytesMoved: number } | null }) =>
  (delivery?.bytesMoved ?? 0) > 3 * MIB;

test("a process that is killed in mid-delivery is told of, and the next one goes on at the byte", async () => {
  await using site = await openSite();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("3 MiB are here", isHalfHere);
  const workers = await workersOf(agent.pid);
  expect(workers).not.toEqual([]);
  for (const worker of workers) process.kill(worker, "SIGKILL");
  const { warnings } = await agent.until("it is told", (state) =>
    state.warnings.some(({ code }) => code === "worker-failed"),
  );
  const told = warnings.find(({ code }) => code === "worker-failed");
  expect(told?.message).toContain("ended with SIGKILL");
  await agent.act("stage");
  const { delivery } = await agent.until(
    "it is ready",
    (state) => state.verdict.level === "ready" && state.warnings.length === 0,
  );
  expect(delivery?.bytesMoved).toBeLessThan(6.5 * MIB);
  const texts = (await agent.journal()).map(({ text }) => text).join("\n");
  expect(texts).toContain("ended with SIGKILL");
  expect(texts).not.toContain("agent-died");
  // It was asked for by who was there all along.
  expect(agent.log()).not.toContain(LOGIN.password);
});

test.each(["SIGKILL", "SIGTERM"] as const)(
  "an agent that is ended by %s in mid-delivery leaves no process behind",
  async (signal) => {
    await using site = await openSite();
    // What is left would take minutes.
    await site.writeSite("link: { rate: 40kB }\n");
    await using agent = await startAgentProgram(site.dataDir, site.args);
    await agent.until("some of it is here", ({ delivery }) => (delivery?.bytesMoved ?? 0) > 0);
    const workers = await workersOf(agent.pid);
    expect(workers).not.toEqual([]);
    agent.kill(signal);
    await agent.exited;
    await untilGone(workers);
    await site.writeSite("");
    await using next = await startAgentProgram(site.dataDir, site.args);
    await next.until("it is ready", ({ verdict }) => verdict.level === "ready");
  },
);

test("a signal to all of them at once ends all of them in order", async () => {
  await using site = await openSite();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("3 MiB are here", isHalfHere);
  const workers = await workersOf(agent.pid);
  // As a service manager does, and a terminal.
  for (const worker of workers) process.kill(worker, "SIGTERM");
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  await untilGone(workers);
  const told = agent.log();
  expect(told).toContain('"kind":"agent-stopped"');
  for (const wrong of ["internal-error", "worker-failed", "part-crashed", "left behind"]) {
    expect(told).not.toContain(wrong);
  }
});

test("a process that hangs is gone with its agent, which ends all the same", async () => {
  await using site = await openSite();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("3 MiB are here", isHalfHere);
  const workers = await workersOf(agent.pid);
  for (const worker of workers) process.kill(worker, "SIGSTOP");
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  await untilGone(workers);
  expect(agent.log()).toContain("left behind: reconcile");
});

test("inputs that broke meanwhile change nothing for the registries: the last sound ones count", async () => {
  await using site = await openSite();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  await agent.until("3 MiB are here", isHalfHere);
  await writeFile(site.at("site.yaml"), "credentials: [");
  await agent.until("it is refused", ({ refused }) => refused !== null);
  const isAtRest = ({ activity, proof }: SiteState) =>
    activity.name === "idle" && proof?.ok === true;
  await agent.until("it is proven", isAtRest);
  // By another process, to which the credentials are told anew.
  const before = site.registry.requests.length;
  await agent.act("stage");
  await agent.until("it looked again", () => site.registry.requests.length > before);
  const { credentials, warnings } = await agent.until("that is over", isAtRest);
  expect(credentials.map(({ state }) => state)).toEqual(["ok"]);
  expect(warnings.map(({ code }) => code)).not.toContain("registry-unauthorized");
});

test("no secret is in the words or the environment of a process, nor in what the agent tells", async () => {
  await using site = await openSite();
  await using agent = await startAgentProgram(site.dataDir, site.args);
  const looks = new Map<number, string>();
  await agent.until("it is ready", async ({ verdict }) => {
    for (const pid of await workersOf(agent.pid)) {
      const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
      looks.set(pid, `${await wordsOf(pid)}${environment}`);
    }
    return verdict.level === "ready";
  });
  expect(looks.size).toBeGreaterThan(1);
  for (const text of looks.values()) expect(text).not.toContain(LOGIN.password);
  const told = `${agent.log()}${JSON.stringify([await agent.journal(), await agent.state()])}`;
  expect(told).not.toContain(LOGIN.password);
});

// From a checkout the program is Bun, and its source is read anew.
test.skipIf(process.env["DRAY"] === undefined)(
  "an agent whose file was exchanged works on with its own until it is started again",
  async () => {
    await using site = await openSite();
    const program = site.at("dray");
    await copyFile(PROGRAM, program);
    await using agent = await startAgentProgram(site.dataDir, site.args, program);
    await agent.until("3 MiB are here", isHalfHere);
    await writeFile(site.at("next"), "#!/bin/sh\nexit 7\n");
    await chmod(site.at("next"), 0o755);
    await rename(site.at("next"), program);
    // Activation, proof, and whatever else comes after that.
    const { warnings } = await agent.until(
      "it is ready",
      ({ verdict }) => verdict.level === "ready",
    );
    expect(warnings).toEqual([]);
    await agent.act("stage");
    agent.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
  },
);
