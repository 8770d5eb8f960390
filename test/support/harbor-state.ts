/** What a stand-in for Harbor knows; see `harbor.ts`. */
export interface HarborState {
  version: string;
  adminPassword: string;
  isReadOnly: boolean;
  projectCreation: "everyone" | "adminonly";
  /** Of those that `/health` lists. */
  readonly unhealthy: Set<string>;
  freeBytes: number;
  readonly projects: Map<string, ProjectState>;
  readonly users: Map<string, string>;
  readonly robots: Map<number, RobotState>;
  readonly retentions: Map<number, object>;
  lastId: number;
}

/** A project, what may be done in it, and what it holds. */
export interface ProjectState {
  readonly id: number;
  readonly name: string;
  isPublic: boolean;
  /** -1 without a limit. */
  quotaBytes: number;
  /** Content of the project by digest, with its size. */
  readonly content: Map<string, number>;
  readonly members: Map<string, Role>;
  readonly immutableRules: object[];
  retentionId: number | null;
}

/** What a member of a project is, the most rights first. */
export type Role = "projectAdmin" | "maintainer" | "developer" | "guest";

/** A robot account of a project. */
export interface RobotState {
  readonly id: number;
  readonly name: string;
  readonly login: string;
  readonly project: string;
  secret: string;
  isDisabled: boolean;
  /** Seconds since 1970, or -1. */
  expiresAt: number;
  actions: readonly string[];
}

/** Who asks. */
export type Caller =
  | { readonly kind: "nobody" }
  | { readonly kind: "admin" }
  | { readonly kind: "user"; readonly username: string }
  | { readonly kind: "robot"; readonly robot: RobotState }
  /** By a token of the token service, which stands for itself until it runs out. */
  | { readonly kind: "token"; readonly access: readonly TokenAccess[] };

/** What a token lets do. */
export interface TokenAccess {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

const NOBODY: Caller = { kind: "nobody" };

/** Who a Basic credential is; nobody when it is wrong, as at Harbor. */
export function callerOf(state: HarborState, authorization: string | null): Caller {
  const [, encoded] = /^Basic (\S+)$/i.exec(authorization ?? "") ?? [];
  const text = Buffer.from(encoded ?? "", "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon === -1) return NOBODY;
  const [username, password] = [text.slice(0, colon), text.slice(colon + 1)];
  if (username === "admin") {
    return password === state.adminPassword ? { kind: "admin" } : NOBODY;
  }
  const robot = [...state.robots.values()].find(({ login }) => login === username);
  if (robot !== undefined) return isGood(robot, password) ? { kind: "robot", robot } : NOBODY;
  return state.users.get(username) === password ? { kind: "user", username } : NOBODY;
}

function isGood(robot: RobotState, password: string): boolean {
  const isOver = robot.expiresAt !== -1 && robot.expiresAt * 1000 <= Date.now();
  return robot.secret === password && !robot.isDisabled && !isOver;
}

/** What somebody may do with the repositories of a project: `pull`, `push`, `delete`. */
export function repositoryActions(
  caller: Caller,
  project: ProjectState,
  repository: string,
): readonly string[] {
  const everybody = project.isPublic ? ["pull"] : [];
  switch (caller.kind) {
    case "nobody":
      return everybody;
    case "admin":
      return ["pull", "push", "delete"];
    case "robot":
      return caller.robot.project === project.name ? caller.robot.actions : everybody;
    case "user":
      return [...everybody, ...(ACTIONS_OF_ROLE[roleOf(caller, project) ?? "none"] ?? [])];
    case "token":
      return caller.access.flatMap(({ type, name, actions }) =>
        type === "repository" && name === repository ? actions : [],
      );
  }
}

const ACTIONS_OF_ROLE: Readonly<Record<string, readonly string[]>> = {
  projectAdmin: ["pull", "push", "delete"],
  maintainer: ["pull", "push", "delete"],
  developer: ["pull", "push"],
  guest: ["pull"],
};

/** The role of a user in a project. */
export function roleOf(caller: Caller, project: ProjectState): Role | undefined {
  return caller.kind === "user" ? project.members.get(caller.username) : undefined;
}

/** Adds a project, as `POST /projects` does. */
export function addProject(
  state: HarborState,
  { name, isPublic, owner }: { name: string; isPublic: boolean; owner: Caller },
): ProjectState {
  state.lastId += 1;
  const project: ProjectState = {
    ...{ id: state.lastId, name, isPublic, quotaBytes: -1, retentionId: null },
    content: new Map(),
    members: new Map(owner.kind === "user" ? [[owner.username, "projectAdmin"]] : []),
    immutableRules: [],
  };
  state.projects.set(name, project);
  return project;
}

/** Bytes that a project uses. */
export function usedBytes({ content }: ProjectState): number {
  return [...content.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** An error as Harbor's core writes it. */
export function harborError(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return Response.json({ errors: [{ code, message }] }, { status, headers });
}

/** What Harbor answers to changes while it is read-only. */
export function readOnlyError(): Response {
  return harborError(
    403,
    "DENIED",
    "The system is in read only mode. Any modification is prohibited.",
  );
}
