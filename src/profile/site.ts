import { type Findings, type Place, quoted, Secret } from "#base";
import { type LinkSettings, UNLIMITED_LINK } from "#link";
import { type Platform, parsePlatform } from "#oci";
import { formatLocation, type Location, readReference } from "#reference";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import { folderOf, type InputFiles, joinPath, readTextFile } from "./input-files.ts";
import { readLink } from "./link.ts";
import type { PlacedReference } from "./pack-content.ts";
import {
  readBoolean,
  readChoice,
  readDocument,
  readList,
  readMap,
  readText,
  reportUnknownKeys,
} from "./reader.ts";
import { parsePem, withoutSecrets } from "./sensitive.ts";
import type { TextSource } from "./text-source.ts";

/** The default name of the project that application images are uploaded to, as in Palette. */
export const DEFAULT_PROJECT = "spectro-images";

/** The local registry as the site file declares it; each part undefined where it says nothing. */
export interface SiteLocalRegistry {
  readonly kind: "none" | "embedded" | "harbor" | "oci" | undefined;
  readonly address: Location | undefined;
  readonly project: string | undefined;
  readonly place: Place;
}

/** Our own file: what belongs to this site and to no profile. Every key has a default. */
export interface Site {
  readonly profiles: readonly string[];
  readonly userData: string | undefined;
  readonly dataDir: string;
  /** Undefined: this machine's. */
  readonly platform: Platform | undefined;
  readonly rewrite: "replace" | "prepend";
  readonly combinations: "strict" | "extended";
  readonly credentials: readonly DeclaredRegistry[];
  readonly extraImages: readonly PlacedReference[];
  readonly localRegistry: SiteLocalRegistry | undefined;
  /** Where the embedded registry listens: host:port. */
  readonly listen: string;
  /** Undefined where the file says nothing. */
  readonly runtime: "none" | "containerd" | "k3s" | "rke2" | undefined;
  /** Whether Docker's configuration file may be asked for credentials, or which file. */
  readonly dockerConfig: boolean | string;
  /** Where {@link Site.dockerConfig} is written; undefined where it is not. */
  readonly dockerConfigAt: Place | undefined;
  /** Hosts beside the registry's own that may be sent its credentials to get a token. */
  readonly trustedTokenHosts: readonly string[];
  /** What the uplink may be used for: caps, windows, quota. */
  readonly link: LinkSettings;
}

/** What holds where the site file says nothing, or where there is none. */
export const DEFAULT_SITE: Site = {
  profiles: [],
  userData: undefined,
  dataDir: "/var/lib/drayage",
  platform: undefined,
  rewrite: "replace",
  combinations: "strict",
  credentials: [],
  extraImages: [],
  localRegistry: undefined,
  listen: "127.0.0.1:5055",
  runtime: undefined,
  dockerConfig: false,
  dockerConfigAt: undefined,
  trustedTokenHosts: [],
  link: UNLIMITED_LINK,
};

const SITE_KEYS = [
  "apiVersion",
  "kind",
  "profiles",
  "userData",
  "dataDir",
  "platform",
  "rewrite",
  "combinations",
  "credentials",
  "extraImages",
  "localRegistry",
  "registry",
  "runtime",
  "link",
  "dockerConfig",
  "trustedTokenHosts",
] as const;
const CREDENTIAL_KEYS = ["registry", "username", "passwordFile", "caFile", "insecure"] as const;
const LOCAL_KEYS = ["kind", "address", "project", "username", "passwordFile", "caFile"] as const;
const LOCAL_KINDS = ["none", "embedded", "harbor", "oci"] as const;
const RUNTIME_KINDS = ["none", "containerd", "k3s", "rke2"] as const;

