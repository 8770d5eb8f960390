import { ACTION_NAMES, type Activity, type Level } from "./state.ts";

/** A schema of JSON Schema 2020-12, as far as the document uses it. */
export interface Schema {
  readonly $ref?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly (string | null)[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** The schema of properties that have no name of their own; true where anything may come. */
  readonly additionalProperties?: Schema | boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: string | number;
}

/** An answer by status. */
interface Described {
  readonly description: string;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** One verb of a path. */
interface Operation {
  readonly summary: string;
  readonly description?: string;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly object[];
  readonly requestBody?: object;
  readonly responses: Readonly<Record<string, Described>>;
}

/** The document that `GET /api/openapi.json` answers (OpenAPI 3.1). */
export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: Readonly<Record<string, unknown>>;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
}

/**
 * The API of the agent, described for programs. Fields may be added to answers; those that are here stay.
 *
 * @param version of this program
 */
export function openApiDocument(version: string): OpenApiDocument {
  return {
    openapi: "3.1.0",
    info: {
      title: "Drayage agent",
      version,
      description: INTRODUCTION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    security: [{ session: [] }, { basic: [] }],
    paths: PATHS,
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        session: {
          type: "apiKey",
          in: "cookie",
          name: "__Host-drayage",
          description: "Set by a login. Without TLS, on loopback, it is called `drayage`.",
        },
        basic: { type: "http", scheme: "basic", description: "For scripts." },
        metricsToken: {
          type: "http",
          scheme: "bearer",
          description: "Of the file that the site file names: for `/metrics` alone.",
        },
      },
    },
  };
}

const INTRODUCTION = [
  "How the site is, and what an operator may ask for.",
  "On the Unix socket `agent.sock` in the data directory, and on loopback where the site file names no users, nobody logs in.",
  "Times are in milliseconds since 1970, sizes in bytes, rates in bytes per second.",
  "No answer holds a secret; every text is fit to print.",
].join(" ");

const text: Schema = { type: "string" };
const count: Schema = { type: "integer", minimum: 0 };
const time: Schema = { type: "number" };
const flag: Schema = { type: "boolean" };
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
const list = (items: Schema): Schema => ({ type: "array", items });
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const oneOf = (...words: readonly string[]): Schema => ({ type: "string", enum: words });

/** An object that has these, and may have those. */
function object(
  properties: Readonly<Record<string, Schema>>,
  optional: Readonly<Record<string, Schema>> = {},
): Schema {
  const required = Object.keys(properties);
  return { type: "object", properties: { ...properties, ...optional }, required };
}

const anything: Schema = { type: "object", additionalProperties: true };

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

