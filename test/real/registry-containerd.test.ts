import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { type Containerd, hasContainerd, startContainerd } from "#test-support/containerd";
import { type CriImages, connectCri } from "#test-support/cri-images";
import { haveClients, runClient } from "#test-support/foreign-client";
import { PULLER, PUSHER, startGuardedRegistry } from "#test-support/guarded-registry";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import type { ServingProgram } from "#test-support/serving-program";

setDefaultTimeout(60_000);

const isRoot = process.getuid?.() === 0;
const CAN_RUN = hasContainerd && isRoot;
if (!hasContainerd) console.warn("containerd is not installed: its tests are left out");
else if (!isRoot) console.warn("containerd needs root: its tests are left out");

/** What was delivered; the second one is an index. */
const NAMES = ["docker.io/library/shop:1", "quay.io/cni/node:1", "quay.io/lab/many:1"];
const INDEX = "quay.io/cni/node:1";
const MISSING = "quay.io/nobody/has:1";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let registry: ServingProgram;
let runtime: Containerd;
let cri: CriImages;
const roots: Record<string, string> = {};

/** The embedded registry with TLS and users, and a containerd that looks at nothing but it. */
async function open(): Promise<AsyncDisposable> {
  await using undo = new AsyncDisposableStack();
  folder = undo.use(await temporaryFolder());
  {
    await using store = await openStore(join(folder.path, "data"), { clock: systemClock });
    for (const name of NAMES) {
      const platforms = name === INDEX ? ["linux/amd64", "linux/arm64"] : ["linux/amd64"];
      const image = { seed: name, platforms, layers: 3, layerBytes: 300_000 };
      roots[name] = (await buildImage(store, name, image)).digest;
    }
  }
  registry = undo.use(await startGuardedRegistry(folder.path));
  runtime = undo.use(await startContainerd());
  cri = undo.use(connectCri(runtime.socket));
  return undo.move();
}

let site: AsyncDisposable | undefined;
beforeAll(async () => {
  if (CAN_RUN) site = await open();
});
afterAll(() => site?.[Symbol.asyncDispose]());

/** Sends the requests for these hosts to the registry; with the password in the file, or without. */
async function mirror(hosts: readonly string[], { hasPassword = true } = {}): Promise<void> {
  const url = `https://${registry.address}`;
  const login = Buffer.from(`${PULLER.username}:${PULLER.password}`).toString("base64");
  for (const host of hosts) {
    await mkdir(join(runtime.certsDir, host), { recursive: true });
    const header = (table: string) =>
      hasPassword ? [`[${table}]`, `Authorization = "Basic ${login}"`] : [];
    const ca = `ca = ${JSON.stringify(testCertificates().caPath)}`;
    const key = `host.${JSON.stringify(url)}`;
    // It is the server too, so that nothing is asked elsewhere.
    const lines = [
      ...[`server = ${JSON.stringify(url)}`, ca, ...header("header")],
      ...[`[${key}]`, 'capabilities = ["pull", "resolve"]', ca, ...header(`${key}.header`)],
    ];
    await writeFile(join(runtime.certsDir, host, "hosts.toml"), `${lines.join("\n")}\n`);
  }
}

const HOSTS = ["docker.io", "quay.io"];

async function forget(names: readonly string[]): Promise<void> {
  await rm(runtime.certsDir, { recursive: true, force: true });
  for (const name of names) {
    await cri.remove(name);
    await runtime.ctr("images", "rm", "--sync", name).catch(() => undefined);
  }
}

/** What the runtime says that it has under a name. */
async function digestOf(name: string): Promise<string> {
  const [first = ""] = (await cri.status(name))?.repoDigests ?? [];
  return first.replace(/^.*@/, "");
}

