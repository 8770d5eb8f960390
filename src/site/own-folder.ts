import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { Failure, isFailure, quoted, systemErrorCode } from "#base";

/** A folder at a fixed path whose content is replaced as a whole, by us and nobody else. */
export interface OwnFolder {
  readonly path: string;
  /** What was noted when we put it there; undefined when we never did. */
  readonly identity: string | undefined;
  /** Notes that from now on what has this identity is ours. Before the folder gets its name. */
  readonly note: (identity: string) => Promise<void>;
}

/**
 * Tells the folder that lies at a path from any other; undefined when there is none. When it was born is
 * part of it: ext4 gives the number of a folder that is gone to the next one that is made, and that may be
 * somebody else's (measured: at once). Where a file system knows no births it is 0.
 */
export function folderIdentity(path: string): string | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return status?.isDirectory() === true ? `${status.ino}:${status.birthtimeNs}` : undefined;
}

/** Whether what lies at the path is what was made last. */
export function isNewest(path: string, identity: string | null | undefined): boolean {
  const current = folderIdentity(path);
  return current !== undefined && identity?.split(" ")[0] === current;
}

/**
 * Puts a new folder in the place of the one that we put there before. It is made beside it first; then
 * the two are renamed, so that the path never holds a part of one. For a moment in between it holds
 * nothing, and after a power cut at that moment too, until the next delivery.
 *
 * @param make makes a folder at the path that it is given, whole, or fails
 * @throws {Failure} `folder-taken` when something lies there that is not ours, or something is mounted
 *   in it; `folder-unwritable`; what `make` throws
 */
export async function replaceFolder(
  { path, identity, note }: OwnFolder,
  make: (path: string) => Promise<unknown>,
): Promise<void> {
  const folder = dirname(path);
  const name = basename(path);
  const next = join(folder, `.${name}.dray-next`);
  const old = join(folder, `.${name}.dray-old`);
  try {
    mkdirSync(folder, { recursive: true });
    requireOurs(path, identity);
    // What a power cut left: the next one, what it was being made in, the one before.
    const leftovers = readdirSync(folder).filter(
      (each) =>
        each === basename(old) ||
        each === basename(next) ||
        each.startsWith(`.${basename(next)}.dray-`),
    );
    for (const each of leftovers) remove(join(folder, each));
    await make(next);
    const before = folderIdentity(path);
    await note([folderIdentity(next), before].filter((each) => each !== undefined).join(" "));
    if (before !== undefined) renameSync(path, old);
    renameSync(next, path);
    syncFolder(folder);
    remove(old);
  } catch (error) {
    if (isFailure(error) || systemErrorCode(error) === undefined) throw error;
    throw unwritable(folder, error);
  }
}

/** Removes what a power cut left of files that were being written to take the place of this one. */
export function removeDrafts(path: string): void {
  const [folder, prefix] = [dirname(path), `.${basename(path)}.dray-`];
  try {
    for (const each of readdirSync(folder)) {
      if (each.startsWith(prefix)) rmSync(join(folder, each), { force: true });
    }
  } catch {
    // Whoever writes there next says what is wrong.
  }
}

function requireOurs(path: string, identity: string | undefined): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  const current = folderIdentity(path);
  const isOurs = current !== undefined && identity?.split(" ").includes(current) === true;
  if (!isOurs && (current === undefined || readdirSync(path).length > 0)) {
    throw taken(path, current === undefined ? "it is no folder" : "it was not made by `dray`");
  }
  requireUnmounted(path);
}

/** What is mounted below would be removed with the folder, and that may be the machine's own `/dev`. */
function requireUnmounted(path: string): void {
  const real = realpathSync(path);
  const mounted = mountPoints().find((each) => each === real || each.startsWith(`${real}/`));
  if (mounted !== undefined) throw taken(path, `a file system is mounted at ${quoted(mounted)}`);
}

/** proc(5): the fifth field, with spaces and the like as octal numbers. */
function mountPoints(): readonly string[] {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) =>
        (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
          String.fromCharCode(Number.parseInt(octal, 8)),
        ),
      );
  } catch {
    return [];
  }
}

function remove(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  requireUnmounted(path);
  rmSync(path, { recursive: true, force: true });
}

function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function taken(path: string, found: string): Failure {
  return new Failure({
    code: "folder-taken",
    message: `Cannot hand over the provider image at ${quoted(path)}: ${found}, expected no such folder, an empty one, or the one before`,
    hint: "Move away what is there, or name another folder in provider.handOver.path",
  });
}

function unwritable(folder: string, error: unknown): Failure {
  return new Failure({
    code: "folder-unwritable",
    message: `Cannot hand over the provider image in ${quoted(folder)}: the system answered ${systemErrorCode(error)}, expected to make and rename folders there`,
    hint: "Name a place in provider.handOver.path that this user may write to, and that is no mount point",
    cause: error,
  });
}
