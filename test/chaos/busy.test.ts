import { expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "#base";
import { openStore } from "#store";
import { ageBlobs } from "#test-support/aged-store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";
import { Promises } from "./promises.ts";
import { makePushers, type PushedRegistry } from "./pusher.ts";
import { SEED } from "./site.ts";

const MIB = 1024 * 1024;

/** `CHAOS_BUSY=full` pulls 200 GB, which takes minutes. */
const [PULLS, IMAGE_BYTES] =
  process.env["CHAOS_BUSY"] === "full" ? [200, 1024 * MIB] : [20, 64 * MIB];

setDefaultTimeout(30 * 60_000);

const LAYERS = 8;
const IMAGE = "quay.io/busy/app";
const PUSHERS = 4;

/** Blobs that nothing leads to, which a collection has to find among all that goes on. */
const GARBAGE = 50;

/** What a registry may take, however many pull: a buffer for each of them would be more. */
const SERVER_BYTES_MAX = 256 * MIB;

const GC_PAUSE_MS = 1_000;

test(`${PULLS} clients pull an image at the same time while others push and delete, and a collection runs: nothing is lost or wrong`, async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  await fill(dataDir);
  const promises = new Promises();
  const pushers = makePushers(`${SEED}/busy`, PUSHERS, promises);
  await using program = await startRegistryProgram(dataDir);
  const origin = `http://${program.address}`;
  const state = { answers: 0, isOver: false };
  const onAnswer = () => {
    state.answers += 1;
  };
  const registry: PushedRegistry = { origin, isDying: false, isCollected: true, onAnswer };
  const startedMs = performance.now();
  const pulling = Promise.all(Array.from({ length: PULLS }, (_, i) => pull(origin, i)));
  const isOver = () => state.isOver;
  const pushing = pushers.map((pusher) => pusher.push(registry, isOver));
  const collecting = collectUntil(dataDir, isOver);
  const failed = failureOf([...pushing, collecting]);
  const pulledBytes = await Promise.race([pulling, failed]).finally(() => {
    state.isOver = true;
  });
  const seconds = (performance.now() - startedMs) / 1000;
  await Promise.all(pushing);
  const removed = await collecting;

  promises.allowCollection();
  const look = await promises.check(origin);
  expect(await pull(origin, 0)).toBe(pulledBytes[0] ?? 0);
  const cost = await costOf(program);
  const gigabytes = pulledBytes.reduce((sum, bytes) => sum + bytes, 0) / 1e9;
  console.log(
    `${PULLS} pulls, ${gigabytes.toFixed(1)} GB in ${seconds.toFixed(1)} s; server: ${cost.cpuSeconds.toFixed(1)} s of CPU, ${(cost.peakBytes / MIB).toFixed(0)} MiB at most; ${state.answers} answers to pushers, ${look.found} promises kept; ${removed} blobs collected`,
  );
  expect(state.answers).toBeGreaterThan(100);
  expect(removed).toBeGreaterThanOrEqual(GARBAGE);
  expect(cost.peakBytes).toBeLessThan(SERVER_BYTES_MAX);
  const verified = await dray(["verify", `--data-dir=${dataDir}`]);
  expect(verified).toMatchObject({ exitCode: 0 });
});

/** The image that all pull, and garbage; all of it was committed hours ago. */
async function fill(dataDir: string): Promise<void> {
  await using store = await openStore(dataDir, { clock: systemClock });
  const layerBytes = IMAGE_BYTES / LAYERS;
  await buildImage(store, `${IMAGE}:v1`, { seed: "busy", layers: LAYERS, layerBytes });
  for (let i = 0; i < GARBAGE; i += 1) {
    await putBytes(store, "a/b", randomBytes(`garbage/${i}`, 10_000));
  }
  await ageBlobs(dataDir);
}

interface Listed {
  readonly digest: string;
  readonly size: number;
}

/** Pulls as a node does, discards what comes, and hashes one of the layers; gives how many bytes came. */
async function pull(origin: string, number: number): Promise<number> {
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const manifest = await fetch(`${origin}/v2/${IMAGE}/manifests/v1`, { headers: { accept } });
  const { config, layers } = (await manifest.json()) as { config: Listed; layers: Listed[] };
  let total = 0;
  for (const [at, { digest, size }] of [config, ...layers].entries()) {
    const response = await fetch(`${origin}/v2/${IMAGE}/blobs/${digest}`, { decompress: false });
    if (response.body === null) throw new Error(`${digest} was answered with ${response.status}`);
    const hash = at === number % (1 + layers.length) ? createHash("sha256") : undefined;
    let bytes = 0;
    for await (const chunk of response.body) {
      bytes += chunk.byteLength;
      hash?.update(chunk);
    }
    if (bytes !== size) throw new Error(`${digest} gave ${bytes} bytes, expected ${size}`);
    const actual = hash === undefined ? digest : `sha256:${hash.digest("hex")}`;
    if (actual !== digest) throw new Error(`${digest} gave the bytes of ${actual}`);
    total += bytes;
  }
  return total;
}

/** Collects again and again; gives how many blobs went. */
async function collectUntil(dataDir: string, isOver: () => boolean): Promise<number> {
  let removed = 0;
  do {
    const words = ["gc", "--grace=1m", "--output=json", `--data-dir=${dataDir}`];
    const { exitCode, out, err } = await dray(words);
    if (exitCode !== 0) throw new Error(`dray gc ended with ${exitCode}: ${err}${out}`);
    removed += JSON.parse(out).blobs.length;
    await pause(GC_PAUSE_MS);
  } while (!isOver());
  return removed;
}

/** Settles only when one of them fails: then the rest need not be waited for. */
function failureOf(works: readonly Promise<unknown>[]): Promise<never> {
  return new Promise((_, reject) => {
    for (const work of works) work.catch(reject);
  });
}

/** What a process has cost so far, as the kernel counts it. */
async function costOf({ pid }: ServingProgram) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const [user = 0, system = 0] = stat.split(" ").slice(13, 15).map(Number);
  const [, peakKib = ""] = /VmHWM:\s*(\d+) kB/.exec(status) ?? [];
  // The kernel tells ticks, of which there are 100 a second.
  return { peakBytes: Number(peakKib) * 1024, cpuSeconds: (user + system) / 100 };
}
