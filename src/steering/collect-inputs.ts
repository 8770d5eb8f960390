import { Failure, Findings, quoted } from "#base";
import { type InputFiles, isAddress, isProblem, readClusterInputs } from "#profile";
import type { FileRole, InputFile } from "./artifact.ts";

/** What is to be published, by the names that a person gave. */
export interface PublishedInputs {
  readonly profiles: readonly string[];
  readonly userData?: string;
}

/** What was read to understand the inputs, and where each file goes in the artifact. */
export interface CollectedInputs {
  readonly files: readonly InputFile[];
  /** What a person calls the file at a path of the artifact. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * Collects the files that profiles and user data consist of: those that reading them reads, packs in
 * folders too, and nothing else of those folders. Paths are relative to the folder that all of them lie
 * below, so that the artifact is the same wherever that folder is.
 *
 * @param absolute gives the absolute path of a name
 * @throws {Failure} `usage` for standard input, which lies nowhere
 */
export function collectInputs(
  { profiles, userData }: PublishedInputs,
  files: InputFiles,
  absolute: (name: string) => string,
): CollectedInputs {
  const given = [...profiles, ...(userData === undefined ? [] : [userData])];
  for (const name of given) {
    if (name === "-" || isAddress(name)) throw noFile(name);
  }
  const read = new Map<string, { readonly name: string; readonly bytes: Uint8Array }>();
  const folders = new Set<string>();
  const recording: InputFiles = {
    list(folder) {
      const listed = files.list(folder);
      if (profiles.includes(folder) && !isProblem(listed)) folders.add(`${absolute(folder)}/`);
      return listed;
    },
    read(name) {
      const bytes = files.read(name);
      if (!isProblem(bytes)) read.set(absolute(name), { name, bytes });
      return bytes;
    },
  };
  const names = { profiles, ...(userData === undefined ? {} : { userData }) };
  readClusterInputs(names, recording, new Findings());
  const root = commonFolder([...read.keys()]);
  const named = new Set(profiles.map(absolute));
  const roleOf = (path: string): FileRole => {
    if (userData !== undefined && path === absolute(userData)) return "user-data";
    const isProfile = named.has(path) || folders.has(path.slice(0, path.lastIndexOf("/") + 1));
    return isProfile ? "profile" : "file";
  };
  const entries = [...read].map(([path, { name, bytes }]) => ({
    file: { path: path.slice(root.length), role: roleOf(path), bytes },
    name,
  }));
  return {
    files: entries.map(({ file }) => file),
    names: new Map(entries.map(({ file, name }) => [file.path, name])),
  };
}

/** The longest path that ends in `/` and begins all of these. */
function commonFolder(paths: readonly string[]): string {
  const [first = "/"] = paths;
  let root = first.slice(0, first.lastIndexOf("/") + 1);
  for (const path of paths) {
    while (!path.startsWith(root)) root = root.slice(0, root.lastIndexOf("/", root.length - 2) + 1);
  }
  return root;
}

function noFile(name: string): Failure {
  return new Failure({
    code: "usage",
    message: `Cannot publish ${quoted(name)}: it is no file, expected one`,
    hint: "Save it as a file; packs that it names by path: are looked for beside it",
  });
}
