import { Failure, printable } from "#base";
import { hostOf, isAddress, isLocalAddress } from "./address.ts";
import type { Locality } from "./locality.ts";
import { cannot, type Errand } from "./network-failure.ts";

/** What decides whether a token service may be asked. */
export interface RealmRules extends Errand {
  /** The registry as it is spoken to: scheme, host, port. */
  readonly registry: URL;
  /** Hosts, with or without port, that a person declared to be good. */
  readonly trustedTokenHosts: readonly string[];
  readonly locality: Locality;
  /** Whether a credential goes along. An anonymous request gives nothing away. */
  readonly hasCredential: boolean;
}

/**
 * Reads the realm of a Bearer challenge and tells whether it is safe to ask there (C-21, SEC-2): the
 * challenge is the word of whoever answered, and the credential goes where it points.
 *
 * Always needed: https (http only for a registry that is itself spoken to over http), no user in the
 * URL, and no way from a public registry into a local network. A credential goes only to the
 * registry's own host, to its registrable domain, to the address it has itself (a Harbor that is
 * reached by IP and names itself in its realm), or to a host that was declared good.
 *
 * @throws {Failure} `token-realm-refused`
 */
export async function safeRealm(realm: string, rules: RealmRules): Promise<URL> {
  const { registry, locality } = rules;
  if (!URL.canParse(realm, registry.href)) throw refused(rules, "its realm is no URL");
  const url = new URL(realm, registry.href);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && registry.protocol === "http:")) {
    throw refused(rules, `its realm is not https but ${printable(url.protocol, 20)}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw refused(rules, "its realm carries a user name");
  }
  if (hostOf(url) === hostOf(registry) || isDeclared(url, rules)) return url;
  if (await locality.isLinkLocal(url)) {
    throw refused(rules, `its realm ${realmHost(url)} is a link-local address`);
  }
  if ((await locality.isLocal(url)) && !(await locality.isLocal(registry))) {
    throw refused(rules, `its realm ${realmHost(url)} lies in a local network`);
  }
  if (!rules.hasCredential || isSameDomain(url, registry)) return url;
  if (await haveCommonAddress(url, registry, locality)) return url;
  throw refused(rules, `its realm is at the foreign host ${realmHost(url)}`, url);
}

function isDeclared(url: URL, { trustedTokenHosts }: RealmRules): boolean {
  const declared = trustedTokenHosts.map((host) => host.toLowerCase());
  return declared.includes(hostOf(url)) || declared.includes(url.host);
}

/** Public addresses that were found by name prove nothing: strangers share those of a CDN. */
async function haveCommonAddress(realm: URL, registry: URL, locality: Locality): Promise<boolean> {
  const [ofRealm, ofRegistry] = await Promise.all([
    locality.addresses(realm),
    locality.addresses(registry),
  ]);
  const own = isAddress(hostOf(registry)) ? ofRegistry : ofRegistry.filter(isLocalAddress);
  return own.some((address) => ofRealm.includes(address));
}

function isSameDomain(a: URL, b: URL): boolean {
  const [hostA, hostB] = [hostOf(a), hostOf(b)];
  if (isAddress(hostA) || isAddress(hostB)) return false;
  const domain = registrableDomain(hostA);
  return domain !== undefined && domain === registrableDomain(hostB);
}

/** Second levels of country domains under which strangers register (co.uk, com.au). */
const COUNTRY_SECOND_LEVEL =
  /^(?:ac|co|com|edu|gob|gov|go|gouv|ltd|mil|ne|net|nom|or|org|plc|sch)$/;

/** Domains that hosting companies share out to strangers; the registries among them matter here. */
const SHARED_DOMAINS: ReadonlySet<string> = new Set([
  "amazonaws.com",
  "azurecr.io",
  "azurewebsites.net",
  "cloudfront.net",
  "github.io",
  "gitlab.io",
  "pkg.dev",
  "run.app",
]);

/**
 * The part of a host name that one owner registered: the last two labels, three where the last two
 * are shared. The whole public suffix list would be more exact and grow old in an offline site.
 */
function registrableDomain(host: string): string | undefined {
  const labels = host.split(".");
  const [second = "", top = ""] = labels.slice(-2);
  const isCountry = top.length === 2 && COUNTRY_SECOND_LEVEL.test(second);
  const count = isCountry || SHARED_DOMAINS.has(`${second}.${top}`) ? 3 : 2;
  return labels.length < count ? undefined : labels.slice(-count).join(".");
}

function realmHost(url: URL): string {
  return printable(url.host, 120);
}

function refused(rules: RealmRules, why: string, declarable?: URL): Failure {
  return new Failure({
    code: "token-realm-refused",
    message: `${cannot(rules)}: ${rules.registry.host} sends us elsewhere for a token, and ${why}, expected a token service that belongs to the registry`,
    hint:
      declarable === undefined
        ? "Tell the operator of the registry: its WWW-Authenticate header names a token service that is not safe to ask"
        : `If ${realmHost(declarable)} is the registry's token service, add it to \`trustedTokenHosts\` in the site file; no credential was sent`,
  });
}