/** Reads the site file. It is ours, so an unknown key in it is a fault and not somebody else's. */
export function readSite(
  source: TextSource,
  file: string,
  files: InputFiles,
  findings: Findings,
): Site {
  const site = readMap(readDocument(source, findings), findings);
  if (site === undefined) return DEFAULT_SITE;
  reportUnknownKeys(site, SITE_KEYS, findings, "fault");
  readChoice(site.get("apiVersion"), ["drayage/v1"], findings);
  readChoice(site.get("kind"), ["Site"], findings);
  const folder = folderOf(file);
  const beside = (path: string) => joinPath(folder, path);
  return {
    profiles: readTexts(site.get("profiles"), findings).map(beside),
    userData: mapText(readText(site.get("userData"), findings), beside),
    dataDir: mapText(readText(site.get("dataDir"), findings), beside) ?? DEFAULT_SITE.dataDir,
    platform: readPlatform(site.get("platform"), findings),
    rewrite:
      readChoice(site.get("rewrite"), ["replace", "prepend"], findings) ?? DEFAULT_SITE.rewrite,
    combinations:
      readChoice(site.get("combinations"), ["strict", "extended"], findings) ??
      DEFAULT_SITE.combinations,
    credentials: readList(site.get("credentials"), findings).flatMap((node, i) => {
      return readCredential(node, i, beside, files, findings) ?? [];
    }),
    extraImages: readList(site.get("extraImages"), findings).flatMap((node) =>
      readExtraImage(node, findings),
    ),
    localRegistry: readLocalRegistry(site.get("localRegistry"), findings),
    listen: readListen(site.get("registry"), findings),
    runtime: readRuntime(site.get("runtime"), findings),
    dockerConfig: readDockerConfig(site.get("dockerConfig"), beside, findings),
    dockerConfigAt: site.get("dockerConfig")?.place,
    trustedTokenHosts: readTexts(site.get("trustedTokenHosts"), findings),
    link: readLink(site.get("link"), findings),
  };
}

function mapText(text: string | undefined, change: (text: string) => string): string | undefined {
  return text === undefined ? undefined : change(text);
}

function readTexts(node: Node | undefined, findings: Findings): readonly string[] {
  return readList(node, findings).flatMap((item) => readText(item, findings) ?? []);
}

function readPlatform(node: Node | undefined, findings: Findings): Platform | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  try {
    return parsePlatform(text);
  } catch {
    findings.fault(
      node.place,
      "platform-invalid",
      `Cannot read platform ${quoted(text)}: expected os/architecture or os/architecture/variant`,
      'Write it like "linux/amd64" or "linux/arm/v7"',
    );
    return undefined;
  }
}

function readCredential(
  node: Node,
  index: number,
  beside: (path: string) => string,
  files: InputFiles,
  findings: Findings,
): DeclaredRegistry | undefined {
  if (readMap(node, findings) === undefined) return undefined;
  reportUnknownKeys(node, CREDENTIAL_KEYS, findings, "fault");
  const registryNode = node.get("registry");
  const registry = readText(registryNode, findings);
  if (registryNode === undefined || registry === undefined) {
    const remedy = "Set registry to host, host:port or host/path";
    findings.fault(
      node.place,
      "registry-without-domain",
      "Cannot use the credential: it has no registry",
      remedy,
    );
    return undefined;
  }
  const location = readLocation(registryNode, registry, findings);
  const username = readText(node.get("username"), findings);
  const password = readPasswordFile(node.get("passwordFile"), beside, files, findings);
  const certificates = readCertificateFile(node.get("caFile"), beside, files, findings);
  if (location === undefined) return undefined;
  warnIncomplete(node.get("username"), node.get("passwordFile"), findings);
  return {
    origin: `site:credentials[${index}]`,
    location,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    maskedAt: undefined,
    insecure: readBoolean(node.get("insecure"), false, findings),
    certificates,
    place: registryNode.place,
  };
}

/** The first line of the file, so that editors may end it as they like. */
function readPasswordFile(
  node: Node | undefined,
  beside: (path: string) => string,
  files: InputFiles,
  findings: Findings,
): Secret | undefined {
  const path = readText(node, findings);
  if (node === undefined || path === undefined) return undefined;
  const source = readTextFile(files, beside(path), findings, { namedAt: node.place });
  const text = source?.text.replace(/\r?\n[\s\S]*$/, "");
  if (text !== "") return text === undefined ? undefined : new Secret(text);
  const remedy = "Write the password on its first line";
  findings.fault(
    node.place,
    "password-file-empty",
    `Cannot use the password file ${quoted(path)}: it is empty`,
    remedy,
  );
  return undefined;
}