const SCHEMAS: Readonly<Record<string, Schema>> = {
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

const revision = {
  name: "revision",
  in: "query",
  schema: { type: "string", enum: ["active", "staged", "previous"], default: "active" },
};

function query(name: string, schema: Schema, description: string, required = false) {
  return { name, in: "query", required, schema, description };
}

const json = (schema: Schema) => ({ "application/json": { schema } });
const plain = { "text/plain": { schema: text } };
const open = { security: [] };

function answered(description: string, schema: Schema): Described {
  return { description, content: json(schema) };
}

const REFUSALS: Readonly<Record<string, string>> = {
  400: "The request is not understood",
  401: "Nobody has logged in, or the password is wrong",
  403: "The user may look only, or the request comes from a page of another site",
  404: "There is no such revision or image",
  409: "The action can't be done now, and why",
  413: "The body is larger than 16 KiB",
  415: "The body is not JSON",
  429: "Too many wrong passwords came; `Retry-After` says how long to wait",
  503: "Too busy now; `Retry-After` says when to come again",
};

function refusals(...statuses: readonly number[]): Readonly<Record<string, Described>> {
  const one = (status: number) => answered(REFUSALS[status] ?? "", ref("Error"));
  return {
    ...Object.fromEntries(statuses.map((status) => [status, one(status)])),
    default: answered("Anything else that went wrong", ref("Error")),
  };
}

/** What would change something says so in a header that no page of another site can send. */
const ours = {
  name: "x-drayage",
  in: "header",
  required: true,
  schema: { type: "string", enum: ["1"] },
};

function body(schema: Schema, required = true) {
  return { required, content: json(schema) };
}

const PATHS: OpenApiDocument["paths"] = {
  "/api/v1/site": {
    get: {
      summary: "How the site is",
      description: "One document with everything. `If-None-Match` with its entity tag gives 304.",
      responses: {
        200: answered("The state", ref("SiteState")),
        304: { description: "It is as it was" },
        ...refusals(401),
      },
    },
  },
  "/api/v1/plan": {
    get: {
      summary: "The plan of a revision, as `dray plan -o json` prints it",
      parameters: [revision],
      responses: { 200: answered("The plan", ref("Plan")), ...refusals(400, 401, 404) },
    },
  },
  "/api/v1/images": {
    get: {
      summary: "The images of a revision, in the order of the plan",
      parameters: [revision],
      responses: { 200: answered("The images", list(ref("Image"))), ...refusals(400, 401, 404) },
    },
  },
  "/api/v1/images/explain": {
    get: {
      summary: "Why an image comes from where it comes, rule by rule",
      parameters: [revision, query("reference", text, "As the list of images has it", true)],
      responses: {
        200: answered("The explanation", {
          anyOf: [ref("Explanation"), list(ref("Explanation"))],
        }),
        ...refusals(400, 401, 404),
      },
    },
  },
  "/api/v1/proof": {
    get: {
      summary: "The whole document of the last proof; null before there was one",
      responses: { 200: answered("The proof", orNull(ref("Proof"))), ...refusals(401) },
    },
  },
  "/api/v1/journal": {
    get: {
      summary: "What happened, newest first",
      parameters: [
        query("before", count, "The `id` of the last entry of the page before"),
        query("limit", { type: "integer", minimum: 1, maximum: 1000, default: 100 }, "At most"),
      ],
      responses: { 200: answered("A page", list(ref("JournalEntry"))), ...refusals(400, 401) },
    },
  },
  "/api/v1/uplink": {
    get: {
      summary: "Bytes over the uplink, oldest first, in about 300 slices",
      parameters: [
        query("hours", { type: "integer", minimum: 1, maximum: 2160, default: 24 }, "Up to now"),
      ],
      responses: { 200: answered("The slices", list(ref("UplinkSlice"))), ...refusals(400, 401) },
    },
  },
  "/api/v1/events": {
    get: {
      summary: "What happens, as server-sent events",
      description:
        "`state` with a SiteState at once and on each change, at most four times a second; `journal` with a JournalEntry; `delivery` with a DeliveryEvent. A comment every 15 s is a sign of life. A reader that is slow misses states, and is let go when it takes nothing at all. At most 64 readers.",
      responses: {
        200: { description: "The events", content: { "text/event-stream": { schema: text } } },
        ...refusals(401, 503),
      },
    },
  },
  "/api/v1/me": {
    get: {
      summary: "Who asks, and what they may do",
      security: [{ session: [] }, { basic: [] }, {}],
      responses: { 200: answered("Who it is", ref("Me")), ...refusals(401, 429) },
    },
  },
  "/api/v1/login": {
    post: {
      summary: "Logs a user in: sets the cookie of a session",
      ...open,
      parameters: [ours],
      requestBody: body(object({ user: text, password: text })),
      responses: {
        200: answered("Who it is", ref("Me")),
        ...refusals(400, 401, 403, 413, 415, 429),
      },
    },
  },
  "/api/v1/logout": {
    post: {
      summary: "Ends the session",
      ...open,
      parameters: [ours],
      responses: { 200: answered("It has ended", object({})), ...refusals(403, 415) },
    },
  },
  "/api/v1/actions/{name}": {
    post: {
      summary: "Asks for an action, which goes on after the answer; for operators",
      parameters: [
        ours,
        { name: "name", in: "path", required: true, schema: oneOf(...ACTION_NAMES) },
      ],
      requestBody: body(
        object(
          {},
          {
            full: { type: "boolean", description: "Of `prove`: every blob is read and hashed." },
            dryRun: { type: "boolean", description: "Of `collect`: nothing is removed." },
          },
        ),
        false,
      ),
      responses: {
        202: answered("It is accepted, and in the journal", object({ action: text })),
        ...refusals(400, 401, 403, 409, 413, 415),
      },
    },
  },
  "/api/openapi.json": {
    get: {
      summary: "This document",
      ...open,
      responses: { 200: answered("The document", anything), ...refusals() },
    },
  },
  "/metrics": {
    get: {
      summary: "Metrics for Prometheus",
      description: "In its text format, or in OpenMetrics where `Accept` names it.",
      security: [{ session: [] }, { basic: [] }, { metricsToken: [] }],
      responses: {
        200: {
          description: "The metrics",
          content: {
            "text/plain": { schema: text },
            "application/openmetrics-text": { schema: text },
          },
        },
        ...refusals(401, 429),
      },
    },
  },
  "/healthz": {
    get: {
      summary: "Whether the agent's loop runs",
      ...open,
      responses: {
        200: { description: "It does", content: plain },
        503: { description: "It does not, for now", content: plain },
        ...refusals(),
      },
    },
  },
  "/readyz": {
    get: {
      summary: "Whether the last proof held: the site is ready offline",
      ...open,
      responses: {
        200: { description: "It did", content: plain },
        503: { description: "It did not, or there was none yet", content: plain },
        ...refusals(),
      },
    },
  },
};
