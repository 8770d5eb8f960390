import { SCHEMAS } from "./openapi-documents.ts";
import {
  anything,
  count,
  list,
  object,
  oneOf,
  orNull,
  ref,
  type Schema,
  text,
} from "./openapi-schema.ts";
import { ACTION_NAMES } from "./state.ts";

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
      summary: "Whether the site is ready offline: proven since the agent started, and served",
      ...open,
      responses: {
        200: { description: "It is", content: plain },
        503: { description: "It is not, or that was not proven yet", content: plain },
        ...refusals(),
      },
    },
  },
};