function readCertificateFile(
  node: Node | undefined,
  beside: (path: string) => string,
  files: InputFiles,
  findings: Findings,
): readonly string[] {
  const path = readText(node, findings);
  if (node === undefined || path === undefined) return [];
  const source = readTextFile(files, beside(path), findings, { namedAt: node.place });
  if (source === undefined) return [];
  const certificates = parsePem(source.text);
  if (certificates !== undefined) return certificates;
  findings.fault(
    node.place,
    "certificate-unreadable",
    `Cannot read the certificates in ${quoted(path)}: it is no PEM, expected -----BEGIN CERTIFICATE-----`,
    "Give a file with one or more PEM certificates; convert DER with: openssl x509 -inform der",
  );
  return [];
}

function readExtraImage(node: Node, findings: Findings): readonly PlacedReference[] {
  const text = readText(node, findings);
  return text === undefined ? [] : readPlacedReference(text, node.place, findings);
}

/** A reference outside of any pack, where no template is filled in. */
export function readPlacedReference(
  text: string,
  place: Place,
  findings: Findings,
): readonly PlacedReference[] {
  const reference = readReference(text);
  if ("domain" in reference) return [{ reference, place }];
  findings.fault(
    { ...place, column: place.column + reference.offset },
    "reference-invalid",
    `Cannot read image reference ${quoted(withoutSecrets(text))}: ${reference.message}`,
    'Write it like "quay.io/team/app:1.2.3" or "quay.io/team/app@sha256:…"',
  );
  return [];
}

function readLocalRegistry(
  node: Node | undefined,
  findings: Findings,
): SiteLocalRegistry | undefined {
  if (node === undefined || readMap(node, findings) === undefined) return undefined;
  reportUnknownKeys(node, LOCAL_KEYS, findings, "fault");
  const kind = readChoice(node.get("kind"), LOCAL_KINDS, findings);
  const addressNode = node.get("address");
  const address = readText(addressNode, findings);
  const location =
    addressNode === undefined || address === undefined
      ? undefined
      : readLocation(addressNode, address, findings);
  if (location !== undefined && location.path !== "") {
    findings.fault(
      addressNode?.place ?? node.place,
      "registry-invalid",
      `Cannot use ${quoted(formatLocation(location))} as the local registry's address: it has a path, expected host:port`,
      `Move ${quoted(location.path)} to localRegistry.project`,
    );
  }
  return {
    kind,
    address: location,
    project: readText(node.get("project"), findings),
    place: node.get("kind")?.place ?? node.place,
  };
}

/** Host and port, as `--listen` of the embedded registry takes them. */
const LISTEN =
  /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):(?:[0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/;

function readListen(node: Node | undefined, findings: Findings): string {
  reportUnknownKeys(readMap(node, findings), ["listen"], findings, "fault");
  const listenNode = node?.get("listen");
  const listen = readText(listenNode, findings);
  if (listenNode === undefined || listen === undefined) return DEFAULT_SITE.listen;
  if (LISTEN.test(listen)) return listen;
  findings.fault(
    listenNode.place,
    "listen-invalid",
    `Cannot listen on ${quoted(listen)}: expected host:port`,
    'Write it like "127.0.0.1:5055" or "[::1]:5055"',
  );
  return DEFAULT_SITE.listen;
}

function readRuntime(node: Node | undefined, findings: Findings): Site["runtime"] {
  reportUnknownKeys(readMap(node, findings), ["kind", "socket", "configDir"], findings, "fault");
  return readChoice(node?.get("kind"), RUNTIME_KINDS, findings);
}

function readDockerConfig(
  node: Node | undefined,
  beside: (path: string) => string,
  findings: Findings,
): boolean | string {
  if (node?.boolean !== undefined) return node.boolean;
  const path = readText(node, findings);
  return path === undefined ? false : beside(path);
}
