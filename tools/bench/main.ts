import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CONTENDERS, type Contender, emptyFolder, heldBytes, versionOf } from "./contender.ts";
import type { FilledSet } from "./fill.ts";
import { type ImageGroup, imagesOf } from "./image-set.ts";
import { type Link, openLink } from "./link.ts";
import { canLoad } from "./load.ts";
import { describeMachine, measure } from "./measure.ts";
import { plot } from "./plot.ts";
import { type BenchRegistry, type FilledRegistry, startEmbedded, startFilled } from "./registry.ts";
import { formatReport, formatTable, type ReportHead } from "./report.ts";
import type { Run, ScenarioResult } from "./result.ts";
import { FULL, QUICK, type Scenario } from "./scenario.ts";
import { runServe, type ServeResult } from "./serve.ts";
import { formatServe, plotServe } from "./serve-report.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** The comparison of registries, which is unlike the others: servers are measured, and not clients. */
const SERVE = "serve";

const USAGE = `npm run bench -- [options]

Compares drayage with skopeo, crane and curl, and its registry with others; writes benchmarks.md and
its pictures.

  --quick            about two minutes: smaller sets, fewer rounds
  --only NAME        this scenario; may be repeated (${[...FULL.map(({ name }) => name), SERVE].join(", ")})
  --contender NAME   this program; may be repeated (${CONTENDERS.map(({ name }) => name).join(", ")})
  --rounds N         so many rounds of each scenario
  --seconds N        how long the clients of ${SERVE} ask for each thing; 3 by default
  --images N --layers N --layer-bytes N --shared N
                     other images than the scenario's own
  --out FOLDER       where to write; docs for all scenarios, dist/bench for a part of them
  --work FOLDER      where the programs write what they pull; by default a folder in ${tmpdir()}

Environment: DRAY names the program to measure; by default dist/dray, else bin/dray.`;

const SERVE_ROUNDS = 3;

/** Runs the chosen scenarios, and writes what came of those so far after each. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      contender: { type: "string", multiple: true },
      rounds: { type: "string" },
      seconds: { type: "string", default: "3" },
      images: { type: "string" },
      layers: { type: "string", default: "1" },
      "layer-bytes": { type: "string", default: "16000000" },
      shared: { type: "string", default: "0" },
      out: { type: "string" },
      work: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const set =
    values.images === undefined ? undefined : groupOf({ ...values, images: values.images });
  const scenarios = (values.quick ? QUICK : FULL)
    .filter(({ name }) => values.only?.includes(name) ?? true)
    .filter(isPossible)
    .map((scenario) => ({
      ...scenario,
      ...(values.rounds === undefined ? {} : { rounds: Number(values.rounds) }),
      ...(set === undefined ? {} : set),
    }));
  const contenders = scenarios.length === 0 ? [] : present(values.contender);
  const isAll = !values.quick && values.only === undefined && set === undefined;
  const out = values.out ?? join(ROOT, isAll ? "docs" : "dist/bench");
  const head = await describe(contenders);
  const results: ScenarioResult[] = [];
  const signal = untilInterrupted();
  for await (const result of runAll(scenarios, contenders, {
    work: values.work ?? tmpdir(),
    signal,
  })) {
    results.push(result);
    console.log(`\n${result.scenario.title}\n\n${formatTable(result)}`);
    await write(out, head, results);
  }
  if (isAll || values.only?.includes(SERVE)) {
    if (!canLoad) throw new Error(`${SERVE} needs gcc, to build its clients`);
    const rounds = Number(values.rounds ?? SERVE_ROUNDS);
    const seconds = Number(values.seconds);
    const serve = await runServe({ rounds, seconds, signal, onRun: (line) => console.log(line) });
    console.log(`\n${formatServe(serve)}`);
    await write(out, head, results, serve);
  }
  console.log(`Written: ${join(out, "benchmarks.md")}`);
}

function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => controller.abort(new Error("interrupted")));
  }
  return controller.signal;
}

function groupOf(values: {
  readonly images: string;
  readonly layers: string;
  readonly "layer-bytes": string;
  readonly shared: string;
}): { readonly set: readonly ImageGroup[]; readonly title: string } {
  const [images, layers, bytes, shared] = [
    values.images,
    values.layers,
    values["layer-bytes"],
    values.shared,
  ].map(Number) as [number, number, number, number];
  const layerBytes = Array<number>(layers).fill(bytes);
  const title = `${images} images of ${layers} layers of ${bytes} bytes, ${shared} of them shared`;
  return { set: [{ images, layerBytes, sharedLayers: shared }], title };
}

/** Only root may empty the page cache. */
function isPossible({ name, cache }: Scenario): boolean {
  if (cache === "warm" || process.getuid?.() === 0) return true;
  console.log(`${name} is left out: it needs root`);
  return false;
}

function present(names: readonly string[] | undefined): readonly Contender[] {
  return CONTENDERS.filter(({ name, missing }) => {
    if (!(names?.includes(name) ?? true)) return false;
    if (missing !== undefined) console.log(`${name} is left out: ${missing} is not here`);
    return missing === undefined;
  });
}

