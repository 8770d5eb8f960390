import { Failure, formatBytes, isFailure, quoted } from "#base";
import type { Access } from "#credential";
import type { HarborInfo, HarborProject, HarborQuota } from "./client.ts";
import { findImmutable, findRemovable, type PolicyImage } from "./policy.ts";
import type { Preparation } from "./preparation.ts";

/** Without these nothing can be pushed; the other parts of Harbor scan, copy, collect and show. */
const NEEDED_COMPONENTS: ReadonlySet<string> = new Set(["core", "database", "redis", "registry"]);

/** @throws {Failure} `harbor-starting`, transient, while a part that pushing needs is not well */
export async function checkHealth({ harbor, warnings, signal }: Preparation): Promise<void> {
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

/** @throws {Failure} `harbor-version`; `registry-read-only`, transient */
export function checkInfo(
  { harbor, warnings }: Preparation,
  { version, isReadOnly }: HarborInfo,
): void {
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

/** @throws {Failure} `registry-full` when the quota can't hold what is needed */
export async function checkQuota(
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
export async function checkStorage(preparation: Preparation): Promise<void> {
  const { harbor, wishes, warnings, signal } = preparation;
  const freeBytes = await allowed(preparation, "the free storage", harbor.freeBytes(signal));
  if (freeBytes === undefined || freeBytes === null || freeBytes >= wishes.needBytes) return;
  warnings.push({
    code: "harbor-storage-low",
    message: `Harbor ${harbor.address} says that ${formatBytes(freeBytes)} of storage are free, and ${formatBytes(wishes.needBytes)} are wanted there in all`,
    hint: `Add ${formatBytes(wishes.needBytes - freeBytes)} to the volume of Harbor's registry, unless much of it is there already`,
  });
}

/** Warns of rules of the project that would keep images out, or remove them. */
export async function checkPolicies(
  preparation: Preparation,
  project: HarborProject,
): Promise<void> {
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
