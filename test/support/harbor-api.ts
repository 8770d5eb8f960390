import { randomBytes } from "node:crypto";
import {
  addProject,
  type Caller,
  callerOf,
  type HarborState,
  harborError,
  type ProjectState,
  type RobotState,
  readOnlyError,
  roleOf,
  usedBytes,
} from "./harbor-state.ts";

const COMPONENTS = [
  ...["core", "database", "jobservice", "portal", "redis", "registry", "registryctl"],
];

interface ApiRequest {
  readonly state: HarborState;
  readonly caller: Caller;
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
  readonly id: string;
  /** The second number of the path. */
  readonly part: string;
}

type Route = readonly [verb: string, path: RegExp, handle: (request: ApiRequest) => Response];

const ROUTES: readonly Route[] = [
  ["GET", /^\/health$/, health],
  ["GET", /^\/systeminfo$/, systemInfo],
  ["GET", /^\/systeminfo\/volumes$/, volumes],
  ["GET", /^\/projects$/, listProjects],
  ["POST", /^\/projects$/, createProject],
  ["GET", /^\/projects\/([0-9]+)\/summary$/, summary],
  ["GET", /^\/projects\/([0-9]+)\/immutabletagrules$/, immutableRules],
  ["POST", /^\/projects\/([0-9]+)\/immutabletagrules$/, addImmutableRule],
  ["DELETE", /^\/projects\/([0-9]+)\/immutabletagrules\/([0-9]+)$/, deleteImmutableRule],
  ["GET", /^\/quotas$/, quotas],
  ["PUT", /^\/quotas\/([0-9]+)$/, setQuota],
  ["GET", /^\/retentions\/([0-9]+)$/, retention],
  ["GET", /^\/robots$/, listRobots],
  ["POST", /^\/robots$/, createRobot],
  ["PUT", /^\/robots\/([0-9]+)$/, withRobot(updateRobot)],
  ["PATCH", /^\/robots\/([0-9]+)$/, withRobot(renewSecret)],
  ["DELETE", /^\/robots\/([0-9]+)$/, withRobot(deleteRobot)],
];

const SAFE_METHODS = ["GET", "HEAD"];

/** Answers a request to `/api/v2.0`, by Harbor's public description of that API. */
export async function answerApi(state: HarborState, request: Request): Promise<Response> {
  const url = new URL(request.url);
  const path = url.pathname.slice("/api/v2.0".length);
  const body = await readJson(request);
  for (const [verb, pattern, handle] of ROUTES) {
    const match = pattern.exec(path);
    if (verb !== request.method || match === null) continue;
    if (state.isReadOnly && !SAFE_METHODS.includes(verb)) return readOnlyError();
    const caller = callerOf(state, request.headers.get("authorization"));
    const [, id = "", part = ""] = match;
    return handle({ state, caller, query: url.searchParams, body, id, part });
  }
  return harborError(404, "NOT_FOUND", "The requested resource was not found");
}

async function readJson(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const text = await request.text();
  return text === "" ? {} : JSON.parse(text);
}

function health({ state }: ApiRequest): Response {
  const components = COMPONENTS.map((name) =>
    state.unhealthy.has(name)
      ? { name, status: "unhealthy", error: "failed to check health" }
      : { name, status: "healthy" },
  );
  const status = components.some((c) => c.status === "unhealthy") ? "unhealthy" : "healthy";
  return Response.json({ status, components });
}

/** Version and mode are for those who are known. */
function systemInfo({ state, caller }: ApiRequest): Response {
  const open = { auth_mode: "db_auth", self_registration: false };
  if (caller.kind === "nobody") return Response.json(open);
  return Response.json({
    ...open,
    harbor_version: state.version,
    read_only: state.isReadOnly,
    project_creation_restriction: state.projectCreation,
    registry_storage_provider_name: "filesystem",
  });
}

function volumes({ state, caller }: ApiRequest): Response {
  if (caller.kind !== "admin") return notAllowed(caller);
  return Response.json({ storage: [{ total: 1e12, free: state.freeBytes }] });
}

function listProjects({ state, caller, query }: ApiRequest): Response {
  const wanted = query.get("name") ?? "";
  const found = [...state.projects.values()]
    .filter((project) => project.name.includes(wanted) && isSeen(caller, project))
    .map((project) => ({
      project_id: project.id,
      name: project.name,
      metadata: {
        public: String(project.isPublic),
        ...(project.retentionId === null ? {} : { retention_id: String(project.retentionId) }),
      },
    }));
  return Response.json(pageOf(found, query));
}

