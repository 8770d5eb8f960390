import { contains, type Location } from "./location.ts";
import { normalPath, type Reference } from "./reference.ts";

/** All before the last path segment is replaced: `quay.io/kairos/core:v1` → `<location>/core:v1`. */
export function replaceRegistry(reference: Reference, location: Location): Reference {
  const lastSegment = reference.path.slice(reference.path.lastIndexOf("/") + 1);
  return at(location, lastSegment, reference);
}

/** The location goes before the whole name, host included: `<location>/quay.io/kairos/core:v1`. */
export function prependRegistry(reference: Reference, location: Location): Reference {
  return at(location, hostAsPath(reference), reference);
}

/**
 * The part of the name that lies in `from` is replaced by `to`, the rest of the path is kept. A rule
 * for a whole repository gives exactly `to`.
 */
export function replacePrefix(reference: Reference, from: Location, to: Location): Reference {
  const rest = reference.path.slice(from.path.length).replace(/^\//, "");
  return at(to, rest, reference);
}

/** Tells whether the reference lies in the location already. */
export function isAlreadyThere(reference: Reference, location: Location): boolean {
  return contains(location, reference);
}

/**
 * A whole name as a path below another registry. What may not stand in a repository name is written
 * otherwise there: case is folded, the `:` before a port becomes `_`, and an IPv6 address loses its
 * brackets and has dashes (`reg.example:5000/a` → `reg.example_5000/a`, `[::1]/a` → `0--1/a`).
 */
function hostAsPath({ domain, path }: Reference): string {
  const [, ipv6, host = domain, port] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(domain) ?? [];
  const name = ipv6?.replace(/^:/, "0:").replace(/:$/, ":0").replaceAll(":", "-") ?? host;
  return `${name.toLowerCase()}${port === undefined ? "" : `_${port}`}/${path}`;
}

function at(location: Location, path: string, { tag, digest }: Reference): Reference {
  return {
    domain: location.domain,
    path: normalPath(
      location.domain,
      [location.path, path].filter((part) => part !== "").join("/"),
    ),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}
