import { createHash } from "node:crypto";
import type { Clock } from "#base";
import {
  type AgentRecords,
  DEFAULT_AGENT_SETTINGS,
  type Operations,
  type Revision,
  type Ways,
  type Work,
} from "#daemon";
import type { DeliveryEvent, DeliverySummary } from "#deliver";
import { parseDigest } from "#oci";
import type { Plan } from "#plan";
import { formatReference } from "#reference";
import { app, type ClusterSketch, OS, planCluster } from "./plan-inputs.ts";

/** Bytes of the one blob that each image of a memory site has. */
export const IMAGE_BYTES = 1_000_000;

/** A site that lives in memory: what an agent drives, scripted by a test. */
export interface MemorySite extends Operations {
  /** What was asked of it, in order: `stage 0123456789ab`. */
  readonly calls: readonly string[];
  /** What has been delivered, as declared. A test may add and take away. */
  readonly held: Set<string>;
  /** The revision that the cluster was turned to last. */
  turnedTo: string | undefined;
  /** Ids that the store was told to keep, by role. */
  kept: Readonly<Record<string, string>>;
  /** What the inputs say of how the agent works, from the next time on that they are read. */
  manner: Ways;
  /** In place of what it does by itself; what is taken out is done by itself again. */
  script: Partial<Operations>;
  /** The inputs are these from now on, and readers are told of it. */
  want(sketch: ClusterSketch): Revision;
  /** The inputs may have changed: readers look again. */
  change(): void;
}

/** Packs enough for a profile: the provider image and, by name, an application image each. */
export function sketchOf(...apps: readonly string[]): ClusterSketch {
  return { packs: [OS, ...apps.map((name) => app(name, `quay.io/team/${name}`))] };
}

/** The revision that a memory site makes of a sketch. */
export function revisionOf(sketch: ClusterSketch, nowMs: number): Revision {
  const { profiles, stages } = planCluster(sketch);
  const images = stages.reduce((sum, stage) => sum + stage.images.length, 0);
  const record = JSON.stringify(sketch);
  const id = createHash("sha256").update(record).digest("hex").slice(0, 12);
  return { id, source: "store.json", seenMs: nowMs, profiles, images, record };
}

/** The plan that a revision of a memory site has. */
export function planOf({ record }: Revision): Plan {
  return planCluster(JSON.parse(record) as ClusterSketch);
}

/** A delivery of which nothing comes, in place of the one that a memory site makes. */
export const nothingCame: Operations["stage"] = async (revision) => {
  const plan = planOf(revision);
  return summaryOf(plan, { missing: declaredIn(plan) });
};

