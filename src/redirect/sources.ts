import type { Findings, Place } from "#base";
import type { Access } from "#credential";
import type { PlannedImage } from "#plan";
import { formatReference, repositoryName } from "#reference";
import type { Mirror, RuntimeKind } from "./endpoint.ts";

/** Where the external registry has the images of one host, in what a runtime's files can say. */
export interface ExpressedSources {
  readonly places: readonly ExternalPlace[];
  readonly rewrites: Mirror["rewrites"];
}

/** A registry, and the path in it that stands before the names of the images. */
export interface ExternalPlace {
  readonly domain: string;
  readonly prefix: string;
  readonly access: Access;
}

const NOWHERE: Place = { file: "", line: 1, column: 1, path: "" };

/**
 * Says how a runtime finds the images of a host where the plan found them.
 *
 * Every runtime can put a path in front of a name. Another name needs a rewrite; containerd has none,
 * and k3s and RKE2 apply theirs to every endpoint of a host (k3s, pkg/agent/containerd/config.go), so
 * a rewrite can't stand beside the registries of the site, which have the images by their own names.
 */
export function expressSources(
  host: string,
  images: readonly PlannedImage[],
  { runtime, via }: { readonly runtime: RuntimeKind; readonly via: "site" | "external" },
  findings: Findings,
): ExpressedSources {
  const moved = images.filter(({ declared, source }) => {
    return repositoryName(declared) !== repositoryName(source);
  });
  const inFront = moved.flatMap((image) => placeInFront(image) ?? []);
  if (inFront.length === moved.length) return { places: unique(inFront), rewrites: [] };
  if (via === "external" && runtime !== "containerd") {
    const places = moved.map(({ source, access }) => ({
      ...{ domain: source.domain, prefix: "", access },
    }));
    return { places: unique(places), rewrites: rewritesOf(moved) };
  }
  warnOfNames(host, moved, runtime, findings);
  return { places: unique(inFront), rewrites: [] };
}

/** The place of an image that is there under its own path, with something in front; else undefined. */
function placeInFront({ declared, source, access }: PlannedImage): ExternalPlace | undefined {
  if (source.path === declared.path) return { domain: source.domain, prefix: "", access };
  const tail = `/${declared.path}`;
  if (!source.path.endsWith(tail)) return undefined;
  return { domain: source.domain, prefix: source.path.slice(0, -tail.length), access };
}

function unique(places: readonly ExternalPlace[]): readonly ExternalPlace[] {
  return [...new Map(places.map((each) => [`${each.domain}/${each.prefix}`, each])).values()];
}

/**
 * One rewrite for all images where they all keep their last segment alone (rule `rewrite-replace`), for
 * it serves images outside of the profile too; else one for each repository. Never both: k3s takes the
 * first that changes the name, in no certain order.
 */
function rewritesOf(images: readonly PlannedImage[]): Mirror["rewrites"] {
  const folders = new Set(images.map(({ source }) => cut(source.path).folder));
  const [folder = ""] = folders;
  const isReplace = images.every(
    ({ declared, source }) => cut(declared.path).last === cut(source.path).last,
  );
  const front = folder === "" ? "" : `${folder}/`;
  if (isReplace && folders.size === 1) return [["^(?:.*/)?([^/]+)$", `${front}$1`]];
  const each = images.map(
    ({ declared, source }) => [`^${literally(declared.path)}$`, source.path] as const,
  );
  return [...new Map(each)].sort(([a], [b]) => (a < b ? -1 : 1));
}

function cut(path: string): { readonly folder: string; readonly last: string } {
  const slash = path.lastIndexOf("/");
  return { folder: path.slice(0, Math.max(slash, 0)), last: path.slice(slash + 1) };
}

/**
 * Of what a name may hold, the dot alone means something in a regular expression. Not with a backslash:
 * k3s puts the expression into TOML as it is, where that would begin an escape.
 */
function literally(path: string): string {
  return path.replaceAll(".", "[.]");
}

function warnOfNames(
  host: string,
  moved: readonly PlannedImage[],
  runtime: RuntimeKind,
  findings: Findings,
): void {
  const image = moved.find((each) => placeInFront(each) === undefined);
  if (image === undefined) return;
  const reason =
    runtime === "containerd"
      ? "containerd can put a path before a name and change nothing else of it"
      : `${runtime} would apply the rewrite to the registries of the site as well`;
  findings.warn(
    image.at[0] ?? NOWHERE,
    "redirect-inexpressible",
    `Images of ${host} can't be redirected to where the external registry has them, like ${formatReference(image.source)}: ${reason}. They go through the embedded registry`,
    runtime === "containerd"
      ? "Nothing must be done: the embedded registry has them all once they are delivered"
      : "Nothing must be done: the embedded registry has them all. To send nodes to the external registry instead, use --via external",
  );
}
