import { type Secret, systemClock } from "#base";
import type { SiteState } from "#daemon";
import type { AgentControl } from "../../src/daemon/control.ts";
import { type OpenApiDocument, openApiDocument } from "../../src/daemon/openapi.ts";
import type { Schema } from "../../src/daemon/openapi-schema.ts";
import { PAGE_POLICY, pageAssets } from "../../src/daemon/page/page.ts";
import { type ApiAccess, unguardedAccess, userAccess } from "../../src/daemon/server/access.ts";
import { createApi } from "../../src/daemon/server/api.ts";
import { serveOnAddress } from "../../src/daemon/server/serve.ts";
import { type AgentWorld, type AgentWorldOptions, startAgent } from "./agent-world.ts";
import { createManualClock, type ManualClock } from "./clock.ts";
import { schemaProblems } from "./json-schema.ts";
import { sketchOf } from "./memory-operations.ts";

/** An agent whose API listens on a free port of loopback. */
export interface ApiWorld extends AsyncDisposable {
  readonly agent: AgentWorld;
  readonly url: string;
  /** What was answered with a 500. */
  readonly errors: readonly unknown[];
  /**
   * Sends a request, and checks the answer against the OpenAPI document: path, verb, status, content type
   * and every field of the body.
   */
  ask(path: string, init?: AskInit): Promise<Reply>;
}

/** A request: what is not said is as a program of this machine sends it. */
export interface AskInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sends Basic; the password is the name. */
  readonly as?: string;
}

/** An answer whose body was read and checked. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: it was checked against the document.
  readonly json: any;
}

/** An agent of which a test puts some methods in another's place. */
export function controlWith(agent: AgentControl, patch: Partial<AgentControl>): AgentControl {
  return {
    state: () => agent.state(),
    subscribe: (listener) => agent.subscribe(listener),
    images: (role) => agent.images(role),
    explain: (role, reference) => agent.explain(role, reference),
    plan: (role) => agent.plan(role),
    isReadyOffline: () => agent.isReadyOffline(),
    proof: () => agent.proof(),
    journal: (page) => agent.journal(page),
    uplink: (hours) => agent.uplink(hours),
    act: (action, by, options) => agent.act(action, by, options),
    counters: () => agent.counters(),
    ...patch,
  };
}

/** How an API of a test is set up; by default anybody on loopback operates. */
export interface ApiWorldOptions {
  readonly agent?: AgentWorldOptions;
  readonly access?: ApiAccess;
  readonly isLoopbackOnly?: boolean;
  /** In place of what the agent does itself. */
  readonly control?: Partial<AgentControl>;
}

/** Starts an agent, has it deliver a profile of two images, and serves its API. */
export async function serveAgentApi(options: ApiWorldOptions = {}): Promise<ApiWorld> {
  const agent = startAgent(options.agent);
  agent.site.want(sketchOf("shop"));
  await agent.until("the site is proven", () => agent.agent.state().proof !== null);
  const errors: unknown[] = [];
  const api = createApi({
    control: controlWith(agent.agent, options.control ?? {}),
    page: pageAssets(),
    pagePolicy: PAGE_POLICY,
    access: options.access ?? unguardedAccess(),
    isLoopbackOnly: options.isLoopbackOnly ?? true,
    clock: systemClock,
    onError: (error) => errors.push(error),
  });
  const server = serveOnAddress({ api, hostname: "127.0.0.1", port: 0 });
  return {
    ...{ agent, errors },
    url: server.address,
    ask: (path, init = {}) => ask(server.address, path, init),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await agent.stop();
    },
  };
}

async function ask(url: string, path: string, init: AskInit): Promise<Reply> {
  const { method = "GET", body, as } = init;
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(method === "GET" ? {} : { "x-drayage": "1", "content-type": "application/json" }),
      ...(as === undefined ? {} : { authorization: basic(as) }),
      ...init.headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    redirect: "manual",
  });
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  const json = type.startsWith("application/json") && text !== "" ? JSON.parse(text) : undefined;
  const reply = { status: response.status, headers: response.headers, text, json };
  const problems = documentProblems({ method, path: path.replace(/\?.*/, ""), type }, reply);
  if (problems.length > 0) throw new Error(`${method} ${path}: ${problems.join("; ")}`);
  return reply;
}

/** `Authorization` of a user of a test, whose password is the name. */
export function basic(user: string, password = user): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

const DOCUMENT: OpenApiDocument = openApiDocument("1.0");

function documentProblems(
  asked: { readonly method: string; readonly path: string; readonly type: string },
  { status, text, json }: Reply,
): readonly string[] {
  const operation = operationOf(asked.method, asked.path);
  if (operation === undefined) {
    // Whatever is not in the document is refused in the form that all of it refuses.
    if (![404, 405, 421].includes(status)) return ["the document does not have it"];
    return problems(json, { $ref: "#/components/schemas/Error" });
  }
  const described = operation.responses[String(status)] ?? operation.responses["default"];
  if (described === undefined) return [`the document does not have status ${status}`];
  if (described.content === undefined) return text === "" ? [] : ["it has a body"];
  if (asked.method === "HEAD") return [];
  const media = described.content[asked.type.replace(/;.*/, "")];
  if (media === undefined) return [`the document does not have ${asked.type} for ${status}`];
  return problems(json ?? text, media.schema);
}

function operationOf(method: string, path: string) {
  const verb = method === "HEAD" ? "get" : method.toLowerCase();
  const [, operations] =
    Object.entries(DOCUMENT.paths).find(([pattern]) =>
      new RegExp(`^${pattern.replace(/\{\w+\}/, "[^/]+")}$`).test(path),
    ) ?? [];
  return operations?.[verb];
}

function problems(value: unknown, schema: Schema): readonly string[] {
  return schemaProblems(value, schema, DOCUMENT.components.schemas);
}

/** Every verb and path of the document: `GET /api/v1/site`. */
export function documentedPaths(): readonly string[] {
  return Object.entries(DOCUMENT.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((verb) => `${verb.toUpperCase()} ${path}`),
  );
}

/** Where what an agent tells is not as the document says. */
export function stateProblems(state: SiteState): readonly string[] {
  return problems(JSON.parse(JSON.stringify(state)), { $ref: "#/components/schemas/SiteState" });
}

/** Users of a test: each password is the name, and anna operates. */
export interface TestUsers {
  readonly access: ApiAccess;
  readonly clock: ManualClock;
  /** Addresses of wrong passwords. */
  readonly failed: readonly string[];
  /** Passwords that were compared. */
  compared(): number;
  /** Anna has another password from now on. */
  changePassword(): void;
}

/** Access by users that live in memory. */
export function testUsers(options: { readonly metricsToken?: () => Secret } = {}): TestUsers {
  const clock = createManualClock();
  const failed: string[] = [];
  let compared = 0;
  let version = "1";
  const access = userAccess({
    users: {
      async verify(user, password, beforeComparing) {
        beforeComparing?.();
        compared += 1;
        return ["anna", "rita"].includes(user) && user === password;
      },
      passwordVersion: (user) => (["anna", "rita"].includes(user) ? version : undefined),
    },
    ...options,
    operators: new Set(["anna"]),
    isTls: false,
    clock,
    onFailedLogin: (client) => failed.push(client),
  });
  return {
    ...{ access, clock, failed },
    compared: () => compared,
    changePassword: () => {
      version = "2";
    },
  };
}
