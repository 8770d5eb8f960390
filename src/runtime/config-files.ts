import { basename, dirname, join } from "node:path";
import { Failure, isFailure, quoted, systemErrorCode } from "#base";
import {
  type ConfigDisk,
  type FileEdit,
  type FileRights,
  systemConfigDisk,
} from "./config-disk.ts";

/** What ends the name of the file in which a person's own text is kept. */
export const BACKUP_SUFFIX = ".drayage-backup";
const TEMPORARY_SUFFIX = ".drayage-new";

/**
 * Carries edits out: all of them, or none as far as a file system lets that be promised.
 *
 * Everything that can fail for want of room or rights is written beside the files first. Then names are
 * exchanged, which at that point fails for a broken disk alone, and what was exchanged is put back.
 * Owner, group and mode stay, but a file that now has a password is closed to others.
 *
 * @throws {Failure} `config-changed` when a file is not what the edit was made for, `config-unwritable`,
 *   `config-not-text`
 */
export function applyEdits(edits: readonly FileEdit[], disk: ConfigDisk = systemConfigDisk): void {
  const undo: (() => void)[] = [];
  try {
    const steps = edits
      .filter(({ before, after }) => before !== after)
      .map((edit) => prepare(edit, disk, undo));
    for (const step of steps) exchange(step, disk, undo);
    for (const folder of new Set(steps.map(({ path }) => dirname(path)))) disk.syncFolder(folder);
    for (const step of steps) tidyUp(step, disk);
  } catch (error) {
    for (const act of undo.reverse()) attempt(act);
    if (error instanceof Failure) throw error;
    throw unwritable(edits, error);
  }
}

/**
 * Reads a file of a configuration; undefined when there is none.
 *
 * @throws {Failure} `config-unreadable`, `config-not-text`
 */
export function readConfigFile(
  path: string,
  disk: ConfigDisk = systemConfigDisk,
): string | undefined {
  try {
    return disk.read(path)?.text;
  } catch (error) {
    if (isFailure(error)) throw error;
    throw new Failure({
      code: "config-unreadable",
      message: `Cannot read ${quoted(path)}: ${systemErrorCode(error) ?? "reading it failed"}, expected a file or none`,
      hint: "Run dray redirect as the user that the runtime's configuration belongs to, root on most nodes",
      cause: error,
    });
  }
}

/**
 * The file that a path leads to: two paths may lead to one, which is written through either.
 */
export function realConfigPath(path: string, disk: ConfigDisk = systemConfigDisk): string {
  // A file that is not there yet may be made in a folder that has several names.
  return disk.resolve(join(disk.resolve(dirname(path)), basename(path)));
}

interface Step {
  readonly edit: FileEdit;
  /** Where the file really is: a symbolic link is written through, not over. */
  readonly path: string;
  readonly old: { readonly text: string; readonly rights: FileRights } | undefined;
}

const NEW_FILE: FileRights = {
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
};

/** Does all that may fail and that nobody sees: folders, new files, the backup. */
function prepare(edit: FileEdit, disk: ConfigDisk, undo: (() => void)[]): Step {
  const path = disk.resolve(edit.path);
  const old = disk.read(path);
  if (old?.text !== edit.before) throw changed(path);
  if (edit.after === undefined) return { edit, path, old };
  makeFolders(dirname(path), disk, undo);
  const backup = disk.read(path + BACKUP_SUFFIX);
  // What was there before us had its own mode, which the backup kept while ours was closed to others.
  const rights = (edit.backup === "drop" ? backup?.rights : undefined) ?? old?.rights ?? NEW_FILE;
  const mode = edit.isSecret ? rights.mode & ~0o077 : rights.mode;
  writeNew(path + TEMPORARY_SUFFIX, edit.after, { ...rights, mode }, disk, undo);
  if (edit.backup === "keep" && old !== undefined && backup === undefined) {
    writeNew(path + BACKUP_SUFFIX, old.text, old.rights, disk, undo);
  }
  return { edit, path, old };
}

