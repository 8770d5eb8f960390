import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { type DockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { PUSHER, startGuardedRegistry } from "#test-support/guarded-registry";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";

setDefaultTimeout(60_000);

const CAN_RUN = haveClients("docker-registry", "skopeo");

/** Everything that differs: one manifest, an index of three platforms, Docker's media types. */
const IMAGES = {
  "single:v1": {},
  "multi:v1": { platforms: ["linux/amd64", "linux/arm64", "linux/arm/v7"] },
  "docker:v1": { platforms: ["linux/amd64", "linux/arm64"], docker: true },
} as const;

const PEER_LOGIN = { username: "peer", password: "peer" };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let ours: ServingProgram;
let peer: DockerRegistry;
const roots: Record<string, string> = {};

/** Both with TLS and users, and ours with images. */
async function open(): Promise<void> {
  folder = await temporaryFolder();
  {
    await using store = await openStore(join(folder.path, "data"), { clock: systemClock });
    for (const [name, options] of Object.entries(IMAGES)) {
      roots[name] = (await buildImage(store, `quay.io/${name}`, { seed: name, ...options })).digest;
    }
  }
  ours = await startGuardedRegistry(folder.path);
  peer = await startDockerRegistry({ htpasswd: PEER_LOGIN, tls: testCertificates().server });
  const logins = [
    [ours.address, PUSHER],
    [peer.address, PEER_LOGIN],
  ] as const;
  const auths = logins.map(([address, { username, password }]) => {
    return [address, { auth: Buffer.from(`${username}:${password}`).toString("base64") }];
  });
  await writeFile(
    join(folder.path, "auth.json"),
    JSON.stringify({ auths: Object.fromEntries(auths) }),
  );
  await writeFile(join(folder.path, "ca.crt"), testCertificates().ca);
}

beforeAll(async () => {
  if (CAN_RUN) await open();
});
afterAll(async () => {
  await peer?.[Symbol.asyncDispose]();
  await ours?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

const certs = (side: "src" | "dest") => `--${side}-cert-dir=${folder.path}`;

function skopeo(...words: readonly string[]): Promise<string> {
  const auth = `--authfile=${join(folder.path, "auth.json")}`;
  const [verb = "", ...rest] = words;
  return runClient(folder.path, ["skopeo", "--insecure-policy", verb, auth, ...rest]);
}

async function rootAt(reference: string): Promise<string> {
  const raw = ["inspect", "--raw", `--cert-dir=${folder.path}`, `docker://${reference}`];
  const text = await skopeo(...raw);
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

describe.skipIf(!CAN_RUN)("docker-registry as a peer", () => {
  test("gets every platform of what we serve, and gives it back unchanged, by skopeo copy", async () => {
    for (const name of Object.keys(IMAGES)) {
      const copy = ["copy", "--all", certs("src"), certs("dest")];
      const there = `${peer.address}/from-us/${name}`;
      await skopeo(...copy, `docker://${ours.address}/quay.io/${name}`, `docker://${there}`);
      expect(await rootAt(there)).toBe(roots[name] ?? "");
      const back = `${ours.address}/back/${name}`;
      await skopeo(...copy, `docker://${there}`, `docker://${back}`);
      expect(await rootAt(back)).toBe(roots[name] ?? "");
    }
    const verified = await dray(["verify", `--data-dir=${join(folder.path, "data")}`]);
    expect(verified).toMatchObject({ exitCode: 0 });
  });

  test("is synchronised with, both ways, by skopeo sync", async () => {
    const sync = ["sync", "--all", "--src=docker", "--dest=docker", certs("src"), certs("dest")];
    for (const name of Object.keys(IMAGES)) {
      await skopeo(...sync, `${ours.address}/quay.io/${name}`, `${peer.address}/synced`);
      expect(await rootAt(`${peer.address}/synced/${name}`)).toBe(roots[name] ?? "");
      await skopeo(...sync, `${peer.address}/synced/${name}`, `${ours.address}/synced-back`);
      expect(await rootAt(`${ours.address}/synced-back/${name}`)).toBe(roots[name] ?? "");
    }
  });

  // Its proxy gives a password to token services alone, so it is let in without one.
  test("caches what it pulls through from us, as it does of Docker Hub", async () => {
    await using open = await startRegistryProgram(join(folder.path, "data"), ["--read-only"]);
    await using cache = await startDockerRegistry({ proxyOf: `http://${open.address}` });
    for (const name of Object.keys(IMAGES)) {
      const copy = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"];
      const to = `dir:${join(folder.path, name)}`;
      await runClient(folder.path, [...copy, `docker://${cache.address}/quay.io/${name}`, to]);
      const raw = await readFile(join(folder.path, name, "manifest.json"));
      expect(`sha256:${createHash("sha256").update(raw).digest("hex")}`).toBe(roots[name] ?? "");
    }
  });
});
