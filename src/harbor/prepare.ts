import { type Clock, Failure, formatBytes, isFailure, quoted } from "#base";
import type { Access } from "#credential";
import type { HarborClient, HarborInfo, HarborProject, HarborQuota } from "./client.ts";
import { findImmutable, findRemovable, type PolicyImage } from "./policy.ts";
import type { RobotSecrets } from "./ports.ts";
import { type HarborAccount, openRobots } from "./robots.ts";

/** What {@link prepareHarbor} needs of the world. */
export interface HarborPorts {
  /** The API as this access sees it: the given one's, then the robots'. */
  readonly clientFor: (access: Access) => HarborClient;
  /** How Harbor is reached, and who may set it up: an admin, or a project admin, or somebody who may only push. */
  readonly access: Access;
  readonly secrets: RobotSecrets;
  readonly clock: Clock;
  /** A number in [0, 1), for the names of robot accounts: each site has its own. */
  readonly random: () => number;
}

/** What is wanted of a Harbor. */
export interface HarborWishes {
  readonly project: string;
  /** When the project must be created: anybody may pull from it. */
  readonly isPublic: boolean;
  /** All blobs of all images together, each once, whether they are there or not. */
  readonly needBytes: number;
  /** The images to be pushed. */
  readonly images: readonly PolicyImage[];
  /** A robot's secret is renewed when it is older. {@link ROTATE_AFTER_MS} by default. */
  readonly rotateAfterMs?: number;
  /**
   * How many of {@link HarborWishes.needBytes} the project holds already. Asked only when it decides
   * whether the quota suffices; without it that is a warning.
   */
  readonly presentBytes?: (push: Access) => Promise<number>;
}

/** Something that is no obstacle now, and that a person should know. */
export interface HarborWarning {
  /** Stable, kebab-case. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

/** A Harbor that can be pushed to. */
export interface PreparedHarbor {
  /** `v2.11.1-…`; null when it does not say. */
  readonly version: string | null;
  readonly project: HarborProject;
  /** What the agent pushes with. */
  readonly push: HarborAccount;
  /** What the cluster's nodes pull with; null when there is none to give them but the agent's own. */
  readonly nodes: HarborAccount | null;
  readonly warnings: readonly HarborWarning[];
}

/** Thirty days. */
export const ROTATE_AFTER_MS: number = 30 * 24 * 3_600_000;

/** Without these nothing can be pushed; the other parts of Harbor scan, copy, collect and show. */
const NEEDED_COMPONENTS: ReadonlySet<string> = new Set(["core", "database", "redis", "registry"]);

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
  const warnings: HarborWarning[] = [];
  const preparation: Preparation = { ports, wishes, harbor, warnings, signal };
  await checkHealth(preparation);
  if (!(await harbor.isLetIn(signal))) throw refused(harbor, ports.access);
  const info = await harbor.info(signal);
  checkInfo(preparation, info);
  const project = await obtainProject(preparation);
  const accounts = await obtainAccounts(preparation, project, info);
  await checkQuota(preparation, project, accounts.push.access);
  await checkStorage(preparation);
  await checkPolicies(preparation, project);
  return { version: info.version?.text ?? null, project, ...accounts, warnings };
}

interface Preparation {
  readonly ports: HarborPorts;
  readonly wishes: HarborWishes;
  readonly harbor: HarborClient;
  readonly warnings: HarborWarning[];
  readonly signal: AbortSignal;
}

async function checkHealth({ harbor, warnings, signal }: Preparation): Promise<void> {
  const { unhealthy } = await harbor.health(signal);
  const needed = unhealthy.filter((name) => NEEDED_COMPONENTS.has(name));
  if (needed.length > 0) {
    throw new Failure({
      code: "harbor-starting",
      message: `Cannot push to Harbor ${harbor.address}: it says that its ${needed.join(", ")} ${isOrAre(needed)} not healthy, expected all that pushing needs`,
      hint: "Wait until Harbor has started; if it stays so, look at the logs of these components",
      transient: true,
    });
  }
  if (unhealthy.length > 0) {
    warnings.push({
      code: "harbor-unhealthy",
      message: `Harbor ${harbor.address} says that its ${unhealthy.join(", ")} ${isOrAre(unhealthy)} not healthy; pushing does not need it`,
      hint: "Look at the logs of these components",
    });
  }
}

