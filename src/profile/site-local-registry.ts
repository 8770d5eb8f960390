import { type Findings, type Place, quoted, type Secret } from "#base";
import { formatLocation, type Location } from "#reference";
import { readLocation } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import { readBoolean, readChoice, readMap, readText, reportUnknownKeys } from "./reader.ts";
import {
  type NamedFiles,
  type NodesLogin,
  readCertificateFile,
  readNodesLogin,
  readPasswordFile,
} from "./secret-files.ts";

/** What is done where the registry refuses an index of which only some platforms are here. */
export type AbsentPlatforms = "one-platform" | "complete";

/** The local registry as the site file declares it; each part undefined where it says nothing. */
export interface SiteLocalRegistry {
  readonly kind: "none" | "embedded" | "harbor" | "oci" | undefined;
  readonly address: Location | undefined;
  readonly project: string | undefined;
  readonly username: string | undefined;
  readonly password: Secret | undefined;
  /** PEM. */
  readonly certificates: readonly string[];
  readonly insecure: boolean;
  /** Where the user or else the password file is named; undefined where neither is. */
  readonly loginAt: Place | undefined;
  readonly place: Place;
}

/** How the local registry is dealt with, whoever declared it. */
export interface LocalRegistrySettings {
  /** Of a Harbor project that has to be made. */
  readonly visibility: "private" | "public";
  readonly indexes: AbsentPlatforms;
  /** How long a delivery waits for it to come up, in milliseconds; 0: one attempt. */
  readonly waitMs: number;
  /** The age from which secrets of robot accounts are made anew, in days. */
  readonly rotateDays: number;
  /** What the cluster's nodes pull with; undefined where nothing is said. */
  readonly nodes: NodesLogin | undefined;
}

/** What holds where the site file says nothing. */
export const DEFAULT_LOCAL_SETTINGS: LocalRegistrySettings = {
  visibility: "private",
  indexes: "one-platform",
  waitMs: 600_000,
  rotateDays: 30,
  nodes: undefined,
};

const LOCAL_KEYS = [
  ...["kind", "address", "project", "username", "passwordFile", "caFile", "insecure"],
  ...["visibility", "indexes", "wait", "rotateDays", "nodes"],
] as const;
const LOCAL_KINDS = ["none", "embedded", "harbor", "oci"] as const;

/** Reads what `localRegistry:` of the site file says of the registry itself. */
export function readLocalRegistry(
  node: Node | undefined,
  named: NamedFiles,
  findings: Findings,
): SiteLocalRegistry | undefined {
  if (node === undefined || readMap(node, findings) === undefined) return undefined;
  reportUnknownKeys(node, LOCAL_KEYS, findings, "fault");
  const [userNode, passwordNode] = [node.get("username"), node.get("passwordFile")];
  const username = readText(userNode, findings);
  const isPasswordNamed = readText(passwordNode, findings) !== undefined;
  const loginNode =
    username === undefined ? (isPasswordNamed ? passwordNode : undefined) : userNode;
  return {
    kind: readChoice(node.get("kind"), LOCAL_KINDS, findings),
    address: readAddress(node.get("address"), findings),
    project: readText(node.get("project"), findings),
    username,
    password: readPasswordFile(passwordNode, named, findings),
    certificates: readCertificateFile(node.get("caFile"), named, findings),
    insecure: readBoolean(node.get("insecure"), false, findings),
    loginAt: loginNode?.place,
    place: node.get("kind")?.place ?? node.place,
  };
}

function readAddress(node: Node | undefined, findings: Findings): Location | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  const location = readLocation(node, text, findings);
  if (location !== undefined && location.path !== "") {
    findings.fault(
      node.place,
      "registry-invalid",
      `Cannot use ${quoted(formatLocation(location))} as the local registry's address: it has a path, expected host:port`,
      `Move ${quoted(location.path)} to localRegistry.project`,
    );
  }
  return location;
}

/** Reads the settings below `localRegistry:`; what it does not say is of {@link DEFAULT_LOCAL_SETTINGS}. */
export function readLocalSettings(
  node: Node | undefined,
  named: NamedFiles,
  findings: Findings,
): LocalRegistrySettings {
  if (node === undefined) return DEFAULT_LOCAL_SETTINGS;
  const visibility = readChoice(node.get("visibility"), ["private", "public"], findings);
  const indexes = readChoice(node.get("indexes"), ["one-platform", "complete"], findings);
  return {
    visibility: visibility ?? DEFAULT_LOCAL_SETTINGS.visibility,
    indexes: indexes ?? DEFAULT_LOCAL_SETTINGS.indexes,
    waitMs: readDuration(node.get("wait"), findings) ?? DEFAULT_LOCAL_SETTINGS.waitMs,
    rotateDays: readDays(node.get("rotateDays"), findings) ?? DEFAULT_LOCAL_SETTINGS.rotateDays,
    nodes: readNodesLogin(node.get("nodes"), "localRegistry.nodes", named, findings),
  };
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ...{ "": 1_000, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 },
};

/** A time as `--grace` takes it, or in seconds: `10m`, `90`. In milliseconds. */
export function readDuration(node: Node | undefined, findings: Findings): number | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  const [, count, unit = ""] = /^(\d{1,6})([smhd]?)$/.exec(text) ?? [];
  if (count !== undefined) return Number(count) * (UNITS_MS[unit] ?? Number.NaN);
  findings.fault(
    node.place,
    "duration-invalid",
    `Cannot read the time ${quoted(text)}: expected a whole number and s, m, h or d`,
    'Write it like "90s", "10m" or "2h"; "0" does not wait at all',
  );
  return undefined;
}

/** Ten years: what is meant to be never. */
const ROTATE_DAYS_MAX = 3_650;

function readDays(node: Node | undefined, findings: Findings): number | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= ROTATE_DAYS_MAX) return days;
  findings.fault(
    node.place,
    "days-invalid",
    `Cannot rotate secrets after ${quoted(text)} days: expected a whole number from 1 to ${ROTATE_DAYS_MAX}`,
    "Write it like rotateDays: 30, or leave it out",
  );
  return undefined;
}
