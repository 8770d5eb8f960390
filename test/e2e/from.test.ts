import { expect, setDefaultTimeout, test } from "bun:test";
import { cp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageOptions } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

async function openSite() {
  const folder = await temporaryFolder();
  const images = Object.fromEntries(
    SAMPLE_IMAGES.map((name): [string, ImageOptions] => [
      `spectro-images/${name}`,
      { seed: name, layers: 3, layerBytes: 60_000, sharedBase: "base" },
    ]),
  );
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    images,
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const deliver = (store: string, ...more: readonly string[]) =>
    dray(["deliver", ...args, `--data-dir=${store}`, "--platform=linux/amd64", ...more]);
  return {
    registry,
    planArgs: args,
    deliver,
    stick: join(folder.path, "stick"),
    store: join(folder.path, "store"),
    /** But for the lists of who refers to what: there is nobody. */
    fetched: () =>
      registry.requests
        .filter(({ path, method, status }) => method === "GET" && path !== "/v2/" && status < 300)
        .filter(({ path }) => !path.includes("/referrers/"))
        .map(({ path }) => path),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("a stick that holds everything leaves only tags and empty lists of signatures for the link", async () => {
  await using site = await openSite();
  expect((await site.deliver(site.stick)).exitCode).toBe(0);
  const before = site.fetched().length;
  const run = await site.deliver(site.store, `--from=${site.stick}`);
  expect(run.err).not.toContain("warning: quay");
  expect(run.exitCode).toBe(0);
  expect(run.out).toContain(": 0 B moved");
  expect(run.out).toMatch(/\n[0-9]+ B over the uplink/);
  expect(site.fetched().slice(before)).toEqual([]);
  const folder = join("blobs", "sha256");
  expect((await readdir(join(site.store, folder))).sort()).toEqual(
    (await readdir(join(site.stick, folder))).sort(),
  );
});

test("what a stick lacks, and what is wrong on it, comes over the link with a warning", async () => {
  await using site = await openSite();
  await site.deliver(site.stick);
  const folder = join(site.stick, "blobs", "sha256");
  const [missing = "", linked = "", wrong = ""] = (await readdir(folder)).sort();
  await rm(join(folder, missing));
  const bytes = await readFile(join(folder, wrong));
  await writeFile(join(folder, wrong), bytes.fill(0, 0, 1));
  await cp(join(folder, linked), join(site.stick, "elsewhere"));
  await rm(join(folder, linked));
  await symlink(join(site.stick, "elsewhere"), join(folder, linked));
  const before = site.fetched().length;
  const run = await site.deliver(site.store, `--from=${site.stick}`);
  expect(run.exitCode).toBe(0);
  expect(run.err).toContain(`What ${site.stick} holds of sha256:${wrong} is not used`);
  const digests = site
    .fetched()
    .slice(before)
    .map((path) => path.split(":").at(-1));
  expect(new Set(digests)).toEqual(new Set([missing, linked, wrong]));
});

test("a store is carried to a site with no uplink at all", async () => {
  await using site = await openSite();
  await site.deliver(site.stick);
  await site.registry.stop();
  const run = await site.deliver(site.store, `--from=${site.stick}`);
  expect(run.err).toContain(`What ${site.stick} has under this name`);
  expect(run.exitCode).toBe(0);
  const index = (store: string) => readFile(join(store, "index.json"), "utf8");
  expect(await index(site.store)).toBe(await index(site.stick));
});

test("a folder that is no OCI layout is refused before anything is asked", async () => {
  await using site = await openSite();
  const run = await site.deliver(site.store, `--from=${join(site.stick, "..")}`);
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("folder-invalid");
  expect(site.registry.requests).toEqual([]);
});
