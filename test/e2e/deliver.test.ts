import { expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageOptions } from "#test-support/images";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, PROGRAM, startDray, temporaryFolder } from "#test-support/program";
import {
  SAMPLE_IMAGES,
  SAMPLE_LOGIN,
  SAMPLE_PROFILE,
  writeSampleSite,
} from "#test-support/sample-site";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const PROVIDER = "spectro-images/core-ubuntu-20-lts-rke2";

function sampleImages(options: Partial<ImageOptions> = {}): Record<string, ImageOptions> {
  return Object.fromEntries(
    SAMPLE_IMAGES.map((name) => [
      `spectro-images/${name}`,
      {
        seed: name,
        layers: 3,
        layerBytes: 60_000,
        platforms: ["linux/amd64", "linux/arm64"],
        sharedBase: "base",
        ...options,
      },
    ]),
  );
}

async function openSite(options: Partial<ImageOptions> = {}) {
  const folder = await temporaryFolder();
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    images: sampleImages(options),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const store = join(folder.path, "store");
  return {
    folder: folder.path,
    registry,
    store,
    planArgs: args,
    args: ["deliver", ...args, `--data-dir=${store}`, "--platform=linux/amd64"],
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function blobRequests({ requests }: LoopbackRegistry): readonly string[] {
  return requests
    .filter(({ path, status }) => path.includes("/blobs/") && status < 300)
    .map(({ path }) => path);
}

async function verifyBlobs(store: string): Promise<number> {
  const folder = join(store, "blobs", "sha256");
  const names = await readdir(folder);
  for (const name of names) {
    expect(
      createHash("sha256")
        .update(await readFile(join(folder, name)))
        .digest("hex"),
    ).toBe(name);
  }
  return names.length;
}

test("the sample profile is delivered from an external registry that asks for a password", async () => {
  await using site = await openSite();
  const run = await dray(site.args);
  expect(run.err).not.toContain(SAMPLE_LOGIN.password);
  expect(run.exitCode).toBe(0);
  expect(run.out).toContain("11 images");
  // 11 images of 1 index, 1 manifest, 1 config and 2 layers of their own, and one base for all.
  expect(await verifyBlobs(site.store)).toBe(11 * 5 + 1);
  const index = JSON.parse(await readFile(join(site.store, "index.json"), "utf8"));
  const names = index.manifests.map((entry: { annotations: Record<string, string> }) => {
    return entry.annotations["org.opencontainers.image.ref.name"];
  });
  expect(names).toContain("quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1");
  expect(names).toContain("docker.io/library/busybox:latest");
});

test("no blob of another image is asked for before the provider image is complete", async () => {
  await using site = await openSite();
  expect((await dray(site.args)).exitCode).toBe(0);
  const blobs = blobRequests(site.registry);
  const lastOfProvider = blobs.findLastIndex((path) => path.startsWith(`/v2/${PROVIDER}/`));
  const firstOfOthers = blobs.findIndex((path) => !path.startsWith(`/v2/${PROVIDER}/`));
  expect(lastOfProvider).toBeGreaterThanOrEqual(0);
  expect(firstOfOthers).toBeGreaterThan(lastOfProvider);
});

test("each blob crosses the link once, and a second delivery moves none", async () => {
  await using site = await openSite();
  await dray(site.args);
  const digests = blobRequests(site.registry).map((path) => path.split("/").at(-1));
  expect(new Set(digests).size).toBe(digests.length);
  const second = await dray(site.args);
  expect(second.exitCode).toBe(0);
  expect(blobRequests(site.registry)).toHaveLength(digests.length);
  expect(second.out).toContain("0 B moved");
});

test("a second delivery succeeds with the uplink down, and says so", async () => {
  await using site = await openSite();
  await dray(site.args);
  await site.registry.stop();
  const second = await dray(site.args);
  expect(second.exitCode).toBe(0);
  expect(second.err).toContain("warning");
});

test("events come as JSON lines, the last one being the summary", async () => {
  await using site = await openSite();
  const run = await dray([...site.args, "--output=json"]);
  const events = run.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events[0].type).toBe("plan-started");
  expect(events.at(-1)).toMatchObject({ type: "delivery-done", summary: { outcome: "done" } });
});

test("--until provider brings the provider image alone", async () => {
  await using site = await openSite();
  expect((await dray([...site.args, "--until=provider"])).exitCode).toBe(0);
  expect(blobRequests(site.registry).every((path) => path.startsWith(`/v2/${PROVIDER}/`))).toBe(
    true,
  );
});

test("a wrong password ends with 1 and says whose it was, and no secret", async () => {
  await using site = await openSite();
  const userData = join(site.folder, "edge-rke2", "user-data.yaml");
  const wrong = Buffer.from("wrong-canary").toString("base64");
  await writeFile(
    userData,
    (await readFile(userData, "utf8")).replace(/password: .*/, `password: ${wrong}`),
  );
  const run = await dray(site.args);
  expect(run.exitCode).toBe(1);
  const text = run.out + run.err;
  expect(text).toContain(site.registry.address);
  expect(text).toContain("user-data:registryCredentials");
  expect(text).toContain("registry-unauthorized");
  expect(text).not.toContain("wrong-canary");
  expect(text).not.toContain(wrong);
});

test("one image that is missing does not stop the others of its stage", async () => {
  await using site = await openSite();
  const profile = join(site.folder, "edge-rke2", "profile.yaml");
  await writeFile(profile, (await readFile(profile, "utf8")).replace("cni:v3.27.0", "cni:v9.9.9"));
  const run = await dray(site.args);
  expect(run.exitCode).toBe(1);
  expect(run.out).toContain("quay.io/calico/cni:v9.9.9");
  expect(run.out).toContain("content-missing");
  const index = await readFile(join(site.store, "index.json"), "utf8");
  expect(JSON.parse(index).manifests).toHaveLength(10);
});

test("a provider image that fails stops the delivery", async () => {
  await using site = await openSite();
  const profile = join(site.folder, "edge-rke2", "profile.yaml");
  await writeFile(profile, (await readFile(profile, "utf8")).replace("v1.25.2-rke2r1", "v0.0.0"));
  const run = await dray(site.args);
  expect(run.exitCode).toBe(1);
  expect(blobRequests(site.registry)).toHaveLength(0);
});

test("Ctrl-C ends a delivery with 130, what was whole stays, and the next one goes on from it", async () => {
  await using site = await openSite({ layerBytes: 6_000_000, platforms: ["linux/amd64"] });
  const child = startDray([...site.args, "--output=json"]);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes('"stage-done"')) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  child.kill("SIGINT");
  reader.releaseLock();
  await child.exited;
  expect(child.exitCode).toBe(130);
  const before = blobRequests(site.registry).length;
  const provider = blobRequests(site.registry).filter((path) =>
    path.startsWith(`/v2/${PROVIDER}/`),
  );
  expect((await dray(site.args)).exitCode).toBe(0);
  const again = blobRequests(site.registry).slice(before);
  expect(again.filter((path) => provider.includes(path))).toEqual([]);
  await verifyBlobs(site.store);
});

