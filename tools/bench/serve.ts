import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drayage, emptyFolder } from "./contender.ts";
import { type FilledSet, fill, PROJECT } from "./fill.ts";
import { type ImageShape, imagesOf } from "./image-set.ts";
import { type LoadGenerator, type LoadResult, openLoadGenerator } from "./load.ts";
import {
  dockerRegistry,
  embeddedRegistry,
  SERVERS,
  type Server,
  type ServerProgram,
  startServer,
} from "./server.ts";

const MB = 1_000_000;

/** Both fit into memory many times: it is the registries that are measured, and not the disk. */
const IMAGES: readonly ImageShape[] = imagesOf([
  { images: 1, layerBytes: Array<number>(8).fill(16 * MB), sharedLayers: 0 },
  { images: 1, layerBytes: [256 * MB, 256 * MB], sharedLayers: 0 },
]);

/** What clients ask of each registry in turn. */
export interface ServeCell {
  readonly title: string;
  readonly clients: number;
  readonly method: "GET" | "HEAD";
  readonly status: number;
  /** Whether bytes are what it is about, or answers. */
  readonly counts: "bytes" | "answers";
  /** Where that is in a registry that serves the images. */
  paths(served: Served): readonly string[];
}

/** A registry with the images in it. */
interface Served {
  readonly name: string;
  readonly server: Server;
  /** What the path of every image begins with. */
  readonly prefix: string;
  readonly set: FilledSet;
  /** Of the manifest of the first image. */
  readonly digest: string;
}

/** One run of one registry. */
export interface ServeRun extends LoadResult {
  /** User and system time of the registry. */
  readonly cpuMs: number;
  /** The most that the registry had resident meanwhile. */
  readonly peakBytes: number;
}

/** What came of the registries at one cell. */
export interface CellResult {
  readonly cell: ServeCell;
  readonly results: readonly { readonly server: string; readonly runs: readonly ServeRun[] }[];
}

/** What a registry held at most while 2 GB were pushed to it as one stream. */
export interface PushPeak {
  readonly server: string;
  readonly peakBytes: number;
}

/** All that was found about serving. */
export interface ServeResult {
  readonly versions: readonly { readonly name: string; readonly version: string }[];
  readonly cells: readonly CellResult[];
  readonly pushes: readonly PushPeak[];
}

/** How long, and how often. */
export interface ServeOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** Told of every run, for who waits. */
  readonly onRun: (line: string) => void;
}

const manifest = ([{ name } = { name: "" }] = IMAGES) => name;

function blobsOf(image: ImageShape, { prefix, set }: Served): readonly string[] {
  const smallest = Math.min(...image.layers.map(({ bytes }) => bytes));
  return set.blobs
    .filter((blob) => blob.image === image.name && blob.bytes >= smallest)
    .map(({ digest }) => `${prefix}/${image.name}/blobs/${digest}`);
}

const BLOB_CELLS: readonly ServeCell[] = IMAGES.flatMap((image) =>
  [4, 32, 200].map((clients) => ({
    title: `blobs of ${(image.layers[0]?.bytes ?? 0) / MB} MB`,
    ...({ clients, method: "GET", status: 200, counts: "bytes" } as const),
    paths: (served: Served) => blobsOf(image, served),
  })),
);

const REQUESTS: readonly (Pick<ServeCell, "title" | "method" | "status"> & {
  path(served: Served): string;
})[] = [
  {
    ...{ title: "HEAD manifest by tag", method: "HEAD", status: 200 },
    path: ({ prefix }) => `${prefix}/${manifest()}/manifests/v1`,
  },
  {
    ...{ title: "GET manifest by tag", method: "GET", status: 200 },
    path: ({ prefix }) => `${prefix}/${manifest()}/manifests/v1`,
  },
  {
    ...{ title: "HEAD manifest by digest", method: "HEAD", status: 200 },
    path: ({ prefix, digest }) => `${prefix}/${manifest()}/manifests/${digest}`,
  },
  {
    ...{ title: "GET manifest by digest", method: "GET", status: 200 },
    path: ({ prefix, digest }) => `${prefix}/${manifest()}/manifests/${digest}`,
  },
  {
    ...{ title: "tags/list", method: "GET", status: 200 },
    path: ({ prefix }) => `${prefix}/${manifest()}/tags/list`,
  },
  {
    ...{ title: "a manifest that is not here (404)", method: "HEAD", status: 404 },
    path: ({ prefix }) => `${prefix}/elsewhere/manifests/v1`,
  },
];

const REQUEST_CELLS: readonly ServeCell[] = REQUESTS.map(({ path, ...cell }) => ({
  ...cell,
  clients: 32,
  counts: "answers",
  paths: (served) => [path(served)],
}));

/**
 * Every registry of this machine serves the same images to clients that discard them: in each round
 * each cell in turn, and at each cell each registry, so that a slow minute hits all of them. Last, each
 * takes a large push.
 */
export async function runServe(options: ServeOptions): Promise<ServeResult> {
  const folder = await mkdtemp(join(tmpdir(), "dray-bench-serve-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const load = undo.use(await openLoadGenerator());
  const all = await startAll(folder, undo);
  const cells = [...BLOB_CELLS, ...REQUEST_CELLS].map((cell) => ({
    cell,
    results: all.map(({ name }) => ({ server: name, runs: [] as ServeRun[] })),
  }));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const { cell, results } of cells) {
      for (const [i, served] of all.entries()) {
        options.signal.throwIfAborted();
        const run = await runCell(cell, served, load, options.seconds);
        results[i]?.runs.push(run);
        options.onRun(
          `serve ${round} ${cell.title}, ${cell.clients} clients: ${lineOf(served, run)}`,
        );
      }
    }
  }
  return { versions: await versions(), cells, pushes: await pushToAll(all) };
}

