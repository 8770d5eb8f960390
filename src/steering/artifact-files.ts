import { isFailure } from "#base";
import { type ExpandedInputs, type InputFiles, type InputProblem, isAddress } from "#profile";
import { formatArtifactAddress, parseArtifactAddress } from "./address.ts";
import { resolveInside } from "./artifact-path.ts";
import type { SiteArtifact } from "./fetch-artifact.ts";

const MISSING: InputProblem = { code: "input-missing", message: "the artifact has no such file" };
const OUTSIDE: InputProblem = {
  code: "input-missing",
  message: "it lies outside of the artifact, where nothing is looked for",
};
const NOT_FETCHED: InputProblem = {
  code: "input-missing",
  message: "the artifact is not here; this command asks no registry",
};

/**
 * Input files with those of artifacts beside them. What a file of an artifact names is looked for in that
 * artifact and nowhere else: who steers a site reads none of its files.
 *
 * @param base gives all other files
 */
export function artifactFiles(base: InputFiles, artifacts: readonly SiteArtifact[]): InputFiles {
  const contents = new Map(
    artifacts.map(({ location, files }) => [
      location,
      new Map(files.map(({ path, bytes }) => [path, bytes])),
    ]),
  );
  /** The artifact that a path lies in, and what is left of the path. */
  const enter = (path: string) => {
    for (const [location, files] of contents) {
      if (!path.startsWith(`${location}/`)) continue;
      return { files, path: resolveInside(path.slice(location.length + 1)) };
    }
    return undefined;
  };
  return {
    read(path) {
      if (!isAddress(path)) return base.read(path);
      const inside = enter(path);
      if (inside === undefined) return NOT_FETCHED;
      return inside.path === undefined ? OUTSIDE : (inside.files.get(inside.path) ?? MISSING);
    },
    list(folder) {
      if (!isAddress(folder)) return base.list(folder);
      const inside = enter(`${folder.replace(/\/+$/, "")}/`);
      if (inside === undefined) return NOT_FETCHED;
      if (inside.path === undefined) return OUTSIDE;
      const prefix = inside.path === "" ? "" : `${inside.path}/`;
      const names = [...inside.files.keys()]
        .filter((path) => path.startsWith(prefix))
        .map((path) => path.slice(prefix.length));
      return names.length === 0 ? MISSING : names.filter((name) => !name.includes("/")).sort();
    },
    expand(name) {
      if (!isAddress(name)) return base.expand?.(name);
      const artifact = artifacts.find(({ address }) => address === addressOf(name));
      return artifact === undefined ? NOT_FETCHED : expanded(artifact);
    },
  };
}

/** One spelling of an address; one that can't be read is only that. */
function addressOf(name: string): string {
  try {
    const reference = parseArtifactAddress(name);
    return formatArtifactAddress(reference);
  } catch (error) {
    if (isFailure(error)) return name;
    throw error;
  }
}

function expanded({ location, files }: SiteArtifact): ExpandedInputs {
  const named = (role: "profile" | "user-data") =>
    files.filter((file) => file.role === role).map(({ path }) => `${location}/${path}`);
  const [userData] = named("user-data");
  return { profiles: named("profile"), ...(userData === undefined ? {} : { userData }) };
}
