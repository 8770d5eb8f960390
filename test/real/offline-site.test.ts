import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { systemClock } from "#base";
import { digestOf, type Store } from "#content";
import { OCI_MANIFEST } from "#oci";
import { openStore } from "#store";
import { type Containerd, hasContainerd, startContainerd } from "#test-support/containerd";
import { type CriImages, connectCri } from "#test-support/cri-images";
import { freePort } from "#test-support/docker-registry";
import { type Harbor, startHarbor } from "#test-support/harbor";
import { putBytes, putJson, randomBytes } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";
import { tarOf } from "#test-support/tar";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(180_000);

const isRoot = process.getuid?.() === 0;
const CAN_RUN = hasContainerd && isRoot && process.arch === "x64";
if (!CAN_RUN) {
  console.warn(
    "Tests of an offline site are left out: they want containerd, runc, root and x86-64",
  );
}

const EXTERNAL = { username: "mirror", password: "external-canary" };

/** Declared references, by layer; each says its own name when it is run. */
const PROVIDER = "quay.io/kairos/core:v1";
const NETWORK = "docker.io/calico/node:v3";
const SHOP = "quay.io/shop/till:v9";
const WEB = "docker.io/library/nginx:1.27";
const HARBOR_CORE = "docker.io/goharbor/core:v2";
const ALL = [PROVIDER, NETWORK, SHOP, WEB, HARBOR_CORE];

/**
 * The smallest program that says something, for Linux on x86-64: write(1, text), exit(0).
 * Whoever wants to know: 120 bytes of headers, 33 of code, the text.
 */
function programThatSays(text: string): Uint8Array {
  const message = new TextEncoder().encode(text);
  const size = 120 + 33 + message.byteLength;
  const elf = Buffer.alloc(size);
  elf.write("\x7fELF\x02\x01\x01", 0, "latin1");
  elf.writeUInt16LE(2, 16); // An executable,
  elf.writeUInt16LE(62, 18); // for x86-64.
  elf.writeUInt32LE(1, 20);
  const at = 0x400000n;
  elf.writeBigUInt64LE(at + 120n, 24);
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(1, 64); // One segment, to be loaded,
  elf.writeUInt32LE(5, 68); // read and run.
  elf.writeBigUInt64LE(at, 80);
  elf.writeBigUInt64LE(at, 88);
  elf.writeBigUInt64LE(BigInt(size), 96);
  elf.writeBigUInt64LE(BigInt(size), 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  const code = [0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba];
  elf.set(code, 120);
  elf.writeUInt32LE(message.byteLength, 120 + code.length);
  elf.set([0x0f, 5, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 5], 120 + code.length + 4);
  elf.set(message, 120 + 33);
  return elf;
}

/** An image that says its name when it is run, with a layer of its own that is worth damaging. */
async function buildTalker(store: Store, name: string, declared: string): Promise<void> {
  const layers = [
    tarOf([{ path: "say", mode: 0o755, body: programThatSays(declared) }]),
    tarOf([{ path: "data", body: randomBytes(declared, 300_000) }]),
  ];
  const descriptors = [];
  for (const layer of layers) {
    const type = "application/vnd.oci.image.layer.v1.tar+gzip";
    descriptors.push(await putBytes(store, type, gzipSync(layer)));
  }
  const config = await putJson(store, "application/vnd.oci.image.config.v1+json", {
    ...{ os: "linux", architecture: "amd64", config: { Entrypoint: ["/say"] } },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => digestOf(layer)) },
  });
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: descriptors };
  await store.name(name, await putJson(store, OCI_MANIFEST, manifest));
}

/** The last segment of a name, as an external registry with `replace` has it. */
const lastOf = (declared: string) => declared.slice(declared.lastIndexOf("/") + 1);

/** An external registry that has everything and asks for a password. */
async function startExternal(folder: string): Promise<ServingProgram> {
  {
    await using store = await openStore(join(folder, "external"), { clock: systemClock });
    for (const declared of ALL) await buildTalker(store, `mirror/${lastOf(declared)}`, declared);
  }
  const hash = await Bun.password.hash(EXTERNAL.password, { algorithm: "bcrypt", cost: 4 });
  await writeFile(join(folder, "users"), `${EXTERNAL.username}:${hash}\n`);
  const words = ["--read-only", `--htpasswd=${join(folder, "users")}`];
  return startRegistryProgram(join(folder, "external"), words);
}

