import { Failure, isFailure, quoted } from "#base";
import type { Access } from "#credential";
import { checkHealth, checkInfo, checkPolicies, checkQuota, checkStorage } from "./checks.ts";
import type { HarborClient, HarborInfo, HarborProject } from "./client.ts";
import {
  type HarborPorts,
  type HarborWarning,
  type HarborWishes,
  type Preparation,
  ROTATE_AFTER_MS,
} from "./preparation.ts";
import { type HarborAccount, type KeptRobots, keptRobots, openRobots } from "./robots.ts";

/** A Harbor that can be pushed to. */
export interface PreparedHarbor {
  /** `v2.11.1-…`; null when it does not say. */
  readonly version: string | null;
  /** What the agent pushes with. */
  readonly push: HarborAccount;
  /** What the cluster's nodes pull with; null when there is none to give them but the agent's own. */
  readonly nodes: HarborAccount | null;
  readonly warnings: readonly HarborWarning[];
}

/** Robot accounts of projects, whose secrets can be renewed, came with Harbor 2.2. */
const ROBOTS_SINCE_MINOR = 2;

/**
 * Makes a Harbor ready to be pushed to: asks how it is, creates the project when it is missing, has
 * robot accounts made for the agent and for the nodes, compares the quota with what is needed, and
 * looks for rules that would keep images out or remove them.
 *
 * It may be repeated at any time, also after a failure half-way; what is in order is left alone. Where
 * the given user may not do a thing, what can be checked is checked, a warning says so, and that user's
 * own credential is the one to push with.
 *
 * A credential that was good once, and is refused now, stops nothing as long as the robot that it made is
 * let in: images go up with that, and a warning says what is not looked after meanwhile.
 *
 * @throws {Failure} transient while Harbor starts (`harbor-starting`, `harbor-absent`,
 *   `registry-unreachable`, `registry-error`) or is kept read-only (`registry-read-only`);
 *   `registry-unauthorized`, `harbor-denied`, `harbor-version`, `harbor-robot-disabled`,
 *   `harbor-protocol`, `harbor-secrets`; `registry-full` when the quota can't hold what is needed
 */
export async function prepareHarbor(
  ports: HarborPorts,
  wishes: HarborWishes,
  { signal }: { readonly signal: AbortSignal },
): Promise<PreparedHarbor> {
  const harbor = ports.clientFor(ports.access);
  const preparation: Preparation = { ports, wishes, harbor, warnings: [], signal };
  let opened: OpenedProject;
  try {
    opened = await openProject(preparation);
  } catch (error) {
    const robots = isRefusal(error) ? await robotsOfBefore(preparation) : undefined;
    if (!isRefusal(error) || robots === undefined) throw error;
    return prepareByRobot(preparation, robots, error);
  }
  const { info, project } = opened;
  const accounts = await obtainAccounts(preparation, project, info);
  await checkQuota(preparation, project, accounts.push.access);
  await checkStorage(preparation);
  await checkPolicies(preparation, project);
  return { version: versionOf(info), ...accounts, warnings: preparation.warnings };
}

interface OpenedProject {
  readonly info: HarborInfo;
  readonly project: HarborProject;
}

/** What only somebody who may set Harbor up can do. */
async function openProject(preparation: Preparation): Promise<OpenedProject> {
  const { ports, harbor, signal } = preparation;
  await checkHealth(preparation);
  if (!(await harbor.isLetIn(signal))) throw refused(harbor, ports.access);
  const info = await harbor.info(signal);
  checkInfo(preparation, info);
  return { info, project: await obtainProject(preparation) };
}

function versionOf({ version }: HarborInfo): string | null {
  return version?.text ?? null;
}

/** Whether it is the given credential that Harbor refuses, or that does not suffice. */
function isRefusal(error: unknown): error is Failure {
  return isFailure(error, "registry-unauthorized") || isFailure(error, "harbor-denied");
}

function robotsOfBefore({
  ports,
  wishes,
  harbor,
  signal,
}: Preparation): Promise<KeptRobots | undefined> {
  return keptRobots({ ...ports, signal }, { harbor: harbor.address, project: wishes.project });
}

/** The project was there when the robot was made; quota and rules are not for a robot to see. */
async function prepareByRobot(
  { ports, wishes, signal }: Preparation,
  robots: KeptRobots,
  why: Failure,
): Promise<PreparedHarbor> {
  const harbor = ports.clientFor(robots.push.access);
  const warnings = [
    withoutAdmin(harbor, ports.access, why, "the project, its quota and its rules"),
  ];
  const preparation: Preparation = { ports, wishes, harbor, warnings, signal };
  await checkHealth(preparation);
  const info = await harbor.info(signal);
  checkInfo(preparation, info);
  return { version: versionOf(info), ...robots, warnings };
}