function lineOf({ name }: Served, { bytes, answers, wallMs, cpuMs, peakBytes }: ServeRun): string {
  const rate = `${(bytes / wallMs / 1e3).toFixed(0)} MB/s, ${((answers / wallMs) * 1e3).toFixed(0)}/s`;
  return `${name}: ${rate}, ${(cpuMs / 1e3).toFixed(2)} s of CPU, ${(peakBytes / 1e6).toFixed(0)} MB`;
}

const present = (): readonly ServerProgram[] =>
  SERVERS.filter(({ program }) => program !== undefined);

/** The peers are pushed to; the embedded registry is measured with what was delivered, and with what was pushed. */
async function startAll(folder: string, undo: AsyncDisposableStack): Promise<readonly Served[]> {
  const peers = present().filter((program) => program !== embeddedRegistry);
  const served: Served[] = [];
  for (const [i, program] of peers.entries()) {
    const server = undo.use(await startServer(program, join(folder, `peer-${i}`)));
    served.push(await pushImages(program.name, server));
  }
  const source = served.find(({ name }) => name === dockerRegistry.name);
  if (source === undefined)
    throw new Error("docker-registry is not here: nothing can be delivered");
  const store = join(folder, "store");
  await deliver(source, store, join(folder, "inputs"));
  const server = undo.use(await startServer(embeddedRegistry, store));
  // What was delivered keeps its name: the registry that it came from is a part of it.
  const prefix = `/v2/${source.server.address.replace(":", "_")}/${PROJECT}`;
  return [
    { ...source, name: embeddedRegistry.name, server, prefix },
    await pushImages(`${embeddedRegistry.name}, pushed`, server),
    ...served,
  ];
}

async function pushImages(name: string, server: Server): Promise<Served> {
  const set = await fill(server.address, IMAGES);
  const prefix = `/v2/${PROJECT}`;
  const answer = await fetch(`http://${server.address}${prefix}/${manifest()}/manifests/v1`, {
    method: "HEAD",
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  const digest = answer.headers.get("docker-content-digest") ?? "";
  return { name, server, prefix, set, digest };
}

async function deliver({ server, set }: Served, target: string, inputs: string): Promise<void> {
  await emptyFolder(inputs);
  const { address } = server;
  const job = { address, project: PROJECT, set, target, inputs };
  const command = await drayage.prepare(job);
  const child = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "ignore", "ignore"] });
  if ((await child.exited) !== 0) throw new Error("the images could not be delivered");
}

async function runCell(
  cell: ServeCell,
  served: Served,
  load: LoadGenerator,
  seconds: number,
): Promise<ServeRun> {
  const { server } = served;
  const { clients, method, status } = cell;
  await server.forgetPeak();
  const before = await server.cpuMs();
  const paths = cell.paths(served);
  const result = await load.run({ port: server.port, clients, seconds, method, status, paths });
  const cpuMs = (await settledCpuMs(server)) - before;
  return { ...result, cpuMs, peakBytes: await server.peakBytes() };
}

/** The CPU time once the registry rests: what it does for clients that have gone is a part of their run. */
async function settledCpuMs(server: Server): Promise<number> {
  let cpuMs = await server.cpuMs();
  for (let i = 0; i < SETTLE_CHECKS_MAX; i += 1) {
    await Bun.sleep(SETTLE_MS);
    const now = await server.cpuMs();
    if (now - cpuMs < SETTLE_MS / 10) return now;
    cpuMs = now;
  }
  return cpuMs;
}

const SETTLE_MS = 200;
const SETTLE_CHECKS_MAX = 25;

const PUSHED_BYTES = 2_000_000_000;

/** A stream of which nobody says how long it is, as fast as it is taken. */
async function pushToAll(all: readonly Served[]): Promise<readonly PushPeak[]> {
  const servers = new Map(all.map((served) => [served.server, served.name.split(",")[0] ?? ""]));
  const peaks: PushPeak[] = [];
  for (const [server, name] of servers) {
    const uploads = `http://${server.address}/v2/${PROJECT}/large/blobs/uploads/`;
    const begun = await fetch(uploads, { method: "POST" });
    const location = new URL(begun.headers.get("location") ?? "", uploads);
    await server.forgetPeak();
    const piece = new Uint8Array(1 * MB);
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent >= PUSHED_BYTES) return controller.close();
        sent += piece.byteLength;
        controller.enqueue(piece.slice());
      },
    });
    const answer = await fetch(location, { method: "PATCH", body });
    if (answer.status !== 202) throw new Error(`${name} answered ${answer.status} to a push`);
    peaks.push({ server: name, peakBytes: await server.peakBytes() });
    const cancelled = new URL(answer.headers.get("location") ?? "", uploads);
    await fetch(cancelled, { method: "DELETE" });
  }
  return peaks;
}

async function versions(): Promise<ServeResult["versions"]> {
  const told = present().map(async ({ name, program = "", version }) => {
    const child = Bun.spawn([program, version], { stdio: ["ignore", "pipe", "pipe"] });
    const text = await new Response(child.stdout).text();
    // The path of the program, which some begin with, may have digits too.
    return { name, version: /v?\d+\.\d\S*$/m.exec(text.trim())?.[0] ?? "of no version" };
  });
  return Promise.all(told);
}
