import type { Finding } from "#base";
import { backoffMs, type Clock, Failure } from "#base";
import { type CredentialReport, isBroken } from "#credential";
import type { Chronicle } from "./chronicle.ts";
import type { Knowledge } from "./knowledge.ts";
import type { InputsSeen, Operations, Trouble } from "./operations.ts";
import type { Reconciler } from "./reconciler.ts";
import type { RevisionBook } from "./revision-book.ts";
import type { AgentSettings } from "./settings.ts";
import { troubleOfError } from "./supervise.ts";
import { uplinkFromCredentials } from "./uplink-news.ts";
import { label } from "./verdict.ts";
import { type Concern, error, warning } from "./warnings.ts";

/** What the parts that look at the surroundings work with. */
export interface WatchersOptions {
  readonly operations: Operations;
  readonly book: RevisionBook;
  readonly knowledge: Knowledge;
  readonly chronicle: Chronicle;
  readonly reconciler: Reconciler;
  readonly clock: Clock;
  readonly random: () => number;
  /** As they are now. */
  settings(): AgentSettings;
  onUplink(isUp: boolean): void;
  /** Those that the disk is used for. */
  claimants(): Parameters<Operations["disk"]>[0];
  /** Makes durable what crossed the uplink. */
  writeUplink(): Promise<void>;
}

/** Disk and link are looked at so often when nothing happens. */
const LOOK_MS = 15 * 60_000;

/** Looks at what may change without us: the inputs, credentials, the disk, the link. */
export class Watchers {
  readonly #options: WatchersOptions;
  /** Each wakes one part. */
  readonly #wakes = { inputs: new Wake(), credentials: new Wake(), upkeep: new Wake() };
  #lastRefused: string | undefined;
  #link: string | undefined;

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  /** The part has something to look at before its time. */
  wake(part: "inputs" | "credentials" | "upkeep"): void {
    this.#wakes[part].ring();
  }

  /** Reads the inputs whenever they may have changed, until the signal. */
  async watchInputs(signal: AbortSignal): Promise<void> {
    const { operations, clock, random, settings, reconciler } = this.#options;
    for (let failed = 0, isFirst = true; ; isFirst = false) {
      signal.throwIfAborted();
      const over = new AbortController();
      const until = AbortSignal.any([signal, over.signal]);
      // Listens before it reads: what changes in between is not missed.
      const changed = operations.changed(until);
      const rung = this.#wakes.inputs.wait(until);
      changed.catch(() => undefined);
      rung.catch(() => undefined);
      try {
        const isRead = await this.#readInputs(signal);
        failed = isRead ? 0 : failed + 1;
        // Once they are read: what failed would be tried again with the password of before.
        if (isRead && !isFirst) await reconciler.dispatch({ type: "inputs-changed" });
        const waits = [changed, rung];
        if (failed > 0)
          waits.push(clock.sleep(backoffMs(failed, random(), settings().retry), until));
        await Promise.race(waits);
      } finally {
        over.abort();
      }
    }
  }

