import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Failure, isFailure, quoted, systemErrorCode } from "#base";

/**
 * The folder as an absolute path, a link in its place resolved.
 *
 * @throws {Failure} `folder-taken` when it is there and not empty
 */
export function requireFree(target: string): string {
  const path = resolve(target);
  try {
    if (lstatSync(path).isSymbolicLink()) return requireFree(realpathSync(path));
    const [first] = readdirSync(path);
    if (first === undefined) return path;
    throw folderTaken(path, `it has ${quoted(first, 80)} in it`);
  } catch (error) {
    if (isFailure(error)) throw error;
    const code = systemErrorCode(error);
    if (code === "ENOENT") return path;
    throw folderTaken(path, code === "ENOTDIR" ? "it is no folder" : `the system answered ${code}`);
  }
}

function folderTaken(path: string, found: string): Failure {
  return new Failure({
    code: "folder-taken",
    message: `Cannot write to ${quoted(path)}: ${found}, expected no such folder or an empty one`,
    hint: "Name another folder, or empty this one",
  });
}

/**
 * A folder beside the one that is to be, on the same file system, which only this user may enter.
 *
 * @throws {Failure} `folder-unwritable`
 */
export function makeDraft(folder: string): string {
  try {
    mkdirSync(dirname(folder), { recursive: true });
    return mkdtempSync(join(dirname(folder), `.${basename(folder)}.dray-`));
  } catch (error) {
    throw new Failure({
      code: "folder-unwritable",
      message: `Cannot make a folder in ${quoted(dirname(folder))}: the system answered ${systemErrorCode(error) ?? "an error"}, expected to write there`,
      hint: "Name a folder that this user may write to",
      cause: error,
    });
  }
}

/** Takes a draft away, as far as it can be; why it was given up is what matters to whoever asked. */
export function removeDraft(draft: string): void {
  try {
    rmSync(draft, { recursive: true, force: true });
  } catch {
    // A folder of the image may shut this user out, once it has its mode.
  }
}

/** Does something with an open folder. */
export function withFolder(path: string, act: (fd: number) => void): void {
  const fd = openSync(path, "r");
  try {
    act(fd);
  } finally {
    closeSync(fd);
  }
}
