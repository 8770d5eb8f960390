import { type Findings, type Place, quoted } from "#base";
import { type LinkSettings, UNLIMITED_LINK } from "#link";
import { type Platform, parsePlatform } from "#oci";
import { readReference } from "#reference";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import { folderOf, type InputFiles, joinPath } from "./input-files.ts";
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
import { type NamedFiles, readCertificateFile, readPasswordFile } from "./secret-files.ts";
import { withoutSecrets } from "./sensitive.ts";
import { DEFAULT_SITE_AGENT, readSiteAgent, type SiteAgent } from "./site-agent.ts";
import { readSiteFetcher, type SiteFetcher } from "./site-fetcher.ts";
import {
  DEFAULT_LOCAL_SETTINGS,
  type LocalRegistrySettings,
  readLocalRegistry,
  readLocalSettings,
  type SiteLocalRegistry,
} from "./site-local-registry.ts";
import { DEFAULT_SITE_PROVIDER, readSiteProvider, type SiteProvider } from "./site-provider.ts";
import { DEFAULT_SITE_REGISTRY, readSiteRegistry, type SiteRegistry } from "./site-registry.ts";
import type { TextSource } from "./text-source.ts";

/** The default name of the project that application images are uploaded to, as in Palette. */
export const DEFAULT_PROJECT = "spectro-images";

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
  /** Whether signatures and whatever else belongs to images comes along. */
  readonly attachments: boolean;
  readonly localRegistry: SiteLocalRegistry | undefined;
  readonly localSettings: LocalRegistrySettings;
  readonly provider: SiteProvider;
  /** Where the embedded registry listens: host:port, as in {@link Site.registry}. */
  readonly listen: string;
  readonly registry: SiteRegistry;
  readonly agent: SiteAgent;
  /** Undefined where the file says nothing. */
  readonly runtime: "none" | "containerd" | "k3s" | "rke2" | undefined;
  /** Where the runtime takes requests; undefined: where it does by default. */
  readonly runtimeSocket: string | undefined;
  /** Where the runtime looks for mirrors; undefined: where it does by default. */
  readonly runtimeConfigDir: string | undefined;
  /** Whether Docker's configuration file may be asked for credentials, or which file. */
  readonly dockerConfig: boolean | string;
  /** Where {@link Site.dockerConfig} is written; undefined where it is not. */
  readonly dockerConfigAt: Place | undefined;
  /** Hosts beside the registry's own that may be sent its credentials to get a token. */
  readonly trustedTokenHosts: readonly string[];
  /** What the uplink may be used for: caps, windows, quota. */
  readonly link: LinkSettings;
  /** Who uses the uplink in this host's place; undefined: this host does. */
  readonly fetcher: SiteFetcher | undefined;
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
  attachments: true,
  localRegistry: undefined,
  localSettings: DEFAULT_LOCAL_SETTINGS,
  provider: DEFAULT_SITE_PROVIDER,
  listen: DEFAULT_SITE_REGISTRY.listen,
  registry: DEFAULT_SITE_REGISTRY,
  agent: DEFAULT_SITE_AGENT,
  runtime: undefined,
  runtimeSocket: undefined,
  runtimeConfigDir: undefined,
  dockerConfig: false,
  dockerConfigAt: undefined,
  trustedTokenHosts: [],
  link: UNLIMITED_LINK,
  fetcher: undefined,
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
  "attachments",
  "localRegistry",
  "provider",
  "registry",
  "agent",
  "runtime",
  "link",
  "dockerConfig",
  "trustedTokenHosts",
] as const;
const CREDENTIAL_KEYS = ["registry", "username", "passwordFile", "caFile", "insecure"] as const;
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
  const named = { files, beside };
  const registry = readSiteRegistry(site.get("registry"), named, findings);
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
      return readCredential(node, i, named, findings) ?? [];
    }),
    extraImages: readList(site.get("extraImages"), findings).flatMap((node) =>
      readExtraImage(node, findings),
    ),
    attachments: readBoolean(site.get("attachments"), DEFAULT_SITE.attachments, findings),
    localRegistry: readLocalRegistry(site.get("localRegistry"), named, findings),
    localSettings: readLocalSettings(site.get("localRegistry"), named, findings),
    provider: readSiteProvider(site.get("provider"), beside, findings),
    listen: registry.listen,
    registry,
    agent: readSiteAgent(site.get("agent"), named, findings),
    runtime: readRuntime(site.get("runtime"), findings),
    runtimeSocket: mapText(readText(site.get("runtime")?.get("socket"), findings), beside),
    runtimeConfigDir: mapText(readText(site.get("runtime")?.get("configDir"), findings), beside),
    dockerConfig: readDockerConfig(site.get("dockerConfig"), beside, findings),
    dockerConfigAt: site.get("dockerConfig")?.place,
    trustedTokenHosts: readTexts(site.get("trustedTokenHosts"), findings),
    link: readLink(site.get("link"), findings),
    fetcher: readSiteFetcher(
      site.get("link")?.get("fetcher"),
      { project: DEFAULT_PROJECT, own: registry.listen },
      named,
      findings,
    ),
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
  named: NamedFiles,
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
  const password = readPasswordFile(node.get("passwordFile"), named, findings);
  const certificates = readCertificateFile(node.get("caFile"), named, findings);
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

function readExtraImage(node: Node, findings: Findings): readonly PlacedReference[] {
  const text = readText(node, findings);
  if (text === undefined) return [];
  const start = node.text?.indexOf(text) ?? 0;
  return readPlacedReference(text, node.place, findings, (offset) =>
    node.placeWithin(start + offset),
  );
}

/**
 * A reference outside of any pack, where no template is filled in.
 *
 * @param placeAt where a character of the text stands; by default as many columns behind its place
 */
export function readPlacedReference(
  text: string,
  place: Place,
  findings: Findings,
  placeAt: (offset: number) => Place = (offset) => ({ ...place, column: place.column + offset }),
): readonly PlacedReference[] {
  const reference = readReference(text);
  if ("domain" in reference) return [{ reference, place }];
  findings.fault(
    placeAt(reference.offset),
    "reference-invalid",
    `Cannot read image reference ${quoted(withoutSecrets(text))}: ${reference.message}`,
    'Write it like "quay.io/team/app:1.2.3" or "quay.io/team/app@sha256:…"',
  );
  return [];
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
