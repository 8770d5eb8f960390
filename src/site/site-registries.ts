import { networkInterfaces } from "node:os";
import { Secret } from "#base";
import { type Access, ANONYMOUS, type Credential } from "#credential";
import type { Plan } from "#plan";
import type { SiteRegistries, SiteRole, Way } from "#prove";
import {
  type FollowedEndpoint,
  isLoopback,
  type MirrorOptions,
  type NodeCredential,
} from "#redirect";
import { parseReference, tagOrDigest } from "#reference";
import type { Remote } from "#remote";
import { readConfigFile } from "#runtime";

/** What the registries of a site are asked with. */
export interface SiteRegistriesOptions {
  readonly remote: Pick<Remote, "mirror">;
  /** The embedded registry as nodes dial it, or as it listens: `host:port`. */
  readonly embedded: string;
  /** The same as it is served: with its scheme, and what opens it. */
  readonly served: MirrorOptions["embedded"];
  /** Where the store is served for the proof when nobody else serves it; asked in place of the embedded one. */
  readonly standIn?: string;
  readonly local: Plan["registries"]["local"];
  /** What nodes log in to the local registry with; without it, what images are uploaded with. */
  readonly nodes: NodeCredential | undefined;
}

/** The registries of the site, by the addresses that nodes dial. */
export function openSiteRegistries(options: SiteRegistriesOptions): SiteRegistries {
  const { remote, embedded, served, standIn, local, nodes } = options;
  const localAddress = local === null || local.kind === "embedded" ? null : local.address;
  const roleOf = (url: string): SiteRole | undefined => {
    const { host } = parseManifestUrl(url) ?? {};
    if (host === undefined) return undefined;
    if (localAddress !== null && isSameAddress(host, localAddress)) return "local";
    return isSameAddress(host, embedded) ? "embedded" : undefined;
  };
  const openWay = (url: string, access: Access): Way => {
    const asked = parseManifestUrl(url);
    // Only what roleOf() recognised is asked.
    if (asked === undefined) throw new Error(`Broken assertion: ${url} is no URL of a manifest`);
    const { scheme, host, path, namespace } = asked;
    const way = { scheme, ...(namespace === undefined ? {} : { namespace }) };
    return { url, repository: remote.mirror({ domain: host, path }, access, way) };
  };
  return {
    roleOf: ({ url }) => roleOf(url),
    wayOf(endpoint) {
      const { url } = endpoint;
      if (standIn === undefined || roleOf(url) !== "embedded") {
        return openWay(url, accessOf(endpoint));
      }
      const there = url.replace(/^https?:\/\/[^/]*/, `http://${standIn}`);
      return { ...openWay(there, ANONYMOUS), url };
    },
    directWay(role, { declared, local: name }) {
      const tail = `manifests/${tagOrDigest(declared)}`;
      if (role === "embedded") {
        const path = `/v2/${declared.path}/${tail}?ns=${encodeURIComponent(declared.domain)}`;
        const url = `${served.origin}${path}`;
        if (standIn === undefined) return openWay(url, directAccess(served));
        return { ...openWay(`http://${standIn}${path}`, ANONYMOUS), url };
      }
      if (localAddress === null || local === null || name === null) return undefined;
      const reference = parseReference(name);
      const login = nodes && ({ kind: "password", ...nodes } as const);
      const access = login === undefined ? local.access : { ...local.access, credential: login };
      const repository = remote.mirror(reference, access, {});
      return { url: `https://${localAddress}/v2/${reference.path}/${tail}`, repository };
    },
  };
}

/**
 * How this machine itself talks to its embedded registry. On loopback nobody is in between, so that its
 * certificate counts only where an authority was named for it.
 */
export function directAccess({ origin, access }: MirrorOptions["embedded"]): Access {
  const { credential, certificates } = access;
  const isNear = isLoopback(origin.replace(/^https?:\/\//, ""));
  return {
    origin: "the site file",
    insecure: isNear && certificates.length === 0,
    certificates,
    ...(credential === undefined ? {} : { credential: { kind: "password", ...credential } }),
  };
}

/** The parts of a manifest's URL; undefined when it is not one of the distribution protocol. */
function parseManifestUrl(url: string) {
  const pattern = /^(https?):\/\/([^/@]+)\/v2\/([^?#]+)\/manifests\/[^/?#]+(?:\?ns=([^&#]+))?$/;
  const [, scheme, host, path, namespace] = pattern.exec(url) ?? [];
  if (host === undefined || path === undefined) return undefined;
  return {
    ...({ scheme: scheme === "http" ? "http" : "https", host, path } as const),
    ...(namespace === undefined ? {} : { namespace: decodeURIComponent(namespace) }),
  };
}

/** How a runtime that has this endpoint talks to it. */
function accessOf({ authorities, authorization, skipVerify }: FollowedEndpoint): Access {
  const credential = authorization && credentialOf(authorization);
  return {
    origin: "the runtime's files",
    insecure: skipVerify,
    certificates: authorities.flatMap((path) => readConfigFile(path) ?? []),
    ...(credential === undefined ? {} : { credential }),
  };
}

/** What a header `Authorization` proves; undefined for schemes that registries do not have. */
function credentialOf(header: Secret): Credential | undefined {
  const [, scheme = "", value = ""] = /^\s*(\S+)\s+(\S+)\s*$/.exec(header.reveal()) ?? [];
  if (scheme.toLowerCase() === "bearer") {
    return { kind: "registry-token", token: new Secret(value) };
  }
  const login = Buffer.from(value, "base64").toString();
  const colon = login.indexOf(":");
  if (scheme.toLowerCase() !== "basic" || colon < 0) return undefined;
  const password = new Secret(login.slice(colon + 1));
  return { kind: "password", username: login.slice(0, colon), password };
}

/** Whether two addresses lead to one place; that of all interfaces is any address of this machine. */
function isSameAddress(a: string, b: string): boolean {
  const [one, other] = [addressOf(a), addressOf(b)];
  if (one.port !== other.port) return false;
  if (one.host === other.host) return true;
  const own = (host: string) => isEverywhere(host) || isLoopback(host) || ownAddresses().has(host);
  const isWide = isEverywhere(one.host) || isEverywhere(other.host);
  if (isWide) return own(one.host) && own(other.host);
  return isLoopback(one.host) && isLoopback(other.host);
}

function addressOf(text: string): { readonly host: string; readonly port: string } {
  const [, host = text, port = "443"] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  return { host: host.toLowerCase(), port };
}

function isEverywhere(host: string): boolean {
  return ["", "0.0.0.0", "[::]"].includes(host);
}

function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return new Set(all.map(({ address, family }) => (family === "IPv6" ? `[${address}]` : address)));
}
