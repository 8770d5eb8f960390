import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { OCI_MANIFEST } from "#oci";
import { openStore } from "#store";
import { ageBlobs } from "#test-support/aged-store";
import { type DockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";
import { startWritableRegistry } from "#test-support/writable-registry";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const OS = "os/core:v1";
const APP = "apps/shop:v1";
const PLATFORMS = ["linux/amd64", "linux/arm64"];
const SBOM_TYPE = "application/spdx+json";
const SCAN_TYPE = "application/example.scan";
const SIGNATURE_TYPE = "application/example.signature";

/** A layout of the images, that clients push from. */
let images: Awaited<ReturnType<typeof temporaryFolder>>;
const roots: Record<string, string> = {};

beforeAll(async () => {
  images = await temporaryFolder();
  await using store = await openStore(join(images.path, "layout"), { clock: systemClock });
  roots[OS] = (await buildImage(store, OS, { seed: "os" })).digest;
  const options = { seed: "app", platforms: PLATFORMS };
  roots[APP] = (await buildImage(store, APP, options)).digest;
});

afterAll(() => images[Symbol.asyncDispose]());

interface Site extends AsyncDisposable {
  readonly folder: string;
  /** Host and port of the registry that images come from. */
  readonly source: string;
  readonly store: string;
  /** A client in a folder of its own, where it finds no configuration of the machine's. */
  run(...command: readonly string[]): Promise<string>;
  deliver(...words: readonly string[]): Promise<string>;
}

/** A site that declares both images of a registry, which has them. */
async function openSite(source: { readonly address: string }): Promise<Site> {
  const folder = await temporaryFolder();
  const site: Site = {
    folder: folder.path,
    source: source.address,
    store: join(folder.path, "store"),
    run: (...command) => runClient(folder.path, command),
    async deliver(...words) {
      const dataDir = words.some((word) => word.startsWith("--data-dir"))
        ? []
        : [`--data-dir=${join(folder.path, "store")}`];
      const profile = `--profile=${join(folder.path, "profile.json")}`;
      const { exitCode, out, err } = await dray([
        ...["deliver", profile, "--platform=linux/amd64", ...dataDir, ...words],
      ]);
      if (exitCode !== 0) throw new Error(`dray deliver ended with ${exitCode}: ${err}${out}`);
      return err + out;
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
  const pack = (name: string, layer: string, image: string, more: object = {}) => ({
    ...{ name, layer },
    values: JSON.stringify({ pack: { content: { images: [{ image }] } }, ...more }),
  });
  const [os, app] = [`${source.address}/${OS}`, `${source.address}/${APP}`];
  const packs = [
    pack("os", "os", os, { options: { "system.uri": os } }),
    pack("shop", "addon", app),
  ];
  await writeFile(
    join(folder.path, "profile.json"),
    JSON.stringify({ metadata: { name: "signed" }, spec: { template: { packs } } }),
  );
  for (const name of [OS, APP]) {
    await site.run(
      ...["skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false"],
      ...[`oci:${join(images.path, "layout")}:${name}`, `docker://${source.address}/${name}`],
    );
  }
  return site;
}

const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

async function must(answer: Promise<Response>, status: number): Promise<Response> {
  const response = await answer;
  if (response.status === status) return response;
  throw new Error(`${response.url} answered ${response.status}, expected ${status}`);
}

async function pushBlob(repository: string, text: string): Promise<object> {
  const begun = await must(fetch(`${repository}/blobs/uploads/`, { method: "POST" }), 202);
  const location = new URL(begun.headers.get("location") ?? "", repository);
  location.searchParams.set("digest", digestOf(text));
  await must(fetch(location, { method: "PUT", body: text }), 201);
  return { digest: digestOf(text), size: text.length };
}

/** Signs a digest as cosign lays it out, with what only looks like a signature. */
async function signLikeCosign(address: string, name: string, suffix = "sig"): Promise<string> {
  const digest = roots[name] ?? "";
  const repository = `http://${address}/v2/${name.replace(/:.*/, "")}`;
  const payload = JSON.stringify({ critical: { image: { "docker-manifest-digest": digest } } });
  const rootfs = { type: "layers", diff_ids: [digestOf(payload)] };
  const created = "0001-01-01T00:00:00Z";
  const cosigned = {
    architecture: "",
    created,
    history: [{ created }],
    os: "",
    rootfs,
    config: {},
  };
  const config = await pushBlob(repository, JSON.stringify(cosigned));
  const layer = await pushBlob(repository, payload);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: [
      {
        mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
        ...layer,
        annotations: { "dev.cosignproject.cosign/signature": "bm90IGEgc2lnbmF0dXJl" },
      },
    ],
  });
  const headers = { "content-type": OCI_MANIFEST };
  const tag = `${digest.replace(":", "-")}.${suffix}`;
  const put = fetch(`${repository}/manifests/${tag}`, { method: "PUT", headers, body: manifest });
  await must(put, 201);
  return tag;
}

/** Attaches a file by `subject`, and gives its digest. */
async function attach(site: Site, type: string, to: string): Promise<string> {
  await writeFile(join(site.folder, "file.json"), JSON.stringify({ type, to }));
  const out = await site.run(
    ...["oras", "attach", "--plain-http", "--format", "json", "--artifact-type", type],
    ...[to, "file.json:application/json"],
  );
  return JSON.parse(out).digest;
}

interface Discovered {
  readonly digest: string;
  readonly artifactType?: string;
  readonly referrers?: readonly Discovered[];
}

/** All that refers to an image, at any depth, as `type digest`. */
async function discover(site: Site, image: string): Promise<readonly string[]> {
  const out = await site.run("oras", "discover", "--plain-http", "--format", "json", image);
  const flatten = ({ referrers = [] }: Discovered): readonly string[] =>
    referrers.flatMap((each) => [`${each.artifactType} ${each.digest}`, ...flatten(each)]);
  return flatten(JSON.parse(out)).toSorted();
}

/** Fetches an image by its tag with all that it lists, and compares each with its digest. */
async function expectWhole(site: Site, image: string): Promise<void> {
  const repository = image.slice(0, image.lastIndexOf(":"));
  const { config, layers } = JSON.parse(await site.run("crane", "--insecure", "manifest", image));
  for (const { digest } of [config, ...layers]) {
    const blob = await site.run("crane", "--insecure", "blob", `${repository}@${digest}`);
    expect(digestOf(blob)).toBe(digest);
  }
}

/** Where the embedded registry has what came from elsewhere. */
const servedAs = ({ source }: Site, { address }: ServingProgram, name: string) =>
  `${address}/${source.replace(":", "_")}/${name}`;

/** The manifest of the platform that the site is for. */
async function platformDigest(site: Site): Promise<string> {
  const index = JSON.parse(
    await site.run("crane", "--insecure", "manifest", `${site.source}/${APP}`),
  );
  return index.manifests[0].digest;
}

interface Source extends AsyncDisposable {
  readonly address: string;
}

/** What registries differ in: whether they keep lists of referrers. */
const SOURCES: Readonly<Record<string, () => Promise<Source>>> = {
  "docker-registry, which keeps no list of referrers": () => startDockerRegistry(),
  "a registry that lists referrers": async () => startWritableRegistry(),
};

describe.each(Object.entries(SOURCES))("from %s", (_, start) => {
  const isLeftOut = !haveClients("docker-registry", "skopeo", "crane", "oras");

  test.skipIf(isLeftOut)(
    "signatures and all that is attached come along, and are found at the site when it is alone",
    async () => {
      await using source = await start();
      await using site = await openSite(source);
      const image = `${source.address}/${APP}`;
      const tag = await signLikeCosign(source.address, APP);
      const attestation = await signLikeCosign(source.address, APP, "att");
      const ofTheOs = await signLikeCosign(source.address, OS);
      const sbom = await attach(site, SBOM_TYPE, image);
      await attach(site, SIGNATURE_TYPE, `${image.replace(/:v1$/, "")}@${sbom}`);
      const platform = await platformDigest(site);
      await attach(site, SCAN_TYPE, `${image.replace(/:v1$/, "")}@${platform}`);
      const known = await discover(site, image);
      const ofPlatform = await discover(site, `${image.replace(/:v1$/, "")}@${platform}`);
      expect([known.length, ofPlatform.length]).toEqual([2, 1]);
      const bytes = await site.run("crane", "--insecure", "manifest", image.replace(/v1$/, tag));

      await site.deliver();
      await source[Symbol.asyncDispose]();

      await using served = await startRegistryProgram(site.store);
      const here = servedAs(site, served, APP);
      const crane = (...words: readonly string[]) => site.run("crane", "--insecure", ...words);
      expect(await discover(site, here)).toEqual(known);
      expect(await discover(site, `${here.replace(/:v1$/, "")}@${platform}`)).toEqual(ofPlatform);
      expect(await crane("manifest", here.replace(/v1$/, tag))).toBe(bytes);
      await expectWhole(site, here.replace(/v1$/, attestation));
      await expectWhole(site, servedAs(site, served, OS).replace(/v1$/, ofTheOs));
      await site.run("oras", "pull", "--plain-http", `${here.replace(/:v1$/, "")}@${sbom}`);
      expect(await readFile(join(site.folder, "file.json"), "utf8")).toContain(SBOM_TYPE);

      const verified = await dray(["verify", "-d", site.store, "-o", "json"]);
      expect(verified.exitCode).toBe(0);
    },
  );

  test.skipIf(isLeftOut)(
    "what was signed after the first delivery comes with the next, and nothing else moves",
    async () => {
      await using source = await start();
      await using site = await openSite(source);
      await site.deliver();
      const tag = await signLikeCosign(source.address, APP);
      const sbom = await attach(site, SBOM_TYPE, `${source.address}/${APP}`);
      expect((await site.deliver("--attachments")).match(/^present /gm)).toHaveLength(2);
      await using served = await startRegistryProgram(site.store);
      const here = servedAs(site, served, APP);
      expect(await discover(site, here)).toEqual([`${SBOM_TYPE} ${sbom}`]);
      await expectWhole(site, here.replace(/v1$/, tag));
    },
  );

  test.skipIf(isLeftOut)(
    "a stick brings them to a site that is alone, and gc leaves them there",
    async () => {
      await using source = await start();
      await using site = await openSite(source);
      const image = `${source.address}/${APP}`;
      const tag = await signLikeCosign(source.address, APP);
      const sbom = await attach(site, SBOM_TYPE, image);
      await attach(site, SIGNATURE_TYPE, `${image.replace(/:v1$/, "")}@${sbom}`);
      const known = await discover(site, image);
      const stick = join(site.folder, "stick");
      await site.deliver(`--data-dir=${stick}`);
      await source[Symbol.asyncDispose]();
      await site.deliver(`--from=${stick}`);
      await ageBlobs(site.store);
      const gc = await dray(["gc", "-d", site.store, "-o", "json"]);
      expect(gc.exitCode).toBe(0);
      await using served = await startRegistryProgram(site.store);
      const here = servedAs(site, served, APP);
      expect(await discover(site, here)).toEqual(known);
      await expectWhole(site, here.replace(/v1$/, tag));
    },
  );
});

test.skipIf(!haveClients("docker-registry", "skopeo", "oras"))(
  "a site that wants none of it gets none of it",
  async () => {
    await using source: DockerRegistry = await startDockerRegistry();
    await using site = await openSite(source);
    await attach(site, SBOM_TYPE, `${source.address}/${APP}`);
    const path = join(site.folder, "site.yaml");
    await writeFile(path, "apiVersion: drayage/v1\nkind: Site\nattachments: false\n");
    await site.deliver(`--site=${path}`);
    const { manifests } = JSON.parse(await readFile(join(site.store, "index.json"), "utf8"));
    expect(manifests).toHaveLength(2);
  },
);

test.skipIf(!haveClients("docker-registry", "skopeo", "cosign"))(
  "cosign verifies at the site what it signed at the source",
  async () => {
    const source = await startDockerRegistry();
    let site: Site | undefined;
    try {
      site = await openSite(source);
      const image = `${source.address}/${APP.replace(/:.*/, "")}@${roots[APP]}`;
      await site.run("cosign", "generate-key-pair");
      const sign = ["cosign", "sign", "--yes", "--tlog-upload=false", "--allow-http-registry"];
      await site.run(...sign, "--recursive", "--key", "cosign.key", image);
      await site.deliver();
      await source[Symbol.asyncDispose]();
      await using served = await startRegistryProgram(site.store);
      const here = servedAs(site, served, APP).replace(/:v1$/, "");
      const verify = ["cosign", "verify", "--insecure-ignore-tlog", "--allow-http-registry"];
      const platform = JSON.parse(
        await site.run("skopeo", "inspect", "--raw", "--tls-verify=false", `docker://${here}:v1`),
      ).manifests[0].digest;
      for (const digest of [roots[APP], platform]) {
        const out = await site.run(...verify, "--key", "cosign.pub", `${here}@${digest}`);
        expect(out).toContain(`"docker-manifest-digest":"${digest}"`);
      }
    } finally {
      await source[Symbol.asyncDispose]();
      await site?.[Symbol.asyncDispose]();
    }
  },
);
