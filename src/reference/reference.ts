import { Failure, quoted } from "#base";
import { type Digest, tryParseDigest } from "#oci";

/**
 * The name of an image, normalised: the registry is always there, `docker.io/library/` is written
 * out, and there is a tag or a digest or both.
 *
 * The grammar is that of the distribution project:
 *
 *     reference  = [domain "/"] path [":" tag] ["@" digest]
 *     domain     = host [":" port], told from a path by a "." or ":" or upper case, or by being "localhost"
 *     path       = component *("/" component)
 *     component  = [a-z0-9]+ *(("." | "_" | "__" | "-"+) [a-z0-9]+)
 *     tag        = [A-Za-z0-9_] [A-Za-z0-9._-]{0,127}
 */
export interface Reference {
  /** Host, with port where one was written: `docker.io`, `10.0.0.5:5000`, `[2001:db8::1]:5000`. */
  readonly domain: string;
  /** The repository within its registry: `library/busybox`. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** Why a text is no reference: what is wrong, and at which offset of the text (from 0). */
export interface ReferenceProblem {
  readonly message: string;
  readonly offset: number;
}

/** The registry of every name that does not say one (C-153). */
export const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DEFAULT_DOMAIN = "index.docker.io";
const DEFAULT_TAG = "latest";

/** distribution/reference: NameTotalLengthMax, applied to the path alone as its tests do. */
const PATH_LENGTH_MAX = 255;

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const HOST_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const DOMAIN = new RegExp(
  `^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*|\\[[0-9A-Fa-f:.]+\\])(?::[0-9]{1,5})?$`,
);
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//;

/**
 * Reads a reference as people write it, with or without registry, tag, digest, or a scheme such as
 * `container://`, which is dropped.
 *
 * @throws {Failure} `reference-invalid`
 */
export function parseReference(text: string): Reference {
  const result = readReference(text);
  if ("domain" in result) return result;
  throw new Failure({
    code: "reference-invalid",
    message: `Cannot read image reference ${quoted(text)}: ${result.message}, at character ${result.offset + 1}`,
    hint: 'Write it like "quay.io/team/app:1.2.3" or "quay.io/team/app@sha256:…"',
  });
}

/** {@link parseReference} for readers that report faults with their place instead of throwing. */
export function readReference(text: string): Reference | ReferenceProblem {
  const scheme = SCHEME.exec(text)?.[0] ?? "";
  const rest = text.slice(scheme.length);
  const at = (problem: ReferenceProblem): ReferenceProblem => ({
    message: problem.message,
    offset: problem.offset + scheme.length,
  });
  if (rest === "") return at({ message: "it is empty", offset: 0 });

  const digestAt = rest.indexOf("@");
  const named = digestAt === -1 ? rest : rest.slice(0, digestAt);
  const digest = digestAt === -1 ? undefined : tryParseDigest(rest.slice(digestAt + 1));
  if (digestAt !== -1 && digest === undefined) {
    return at({
      message:
        'after "@" a digest was expected: sha256 or sha512, ":", and its hash in lower-case hex',
      offset: digestAt + 1,
    });
  }

  const { domain, path, pathAt } = splitDomain(named);
  const colon = path.lastIndexOf(":");
  const repository = colon === -1 ? path : path.slice(0, colon);
  const tag = colon === -1 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) {
    return at({
      message: `${quoted(tag, 60)} is no tag: 1 to 128 letters, digits, ".", "_", "-" were expected`,
      offset: pathAt + colon + 1,
    });
  }
  const problem = checkDomain(domain) ?? checkPath(domain, repository, pathAt);
  if (problem !== undefined) return at(problem);
  return normalize(domain, repository, tag, digest);
}

/** The first component is a registry only if it looks like one; else the name is Docker Hub's (C-150). */
function splitDomain(named: string): { domain: string | undefined; path: string; pathAt: number } {
  const slash = named.indexOf("/");
  const first = slash === -1 ? "" : named.slice(0, slash);
  if (!isToldFromPath(first)) return { domain: undefined, path: named, pathAt: 0 };
  return { domain: first, path: named.slice(slash + 1), pathAt: slash + 1 };
}

/**
 * Tells whether a host before the first `/` is read as a registry and not as the first part of a
 * name on Docker Hub: it has a dot, a port or upper case, or is `localhost`.
 */
export function isToldFromPath(host: string): boolean {
  return host === "localhost" || /[.:[]/.test(host) || host !== host.toLowerCase();
}

function checkDomain(domain: string | undefined): ReferenceProblem | undefined {
  if (domain === undefined || isDomain(domain)) return undefined;
  return {
    message: `${quoted(domain, 60)} is no registry: host or host:port was expected`,
    offset: 0,
  };
}

/** Tells whether a text can stand before the first `/` of a reference: a host, with or without port. */
export function isDomain(text: string): boolean {
  if (!DOMAIN.test(text)) return false;
  const [, port] = /:([0-9]{1,5})$/.exec(text.replace(/^\[[^\]]*\]/, "")) ?? [];
  return port === undefined || (Number(port) > 0 && Number(port) < 65_536);
}

function checkPath(
  domain: string | undefined,
  path: string,
  pathAt: number,
): ReferenceProblem | undefined {
  if (path.length > PATH_LENGTH_MAX) {
    return { message: `the name is longer than ${PATH_LENGTH_MAX} characters`, offset: pathAt };
  }
  if (domain === undefined && /^[0-9a-f]{64}$/.test(path)) {
    return { message: "64 hex digits are an image's id and no name", offset: pathAt };
  }
  let offset = pathAt;
  for (const component of path.split("/")) {
    if (!COMPONENT.test(component)) return { message: explainComponent(component), offset };
    offset += component.length + 1;
  }
  return undefined;
}

function explainComponent(component: string): string {
  if (component === "") return "a part of the name is empty";
  if (component !== component.toLowerCase()) {
    return `${quoted(component, 60)} has upper-case letters, and names are lower case`;
  }
  return `${quoted(component, 60)} is no part of a name: lower-case letters and digits, with single ".", "_", "__" or dashes between them, were expected`;
}

function normalize(
  domain: string | undefined,
  repository: string,
  tag: string | undefined,
  digest: Digest | undefined,
): Reference {
  const registry =
    domain === undefined || domain === LEGACY_DEFAULT_DOMAIN ? DEFAULT_DOMAIN : domain;
  const effectiveTag = tag ?? (digest === undefined ? DEFAULT_TAG : undefined);
  return {
    domain: registry,
    path: normalPath(registry, repository),
    ...(effectiveTag === undefined ? {} : { tag: effectiveTag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** On Docker Hub a name of one component is one of `library/`, and nowhere else (C-153). */
export function normalPath(domain: string, path: string): string {
  return domain === DEFAULT_DOMAIN && !path.includes("/") ? `library/${path}` : path;
}

/** The name without tag and digest: `docker.io/library/busybox`. */
export function repositoryName({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** The whole reference, normalised: `docker.io/library/busybox:latest`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${repositoryName(reference)}${tag}${digest}`;
}

/** What to ask a registry for: the digest when there is one, for it can't be moved; else the tag (C-152). */
export function tagOrDigest(reference: Reference): string {
  return reference.digest ?? reference.tag ?? DEFAULT_TAG;
}
