import { Failure, Findings, isFailure, quoted } from "#base";
import { resolveAndFetch, type Source } from "#content";
import type { ActivationStep, ActivationSummary, Work } from "#daemon";
import { type DeliverOptions, deliver, type HandOver } from "#deliver";
import type { Plan } from "#plan";
import type { ClusterInputs } from "#profile";
import { formatReference } from "#reference";
import { applyEdits } from "#runtime";
import type { DiskStore } from "#store";
import { clusterPlatform, isThisMachine } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { dialled } from "./dialled.ts";
import { embeddedAsServed } from "./embedded-address.ts";
import { openHandOver } from "./hand-over.ts";
import { planRedirection, type Redirection } from "./redirection.ts";
import type { RecalledRevision } from "./revision.ts";
import { putInForce } from "./revision-names.ts";
import { openRuntime } from "./runtime.ts";
import { CONTAINERD_CONFIG, defaultConfigDir } from "./runtime-files.ts";

/** Where a revision is activated. */
export interface ActivationPlace {
  /** Open for deliveries. */
  readonly store: DiskStore;
  readonly dataDir: string;
  readonly inputs: ClusterInputs;
  /** Where the store is served by plain http on loopback already, if it is. */
  readonly servedAt: string | undefined;
  readonly context: SiteContext;
}

/**
 * Turns the cluster to a revision that is staged: its names are put in force, the runtime is told of the
 * site's registries and given the images, the operating system its own. It needs no link, each step can
 * be done again, and a step that fails leaves the later ones undone.
 */
export async function activate(
  revision: RecalledRevision,
  place: ActivationPlace,
  work: Work,
): Promise<ActivationSummary> {
  const steps: ActivationStep[] = [];
  for (const [name, act] of STEPS) {
    if (work.signal.aborted) return { outcome: "interrupted", steps };
    const step = await attempt(name, () => act(revision, place, work), work.signal);
    if (step === undefined) return { outcome: "interrupted", steps };
    steps.push(step);
    if (step.outcome === "failed") return { outcome: "failed", steps };
  }
  return { outcome: "done", steps };
}

type Act = (
  revision: RecalledRevision,
  place: ActivationPlace,
  work: Work,
) => Promise<Omit<ActivationStep, "name">>;

const STEPS: readonly (readonly [ActivationStep["name"], Act])[] = [
  ["names", turnNames],
  ["redirect", redirect],
  ["load", load],
  ["hand-over", handOver],
];

async function attempt(
  name: ActivationStep["name"],
  act: () => ReturnType<Act>,
  signal: AbortSignal,
): Promise<ActivationStep | undefined> {
  try {
    return { name, ...(await act()) };
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!isFailure(error)) throw error;
    const { code, message, hint } = error;
    return { name, outcome: "failed", text: message, trouble: { code, message, hint } };
  }
}

async function turnNames(
  { id }: RecalledRevision,
  { store }: ActivationPlace,
  { signal }: Work,
): ReturnType<Act> {
  const changed = await putInForce(store, id, { signal });
  return { outcome: "done", text: `${counted(changed, "name")} changed` };
}

async function redirect({ plan }: RecalledRevision, place: ActivationPlace): ReturnType<Act> {
  const findings = new Findings();
  const redirection = await redirectionOf(plan, place, findings);
  if (redirection === undefined) return skipped("no runtime is named");
  const { files, advice } = redirection;
  const [fault] = findings.faults;
  if (fault !== undefined) {
    const { code, message, remedy: hint } = fault;
    return { outcome: "failed", text: message, trouble: { code, message, hint } };
  }
  applyEdits(files.map(({ edit }) => edit));
  const changed = files.filter(({ change }) => change !== "unchanged").length;
  const next = advice.map(({ text }) => `; ${text}`).join("");
  return { outcome: "done", text: `${counted(changed, "file")} changed${next}` };
}

type RedirectionPlace = Pick<ActivationPlace, "inputs" | "dataDir" | "store">;

async function redirectionOf(
  plan: Plan,
  { inputs, dataDir, store }: RedirectionPlace,
  findings: Findings,
): Promise<Redirection | undefined> {
  const { runtime, runtimeConfigDir } = inputs.site;
  if (runtime === undefined || runtime === "none") return undefined;
  return await planRedirection(
    { plan, inputs },
    {
      ...{ runtime, dataDir, store, via: "site", containerdConfig: CONTAINERD_CONFIG },
      configDir: runtimeConfigDir ?? defaultConfigDir(runtime),
      embedded: embeddedAsServed(inputs.site),
    },
    findings,
  );
}

