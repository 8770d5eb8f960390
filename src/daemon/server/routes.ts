import { type Clock, quoted, Secret } from "#base";
import type { AgentControl, RevisionRole } from "../control.ts";
import { openApiDocument } from "../openapi.ts";
import { ACTION_NAMES, type ActionName, type SiteState } from "../state.ts";
import type { ApiAccess, Caller, Role } from "./access.ts";
import { type Answer, jsonAnswer, jsonTextAnswer, textAnswer, unlessKnown } from "./answer.ts";
import type { Events } from "./events.ts";
import { EXPOSITION_TYPES, exposition, expositionFormat } from "./exposition.ts";
import { jsonBody } from "./json-body.ts";
import { type ApiCounts, siteMetrics } from "./metrics.ts";
import { invalidRequest } from "./problem.ts";
import { processMetrics } from "./process-metrics.ts";

/** A request on its way to its answer. */
export interface Asked {
  readonly request: Request;
  readonly query: URLSearchParams;
  /** The variable part of the path, as `{name}` in the route. */
  readonly name: string;
  /** Where it comes from: an address, or `socket`. */
  readonly client: string;
  readonly caller: Caller;
}

/** What the routes answer from. */
export interface ApiPlace {
  readonly control: AgentControl;
  readonly access: ApiAccess;
  readonly events: Events;
  readonly clock: Clock;
  readonly counts: () => ApiCounts;
}

/** One path and verb. */
export interface Route {
  readonly method: "GET" | "POST";
  /** As in the OpenAPI document: `/api/v1/actions/{name}`. */
  readonly path: string;
  /** What a caller must at least be allowed. */
  readonly role: Role;
  answer(asked: Asked, place: ApiPlace): Answer | Promise<Answer>;
}

/** All that can be asked of an agent, beside the files of its page. */
export const ROUTES: readonly Route[] = [
  get("/api/v1/site", "read", ({ request }, { control }) => {
    const state = control.state();
    const headers = { etag: stateTag(state), "cache-control": "private, no-cache" };
    return unlessKnown(request, jsonAnswer(state, 200, headers));
  }),
  get("/api/v1/plan", "read", ({ query }, { control }) =>
    jsonAnswer(control.plan(revisionOf(query))),
  ),
  get("/api/v1/images", "read", async ({ query }, { control }) =>
    jsonAnswer(await control.images(revisionOf(query))),
  ),
  get("/api/v1/images/explain", "read", async ({ query }, { control }) =>
    jsonAnswer(await control.explain(revisionOf(query), textOf(query, "reference"))),
  ),
  get("/api/v1/proof", "read", (_asked, { control }) => jsonTextAnswer(control.proof() ?? "null")),
  get("/api/v1/journal", "read", async ({ query }, { control }) => {
    const limit = numberOf(query, "limit", { least: 1, most: 1_000 }) ?? 100;
    const before = numberOf(query, "before", { least: 0, most: Number.MAX_SAFE_INTEGER });
    const page = { limit, ...(before === undefined ? {} : { before }) };
    return jsonAnswer(await control.journal(page));
  }),
  get("/api/v1/uplink", "read", ({ query }, { control }) =>
    jsonAnswer(control.uplink(numberOf(query, "hours", { least: 1, most: 24 * 90 }) ?? 24)),
  ),
  get("/api/v1/events", "read", ({ request, client, caller }, { events, access }) => {
    const isStillIn = async () => {
      const { role, user } = await access.authenticate(request, client);
      return role !== "none" && user === caller.user;
    };
    const headers = { "content-type": "text/event-stream", "cache-control": "no-store" };
    return { status: 200, headers, body: events.open(isStillIn) };
  }),
  get("/api/v1/me", "none", ({ caller }, { access }) => jsonAnswer(meOf(caller, access))),
  post("/api/v1/login", "none", async ({ request, client }, { access, clock }) => {
    const body = await jsonBody(request, clock);
    const { user, password } = body;
    if (typeof user !== "string" || typeof password !== "string" || user === "") {
      throw invalidRequest(
        "Cannot log in: a user and a password were expected, both as texts",
        'Send {"user": "…", "password": "…"}',
      );
    }
    const { caller, cookie } = await access.login(request, client, user, new Secret(password));
    return jsonAnswer(meOf(caller, access), 200, { "set-cookie": cookie });
  }),
  post("/api/v1/logout", "none", ({ request }, { access }) => {
    const cookie = access.logout(request);
    return jsonAnswer({}, 200, cookie === null ? {} : { "set-cookie": cookie });
  }),
  post("/api/v1/actions/{name}", "operate", async ({ request, name, caller }, place) => {
    const action = ACTION_NAMES.find((known) => known === name);
    if (action === undefined) throw unknownAction(name);
    const options = actionOptions(action, await jsonBody(request, place.clock));
    await place.control.act(action, caller.by, options);
    return jsonAnswer({ action }, 202);
  }),
  get("/api/openapi.json", "none", (_asked, { control }) =>
    jsonAnswer(openApiDocument(control.state().version)),
  ),
  get("/metrics", "read", ({ request }, { control, clock, counts }) => {
    const format = expositionFormat(request.headers.get("accept"));
    const metrics = [
      ...siteMetrics(control.state(), control.counters(), counts()),
      ...processMetrics(clock.now()),
    ];
    return textAnswer(exposition(metrics, format), 200, EXPOSITION_TYPES[format]);
  }),
  get("/healthz", "none", (_asked, { control }) => {
    const loop = control.state().parts.find(({ name }) => name === "reconcile");
    const isWell = loop === undefined || loop.state === "running";
    return isWell ? textAnswer("ok\n") : textAnswer("the agent's loop does not run\n", 503);
  }),
  get("/readyz", "none", (_asked, { control }) => {
    if (control.isReadyOffline()) return textAnswer("ok\n");
    // Why not is for who may look: this is open to everybody.
    return textAnswer("not ready offline, or not proven yet\n", 503);
  }),
];

