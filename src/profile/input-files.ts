import type { Findings, Place } from "#base";
import { wholeFile } from "./reader.ts";
import { fileSource, type TextSource } from "./text-source.ts";

/** Why a file or folder can't be had, in words for a person. */
export interface InputProblem {
  readonly code: "input-missing" | "input-unreadable" | "input-too-large";
  /** What is wrong with it: "it does not exist", "it is a folder". */
  readonly message: string;
}

/** What an address stands for that was given in place of a profile's path. */
export interface ExpandedInputs {
  /** Names that {@link InputFiles.read} knows. */
  readonly profiles: readonly string[];
  readonly userData?: string;
}

/**
 * The files that people name, as the program sees them; the disk in the program, a map in tests.
 * Paths are as written, or joined to the folder of the profile that names them.
 */
export interface InputFiles {
  read(path: string): Uint8Array | InputProblem;
  /** Names of the files in a folder, in code-unit order. */
  list(folder: string): readonly string[] | InputProblem;
  /** What an address (`oci://registry/site:stable`) stands for; undefined for a path. None is known without it. */
  expand?(address: string): ExpandedInputs | InputProblem | undefined;
}

/** Tells a problem from what was asked for. */
export function isProblem(value: unknown): value is InputProblem {
  return typeof value === "object" && value !== null && "code" in value && "message" in value;
}

const ADDRESS = /^oci:\/\//i;

/** Whether a name is an address in a registry (`oci://…`), and no path. */
export function isAddress(name: string): boolean {
  return ADDRESS.test(name);
}

/**
 * Joins a path to a folder; an absolute path stays as it is, and so does an address. In a folder that has
 * an address no path leads out: who publishes files names none of this machine.
 */
export function joinPath(folder: string, path: string): string {
  if (isAddress(folder)) return `${folder}/${path}`;
  if (path.startsWith("/") || folder === "" || isAddress(path)) return path;
  return folder.endsWith("/") ? `${folder}${path}` : `${folder}/${path}`;
}

/** The folder part of a path, empty for a bare name. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "" : slash === 0 ? "/" : path.slice(0, slash);
}

/**
 * Reads a text file that must be there.
 *
 * @param name what messages call the file
 * @param namedAt where the file was named; by default the file itself
 */
export function readTextFile(
  files: InputFiles,
  path: string,
  findings: Findings,
  { name = path, namedAt = wholeFile(name) }: { name?: string; namedAt?: Place } = {},
): TextSource | undefined {
  const bytes = files.read(path);
  if (isProblem(bytes)) {
    const remedy =
      bytes.code === "input-too-large"
        ? "Split the profile and repeat --profile, or keep packs in folders and name them with path:"
        : "Check the name, and that this user may read the file";
    findings.fault(namedAt, bytes.code, `Cannot read "${name}": ${bytes.message}`, remedy);
    return undefined;
  }
  const text = decodeText(bytes);
  if (text !== undefined) return fileSource(name, text);
  findings.fault(
    wholeFile(name),
    "input-not-text",
    `Cannot read "${name}": it is not text`,
    "Give a YAML or JSON file in UTF-8; unpack archives first",
  );
  return undefined;
}

/** UTF-8, or UTF-16 with the mark that Windows tools write; undefined for what can't be text. */
export function decodeText(bytes: Uint8Array): string | undefined {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : "utf-8";
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    return /[^\P{Cc}\t\n\r\u0085]/u.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