/** @param unseen what nobody looks at meanwhile */
function withoutAdmin(
  { address }: HarborClient,
  { origin }: Access,
  { message, hint }: Failure,
  unseen?: string,
): HarborWarning {
  const credential = origin === null ? "without a credential" : `with the credential of ${origin}`;
  return {
    code: "harbor-admin-refused",
    message: `Harbor ${address} can't be looked after ${credential}: ${message}. Images go up with the robot account of an earlier run; the secrets of robot accounts are not renewed${unseen === undefined ? "" : `, and ${unseen} not looked at`}`,
    hint,
  };
}

function refused({ address }: HarborClient, { origin }: Access): Failure {
  return new Failure({
    code: "registry-unauthorized",
    message: `Cannot log in to Harbor ${address}: it answered 401 ${origin === null ? "and wants a credential" : "and refused the credential"}, expected 200`,
    hint:
      origin === null
        ? "Add `username` and `passwordFile` to `localRegistry` in the site file"
        : `Check user and password in ${origin}; after several wrong ones Harbor refuses the right one for a while`,
  });
}

async function obtainProject(preparation: Preparation): Promise<HarborProject> {
  const { harbor, wishes, signal } = preparation;
  const found = await harbor.project(wishes.project, signal);
  if (found !== undefined) {
    if (found.isPublic && !wishes.isPublic) warnPublic(preparation);
    return found;
  }
  const { project: name, isPublic } = wishes;
  await explainDenied(harbor.createProject({ name, isPublic }, signal), {
    hint: `Have an admin create the project ${quoted(name)} and make this user a maintainer of it`,
  });
  const created = await harbor.project(name, signal);
  if (created !== undefined) return created;
  throw new Failure({
    code: "harbor-denied",
    message: `Cannot push to the project ${quoted(name)} of Harbor ${harbor.address}: it is there and this user does not see it, expected a member of it`,
    hint: `Have an admin make this user a maintainer of the project ${quoted(name)}`,
  });
}

function warnPublic({ harbor, wishes, warnings }: Preparation): void {
  warnings.push({
    code: "harbor-project-public",
    message: `Anybody who reaches Harbor ${harbor.address} can pull from the project ${quoted(wishes.project)}, which was there already and is public`,
    hint: "Make it private in Harbor, or write `visibility: public` if it is meant to be so",
  });
}

async function explainDenied<T>(asked: Promise<T>, { hint }: { hint: string }): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (!isFailure(error, "harbor-denied")) throw error;
    throw new Failure({ code: error.code, message: error.message, hint, cause: error });
  }
}

type Accounts = Pick<PreparedHarbor, "push" | "nodes">;

async function obtainAccounts(
  preparation: Preparation,
  project: HarborProject,
  { version }: HarborInfo,
): Promise<Accounts> {
  const { ports, harbor, wishes, warnings, signal } = preparation;
  const given = { access: ports.access, isRobot: false };
  const nobody: HarborAccount = { access: anonymous(ports.access), isRobot: false };
  const withoutRobots: Accounts = { push: given, nodes: project.isPublic ? nobody : null };
  if (version !== null && version.minor < ROBOTS_SINCE_MINOR) {
    warnings.push(withoutRobot(harbor, `${version.text} has none whose secret can be renewed`));
    return withoutRobots;
  }
  try {
    const { rotateAfterMs = ROTATE_AFTER_MS } = wishes;
    const robots = await openRobots({ ...ports, harbor, project, rotateAfterMs, signal });
    const push = await robots.obtain("push", ["pull", "push"]);
    if (push === undefined) throw robotDisabled(harbor, project);
    const nodes = project.isPublic ? nobody : await robots.obtain("nodes", ["pull"]);
    if (nodes === undefined) warnings.push(nodesDisabled(harbor, project));
    return { push, nodes: nodes ?? null };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const kept = await robotsOfBefore(preparation);
    if (kept !== undefined) {
      warnings.push(withoutAdmin(harbor, ports.access, error));
      return { push: kept.push, nodes: project.isPublic ? nobody : kept.nodes };
    }
    if (!isFailure(error, "harbor-denied")) throw error;
    warnings.push(withoutRobot(harbor, "this user may not make any"));
    return withoutRobots;
  }
}

function anonymous({ insecure, certificates }: Access): Access {
  return { origin: null, insecure, certificates };
}

function withoutRobot({ address }: HarborClient, why: string): HarborWarning {
  return {
    code: "harbor-without-robots",
    message: `No robot accounts at Harbor ${address}: ${why}. The given credential is used for pushing, and nodes get none`,
    hint: "Give the credential of an admin of the project, or keep to one that may only push to it",
  };
}

function robotDisabled({ address }: HarborClient, { name }: HarborProject): Failure {
  return new Failure({
    code: "harbor-robot-disabled",
    message: `Cannot push to the project ${quoted(name)} of Harbor ${address}: somebody disabled this site's robot account there, expected it to be enabled`,
    hint: "Enable it in Harbor; or delete it there, then another one is made",
  });
}

function nodesDisabled({ address }: HarborClient, { name }: HarborProject): HarborWarning {
  return {
    code: "harbor-robot-disabled",
    message: `The nodes have no credential for the project ${quoted(name)} of Harbor ${address}: somebody disabled their robot account there`,
    hint: "Enable it in Harbor; or delete it there, then another one is made",
  };
}
