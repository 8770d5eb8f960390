import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { OCI_INDEX, OCI_MANIFEST } from "#oci";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "#test-support/docker-registry";
import { type Harbor, startHarbor } from "#test-support/harbor";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const LOGIN = { username: "pusher", password: "local-canary" };
const PROJECT = "spectro-images";
const PLATFORMS = ["linux/amd64", "linux/arm64"];

interface Content {
  readonly digest: string;
}

interface Site extends AsyncDisposable {
  readonly source: LoopbackRegistry;
  readonly args: readonly string[];
  /** Names at the local registry of what is to be there. */
  readonly shop: string;
  readonly till: string;
  readonly password: string;
}

/** A site with one image of each kind, and a local registry at an address. */
async function openSite(
  address: string,
  {
    localRegistry = {},
    platforms = PLATFORMS,
  }: { localRegistry?: object; platforms?: readonly string[] } = {},
): Promise<Site> {
  const folder = await temporaryFolder();
  const common = { platforms: [...platforms], layers: 3, layerBytes: 40_000, sharedBase: "base" };
  const source = await startLoopbackRegistry(join(folder.path, "source"), {
    images: {
      "os/core:v1": { seed: "os" },
      "cni/agent:v1": { seed: "cni" },
      "apps/shop:v1": { ...common, seed: "shop" },
      "apps/till:v2": { ...common, seed: "till" },
    },
  });
  const image = (name: string) => `${source.address}/${name}`;
  // A port can be no part of a repository's name.
  const there = (name: string) => `${PROJECT}/${image(name).replace(":", "_")}`;
  const pack = (name: string, layer: string, ...images: readonly string[]) => ({
    name,
    layer,
    values: JSON.stringify({
      pack: { content: { images: images.map((each) => ({ image: image(each) })) } },
      ...(layer === "os" ? { options: { "system.uri": image("os/core:v1") } } : {}),
    }),
  });
  const packs = [
    pack("edge-native-byoi", "os", "os/core:v1"),
    pack("cni", "cni", "cni/agent:v1"),
    pack("apps", "addon", "apps/shop:v1", "apps/till:v2"),
  ];
  const path = (name: string) => join(folder.path, name);
  const profile = { metadata: { name: "edge" }, spec: { template: { packs } } };
  await writeFile(path("profile.json"), JSON.stringify(profile));
  await writeFile(path("password"), `${LOGIN.password}\n`, { mode: 0o600 });
  const local = {
    ...{ kind: "oci", address, username: LOGIN.username, passwordFile: "password" },
    ...localRegistry,
  };
  await writeFile(
    path("site.yaml"),
    JSON.stringify({ apiVersion: "drayage/v1", kind: "Site", localRegistry: local }),
  );
  return {
    source,
    args: [
      ...["deliver", `--profile=${path("profile.json")}`, `--site=${path("site.yaml")}`],
      ...[`--data-dir=${path("store")}`, "--platform=linux/amd64"],
    ],
    shop: there("apps/shop"),
    till: there("apps/till"),
    password: path("password"),
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const AUTHORIZATION = `Basic ${btoa(`${LOGIN.username}:${LOGIN.password}`)}`;

async function ask(registry: Pick<DockerRegistry, "address">, path: string) {
  return fetch(`http://${registry.address}/v2/${path}`, {
    headers: { authorization: AUTHORIZATION, accept: `${OCI_INDEX}, ${OCI_MANIFEST}` },
  });
}

async function digestOf(registry: Pick<DockerRegistry, "address">, path: string) {
  const answer = await ask(registry, path);
  await answer.body?.cancel();
  return answer.headers.get("docker-content-digest");
}

/** The requests that sent something, from its log. */
async function writes(registry: DockerRegistry): Promise<readonly string[]> {
  return (await registry.accessLog()).filter((line) => /"(?:PUT|POST|PATCH) /.test(line));
}

describe.skipIf(!hasDockerRegistry)("with a docker-registry that asks for a password", () => {
  test("exactly the application images are uploaded, and a second run sends nothing", async () => {
    await using registry = await startDockerRegistry({ htpasswd: LOGIN });
    await using site = await openSite(registry.address);
    const run = await dray(site.args);
    expect(run.err).not.toContain(LOGIN.password);
    expect(run.out).toContain(`2 images for the local registry ${registry.address}: 2 uploaded`);
    expect(run.exitCode).toBe(0);
    const catalog = await (await ask(registry, "_catalog")).json();
    expect(catalog).toEqual({ repositories: [site.shop, site.till] });

    const before = await writes(registry);
    expect(before.length).toBeGreaterThan(0);
    const again = await dray(site.args);
    expect(again.exitCode).toBe(0);
    expect(again.out).toContain("0 uploaded, 2 there already, 0 B sent");
    expect(await writes(registry)).toEqual(before);
  });

  test("the one platform is pushed where the index is refused, and what that means is said", async () => {
    await using registry = await startDockerRegistry({ htpasswd: LOGIN });
    await using site = await openSite(registry.address);
    const run = await dray([...site.args, "-o", "json"]);
    expect(run.exitCode).toBe(0);
    const events = run.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const { uploads, warnings } = events.at(-1).summary;
    expect(uploads.onePlatform).toHaveLength(2);
    const there = await digestOf(registry, `${site.shop}/manifests/v1`);
    const index = await digestOf(site.source, "apps/shop/manifests/v1");
    expect(there).not.toBe(index);
    expect(JSON.stringify(warnings)).toContain(there ?? "-");
    const manifest = await (await ask(registry, `${site.shop}/manifests/v1`)).json();
    const { config, layers } = manifest as { config: Content; layers: readonly Content[] };
    for (const { digest } of [config, ...layers]) {
      expect((await ask(registry, `${site.shop}/blobs/${digest}`)).status).toBe(200);
    }
  });

  test("the index is pushed whole, its digest intact, where the site wants that", async () => {
    await using registry = await startDockerRegistry({ htpasswd: LOGIN });
    await using site = await openSite(registry.address, { localRegistry: { indexes: "complete" } });
    const run = await dray(site.args);
    expect(run.exitCode).toBe(0);
    for (const [there, source] of [
      [`${site.shop}/manifests/v1`, "apps/shop/manifests/v1"],
      [`${site.till}/manifests/v2`, "apps/till/manifests/v2"],
    ] as const) {
      const digest = await digestOf(site.source, source);
      expect(digest).not.toBeNull();
      expect(await digestOf(registry, there)).toBe(digest);
    }
  });

  test("a wrong password fails the uploads with its place, and the fetch is done", async () => {
    await using registry = await startDockerRegistry({ htpasswd: LOGIN });
    await using site = await openSite(registry.address);
    await writeFile(site.password, "wrong-canary\n");
    const run = await dray(site.args);
    expect(run.exitCode).toBe(1);
    expect(run.out).toContain("registry-unauthorized");
    expect(run.out).toContain("site:localRegistry");
    expect(run.out + run.err).not.toContain("wrong-canary");
    expect(run.out).toContain("0 uploaded, 0 there already, 2 not attempted");
    await writeFile(site.password, `${LOGIN.password}\n`);
    const next = await dray(site.args);
    expect(next.exitCode).toBe(0);
    expect(next.out).toContain("0 B moved");
    expect(next.out).toContain("2 uploaded");
  });
});

describe("with a Harbor", () => {
  const local = ({ caFile }: Harbor) => ({ kind: "harbor", username: "admin", caFile });

  test("the project and the robots are made, the images are pushed by the robot, and that once", async () => {
    await using harbor = await startHarbor({ adminPassword: LOGIN.password });
    await using site = await openSite(harbor.address, { localRegistry: local(harbor) });
    const run = await dray(site.args);
    expect(run.out).toContain(`2 images for the local registry ${harbor.address}: 2 uploaded`);
    expect(run.exitCode).toBe(0);
    expect(harbor.projects().map(({ name, isPublic }) => [name, isPublic])).toContainEqual([
      PROJECT,
      false,
    ]);
    expect(harbor.robots().length).toBeGreaterThan(0);
    const pushes = () => harbor.requests.filter(({ method, path }) => isPush(method, path));
    const before = pushes().length;
    expect(before).toBeGreaterThan(0);
    expect((await dray(site.args)).out).toContain("0 uploaded, 2 there already, 0 B sent");
    expect(pushes()).toHaveLength(before);
  });

  test("a quota that can't hold the images is named before anything is pushed", async () => {
    await using harbor = await startHarbor({ adminPassword: LOGIN.password });
    harbor.createProject(PROJECT);
    harbor.setQuota(PROJECT, 10_000);
    await using site = await openSite(harbor.address, { localRegistry: local(harbor) });
    const run = await dray(site.args);
    expect(run.exitCode).toBe(1);
    expect(run.out).toContain("registry-full");
    expect(run.out).toContain("4 images");
    harbor.setQuota(PROJECT, null);
    expect((await dray(site.args)).out).toContain("2 uploaded");
  });

  test("a quota that is full of these very images is no obstacle", async () => {
    await using harbor = await startHarbor({ adminPassword: LOGIN.password });
    await using site = await openSite(harbor.address, { localRegistry: local(harbor) });
    await dray(site.args);
    const used = harbor.projects().find(({ name }) => name === PROJECT)?.usedBytes ?? 0;
    expect(used).toBeGreaterThan(0);
    harbor.setQuota(PROJECT, used);
    const run = await dray(site.args);
    expect(run.out).toContain("0 uploaded, 2 there already, 0 B sent");
    expect(run.err).not.toContain("quota");
    expect(run.exitCode).toBe(0);
  });
});

function isPush(method: string, path: string): boolean {
  return path.startsWith("/v2/") && ["PUT", "POST", "PATCH"].includes(method);
}

test("a local registry that is not up is asked once with --wait-for-local=0, and all else is done", async () => {
  await using site = await openSite("127.0.0.1:9");
  const run = await dray([...site.args, "--wait-for-local=0"]);
  expect(run.exitCode).toBe(1);
  expect(run.out).toContain("4 images");
  expect(run.out).toContain("local-registry-unreachable");
  expect(run.out).toContain("127.0.0.1:9");
});

test("a local registry that comes up while it is waited for gets its images", async () => {
  const folder = await temporaryFolder();
  await using undo = new AsyncDisposableStack();
  undo.use(folder);
  // A port that is free again: nobody answers there until the registry is started on it.
  const probe = await startLoopbackRegistry(join(folder.path, "probe"), { images: {} });
  const { address } = probe;
  await probe[Symbol.asyncDispose]();
  const site = undo.use(await openSite(address, { platforms: ["linux/amd64"] }));
  const running = startDray([...site.args, "--wait-for-local=5m"]);
  const told = await readUntil(running.stderr, `waiting: the local registry ${address}`);
  expect(told).toContain("waiting:");
  const hash = await Bun.password.hash(LOGIN.password, { algorithm: "bcrypt", cost: 4 });
  const htpasswd = join(folder.path, "htpasswd");
  await writeFile(htpasswd, `${LOGIN.username}:${hash}\n`, { mode: 0o600 });
  const words = ["registry", "serve", `--listen=${address}`, `--htpasswd=${htpasswd}`];
  const server = startDray([...words, `--data-dir=${join(folder.path, "local")}`]);
  undo.defer(async () => {
    server.kill();
    await server.exited;
  });
  const [out, exitCode] = await Promise.all([new Response(running.stdout).text(), running.exited]);
  expect(out).toContain("2 uploaded");
  expect(exitCode).toBe(0);
  expect(await digestOf({ address }, `${site.shop}/manifests/v1`)).toBe(
    await digestOf(site.source, "apps/shop/manifests/v1"),
  );
});

test("the embedded registry as the local one has the images by their being in the store", async () => {
  await using site = await openSite("127.0.0.1:5055", {
    localRegistry: { kind: "embedded", username: undefined, passwordFile: undefined },
  });
  const run = await dray(site.args);
  expect(run.exitCode).toBe(0);
  expect(run.out).toContain("2 images for the local registry 127.0.0.1:5055: 2 uploaded");
  expect(run.out).toContain("0 B sent");
});

/** Reads on in the background until the end, so that the program is never held up. */
async function readUntil(stream: ReadableStream<Uint8Array>, text: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const decoder = new TextDecoder();
  let all = "";
  (async () => {
    for await (const chunk of stream) {
      all += decoder.decode(chunk, { stream: true });
      if (all.includes(text)) resolve(all);
    }
    reject(new Error(`It ended, and never said ${text}: ${all}`));
  })().catch(reject);
  return promise;
}