function isSeen(caller: Caller, project: ProjectState): boolean {
  if (caller.kind === "admin" || project.isPublic) return true;
  if (caller.kind === "robot") return caller.robot.project === project.name;
  return roleOf(caller, project) !== undefined;
}

function createProject({ state, caller, body }: ApiRequest): Response {
  const mayCreate =
    caller.kind === "admin" || (caller.kind === "user" && state.projectCreation === "everyone");
  if (!mayCreate) return notAllowed(caller);
  const name = String(body["project_name"]);
  if (!/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(name)) {
    return harborError(400, "BAD_REQUEST", `invalid project name: ${name}`);
  }
  if (state.projects.has(name)) {
    return harborError(409, "CONFLICT", `The project named ${name} already exists`);
  }
  const isPublic = Object(body["metadata"]).public === "true";
  addProject(state, { name, isPublic, owner: caller });
  return new Response(null, { status: 201 });
}

function summary({ state, caller, id }: ApiRequest): Response {
  const project = projectOf(state, Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `project ${id} not found`);
  if (caller.kind !== "admin" && roleOf(caller, project) === undefined) return notAllowed(caller);
  return Response.json({ repo_count: 0, quota: quotaOf(project) });
}

function quotas({ state, caller, query }: ApiRequest): Response {
  if (caller.kind !== "admin") return notAllowed(caller);
  const project = projectOf(state, Number(query.get("reference_id")));
  return Response.json(project === undefined ? [] : [{ id: project.id, ...quotaOf(project) }]);
}

function quotaOf(project: ProjectState): object {
  return { hard: { storage: project.quotaBytes }, used: { storage: usedBytes(project) } };
}

function immutableRules({ state, caller, id, query }: ApiRequest): Response {
  const project = projectOf(state, Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `project ${id} not found`);
  if (!maintains(caller, project)) return notAllowed(caller);
  return Response.json(pageOf(project.immutableRules, query));
}

function addImmutableRule({ state, caller, id, body }: ApiRequest): Response {
  const project = projectOf(state, Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `project ${id} not found`);
  if (!maintains(caller, project)) return notAllowed(caller);
  state.lastId += 1;
  project.immutableRules.push({ ...body, id: state.lastId });
  return new Response(null, { status: 201 });
}

function deleteImmutableRule({ state, caller, id, part }: ApiRequest): Response {
  const project = projectOf(state, Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `project ${id} not found`);
  if (!maintains(caller, project)) return notAllowed(caller);
  const at = project.immutableRules.findIndex((rule) => Object(rule).id === Number(part));
  if (at === -1) return harborError(404, "NOT_FOUND", `rule ${part} not found`);
  project.immutableRules.splice(at, 1);
  return new Response(null, { status: 200 });
}

function setQuota({ state, caller, id, body }: ApiRequest): Response {
  if (caller.kind !== "admin") return notAllowed(caller);
  const project = projectOf(state, Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `quota ${id} not found`);
  project.quotaBytes = Number(Object(body["hard"]).storage);
  return new Response(null, { status: 200 });
}

function retention({ state, caller, id }: ApiRequest): Response {
  const project = [...state.projects.values()].find((p) => p.retentionId === Number(id));
  if (project === undefined) return harborError(404, "NOT_FOUND", `no such Retention policy ${id}`);
  if (!maintains(caller, project)) return notAllowed(caller);
  return Response.json(state.retentions.get(Number(id)));
}

function maintains(caller: Caller, project: ProjectState): boolean {
  const role = roleOf(caller, project);
  return caller.kind === "admin" || role === "projectAdmin" || role === "maintainer";
}

function listRobots({ state, caller, query }: ApiRequest): Response {
  const [, level, id] = /^Level=(\w+)(?:,ProjectID=([0-9]+))?$/.exec(query.get("q") ?? "") ?? [];
  if (level === "project" && id === undefined) {
    return harborError(400, "BAD_REQUEST", "must with project ID when to query project robots");
  }
  const project = projectOf(state, Number(id));
  if (!administers(caller, project)) return notAllowed(caller);
  const robots = [...state.robots.values()].filter((robot) => robot.project === project?.name);
  return Response.json(pageOf(robots.map(showRobot), query));
}

