import type {
  DeliveryState,
  JournalEntry,
  PartState,
  RevisionState,
  SiteState,
  Warning,
} from "#daemon";
import { isJsonObject } from "#oci";

type Check = (value: unknown) => boolean;

/** What is read of an object; the rest of it may be anything, so that a newer agent can tell more. */
type Fields<T> = { readonly [K in keyof T]?: Check };

const text: Check = (value) => typeof value === "string";
const number: Check = (value) => typeof value === "number" && Number.isFinite(value);
const truth: Check = (value) => typeof value === "boolean";
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const orNothing =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const word =
  (...words: readonly string[]): Check =>
  (value) =>
    words.some((each) => each === value);

function fields<T>(checks: Fields<T>): Check {
  const entries: readonly (readonly [string, Check])[] = Object.entries(checks);
  return (value) => isJsonObject(value) && entries.every(([key, check]) => check(value[key]));
}

const trouble = { code: text, message: text, hint: text };

const revision = fields<RevisionState>({
  ...{ id: text, source: text, profiles: list(text), images: number },
  ...{ stagedMs: orNull(number), activatedMs: orNull(number) },
});

const delivery = fields<DeliveryState>({
  ...{ startedMs: number, endedMs: orNull(number), outcome: orNull(text) },
  stages: list(
    fields<DeliveryState["stages"][number]>({
      ...{ name: text, images: number, done: number, failed: number },
    }),
  ),
  ...{ bytesTotal: number, bytesHere: number, bytesMoved: number },
  ...{ bytesPerSecond: orNull(number), remainingMs: orNull(number) },
  uploads: orNull(
    fields<NonNullable<DeliveryState["uploads"]>>({
      ...{ registry: orNull(text), images: number, done: number, failed: number },
      bytesSent: number,
    }),
  ),
});

const siteState = fields<SiteState>({
  ...{ apiVersion: word("drayage/v1"), kind: word("SiteState") },
  ...{ at: number, version: text, host: text, startedMs: number },
  verdict: fields<SiteState["verdict"]>({
    level: word("ready", "working", "waiting", "wanting", "failed"),
    ...{ sentence: text, remedy: orNull(text) },
  }),
  activity: fields<SiteState["activity"]>({
    ...{ name: text, sinceMs: number },
    waiting: orNull(
      fields<NonNullable<SiteState["activity"]["waiting"]>>({
        ...{ reason: text, sinceMs: number, untilMs: orNull(number) },
      }),
    ),
  }),
  paused: orNull(fields<NonNullable<SiteState["paused"]>>({ sinceMs: number, by: text })),
  ...{ active: orNull(revision), staged: orNull(revision), previous: orNull(revision) },
  // Agents of before told nothing of it.
  wanted: orNothing(orNull(revision)),
  refused: orNull(
    fields<NonNullable<SiteState["refused"]>>({
      ...{ source: text, atMs: number },
      faults: list(
        fields<NonNullable<SiteState["refused"]>["faults"][number]>({
          ...{ file: text, line: number, column: number, code: text, message: text, remedy: text },
        }),
      ),
    }),
  ),
  delivery: orNull(delivery),
  activation: orNull(
    fields<NonNullable<SiteState["activation"]>>({
      ...{ outcome: text, atMs: number },
      steps: list(
        fields<NonNullable<SiteState["activation"]>["steps"][number]>({
          ...{ name: text, outcome: text, text },
        }),
      ),
    }),
  ),
  proof: orNull(
    fields<NonNullable<SiteState["proof"]>>({
      ...{ at: number, ok: truth, references: number, held: number },
    }),
  ),
  link: orNull(
    fields<NonNullable<SiteState["link"]>>({
      ...{ capBytesPerSecond: orNull(number), untilMs: orNull(number) },
      quota: orNull(
        fields<NonNullable<NonNullable<SiteState["link"]>["quota"]>>({
          ...{ bytes: number, usedBytes: number, renewsMs: number },
        }),
      ),
    }),
  ),
  disk: orNull(
    fields<NonNullable<SiteState["disk"]>>({
      ...{ totalBytes: number, freeBytes: number },
      use: (value) =>
        isJsonObject(value) &&
        Object.values(value).every(fields<{ bytes: number }>({ bytes: number })),
    }),
  ),
  credentials: list(
    fields<SiteState["credentials"][number]>({ registry: text, state: text, why: text }),
  ),
  parts: list(
    fields<PartState>({
      ...{ name: text, state: text, restarts: number },
      address: orNothing(text),
      trouble: orNothing(fields(trouble)),
      nextMs: orNothing(number),
    }),
  ),
  warnings: list(fields<Warning>({ ...trouble, level: word("warning", "error"), subject: text })),
});

/** Whether it is the state of a site, as far as the command line reads it. Its texts are still strangers'. */
export function isSiteState(value: unknown): value is SiteState {
  return siteState(value);
}

const journalEntry = fields<JournalEntry>({
  ...{ id: number, at: number, kind: text, text },
  ...{ level: word("info", "warning", "error"), by: orNull(text) },
});

/** Whether it is a line of a site's journal, as far as the command line reads it. */
export function isJournalEntry(value: unknown): value is JournalEntry {
  return journalEntry(value);
}
