import { type Findings, quoted } from "#base";
import type { Node } from "./document.ts";
import { readBoolean, readList, readMap, readText, reportUnknownKeys } from "./reader.ts";
import {
  type NamedFiles,
  type NodesLogin,
  readCertificateFile,
  readNodesLogin,
} from "./secret-files.ts";

/** Files with a certificate and its key, PEM. They are read by who serves, and again when they change. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The embedded registry as it is served by an agent, and as nodes reach it. */
export interface SiteRegistry {
  /** `host:port`. */
  readonly listen: string;
  /** `host:port` as nodes dial it; undefined: where it listens. */
  readonly address: string | undefined;
  readonly tls: TlsFiles | undefined;
  /** Authorities by which nodes know it, PEM. */
  readonly certificates: readonly string[];
  /** File of the users that are let in; undefined: everybody is. */
  readonly htpasswd: string | undefined;
  /** The users that may push and delete; undefined: all. */
  readonly pushers: readonly string[] | undefined;
  readonly anonymousPull: boolean;
  /** What nodes log in to it with. */
  readonly nodes: NodesLogin | undefined;
}

/** What holds where the site file says nothing. */
export const DEFAULT_SITE_REGISTRY: SiteRegistry = {
  listen: "127.0.0.1:5055",
  address: undefined,
  tls: undefined,
  certificates: [],
  htpasswd: undefined,
  pushers: undefined,
  anonymousPull: false,
  nodes: undefined,
};

const KEYS = [
  ...["listen", "address", "tls", "caFile", "htpasswd"],
  ...["pushers", "anonymousPull", "nodes"],
] as const;

/** Reads `registry:` of the site file. */
export function readSiteRegistry(
  node: Node | undefined,
  named: NamedFiles,
  findings: Findings,
): SiteRegistry {
  const registry = readMap(node, findings);
  if (registry === undefined) return DEFAULT_SITE_REGISTRY;
  reportUnknownKeys(registry, KEYS, findings, "fault");
  const htpasswd = readPath(registry.get("htpasswd"), named, findings);
  for (const key of ["pushers", "anonymousPull"]) {
    if (htpasswd === undefined) reportWithoutUsers(registry.get(key), key, findings);
  }
  return {
    listen: readListen(registry.get("listen"), findings) ?? DEFAULT_SITE_REGISTRY.listen,
    address: readListen(registry.get("address"), findings),
    tls: readTlsFiles(registry.get("tls"), named, findings),
    certificates: readCertificateFile(registry.get("caFile"), named, findings),
    htpasswd,
    pushers: readNames(registry.get("pushers"), findings),
    anonymousPull: readBoolean(registry.get("anonymousPull"), false, findings),
    nodes: readNodesLogin(registry.get("nodes"), "registry.nodes", named, findings),
  };
}

/** Host and port, as `--listen` takes them. */
const LISTEN =
  /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):(?:[0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/;

/** Reads `host:port`; undefined where nothing is said, or what is no such thing. */
export function readListen(node: Node | undefined, findings: Findings): string | undefined {
  const listen = readText(node, findings);
  if (node === undefined || listen === undefined) return undefined;
  if (LISTEN.test(listen)) return listen;
  findings.fault(
    node.place,
    "listen-invalid",
    `Cannot listen on ${quoted(listen)}: expected host:port`,
    'Write it like "127.0.0.1:5055" or "[::1]:5055"',
  );
  return undefined;
}

/** Reads `{certFile, keyFile}`, which come together. */
export function readTlsFiles(
  node: Node | undefined,
  named: NamedFiles,
  findings: Findings,
): TlsFiles | undefined {
  const tls = readMap(node, findings);
  if (tls === undefined) return undefined;
  reportUnknownKeys(tls, ["certFile", "keyFile"], findings, "fault");
  const certFile = readPath(tls.get("certFile"), named, findings);
  const keyFile = readPath(tls.get("keyFile"), named, findings);
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile };
  findings.fault(
    tls.place,
    "tls-incomplete",
    `Cannot serve TLS: ${certFile === undefined ? "certFile" : "keyFile"} is missing, expected certFile and keyFile`,
    "Name both, as PEM files",
  );
  return undefined;
}

/** Reads the path of a file that is not read here. */
export function readPath(
  node: Node | undefined,
  { beside }: NamedFiles,
  findings: Findings,
): string | undefined {
  const path = readText(node, findings);
  return path === undefined ? undefined : beside(path);
}

/** Reads a list of users; undefined where there is none. */
export function readNames(
  node: Node | undefined,
  findings: Findings,
): readonly string[] | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  return readList(node, findings).flatMap((item) => readText(item, findings) ?? []);
}

/** Says that what is set for users has no effect, or the wrong one, without any. */
export function reportWithoutUsers(node: Node | undefined, key: string, findings: Findings): void {
  if (node === undefined || node.kind === "null") return;
  findings.fault(
    node.place,
    "users-missing",
    `Cannot tell users apart by ${quoted(key)}: there are none`,
    "Set htpasswd to a file with users beside it (`htpasswd -Bc FILE USER`), or take it out",
  );
}