function showRobot(robot: RobotState): object {
  const { id, login, isDisabled, expiresAt, project } = robot;
  const access = robot.actions.map((action) => ({ resource: "repository", action }));
  return {
    ...{ id, name: login, level: "project", disable: isDisabled, editable: true },
    ...{ expires_at: expiresAt, duration: expiresAt === -1 ? -1 : 30 },
    permissions: [{ kind: "project", namespace: project, access }],
  };
}

function createRobot({ state, caller, body }: ApiRequest): Response {
  const { project, actions } = readPermission(body);
  const found = state.projects.get(project);
  if (!administers(caller, found)) return notAllowed(caller);
  const name = String(body["name"]);
  if (!/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(name)) {
    return harborError(400, "BAD_REQUEST", "robot name is not in lower case or contains illegal");
  }
  const login = `robot$${project}+${name}`;
  if ([...state.robots.values()].some((robot) => robot.login === login)) {
    return harborError(409, "CONFLICT", `robot account ${name} already exists`);
  }
  state.lastId += 1;
  const secret = newSecret();
  const expiresAt = expiryOf(body["duration"]);
  const id = state.lastId;
  state.robots.set(id, {
    ...{ id, name, login, project, secret, isDisabled: false, expiresAt, actions },
  });
  return Response.json({ id, name: login, secret, expires_at: expiresAt }, { status: 201 });
}

function withRobot(
  handle: (request: ApiRequest, robot: RobotState) => Response,
): (request: ApiRequest) => Response {
  return (request) => {
    const { state, caller, id } = request;
    const robot = state.robots.get(Number(id));
    if (caller.kind === "nobody") return notAllowed(caller);
    if (robot === undefined) return harborError(404, "NOT_FOUND", `robot ${id} not found`);
    if (!administers(caller, state.projects.get(robot.project))) return notAllowed(caller);
    return handle(request, robot);
  };
}

function updateRobot({ body }: ApiRequest, robot: RobotState): Response {
  if (body["level"] !== "project" || body["name"] !== robot.login) {
    return harborError(400, "BAD_REQUEST", "cannot update the level or name of robot");
  }
  robot.actions = readPermission(body).actions;
  robot.isDisabled = body["disable"] === true;
  robot.expiresAt = expiryOf(body["duration"]);
  return new Response(null, { status: 200 });
}

function renewSecret({ body }: ApiRequest, robot: RobotState): Response {
  const given = String(body["secret"] ?? "");
  if (given !== "" && !(given.length >= 8 && /[a-z]/.test(given) && /[A-Z]/.test(given))) {
    return harborError(400, "BAD_REQUEST", "the secret must longer than 8 chars");
  }
  robot.secret = given === "" ? newSecret() : given;
  return Response.json(given === "" ? { secret: robot.secret } : {});
}

function deleteRobot({ state }: ApiRequest, robot: RobotState): Response {
  state.robots.delete(robot.id);
  return new Response(null, { status: 200 });
}

function administers(caller: Caller, project: ProjectState | undefined): boolean {
  if (caller.kind === "admin") return true;
  return project !== undefined && roleOf(caller, project) === "projectAdmin";
}

function readPermission(body: ApiRequest["body"]): { project: string; actions: string[] } {
  const [permission] = Array.isArray(body["permissions"]) ? body["permissions"] : [];
  const access: unknown[] = Object(permission).access ?? [];
  return {
    project: String(Object(permission).namespace),
    actions: access.map((entry) => String(Object(entry).action)),
  };
}

/** From days, of which -1 is for ever. */
function expiryOf(duration: unknown): number {
  return duration === -1 ? -1 : Math.floor(Date.now() / 1000) + Number(duration) * 86_400;
}

/** Every secret has this word in it, and nothing that is printed may. */
function newSecret(): string {
  return `Canary1-${randomBytes(16).toString("hex")}`;
}

function projectOf(state: HarborState, id: number): ProjectState | undefined {
  return [...state.projects.values()].find((project) => project.id === id);
}

function pageOf<T>(items: readonly T[], query: URLSearchParams): readonly T[] {
  const size = Number(query.get("page_size") ?? 10);
  const page = Number(query.get("page") ?? 1);
  return items.slice((page - 1) * size, page * size);
}

function notAllowed(caller: Caller): Response {
  return caller.kind === "nobody"
    ? harborError(401, "UNAUTHORIZED", "unauthorized")
    : harborError(403, "FORBIDDEN", "forbidden");
}
