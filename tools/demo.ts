import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes } from "#base";
import { testCertificates } from "#test-support/certificates";
import type { ImageOptions } from "#test-support/images";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { DemoClient, type DemoRegistry, startDemoRegistry } from "./demo-registry.ts";
import { ROOT } from "./step.ts";

/** Everything the demo makes; it is left there to look at. */
const FOLDER = join(ROOT, ".demo");

/** Large enough to watch, small enough for any laptop. */
const LAYER_BYTES = 3_000_000;

/** Images of this name come from the public mirror, by mapping rule; all others from the one with a password. */
const PUBLIC_NAMES = ["cni", "node", "kube-controllers"];

/**
 * Shows the main job with no network and no foreign program: two embedded registries play those that
 * images come from; the sample profile is planned and delivered; then they are stopped, and the site
 * serves what it has, and takes a push.
 */
async function main(): Promise<void> {
  // All of it is on this machine, and Bun would ask a proxy of the environment for that too.
  for (const name of ["http_proxy", "https_proxy", "all_proxy"]) {
    for (const each of [name, name.toUpperCase()]) delete process.env[each];
  }
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER);
  using client = new DemoClient();
  {
    await using mirror = await startDemoRegistry(join(FOLDER, "mirror"), SAMPLE_LOGIN);
    await using open = await startDemoRegistry(join(FOLDER, "public"));
    await fillSources(client, mirror, open);
    await writeInputs(mirror.address, open.address);
    await planAndDeliver();
  }
  await serveOffline(client);
  tellNext();
}

async function fillSources(client: DemoClient, mirror: DemoRegistry, open: DemoRegistry) {
  say("Two embedded registries are started on loopback, and generated images pushed to them:");
  const toMirror = await client.push(
    FOLDER,
    images((name) => !isPublic(name)),
    mirror,
  );
  const toOpen = await client.push(FOLDER, images(isPublic), open);
  say(
    `  ${mirror.address}  TLS and a password: the mirror of this site's operator, ${formatBytes(toMirror)}`,
  );
  say(`  ${open.address}  public: the images of quay.io/calico, ${formatBytes(toOpen)}`);
}

const INPUTS = ["-p", ".demo/edge-rke2/profile.yaml", "-u", ".demo/edge-rke2/user-data.yaml"];
const DELIVER = ["deliver", ...INPUTS, "-d", ".demo/store", "--platform", "linux/amd64"];

async function planAndDeliver(): Promise<void> {
  title("1. Every decision can be read before a byte moves");
  await dray("plan", ...INPUTS);
  title("2. Why does one image come from there?");
  await dray("explain", "quay.io/calico/node:v3.27.0", ...INPUTS);
  title("3. Deliver: provider images first, then all others, each verified");
  await dray(...DELIVER);
  title("4. Deliver again: what is there moves no byte");
  await dray(...DELIVER);
  title("5. The store is a plain OCI image layout");
  await show("ls", ".demo/store");
  await show("du", "-sh", ".demo/store/blobs");
  await tellNames();
}

/** The registries that the images came from have ended: this is a site whose uplink is gone. */
async function serveOffline(client: DemoClient): Promise<void> {
  title(
    "6. The uplink is gone: both registries were stopped. Deliver again: what was verified stands",
  );
  await dray(...DELIVER);
  title("7. The site serves what it has, from the same files");
  await using site = await startDemoRegistry(join(FOLDER, "store"));
  say(`$ bin/dray registry serve -d .demo/store    # on ${site.address}`);
  for (const name of ["quay.io/calico/node:v3.27.0", "docker.io/library/busybox:latest"]) {
    const { digest, blobs, bytes } = await client.pull(name, site);
    say(`pulled ${site.address}/${name}: ${blobs} blobs, ${formatBytes(bytes)}, all verified`);
    say(`  ${digest}`);
  }
  title("8. It takes pushes, too");
  const own = { "team/tool:v1": { seed: "tool", layers: 2, layerBytes: LAYER_BYTES } };
  const bytes = await client.push(FOLDER, own, site);
  const { digest } = await client.pull("team/tool:v1", site);
  say(`pushed ${site.address}/team/tool:v1, ${formatBytes(bytes)}, and pulled it again`);
  say(`  ${digest}`);
  title("9. Every byte in the store is what its name says");
  await dray("verify", "-d", ".demo/store");
}

function isPublic(name: string): boolean {
  return PUBLIC_NAMES.includes(name.replace(/:.*$/, ""));
}

function images(isWanted: (image: string) => boolean): Record<string, ImageOptions> {
  const wanted = SAMPLE_IMAGES.filter(isWanted).map((image) => {
    const platforms = ["linux/amd64", "linux/arm64"];
    const made = { seed: image, layers: 3, layerBytes: LAYER_BYTES, platforms, sharedBase: "base" };
    return [`spectro-images/${image}`, made] as const;
  });
  return Object.fromEntries(wanted);
}

async function writeInputs(mirror: string, open: string): Promise<void> {
  await writeSampleSite(FOLDER, mirror);
  const password = Buffer.from(SAMPLE_LOGIN.password).toString("base64");
  const indented = testCertificates().ca.trim().replaceAll("\n", "\n            ");
  const userData = `#cloud-config
stylus:
  site:
    name: store-042
  externalRegistries:
    registries:
      - domain: ${mirror}/spectro-images
        username: ${SAMPLE_LOGIN.username}
        password: ${password}
        encodedPassword: true
        certificates:
          - |
            ${indented}
      - domain: ${open}/spectro-images
    registryMappingRules:
      "quay.io/calico": "${open}/spectro-images"
`;
  await writeFile(join(FOLDER, "edge-rke2", "user-data.yaml"), userData);
}

async function dray(...args: readonly string[]): Promise<void> {
  await show("bin/dray", ...args);
}

/** Shows a command as a person would type it, then runs it. */
async function show(...command: readonly string[]): Promise<void> {
  say(`$ ${command.join(" ")}`);
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exitCode = await child.exited;
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}`);
}

async function tellNames(): Promise<void> {
  const index = await Bun.file(join(FOLDER, "store", "index.json")).json();
  say(`index.json names ${index.manifests.length} images, each by its declared reference:`);
  for (const { digest, annotations } of index.manifests) {
    say(`  ${digest.slice(0, 19)}  ${annotations["org.opencontainers.image.ref.name"]}`);
  }
}

function tellNext(): void {
  title("What to try next");
  say(`Serve the store to a cluster, and pull from it with any client:
  bin/dray registry serve -d .demo/store -l 127.0.0.1:5055
  curl http://127.0.0.1:5055/v2/quay.io/calico/node/tags/list

Break something in .demo/edge-rke2/profile.yaml and see what is said:
  bin/dray plan -p .demo/edge-rke2/profile.yaml

Plan your own profile: bin/dray plan -p PROFILE -u USER-DATA`);
}

function title(text: string): void {
  say(`\n=== ${text}\n`);
}

function say(text: string): void {
  console.log(text);
}

await main();