interface Site {
  readonly runtime: Containerd;
  readonly cri: CriImages;
  readonly dataDir: string;
  readonly listen: string;
  /** Runs a command with the site's inputs. */
  run(command: readonly string[]): ReturnType<typeof dray>;
  serve(): Promise<ServingProgram>;
}

/** A machine with a containerd and what people wrote about it, and nothing else. */
async function openSite(
  folder: string,
  external: string,
  undo: AsyncDisposableStack,
  { harbor, loads = false }: { readonly harbor?: Harbor; readonly loads?: boolean } = {},
): Promise<Site> {
  const path = (name: string) => join(folder, name);
  const content = (...images: readonly string[]) => ({
    pack: { content: { images: images.map((image) => ({ image })) } },
  });
  const pack = (name: string, layer: string, values: object) => {
    return { name, layer, values: JSON.stringify(values) };
  };
  const packs = [
    pack("edge-native-byoi", "os", { options: { "system.uri": PROVIDER } }),
    pack("cni-calico", "cni", content(NETWORK)),
    pack("shop", "addon", content(SHOP, WEB)),
    ...(harbor === undefined ? [] : [pack("harbor", "addon", content(HARBOR_CORE))]),
  ];
  const runtime = undo.use(await startContainerd());
  const listen = `127.0.0.1:${await freePort()}`;
  const userData = {
    stylus: { registryCredentials: { domain: `${external}/mirror`, ...EXTERNAL } },
  };
  const local = harbor && {
    ...{ kind: "harbor", address: harbor.address, caFile: harbor.caFile },
    ...{ username: "admin", passwordFile: "password" },
  };
  await writeFile(path("password"), `${harbor?.adminPassword ?? ""}\n`);
  await writeFile(
    path("profile.json"),
    JSON.stringify({ metadata: { name: "edge" }, spec: { template: { packs } } }),
  );
  await writeFile(path("user-data.yaml"), `#cloud-config\n${JSON.stringify(userData)}\n`);
  const settings = { configDir: runtime.certsDir, socket: runtime.socket };
  await writeFile(
    path("site.yaml"),
    JSON.stringify({
      ...{ apiVersion: "drayage/v1", kind: "Site", dataDir: "store", platform: "linux/amd64" },
      registry: { listen },
      runtime: loads ? { kind: "containerd", ...settings } : settings,
      ...(local === undefined ? {} : { localRegistry: local }),
    }),
  );
  const inputs = [
    ...[`--profile=${path("profile.json")}`, `--user-data=${path("user-data.yaml")}`],
    `--site=${path("site.yaml")}`,
  ];
  return {
    ...{ runtime, listen, dataDir: path("store") },
    cri: undo.use(connectCri(runtime.socket)),
    run: (command) => dray([...command, ...inputs]),
    serve: () => startRegistryProgram(path("store"), [`--listen=${listen}`]),
  };
}

const proveWords = ({ runtime }: Site) => [
  ...["prove", "--full", "--runtime=containerd", "-o", "json"],
  `--containerd-config=${join(runtime.folder, "config.toml")}`,
];

