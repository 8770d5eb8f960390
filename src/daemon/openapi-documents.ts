import {
  anything,
  count,
  flag,
  list,
  object,
  oneOf,
  orNull,
  ref,
  type Schema,
  text,
  time,
} from "./openapi-schema.ts";
import { ACTION_NAMES, type Activity, type Level } from "./state.ts";

const trouble = { code: text, message: text, hint: text };
const stageName = oneOf("provider", "infrastructure", "application");
const upkeep = { ok: flag, text, blobs: count, bytes: count, trouble: list(ref("Trouble")) };
const level = oneOf(...(["ready", "working", "waiting", "wanting", "failed"] satisfies Level[]));
const activity = oneOf(
  ...([
    ...(["starting", "idle", "planning", "staging", "activating"] as const),
    ...(["rolling-back", "proving", "verifying", "collecting"] as const),
  ] satisfies Activity[]),
);

/** What answers hold, by name. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Error: object({ error: object(trouble) }),
  Trouble: object(trouble),
  Me: object({
    user: orNull(text),
    role: oneOf("none", "read", "operate"),
    login: oneOf("none", "required"),
  }),
  Finding: object({
    ...{ file: text, line: count, column: count, path: text },
    ...{ code: text, message: text, remedy: text },
  }),
  Revision: object({
    ...{ id: text, source: text, profiles: list(text), images: count, seenMs: time },
    ...{ stagedMs: orNull(time), activatedMs: orNull(time) },
  }),
  SiteState: object({
    apiVersion: oneOf("drayage/v1"),
    kind: oneOf("SiteState"),
    revisionOfState: {
      type: "integer",
      minimum: 0,
      description: "Counts up with each change since `startedMs`; the entity tag is made of both.",
    },
    ...{ at: time, version: text, host: text, startedMs: time },
    verdict: object({ level, sentence: text, remedy: orNull(text) }),
    activity: object({ name: activity, sinceMs: time, waiting: orNull(ref("Waiting")) }),
    paused: orNull(object({ sinceMs: time, by: text })),
    active: orNull(ref("Revision")),
    staged: orNull(ref("Revision")),
    wanted: orNull(ref("Revision")),
    previous: orNull(ref("Revision")),
    refused: orNull(object({ source: text, atMs: time, faults: list(ref("Finding")) })),
    delivery: orNull(ref("Delivery")),
    activation: orNull(ref("Activation")),
    proof: orNull(ref("ProofSummary")),
    link: orNull(ref("Link")),
    disk: orNull(ref("Disk")),
    credentials: list(ref("Credential")),
    upkeep: object({
      verified: orNull(object({ ...upkeep, atMs: time })),
      collected: orNull(object({ ...upkeep, atMs: time })),
    }),
    parts: list(ref("Part")),
    warnings: list(ref("Warning")),
    actions: object(Object.fromEntries(ACTION_NAMES.map((name) => [name, ref("Permission")]))),
  }),
  Permission: object({ allowed: flag, why: text }),
  Waiting: object({ reason: text, sinceMs: time, untilMs: orNull(time) }),
  Delivery: object({
    ...{ revision: text, startedMs: time, endedMs: orNull(time) },
    outcome: orNull(oneOf("done", "failed", "interrupted")),
    stages: list(object({ name: stageName, images: count, done: count, failed: count })),
    ...{ bytesTotal: count, bytesHere: count, bytesMoved: count, imagesSized: count },
    ...{ bytesPerSecond: orNull({ type: "number" }), remainingMs: orNull(time) },
    uploads: orNull(
      object({
        ...{ registry: orNull(text), images: count, done: count, failed: count },
        bytesSent: count,
      }),
    ),
    sources: list(
      object({
        ...{ registry: text, stage: stageName, images: count },
        ...{ bytesTotal: count, bytesMoved: count, bytesHere: count },
      }),
    ),
  }),
  Activation: object({
    outcome: oneOf("done", "failed", "interrupted"),
    steps: list(
      object(
        {
          name: oneOf("names", "redirect", "load", "hand-over"),
          outcome: oneOf("done", "skipped", "failed"),
          text,
        },
        { trouble: ref("Trouble") },
      ),
    ),
    atMs: time,
  }),
  ProofSummary: object({
    ...{ at: time, ok: flag, sentence: text, references: count, held: count },
    wanting: list(object({ ...trouble, image: text })),
    digest: text,
  }),
  Link: object({
    capBytesPerSecond: {
      type: ["number", "null"],
      description: "Null: no cap. 0: no window is open.",
    },
    untilMs: orNull(time),
    quota: orNull(object({ bytes: count, usedBytes: count, renewsMs: time })),
  }),
  Disk: object({
    ...{ at: time, totalBytes: count, freeBytes: count },
    use: object(
      Object.fromEntries(
        ["active", "staged", "previous", "pushed", "partial", "unkept", "quarantine"].map((use) => [
          use,
          object({ bytes: count, blobs: count }),
        ]),
      ),
    ),
  }),
  Credential: object(
    {
      ...{ registry: text, role: oneOf("provider", "external", "packs", "local") },
      ...{ origin: orNull(text), atMs: time, image: orNull(text) },
      outcome: object(
        { kind: oneOf("accepted", "refused", "unreachable", "untried") },
        { ...trouble, why: text },
      ),
      expiries: list(
        object({
          what: oneOf("server-certificate", "authority", "token"),
          name: text,
          endsMs: time,
        }),
      ),
      state: oneOf("ok", "expires-soon", "expired", "refused", "unreachable", "untried"),
      ...{ why: text, sinceMs: time },
    },
    { hint: text },
  ),
  Part: object(
    {
      name: oneOf("registry", "api", "socket", "watch", "reconcile", "credentials", "upkeep"),
      state: oneOf("running", "restarting", "stopped"),
      ...{ sinceMs: time, restarts: count },
    },
    { address: text, trouble: ref("Trouble"), nextMs: time },
  ),
  Warning: object({
    ...trouble,
    ...{ level: oneOf("warning", "error"), subject: text, sinceMs: time },
  }),
  Image: object({
    ...{ declared: text, stage: stageName, packs: list(text), source: text, registry: text },
    ...{ credential: orNull(text), local: orNull(text), because: list(ref("Reason")) },
    whereabouts: object({
      ...{ digest: orNull(text), bytes: orNull(count) },
      runtime: { type: ["string", "null"], enum: ["pinned", "present", "absent", null] },
    }),
    outcome: {
      type: ["string", "null"],
      enum: [...["delivered", "present", "stood", "failed", "skipped", "waiting", "moving"], null],
    },
    upload: {
      type: ["string", "null"],
      enum: [...["uploaded", "present", "failed", "skipped", "waiting", "moving"], null],
    },
    bytesMoved: count,
    failure: orNull(ref("Trouble")),
  }),
  Reason: object({ rule: text, text }),
  PlannedImage: object({
    ...{ declared: text, packs: list(text), layer: text, category: text, source: text },
    ...{ credential: orNull(text), local: orNull(text), because: list(ref("Reason")) },
    at: list(object({ file: text, line: count, column: count }, { path: text })),
  }),
  Plan: object({
    ...{ apiVersion: oneOf("drayage/v1"), kind: oneOf("Plan"), profiles: list(text) },
    registries: object({
      provider: orNull(anything),
      external: list(anything),
      local: orNull(anything),
    }),
    combination: object({ supported: flag, needsExtended: flag }),
    stages: list(object({ name: stageName, images: list(ref("PlannedImage")) })),
    warnings: list(ref("Finding")),
    faults: list(ref("Finding")),
  }),
  Explanation: { ...anything, description: "Of one image, as `dray explain -o json` prints it." },
  Proof: { ...anything, description: "As `dray prove -o json` prints it." },
  JournalEntry: object({
    ...{ id: count, at: time, kind: text, text, level: oneOf("info", "warning", "error") },
    by: orNull(text),
    data: anything,
  }),
  UplinkSlice: object({
    ...{ atMs: time, ms: time, bytes: count },
    capBytesPerSecond: orNull({ type: "number" }),
  }),
  DeliveryEvent: {
    type: "object",
    properties: { type: text, at: time },
    required: ["type", "at"],
    additionalProperties: true,
    description: "As `dray deliver -o json` prints them, without `bytes` and `upload-bytes`.",
  },
};
