import { expect, test } from "bun:test";
import { readdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";

const LAYER_BYTES = 300_000;

/** A site to which the provider image was delivered, and the registry that it came from. */
async function openSite() {
  const folder = await temporaryFolder();
  const images = SAMPLE_IMAGES.map((name) => [
    `spectro-images/${name}`,
    { seed: name, layerBytes: LAYER_BYTES },
  ]);
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    images: Object.fromEntries(images),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const dataDir = join(folder.path, "store");
  const deliver = () => dray(["deliver", ...args, "-d", dataDir, "--until=provider", "-o", "json"]);
  expect((await deliver()).exitCode).toBe(0);
  return {
    dataDir,
    deliver,
    verify: (...words: string[]) => dray(["verify", "-d", dataDir, ...words]),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The files of the store's layers: there are two in the image. */
async function layersOf(dataDir: string): Promise<readonly [string, string]> {
  const folder = join(dataDir, "blobs", "sha256");
  const files = (await readdir(folder)).sort().map((name) => join(folder, name));
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  const [first, second] = files.filter((_, i) => (sizes[i] ?? 0) >= LAYER_BYTES);
  if (first === undefined || second === undefined) throw new Error("no layers were delivered");
  return [first, second];
}

async function rot(file: string): Promise<void> {
  const bytes = await Bun.file(file).bytes();
  bytes[1000] = (bytes[1000] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

test("verify moves what is wrong away, and the next delivery fetches that again and nothing else", async () => {
  await using site = await openSite();
  const fine = await site.verify();
  expect(fine.out).toContain("all as they should be");
  expect(fine.exitCode).toBe(0);

  const [layer] = await layersOf(site.dataDir);
  const bytes = await Bun.file(layer).bytes();
  await rot(layer);
  expect((await site.deliver()).exitCode).toBe(0);
  expect(await Bun.file(layer).bytes()).not.toEqual(bytes);

  const found = await site.verify("-o", "json");
  expect(found.exitCode).toBe(3);
  const digest = `sha256:${layer.slice(-64)}`;
  const [wrong, ...others] = JSON.parse(found.out).wrong;
  expect(others).toEqual([]);
  expect(wrong).toMatchObject({ digest, quarantined: `quarantine/sha256-${layer.slice(-64)}` });
  expect(wrong.names.join()).toContain("core-ubuntu-20-lts-rke2");
  expect(wrong.remedy).toContain("dray deliver");

  const again = await site.deliver();
  expect(again.exitCode).toBe(0);
  const { summary } = JSON.parse(again.out.trim().split("\n").at(-1) ?? "");
  expect(summary.bytesMoved).toBe(bytes.byteLength);
  expect(await Bun.file(layer).bytes()).toEqual(bytes);
  expect((await site.verify()).exitCode).toBe(0);
  expect(await readdir(join(site.dataDir, "quarantine"))).toHaveLength(1);
});

test("verify says what it took for a sample, and takes the same one again", async () => {
  await using site = await openSite();
  const [layer] = await layersOf(site.dataDir);
  const { size } = await stat(layer);
  const { out } = await site.verify("--sample=50%", "-o", "json");
  const { scope, bytesVerified, blobsVerified, blobsInStore } = JSON.parse(out);
  expect(blobsVerified).toBe(Math.ceil(blobsInStore / 2));
  const again = await site.verify("--sample=50", `--seed=${scope.seed}`, "-o", "json");
  expect(JSON.parse(again.out).bytesVerified).toBe(bytesVerified);
  expect(bytesVerified).toBeLessThan(3 * size);
  const told = await site.verify("--sample=50", "--seed=x");
  expect(told.out).toContain("a sample of 50 % with --seed x");
});

test("after a delivery was killed, verify --since-unclean looks at what that one committed", async () => {
  await using site = await openSite();
  expect((await site.verify("--since-unclean")).out).toContain(
    "the last writer ended as it should",
  );
  const [layer] = await layersOf(site.dataDir);
  await rot(layer);
  await writeFile(join(site.dataDir, "writer.json"), '{"suspectSinceMs":0}\n');
  const found = await site.verify("--since-unclean");
  expect(found.exitCode).toBe(3);
  expect(found.out).toContain("Run `dray deliver`");
});

test("words that make no sense are refused", async () => {
  for (const words of [
    ["--sample=0"],
    ["--sample=101"],
    ["--sample=1e2"],
    ["--sample=5", "--since-unclean"],
    ["--rate=fast"],
  ]) {
    const { exitCode, err } = await dray(["verify", "-d", "/nowhere", ...words]);
    expect(err).toContain("error: ");
    expect(exitCode).toBe(2);
  }
  const missing = await dray(["verify", "-d", "/nowhere"]);
  expect(missing.err).toContain("[store-missing]");
  expect(missing.exitCode).toBe(1);
});

test("a blob of a wrong size is not served, to GET nor to HEAD, and others are", async () => {
  await using site = await openSite();
  const [layer, other] = await layersOf(site.dataDir);
  await using server = startDray(["registry", "serve", "-d", site.dataDir, "-l", "127.0.0.1:0"]);
  const address = await servedAt(server);
  const repository = "spectro-images/quay.io/kairos/core-ubuntu-20-lts-rke2";
  const url = (file: string) =>
    `http://${address}/v2/${repository}/blobs/sha256:${file.slice(-64)}`;
  expect((await fetch(url(layer), { method: "HEAD" })).status).toBe(200);
  await truncate(layer, 100);
  for (const method of ["GET", "HEAD"]) {
    expect((await fetch(url(layer), { method })).status).toBe(404);
    expect((await fetch(url(other), { method })).status).toBe(200);
  }
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
});

async function servedAt({ stderr }: ReturnType<typeof startDray>): Promise<string> {
  let text = "";
  for await (const chunk of stderr.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const [, address] = /on https?:\/\/(\S+)\n/.exec(text) ?? [];
    if (address !== undefined) return address;
  }
  throw new Error(`the registry did not start: ${text}`);
}
