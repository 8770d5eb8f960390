import { type Findings, quoted } from "#base";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import { readBoolean, readMap, readText, reportUnknownKeys } from "./reader.ts";
import { type NamedFiles, readCertificateFile, readPasswordFile } from "./secret-files.ts";
import { readDuration } from "./site-local-registry.ts";

/** The host of the cluster that fetches over the uplink for all others. */
export interface SiteFetcher {
  /** Its embedded registry: host and port, and the project that stands before every name. */
  readonly registry: DeclaredRegistry;
  /**
   * After how long without anything new from it this host uses the uplink itself, in milliseconds;
   * undefined: never.
   */
  readonly fallbackMs: number | undefined;
}

const FETCHER_KEYS = [
  ...["address", "username", "passwordFile", "caFile", "insecure", "fallback"],
] as const;

/**
 * Reads `link.fetcher` of the site file: `host:port`, or a mapping that says more.
 *
 * @param project what stands before the names where the address has no path
 * @param own where this host's embedded registry listens
 */
export function readSiteFetcher(
  node: Node | undefined,
  { project, own }: { readonly project: string; readonly own: string },
  named: NamedFiles,
  findings: Findings,
): SiteFetcher | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  const map = node.kind === "scalar" ? undefined : readMap(node, findings);
  if (node.kind !== "scalar" && map === undefined) return undefined;
  reportUnknownKeys(map, FETCHER_KEYS, findings, "fault");
  const addressNode = map === undefined ? node : map.get("address");
  const address = readText(addressNode, findings);
  if (addressNode === undefined || address === undefined) {
    return reportMissingAddress(addressNode ?? node, findings);
  }
  const location = readLocation(addressNode, address, findings);
  const [userNode, passwordNode] = [map?.get("username"), map?.get("passwordFile")];
  const username = readText(userNode, findings);
  const password = readPasswordFile(passwordNode, named, findings);
  const certificates = readCertificateFile(map?.get("caFile"), named, findings);
  const fallbackMs = readDuration(map?.get("fallback"), findings);
  const insecure = readBoolean(map?.get("insecure"), false, findings);
  warnIncomplete(userNode, passwordNode, findings);
  if (location === undefined) return undefined;
  if (location.domain === own) reportSelf(addressNode, own, findings);
  return {
    registry: {
      origin: "site:link.fetcher",
      location: location.path === "" ? { ...location, path: project } : location,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      maskedAt: undefined,
      insecure,
      certificates,
      place: addressNode.place,
    },
    fallbackMs,
  };
}

function reportMissingAddress({ place }: Node, findings: Findings): undefined {
  findings.fault(
    place,
    "registry-without-domain",
    "Cannot use link.fetcher: it has no address",
    "Write host and port of the embedded registry of the host that fetches, like 10.0.0.5:5055",
  );
  return undefined;
}

/** It would wait for itself. */
function reportSelf({ place }: Node, own: string, findings: Findings): void {
  findings.fault(
    place,
    "fetcher-is-self",
    `Cannot fetch from ${quoted(own)}: this host's own embedded registry listens there`,
    "Name another host of the cluster, or take link.fetcher out on the host that fetches",
  );
}
