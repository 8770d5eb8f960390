import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FilledSet } from "./fill.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** The program as it is shipped, when it was built, else from the source. */
export const DRAY: string =
  process.env["DRAY"] ??
  [join(ROOT, "dist", "dray"), join(ROOT, "bin", "dray")].find(existsSync) ??
  "";

/** What is to be brought, and where to. */
export interface Job {
  /** Where the registry is for the site: `host:port`. */
  readonly address: string;
  /** The path that all images are under. */
  readonly project: string;
  readonly set: FilledSet;
  /** An empty folder, for the content alone. */
  readonly target: string;
  /** A folder for what the contender has to be told. */
  readonly inputs: string;
}

/** A program, or two, that can bring images from a registry onto a disk. */
export interface Contender {
  readonly name: string;
  /** Undefined when the machine has it, else what is missing. */
  readonly missing: string | undefined;
  /** The command that tells its version. */
  readonly version: readonly string[];
  /** What it does, in a sentence for the report. */
  readonly does: string;
  /** Writes what it has to be told, and gives the shell command. It must end with all of it durable. */
  prepare(job: Job): Promise<string>;
}

function absent(...programs: readonly string[]): string | undefined {
  return programs.find((program) => Bun.which(program) === null);
}

/** None of the peers syncs what it writes, so a power cut right after it would take the images. */
const SYNC = "sync -f .";

/** The one that all others are compared with. */
export const drayage: Contender = {
  name: "drayage",
  version: [DRAY, "--version"],
  missing: existsSync(DRAY) ? undefined : DRAY,
  does: "`dray deliver`: verified, fsynced, provider image first",
  async prepare({ address, project, set, target, inputs }) {
    const [provider = "", ...others] = set.images.map(
      ({ name }) => `${address}/${project}/${name}:v1`,
    );
    const profile = join(inputs, "profile.json");
    const site = join(inputs, "site.json");
    await writeFile(profile, JSON.stringify(profileOf(provider)));
    await writeFile(
      site,
      JSON.stringify({
        apiVersion: "drayage/v1",
        kind: "Site",
        platform: "linux/amd64",
        credentials: [{ registry: address, insecure: true }],
        extraImages: others,
      }),
    );
    return `${DRAY} deliver --profile ${profile} --site ${site} --data-dir ${target}`;
  },
};

function profileOf(provider: string): object {
  const values = `options:\n  system.uri: ${provider}\n`;
  const os = { name: "edge-native-byoi", layer: "os", version: "2.1.0", values };
  return { spec: { template: { packs: [os] } } };
}

const skopeo: Contender = {
  name: "skopeo",
  version: ["skopeo", "--version"],
  missing: absent("skopeo"),
  does: "`skopeo copy` of one image after the other into one OCI layout, then `sync`",
  async prepare({ address, project, set, target }) {
    const names = set.images.map(({ name }) => name).join(" ");
    const copy = `skopeo --insecure-policy copy -q --src-tls-verify=false docker://${address}/${project}/$name:v1 oci:layout:$name`;
    return `cd ${target} && for name in ${names}; do ${copy} || exit 1; done && ${SYNC}`;
  },
};

const crane: Contender = {
  name: "crane",
  version: ["crane", "version"],
  missing: absent("crane"),
  does: "`crane pull --format=oci` of all images into one OCI layout, then `sync`; without its cache, which would write every layer twice",
  async prepare({ address, project, set, target }) {
    const images = set.images.map(({ name }) => `${address}/${project}/${name}:v1`).join(" ");
    return `cd ${target} && crane pull --insecure --format=oci ${images} layout && ${SYNC}`;
  },
};

const curl: Contender = {
  name: "curl",
  version: ["curl", "--version"],
  missing: absent("curl", "sha256sum"),
  does: "`curl --parallel` of every blob, 4 at a time, then `sha256sum` and `sync`: no image, only bytes",
  async prepare({ address, project, set, target, inputs }) {
    const urls = join(inputs, "urls");
    const sums = join(inputs, "sums");
    const url = (image: string, digest: string) =>
      `url = "http://${address}/v2/${project}/${image}/blobs/${digest}"\noutput = "${digest.slice(7)}"\n`;
    await writeFile(urls, set.blobs.map(({ image, digest }) => url(image, digest)).join(""));
    const line = (digest: string) => `${digest.slice(7)}  ${digest.slice(7)}\n`;
    await writeFile(sums, set.blobs.map(({ digest }) => line(digest)).join(""));
    const fetch = `curl -sS --fail --parallel --parallel-max 4 --config ${urls}`;
    return `cd ${target} && ${fetch} && sha256sum --quiet -c ${sums} && ${SYNC}`;
  },
};

/** Who runs, in turn. */
export const CONTENDERS: readonly Contender[] = [drayage, skopeo, crane, curl];

/** What a contender says of its version. */
export async function versionOf({ version }: Contender): Promise<string> {
  const child = Bun.spawn([...version], { stdio: ["ignore", "pipe", "ignore"] });
  const line = (await new Response(child.stdout).text()).split("\n")[0] ?? "";
  return /v?\d+\.\S+/.exec(line)?.[0] ?? line.trim();
}

/** A folder that is there and empty. */
export async function emptyFolder(path: string): Promise<string> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true });
  return path;
}

/** How much of a set lies in a folder: a contender that says 0 and brought nothing has failed. */
export async function heldBytes(folder: string, set: FilledSet): Promise<number> {
  const held = new Map<string, number>();
  for (const entry of await readdir(folder, { recursive: true })) {
    // In an OCI layout, or flat as curl was told; not what is still on its way into a store.
    const [, hex] = /^(?:.*blobs\/sha256\/)?([0-9a-f]{64})$/.exec(entry) ?? [];
    if (hex !== undefined) held.set(hex, (await stat(join(folder, entry))).size);
  }
  return set.blobs.reduce((sum, { digest }) => sum + (held.get(digest.slice(7)) ?? 0), 0);
}
