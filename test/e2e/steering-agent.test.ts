import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "#test-support/docker-registry";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startAgentProgram } from "#test-support/running-agent";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const IMAGES = {
  "k/os:v1": { seed: "os", layerBytes: 20_000 },
  "team/app:v1": { seed: "app1", layerBytes: 20_000 },
  "team/app:v2": { seed: "app2", layerBytes: 20_000 },
};

/** A site whose agent follows a tag, and whoever publishes to it. */
async function openSite() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const images = stack.use(
    await startLoopbackRegistry(join(folder.path, "images"), { images: IMAGES }),
  );
  const steering = stack.use(await startRegistryProgram(join(folder.path, "steering")));
  const to = `${steering.address}/sites/store:stable`;
  const site = join(folder.path, "site.yaml");
  const listen = async () => `127.0.0.1:${await freePort()}`;
  await writeFile(
    site,
    `profiles: ["oci://${to}"]
registry: { listen: "${await listen()}" }
agent: { listen: "${await listen()}" }
`,
  );
  const moved = stack.move();
  return {
    dataDir: join(folder.path, "store"),
    args: ["--site", site, "-o", "json"],
    steering,
    async publish(app: string, text = `${images.address}/team/app:${app}`) {
      const inputs = join(folder.path, "inputs");
      await mkdir(inputs, { recursive: true });
      const profile = join(inputs, "store.yaml");
      await writeFile(
        profile,
        `metadata: { name: store }
spec:
  template:
    packs:
      - { name: byoi, layer: os, version: "1", values: "options: { system.uri: ${images.address}/k/os:v1 }" }
      - { name: app, layer: addon, version: "1", values: "pack: { content: { images: [{ image: '${text}' }] } }" }
`,
      );
      const run = await dray(["publish", `--profile=${profile}`, `--to=${to}`, "--output=json"]);
      expect(run.err).toBe("");
      return JSON.parse(run.out).digest as string;
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

test("an agent follows a tag: what is published is staged and activated, and holds without the registry", async () => {
  await using site = await openSite();
  const first = await site.publish("v1");
  {
    await using agent = await startAgentProgram(site.dataDir, site.args);
    const { active } = await agent.until(
      "one is active",
      ({ verdict }) => verdict.level === "ready",
    );
    expect(active?.source).toContain(first);
    const second = await site.publish("v2");
    // The next look at the tag is minutes away; an operator has it looked at now.
    await agent.act("stage");
    const { previous } = await agent.until("two is active", (state) => {
      return state.active?.source.includes(second) === true && state.verdict.level === "ready";
    });
    expect(previous?.id).toBe(active?.id ?? "");
    agent.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
  }
  await site.steering.kill();
  await using again = await startAgentProgram(site.dataDir, site.args);
  const { active } = await again.until("it stands", ({ verdict }) => verdict.level === "ready");
  expect(active).toMatchObject({ images: 2 });
  again.kill("SIGTERM");
  await again.exited;
});
