import { isFailure, printable } from "#base";
import { type CredentialReport, CredentialWatch } from "#credential";
import type { ActivationSummary, DiskUse, ProofSummary, UpkeepSummary, Work } from "#daemon";
import type { DeliverySummary } from "#deliver";
import { formatPlatform } from "#oci";
import { isAddress } from "#profile";
import { type Proof, prove } from "#prove";
import type { RemoteNotice } from "#remote";
import type { SiteArtifact } from "#steering";
import { holdNames, nameOfRevision, openStore } from "#store";
import { activate, driftOf } from "./activation.ts";
import { clusterPlatform } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { checkCredentials } from "./credentials.ts";
import { deliverToSite } from "./delivery.ts";
import { readDiskUse } from "./disk-use.ts";
import { filesAsKept, KeepingFiles } from "./kept-inputs.ts";
import { openStoreIfThere } from "./own-store.ts";
import { type Planned, type PlanSources, planInputs } from "./plan-inputs.ts";
import { openProvenSite } from "./proven-site.ts";
import { namesIn, type RecalledRevision, recallRevision, revisionOf } from "./revision.ts";
import { openRevisionNames } from "./revision-names.ts";
import { CONTAINERD_CONFIG } from "./runtime-files.ts";
import { siteSettings } from "./site-settings.ts";
import { asStarted, changedSinceStart } from "./started-site.ts";
import {
  fetchArtifacts,
  haveArtifactsMoved,
  readSteeringAddresses,
  steeringNames,
} from "./steering.ts";
import { toldFailure } from "./told-failure.ts";
import { collectUpkeep, verifyUpkeep } from "./upkeep.ts";
import type {
  InputsRead,
  InputsUnread,
  WorkKind,
  WorkKinds,
  WorkOfRevision,
  WorkOrder,
  WorkSite,
} from "./work.ts";

