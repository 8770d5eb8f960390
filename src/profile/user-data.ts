import { type Findings, type Place, quoted } from "#base";
import { formatLocation } from "#reference";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import { type MappingRule, readMappingRules } from "./mapping-rule.ts";
import {
  readBoolean,
  readDocument,
  readList,
  readMap,
  readText,
  reportUnknownKeys,
} from "./reader.ts";
import { decodeBase64, readCertificates, type SensitiveText, sensitive } from "./sensitive.ts";
import type { TextSource } from "./text-source.ts";

/** Proxies of the host, from `stylus.site.network`. They may hold a password: never print them. */
export interface ProxyAddresses {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/** What a host's user data says about registries. */
export interface UserData {
  /** External registries in the order of the file; empty when there is none. */
  readonly externals: readonly DeclaredRegistry[];
  readonly mappingRules: readonly MappingRule[];
  readonly proxy: ProxyAddresses;
  /** `stylus.site.caCerts`, PEM: the host trusts them everywhere. */
  readonly caCertificates: readonly string[];
  /** Where `stylus.imageRedirectWebhook.enable` is set to false; undefined where redirection is on. */
  readonly redirectOffAt: Place | undefined;
}

/** What holds for a host without user data. */
export const NO_USER_DATA: UserData = {
  externals: [],
  mappingRules: [],
  proxy: {},
  caCertificates: [],
  redirectOffAt: undefined,
};

const STYLUS_KEYS = [
  "registryCredentials",
  "externalRegistries",
  "imageRedirectWebhook",
  "site",
  "managementMode",
  "installationMode",
  "enableMultiNode",
  "path",
  "imageOverride",
  "featureGate",
  "localUI",
  "debug",
  "trace",
] as const;
const SITE_KEYS = [
  "paletteEndpoint",
  "edgeHostToken",
  "projectUid",
  "projectName",
  "name",
  "hostName",
  "tags",
  "network",
  "caCerts",
  "insecureSkipVerify",
] as const;
const NETWORK_KEYS = ["httpProxy", "httpsProxy", "noProxy", "nameserver", "interfaces"] as const;
const REGISTRY_KEYS = [
  "domain",
  "username",
  "password",
  "encodedPassword",
  "insecure",
  "certificates",
  "repositoryName",
] as const;

/** Reads a `#cloud-config` file: `stylus.registryCredentials` or `stylus.externalRegistries`, and what goes with them. */
export function readUserData(source: TextSource, findings: Findings): UserData {
  if (!/^\uFEFF?(?:(?:#[^\n]*)?[^\S\n]*\n)*?#cloud-config[^\S\n]*(?:\n|$)/.test(source.text)) {
    findings.warn(
      source.place(0, ""),
      "cloud-config-missing",
      "The first line is not #cloud-config, so the host would not read this file",
      "Write #cloud-config as the first line",
    );
  }
  const top = readMap(readDocument(source, findings), findings);
  if (top === undefined) return NO_USER_DATA;
  reportUnknownKeys(top, ["stylus"], findings);
  const stylus = readMap(top.get("stylus"), findings);
  reportUnknownKeys(stylus, STYLUS_KEYS, findings);
  const webhook = readMap(stylus?.get("imageRedirectWebhook"), findings);
  reportUnknownKeys(webhook, ["enable", "port"], findings, "warning");
  const isRedirected = readBoolean(webhook?.get("enable"), true, findings);
  return {
    ...readRegistries(top, stylus, findings),
    ...readSite(stylus, findings),
    redirectOffAt: isRedirected ? undefined : webhook?.get("enable")?.declaredAt,
  };
}

function readRegistries(
  top: Node,
  stylus: Node | undefined,
  findings: Findings,
): Pick<UserData, "externals" | "mappingRules"> {
  const single = pick("registryCredentials", top, stylus, findings);
  const several = pick("externalRegistries", top, stylus, findings);
  const looseRules = pick(
    "registryMappingRules",
    top,
    stylus,
    findings,
    "stylus.externalRegistries",
  );
  if (single !== undefined && several !== undefined) reportTwoSources(single, several, findings);
  const known = ["registries", "registryMappingRules"];
  reportUnknownKeys(readMap(several, findings), known, findings, "warning");
  const listed = readList(several?.get("registries"), findings).map((node, i) =>
    readRegistry(node, `user-data:externalRegistries[${i}]`, findings),
  );
  warnDomainTwice(listed, findings);
  const alone =
    single === undefined ? [] : [readRegistry(single, "user-data:registryCredentials", findings)];
  return {
    externals: [...alone, ...listed].filter((registry) => registry !== undefined),
    mappingRules: [
      ...readMappingRules(several?.get("registryMappingRules"), findings),
      ...readMappingRules(looseRules, findings),
    ],
  };
}

/** Of two entries for one place only the first is ever asked. */
function warnDomainTwice(
  listed: readonly (DeclaredRegistry | undefined)[],
  findings: Findings,
): void {
  const seen = new Map<string, DeclaredRegistry>();
  for (const registry of listed.filter((entry) => entry !== undefined)) {
    const domain = formatLocation(registry.location);
    const first = seen.get(domain);
    if (first === undefined) seen.set(domain, registry);
    else {
      findings.warn(
        registry.place,
        "external-registry-repeated",
        `External registry ${quoted(domain)} is listed twice, and the first entry holds (line ${first.place.line})`,
        "Keep one of the two entries",
      );
    }
  }
}

/** Takes a key from where it belongs, or from beside it, where Palette's own samples slip. */
function pick(
  key: string,
  top: Node,
  stylus: Node | undefined,
  findings: Findings,
  home = "stylus",
): Node | undefined {
  const placed = home === "stylus" ? present(stylus?.get(key)) : undefined;
  const slipped =
    present(top.get(key)) ?? (home === "stylus" ? undefined : present(stylus?.get(key)));
  if (slipped !== undefined) {
    findings.warn(
      slipped.place,
      "key-misplaced",
      `"${key}" stands at "${slipped.path}", where the host would not look; it is read all the same`,
      `Move it below ${home}:`,
    );
  }
  if (placed !== undefined && slipped !== undefined) reportTwoSources(placed, slipped, findings);
  return placed ?? slipped;
}

/**
 * Palette's template writes out every field, empty: what says nothing counts as not there. The key of
 * a mapping rule does say something.
 */
function present(node: Node | undefined): Node | undefined {
  return node === undefined || isBlank(node) ? undefined : node;
}

function isBlank(node: Node): boolean {
  const { text } = node;
  if (text !== undefined) return text.trim() === "" || node.boolean !== undefined;
  const isField = (key: string) => !/[.:/]/.test(key);
  return (
    node.entries.every(({ key, value }) => isField(key) && isBlank(value)) &&
    node.items.every(isBlank)
  );
}

function reportTwoSources(first: Node, second: Node, findings: Findings): void {
  findings.fault(
    second.place,
    "external-registry-twice",
    `Cannot tell which external registry holds: "${first.path}" (line ${first.place.line}) and "${second.path}" are both there`,
    "Keep registryCredentials for one registry, or externalRegistries for several; not both",
  );
}

function readRegistry(
  node: Node,
  origin: string,
  findings: Findings,
): DeclaredRegistry | undefined {
  if (readMap(node, findings) === undefined) return undefined;
  reportUnknownKeys(node, REGISTRY_KEYS, findings, "warning");
  const domainNode = node.get("domain");
  const domain = readText(domainNode, findings);
  const username = readText(node.get("username"), findings);
  const password = readPassword(node, findings);
  if (domain === undefined || domainNode === undefined) {
    reportMissingDomain(node, findings);
    return undefined;
  }
  const location = readLocation(domainNode, domain, findings);
  if (location === undefined) return undefined;
  warnIncomplete(node.get("username"), node.get("password"), findings);
  return {
    origin,
    location,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: password.secret }),
    maskedAt: password?.isMasked === true ? node.get("password")?.place : undefined,
    insecure: readBoolean(node.get("insecure"), false, findings),
    certificates: readCertificates(node.get("certificates"), findings),
    place: domainNode.place,
  };
}

function readPassword(node: Node, findings: Findings): SensitiveText | undefined {
  const passwordNode = node.get("password");
  const isEncoded = readBoolean(node.get("encodedPassword"), false, findings);
  if (passwordNode === undefined || readText(passwordNode, findings) === undefined)
    return undefined;
  // Blanks may belong to a password; the line break that ends a block of text does not.
  const text = (passwordNode.text ?? "").replace(/\r?\n$/, "");
  const plain = sensitive(text);
  if (!isEncoded || plain.isMasked) return plain;
  const decoded = decodeBase64(text);
  if (decoded !== undefined) return sensitive(decoded.replace(/\r?\n$/, ""));
  findings.fault(
    passwordNode.place,
    "base64-invalid",
    "Cannot decode the password: encodedPassword is true, but the password is not base64",
    "Encode the password with base64, or set encodedPassword: false",
  );
  return undefined;
}

/** A blank entry is no registry; one without a domain but with a user is a fault. */
function reportMissingDomain(node: Node, findings: Findings): void {
  if (isBlank(node)) return;
  findings.fault(
    node.place,
    "registry-without-domain",
    "Cannot use the external registry: it has no domain",
    "Set domain to the registry's host, host:port or host/path",
  );
}

/** `http://proxy:3128`, with https or a user too, or `proxy:3128`. It may hold a password, so it is not shown. */
function judgeProxy(node: Node | undefined, text: string, findings: Findings): void {
  const url = text.includes("://") ? text : `http://${text}`;
  if (node === undefined || (/^https?:/i.test(url) && URL.canParse(url))) return;
  findings.fault(
    node.place,
    "proxy-invalid",
    "Cannot use the proxy: it is no address, expected http://host:port or host:port",
    'Write it like "http://proxy.example.com:3128"; encode special characters of a password with %',
  );
}

function readSite(
  stylus: Node | undefined,
  findings: Findings,
): Pick<UserData, "proxy" | "caCertificates"> {
  const site = readMap(stylus?.get("site"), findings);
  reportUnknownKeys(site, SITE_KEYS, findings);
  const network = readMap(site?.get("network"), findings);
  reportUnknownKeys(network, NETWORK_KEYS, findings);
  const [httpProxy, httpsProxy, noProxy] = ["httpProxy", "httpsProxy", "noProxy"].map((key) => {
    return readText(network?.get(key), findings);
  });
  if (httpProxy !== undefined) judgeProxy(network?.get("httpProxy"), httpProxy, findings);
  if (httpsProxy !== undefined) judgeProxy(network?.get("httpsProxy"), httpsProxy, findings);
  return {
    proxy: {
      ...(httpProxy === undefined ? {} : { httpProxy }),
      ...(httpsProxy === undefined ? {} : { httpsProxy }),
      ...(noProxy === undefined ? {} : { noProxy }),
    },
    caCertificates: readCertificates(site?.get("caCerts"), findings),
  };
}