test("kill -9 in mid-delivery leaves a store that the next delivery completes", async () => {
  await using site = await openSite({ layerBytes: 3_000_000 });
  for (let round = 0; round < 3; round += 1) {
    const seen = site.registry.requests.length;
    const child = startDray(site.args);
    while (site.registry.requests.length < seen + 5 && child.exitCode === null) await Bun.sleep(1);
    child.kill("SIGKILL");
    await child.exited;
    await verifyBlobs(site.store).catch((error) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
  expect((await dray(site.args)).exitCode).toBe(0);
  expect(await verifyBlobs(site.store)).toBe(11 * 5 + 1);
});

test("a blob that was lost from the store is fetched again", async () => {
  await using site = await openSite();
  await dray(site.args);
  const folder = join(site.store, "blobs", "sha256");
  const count = (await readdir(folder)).length;
  await rm(join(folder, (await readdir(folder))[0] ?? ""));
  expect((await dray(site.args)).exitCode).toBe(0);
  expect(await readdir(folder)).toHaveLength(count);
});

test("a second process is told who holds the store", async () => {
  await using site = await openSite({ layerBytes: 3_000_000 });
  const first = startDray(site.args);
  while (blobRequests(site.registry).length === 0 && first.exitCode === null) await Bun.sleep(1);
  const second = await dray(site.args);
  const firstExit = await first.exited;
  expect(firstExit).toBe(0);
  if (second.exitCode !== 0) {
    expect(second.exitCode).toBe(1);
    expect(second.err).toContain("store-locked");
    expect(second.err).toContain(String(first.pid));
  }
});

test("an answer that can not be written is a failure", async () => {
  const child = Bun.spawn([PROGRAM, "plan", `--profile=${SAMPLE_PROFILE}`], {
    stdout: Bun.file("/dev/full"),
    stderr: "pipe",
  });
  expect(await new Response(child.stderr).text()).toContain("output-failed");
  expect(await child.exited).toBe(1);
});

test("faults of the input are told all at once, exit 2, and nothing is touched", async () => {
  await using site = await openSite();
  const profile = join(site.folder, "edge-rke2", "profile.yaml");
  const text = await readFile(profile, "utf8");
  await writeFile(
    profile,
    text
      .replace("quay.io/calico/cni:v3.27.0", "quay.io/Calico/cni")
      .replace("layer: csi", "layer: csl"),
  );
  const run = await dray(site.args);
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("reference-invalid");
  expect(run.err).toContain("layer-unknown");
  expect(site.registry.requests).toHaveLength(0);
  expect(await Bun.file(join(site.store, "index.json")).exists()).toBe(false);
});