/** Runs a container from what kubelet's namespace has; gives what it says. */
async function say({ runtime }: Site, image: string): Promise<string> {
  const words = ["-a", runtime.socket, "-n", "k8s.io", "run", "--rm", image, `say-${Date.now()}`];
  const child = Bun.spawn(["ctr", ...words], { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return (await child.exited) === 0 ? out : err;
}

async function done(run: ReturnType<typeof dray>): Promise<void> {
  const { exitCode, err } = await run;
  expect(`${exitCode} ${exitCode === 0 ? "" : err}`).toBe("0 ");
}

describe.skipIf(!CAN_RUN)("a site whose uplink is gone", () => {
  test("runs what was delivered by its own names, proves it, and names the blob that is damaged", async () => {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await temporaryFolder()).path;
    const external = await startExternal(folder);
    const site = await openSite(folder, external.address, undo);
    await done(site.run(["deliver"]));
    await external[Symbol.asyncDispose]();

    undo.use(await site.serve());
    await done(site.run(["redirect", "containerd", `--config-dir=${site.runtime.certsDir}`]));
    for (const image of [NETWORK, SHOP, WEB]) {
      await site.cri.pull(image);
      expect(await say(site, image)).toBe(image);
    }

    const sound = await site.run(proveWords(site));
    const proof = JSON.parse(sound.out);
    expect(problemsOf(proof)).toEqual([]);
    expect(sound.exitCode).toBe(0);
    expect(proof.references).toHaveLength(4);
    const [, network] = proof.references;
    expect(network.redirection.asks[0]).toMatchObject({ role: "embedded" });
    expect(network.runtime.config).toStartWith("sha256:");
    const again = JSON.parse((await site.run(proveWords(site))).out);
    expect(again.digest).toBe(proof.digest);

    const { image, layer } = await damage(site, SHOP);
    const found = await site.run(proveWords(site));
    expect(found.exitCode).toBe(3);
    const broken = JSON.parse(found.out).references.filter((each: { ok: boolean }) => !each.ok);
    expect(broken.map((each: { declared: string }) => each.declared)).toEqual([image]);
    expect(broken[0].problems[0].message).toContain(layer);
    const verified = await dray(["verify", "-d", site.dataDir]);
    expect(verified.exitCode).toBe(3);
    expect(verified.out).toContain(layer);
    expect(verified.out).toContain(image);
  });

  test("with a private Harbor gives applications from it, infrastructure from the embedded registry, and Harbor's own from neither", async () => {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await temporaryFolder()).path;
    const harbor = undo.use(await startHarbor());
    const external = await startExternal(folder);
    const site = await openSite(folder, external.address, undo, { harbor, loads: true });
    await done(site.run(["deliver"]));
    await external[Symbol.asyncDispose]();
    undo.use(await site.serve());
    await done(site.run(["redirect", "containerd", `--config-dir=${site.runtime.certsDir}`]));

    const sound = await site.run(proveWords(site));
    expect(problemsOf(JSON.parse(sound.out))).toEqual([]);
    expect(sound.exitCode).toBe(0);

    // Harbor must come up before anything can be pulled from it: the runtime has its images already.
    expect(await say(site, HARBOR_CORE)).toBe(HARBOR_CORE);
    expect(harbor.requests.filter(({ path }) => path.includes("goharbor"))).toEqual([]);

    // As when kubelet has collected them.
    for (const image of [NETWORK, SHOP, WEB]) {
      await site.cri.remove(image);
      expect(await site.cri.status(image)).toBeUndefined();
    }
    const before = harbor.requests.length;
    for (const image of [SHOP, WEB]) {
      await site.cri.pull(image);
      expect(await say(site, image)).toBe(image);
    }
    const pulled = harbor.requests.slice(before).filter(({ method, status, path }) => {
      return method === "GET" && status === 200 && path.includes("/manifests/");
    });
    const repositories = pulled.map(({ path }) => /^\/v2\/(.+)\/manifests\//.exec(path)?.[1]);
    expect(new Set(repositories)).toEqual(
      new Set(["spectro-images/quay.io/shop/till", "spectro-images/docker.io/library/nginx"]),
    );

    await site.cri.pull(NETWORK);
    expect(await say(site, NETWORK)).toBe(NETWORK);
    const asked = harbor.requests.filter(({ path }) => path.includes("calico"));
    expect(asked.every(({ status }) => status >= 400)).toBe(true);
  });
});

interface ProofLike {
  readonly site: { readonly problems: readonly unknown[] };
  readonly references: readonly { readonly problems: readonly unknown[] }[];
}

function problemsOf({ site, references }: ProofLike): readonly unknown[] {
  return [...site.problems, ...references.flatMap(({ problems }) => problems)];
}

/** Turns one bit in the middle of a layer that this image alone has. */
async function damage({ dataDir }: Site, image: string) {
  const folder = join(dataDir, "blobs", "sha256");
  await using store = await openStore(dataDir, { clock: systemClock, readOnly: true });
  const root = await store.lookup(image);
  const manifest = await Bun.file(join(folder, root?.digest.slice(7) ?? "")).json();
  const layer: string = manifest.layers[1].digest;
  const file = join(folder, layer.slice(7));
  expect(await readdir(folder)).toContain(layer.slice(7));
  const bytes = await Bun.file(file).bytes();
  const { size } = await stat(file);
  const at = Math.floor(size / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(file, bytes);
  return { image, layer };
}
