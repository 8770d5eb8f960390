import { type Findings, type Place, quoted } from "#base";
import type { LinkWindow } from "#link";
import type { Node } from "./document.ts";
import { readLinkTimeZone, readLinkWindows } from "./link.ts";
import { readChoice, readMap, reportUnknownKeys } from "./reader.ts";
import type { NamedFiles } from "./secret-files.ts";
import { readDuration } from "./site-local-registry.ts";
import {
  readListen,
  readNames,
  readPath,
  readTlsFiles,
  reportWithoutUsers,
  type TlsFiles,
} from "./site-registry.ts";

/** When what is staged is activated: at once, when a person says so, or in windows of the week. */
export type SiteActivation =
  | "immediate"
  | "manual"
  | {
      readonly windows: readonly LinkWindow[];
      /** IANA name; undefined: the machine's. */
      readonly timeZone: string | undefined;
    };

/** How the agent of a site works, and whom it lets in. Times in milliseconds; undefined: its default. */
export interface SiteAgent {
  /** `host:port` of its page and API. */
  readonly listen: string;
  /** Where {@link SiteAgent.listen} is written; undefined where it is not. */
  readonly listenAt: Place | undefined;
  readonly tls: TlsFiles | undefined;
  /** File of the users that are let in; undefined: everybody on this machine. */
  readonly htpasswd: string | undefined;
  /** The users that may act; undefined: none of them, only who may open the agent's socket. */
  readonly operators: readonly string[] | undefined;
  /** File with the token by which metrics may be read without a login. */
  readonly metricsTokenFile: string | undefined;
  readonly activation: SiteActivation;
  /** How often registries that steer are asked for something new. */
  readonly pollMs: number | undefined;
  /** How often tags are resolved anew. */
  readonly resyncMs: number | undefined;
  /** How often credentials are tried. */
  readonly credentialsMs: number | undefined;
  /** How often the site is proven to be ready. */
  readonly proveMs: number | undefined;
  /** How often a part of the store is hashed anew. */
  readonly verifyMs: number | undefined;
  /** How often what nothing needs is removed. */
  readonly collectMs: number | undefined;
}

/** What holds where the site file says nothing. */
export const DEFAULT_SITE_AGENT: SiteAgent = {
  listen: "127.0.0.1:5056",
  listenAt: undefined,
  tls: undefined,
  htpasswd: undefined,
  operators: undefined,
  metricsTokenFile: undefined,
  activation: "immediate",
  pollMs: undefined,
  resyncMs: undefined,
  credentialsMs: undefined,
  proveMs: undefined,
  verifyMs: undefined,
  collectMs: undefined,
};

const KEYS = [
  ...["listen", "tls", "htpasswd", "operators", "metricsTokenFile", "activation"],
  ...["poll", "resync", "credentials", "prove", "verify", "collect"],
] as const;

/** Reads `agent:` of the site file. */
export function readSiteAgent(
  node: Node | undefined,
  named: NamedFiles,
  findings: Findings,
): SiteAgent {
  const agent = readMap(node, findings);
  if (agent === undefined) return DEFAULT_SITE_AGENT;
  reportUnknownKeys(agent, KEYS, findings, "fault");
  const htpasswd = readPath(agent.get("htpasswd"), named, findings);
  if (htpasswd === undefined) reportWithoutUsers(agent.get("operators"), "operators", findings);
  const period = (key: string) => readPeriod(agent.get(key), findings);
  return {
    listen: readListen(agent.get("listen"), findings) ?? DEFAULT_SITE_AGENT.listen,
    listenAt: agent.get("listen")?.place,
    tls: readTlsFiles(agent.get("tls"), named, findings),
    htpasswd,
    operators: readNames(agent.get("operators"), findings),
    metricsTokenFile: readPath(agent.get("metricsTokenFile"), named, findings),
    activation: readActivation(agent.get("activation"), findings),
    pollMs: period("poll"),
    resyncMs: period("resync"),
    credentialsMs: period("credentials"),
    proveMs: period("prove"),
    verifyMs: period("verify"),
    collectMs: period("collect"),
  };
}

/** What is done more often would be all that is done. */
const PERIOD_MS_MIN = 60_000;

function readPeriod(node: Node | undefined, findings: Findings): number | undefined {
  const ms = readDuration(node, findings);
  if (node === undefined || ms === undefined || ms >= PERIOD_MS_MIN) return ms;
  findings.fault(
    node.place,
    "duration-invalid",
    `Cannot do it every ${quoted(node.text ?? "")}: expected at least 1m`,
    'Write it like "10m", "6h" or "7d", or leave it out',
  );
  return undefined;
}

function readActivation(node: Node | undefined, findings: Findings): SiteActivation {
  if (node === undefined || node.kind === "null") return DEFAULT_SITE_AGENT.activation;
  if (node.kind !== "map") {
    const choice = readChoice(node, ["immediate", "manual"], findings);
    return choice ?? DEFAULT_SITE_AGENT.activation;
  }
  reportUnknownKeys(node, ["windows", "timeZone"], findings, "fault");
  const windows = node.get("windows");
  const isNone = windows === undefined || windows.kind === "null" || windows.items?.length === 0;
  if (isNone) {
    findings.fault(
      (windows ?? node).place,
      "activation-window-missing",
      "Cannot activate in windows: there is none, so nothing would ever be activated",
      'Name a window, or set activation to "immediate" or "manual"',
    );
    return "manual";
  }
  return {
    windows: readLinkWindows(windows, undefined, findings) ?? [],
    timeZone: readLinkTimeZone(node.get("timeZone"), findings),
  };
}
