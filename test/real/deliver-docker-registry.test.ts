import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import {
  type DockerRegistry,
  type DockerRegistryOptions,
  startDockerRegistry,
} from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { startRegistryProgram } from "#test-support/serving-program";

const CREDENTIALS = `${SAMPLE_LOGIN.username}:${SAMPLE_LOGIN.password}`;

/** The three ways in which real registries ask who is there. */
const KINDS: Readonly<Record<string, DockerRegistryOptions>> = {
  "Basic over plain http": { htpasswd: SAMPLE_LOGIN },
  "Basic over TLS with an authority of its own": {
    htpasswd: SAMPLE_LOGIN,
    tls: testCertificates().server,
  },
  "Bearer tokens": { token: SAMPLE_LOGIN },
};

let images: Awaited<ReturnType<typeof temporaryFolder>>;

beforeAll(async () => {
  images = await temporaryFolder();
  await using store = await openStore(join(images.path, "images"), { clock: systemClock });
  for (const [i, name] of SAMPLE_IMAGES.entries()) {
    // An index for some, Docker's media types for others: registries hold both.
    const platforms = i % 3 === 0 ? ["linux/arm64", "linux/amd64"] : ["linux/amd64"];
    await buildImage(store, name, {
      seed: name,
      layers: 3,
      layerBytes: 200_000,
      platforms,
      sharedBase: "base",
    });
  }
});

afterAll(() => images[Symbol.asyncDispose]());

async function fill({ address }: DockerRegistry): Promise<void> {
  for (const name of SAMPLE_IMAGES) {
    await runClient(images.path, [
      ...["skopeo", "--insecure-policy", "copy", "--all"],
      ...["--dest-tls-verify=false", "--dest-creds", CREDENTIALS],
      `oci:${join(images.path, "images")}:${name}`,
      `docker://${address}/spectro-images/${name}`,
    ]);
  }
}

async function openSite(options: DockerRegistryOptions) {
  const folder = await temporaryFolder();
  const registry = await startDockerRegistry(options);
  await fill(registry);
  const { args } = await writeSampleSite(folder.path, registry.address);
  const store = join(folder.path, "store");
  return {
    folder: folder.path,
    registry,
    store,
    args: ["deliver", ...args, `--data-dir=${store}`, "--platform=linux/amd64"],
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** With a certificate, the user data trusts its authority and is not insecure any more. */
async function trustAuthority(folder: string): Promise<void> {
  const path = join(folder, "edge-rke2", "user-data.yaml");
  const pem = testCertificates()
    .ca.trimEnd()
    .split("\n")
    .map((line) => `        ${line}`)
    .join("\n");
  const text = await readFile(path, "utf8");
  const domain = /domain: (.*)/.exec(text)?.[1] ?? "";
  const password = Buffer.from(SAMPLE_LOGIN.password).toString("base64");
  await writeFile(
    path,
    `#cloud-config\nstylus:\n  externalRegistries:\n    registries:\n    - domain: ${domain}\n      username: ${SAMPLE_LOGIN.username}\n      password: ${password}\n      encodedPassword: true\n      certificates:\n      - |\n${pem}\n`,
  );
}

async function expectSoundBlobs(store: string): Promise<void> {
  const folder = join(store, "blobs", "sha256");
  for (const name of await readdir(folder)) {
    expect(
      createHash("sha256")
        .update(await readFile(join(folder, name)))
        .digest("hex"),
    ).toBe(name);
  }
}

async function storedNames(store: string): Promise<readonly string[]> {
  const index = JSON.parse(await readFile(join(store, "index.json"), "utf8"));
  return index.manifests.map((entry: { annotations: Record<string, string> }) => {
    return entry.annotations["org.opencontainers.image.ref.name"];
  });
}

describe.each(Object.entries(KINDS))("a delivery from docker-registry, %s", (_, options) => {
  test("brings every image, provider blobs first, for other tools to read", async () => {
    await using site = await openSite(options);
    if (options.tls !== undefined) await trustAuthority(site.folder);
    const before = (await site.registry.accessLog()).length;
    const delivery = await dray(site.args);
    expect(delivery.err + delivery.out).toContain("11 images");
    expect(delivery.exitCode).toBe(0);
    expect(delivery.err + delivery.out).not.toContain(SAMPLE_LOGIN.password);

    const log = (await site.registry.accessLog()).slice(before);
    const blobs = log.filter((line) => /"GET \/v2\/.*\/blobs\/.*" 200/.test(line));
    const isProvider = (line: string) => line.includes("/core-ubuntu-20-lts-rke2/");
    expect(blobs.findIndex((line) => !isProvider(line))).toBeGreaterThan(
      blobs.findLastIndex(isProvider),
    );
    expect(blobs.some(isProvider)).toBe(true);

    await expectSoundBlobs(site.store);
    for (const name of await storedNames(site.store)) {
      const copy = join(site.folder, `copy-${Bun.hash(name).toString(16)}`);
      await runClient(site.folder, [
        ...["skopeo", "--insecure-policy", "--override-arch", "amd64", "--override-os", "linux"],
        ...["copy", `oci:${site.store}:${name}`, `oci:${copy}:copy`],
      ]);
    }
  }, 120_000);
});

test.skipIf(!haveClients("crane"))(
  "crane finds every delivered image valid, over the embedded registry",
  async () => {
    await using site = await openSite({ htpasswd: SAMPLE_LOGIN });
    expect((await dray(site.args)).exitCode).toBe(0);
    await using server = await startRegistryProgram(site.store);
    for (const name of await storedNames(site.store)) {
      await runClient(site.folder, [
        ...["crane", "validate", "--insecure", "--platform", "linux/amd64"],
        ...["--remote", `${server.address}/${name}`],
      ]);
    }
  },
  120_000,
);

test("a certificate that nobody trusts, a wrong password and a missing image each say what to do", async () => {
  await using site = await openSite({ htpasswd: SAMPLE_LOGIN, tls: testCertificates().server });
  await trustAuthority(site.folder);
  const userData = join(site.folder, "edge-rke2", "user-data.yaml");
  const good = await readFile(userData, "utf8");

  await writeFile(userData, good.replace(/ {6}certificates:[\s\S]*$/, ""));
  const untrusted = await dray(site.args);
  expect(untrusted.exitCode).toBe(1);
  expect(untrusted.out).toContain("registry-certificate");

  await writeFile(userData, good.replace(/ {6}password: .*/, "      password: d3Jvbmc="));
  const refused = await dray(site.args);
  expect(refused.exitCode).toBe(1);
  expect(refused.out).toContain("registry-unauthorized");

  await writeFile(userData, good);
  const profile = join(site.folder, "edge-rke2", "profile.yaml");
  await writeFile(
    profile,
    (await readFile(profile, "utf8")).replace("node:v3.27.0", "node:v0.0.0"),
  );
  const missing = await dray(site.args);
  expect(missing.exitCode).toBe(1);
  expect(missing.out).toContain("content-missing");
  expect(await storedNames(site.store)).toHaveLength(10);
}, 120_000);
