import { isFailure } from "#base";
import { CredentialWatch } from "#credential";
import type {
  ImageWhereabouts,
  InputsSeen,
  LinkState,
  Operations,
  Revision,
  Ways,
  Work,
} from "#daemon";
import { openLink } from "#link";
import type { Plan } from "#plan";
import type { Site } from "#profile";
import { formatReference } from "#reference";
import { createAccess, limitRequests, openAccess, openHtpasswd } from "#registry";
import { keepArtifact, pollDelayMs, type SiteArtifact } from "#steering";
import { createDiskLedger, type DiskStore } from "#store";
import type { SiteContext } from "./context.ts";
import { dialled } from "./dialled.ts";
import { serveEmbedded } from "./embedded-registry.ts";
import { explainImage } from "./explanation.ts";
import type { KeptInputs } from "./kept-inputs.ts";
import type { PlanSources } from "./plan-inputs.ts";
import { recallToShow } from "./revision.ts";
import { openRevisionNames } from "./revision-names.ts";
import { listRuntimeImages } from "./runtime-images.ts";
import { type SiteSettings, siteSettings } from "./site-settings.ts";
import { startedSite } from "./started-site.ts";
import { machineTimeZone } from "./time-zone.ts";
import { heardFailure } from "./told-failure.ts";
import { type Versions, WatchedFiles } from "./watched-files.ts";
import { Whereabouts } from "./whereabouts.ts";
import type { InputsRead, RecordsInRoles, WorkKind, WorkKinds } from "./work.ts";
import { type WorkerProcess, type WorkOptions, workApart } from "./worker-process.ts";

/** What a site is driven with, for good. */
export interface SiteOperationsOptions {
  /** What is read, again and again. */
  readonly sources: PlanSources;
  readonly dataDir: string;
  /** Open in the role of a registry; it stays open. Deliveries are reserved for this process. */
  readonly store: DiskStore;
  readonly context: SiteContext;
  /** Starts this program once more, to do a piece of work. */
  readonly startWorker: () => WorkerProcess;
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

/**
 * Serves and watches itself. What reads, moves or proves is done by processes that end with their work:
 * an agent that rests holds no more memory than it needs to serve.
 */
class SiteOperations implements Operations {
  readonly #options: SiteOperationsOptions;
  readonly #files: WatchedFiles;
  readonly #watch = new CredentialWatch();
  readonly #whereabouts: Whereabouts;
  /** As the inputs say that were read last without a fault: what is wrong with newer ones harms nothing. */
  #settings: SiteSettings;
  /** Those inputs; while there are none, the ones that were read last. */
  #inputs: KeptInputs | undefined;
  #isSound = false;
  /** That profiles came from when they were read last. */
  #artifacts: readonly SiteArtifact[] = [];
  /** Where the store is served by plain http. */
  #servedAt: string | undefined;