function makeFolders(folder: string, disk: ConfigDisk, undo: (() => void)[]): void {
  const missing: string[] = [];
  for (let each = folder; each !== dirname(each); each = dirname(each)) missing.unshift(each);
  for (const each of missing) {
    if (!disk.makeFolder(each)) continue;
    undo.push(() => disk.removeFolder(each));
    disk.syncFolder(dirname(each));
  }
}

/** A file that an earlier run left behind when it died is in nobody's way. */
function writeNew(
  path: string,
  text: string,
  rights: FileRights,
  disk: ConfigDisk,
  undo: (() => void)[],
): void {
  if (disk.read(path) !== undefined) disk.remove(path);
  undo.push(() => {
    if (disk.read(path) !== undefined) disk.remove(path);
  });
  disk.write(path, text, rights);
}

/**
 * Puts the new file in place, or takes the old one away. Writing what goes before takes its time, in
 * which a person may have saved the file.
 */
function exchange({ edit, path, old }: Step, disk: ConfigDisk, undo: (() => void)[]): void {
  if (disk.read(path)?.text !== old?.text) throw changed(path);
  undo.push(() => putBack(path, old, disk));
  if (edit.after === undefined) {
    if (old !== undefined) disk.remove(path);
    return;
  }
  disk.rename(path + TEMPORARY_SUFFIX, path);
}

function putBack(path: string, old: Step["old"], disk: ConfigDisk): void {
  const now = disk.read(path);
  if (now?.text === old?.text) return;
  if (old === undefined) {
    disk.remove(path);
    return;
  }
  const temporary = `${path}${TEMPORARY_SUFFIX}`;
  if (disk.read(temporary) !== undefined) disk.remove(temporary);
  disk.write(temporary, old.text, old.rights);
  disk.rename(temporary, path);
}

/** What is left over once the files are as they should be; a failure here changes nothing of that. */
function tidyUp({ edit, path }: Step, disk: ConfigDisk): void {
  const backup = path + BACKUP_SUFFIX;
  if (edit.backup === "drop" && disk.read(backup) !== undefined) attempt(() => disk.remove(backup));
  if (edit.after === undefined) attempt(() => disk.removeFolder(dirname(path)));
}

function attempt(act: () => unknown): void {
  try {
    act();
  } catch {
    // The failure that led here is the one to tell.
  }
}

function changed(path: string): Failure {
  return new Failure({
    code: "config-changed",
    message: `Cannot write ${quoted(path)}: it changed while dray redirect was at work, expected it as it was read`,
    hint: "Run dray redirect again",
    transient: true,
  });
}

function unwritable(edits: readonly FileEdit[], error: unknown): Failure {
  const code = systemErrorCode(error) ?? "";
  const path = typeof error === "object" && error !== null && "path" in error ? error.path : "";
  const [first] = edits;
  const name = typeof path === "string" && path !== "" ? path : (first?.path ?? "");
  const own = basename(name).endsWith(TEMPORARY_SUFFIX) ? dirname(name) : name;
  return new Failure({
    code: "config-unwritable",
    message: `Cannot write ${quoted(own)}: ${CAUSES[code] ?? (code === "" ? "writing failed" : code)}. No file was changed`,
    hint: HINTS[code] ?? "Look after the disk, then run dray redirect again",
    cause: error,
  });
}

const CAUSES: Readonly<Record<string, string>> = {
  EROFS: "the file system is read-only",
  EACCES: "this user may not write there",
  EPERM: "this user may not write there",
  ENOSPC: "the disk is full",
  ENOTDIR: "a file stands where a folder was expected",
};

const ROOT =
  "Run dray redirect as the user that the runtime's configuration belongs to, root on most nodes";

const HINTS: Readonly<Record<string, string>> = {
  EROFS:
    "Write into a folder that can be written with --config-dir, or take the text of --dry-run into the image of the node",
  EACCES: ROOT,
  EPERM: ROOT,
  ENOSPC: "Make room on the disk, then run dray redirect again",
  ENOTDIR: `Name the right folder with --config-dir, e.g. ${join("/etc/containerd", "certs.d")}`,
};