async function describe(contenders: readonly Contender[]): Promise<ReportHead> {
  const options = process.argv.slice(2);
  return {
    machine: await describeMachine(),
    date: new Date().toISOString().slice(0, 10),
    command: ["npm run bench", ...(options.length === 0 ? [] : ["--", ...options])].join(" "),
    contenders: await Promise.all(
      contenders.map(async (contender) => ({
        name: contender.name,
        does: contender.does,
        version: await versionOf(contender),
      })),
    ),
  };
}

async function write(
  out: string,
  head: ReportHead,
  results: readonly ScenarioResult[],
  serve?: ServeResult,
): Promise<void> {
  await mkdir(join(out, "images"), { recursive: true });
  const report = formatReport(head, results);
  const more = serve === undefined ? "" : `\n${formatServe(serve)}`;
  await writeFile(join(out, "benchmarks.md"), report + more);
  if (serve !== undefined)
    await writeFile(join(out, "images", "bench-serve.svg"), plotServe(serve));
  for (const result of results) {
    await writeFile(join(out, "images", `bench-${result.scenario.name}.svg`), plot(result));
  }
}

/** Scenarios of one set follow each other, and share the registry that was filled with it. */
async function* runAll(
  scenarios: readonly Scenario[],
  contenders: readonly Contender[],
  { work, signal }: { readonly work: string; readonly signal: AbortSignal },
): AsyncGenerator<ScenarioResult> {
  const folder = await mkdtemp(join(work, "dray-bench-"));
  try {
    for (const set of new Set(scenarios.map((scenario) => scenario.set))) {
      await using source = await startFilled(imagesOf(set));
      for (const scenario of scenarios.filter((one) => one.set === set)) {
        yield await runScenario(scenario, { contenders, source, folder, signal });
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Bench {
  readonly contenders: readonly Contender[];
  readonly source: FilledRegistry;
  /** Scratch. */
  readonly folder: string;
  /** Aborted by Ctrl-C: what was started ends, and nothing stays behind. */
  readonly signal: AbortSignal;
}

/** Every contender in turn, and that as often as there are rounds: a slow minute hits all of them. */
async function runScenario(scenario: Scenario, bench: Bench): Promise<ScenarioResult> {
  const { source, contenders, folder, signal } = bench;
  await using undo = new AsyncDisposableStack();
  const registry =
    scenario.registry === "embedded" ? undo.use(await startEmbedded(source, folder)) : source;
  const link = undo.use(await openLink(scenario.link, registry.address));
  const results = contenders.map(({ name }) => ({ contender: name, runs: [] as Run[] }));
  for (let round = 1; round <= scenario.rounds; round += 1) {
    for (const [i, contender] of contenders.entries()) {
      const place = { scenario, registry, link, set: source.set, folder, signal };
      const run = await runOnce(contender, place);
      results[i]?.runs.push(run);
      tell(scenario, round, contender, run);
    }
  }
  return { scenario, setBytes: source.set.bytes, link: link.made, results };
}

function tell({ name }: Scenario, round: number, contender: Contender, run: Run): void {
  const figures = `${(run.wallMs / 1e3).toFixed(2)} s, ${(run.peakBytes / 1e6).toFixed(0)} MB`;
  const end = run.isComplete ? "" : `: not complete\n${run.output.trim().slice(-400)}`;
  console.log(`${name} ${round} ${contender.name.padEnd(8)} ${figures}${end}`);
}

interface Place extends Pick<Bench, "folder" | "signal"> {
  readonly scenario: Scenario;
  readonly registry: BenchRegistry;
  readonly link: Link;
  readonly set: FilledSet;
}

async function runOnce(contender: Contender, place: Place): Promise<Run> {
  const { scenario, registry, link, set, folder, signal } = place;
  const target = await emptyFolder(join(folder, "target"));
  const inputs = await emptyFolder(join(folder, "inputs"));
  const { address } = link;
  const { project } = registry;
  const command = await contender.prepare({ address, project, set, target, inputs });
  const once = async (): Promise<Run> => {
    const movedBefore = await movedBytes(place);
    const { timeLimitMs } = scenario;
    const cost = await measure([...link.enter, "sh", "-c", command], { timeLimitMs, signal });
    const isComplete = cost.exitCode === 0 && (await isHere(target, set));
    return { ...cost, movedBytes: (await movedBytes(place)) - movedBefore, isComplete };
  };
  // What others wrote must not be waited for in our `sync`.
  await settleDisk(scenario.cache);
  const first = await once();
  const again = first.isComplete && scenario.cache === "warm" ? await once() : undefined;
  await rm(target, { recursive: true, force: true });
  return { ...first, again };
}

async function movedBytes({ link, registry }: Place): Promise<number> {
  return (await link.bytesMoved()) ?? (await registry.bytesSent());
}

async function isHere(target: string, set: FilledSet): Promise<boolean> {
  const wanted = set.blobs.reduce((sum, { bytes }) => sum + bytes, 0);
  return (await heldBytes(target, set)) === wanted;
}

/** Puts the disk at rest, and for a cold run empties the page cache, which only root can. */
async function settleDisk(cache: Scenario["cache"]): Promise<void> {
  const drop = cache === "cold" ? " && echo 3 > /proc/sys/vm/drop_caches" : "";
  await Bun.spawn(["sh", "-c", `sync${drop}`], { stdio: ["ignore", "ignore", "ignore"] }).exited;
}

await main();