function isOrAre({ length }: readonly string[]): string {
  return length === 1 ? "is" : "are";
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

function checkInfo({ harbor, warnings }: Preparation, { version, isReadOnly }: HarborInfo): void {
  if (version !== null && version.major !== 2) {
    throw new Failure({
      code: "harbor-version",
      message: `Cannot set up Harbor ${harbor.address}: it is ${version.text}, expected Harbor 2`,
      hint: "Have it upgraded, or write `kind: oci` and create the project by hand",
    });
  }
  if (isReadOnly) {
    throw new Failure({
      code: "registry-read-only",
      message: `Cannot push to Harbor ${harbor.address}: it is in read-only mode, expected one that takes pushes`,
      hint: "Have an admin end it: Administration, Configuration, System Settings, Repository Read Only. Old Harbors also set it while they collect garbage",
      transient: true,
    });
  }
  if (version === null) {
    warnings.push({
      code: "harbor-version-unknown",
      message: `Harbor ${harbor.address} does not tell this user its version; it is taken for a current Harbor 2`,
      hint: "Give a credential that Harbor's API accepts, not only its registry",
    });
  }
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

async function checkQuota(
  preparation: Preparation,
  project: HarborProject,
  push: Access,
): Promise<void> {
  const { harbor, wishes, warnings, signal } = preparation;
  const quota = await allowed(preparation, "the quota", harbor.quota(project, signal));
  if (quota === undefined || quota.limitBytes === null) return;
  const { limitBytes, usedBytes } = quota;
  const missing = (presentBytes: number) =>
    usedBytes + wishes.needBytes - presentBytes - limitBytes;
  // At best all that is used is of these images.
  const bestBytes = missing(Math.min(usedBytes, wishes.needBytes));
  if (bestBytes > 0) throw full(preparation, quota, bestBytes);
  if (missing(0) <= 0) return;
  if (wishes.presentBytes === undefined) {
    warnings.push({
      code: "harbor-quota-near",
      message: `The quota of the project ${quoted(wishes.project)} of Harbor ${harbor.address} may not suffice: ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)} are used, and ${formatBytes(wishes.needBytes)} are wanted there in all`,
      hint: `Raise the project's storage quota by up to ${formatBytes(missing(0))}`,
    });
    return;
  }
  const missingBytes = missing(await wishes.presentBytes(push));
  if (missingBytes > 0) throw full(preparation, quota, missingBytes);
}

function full(
  { harbor, wishes }: Preparation,
  { limitBytes, usedBytes }: HarborQuota,
  missingBytes: number,
): Failure {
  const limit = formatBytes(limitBytes ?? 0);
  return new Failure({
    code: "registry-full",
    message: `Cannot push ${formatBytes(wishes.needBytes)} to the project ${quoted(wishes.project)} of Harbor ${harbor.address}: ${formatBytes(usedBytes)} of its quota of ${limit} are used, expected room for ${formatBytes(missingBytes)} more`,
    hint: `Raise the project's storage quota by at least ${formatBytes(missingBytes)} (Administration, Project Quotas), or delete artifacts and run Harbor's garbage collection`,
  });
}

/**
 * Only a warning: what Harbor tells is the file system that its core sees, which in a cluster is often
 * not the one that its registry writes to.
 */
async function checkStorage(preparation: Preparation): Promise<void> {
  const { harbor, wishes, warnings, signal } = preparation;
  const freeBytes = await allowed(preparation, "the free storage", harbor.freeBytes(signal));
  if (freeBytes === undefined || freeBytes === null || freeBytes >= wishes.needBytes) return;
  warnings.push({
    code: "harbor-storage-low",
    message: `Harbor ${harbor.address} says that ${formatBytes(freeBytes)} of storage are free, and ${formatBytes(wishes.needBytes)} are wanted there in all`,
    hint: `Add ${formatBytes(wishes.needBytes - freeBytes)} to the volume of Harbor's registry, unless much of it is there already`,
  });
}

async function checkPolicies(preparation: Preparation, project: HarborProject): Promise<void> {
  const { harbor, wishes, warnings, signal } = preparation;
  const { images } = wishes;
  const rules = await allowed(
    preparation,
    "the immutable-tag rules",
    harbor.immutableRules(project, signal),
  );
  for (const { rule, images: fixed } of findImmutable(rules ?? [], images)) {
    warnings.push({
      code: "harbor-tag-immutable",
      message: `Immutable-tag rule ${rule.id} of the project ${quoted(project.name)} is about ${listImages(fixed)}: a tag that comes to stand for another image can't be pushed again`,
      hint: "Exclude these repositories from the rule, or pin the images by digest",
    });
  }
  const policy = await allowed(
    preparation,
    "the retention policy",
    harbor.retention(project, signal),
  );
  const removable = policy === undefined ? [] : findRemovable(policy, images);
  if (policy === undefined || removable.length === 0) return;
  warnings.push({
    code: "harbor-retention",
    message: `The retention policy of the project ${quoted(project.name)} ${policy.isScheduled ? "will in time remove" : "removes, when somebody runs it,"} ${listImages(removable)}`,
    hint: "Add a rule to it that retains these repositories always, or take them out of its scope",
  });
}

/** What a check found, or undefined and a warning where this user may not look. */
async function allowed<T>(
  { harbor, warnings }: Preparation,
  what: string,
  asked: Promise<T>,
): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (!isFailure(error, "harbor-denied")) throw error;
    warnings.push({
      code: "harbor-unchecked",
      message: `Not checked at Harbor ${harbor.address}: ${what}, which this user may not read`,
      hint: "Give the credential of an admin to have it checked",
    });
    return undefined;
  }
}

const NAMED_MAX = 3;

function listImages(images: readonly PolicyImage[]): string {
  const names = images
    .slice(0, NAMED_MAX)
    .map(({ repository, tag }) => quoted(tag === null ? repository : `${repository}:${tag}`));
  const more = images.length - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
