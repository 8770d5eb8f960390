import { isFailure, printable } from "#base";
import { CredentialWatch } from "#credential";
import {
  type AgentSettings,
  DEFAULT_AGENT_SETTINGS,
  type ImageWhereabouts,
  type LinkState,
  type Operations,
  type ProofSummary,
  type Revision,
  type Ways,
} from "#daemon";
import { openLink } from "#link";
import { formatPlatform } from "#oci";
import { planDocument } from "#plan";
import { isAddress, type Site, type SiteAgent } from "#profile";
import { type Proof, prove } from "#prove";
import { formatReference } from "#reference";
import { createAccess, limitRequests, openAccess, openHtpasswd } from "#registry";
import type { RemoteNotice } from "#remote";
import { keepArtifact, pollDelayMs, type SiteArtifact } from "#steering";
import { createDiskLedger, type DiskStore, nameOfRevision } from "#store";
import { activate, driftOf } from "./activation.ts";
import { clusterPlatform } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { checkCredentials } from "./credentials.ts";
import { deliverToSite } from "./delivery.ts";
import { dialled } from "./dialled.ts";
import { readDiskUse } from "./disk-use.ts";
import { serveEmbedded } from "./embedded-registry.ts";
import { explainImage } from "./explanation.ts";
import { type Planned, type PlanSources, planInputs } from "./plan-inputs.ts";
import { openProvenSite } from "./proven-site.ts";
import { recallRevision, revisionOf } from "./revision.ts";
import { openRevisionNames } from "./revision-names.ts";
import { CONTAINERD_CONFIG } from "./runtime-files.ts";
import { listRuntimeImages, runtimeSocketOf } from "./runtime-images.ts";
import { asStarted, changedSinceStart } from "./started-site.ts";
import { fetchArtifacts, haveArtifactsMoved, readSteeringAddresses } from "./steering.ts";
import { collectUpkeep, verifyUpkeep } from "./upkeep.ts";
import { WatchedFiles } from "./watched-files.ts";
import { Whereabouts } from "./whereabouts.ts";

/** What a site is driven with, for good. */
export interface SiteOperationsOptions {
  /** What is read, again and again. */
  readonly sources: PlanSources;
  readonly dataDir: string;
  /** Open for deliveries; it stays open. */
  readonly store: DiskStore;
  /** The same store, open in the role of a registry; it stays open. */
  readonly served: DiskStore;
  readonly context: SiteContext;
  /** The site file as it was when the agent started, with what stands on the command line. */
  readonly started: Site;
  /** What stands on the command line: of these keys the site file has no say. */
  readonly overruled: ReadonlySet<string>;
  /** Something that a person may want to know, as a sentence. */
  readonly onNews: (text: string) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** How long requests to the registry may go on once the agent ends, in milliseconds. */
const STOP_MS = 1_500;

/** How often a registry that steers is asked, where the site file does not say. */
const POLL_MS = 5 * 60_000;

const UPLOAD_AGE_MS = 24 * 3_600_000;

/** One site, as its agent drives it. */
export function createSiteOperations(options: SiteOperationsOptions): Operations {
  return new SiteOperations(options);
}

class SiteOperations implements Operations {
  readonly #options: SiteOperationsOptions;
  readonly #files: WatchedFiles;
  readonly #watch = new CredentialWatch();
  readonly #whereabouts: Whereabouts;
  #read: Planned | undefined;
  /** The inputs that were read last without a fault: what is wrong with newer ones harms nothing. */
  #sound: Planned | undefined;
  /** What of them counts only once the agent is started again. */
  #changed: readonly string[] = [];
  /** Where the store is served by plain http. */
  #servedAt: string | undefined;

