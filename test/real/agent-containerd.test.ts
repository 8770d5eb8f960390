import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasContainerd, startContainerd } from "#test-support/containerd";
import { connectCri } from "#test-support/cri-images";
import { freePort } from "#test-support/docker-registry";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { temporaryFolder } from "#test-support/program";
import { startAgentProgram } from "#test-support/running-agent";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const CAN_RUN = hasContainerd && process.getuid?.() === 0;
if (!CAN_RUN) {
  console.warn("The agent beside a containerd is left out: it wants containerd, runc and root");
}

const CORE = "quay.io/kairos/core:v1";
const TILL = "shop.example/pos/till:v1";

describe.skipIf(!CAN_RUN)("an agent beside a containerd", () => {
  test("tells it of the mirror by itself, and pods pull when the uplink is gone", async () => {
    await using undo = new AsyncDisposableStack();
    const { path: folder } = undo.use(await temporaryFolder());
    const images = {
      "mirror/core:v1": { seed: "core", layerBytes: 50_000 },
      "mirror/till:v1": { seed: "till", layerBytes: 50_000 },
    };
    const upstream = undo.use(await startLoopbackRegistry(join(folder, "upstream"), { images }));
    const containerd = undo.use(await startContainerd());
    const cri = undo.use(connectCri(containerd.socket));
    const write = (name: string, value: object, head = "") =>
      writeFile(join(folder, name), `${head}${JSON.stringify(value)}\n`);
    const content = { pack: { content: { images: [{ image: TILL }] } } };
    const packs = [
      { name: "byoi", layer: "os", values: JSON.stringify({ options: { "system.uri": CORE } }) },
      { name: "apps", layer: "addon", values: JSON.stringify(content) },
    ];
    await write("profile.yaml", { metadata: { name: "store" }, spec: { template: { packs } } });
    const registryCredentials = { domain: `${upstream.address}/mirror` };
    await write("user-data.yaml", { stylus: { registryCredentials } }, "#cloud-config\n");
    await write("site.yaml", {
      ...{ apiVersion: "drayage/v1", kind: "Site", profiles: ["profile.yaml"] },
      ...{ userData: "user-data.yaml", registry: { listen: `127.0.0.1:${await freePort()}` } },
      runtime: {
        ...{ kind: "containerd", socket: containerd.socket, configDir: containerd.certsDir },
      },
    });
    const agent = undo.use(
      await startAgentProgram(join(folder, "store"), ["--site", join(folder, "site.yaml")]),
    );
    const { activation } = await agent.until("it is active", ({ active }) => active !== null);
    const done = activation?.steps.map(({ name, outcome }) => [name, outcome]);
    expect(done).toContainEqual(["redirect", "done"]);
    expect(done).toContainEqual(["load", "done"]);
    await upstream[Symbol.asyncDispose]();

    // What the agent gave it is taken away, so that it has to come by the mirror.
    await cri.remove(TILL);
    expect(await cri.status(TILL)).toBeUndefined();
    await cri.pull(TILL);
    expect((await cri.status(TILL))?.repoTags).toContain(TILL);

    // The mirror is edited away, and comes again without a link by the operator's word.
    await rm(join(containerd.certsDir, "shop.example"), { recursive: true });
    await agent.act("activate");
    await agent.until("it is done again", (state) => {
      return state.activation?.atMs !== activation?.atMs && state.activity.name === "idle";
    });
    await cri.remove(TILL);
    await cri.pull(TILL);
    expect((await cri.status(TILL))?.repoTags).toContain(TILL);
  });
});
