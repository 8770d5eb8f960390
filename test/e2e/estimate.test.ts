import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

async function openSite() {
  const folder = await temporaryFolder();
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    images: Object.fromEntries(
      SAMPLE_IMAGES.map((name) => [
        `spectro-images/${name}`,
        { seed: name, layers: 3, layerBytes: 60_000, sharedBase: "base" },
      ]),
    ),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const store = join(folder.path, "store");
  const estimate = async (...more: readonly string[]) => {
    const run = await dray(["plan", ...args, "--estimate", "-o", "json", ...more]);
    return { ...run, estimate: run.out === "" ? {} : JSON.parse(run.out).estimate };
  };
  return {
    path: folder.path,
    registry,
    store,
    args,
    estimate,
    deliver: (...more: readonly string[]) =>
      dray(["deliver", ...args, "-d", store, "-o", "json", ...more]),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("an estimate asks for manifests only, and a delivery moves what it said", async () => {
  await using site = await openSite();
  const { estimate, exitCode } = await site.estimate("-d", site.store, "--rate", "1MB");
  expect(exitCode).toBe(0);
  expect(site.registry.requests.filter(({ path }) => path.includes("/blobs/"))).toEqual([]);
  expect(await readdir(site.path)).not.toContain("store");
  const { bytesTotal, bytesHere, bytesToMove } = estimate.total;
  expect([bytesHere, bytesToMove]).toEqual([0, bytesTotal]);
  expect(estimate.time.ms).toBeCloseTo(bytesToMove / 1_000, -1);
  expect(estimate.disk.suffices).toBe(true);
  expect(estimate.quota).toBeNull();

  const run = await site.deliver();
  const { summary } = JSON.parse(run.out.trim().split("\n").at(-1) ?? "");
  expect(summary.bytesMoved).toBe(bytesToMove);
  const after = await site.estimate("-d", site.store);
  expect(after.estimate.total).toMatchObject({ bytesTotal, bytesHere: bytesTotal, bytesToMove: 0 });
  expect(after.estimate).toMatchObject({ bytesOnDisk: 0, time: { ms: 0 } });
});

test("what stages share is counted in the first of them, and a folder's content apart", async () => {
  await using site = await openSite();
  await site.deliver("--until=provider");
  const { estimate } = await site.estimate("-d", join(site.path, "other"), "--from", site.store);
  const [provider, infrastructure] = estimate.stages;
  expect(provider).toMatchObject({ images: 1, imagesSized: 1, bytesToMove: 0 });
  expect(provider.bytesInFolders).toBe(provider.bytesTotal);
  // Two layers of its own for each image, and a config: the base came with the provider image.
  expect(infrastructure.bytesTotal).toBeLessThan(infrastructure.images * 2 * 65_000);
});

test("an image that can't be sized is named, with exit 1", async () => {
  await using site = await openSite();
  await site.registry.stop();
  const { estimate, exitCode } = await site.estimate("-d", site.store);
  expect(exitCode).toBe(1);
  expect(estimate.unsized).toHaveLength(SAMPLE_IMAGES.length);
  expect(estimate.unsized[0].code).toBe("registry-unreachable");
});

test("for eyes there is a table, and without a known speed a hint", async () => {
  await using site = await openSite();
  const run = await dray(["plan", ...site.args, "--estimate", "-d", site.store]);
  expect(run.out).toMatch(/^ESTIMATE +IMAGES +TOTAL +HERE +FOLDERS +TO MOVE$/m);
  expect(run.out).toMatch(/^provider +1\/1 +1\d\d\.\d kB +0 B +0 B +1\d\d\.\d kB$/m);
  expect(run.out).toContain("give the speed of the link with --rate");
});

test("words that only an estimate understands are refused without one", async () => {
  await using site = await openSite();
  const run = await dray(["plan", ...site.args, "--rate", "1MB"]);
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("--estimate");
});