function get(path: string, role: Role, answer: Route["answer"]): Route {
  return { method: "GET", path, role, answer };
}

function post(path: string, role: Role, answer: Route["answer"]): Route {
  return { method: "POST", path, role, answer };
}

/** An agent that was started anew counts from the beginning, so its start is in it. */
function stateTag({ startedMs, revisionOfState }: SiteState): string {
  return `"${startedMs.toString(36)}-${revisionOfState}"`;
}

/** Who asks, as the page and `/api/v1/me` are told. */
export function meOf({ user, role }: Caller, { hasUsers }: ApiAccess) {
  return { user, role, login: hasUsers ? "required" : "none" };
}

const REVISION_ROLES: readonly RevisionRole[] = ["active", "staged", "previous"];

function revisionOf(query: URLSearchParams): RevisionRole {
  const text = query.get("revision") ?? "active";
  const role = REVISION_ROLES.find((known) => known === text);
  if (role !== undefined) return role;
  throw invalidRequest(
    `Cannot use revision=${quoted(text)}, expected one of ${REVISION_ROLES.join(", ")}`,
    "Leave it out for the active one",
  );
}

function textOf(query: URLSearchParams, key: string): string {
  const text = query.get(key) ?? "";
  if (text !== "" && text.length <= 1_024) return text;
  throw invalidRequest(
    `Cannot answer without ${key}=, expected a text of at most 1024 characters`,
    "Write it as the list of images has it",
  );
}

function numberOf(
  query: URLSearchParams,
  key: string,
  { least, most }: { readonly least: number; readonly most: number },
): number | undefined {
  const text = query.get(key);
  if (text === null) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw invalidRequest(
    `Cannot use ${key}=${quoted(text)}, expected a whole number from ${least} to ${most}`,
    `Leave ${key} out for what is usual`,
  );
}

/** The one option that some actions have. */
const OPTION_OF: Partial<Record<ActionName, "full" | "dryRun">> = {
  prove: "full",
  collect: "dryRun",
};

/** An option that is misspelt, or that an action does not have, must not turn a dry run into a real one. */
function actionOptions(action: ActionName, body: Readonly<Record<string, unknown>>) {
  const known = OPTION_OF[action];
  for (const [key, value] of Object.entries(body)) {
    if (key === known && typeof value === "boolean") continue;
    const expected = known === undefined ? "no options" : `"${known}", true or false`;
    throw invalidRequest(
      `Cannot ${action} with ${quoted(key)}, expected ${expected}`,
      "Leave it out, or write it as the API describes at /api/openapi.json",
    );
  }
  return body as { readonly full?: boolean; readonly dryRun?: boolean };
}

function unknownAction(name: string) {
  const known: readonly ActionName[] = ACTION_NAMES;
  return invalidRequest(
    `Cannot do ${quoted(name)}: there is no such action, expected one of ${known.join(", ")}`,
    "Name one of these",
  );
}
