import { describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openCuttingLink } from "#test-support/cutting-link";
import { KILLED_PUSH_REGISTRIES } from "#test-support/killed-pushes";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";

const MIB = 1024 * 1024;
/** The issue's own figure is 1 GiB: `UPLOAD_MIB=1024`. */
const LAYER_BYTES = Number(process.env["UPLOAD_MIB"] ?? 96) * MIB;
const KILLS = 10;

/** What is sent twice at most, where the registry keeps what came of a chunk that was cut. */
const SENT_MAX = LAYER_BYTES * 1.05;

describe("a delivery that is killed ten times while it uploads a layer", () => {
  for (const { name, isHere, keeps, start } of KILLED_PUSH_REGISTRIES) {
    test.skipIf(!isHere)(
      `to ${name} uploads it in the end, ${keeps ? "and sends at most 5 % twice" : "from its first byte when need be"}`,
      async () => {
        await using folder = await temporaryFolder();
        await using registry = await start();
        let killAtBytes = Number.POSITIVE_INFINITY;
        let kill = () => {};
        await using link = await openCuttingLink(registry.address, {
          cutAfterBytes: Number.POSITIVE_INFINITY,
          onUp: (upBytes) => upBytes >= killAtBytes && kill(),
        });
        await using site = await openSite(folder.path, link.address);
        let sentBefore = 0;
        for (let n = 1; n <= KILLS; n += 1) {
          const mark = (LAYER_BYTES * n) / (KILLS + 1);
          killAtBytes = keeps ? mark : sentBefore + mark;
          const child = startDray(site.args);
          kill = () => child.kill("SIGKILL");
          await child.exited;
          expect(child.signalCode).toBe("SIGKILL");
          sentBefore = link.upBytes;
        }
        killAtBytes = Number.POSITIVE_INFINITY;
        const last = await dray(site.args);
        expect(last.out).toContain("1 uploaded");
        expect(last.exitCode).toBe(0);
        if (keeps) expect(link.upBytes).toBeLessThan(SENT_MAX);
        const again = await dray(site.args);
        expect(again.out).toContain("0 uploaded, 1 there already, 0 B sent");
        if (process.env["UPLOAD_MIB"] !== undefined) {
          console.log(`${name}: ${(link.upBytes / LAYER_BYTES - 1) * 100} % sent twice`);
        }
      },
      600_000,
    );
  }
});

/** A site with a provider image and one application image of one large layer, fetched already. */
async function openSite(folder: string, local: string) {
  await using undo = new AsyncDisposableStack();
  const source = undo.use(
    await startLoopbackRegistry(join(folder, "source"), {
      images: {
        "os/core:v1": { seed: "os" },
        "apps/shop:v1": { seed: "shop", layers: 1, layerBytes: LAYER_BYTES },
      },
    }),
  );
  const image = (name: string) => `${source.address}/${name}`;
  const pack = (name: string, layer: string, values: object) => ({
    ...{ name, layer },
    values: JSON.stringify(values),
  });
  const content = { pack: { content: { images: [{ image: image("apps/shop:v1") }] } } };
  const packs = [
    pack("edge-native-byoi", "os", { options: { "system.uri": image("os/core:v1") } }),
    pack("apps", "addon", content),
  ];
  const path = (name: string) => join(folder, name);
  const profile = { metadata: { name: "edge" }, spec: { template: { packs } } };
  await writeFile(path("profile.json"), JSON.stringify(profile));
  const localRegistry = { kind: "oci", address: local };
  const site = { apiVersion: "drayage/v1", kind: "Site", localRegistry };
  await writeFile(path("site.yaml"), JSON.stringify(site));
  const args = ["deliver", `--profile=${path("profile.json")}`, `--data-dir=${path("store")}`];
  const fetched = await dray(args);
  expect(fetched.exitCode).toBe(0);
  const stack = undo.move();
  return {
    args: [...args, `--site=${path("site.yaml")}`],
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
