import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startDockerRegistry } from "#test-support/docker-registry";
import { DRAY } from "./contender.ts";
import { IMAGE_SETS, imagesOf } from "./image-set.ts";
import { startFilled } from "./registry.ts";

const USAGE = `bun tools/bench/upload.ts [--set NAME] [--rounds N]

Uploads the images of a set from a store on disk to an empty docker-registry: \`dray deliver\` with everything
fetched already, and \`skopeo copy\` of one image after the other from the same store as a layout.`;

/** Both in turn, each with a registry of its own that is new in every round. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      set: { type: "string", default: "8x6x8" },
      rounds: { type: "string", default: "3" },
      help: { type: "boolean", default: false },
    },
  });
  const [group] = Object.entries(IMAGE_SETS).find(([name]) => name === values.set)?.[1] ?? [];
  if (values.help || group === undefined) return console.log(USAGE);
  // The provider image is the one more: it is never uploaded.
  const images = imagesOf([{ ...group, images: group.images + 1 }]);
  const folder = await mkdtemp(join(tmpdir(), "dray-bench-upload-"));
  try {
    await using source = await startFilled(images);
    const [provider = "", ...names] = source.set.images.map(
      ({ name }) => `${source.address}/${source.project}/${name}:v1`,
    );
    const store = join(folder, "store");
    const prefix = `${await writeInputs(folder, provider, names)} --data-dir ${store}`;
    await run(`${DRAY} deliver ${prefix} --site ${join(folder, "fetch.json")}`);
    const walls = { drayage: [] as number[], skopeo: [] as number[] };
    for (let round = 0; round < Number(values.rounds); round += 1) {
      {
        await using registry = await startDockerRegistry();
        await writeSite(folder, source.address, names, registry.address);
        walls.drayage.push(
          await run(`${DRAY} deliver ${prefix} --site ${join(folder, "upload.json")}`),
        );
        await requireAll(registry.address, names);
      }
      {
        await using registry = await startDockerRegistry();
        const copy = (name: string) =>
          `skopeo --insecure-policy copy -q --dest-tls-verify=false oci:${store}:${name} docker://${registry.address}/${there(name)}`;
        walls.skopeo.push(await run(names.map(copy).join(" && ")));
        await requireAll(registry.address, names);
      }
      console.log(
        `${round + 1}: drayage ${seconds(walls.drayage.at(-1))}, skopeo ${seconds(walls.skopeo.at(-1))}`,
      );
    }
    const ratio = median(walls.drayage) / median(walls.skopeo);
    console.log(`drayage takes ${ratio.toFixed(2)} of the time of skopeo`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The name that an image has in the local registry. */
function there(name: string): string {
  return `spectro-images/${name.replace(/^([^/]+):(\d+)\//, "$1_$2/")}`;
}

async function writeInputs(
  folder: string,
  provider: string,
  names: readonly string[],
): Promise<string> {
  const profile = join(folder, "profile.json");
  const os = {
    name: "edge-native-byoi",
    layer: "os",
    values: `options: {system.uri: ${JSON.stringify(provider)}}`,
  };
  const packs = [os, { name: "apps", layer: "addon", values: imagesIn(names) }];
  await writeFile(profile, JSON.stringify({ spec: { template: { packs } } }));
  await writeSite(folder, names[0]?.split("/")[0] ?? "", names, undefined);
  return `--profile ${profile}`;
}

function imagesIn(names: readonly string[]): string {
  return JSON.stringify({ pack: { content: { images: names.map((image) => ({ image })) } } });
}

async function writeSite(
  folder: string,
  source: string,
  names: readonly string[],
  local: string | undefined,
): Promise<void> {
  const localRegistry = local === undefined ? undefined : { kind: "oci", address: local };
  const site = {
    ...{ apiVersion: "drayage/v1", kind: "Site", platform: "linux/amd64" },
    credentials: [{ registry: source, insecure: true }],
    ...(localRegistry === undefined ? {} : { localRegistry }),
  };
  const name = local === undefined ? "fetch.json" : "upload.json";
  if (names.length > 0) await writeFile(join(folder, name), JSON.stringify(site));
}

/** Wall time in milliseconds. */
async function run(command: string): Promise<number> {
  const startedMs = performance.now();
  const child = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${command.slice(0, 200)}: ${out}${err}`);
  return performance.now() - startedMs;
}

async function requireAll(address: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const [, repository, tag] = /^(.+):([^:]+)$/.exec(there(name)) ?? [];
    const answer = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, {
      method: "HEAD",
      headers: {
        accept:
          "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
      },
    });
    if (!answer.ok) throw new Error(`${there(name)} is not there: ${answer.status}`);
  }
}

function seconds(ms = Number.NaN): string {
  return `${(ms / 1e3).toFixed(2)} s`;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

await main();
