/** Longest path of a file in an artifact, in UTF-16 units; a bound, no format's own. */
const PATH_LENGTH_MAX = 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const FORBIDDEN = /[\\\u0000-\u001f\u007f-\u009f]/;

/**
 * Whether a file of an artifact may have this path: relative, `/` between its parts, none of them empty,
 * `.` or `..`, so that whoever unpacks it writes into his folder and nowhere else.
 */
export function isSafePath(path: string): boolean {
  const isDrive = /^[A-Za-z]:/.test(path);
  if (path.length > PATH_LENGTH_MAX || FORBIDDEN.test(path) || isDrive) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** Of paths that are safe, the first that can't be there beside the others: it is there twice, or also a folder. */
export function clashingPath(paths: readonly string[]): string | undefined {
  const files = new Set(paths);
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (files.size < paths.length) return twice;
  const folders = new Set(paths.flatMap(foldersAbove));
  return paths.find((path) => folders.has(path));
}

function foldersAbove(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("/"));
}

/** A path below the root of an artifact with `.` and `..` resolved; undefined when it leaves the artifact. */
export function resolveInside(path: string): string | undefined {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) return undefined;
    } else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}
