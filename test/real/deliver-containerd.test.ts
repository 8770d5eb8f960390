import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { builtContainerd, hasContainerd, startContainerd } from "#test-support/containerd";
import { createKubelet } from "#test-support/cri";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const CAN_RUN = hasContainerd && process.getuid?.() === 0;
if (!CAN_RUN)
  console.warn("containerd is not installed, or this is not root: its tests are left out");

const PLATFORMS = ["linux/amd64", "linux/arm64"];
const IMAGES = {
  "kairos/core:v1": { seed: "os" },
  "cni/node:v1": { seed: "cni", platforms: PLATFORMS },
  "team/app:v1": { seed: "app", platforms: PLATFORMS, sharedBase: "base" },
  "team/app:v2": { seed: "app2", platforms: PLATFORMS, sharedBase: "base" },
};

/** A profile of an operating system, a network and one application. */
async function openSite(runtime: Readonly<Record<string, unknown>>) {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder()).path;
  const world = undo.use(await startLoopbackRegistry(join(folder, "world"), { images: IMAGES }));
  const content = (name: string) =>
    JSON.stringify({ pack: { content: { images: [{ image: `${world.address}/${name}` }] } } });
  const os = JSON.stringify({ options: { "system.uri": `${world.address}/kairos/core:v1` } });
  const site = { apiVersion: "drayage/v1", kind: "Site", dataDir: "store", runtime };
  await writeFile(join(folder, "site.yaml"), JSON.stringify(site));
  const stack = undo.move();
  return {
    folder,
    name: (name: string) => `${world.address}/${name}`,
    async deliver(app: string, ...words: readonly string[]) {
      const packs = [
        { name: "byoi", layer: "os", values: os },
        { name: "cni", layer: "cni", values: content("cni/node:v1") },
        { name: "apps", layer: "addon", values: content(app) },
      ];
      const profile = { metadata: { name: "edge" }, spec: { template: { packs } } };
      await writeFile(join(folder, "profile.json"), JSON.stringify(profile));
      const inputs = [`--profile=${join(folder, "profile.json")}`];
      return dray(["deliver", ...inputs, `--site=${join(folder, "site.yaml")}`, ...words]);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test.skipIf(!CAN_RUN)(
  "a delivery loads containerd, and lets go what two plans ago wanted",
  async () => {
    const programs = builtContainerd("v2.1.4");
    await using containerd = await startContainerd(programs === undefined ? {} : { programs });
    using kubelet = createKubelet(containerd.socket);
    await using site = await openSite({ kind: "containerd", socket: containerd.socket });
    const first = await site.deliver("team/app:v1");
    expect(`${first.exitCode} ${first.exitCode === 0 ? "" : first.err}`).toBe("0 ");
    expect(first.out).toContain(`2 images for containerd at ${containerd.socket}: 2 loaded`);
    for (const name of ["cni/node:v1", "team/app:v1"]) {
      expect(await kubelet.status(site.name(name))).toBeDefined();
    }
    // The operating system is no container's.
    expect(await kubelet.status(site.name("kairos/core:v1"))).toBeUndefined();
    expect((await site.deliver("team/app:v1")).out).toContain("0 loaded, 2 there already");

    const names = async () => containerd.ctr("-n", "k8s.io", "images", "ls");
    const pinned = async (name: string) =>
      (await names())
        .split("\n")
        .some(
          (line) =>
            line.startsWith(`${site.name(name)} `) && line.includes("cri-containerd.pinned"),
        );
    await site.deliver("team/app:v2");
    expect([await pinned("team/app:v1"), await pinned("team/app:v2")]).toEqual([true, true]);
    await site.deliver("cni/node:v1");
    expect([await pinned("team/app:v1"), await pinned("team/app:v2")]).toEqual([false, true]);
  },
);

test("no socket: all images are delivered, and one failure says what to do", async () => {
  await using site = await openSite({ kind: "containerd", socket: "nowhere.sock" });
  const { exitCode, out, err } = await site.deliver("team/app:v1");
  expect(exitCode).toBe(1);
  expect(out).toContain("code:  runtime-unreachable");
  expect(out.match(/runtime-unreachable/g)).toHaveLength(1);
  expect(out).toContain("2 not attempted");
  expect(err).toContain(join(site.folder, "nowhere.sock"));
  expect((await readdir(join(site.folder, "store", "blobs", "sha256"))).length).toBeGreaterThan(5);
});

test("images for another machine are not loaded into this one's runtime", async () => {
  await using site = await openSite({ kind: "containerd", socket: "nowhere.sock" });
  const other = process.arch === "x64" ? "linux/arm64" : "linux/amd64";
  const { exitCode, out } = await site.deliver("team/app:v1", `--platform=${other}`);
  expect({ exitCode, out: out.includes("containerd at") }).toMatchObject({ out: false });
});
