import { createHash } from "node:crypto";
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AgentFollower, followAgent } from "#test-support/agent-follower";
import { freePort } from "#test-support/docker-registry";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { temporaryFolder } from "#test-support/program";
import { type RunningAgent, startAgentProgram } from "#test-support/running-agent";
import { mountSmallDisk, type SmallDisk } from "#test-support/small-disk";
import { GOOD_LINK, openResettingLink, type ResettingLink } from "./resetting-link.ts";

const MIB = 1024 * 1024;

/** Room for all versions of all images, and some more. */
const DISK_MIB = 96;

/** By what the upstream registry has them as; layers are what takes time on a slow link. */
const UPSTREAM_IMAGES = {
  "mirror/core:v1": { seed: "core 1", layerBytes: MIB },
  "mirror/core:v2": { seed: "core 2", layerBytes: 2 * MIB },
  "mirror/till:v1": { seed: "till 1", layerBytes: MIB },
  "mirror/till:v2": { seed: "till 2", layerBytes: 4 * MIB },
  "mirror/shelf:v1": { seed: "shelf 1", layerBytes: 4 * MIB },
};

/** What a version of the profile declares. */
export interface DayProfile {
  readonly core: string;
  readonly apps: readonly string[];
}

/** A site with an agent, behind a link that has its days. */
export interface DaySite extends AsyncDisposable {
  readonly upstream: LoopbackRegistry;
  /** The only way to it. */
  readonly link: ResettingLink;
  readonly dataDir: string;
  /** Of the data folder; undefined where this user may not mount one. */
  readonly disk: SmallDisk | undefined;
  /** What `dray` is given to know the site by. */
  readonly args: readonly string[];
  writeProfile(profile: DayProfile): Promise<void>;
  /** The site's half of the password. */
  writePassword(password: string): Promise<void>;
  /** While it is held, the program that is given the provider image does not come to an end. */
  holdHandOver(isHeld: boolean): Promise<void>;
  startAgent(): Promise<DayAgent>;
  /** Pulls from the embedded registry as containerd does by a mirror; gives the digest of the manifest. */
  pull(declared: string): Promise<string>;
}

/** An agent at work, and what it tells. */
export interface DayAgent extends AsyncDisposable, RunningAgent {
  readonly follower: AgentFollower;
  /** As a power cut does. Processes that it started are ended with it: they are given as groups. */
  cutPower(...groups: readonly number[]): Promise<void>;
}

/** Who may pull from the external registry. */
export const LOGIN = { username: "edge", password: "first-password" };

/** Makes the registry, the link, which is cut, and the site's files. */
export async function openDaySite(): Promise<DaySite> {
  await using undo = new AsyncDisposableStack();
  const { path: folder } = undo.use(await temporaryFolder());
  const upstream = undo.use(
    await startLoopbackRegistry(join(folder, "upstream"), {
      images: UPSTREAM_IMAGES,
      login: LOGIN,
    }),
  );
  const link = undo.use(await openResettingLink(upstream.address, GOOD_LINK));
  await link.cut();
  const disk = await mountSmallDisk(DISK_MIB);
  if (disk !== undefined) undo.use(disk);
  const embedded = `127.0.0.1:${await freePort()}`;
  const path = (name: string) => join(folder, name);
  const exchange = async (file: string, text: string) => {
    await writeFile(`${file}.draft`, text);
    await rename(`${file}.draft`, file);
  };
  const writePassword = (password: string) =>
    exchange(path("user-data.yaml"), userData(link.address, password));
  await writePassword(LOGIN.password);
  await writeFile(path("hand-over"), HAND_OVER);
  await chmod(path("hand-over"), 0o755);
  await mkdir(path("profiles"));
  await writeFile(path("site.yaml"), siteFile(embedded, path("hand-over")));
  const dataDir = disk === undefined ? path("store") : join(disk.path, "store");
  const args = ["--site", path("site.yaml"), "--data-dir", dataDir];
  const stack = undo.move();
  return {
    ...{ upstream, link, dataDir, disk, args, writePassword },
    writeProfile: (profile) => exchange(path("profiles/site.yaml"), profileText(profile)),
    holdHandOver: (isHeld) =>
      isHeld ? writeFile(path("hand-over.held"), "") : rm(path("hand-over.held")),
    startAgent: () => startDayAgent(path("site.yaml"), dataDir),
    pull: (declared) => pullByMirror(embedded, declared),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Says what it was given and who it is; while it is held it goes on for longer than any test. */
const HAND_OVER = `#!/bin/sh
echo "group $$ was given $1"
if [ -e "$0.held" ]; then sleep 3600; fi
`;

function siteFile(embedded: string, handOver: string): string {
  return `apiVersion: drayage/v1
kind: Site
profiles: [profiles]
userData: user-data.yaml
platform: linux/amd64
registry: { listen: "${embedded}" }
agent: { activation: manual }
provider: { handOver: { form: reference, command: ["${handOver}", "{reference}"] } }
`;
}

function userData(registry: string, password: string): string {
  return `#cloud-config
stylus:
  registryCredentials:
    domain: ${registry}/mirror
    username: ${LOGIN.username}
    password: ${password}
`;
}

function profileText({ core, apps }: DayProfile): string {
  const images = apps.map((image) => ({ image }));
  const packs = [
    { name: "byoi", layer: "os", values: JSON.stringify({ options: { "system.uri": core } }) },
    { name: "apps", layer: "addon", values: JSON.stringify({ pack: { content: { images } } }) },
  ];
  return JSON.stringify({ metadata: { name: "store" }, spec: { template: { packs } } });
}

async function startDayAgent(siteFile: string, dataDir: string): Promise<DayAgent> {
  const agent = await startAgentProgram(dataDir, ["--site", siteFile, "-o", "json"]);
  const follower = await followAgent(dataDir);
  return {
    ...agent,
    follower,
    async cutPower(...groups) {
      agent.kill("SIGKILL");
      for (const group of groups) process.kill(-group, "SIGKILL");
      await agent.exited;
      await follower[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      await follower[Symbol.asyncDispose]();
      await agent[Symbol.asyncDispose]();
    },
  };
}

/** What containerd accepts. */
const ACCEPT = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
].join(", ");

async function pullByMirror(embedded: string, declared: string): Promise<string> {
  const [, host = "", repository = "", tag = ""] = /^([^/]+)\/(.+):([^:/]+)$/.exec(declared) ?? [];
  const get = async (kind: string, name: string, method = "GET") => {
    const url = `http://${embedded}/v2/${repository}/${kind}/${name}?ns=${host}`;
    const response = await fetch(url, { method, headers: { accept: ACCEPT }, decompress: false });
    if (response.ok) return response;
    throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
  };
  const verified = async (kind: string, digest: string) => {
    const bytes = await (await get(kind, digest)).bytes();
    const actual = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (actual !== digest) throw new Error(`${declared}: ${digest} has the bytes of ${actual}`);
    return bytes;
  };
  const root = (await get("manifests", tag, "HEAD")).headers.get("docker-content-digest") ?? "";
  const manifest = JSON.parse(new TextDecoder().decode(await verified("manifests", root)));
  for (const { digest } of [manifest.config, ...manifest.layers]) await verified("blobs", digest);
  return root;
}