/** Files of the runtime that an activation would write otherwise than they are. Writes nothing. */
export async function driftOf(plan: Plan, place: RedirectionPlace): Promise<readonly string[]> {
  const findings = new Findings();
  const { files = [] } = (await redirectionOf(plan, place, findings)) ?? {};
  // What can't be merged would not be written: the proof says what comes of that.
  if (findings.faults.length > 0) return [];
  return files.filter(({ change }) => change !== "unchanged").map(({ edit }) => edit.path);
}

async function load(
  { plan }: RecalledRevision,
  place: ActivationPlace,
  work: Work,
): ReturnType<Act> {
  const { store, inputs, context, servedAt } = place;
  const { runtime: kind, runtimeSocket } = inputs.site;
  await using opened = openRuntime({
    ...{ site: { runtime: kind, runtimeSocket }, store, clock: context.clock },
    ...(servedAt === undefined ? {} : { servedAt }),
  });
  const { runtime } = opened;
  if (runtime === undefined) return skipped("no runtime is named");
  if (!isThisMachine(clusterPlatform(inputs.site, context), context))
    return skipped("the images are for other machines");
  const summary = await deliver(plan, { ...fromStore(place, work), runtime });
  work.signal.throwIfAborted();
  const loaded = summary.runtime;
  // An image that the store has lost never came as far as the runtime.
  const [failure] = [...summary.failures, ...(loaded?.failures ?? [])];
  if (failure !== undefined) return failed(failure);
  const here = (loaded?.loaded ?? 0) + (loaded?.present ?? 0);
  return { outcome: "done", text: `${counted(here, "image")} in the runtime` };
}

async function handOver(
  { plan }: RecalledRevision,
  place: ActivationPlace,
  work: Work,
): ReturnType<Act> {
  const { store, dataDir, inputs, context } = place;
  const opened = openHandOver(inputs.site.provider.handOver, {
    ...{ store, dataDir, context, isAgain: false },
    registry: dialled(inputs.site.listen),
  });
  if (opened === undefined) return skipped("nothing is to be handed over");
  const ended: { text: string } = { text: "there is no provider image" };
  const heard: HandOver = {
    async run(image, options) {
      const end = await opened.run(image, options);
      ended.text =
        end.outcome === "present" ? "it was handed over before" : `handed over as ${end.target}`;
      return end;
    },
  };
  const { failures } = await deliver(plan, {
    ...fromStore(place, work),
    until: "provider",
    provider: { handOver: heard },
  });
  work.signal.throwIfAborted();
  const [failure] = failures;
  return failure === undefined ? { outcome: "done", text: ended.text } : failed(failure);
}

/** Nothing is fetched: what the names that are in force lead to is all that there is. */
function fromStore({ store, inputs, context }: ActivationPlace, work: Work): DeliverOptions {
  const { clock, random } = context;
  return {
    ...{ store, clock, random, signal: work.signal, emit: (event) => work.emit(event) },
    platform: clusterPlatform(inputs.site, context),
    attachments: "never",
    generations: {
      begin: async () => undefined,
      complete: async () => undefined,
      kept: () => store.generations.kept(),
    },
    openSource: ({ declared }) => storedSource(store, formatReference(declared)),
  };
}

function storedSource(store: DiskStore, name: string): Source {
  return {
    async resolve() {
      const root = await store.lookup(name);
      if (root === undefined) throw nameMissing(name);
      return root;
    },
    fetchManifest(tagOrDigest, options) {
      return resolveAndFetch(this, tagOrDigest, options);
    },
    fetch: (descriptor, options) => store.fetch(descriptor, options),
  };
}

function nameMissing(name: string): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot find ${quoted(name)} in the store: its name is gone, expected what was staged`,
    hint: "Ask for `dray stage`, which brings what is missing",
  });
}

function skipped(why: string): Omit<ActivationStep, "name"> {
  return { outcome: "skipped", text: why };
}

function failed({
  code,
  message,
  hint,
}: NonNullable<ActivationStep["trouble"]>): Omit<ActivationStep, "name"> {
  return { outcome: "failed", text: message, trouble: { code, message, hint } };
}

function counted(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}
