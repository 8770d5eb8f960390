import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { type Containerd, hasContainerd, startContainerd } from "#test-support/containerd";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "#test-support/docker-registry";
import { buildImage } from "#test-support/images";
import { app, type ClusterSketch, OS, writeCluster } from "#test-support/plan-inputs";
import { dray } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const isRoot = process.getuid?.() === 0;
const CAN_RUN = hasContainerd && isRoot;
if (!hasContainerd) console.warn("containerd is not installed: its tests are left out");
else if (!isRoot) console.warn("containerd needs root: its tests are left out");

const APPLICATIONS = ["docker.io/library/x:1", "quay.io/a/b:1", "registry.example.com:5000/c:1"];
const NETWORK = "quay.io/cni/node:1";
/** In no profile: a mirror with a path in front finds it as `quay.io/lab/y:1`. */
const ELSEWHERE = "quay.io/elsewhere/lab/y:1";
const LOGIN = { username: "node", password: 'pa"ss word' };

let folder: string;
let embedded: ServingProgram;
let runtime: Containerd;
/** Root digests of what the embedded registry serves, by name. */
const roots: Record<string, string> = {};

/** The embedded registry with TLS of an authority of its own and a password, and a containerd. */
async function open(): Promise<AsyncDisposable> {
  await using undo = new AsyncDisposableStack();
  folder = await mkdtemp(join(tmpdir(), "drayage-redirect-"));
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  {
    await using store = await openStore(join(folder, "data"), { clock: systemClock });
    for (const name of [...APPLICATIONS, NETWORK, ELSEWHERE]) {
      roots[name] = (await buildImage(store, name, { seed: name })).digest;
    }
  }
  const { server } = testCertificates();
  const hash = await Bun.password.hash(LOGIN.password, { algorithm: "bcrypt", cost: 4 });
  await writeFile(join(folder, "users"), `${LOGIN.username}:${hash}\n`);
  await writeFile(join(folder, "password"), `${LOGIN.password}\n`);
  const tls = [`--tls-cert=${server.certificatePath}`, `--tls-key=${server.keyPath}`];
  const users = [`--htpasswd=${join(folder, "users")}`, "--access-log"];
  embedded = undo.use(await startRegistryProgram(join(folder, "data"), [...tls, ...users]));
  runtime = undo.use(await startContainerd());
  return undo.move();
}

let site: AsyncDisposable | undefined;
beforeAll(async () => {
  if (CAN_RUN) site = await open();
});
afterAll(() => site?.[Symbol.asyncDispose]());

