import type { Failure } from "#base";
import { createMemoryStore } from "#content";
import type { Access } from "#credential";
import type { HarborApi } from "#harbor";
import { createRegistry } from "#registry";
import { testCertificates } from "./certificates.ts";
import { hasDockerRegistry, signToken, startDockerRegistry } from "./docker-registry.ts";
import { answerApi } from "./harbor-api.ts";
import { createHarborRegistry, type Upstream } from "./harbor-registry.ts";
import { ruleOf } from "./harbor-rules.ts";
import {
  addProject,
  type HarborState,
  type ProjectState,
  type Role,
  type TokenAccess,
  usedBytes,
} from "./harbor-state.ts";

/** How a stand-in for Harbor is set up. */
export interface HarborOptions {
  /** `v2.11.1-6b7ecba1` by default. */
  readonly version?: string;
  /** The password of `admin`. `Harbor12345` by default. */
  readonly adminPassword?: string;
  /** Who may create projects. Everybody by default, as at Harbor. */
  readonly projectCreation?: "everyone" | "adminonly";
  readonly port?: number;
  /** Our own registry in place of Debian's, also where that is installed. */
  readonly embedded?: boolean;
}

/** A request that Harbor answered. */
export interface HarborRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly status: number;
}

/** What a project is and holds. */
export interface HarborProjectView {
  readonly name: string;
  readonly isPublic: boolean;
  readonly usedBytes: number;
}

/** What an operator of Harbor does, and sees. */
export interface HarborControls {
  readonly adminPassword: string;
  /** All requests so far, in the order of their answers. */
  readonly requests: readonly HarborRequest[];
  projects(): readonly HarborProjectView[];
  /** The login names of all robot accounts. */
  robots(): readonly string[];
  createProject(name: string, options?: { readonly isPublic?: boolean }): void;
  /** Makes a user who is a member of some projects. */
  addUser(username: string, password: string, roles?: Readonly<Record<string, Role>>): void;
  /** Deletes a robot account. Its tokens go on for half an hour, as at Harbor. */
  revokeRobot(login: string): void;
  disableRobot(login: string, isDisabled?: boolean): void;
  /** Lets it end so many seconds from now. */
  expireRobot(login: string, seconds: number): void;
  /** In bytes; null without a limit. */
  setQuota(project: string, bytes: number | null): void;
  setFreeBytes(bytes: number): void;
  setReadOnly(isReadOnly: boolean): void;
  setHealthy(component: string, isHealthy: boolean): void;
  /** Patterns of Harbor for the repository within the project, and the tag. */
  addImmutableRule(project: string, rule: { repository: string; tag: string }): void;
  addRetentionRule(
    project: string,
    rule: { repository: string; tag: string; template: string; params?: object },
  ): void;
  /** Answers in Harbor's place, as its front does while its core is away: a status, with a web page. */
  interrupt(script: ((request: Request, number: number) => number | undefined) | undefined): void;
}

/** A stand-in for Harbor as a function from request to response. */
export interface HarborHandler extends HarborControls {
  fetch(request: Request): Promise<Response>;
}

/** A stand-in for Harbor that listens, with TLS. */
export interface Harbor extends HarborControls, AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  readonly url: string;
  /** The authority to trust: PEM, and the file it is in. */
  readonly ca: string;
  readonly caFile: string;
  /** The registry behind it: Debian's, or our own where that is not installed. */
  readonly registry: "docker-registry" | "embedded";
  /** Is gone, with its port; what it holds stays. */
  stop(): Promise<void>;
  /** Is there again, under the same address. */
  start(): Promise<void>;
}

const ADMIN_PASSWORD = "Harbor12345";

/**
 * Makes a Harbor without a socket.
 *
 * @param upstream the registry behind it; our own by default
 * @param externalUrl where its token service is, from outside
 */