/** What a piece of work is done with. */
export interface Workplace extends Work {
  readonly context: SiteContext;
  readonly onNotice: (notice: RemoteNotice) => void;
  /** Something that went wrong and stopped nothing. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Does one piece of an agent's work.
 *
 * @throws {Failure} what the world did; the reason of the signal
 */
export function doWork<K extends WorkKind>(
  order: WorkOrder<K>,
  place: Workplace,
): Promise<WorkKinds[K]["result"]> {
  return WORK[order.kind](order, place);
}

type Piece<K extends WorkKind> = (
  order: WorkOrder<K>,
  place: Workplace,
) => Promise<WorkKinds[K]["result"]>;

const WORK: { readonly [K in WorkKind]: Piece<K> } = {
  read: readInputs,
  look: lookElsewhere,
  stage,
  activate: activateRevision,
  drift: lookForDrift,
  prove: proveRevision,
  verify,
  collect,
  credentials: tryCredentials,
  keep,
  disk: countDisk,
};

/** With what registries have under the addresses among the profiles. */
async function readInputs(
  { site }: WorkOrder,
  place: Workplace,
): Promise<InputsRead | InputsUnread> {
  const { sources, dataDir } = site;
  const { signal, onNotice, onTrouble } = place;
  const files = new KeepingFiles(place.context.files);
  const context = { ...place.context, files };
  await using store = await openStoreIfThere(dataDir, context);
  const isSteered = readSteeringAddresses(sources, context).length > 0;
  const options = { store, signal, onNotice, onStale: onTrouble };
  let artifacts: readonly SiteArtifact[];
  try {
    artifacts = isSteered ? await fetchArtifacts(sources, context, options) : [];
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { failure: toldFailure(error), watched: files.versions() };
  }
  let restart: readonly string[] = [];
  const planned = planInputs(sources, context, artifacts, (meant) => {
    restart = changedSinceStart(meant, site.started);
    return asStarted(meant, site.started);
  });
  const { plan, inputs } = planned;
  const seenMs = context.clock.now();
  return {
    seen: {
      revision: revisionOf(planned, { source: sourceOf(planned, sources), seenMs }),
      warnings: plan.warnings,
      faults: plan.faults,
    },
    inputs: { ...files.kept(), artifacts },
    watched: files.versions(),
    settings: siteSettings(inputs.site, context, restart),
  };
}

/** Files as they are named; of what registries steer, which version of it. */
function sourceOf({ inputs, artifacts }: Planned, { profile }: PlanSources): string {
  const files = (profile ?? inputs.site.profiles).filter((name) => !isAddress(name));
  return printable([...files, ...artifacts.map(({ location }) => location)].join(", "));
}

function lookElsewhere(
  { site: { sources }, order: { artifacts } }: WorkOrder<"look">,
  { context, signal, onNotice }: Workplace,
): Promise<boolean> {
  return haveArtifactsMoved(sources, artifacts, context, { signal, onNotice });
}

async function stage(order: WorkOrder<"stage">, place: Workplace): Promise<DeliverySummary> {
  const { dataDir } = order.site;
  const { context, signal, emit, onNotice } = place;
  const { id, plan, planned } = recall(order, place);
  await using store = await openReserved(order, place);
  const own = (name: string) => nameOfRevision(id, name);
  const { summary } = await deliverToSite(
    { plan, inputs: planned.inputs },
    {
      ...{ store, dataDir, signal, emit, onNotice },
      names: openRevisionNames(store, id),
      generations: {
        begin: (names) => {
          const declared = [...names];
          return store.generations.begin([...declared, ...declared.map(own)]);
        },
        complete: () => store.generations.complete(),
        kept: () => store.generations.kept(),
      },
    },
    context,
  );
  return summary;
}

async function activateRevision(
  order: WorkOrder<"activate">,
  place: Workplace,
): Promise<ActivationSummary> {
  const { dataDir } = order.site;
  const { context } = place;
  const { id, plan, planned } = recall(order, place);
  await using store = await openReserved(order, place);
  const servedAt = order.order.servedAt ?? undefined;
  const where = { store, dataDir, inputs: planned.inputs, context, servedAt };
  return await activate({ id, plan }, where, place);
}

async function lookForDrift(
  order: WorkOrder<"drift">,
  place: Workplace,
): Promise<readonly string[]> {
  const { dataDir } = order.site;
  const { plan, planned } = recall(order, place);
  await using store = await openToRead(order, place);
  return await driftOf(plan, { store, dataDir, inputs: planned.inputs });
}

async function proveRevision(
  order: WorkOrder<"prove">,
  place: Workplace,
): Promise<WorkKinds["prove"]["result"]> {
  const { context, signal } = place;
  const { plan, planned } = recall(order, place);
  const { inputs } = planned;
  const where = { dataDir: order.site.dataDir, containerdConfig: CONTAINERD_CONFIG };
  await using site = await openProvenSite({ plan, inputs }, where, context, signal);
  const platform = clusterPlatform(inputs.site, context);
  const depth = order.order.full ? ({ kind: "full" } as const) : ({ kind: "ends" } as const);
  const document = await prove(plan, {
    ...site.ports,
    site: { ...site.state, platform: formatPlatform(platform), depth },
    ...{ platform, signal, clock: context.clock },
  });
  return { summary: summaryOf(document), document: JSON.stringify(document) };
}

async function verify(order: WorkOrder<"verify">, place: Workplace): Promise<UpkeepSummary> {
  await using store = await openToRead(order, place);
  return await verifyUpkeep(order.order.scope, { ...upkeepPlace(order, place), store });
}

function collect(order: WorkOrder<"collect">, place: Workplace): Promise<UpkeepSummary> {
  return collectUpkeep(order.order.dryRun, upkeepPlace(order, place));
}

async function tryCredentials(
  order: WorkOrder<"credentials">,
  place: Workplace,
): Promise<readonly CredentialReport[]> {
  const { context, signal } = place;
  const { plan, planned } = recall(order, place);
  const events = await checkCredentials(
    { plan, inputs: planned.inputs },
    context,
    // The agent remembers earlier looks.
    { signal, dataDir: order.site.dataDir, watch: new CredentialWatch() },
  );
  return events.map(({ report }) => report);
}

/** Beside whatever is delivered meanwhile: what gives way to a new revision may take its time. */
async function keep(
  { site, order: { revisions, names } }: WorkOrder<"keep">,
  { context }: Workplace,
): Promise<null> {
  const { sources, dataDir } = site;
  const steering = [...steeringNames(sources, asInForce(site, context)), ...names];
  const held = Object.entries(revisions).map(([role, record]) => {
    const { id, declared } = namesIn(record);
    const own = declared.map((name) => nameOfRevision(id, name));
    return [role, [...declared, ...own, ...steering]] as const;
  });
  await holdNames(dataDir, Object.fromEntries(held), context);
  return null;
}

async function countDisk(order: WorkOrder<"disk">, place: Workplace): Promise<DiskUse> {
  await using store = await openToRead(order, place);
  const kept = Object.entries(order.order.revisions).map(([role, record]) => [
    role,
    namesIn(record),
  ]);
  const { dataDir } = order.site;
  return await readDiskUse(dataDir, store, Object.fromEntries(kept), place.context.clock.now());
}

/** A revision, with how registries are talked to as the inputs say that are in force. */
function recall(
  { site, order: { record } }: WorkOrder<WorkOfRevision>,
  { context }: Workplace,
): RecalledRevision & { readonly planned: Planned } {
  const { sources, started, inputs } = site;
  const planned = planInputs(sources, asInForce(site, context), inputs?.artifacts, (meant) =>
    asStarted(meant, started),
  );
  return { ...recallRevision(record, planned), planned };
}

/** The machine with its input files as they are in force. */
function asInForce({ inputs }: WorkSite, context: SiteContext): SiteContext {
  return inputs === null ? context : { ...context, files: filesAsKept(inputs) };
}

function openReserved({ site: { dataDir } }: WorkOrder, { context: { clock } }: Workplace) {
  return openStore(dataDir, { clock, isReserved: true });
}

function openToRead({ site: { dataDir } }: WorkOrder, { context: { clock } }: Workplace) {
  return openStore(dataDir, { clock, readOnly: true });
}

function upkeepPlace({ site: { dataDir } }: WorkOrder, { context, signal }: Workplace) {
  return { dataDir, signal, clock: context.clock, random: context.random };
}

/** What is wanting that is told one by one. */
const WANTING_MAX = 100;

function summaryOf(proof: Proof): ProofSummary {
  const { ok, references, site, digest } = proof;
  const held = references.filter((reference) => reference.ok).length;
  const wanting = [
    ...site.problems.map((problem) => ({ ...problem, image: "" })),
    ...references.flatMap(({ declared, problems }) =>
      problems.map((problem) => ({ ...problem, image: declared })),
    ),
  ];
  const total = `${held} of ${references.length} references`;
  return {
    at: Date.parse(proof.at),
    ok,
    sentence: ok ? `This site is ready offline: ${total}` : `Not ready offline: ${total}`,
    references: references.length,
    held,
    wanting: wanting.slice(0, WANTING_MAX).map(({ remedy: hint, ...rest }) => ({ ...rest, hint })),
    digest,
  };
}