  constructor(options: SiteOperationsOptions) {
    const { context, started } = options;
    const { clock } = context;
    this.#options = options;
    this.#files = new WatchedFiles(clock);
    this.#whereabouts = new Whereabouts({
      clock,
      listRuntime: (socket, signal) => listRuntimeImages(socket, clock, signal),
    });
    this.#settings = siteSettings(started, context, []);
  }

  async read(signal: AbortSignal): Promise<InputsSeen> {
    const { seen, inputs, settings } = await this.#readWatched(signal);
    const isSound = seen.faults.length === 0;
    for (const artifact of inputs.artifacts) await keepArtifact(this.#options.store, artifact);
    this.#artifacts = inputs.artifacts;
    if (isSound || !this.#isSound) this.#inputs = inputs;
    if (isSound) this.#settings = settings;
    this.#isSound ||= isSound;
    return seen;
  }

  /** Whatever comes of it, only what changes from then on is a reason to read again before its time. */
  async #readWatched(signal: AbortSignal): Promise<InputsRead> {
    const before = this.#files.versions();
    let watched: Versions = before;
    try {
      const read = await this.#do("read", {}, { signal });
      if ("failure" in read) {
        watched = [...before, ...read.watched];
        throw heardFailure(read.failure);
      }
      watched = read.watched;
      return read;
    } finally {
      this.#files.watch(watched);
    }
  }

  ways(): Ways {
    const { ways } = this.#settings;
    const restart = ways.restart.filter((key) => !this.#options.overruled.has(key));
    return { ...ways, restart };
  }

  plan({ record }: Revision): Plan {
    return recallToShow(record);
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
    const { context, onTrouble } = this.#options;
    for (;;) {
      const { pollMs = POLL_MS } = this.#settings;
      await context.clock.sleep(pollDelayMs(pollMs, context.random()), signal);
      const artifacts = this.#artifacts.map(({ name, manifest }) => ({ name, manifest }));
      if (artifacts.length === 0) continue;
      try {
        if (await this.#do("look", { artifacts }, { signal })) return;
      } catch (error) {
        if (signal.aborted || !isFailure(error)) throw error;
        onTrouble(error);
      }
    }
  }

  async explain(revision: Revision, reference: string): Promise<unknown> {
    const found = this.plan(revision)
      .stages.flatMap(({ images }) => images)
      .filter(({ declared }) => formatReference(declared) === reference);
    return found.length === 0 ? undefined : found.map(explainImage);
  }

  stage({ record }: Revision, work: Work) {
    return this.#do("stage", { record }, work);
  }

  activate({ record }: Revision, work: Work) {
    return this.#do("activate", { record, servedAt: this.#servedAt ?? null }, work);
  }

  drift({ record }: Revision, signal: AbortSignal) {
    return this.#do("drift", { record }, { signal });
  }

  async keep(revisions: Parameters<Operations["keep"]>[0]): Promise<void> {
    const names = this.#artifacts.map(({ name }) => name);
    await this.#do("keep", { revisions: recordsOf(revisions), names }, { signal: NEVER });
  }

  prove({ record }: Revision, { full }: { readonly full: boolean }, signal: AbortSignal) {
    return this.#do("prove", { record, full }, { signal });
  }

  verify(scope: Parameters<Operations["verify"]>[0], signal: AbortSignal) {
    return this.#do("verify", { scope }, { signal });
  }

  collect({ dryRun }: { readonly dryRun: boolean }, signal: AbortSignal) {
    return this.#do("collect", { dryRun }, { signal });
  }

  async credentials({ record }: Revision, signal: AbortSignal) {
    const seen = await this.#do("credentials", { record }, { signal });
    return seen.map((observation) => this.#watch.observe(observation).report);
  }

  async serveRegistry(signal: AbortSignal, onListening: (address: string) => void): Promise<void> {
    const { store, context, onNews, onTrouble } = this.#options;
    const { clock } = context;
    const { registry } = this.#options.started;
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
        ...{ store, clock, signal, onNews, onTrouble },
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

  disk(revisions: Parameters<Operations["disk"]>[0], signal: AbortSignal) {
    return this.#do("disk", { revisions: recordsOf(revisions) }, { signal });
  }

  async link(): Promise<LinkState> {
    const { dataDir, context } = this.#options;
    const { clock } = context;
    const settings = this.#settings.link;
    const { read } = createDiskLedger(dataDir);
    // It is only looked at: who delivers keeps the ledger.
    const ledger = { read, write: async () => undefined };
    const timeZone = machineTimeZone(context.env);
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

  whereabouts({ id }: Revision, plan: Plan): Promise<ReadonlyMap<string, ImageWhereabouts>> {
    const { store } = this.#options;
    const { platform, runtimeSocket: socket } = this.#settings;
    return this.#whereabouts.of({ plan, store: openRevisionNames(store, id), platform, socket });
  }

  #do<K extends WorkKind>(
    kind: K,
    order: WorkKinds[K]["order"],
    work: WorkOptions,
  ): Promise<WorkKinds[K]["result"]> {
    const { sources, dataDir, context, startWorker, started, onNews, onTrouble } = this.#options;
    const { version, clock } = context;
    // The inputs are read as they are now; all else goes by those that are in force.
    const inputs = kind === "read" || kind === "look" ? null : (this.#inputs ?? null);
    const site = { sources, dataDir, started: startedSite(started), inputs };
    const options = { startWorker, clock, onNews, onTrouble };
    return workApart({ version, kind, order, site }, options, work);
  }
}

const NEVER = new AbortController().signal;

function recordsOf(revisions: Parameters<Operations["keep"]>[0]): RecordsInRoles {
  const entries = Object.entries(revisions).map(([role, { record }]) => [role, record]);
  return Object.fromEntries(entries);
}
