import { Failure, quoted } from "#base";
import { DEFAULT_DOMAIN, isDomain, isToldFromPath, type Reference } from "./reference.ts";

/**
 * A place that holds repositories: a registry, or a path within one. It is what `domain:` of an
 * external registry, both sides of a mapping rule and the `registry:` of a credential name.
 */
export interface Location {
  /** Host, with port where one was written. */
  readonly domain: string;
  /** Path components after the host, without slashes at either end; empty for the whole registry. */
  readonly path: string;
}

const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/**
 * Reads a location as people write it; a scheme in front and slashes at the end are dropped, and the
 * aliases of Docker Hub are brought to `docker.io`. A bare word is no host: an image that lay there
 * would be read as one of Docker Hub's by everybody (C-150).
 *
 * @throws {Failure} `location-invalid`
 */
export function parseLocation(text: string): Location {
  const location = tryParseLocation(text);
  if (location !== undefined) return location;
  throw new Failure({
    code: "location-invalid",
    message: `Cannot read registry ${quoted(text)}: expected host, host:port or host/path`,
    hint: 'Write it like "registry.example.com:5000/team", without user, tag or digest; a host without a dot needs its port',
  });
}

/** {@link parseLocation}, or undefined when the text is none. */
export function tryParseLocation(text: string): Location | undefined {
  const bare = text
    .trim()
    .replace(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//, "")
    .replace(/(?<!\/)\/+$/, "");
  const slash = bare.indexOf("/");
  const host = slash === -1 ? bare : bare.slice(0, slash);
  const path = slash === -1 ? "" : bare.slice(slash + 1);
  const domain = canonicalDomain(host);
  if (!isDomain(host) || !isToldFromPath(domain) || (path !== "" && !PATH.test(path)))
    return undefined;
  return { domain, path };
}

const DOCKER_HUB: ReadonlySet<string> = new Set([
  "docker.io",
  "index.docker.io",
  "registry-1.docker.io",
  "registry.hub.docker.com",
]);

/**
 * One spelling per registry: lower case, Docker Hub by its one name, no default port of https, unless
 * the port alone tells the host from a path.
 */
export function canonicalDomain(domain: string): string {
  const lower = domain.toLowerCase();
  const host = lower.replace(/:443$/, "");
  if (DOCKER_HUB.has(host)) return DEFAULT_DOMAIN;
  return isToldFromPath(host) ? host : lower;
}

/** The location as people write it: `host`, `host:port` or `host/path`. */
export function formatLocation({ domain, path }: Location): string {
  return path === "" ? domain : `${domain}/${path}`;
}

/** Tells whether a repository lies in a location: same registry, and whole leading path components. */
export function contains(location: Location, { domain, path }: Reference | Location): boolean {
  if (canonicalDomain(domain) !== canonicalDomain(location.domain)) return false;
  return location.path === "" || path === location.path || path.startsWith(`${location.path}/`);
}

/**
 * Of several things that lie at a location, the one whose location holds the repository and is the
 * longest: the most specific; the first of equals.
 */
export function longestMatch<T extends { readonly location: Location }>(
  candidates: readonly T[],
  reference: Reference | Location,
): T | undefined {
  let best: T | undefined;
  for (const candidate of candidates) {
    if (!contains(candidate.location, reference)) continue;
    if (best === undefined || candidate.location.path.length > best.location.path.length)
      best = candidate;
  }
  return best;
}