  async #readInputs(signal: AbortSignal): Promise<boolean> {
    const { operations, knowledge, chronicle } = this.#options;
    knowledge.learn({ isReading: true });
    try {
      const seen = await operations.read(signal);
      this.#heedWays();
      if (knowledge.unreadable !== null) {
        chronicle.tell("inputs-readable", `The inputs can be read again: ${seen.revision.source}`);
      }
      knowledge.learn({ unreadable: null });
      await this.#see(seen);
      return true;
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof Failure)) throw thrown;
      const unreadable = troubleOfError(thrown);
      if (knowledge.unreadable?.message !== unreadable.message) {
        chronicle.tell("inputs-unreadable", unreadable.message, {
          level: "warning",
          data: { code: unreadable.code },
        });
      }
      knowledge.learn({ unreadable });
      return false;
    } finally {
      const { unreadable } = knowledge;
      knowledge.warn("inputs", unreadable === null ? [] : [warning(unreadable)]);
      knowledge.learn({ isReading: false, hasLooked: true });
    }
  }

  /** What is to be done otherwise from now on. */
  #heedWays(): void {
    const { operations, knowledge, chronicle, reconciler } = this.#options;
    const { link, restart } = operations.ways();
    const before = this.#link;
    this.#link = link;
    if (before !== undefined && before !== link) {
      chronicle.tell("link-changed", "The uplink is used as `link` of the inputs says by now");
      reconciler.stageAnew();
      this.wake("upkeep");
    }
    knowledge.warn("restart", restart.length === 0 ? [] : [warning(restartNeeded(restart))]);
  }

  async #see({ revision, warnings, faults }: InputsSeen): Promise<void> {
    const { knowledge, chronicle, reconciler, book, clock } = this.#options;
    const { source, id, images } = revision;
    knowledge.warn("plan", warnings.map(findingConcern(warning)));
    if (faults.length > 0) {
      if (this.#lastRefused !== id) {
        const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
        chronicle.tell("revision-refused", `Refused ${source}: ${count}`, {
          level: "error",
          data: { revision: id, faults: faults.slice(0, FAULTS_TOLD) },
        });
        knowledge.learn({ refused: { source, atMs: clock.now(), faults } });
      }
      this.#lastRefused = id;
      return;
    }
    this.#lastRefused = undefined;
    knowledge.learn({ refused: null });
    const { wanted, staged, active } = reconciler.course;
    const event = { type: "seen", id, nowMs: clock.now() } as const;
    await reconciler.dispatch(event, () => book.add(revision));
    // A password that was changed makes no other revision. The first look is that of the other part.
    if (id !== wanted || knowledge.hasLooked) this.wake("credentials");
    if (id === wanted) return;
    const isUnfinished = wanted !== null && wanted !== staged && wanted !== active;
    chronicle.tell(
      "revision-seen",
      `New inputs at ${source}: ${label(book.state(id))} (revision ${id}), ${images} images${isUnfinished ? `; they supersede revision ${wanted}, which was not staged yet` : ""}`,
      { data: { revision: id, images, ...(isUnfinished ? { supersedes: wanted } : {}) } },
    );
  }

  /** Tries the credentials, now and then, until the signal. */
  async watchCredentials(signal: AbortSignal): Promise<void> {
    const { operations, book, reconciler, knowledge, clock, random, settings } = this.#options;
    for (;;) {
      const { wanted, active } = reconciler.course;
      const id = wanted ?? active;
      if (id === null) {
        await this.#wakes.credentials.wait(signal);
        continue;
      }
      try {
        const reports = await operations.credentials(book.get(id), signal);
        this.#compare(reports);
        const isUp = uplinkFromCredentials(reports);
        if (isUp !== undefined) this.#options.onUplink(isUp);
        knowledge.warn("credentials", reports.flatMap(credentialConcern));
        knowledge.learn({ credentials: reports });
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof Failure)) throw thrown;
        knowledge.warn("credentials", [warning(troubleOfError(thrown))]);
      }
      const restMs = settings().credentialsMs * (1 + random() / 10);
      await this.#wakes.credentials.waitAtMost(restMs, clock, signal);
    }
  }

  #compare(reports: readonly CredentialReport[]): void {
    const { knowledge, chronicle } = this.#options;
    const key = ({ registry, role, origin }: CredentialReport) =>
      JSON.stringify([registry, role, origin]);
    const before = new Map(knowledge.credentials.map((each) => [key(each), each.state]));
    for (const report of reports) {
      const { registry, origin, state, why } = report;
      const previous = before.get(key(report));
      const isNews = previous === undefined ? isBroken(state) : previous !== state;
      if (!isNews) continue;
      const subject = origin === null ? registry : `${registry} (${origin})`;
      chronicle.tell("credential-changed", `Credential for ${subject} is ${state}: ${why}`, {
        level: isBroken(state) ? "error" : state === "ok" ? "info" : "warning",
        data: { registry, origin, state, previous: previous ?? null },
      });
    }
  }

  /** Keeps what is known of disk and link up to date, until the signal. */
  async watchSurroundings(signal: AbortSignal): Promise<void> {
    const { operations, knowledge, clock, claimants, writeUplink } = this.#options;
    for (let lookedMs = Number.NEGATIVE_INFINITY; ; ) {
      signal.throwIfAborted();
      try {
        const link = await operations.link();
        knowledge.learn({ link });
        // While bytes come it is the link that is asked for; to count blobs costs more.
        const isIdle = this.#options.reconciler.work === undefined;
        if (isIdle || clock.monotonic() - lookedMs >= LOOK_MS) {
          lookedMs = clock.monotonic();
          knowledge.learn({ disk: await operations.disk(claimants(), signal) });
        }
        await writeUplink();
        knowledge.warn("surroundings", []);
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof Failure)) throw thrown;
        knowledge.warn("surroundings", [warning(troubleOfError(thrown))]);
      }
      const untilMs = knowledge.link?.untilMs ?? Number.POSITIVE_INFINITY;
      // What has changed just now may read as the same millisecond.
      const restMs = Math.max(1_000, Math.min(LOOK_MS, untilMs - clock.now()));
      await this.#wakes.upkeep.waitAtMost(restMs, clock, signal);
    }
  }
}

/** Faults that a line of the journal holds. */
const FAULTS_TOLD = 20;

function restartNeeded(names: readonly string[]): Trouble {
  return {
    code: "restart-needed",
    message: `Cannot apply ${names.join(", ")} to an agent that runs: changed since it started, expected it to start after that`,
    hint: "Restart the agent: `systemctl restart drayage`",
  };
}

function findingConcern(as: typeof warning): (finding: Finding) => Concern {
  return ({ code, message, remedy: hint, file, line }) =>
    as({ code, message, hint }, `${file}:${line}`);
}

function credentialConcern(report: CredentialReport): readonly Concern[] {
  const { state, why, hint = "", registry, origin } = report;
  if (state === "ok" || state === "untried") return [];
  const trouble = { code: `credential-${state}`, message: why, hint };
  const subject = origin === null ? registry : `${registry} (${origin})`;
  return [isBroken(state) ? error(trouble, subject) : warning(trouble, subject)];
}

/** A bell that one waits for; rung while nobody waits, it is heard by the next who does. */
class Wake {
  #isRung = false;
  #ring: (() => void) | undefined;

  ring(): void {
    this.#isRung = true;
    this.#ring?.();
  }

  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#isRung) {
      await new Promise<void>((resolve, reject) => {
        const end = () => {
          signal.removeEventListener("abort", onAbort);
          this.#ring = undefined;
          resolve();
        };
        const onAbort = () => {
          if (this.#ring === end) this.#ring = undefined;
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        this.#ring = end;
      });
    }
    this.#isRung = false;
  }

  async waitAtMost(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    const waits = [this.wait(until), clock.sleep(ms, until)];
    for (const each of waits) each.catch(() => undefined);
    try {
      await Promise.race(waits);
    } finally {
      over.abort();
    }
  }
}