  constructor(options: SiteOperationsOptions) {
    this.#options = options;
    const { files, clock } = options.context;
    this.#files = new WatchedFiles(files, clock);
    this.#whereabouts = new Whereabouts({
      clock,
      listRuntime: (socket, signal) => listRuntimeImages(socket, clock, signal),
    });
  }

  async read(signal: AbortSignal): Promise<Revision> {
    const { context } = this.#options;
    const planned = await this.#planSteered(signal);
    return revisionOf(planned, { source: this.#source(planned), seenMs: context.clock.now() });
  }

  ways(): Ways {
    const { agent, link, fetcher } = this.#now().inputs.site;
    const restart = this.#changed.filter((key) => !this.#options.overruled.has(key));
    return { settings: settingsOf(agent), link: JSON.stringify([link, fetcher]), restart };
  }

  async recall(record: string): Promise<Revision> {
    return recallRevision(record, this.#now());
  }

  async changed(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    try {
      await Promise.race([this.#files.changed(until), this.#steeredElsewhere(until)]);
    } finally {
      over.abort();
    }
  }

  /** Resolves when a registry that steers has something else than what was read. */
  async #steeredElsewhere(signal: AbortSignal): Promise<void> {
    const { sources, context, onTrouble } = this.#options;
    for (;;) {
      const { pollMs = POLL_MS } = this.#now().inputs.site.agent;
      await context.clock.sleep(pollDelayMs(pollMs, context.random()), signal);
      const artifacts = this.#read?.artifacts ?? [];
      if (artifacts.length === 0) continue;
      try {
        const options = { signal, onNotice: this.#notice };
        if (await haveArtifactsMoved(sources, artifacts, context, options)) return;
      } catch (error) {
        if (signal.aborted || !isFailure(error)) throw error;
        onTrouble(error);
      }
    }
  }

  async explain({ plan }: Revision, reference: string): Promise<unknown> {
    return plan.stages
      .flatMap(({ images }) => images)
      .filter(({ declared }) => formatReference(declared) === reference)
      .map(explainImage);
  }

  planDocument({ plan }: Revision): unknown {
    return planDocument(plan);
  }

  async stage(revision: Revision, { signal, emit }: Parameters<Operations["stage"]>[1]) {
    const { store, dataDir, context } = this.#options;
    const { inputs } = this.#now();
    const own = (name: string) => nameOfRevision(revision.id, name);
    const { summary } = await deliverToSite(
      { plan: revision.plan, inputs },
      {
        ...{ store, dataDir, signal, emit, onNotice: this.#notice },
        names: openRevisionNames(store, revision.id),
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

  activate(revision: Revision, work: Parameters<Operations["activate"]>[1]) {
    const { store, dataDir, context } = this.#options;
    const { inputs } = this.#now();
    const place = { store, dataDir, inputs, context, servedAt: this.#servedAt };
    return activate(revision, place, work);
  }

  drift(revision: Revision): Promise<readonly string[]> {
    const { store, dataDir } = this.#options;
    return driftOf(revision, { store, dataDir, inputs: this.#now().inputs });
  }

  async keep(revisions: Parameters<Operations["keep"]>[0]): Promise<void> {
    const steering = (this.#read?.artifacts ?? []).map(({ name }) => name);
    const names = Object.entries(revisions).map(([role, { id, plan }]) => {
      const declared = plan.stages.flatMap(({ images }) =>
        images.map((image) => formatReference(image.declared)),
      );
      const own = declared.map((name) => nameOfRevision(id, name));
      return [role, [...declared, ...own, ...steering]] as const;
    });
    await this.#options.store.generations.hold(Object.fromEntries(names));
  }

  async prove(revision: Revision, { full }: { readonly full: boolean }, signal: AbortSignal) {
    const { dataDir, context } = this.#options;
    const planned = { plan: revision.plan, inputs: this.#now().inputs };
    const where = { dataDir, containerdConfig: CONTAINERD_CONFIG };
    await using site = await openProvenSite(planned, where, context, signal);
    const platform = clusterPlatform(planned.inputs.site, context);
    const depth = full ? ({ kind: "full" } as const) : ({ kind: "ends" } as const);
    const document = await prove(revision.plan, {
      ...site.ports,
      site: { ...site.state, platform: formatPlatform(platform), depth },
      ...{ platform, signal, clock: context.clock },
    });
    return { summary: summaryOf(document), document };
  }

  verify(scope: Parameters<Operations["verify"]>[0], signal: AbortSignal) {
    return verifyUpkeep(scope, this.#upkeep(signal));
  }

  collect({ dryRun }: { readonly dryRun: boolean }, signal: AbortSignal) {
    return collectUpkeep(dryRun, this.#upkeep(signal));
  }

  async credentials({ plan }: Revision, signal: AbortSignal) {
    const { dataDir, context } = this.#options;
    const planned = { plan, inputs: this.#now().inputs };
    const check = { signal, dataDir, watch: this.#watch };
    const events = await checkCredentials(planned, context, check);
    return events.map(({ report }) => report);
  }

  async serveRegistry(signal: AbortSignal, onListening: (address: string) => void): Promise<void> {
    const { served, context, onNews, onTrouble } = this.#options;
    const { clock } = context;
    const { registry } = this.#now().inputs.site;
    const { tls, htpasswd, pushers, anonymousPull } = registry;
    const access =
      htpasswd === undefined
        ? openAccess
        : createAccess({
            ...{ clock, anonymousPull, users: await openHtpasswd(htpasswd) },
            ...(pushers === undefined ? {} : { pushers: new Set(pushers) }),
          });
    const [, hostname = "", port = ""] = /^(.*):(\d+)$/.exec(registry.listen) ?? [];
    try {
      await serveEmbedded({
        ...{ store: served, clock, signal, onNews, onTrouble },
        ...{ hostname: hostname === "" ? "0.0.0.0" : hostname, port: Number(port) },
        ...(tls === undefined ? {} : { tls }),
        access: limitRequests(access, { clock }),
        ...{ isWritable: true, isDeletable: true, isListed: false },
        ...{ uploadAgeMs: UPLOAD_AGE_MS, stopMs: STOP_MS },
        onListening: (url) => {
          const isOpen = tls === undefined && htpasswd === undefined;
          this.#servedAt = isOpen ? dialled(url.replace("http://", "")) : undefined;
          onListening(url);
        },
        onRequest: ({ error }) => {
          if (error !== undefined) onTrouble(error);
        },
      });
    } finally {
      this.#servedAt = undefined;
    }
  }

  disk(revisions: Parameters<Operations["disk"]>[0]) {
    const { dataDir, store, context } = this.#options;
    return readDiskUse(dataDir, store, revisions, context.clock.now());
  }

  async link(): Promise<LinkState> {
    const { dataDir, context } = this.#options;
    const { clock } = context;
    const settings = this.#now().inputs.site.link;
    const { read } = createDiskLedger(dataDir);
    // It is only looked at: who delivers keeps the ledger.
    const ledger = { read, write: async () => undefined };
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    const link = await openLink(settings, { clock, ledger, timeZone });
    const { bytesPerSecond, untilMs } = link.openAt(clock.now());
    const left = link.quotaLeft();
    const { quota } = settings;
    return {
      capBytesPerSecond: Number.isFinite(bytesPerSecond) ? bytesPerSecond : null,
      untilMs: Number.isFinite(untilMs) ? untilMs : null,
      quota:
        quota === undefined || left === undefined
          ? null
          : { bytes: quota.bytes, usedBytes: quota.bytes - left.bytes, renewsMs: left.renewsMs },
    };
  }

  whereabouts({ id, plan }: Revision): Promise<ReadonlyMap<string, ImageWhereabouts>> {
    const { store, context } = this.#options;
    const { inputs } = this.#now();
    const names = openRevisionNames(store, id);
    const platform = clusterPlatform(inputs.site, context);
    return this.#whereabouts.of({
      ...{ plan, store: names, platform },
      socket: runtimeSocketOf(inputs.site),
    });
  }

  /** With what registries have under the addresses among the profiles. */
  async #planSteered(signal: AbortSignal): Promise<Planned> {
    const { sources, context, store, onTrouble } = this.#options;
    this.#files.begin();
    const watched = { ...context, files: this.#files };
    const named = readSteeringAddresses(sources, watched);
    if (named.length === 0) return this.#plan();
    const options = { store, signal, onNotice: this.#notice, onStale: onTrouble };
    const artifacts = await fetchArtifacts(sources, watched, options);
    for (const artifact of artifacts) await keepArtifact(store, artifact);
    return this.#plan(artifacts);
  }

  #plan(artifacts: readonly SiteArtifact[] = []): Planned {
    const { sources, context, started } = this.#options;
    let changed: readonly string[] = [];
    this.#files.begin();
    const watched = { ...context, files: this.#files };
    const planned = planInputs(sources, watched, artifacts, (site) => {
      changed = changedSinceStart(site, started);
      return asStarted(site, started);
    });
    this.#files.end();
    this.#read = planned;
    if (planned.plan.faults.length > 0) return planned;
    this.#sound = planned;
    this.#changed = changed;
    return planned;
  }

  /** What registries, runtime and link are dealt with by: the newest inputs that are of use. */
  #now(): Planned {
    return this.#sound ?? this.#read ?? this.#plan();
  }

  /** Files as they are named; of what registries steer, which version of it. */
  #source({ inputs, artifacts }: Planned): string {
    const { profile = inputs.site.profiles } = this.#options.sources;
    const files = profile.filter((name) => !isAddress(name));
    return printable([...files, ...artifacts.map(({ location }) => location)].join(", "));
  }

  #upkeep(signal: AbortSignal) {
    const { dataDir, store, context } = this.#options;
    return { dataDir, store, signal, clock: context.clock, random: context.random };
  }

  readonly #notice = ({ registry, message }: RemoteNotice): void => {
    this.#options.onNews(`${printable(registry)}: ${message}`);
  };
}

function settingsOf(agent: SiteAgent): AgentSettings {
  const standard = DEFAULT_AGENT_SETTINGS;
  return {
    ...standard,
    activation: agent.activation,
    resyncMs: agent.resyncMs ?? standard.resyncMs,
    credentialsMs: agent.credentialsMs ?? standard.credentialsMs,
    proveMs: agent.proveMs ?? standard.proveMs,
    verifyMs: agent.verifyMs ?? standard.verifyMs,
    collectMs: agent.collectMs ?? standard.collectMs,
  };
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
