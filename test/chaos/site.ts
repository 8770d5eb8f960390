import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createChance } from "#test-support/chance";
import {
  type ChaosOptions,
  type ChaosRegistry,
  startChaosRegistry,
} from "#test-support/chaos-registry";
import type { ImageOptions } from "#test-support/images";
import { type ProgramRun, startDray } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";

/**
 * Decides all that is left to chance. It is printed with every failure, and `CHAOS_SEED=… bun test
 * ./test/chaos` goes through the same again, as far as the machine's own timing allows.
 */
export const SEED: string = process.env["CHAOS_SEED"] ?? "first";

/** How often the program is killed: few times where every commit waits for it, hundreds at night. */
export const KILLS: number = Number(process.env["CHAOS_KILLS"] ?? 15);

/** A site whose registry goes wrong, and the real program to deliver to it. */
export interface ChaosSite {
  readonly registry: ChaosRegistry;
  readonly dataDir: string;
  /** Starts a delivery. What it says is kept. */
  start(): Delivery;
  /** Leaves what was delivered, and begins with an empty store. */
  clear(): Promise<void>;
}

/** A delivery that runs. */
export interface Delivery {
  readonly child: ReturnType<typeof startDray>;
  readonly ended: Promise<DeliveryEnd>;
}

/** How a delivery ended. */
export interface DeliveryEnd {
  /** 137 when it was killed. */
  readonly exitCode: number;
  /** What it said of failures, short enough for a report: codes and messages. */
  readonly told: readonly string[];
  /** Digests of which other bytes had been taken in. */
  readonly digestMismatches: readonly string[];
}

/** What a site is made of, beside the registry's bad manners. */
export interface SiteOptions extends Omit<ChaosOptions, "images" | "login"> {
  /** What is tested, as the name of a folder for what is kept. */
  readonly name: string;
  /** Of one layer. */
  readonly layerBytesMax: number;
  /** Where the store lies; in a folder of its own by default. */
  readonly dataDir?: string;
}

/**
 * Runs `use` on a site. When that throws, the stories of program and registry are kept in a folder of
 * the machine's temporary one, and the error says where, and with which seed it comes again.
 */
export async function withChaosSite(
  options: SiteOptions,
  use: (site: ChaosSite) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "dray-chaos-"));
  const said: ProgramRun[] = [];
  const images = makeImages(options);
  await using registry = await startChaosRegistry({ ...options, images, login: SAMPLE_LOGIN });
  const { args } = await writeSampleSite(folder, registry.address);
  const dataDir = options.dataDir ?? join(folder, "store");
  try {
    await use({
      registry,
      dataDir,
      start() {
        const child = startDray([
          ...["deliver", ...args, `--data-dir=${dataDir}`],
          ...["--platform=linux/amd64", "--output=json"],
        ]);
        const ended = endOf(child).then((run) => {
          said.push(run);
          const mismatch = /"digest":"([^"]+)","code":"digest-mismatch"/g;
          const digestMismatches = [...run.out.matchAll(mismatch)].map(([, digest = ""]) => digest);
          return { exitCode: run.exitCode, told: failuresOf(run), digestMismatches };
        });
        return { child, ended };
      },
      clear: () => rm(dataDir, { recursive: true, force: true }),
    });
  } catch (error) {
    const kept = join(tmpdir(), `dray-chaos-${options.name}-${options.seed}`.replaceAll("/", "-"));
    await keep(kept, said, registry);
    const cause = error instanceof Error ? error.message : String(error);
    const message = `${cause}\nseed: ${options.seed}\nkept: ${kept}\nagain: CHAOS_SEED=${SEED} bun test ./test/chaos`;
    throw new Error(message, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function endOf(child: ReturnType<typeof startDray>): Promise<ProgramRun> {
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, out, err };
}

/** From the summary, which is the last event; or, when it came to no summary, what was said instead. */
function failuresOf({ exitCode, out, err }: ProgramRun): readonly string[] {
  const last = out.trim().split("\n").at(-1) ?? "";
  if (exitCode === 0) return [];
  if (!last.includes('"delivery-done"')) return [err];
  const failures: readonly { readonly code: string; readonly message: string }[] =
    JSON.parse(last).summary.failures;
  return failures.map(({ code, message }) => `${code}: ${message}`);
}

async function keep(folder: string, said: readonly ProgramRun[], registry: ChaosRegistry) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "registry"), `${registry.story.join("\n")}\n`);
  for (const [i, { exitCode, out, err }] of said.entries()) {
    // Thousands of small steps would hide the few lines that tell what happened.
    const events = out.split("\n").filter((line) => !line.includes('"type":"bytes"'));
    const text = [...events, err, `exit code ${exitCode}`].join("\n");
    await writeFile(join(folder, `run-${String(i + 1).padStart(3, "0")}`), `${text}\n`);
  }
}

/** The images of the sample profile, of sizes that the seed draws; one base is in all of them. */
function makeImages({ seed, layerBytesMax }: SiteOptions): Record<string, ImageOptions> {
  const chance = createChance(`${seed}/images`);
  return Object.fromEntries(
    SAMPLE_IMAGES.map((name, i) => {
      const layerBytes = Math.ceil(layerBytesMax * chance.pick([0.01, 0.1, 0.4, 1]));
      const platforms = i % 3 === 0 ? ["linux/arm64", "linux/amd64"] : ["linux/amd64"];
      const image = { seed: `${seed}/${name}`, layers: 2 + chance.below(2), layerBytes, platforms };
      return [`spectro-images/${name}`, { ...image, sharedBase: "base" }];
    }),
  );
}

/**
 * Looks at a store with eyes of its own: each blob hashes to its name, and all that a name of the
 * index needs for linux/amd64 is there.
 *
 * @returns what is named
 * @throws {Error} that tells the first lie
 */
export async function checkStore(dataDir: string): Promise<readonly string[]> {
  const folder = join(dataDir, "blobs", "sha256");
  const sizes = new Map<string, number>();
  for (const hex of await readdir(folder).catch(unlessMissing([]))) {
    const bytes = await readFile(join(folder, hex));
    const actual = createHash("sha256").update(bytes).digest("hex");
    if (actual !== hex) throw new Error(`blob ${hex} has the bytes of ${actual}`);
    sizes.set(`sha256:${hex}`, bytes.byteLength);
  }
  const index = await readFile(join(dataDir, "index.json"), "utf8").catch(unlessMissing(undefined));
  const entries: readonly Entry[] = index === undefined ? [] : JSON.parse(index).manifests;
  for (const entry of entries) await checkEntry(entry, folder, sizes);
  return entries.map(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] ?? "");
}

interface Entry {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly architecture: string };
}

async function checkEntry(entry: Entry, folder: string, sizes: ReadonlyMap<string, number>) {
  const { digest, size } = entry;
  if (sizes.get(digest) !== size) throw new Error(`${digest} is named, and not there`);
  const document = JSON.parse(await readFile(join(folder, digest.slice("sha256:".length)), "utf8"));
  for (const child of document.manifests ?? []) {
    if (child.platform.architecture === "amd64") await checkEntry(child, folder, sizes);
  }
  for (const blob of [document.config ?? [], document.layers ?? []].flat()) {
    const isWhole = sizes.get(blob.digest) === blob.size;
    if (!isWhole) throw new Error(`${digest} is named, and its ${blob.digest} is not there`);
  }
}

function unlessMissing<T>(instead: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === "ENOENT") return instead;
    throw error;
  };
}