/** A memory site that wants nothing yet: reading waits until it does. */
export function createMemorySite(clock: Clock): MemorySite {
  const calls: string[] = [];
  const held = new Set<string>();
  let wanted: Revision | undefined;
  let read: Ways | undefined;
  let tellChange = () => {};
  let change = newChange();

  function newChange(): Promise<void> {
    return new Promise((resolve) => {
      tellChange = resolve;
    });
  }

  const own: Operations = {
    async read(signal) {
      while (wanted === undefined) await untilAborted(change, signal);
      signal.throwIfAborted();
      read = site.manner;
      const { warnings, faults } = planOf(wanted);
      return { revision: wanted, warnings, faults };
    },
    plan: planOf,
    ways: () => read ?? site.manner,
    changed: (signal) => untilAborted(change, signal),
    explain: async (revision, reference) =>
      declaredIn(planOf(revision)).includes(reference)
        ? { kind: "Explanation", revision: revision.id, reference }
        : undefined,
    stage: (revision, work) => stageByItself(planOf(revision), work),
    async activate({ id }) {
      site.turnedTo = id;
      const text = "42 files changed";
      return { outcome: "done", steps: [{ name: "redirect", outcome: "done", text }] };
    },
    drift: async () => [],
    async keep(revisions) {
      site.kept = Object.fromEntries(
        Object.entries(revisions).flatMap(([role, one]) => (one ? [[role, one.id]] : [])),
      );
    },
    prove: async (revision) => proofOf(revision),
    verify: async () => ({ ok: true, text: "8 blobs are right", blobs: 8, bytes: 8, trouble: [] }),
    collect: async () => ({ ok: true, text: "2 blobs removed", blobs: 2, bytes: 2, trouble: [] }),
    credentials: async () => [],
    serveRegistry: async (signal, onListening) => {
      onListening("127.0.0.1:5055");
      await untilAborted(new Promise<void>(() => {}), signal);
    },
    disk: async () => {
      const none = { bytes: 0, blobs: 0 };
      const use = { active: none, staged: none, previous: none, pushed: none, partial: none };
      const rest = { unkept: none, quarantine: none };
      return { at: clock.now(), totalBytes: 1e12, freeBytes: 5e11, use: { ...use, ...rest } };
    },
    link: async () => ({ capBytesPerSecond: null, untilMs: null, quota: null }),
    whereabouts: async (_, plan) =>
      new Map(
        declaredIn(plan).map((name) => {
          const isHere = held.has(name);
          const digest = isHere ? digestOf(name) : null;
          return [name, { digest, bytes: isHere ? IMAGE_BYTES : null, runtime: null }];
        }),
      ),
  };

  async function stageByItself(plan: Plan, { signal, emit }: Work): Promise<DeliverySummary> {
    const tell = (event: EventOf<DeliveryEvent>) => emit({ at: clock.now(), ...event });
    const names = declaredIn(plan);
    const missing = names.filter((name) => !held.has(name));
    const bytesTotal = names.length * IMAGE_BYTES;
    const bytesHere = bytesTotal - missing.length * IMAGE_BYTES;
    const overall = { bytesTotal, bytesHere, images: names.length };
    const stages = plan.stages.map(({ name, images }) => ({ name, images: images.length }));
    tell({ type: "plan-started", stages, uploads: 0 });
    for (const image of names) {
      const bytes = { bytesTotal: IMAGE_BYTES, bytesHere: held.has(image) ? IMAGE_BYTES : 0 };
      tell({ type: "image-sized", image, digest: digestOf(image), overall, ...bytes });
    }
    const delivered = new Set<string>();
    for (const { name: stage, images } of plan.stages) {
      for (const { declared, source } of images) {
        signal.throwIfAborted();
        const image = formatReference(declared);
        const digest = digestOf(image);
        tell({ type: "image-started", stage, image, source: formatReference(source) });
        const isHere = held.has(image);
        if (!isHere) tell({ type: "bytes", image, digest, bytes: IMAGE_BYTES });
        held.add(image);
        delivered.add(image);
        const outcome = isHere ? "present" : "delivered";
        const bytesMoved = isHere ? 0 : IMAGE_BYTES;
        tell({ type: "image-done", stage, image, outcome, digest, bytesMoved, ms: 1 });
      }
    }
    const summary = summaryOf(plan, { missing: [], moved: missing.length });
    tell({ type: "delivery-done", summary });
    return summary;
  }

  function proofOf(revision: Revision) {
    const { id } = revision;
    const names = declaredIn(planOf(revision));
    const missing = names.filter((name) => !held.has(name));
    const summary = {
      at: clock.now(),
      ok: missing.length === 0,
      sentence: `${names.length - missing.length} of ${names.length} references`,
      references: names.length,
      held: names.length - missing.length,
      wanting: missing.map((image) => ({
        image,
        code: "content-missing",
        message: `Cannot find ${image}`,
        hint: "Run `dray stage`",
      })),
      digest: `sha256:${"0".repeat(64)}`,
    };
    return { summary, document: JSON.stringify({ kind: "Proof", revision: id, ...summary }) };
  }

  const scripted = Object.fromEntries(
    Object.entries(own).map(([name, act]) => [
      name,
      (...args: readonly unknown[]) => {
        const [first] = args;
        const subject = isRevision(first)
          ? ` ${first.id}`
          : typeof first === "string" && name === "verify"
            ? ` ${first}`
            : "";
        if (!SILENT.has(name)) calls.push(`${name}${subject}`);
        const script = (site.script as Record<string, typeof act | undefined>)[name] ?? act;
        return (script as (...args: readonly unknown[]) => unknown)(...args);
      },
    ]),
  ) as unknown as Operations;

  const site: MemorySite = {
    ...scripted,
    ...{ calls, held, turnedTo: undefined, kept: {}, script: {} },
    manner: { settings: DEFAULT_AGENT_SETTINGS, link: "no cap", restart: [] },
    want(sketch) {
      wanted = revisionOf(sketch, clock.now());
      site.change();
      return wanted;
    },
    change() {
      const tell = tellChange;
      change = newChange();
      tell();
    },
  };
  return site;
}

/** Looks that change nothing, and of which there are many. */
const SILENT = new Set(["ways", "drift", "changed", "plan", "disk", "link", "whereabouts"]);

/** Declared references of a plan, in its order. */
export function declaredIn(plan: Plan): readonly string[] {
  return plan.stages.flatMap(({ images }) =>
    images.map(({ declared }) => formatReference(declared)),
  );
}

