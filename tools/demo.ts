import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { ROOT } from "./step.ts";

/** Everything the demo makes; it is left there to look at. */
const FOLDER = join(ROOT, ".demo");

/** Large enough to watch, small enough for any laptop. */
const LAYER_BYTES = 3_000_000;

/** Images of this name come from the public mirror, by mapping rule; all others from the one with a password. */
const PUBLIC_NAMES = ["cni", "node", "kube-controllers"];

/**
 * Shows the main job with no network: starts two registries of its own on loopback, one of which asks
 * for a password, plans the sample profile against them, delivers it twice, and looks at the result.
 */
async function main(): Promise<void> {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER);
  say("Two registries are filled with generated images and started on loopback.");
  await using mirror = await startMirror("mirror", (name) => !isPublic(name), SAMPLE_LOGIN);
  await using open = await startMirror("public", isPublic);
  say(`  ${mirror.address}  asks for a password: the mirror of this site's operator`);
  say(`  ${open.address}  public: holds the images of quay.io/calico`);
  await writeInputs(mirror.address, open.address);

  const inputs = ["-p", ".demo/edge-rke2/profile.yaml", "-u", ".demo/edge-rke2/user-data.yaml"];
  title("1. Every decision can be read before a byte moves");
  await dray("plan", ...inputs);
  title("2. Why does one image come from there?");
  await dray("explain", "quay.io/calico/node:v3.27.0", ...inputs);
  title("3. Deliver: provider images first, then all others, each verified");
  await dray("deliver", ...inputs, "-d", ".demo/store", "--platform", "linux/amd64");
  title("4. Deliver again: what is there moves no byte");
  await dray("deliver", ...inputs, "-d", ".demo/store", "--platform", "linux/amd64");
  title("5. The store is a plain OCI image layout");
  await show("ls", ".demo/store");
  await show("du", "-sh", ".demo/store/blobs");
  await tellNames();
  tellNext();
}

function isPublic(name: string): boolean {
  return PUBLIC_NAMES.includes(name.replace(/:.*$/, ""));
}

function startMirror(name: string, holds: (image: string) => boolean, login?: typeof SAMPLE_LOGIN) {
  const images = SAMPLE_IMAGES.filter(holds).map((image) => {
    const platforms = ["linux/amd64", "linux/arm64"];
    const made = { seed: image, layers: 3, layerBytes: LAYER_BYTES, platforms, sharedBase: "base" };
    return [`spectro-images/${image}`, made] as const;
  });
  return startLoopbackRegistry(join(FOLDER, name), {
    images: Object.fromEntries(images),
    ...(login === undefined ? {} : { login }),
  });
}

async function writeInputs(mirror: string, open: string): Promise<void> {
  await writeSampleSite(FOLDER, mirror);
  const password = Buffer.from(SAMPLE_LOGIN.password).toString("base64");
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

Deliver with the registries gone: they ended with this demo, and the store stands.
  bin/dray deliver -p .demo/edge-rke2/profile.yaml -u .demo/edge-rke2/user-data.yaml -d .demo/store --platform linux/amd64

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
