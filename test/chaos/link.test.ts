import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { hasDockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { buildImage } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { openResettingLink } from "./resetting-link.ts";
import { checkStore } from "./site.ts";

setDefaultTimeout(300_000);

/**
 * A fast uplink, 500 Mbit/s. Without any limit the kernel takes in megabytes before the program has
 * its turn, and Bun's fetch forgets what it has not read by the time of a reset (measured, 1.4.5).
 */
const LINK_BYTES_PER_SECOND = 62_500_000;

/** Where it breaks, of what size the large layers are, and what of it may cross the link again. */
const LINKS = [
  { resetAfterBytes: 10_000_000, layerBytes: 16_000_000, extraMax: 0.02 },
  { resetAfterBytes: 300_000, layerBytes: 1_500_000, extraMax: 0.1 },
] as const;

test.each(LINKS)(
  "a link that resets each connection after $resetAfterBytes bytes: from our registry",
  async (link) => {
    await using folder = await temporaryFolder();
    const images = imagesOf(link.layerBytes);
    await using registry = await startLoopbackRegistry(join(folder.path, "registry"), {
      images: Object.fromEntries(images.map(([name, made]) => [`spectro-images/${name}`, made])),
      login: SAMPLE_LOGIN,
    });
    await expectThrough(link, registry.address, folder.path);
  },
);

test.skipIf(!hasDockerRegistry || Bun.which("skopeo") === null).each(LINKS)(
  "a link that resets each connection after $resetAfterBytes bytes: from docker-registry",
  async (link) => {
    await using folder = await temporaryFolder();
    await using registry = await startDockerRegistry({ htpasswd: SAMPLE_LOGIN });
    const made = join(folder.path, "made");
    {
      await using store = await openStore(made, { clock: systemClock });
      for (const [name, options] of imagesOf(link.layerBytes))
        await buildImage(store, name, options);
    }
    for (const name of SAMPLE_IMAGES)
      await push(`oci:${made}:${name}`, `${registry.address}/spectro-images/${name}`);
    await expectThrough(link, registry.address, folder.path);
  },
);

/** Three images of large layers among small ones. */
function imagesOf(layerBytes: number) {
  return SAMPLE_IMAGES.map((name, i) => {
    const made = { seed: name, layers: 3, layerBytes: i % 4 === 0 ? layerBytes : 50_000 };
    return [name, made] as const;
  });
}

async function expectThrough(
  { resetAfterBytes, extraMax }: (typeof LINKS)[number],
  registry: string,
  folder: string,
): Promise<void> {
  await using link = await openResettingLink(registry, {
    resetAfterBytes,
    bytesPerSecond: LINK_BYTES_PER_SECOND,
  });
  const { args } = await writeSampleSite(folder, link.address);
  const dataDir = join(folder, "store");
  const startedMs = performance.now();
  const run = await dray(["deliver", ...args, `--data-dir=${dataDir}`, "--platform=linux/amd64"]);
  const seconds = (performance.now() - startedMs) / 1000;
  expect(run.exitCode === 0 ? "" : run.out).toBe("");
  expect(await checkStore(dataDir)).toHaveLength(SAMPLE_IMAGES.length);
  const wantedBytes = await sizeOf(join(dataDir, "blobs", "sha256"));
  const extra = link.downBytes / wantedBytes - 1;
  console.log(
    `${link.resets} resets after ${resetAfterBytes} bytes, ${wantedBytes} bytes wanted, ` +
      `${(extra * 100).toFixed(2)} % extra, ${seconds.toFixed(1)} s`,
  );
  expect(link.resets).toBeGreaterThan(0);
  expect(extra).toBeLessThanOrEqual(extraMax);
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

async function push(from: string, to: string): Promise<void> {
  const credentials = `${SAMPLE_LOGIN.username}:${SAMPLE_LOGIN.password}`;
  const options = ["--dest-tls-verify=false", "--dest-creds", credentials];
  const child = Bun.spawn(["skopeo", "copy", ...options, from, `docker://${to}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [text, exitCode] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (exitCode !== 0) throw new Error(`skopeo ended with ${exitCode}: ${text}`);
}
