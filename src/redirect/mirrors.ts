import type { Findings } from "#base";
import type { Access } from "#credential";
import type { Plan, PlannedImage } from "#plan";
import {
  type Authority,
  type Endpoint,
  type EndpointRole,
  isLoopback,
  type Mirror,
  type NodeAccess,
  OPEN_ACCESS,
  type RuntimeKind,
} from "./endpoint.ts";
import { expressSources } from "./sources.ts";

/** What the mirrors of a node are made from, beside the plan. */
export interface MirrorOptions {
  readonly runtime: RuntimeKind;
  /**
   * `site`: the local registry, then the embedded one, then an external registry as far as the format
   * can say it. `external`: the external registry alone, with its rewrites; for k3s and RKE2.
   */
  readonly via: "site" | "external";
  /** The embedded registry as nodes dial it. */
  readonly embedded: { readonly origin: string; readonly access: NodeAccess };
  /** How nodes talk to the local registry. */
  readonly local?: NodeAccess;
  /**
   * Hosts of images that the embedded registry has and the plan does not declare: core images of
   * Kubernetes, which came out of the provider image.
   */
  readonly coreHosts?: readonly string[];
}

/**
 * Which registry hosts of a plan need a mirror, and which endpoints, in order, each of them gets.
 *
 * A mirror holds for all images of a host, so it can't tell the images of the local registry itself, or
 * of infrastructure, from application images of the same host (rules `bootstrap`, `local-serve`). For
 * those the local registry answers 404, or nobody answers, and the runtime goes on to the embedded one,
 * which serves the whole store. Hosts without any uploaded image never get the local registry.
 *
 * What the format can't say is warned of, with the place where the image is declared.
 */
export function mirrorsFor(
  plan: Plan,
  options: MirrorOptions,
  findings: Findings,
): readonly Mirror[] {
  return [...imagesByHost(plan, options)].flatMap(([host, images]): Mirror[] => {
    const external = expressSources(host, images, options, findings);
    const site =
      options.via === "external"
        ? []
        : [...localEndpoints(plan, images, options), embeddedEndpoint(options)];
    const endpoints = [
      ...site,
      ...external.places.flatMap((place) =>
        endpointsAt("external", place.domain, place.prefix, nodeAccess(place.access)),
      ),
    ];
    if (endpoints.length === 0) return [];
    return [{ host, endpoints: unique(endpoints), rewrites: external.rewrites }];
  });
}

/** Hosts in code-unit order, so that the same plan always gives the same files. */
function imagesByHost(
  plan: Plan,
  { coreHosts = [] }: MirrorOptions,
): ReadonlyMap<string, readonly PlannedImage[]> {
  const images = plan.stages.flatMap((stage) => stage.images);
  const hosts = [
    ...new Set([...images.map(({ declared }) => declared.domain), ...coreHosts]),
  ].sort();
  return new Map(
    hosts.map((host) => [host, images.filter(({ declared }) => declared.domain === host)]),
  );
}

function embeddedEndpoint({ embedded: { origin, access } }: MirrorOptions): Endpoint {
  return endpoint("embedded", origin, "", access);
}

/** Nothing when the embedded registry plays the part of the local one: it is asked anyway. */
function localEndpoints(
  { registries: { local } }: Plan,
  images: readonly PlannedImage[],
  { local: access = OPEN_ACCESS }: MirrorOptions,
): readonly Endpoint[] {
  const { address } = local ?? {};
  if (address === undefined || address === null || local?.kind === "embedded") return [];
  const prefixes = images.flatMap(({ declared, local: name }) => {
    const tail = `/${declared.path}`;
    const bare = name?.replace(/@[^@]*$/, "").replace(/:[^:/]*$/, "") ?? "";
    return bare.endsWith(tail) ? [bare.slice(address.length + 1, -tail.length)] : [];
  });
  return [...new Set(prefixes)].flatMap((prefix) => endpointsAt("local", address, prefix, access));
}

/** Loopback and insecure registries may speak plain http: asked second, so that TLS is used where it is. */
function endpointsAt(
  role: EndpointRole,
  address: string,
  prefix: string,
  access: NodeAccess,
): readonly Endpoint[] {
  const schemes = access.insecure || isLoopback(address) ? ["https", "http"] : ["https"];
  return schemes.map((scheme) => endpoint(role, `${scheme}://${address}`, prefix, access));
}

function endpoint(
  role: EndpointRole,
  origin: string,
  prefix: string,
  { credential, certificates, insecure }: NodeAccess,
): Endpoint {
  const isTls = origin.startsWith("https:");
  const pem = certificates.map((certificate) => `${certificate.trimEnd()}\n`).join("");
  return {
    ...{ role, origin, prefix, skipVerify: isTls && insecure },
    ...(credential === undefined ? {} : { credential }),
    ...(isTls && pem !== "" ? { authority: { name: authorityName(role, origin), pem } } : {}),
  };
}

/** One file for each registry; several external ones are told apart by their address. */
function authorityName(role: EndpointRole, origin: string): Authority["name"] {
  if (role !== "external") return `${role}-ca.pem`;
  return `external-${origin.replace(/^https:\/\//, "").replaceAll(/[^A-Za-z0-9.-]+/g, "_")}-ca.pem`;
}

/** A node's file can hold a name and a password; what else the plan has is for the delivery alone. */
function nodeAccess({ credential, certificates, insecure }: Access): NodeAccess {
  const { username, password } = credential?.kind === "password" ? credential : {};
  return {
    ...(username === undefined || password === undefined
      ? {}
      : { credential: { username, password } }),
    ...{ certificates, insecure },
  };
}

/** The same URL twice would be the same table twice, which no file may have. */
function unique(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const seen = new Map(endpoints.map((each) => [`${each.origin}/${each.prefix}`, each]));
  return [...seen.values()];
}