/** What a delivery of a plan says in the end, of which some images are missing. */
export function summaryOf(
  plan: Plan,
  { missing, moved = 0 }: { readonly missing: readonly string[]; readonly moved?: number },
): DeliverySummary {
  let left = moved;
  const stages = plan.stages.map(({ name, images }) => {
    const failed = images.filter(({ declared }) => missing.includes(formatReference(declared)));
    const delivered = Math.min(left, images.length - failed.length);
    left -= delivered;
    const present = images.length - failed.length - delivered;
    const none = { stood: 0, skipped: 0 };
    return { name, images: images.length, delivered, present, failed: failed.length, ...none };
  });
  const failures = missing.map((image) => ({
    ...{ image, source: image, registry: "quay.io", code: "registry-unauthorized" },
    message: `Cannot fetch ${image}: refused`,
    hint: "Give the account a right to pull",
  }));
  const bytesMoved = moved * IMAGE_BYTES;
  return {
    outcome: missing.length > 0 ? "failed" : "done",
    ...{ stages, failures, warnings: [], provider: null, uploads: null, runtime: null },
    bytesTotal: declaredIn(plan).length * IMAGE_BYTES,
    bytesHere: 0,
    ...{ bytesMoved, bytesFetched: bytesMoved, elapsedMs: 1_000 },
  };
}

/** What an agent keeps, in memory: lost with the test, but copied when it asks for it. */
export interface MemoryRecords extends AgentRecords {
  /** As it is now, for an agent that comes after this one's death. */
  copy(): MemoryRecords;
  /** Told after each write, when it is durable. */
  onWrite: () => void;
  /** Before each write; what it throws is thrown, and nothing is written. */
  refuse: (what: string) => void;
}

type Kept = Awaited<ReturnType<AgentRecords["revisions"]["read"]>>;
type Line = Awaited<ReturnType<AgentRecords["journal"]["read"]>>[number];
type Minute = Awaited<ReturnType<AgentRecords["uplinkMinutes"]["read"]>>[number];

interface MemoryContent {
  kept: Kept;
  readonly notes: Map<string, string>;
  readonly lines: Line[];
  readonly minutes: Map<number, Minute>;
}

/** Records of a site on which no agent ever was. */
export function createMemoryRecords(clock: Clock, from?: MemoryContent): MemoryRecords {
  const content: MemoryContent = {
    kept: from?.kept ?? { revisions: [], roles: {} },
    notes: new Map(from?.notes),
    lines: [...(from?.lines ?? [])],
    minutes: new Map(from?.minutes),
  };
  const write = async (what: string, act: () => void) => {
    records.refuse(what);
    act();
    records.onWrite();
  };
  const records: MemoryRecords = {
    onWrite: () => {},
    refuse: () => {},
    copy: () => createMemoryRecords(clock, content),
    revisions: {
      read: async () => content.kept,
      replace: (kept) =>
        write("revisions", () => {
          content.kept = JSON.parse(JSON.stringify(kept)) as Kept;
        }),
    },
    notes: {
      async get(name) {
        const text = content.notes.get(name);
        return text === undefined ? undefined : JSON.parse(text);
      },
      put: (name, value) =>
        write(`note ${name}`, () => {
          if (value === undefined) content.notes.delete(name);
          else content.notes.set(name, JSON.stringify(value));
        }),
    },
    journal: {
      add: (kind, data, atMs) =>
        write("journal", () => {
          const id = (content.lines.at(-1)?.id ?? 0) + 1;
          const copy = JSON.parse(JSON.stringify(data)) as Line["data"];
          content.lines.push({ id, atMs: atMs ?? clock.now(), kind, data: copy });
        }),
      read: async ({ before = Number.POSITIVE_INFINITY, after = 0, limit = 100 }) =>
        content.lines
          .filter(({ id }) => id < before && id > after)
          .toReversed()
          .slice(0, limit),
    },
    uplinkMinutes: {
      read: async () => [...content.minutes.values()],
      put: (minutes) =>
        write("uplink", () => {
          for (const minute of minutes) content.minutes.set(minute.minute, minute);
        }),
    },
  };
  return records;
}

type EventOf<T> = T extends unknown ? Omit<T, "at"> : never;

function digestOf(text: string) {
  return parseDigest(`sha256:${createHash("sha256").update(text).digest("hex")}`);
}

function isRevision(value: unknown): value is Revision {
  return typeof value === "object" && value !== null && "record" in value && "id" in value;
}

/** What the promise gives, or the signal's reason when that comes first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}
