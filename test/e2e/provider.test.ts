import { expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { appendFile, chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { systemClock } from "#base";
import { digestOf } from "#content";
import { OCI_INDEX, OCI_MANIFEST } from "#oci";
import { openStore } from "#store";
import { putBytes, putJson, randomBytes } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { startRegistryProgram } from "#test-support/serving-program";
import { type TarSample, tarOf } from "#test-support/tar";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const PROVIDER = "spectro-images/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const DECLARED = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const IMAGES = "var/lib/rancher/rke2/agent/images";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const API_SERVER = "docker.io/rancher/hardened-kubernetes:v1.25.2-rke2r1";
const PAUSE = "docker.io/rancher/mirrored-pause:3.6";
const isRoot = process.geteuid?.() === 0;

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const hex = (bytes: Uint8Array) => digestOf(bytes).slice("sha256:".length);

/** The parts of an image of one layer. */
function parts(seed: string) {
  const layer = tarOf([{ path: `bin/${seed}`, body: randomBytes(seed, 20_000) }]);
  const config = json({
    ...{ os: "linux", architecture: "amd64", config: { Cmd: [`/bin/${seed}`] } },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  return { layer, config };
}

/** As `docker save` wrote it before version 25, which is what RKE2 publishes. */
function dockerArchive(seed: string, name: string): Uint8Array {
  const { layer, config } = parts(seed);
  return tarOf([
    { path: "abc/layer.tar", body: layer },
    { path: `${hex(config)}.json`, body: config },
    {
      path: "manifest.json",
      body: json([{ Config: `${hex(config)}.json`, RepoTags: [name], Layers: ["abc/layer.tar"] }]),
    },
  ]);
}

function layoutArchive(seed: string, name: string): Uint8Array {
  const { layer, config } = parts(seed);
  const packed = new Uint8Array(gzipSync(layer));
  const describe = (mediaType: string, bytes: Uint8Array) => {
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  };
  const manifest = json({
    ...{ schemaVersion: 2, mediaType: OCI_MANIFEST, config: describe(CONFIG_TYPE, config) },
    layers: [describe(LAYER_TYPE, packed)],
  });
  const annotations = { "org.opencontainers.image.ref.name": name };
  const manifests = [{ ...describe(OCI_MANIFEST, manifest), annotations }];
  return tarOf([
    { path: "oci-layout", body: '{"imageLayoutVersion":"1.0.0"}' },
    { path: "index.json", body: json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }) },
    ...[layer, packed, config, manifest].map((bytes) => {
      return { path: `blobs/sha256/${hex(bytes)}`, body: bytes };
    }),
  ]);
}

/** An OS image with two archives that count, one that an upper layer deletes, and one that is broken. */
const PROVIDER_LAYERS: readonly (readonly TarSample[])[] = [
  [
    { path: "etc/", type: "folder" },
    { path: "etc/os-release", body: "ID=kairos\n" },
    {
      path: `${IMAGES}/rke2-images.linux-amd64.tar.zst`,
      body: new Uint8Array(zstdCompressSync(dockerArchive("apiserver", API_SERVER))),
    },
    { path: `${IMAGES}/old.tar`, body: dockerArchive("old", "rancher/old:1") },
  ],
  [
    {
      path: `${IMAGES}/pause.tar.gz`,
      body: new Uint8Array(gzipSync(layoutArchive("pause", PAUSE))),
    },
    { path: `${IMAGES}/.wh.old.tar` },
    { path: `${IMAGES}/broken.tar.gz`, body: "this is no archive" },
  ],
];

async function buildProvider(folder: string, layers = PROVIDER_LAYERS): Promise<void> {
  await using store = await openStore(folder, { clock: systemClock });
  const tars = layers.map((samples) => tarOf(samples));
  const packed = [];
  for (const tar of tars) {
    packed.push(await putBytes(store, LAYER_TYPE, new Uint8Array(gzipSync(tar))));
  }
  const config = await putJson(store, CONFIG_TYPE, {
    ...{ os: "linux", architecture: "amd64" },
    rootfs: { type: "layers", diff_ids: tars.map((tar) => digestOf(tar)) },
  });
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: packed };
  await store.name(PROVIDER, await putJson(store, OCI_MANIFEST, document));
}

/** A command that records what it was given, and ends as the file `status` says. */
const RECORDER = `#!/bin/sh
cd "$(dirname "$0")" || exit 9
printf '%s\\n' "$@" >> given
echo run >> runs
printf 'upgrading \\033[31m%s\\033[0m\\n' "$1"
echo "to stderr" >&2
exit "$(cat status 2>/dev/null || echo 0)"
`;

async function openSite(provider = "") {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  await buildProvider(at("registry"));
  const images = SAMPLE_IMAGES.map((name) => `spectro-images/${name}`);
  const others = images.filter((name) => name !== PROVIDER);
  const registry = await startLoopbackRegistry(at("registry"), {
    images: Object.fromEntries(others.map((seed) => [seed, { seed }])),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  await writeFile(at("recorder"), RECORDER);
  await chmod(at("recorder"), 0o755);
  const configure = (text: string) => writeFile(at("site.yaml"), text);
  await configure(provider);
  const store = ["-d", at("store")];
  const words = [
    "deliver",
    ...args,
    ...store,
    "--platform=linux/amd64",
    `--site=${at("site.yaml")}`,
  ];
  return {
    at,
    registry,
    store,
    configure,
    deliver: (...more: string[]) => dray([...words, ...more]),
    start: () => startDray(words),
    journal: async (...more: string[]) => {
      const { out } = await dray(["journal", ...store, "-o", "json", ...more]);
      return JSON.parse(out).entries as readonly { kind: string; data: Record<string, unknown> }[];
    },
    names: async () => {
      await using opened = await openStore(at("store"), { clock: systemClock, readOnly: true });
      return (await opened.names()).map(({ name }) => name);
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function eventsOf(out: string): readonly Record<string, unknown>[] {
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("core images come from inside the provider image, and the embedded registry serves them by name", async () => {
  await using site = await openSite();
  const first = await site.deliver();
  expect(first.exitCode).toBe(0);
  expect(first.err).toContain(`2 core images of 3 archives in ${DECLARED}`);
  // A broken archive is told with its place, and stops nothing.
  expect(first.err).toContain(`warning: ${DECLARED}: `);
  expect(first.err).toContain(`/${IMAGES}/broken.tar.gz`);
  const names = await site.names();
  expect(names).toContain(API_SERVER);
  expect(names).toContain(PAUSE);
  expect(names.join(" ")).not.toContain("rancher/old");
  // Nothing of them crossed the link.
  expect(site.registry.requests.map(({ path }) => path).join(" ")).not.toContain("rancher");

  await using serving = await startRegistryProgram(site.at("store"));
  for (const [seed, name] of [
    ["apiserver", API_SERVER],
    ["pause", PAUSE],
  ] as const) {
    const [, repository, tag] = /^([^:]+):(.+)$/.exec(name) ?? [];
    const url = `http://${serving.address}/v2/${repository}`;
    const manifest = (await (await fetch(`${url}/manifests/${tag}`)).json()) as {
      readonly config: { readonly digest: string };
      readonly layers: readonly { readonly digest: string }[];
    };
    const { layer, config } = parts(seed);
    const bytes = async (digest = "") => {
      const body = await (
        await fetch(`${url}/blobs/${digest}`, { decompress: false })
      ).arrayBuffer();
      expect(`sha256:${createHash("sha256").update(new Uint8Array(body)).digest("hex")}`).toBe(
        digest,
      );
      return new Uint8Array(body);
    };
    expect(digestOf(await bytes(manifest.config.digest))).toBe(digestOf(config));
    const stored = await bytes(manifest.layers[0]?.digest);
    // The layers of docker archives are stored as they are there: plain tars.
    expect(digestOf(seed === "pause" ? Bun.gunzipSync(stored) : stored)).toBe(digestOf(layer));
    // Where it is at hand, a client that nobody here wrote says the same.
    if (Bun.which("skopeo") === null) continue;
    const source = `docker://${serving.address}/${name}`;
    const copied = Bun.spawnSync(
      ["skopeo", "copy", "--src-tls-verify=false", source, `dir:${site.at(seed)}`],
      { stderr: "pipe" },
    );
    expect(copied.stderr.toString()).toBe("");
    expect(readdirSync(site.at(seed))).toContain(hex(config));
  }
});

test("a provider image is looked through once, and what the store lost of its images is loaded again", async () => {
  await using site = await openSite();
  const done = async () => {
    const { out, exitCode } = await site.deliver("-o", "json");
    expect(exitCode).toBe(0);
    const events = eventsOf(out);
    const { summary } = events.at(-1) as { summary: { bytesFetched: number } };
    expect(summary).toMatchObject({ provider: { coreImages: { names: [API_SERVER, PAUSE] } } });
    return { ...events.find(({ type }) => type === "core-images-done"), summary };
  };
  expect(await done()).toMatchObject({
    outcome: "loaded",
    archives: 3,
    names: [API_SERVER, PAUSE],
  });
  expect(await done()).toMatchObject({ outcome: "present", archives: 3 });
  const { layer } = parts("apiserver");
  await rm(join(site.at("store"), "blobs", "sha256", hex(layer)));
  expect(await done()).toMatchObject({ outcome: "loaded", summary: { bytesFetched: 0 } });
  expect(existsSync(join(site.at("store"), "blobs", "sha256", hex(layer)))).toBe(true);
  await site.configure("provider: {coreImages: {folders: [/var/lib/*/rke2/agent/images]}}\n");
  expect(await done()).toMatchObject({ outcome: "loaded" });
});

test("a collection keeps the core images, and other folders or none can be looked through", async () => {
  await using site = await openSite("provider: {coreImages: {enabled: false}}\n");
  expect((await site.deliver()).exitCode).toBe(0);
  expect(await site.names()).not.toContain(PAUSE);
  await site.configure("provider: {coreImages: {folders: [/opt/none]}}\n");
  expect((await site.deliver()).err).toContain(`note: no core images in ${DECLARED}`);
  await site.configure("");
  expect((await site.deliver()).exitCode).toBe(0);
  const { out } = await dray(["gc", ...site.store, "--grace", "1m", "-o", "json"]);
  expect(JSON.parse(out)).toMatchObject({ names: [] });
  expect(await site.names()).toContain(PAUSE);
});

test("an archive is handed over to a command, once for each digest, and again on demand", async () => {
  await using site = await openSite();
  const archive = site.at("os.tar");
  const command = `[${site.at("recorder")}, "{source}", "a b; $HOME", "{digest}", "{image}"]`;
  await site.configure(
    `provider: {handOver: {form: oci-archive, path: ${archive}, command: ${command}}}\n`,
  );
  const runs = () => readFileSync(site.at("runs"), "utf8").trim().split("\n").length;
  const first = await site.deliver();
  expect(first.exitCode).toBe(0);
  expect(first.err).toContain("| upgrading \\u001b[31mocifile:");
  const given = (await readFile(site.at("given"), "utf8")).trim().split("\n");
  const [source, word, digest, image] = given;
  expect([source, word, image]).toEqual([`ocifile:${archive}`, "a b; $HOME", DECLARED]);
  expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(readFileSync(archive).includes(Buffer.from(digest?.slice(7) ?? "?"))).toBe(true);
  const [done, begun] = await site.journal("--kind", "hand-over-done", "--kind", "hand-over-begun");
  expect(begun?.data).toMatchObject({ form: "oci-archive", target: archive, digest });
  expect(done?.data).toMatchObject({ outcome: "done", exitStatus: 0, digest });
  expect(done?.data["output"]).toContain("to stderr");
  // It did its work, and may have taken the archive with it.
  await rm(archive);
  const second = await site.deliver();
  expect(second.out).toContain("the operating system has the provider image already");
  expect(existsSync(archive)).toBe(false);
  expect(runs()).toBe(1);
  expect((await site.deliver("--again")).exitCode).toBe(0);
  expect(runs()).toBe(2);
  expect(existsSync(archive)).toBe(true);
  // Another command is another wish.
  await site.configure(
    `provider: {handOver: {form: oci-archive, path: ${archive}, command: [${site.at("recorder")}]}}\n`,
  );
  expect((await site.deliver()).exitCode).toBe(0);
  expect(runs()).toBe(3);
});

test("a command that fails fails the provider stage, nothing after it is begun, and it is tried again", async () => {
  await using site = await openSite();
  const command = `[${site.at("recorder")}, "{source}"]`;
  await site.configure(`provider: {handOver: {form: reference, command: ${command}}}\n`);
  await writeFile(site.at("status"), "3");
  const failed = await site.deliver();
  expect(failed.exitCode).toBe(1);
  expect(failed.out).toContain("code:  hand-over-failed");
  expect(failed.out).toContain("ended with status 3");
  const blobs = site.registry.requests.filter(({ path }) => path.includes("/blobs/"));
  expect(new Set(blobs.map(({ path }) => path.split("/blobs/")[0]))).toEqual(
    new Set([`/v2/${PROVIDER.split(":")[0]}`]),
  );
  const entries = await site.journal();
  expect(entries.map(({ kind }) => kind)).toEqual([
    ...["delivery-done", "hand-over-done", "hand-over-begun", "core-images", "delivery-begun"],
  ]);
  expect(entries[0]?.data).toMatchObject({ outcome: "failed", handOver: "failed" });
  expect(entries[1]?.data).toMatchObject({
    ...{ outcome: "failed", exitStatus: 3 },
    failure: { code: "hand-over-failed", image: DECLARED },
  });
  const { out } = await dray(["journal", ...site.store]);
  expect(out).toContain("| to stderr");
  expect(out).toContain("[hand-over-failed]");
  await rm(site.at("status"));
  expect((await site.deliver()).exitCode).toBe(0);
  const reference =
    /^oci:(127\.0\.0\.1:5055\/quay\.io\/kairos\/core-ubuntu-20-lts-rke2@sha256:\S+)/;
  const [source] = (await readFile(site.at("given"), "utf8")).split("\n");
  expect(source).toMatch(reference);
});

test("a program that is not there, and one that takes too long, are told as what they are", async () => {
  await using site = await openSite(
    "provider: {handOver: {form: reference, command: [/nowhere/kairos-agent]}}\n",
  );
  const missing = await site.deliver("--until=provider");
  expect(missing.exitCode).toBe(1);
  expect(missing.out).toContain("code:  hand-over-missing");
  await site.configure(
    "provider: {handOver: {form: reference, command: [sh, -c, 'echo waits; sleep 600'], timeout: 1s}}\n",
  );
  const late = await site.deliver("--until=provider");
  expect(late.exitCode).toBe(1);
  expect(late.out).toContain("code:  hand-over-timeout");
  expect(late.out).toContain('it wrote last: "waits"');
});

test("who ends the delivery ends the command, and all that it started", async () => {
  await using site = await openSite();
  await site.configure(
    `provider: {handOver: {form: reference, command: [sh, -c, 'sleep 600 & echo $! > ${site.at("pid")}; echo up; wait']}}\n`,
  );
  const running = site.start();
  let told = "";
  for await (const chunk of running.stderr) {
    told += new TextDecoder().decode(chunk);
    if (told.includes("| up")) break;
  }
  running.kill("SIGINT");
  expect(await running.exited).toBe(130);
  const pid = (await readFile(site.at("pid"), "utf8")).trim();
  expect(
    existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
  ).toBe(false);
  expect((await site.journal("--kind", "hand-over-done"))[0]?.data).toMatchObject({
    outcome: "skipped",
  });
});

test.skipIf(!isRoot)(
  "a root file system is replaced as a whole when the image changes, and nobody else's is touched",
  async () => {
    await using site = await openSite();
    const root = site.at("os/root");
    const configured = `provider: {handOver: {form: rootfs, path: ${root}, command: [${site.at("recorder")}, "{source}"]}}\n`;
    await site.configure(configured);
    await mkdir(root, { recursive: true });
    await writeFile(join(root, "theirs"), "");
    const refused = await site.deliver("--until=provider");
    expect(refused.exitCode).toBe(1);
    expect(refused.out).toContain("code:  folder-taken");
    expect(readdirSync(root)).toEqual(["theirs"]);
    await rm(join(root, "theirs"));

    expect((await site.deliver("--until=provider")).exitCode).toBe(0);
    expect(readFileSync(join(root, "etc/os-release"), "utf8")).toBe("ID=kairos\n");
    expect(readdirSync(join(root, IMAGES)).sort()).toEqual([
      ...["broken.tar.gz", "pause.tar.gz", "rke2-images.linux-amd64.tar.zst"],
    ]);
    expect(readFileSync(site.at("given"), "utf8")).toBe(`dir:${root}\n`);
    await appendFile(join(root, "etc/os-release"), "EDITED=1\n");

    // The tag gets another image: the registry's own store is what it serves.
    await site.registry[Symbol.asyncDispose]();
    await buildProvider(site.at("registry"), [[{ path: "etc/os-release", body: "ID=next\n" }]]);
    await using next = await startLoopbackRegistry(site.at("registry"), {
      images: {},
      login: SAMPLE_LOGIN,
    });
    await writeSampleSite(site.at("."), next.address);
    expect((await site.deliver("--until=provider")).exitCode).toBe(0);
    expect(readFileSync(join(root, "etc/os-release"), "utf8")).toBe("ID=next\n");
    expect(readdirSync(site.at("os"))).toEqual(["root"]);
    expect(await site.names()).toContain(PAUSE);
  },
);