describe.skipIf(!CAN_RUN)("containerd", () => {
  test("pulls by CRI through a mirror, with TLS and a password, all images at once", async () => {
    await forget(NAMES);
    await mirror(HOSTS);
    await Promise.all(NAMES.map((name) => cri.pull(name)));
    for (const name of NAMES) expect(await digestOf(name)).toBe(roots[name] ?? "");
  });

  test("pulls by CRI by digest, and by tag and digest together", async () => {
    await forget(NAMES);
    await mirror(HOSTS);
    const pinned = `quay.io/lab/many@${roots["quay.io/lab/many:1"]}`;
    await cri.pull(pinned);
    expect(await digestOf(pinned)).toBe(roots["quay.io/lab/many:1"] ?? "");
    await cri.remove(pinned);
    await cri.pull(`quay.io/cni/node:1@${roots[INDEX]}`);
    expect(await digestOf(`quay.io/cni/node@${roots[INDEX]}`)).toBe(roots[INDEX] ?? "");
    await cri.remove(`quay.io/cni/node@${roots[INDEX]}`);
  });

  test("pulls by CRI with the password that a pod's pull secret brings, and not without it", async () => {
    await forget(NAMES);
    await mirror(HOSTS, { hasPassword: false });
    const [name = ""] = NAMES;
    await expect(cri.pull(name)).rejects.toThrow(/401|unauthorized|authorization failed/i);
    await cri.pull(name, PULLER);
    expect(await digestOf(name)).toBe(roots[name] ?? "");
  });

  test("is told at once that an image is not here, and pulls the next", async () => {
    await forget(NAMES);
    await mirror(HOSTS);
    await expect(cri.pull(MISSING)).rejects.toThrow(/not found/i);
    await cri.pull(INDEX);
    expect(await digestOf(INDEX)).toBe(roots[INDEX] ?? "");
  });

  test("pulls by ctr, with a user of its own", async () => {
    await forget(NAMES);
    await mirror(HOSTS, { hasPassword: false });
    const user = `${PULLER.username}:${PULLER.password}`;
    const hosts = ["--hosts-dir", runtime.certsDir, "--user", user];
    for (const name of NAMES) {
      await runtime.ctr("images", "pull", ...hosts, name);
      expect(await runtime.ctr("images", "ls", `name==${name}`)).toContain(roots[name] ?? "none");
    }
  });

  test.skipIf(!haveClients("skopeo"))(
    "pulls by the registry's own address what was pushed there, and pushes it back",
    async () => {
      await forget([]);
      await mirror([registry.address], { hasPassword: false });
      await writeFile(join(folder.path, "ca.crt"), testCertificates().ca);
      const creds = `--dest-creds=${PUSHER.username}:${PUSHER.password}`;
      const from = `--src-creds=${PULLER.username}:${PULLER.password}`;
      const name = `${registry.address}/team/many:1`;
      await runClient(folder.path, [
        ...["skopeo", "--insecure-policy", "copy", creds, from],
        ...[`--src-cert-dir=${folder.path}`, `--dest-cert-dir=${folder.path}`],
        ...[`docker://${registry.address}/quay.io/lab/many:1`, `docker://${name}`],
      ]);
      await cri.pull(name, PULLER);
      expect(await digestOf(name)).toBe(roots["quay.io/lab/many:1"] ?? "");
      const user = `${PUSHER.username}:${PUSHER.password}`;
      const hosts = ["--hosts-dir", runtime.certsDir, "--user", user];
      await runtime.ctr("images", "pull", ...hosts, name);
      const pushed = `${registry.address}/team/from-containerd:1`;
      await runtime.ctr("images", "tag", name, pushed);
      const push = ["--hosts-dir", runtime.certsDir, "--user", user, "--platform", "linux/amd64"];
      await mirrorForPushes();
      await runtime.ctr("images", "push", ...push, pushed);
      const verified = await dray(["verify", `--data-dir=${join(folder.path, "data")}`]);
      expect(verified).toMatchObject({ exitCode: 0 });
    },
  );
});

/** As `ctr images push` needs it. */
async function mirrorForPushes(): Promise<void> {
  const file = join(runtime.certsDir, registry.address, "hosts.toml");
  const text = await Bun.file(file).text();
  await writeFile(file, text.replace('"resolve"]', '"resolve", "push"]'));
}