export function createHarbor(
  options: HarborOptions = {},
  upstream: Upstream = embedded(),
  externalUrl: () => string = () => "https://harbor.test",
): HarborHandler {
  const state: HarborState = {
    version: options.version ?? "v2.11.1-6b7ecba1",
    adminPassword: options.adminPassword ?? ADMIN_PASSWORD,
    isReadOnly: false,
    projectCreation: options.projectCreation ?? "everyone",
    ...{ unhealthy: new Set(), freeBytes: 1e11, lastId: 0 },
    ...{ projects: new Map(), users: new Map(), robots: new Map(), retentions: new Map() },
  };
  addProject(state, { name: "library", isPublic: true, owner: { kind: "admin" } });
  const registry = createHarborRegistry(state, upstream, externalUrl);
  const requests: HarborRequest[] = [];
  const interruption: { script?: Parameters<HarborControls["interrupt"]>[0] } = {};
  let received = 0;
  const answer = async (request: Request): Promise<Response> => {
    received += 1;
    const status = interruption.script?.(request, received);
    if (status !== undefined) return webPage(status);
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/api/v2.0/")) return answerApi(state, request);
    if (pathname === "/service/token") return registry.answerToken(request);
    if (pathname.startsWith("/v2/")) return registry.answer(request);
    // Whatever else one asks for, the portal answers.
    return new Response("<!doctype html><title>Harbor</title>", {
      headers: { "content-type": "text/html" },
    });
  };
  return {
    ...controls(state),
    requests,
    interrupt: (script) => {
      interruption.script = script;
      received = 0;
    },
    async fetch(request) {
      const response = await answer(request);
      const { pathname, search } = new URL(request.url);
      const path = `${pathname}${search}`;
      requests.push({ method: request.method, path, status: response.status });
      return response;
    },
  };
}

function webPage(status: number): Response {
  const page = `<html><head><title>${status}</title></head><body>nginx</body></html>`;
  return new Response(page, { status, headers: { "content-type": "text/html" } });
}

function controls(state: HarborState): Omit<HarborControls, "requests" | "interrupt"> {
  const projectNamed = (name: string): ProjectState => {
    const project = state.projects.get(name);
    if (project === undefined) throw new Error(`There is no project ${name}`);
    return project;
  };
  const robotNamed = (login: string) => {
    const robot = [...state.robots.values()].find((each) => each.login === login);
    if (robot === undefined) throw new Error(`There is no robot ${login}`);
    return robot;
  };
  return {
    adminPassword: state.adminPassword,
    projects: () =>
      [...state.projects.values()].map((project) => ({
        ...{ name: project.name, isPublic: project.isPublic, usedBytes: usedBytes(project) },
      })),
    robots: () => [...state.robots.values()].map(({ login }) => login),
    createProject(name, { isPublic = false } = {}) {
      addProject(state, { name, isPublic, owner: { kind: "admin" } });
    },
    addUser(username, password, roles = {}) {
      state.users.set(username, password);
      for (const [name, role] of Object.entries(roles)) {
        projectNamed(name).members.set(username, role);
      }
    },
    revokeRobot: (login) => void state.robots.delete(robotNamed(login).id),
    disableRobot(login, isDisabled = true) {
      robotNamed(login).isDisabled = isDisabled;
    },
    expireRobot(login, seconds) {
      robotNamed(login).expiresAt = Math.floor(Date.now() / 1000) + seconds;
    },
    setQuota(name, bytes) {
      projectNamed(name).quotaBytes = bytes ?? -1;
    },
    setFreeBytes(bytes) {
      state.freeBytes = bytes;
    },
    setReadOnly(isReadOnly) {
      state.isReadOnly = isReadOnly;
    },
    setHealthy(component, isHealthy) {
      if (isHealthy) state.unhealthy.delete(component);
      else state.unhealthy.add(component);
    },
    addImmutableRule(name, rule) {
      const { immutableRules } = projectNamed(name);
      const id = immutableRules.length + 1;
      immutableRules.push(
        ruleOf(id, { ...rule, action: "immutable", template: "immutable_template" }),
      );
    },
    addRetentionRule(name, rule) {
      const project = projectNamed(name);
      const id = project.retentionId ?? project.id;
      project.retentionId = id;
      const rules = Object(state.retentions.get(id)).rules ?? [];
      rules.push(ruleOf(rules.length + 1, { ...rule, action: "retain" }));
      const trigger = { kind: "Schedule", settings: { cron: "0 0 0 * * *" } };
      state.retentions.set(id, { id, algorithm: "or", rules, trigger });
    },
  };
}