/** Writes the mirrors of a cluster into a folder, as a person would. */
async function redirect(
  kind: "containerd" | "k3s",
  sketch: ClusterSketch,
  configDir: string,
  ...more: readonly string[]
): Promise<string> {
  const { names, files } = writeCluster(sketch);
  const place = await mkdtemp(join(folder, "cluster-"));
  for (const name of [...names.profiles, ...(names.site === undefined ? [] : [names.site])]) {
    await writeFile(join(place, name), files.read(name) as Uint8Array);
  }
  const { out, err, exitCode } = await dray([
    ...["redirect", kind, `--profile=${join(place, "store.json")}`],
    ...(names.site === undefined ? [] : [`--site=${join(place, "site.yaml")}`]),
    ...[`--config-dir=${configDir}`, `--embedded=https://${embedded.address}`],
    ...[`--embedded-ca=${testCertificates().caPath}`, `--embedded-user=${LOGIN.username}`],
    ...[`--embedded-password-file=${join(folder, "password")}`, ...more],
  ]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  return out;
}

const CLUSTER: ClusterSketch = {
  packs: [OS, { name: "cni", layer: "cni", images: [NETWORK] }, app("apps", ...APPLICATIONS)],
};

/** Pulls with nothing of an earlier pull in the way. */
async function pulled(name: string): Promise<string> {
  await runtime.pull(name);
  const line = await runtime.ctr("images", "ls", `name==${name}`);
  await runtime.ctr("images", "rm", "--sync", name);
  return /sha256:[0-9a-f]{64}/.exec(line)?.[0] ?? "";
}

async function emptyCerts(): Promise<void> {
  await rm(runtime.certsDir, { recursive: true, force: true });
  await mkdir(runtime.certsDir);
}

describe.skipIf(!CAN_RUN)("containerd", () => {
  test("pulls every image by its own name from the embedded registry alone, with TLS and a password", async () => {
    await emptyCerts();
    await redirect("containerd", CLUSTER, runtime.certsDir);
    for (const name of [...APPLICATIONS, NETWORK])
      expect(await pulled(name)).toBe(roots[name] ?? "");
    const { mode } = await stat(join(runtime.certsDir, "quay.io", "hosts.toml"));
    expect(mode & 0o777).toBe(0o600);
  });

  test("finds a host with a port in the folder that a person made for it", async () => {
    await emptyCerts();
    const own = join(runtime.certsDir, "registry.example.com_5000_");
    await mkdir(own);
    await writeFile(join(own, "hosts.toml"), 'server = "https://127.0.0.1:1"\n');
    await redirect("containerd", CLUSTER, runtime.certsDir);
    const [, , name = ""] = APPLICATIONS;
    expect(await pulled(name)).toBe(roots[name] ?? "");
  });

  test("goes on to what a person wrote for images that the site does not have", async () => {
    await emptyCerts();
    const own = join(runtime.certsDir, "quay.io");
    await mkdir(own);
    // A mirror of the person's, with a path of its own.
    const theirs = `server = "https://127.0.0.1:1"\n\n# of the lab\n[host."https://${embedded.address}/v2/elsewhere"]\n  override_path = true\n  capabilities = ["pull", "resolve"]\n  ca = "${testCertificates().caPath}"\n  [host."https://${embedded.address}/v2/elsewhere".header]\n    Authorization = "Basic ${Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString("base64")}"\n`;
    await writeFile(join(own, "hosts.toml"), theirs);
    await redirect("containerd", CLUSTER, runtime.certsDir);
    expect(await pulled("quay.io/a/b:1")).toBe(roots["quay.io/a/b:1"] ?? "");
    expect(await pulled("quay.io/lab/y:1")).toBe(roots[ELSEWHERE] ?? "");
    await redirect("containerd", CLUSTER, runtime.certsDir, "--remove");
    expect(await Bun.file(join(own, "hosts.toml")).text()).toBe(theirs);
    await expect(runtime.pull("quay.io/a/b:1")).rejects.toThrow();
  });

  test("pulls by what k3s makes of registries.yaml", async () => {
    await emptyCerts();
    const configDir = join(folder, "k3s");
    await redirect("k3s", CLUSTER, configDir);
    await writeK3sHosts(join(configDir, "registries.yaml"), runtime.certsDir);
    for (const name of APPLICATIONS) expect(await pulled(name)).toBe(roots[name] ?? "");
  });
});

describe.skipIf(!CAN_RUN || !hasDockerRegistry || Bun.which("skopeo") === null)(
  "containerd, with a local registry that asks for a password",
  () => {
    let local: DockerRegistry;
    /** What the local registry has under the name of `quay.io/a/b:1`: another image, to tell them apart. */
    let uploaded = "";

    beforeAll(async () => {
      local = await startDockerRegistry({ htpasswd: LOGIN, tls: testCertificates().server });
      const layout = join(folder, "uploaded");
      {
        await using store = await openStore(layout, { clock: systemClock });
        uploaded = (await buildImage(store, "b:1", { seed: "uploaded" })).digest;
      }
      const to = `docker://${local.address}/spectro-images/quay.io/a/b:1`;
      const creds = `--dest-creds=${LOGIN.username}:${LOGIN.password}`;
      const copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", creds];
      const child = Bun.spawn([...copy, `oci:${layout}:b:1`, to], { stderr: "pipe" });
      const problem = await new Response(child.stderr).text();
      if ((await child.exited) !== 0) throw new Error(problem);
    });
    afterAll(() => local?.[Symbol.asyncDispose]());

    const cluster = ({ address }: DockerRegistry): ClusterSketch => ({
      ...CLUSTER,
      site: {
        localRegistry: {
          kind: "oci",
          address,
          caFile: testCertificates().caPath,
          nodes: { username: LOGIN.username, passwordFile: join(folder, "password") },
        },
      },
    });

    test("takes application images from there, and what it lacks from the embedded one", async () => {
      await emptyCerts();
      await redirect("containerd", cluster(local), runtime.certsDir);
      expect(await pulled("quay.io/a/b:1")).toBe(uploaded);
      // Of the same host, so it is asked for at the local registry first.
      expect(await pulled(NETWORK)).toBe(roots[NETWORK] ?? "");
      const log = (await local.accessLog()).join("\n");
      expect(log).toMatch(/\/v2\/spectro-images\/quay\.io\/cni\/node\/manifests\/1\S* \S+ 404/);
    });

    test("takes all from the embedded one when the local registry is down", async () => {
      const gone = await startDockerRegistry({ tls: testCertificates().server });
      await gone[Symbol.asyncDispose]();
      await emptyCerts();
      await redirect("containerd", cluster(gone), runtime.certsDir);
      expect(await pulled("quay.io/a/b:1")).toBe(roots["quay.io/a/b:1"] ?? "");
    });

    // containerd 1.6 does not give the header of hosts.toml to a token service; 2.x does.
    test("takes all from the embedded one when the local registry does not let it in", async () => {
      await using tokens = await startDockerRegistry({
        token: LOGIN,
        tls: testCertificates().server,
      });
      await emptyCerts();
      await redirect("containerd", cluster(tokens), runtime.certsDir);
      expect(await pulled("quay.io/a/b:1")).toBe(roots["quay.io/a/b:1"] ?? "");
      expect((await tokens.accessLog()).join("\n")).toMatch(/manifests\/1\S* \S+ 401/);
    });
  },
);

interface K3sRegistries {
  readonly mirrors: Record<string, { readonly endpoint: readonly string[] }>;
  readonly configs: Record<
    string,
    { readonly auth?: Record<string, string>; readonly tls?: { readonly ca_file?: string } }
  >;
}

/**
 * What k3s makes of its file for containerd (k3s, pkg/agent/templates: `HostsTomlTemplate`). Its
 * containerd gets logins by the CRI plugin's settings; `ctr` knows a header alone.
 */
async function writeK3sHosts(file: string, certsDir: string): Promise<void> {
  const { mirrors, configs } = Bun.YAML.parse(await Bun.file(file).text()) as K3sRegistries;
  for (const [host, { endpoint }] of Object.entries(mirrors)) {
    const server = host === "docker.io" ? "registry-1.docker.io" : host;
    const hosts = endpoint.map((url) => {
      const { host: address, pathname } = new URL(url);
      const { auth, tls } = configs[address] ?? {};
      const isBare = ["", "/", "/v2"].includes(pathname);
      const key = `host.${JSON.stringify(isBare ? `${new URL(url).origin}/v2` : url)}`;
      const login = Buffer.from(`${auth?.["username"]}:${auth?.["password"]}`).toString("base64");
      return [
        `[${key}]`,
        '  capabilities = ["pull", "resolve"]',
        ...(isBare ? [] : ["  override_path = true"]),
        ...(tls?.ca_file === undefined ? [] : [`  ca = [${JSON.stringify(tls.ca_file)}]`]),
        ...(auth === undefined ? [] : [`  [${key}.header]`, `  Authorization = "Basic ${login}"`]),
      ].join("\n");
    });
    await mkdir(join(certsDir, host), { recursive: true });
    const head = `# File generated by k3s. DO NOT EDIT.\n\nserver = "https://${server}/v2"\n`;
    await writeFile(join(certsDir, host, "hosts.toml"), `${head}${hosts.join("\n")}\n`);
  }
}