function embedded(): Upstream {
  const registry = createRegistry({ store: createMemoryStore() });
  return (request) => {
    const headers = new Headers(request.headers);
    headers.delete("authorization");
    // Ours knows what a mirror is; Harbor takes no notice of what containerd says to one.
    const url = new URL(request.url);
    url.searchParams.delete("ns");
    const { method, body, signal } = request;
    return registry.fetch(new Request(url.href, { method, headers, body, signal }));
  };
}

/** Starts a Harbor on a free port of loopback, in front of Debian's docker-registry where that is installed. */
export async function startHarbor(options: HarborOptions = {}): Promise<Harbor> {
  await using undo = new AsyncDisposableStack();
  const isReal = hasDockerRegistry && options.embedded !== true;
  const upstream = isReal ? await startUpstream(undo) : embedded();
  const handler = createHarbor(options, upstream, () => `https://127.0.0.1:${port}`);
  const { ca, caPath, server: certificate } = testCertificates();
  const listen = (port: number) =>
    Bun.serve({
      ...{ hostname: "127.0.0.1", port, reusePort: false, idleTimeout: 120 },
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      tls: { cert: certificate.certificate, key: certificate.key },
      fetch: (request) => handler.fetch(request),
    });
  let server: ReturnType<typeof listen> | undefined = listen(options.port ?? 0);
  const port = server.port ?? 0;
  const stop = async () => {
    await server?.stop(true);
    server = undefined;
  };
  undo.defer(stop);
  const stack = undo.move();
  return {
    ...handler,
    ...{ address: `127.0.0.1:${port}`, url: `https://127.0.0.1:${port}`, ca, caFile: caPath },
    registry: isReal ? "docker-registry" : "embedded",
    stop,
    async start() {
      server ??= listen(port);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A registry that believes the tokens of Harbor's core and asks nobody else. */
async function startUpstream(undo: AsyncDisposableStack): Promise<Upstream> {
  const nobody = { username: "core", password: "unused" };
  const { address } = undo.use(await startDockerRegistry({ token: nobody }));
  return async (request, access) => {
    const { pathname, search } = new URL(request.url);
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${signToken(access.map(withPull), "test-registry")}`);
    headers.delete("host");
    const response = await fetch(`http://${address}${pathname}${search}`, {
      ...{ method: request.method, headers, redirect: "manual", decompress: false },
      body: request.body,
    });
    if (response.status === 401) throw new Error(`The registry refuses Harbor: ${request.url}`);
    return response;
  };
}

/** Distribution wants both of who pushes. */
function withPull(access: TokenAccess): TokenAccess {
  return access.actions.includes("push") ? { ...access, actions: ["pull", "push"] } : access;
}

/** What goes wrong with a request to an API: it fails before it is carried out, or after. */
export interface ApiFault {
  readonly when: "before" | "after";
  readonly failure: Failure;
}

/** Harbor's API without a socket, as the client of `#remote` shows it. */
export function harborApi(
  harbor: HarborHandler,
  { credential }: Pick<Access, "credential">,
  fault: (request: Request) => ApiFault | undefined = () => undefined,
): HarborApi {
  const address = "harbor.test";
  return {
    address,
    async request({ method, path, body, signal }) {
      signal.throwIfAborted();
      const request = new Request(`https://${address}${path}`, {
        method,
        headers: credential?.kind === "password" ? { authorization: basic(credential) } : {},
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const found = fault(request);
      if (found?.when === "before") throw found.failure;
      const response = await harbor.fetch(request);
      if (found !== undefined) throw found.failure;
      const text = await response.text();
      return { status: response.status, body: text === "" ? undefined : parseJson(text) };
    },
  };
}

function basic({ username, password }: { username: string; password: { reveal(): string } }) {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`).toString("base64")}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
