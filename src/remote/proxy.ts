import { BlockList, isIP } from "node:net";
import { Failure } from "#base";
import { hostOf, isAddress, isIn, isLoopbackHost } from "./address.ts";

/** Through what the outside is reached, in the words of the environment variables of the same names. */
export interface ProxySettings {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  /** Comma-separated: `*`, host, `.suffix`, `host:port`, IP address, CIDR. */
  readonly noProxy?: string;
}

/**
 * The proxy for a URL, or undefined for a direct connection (C-162). Loopback is never proxied: a
 * proxy has a loopback of its own.
 *
 * @throws {Failure} `proxy-invalid`; the text itself is not shown, because it may hold a password
 */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const text = (url.protocol === "https:" ? settings.httpsProxy : settings.httpProxy)?.trim();
  if (text === undefined || text === "") return undefined;
  if (isLoopbackHost(hostOf(url)) || isExempt(url, settings.noProxy ?? "")) return undefined;
  return parseProxy(text);
}

function parseProxy(text: string): URL {
  const withScheme = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text) ? text : `http://${text}`;
  const proxy = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (proxy !== undefined && /^https?:$/.test(proxy.protocol)) return proxy;
  throw new Failure({
    code: "proxy-invalid",
    message: "Cannot use the proxy: its address is not valid, expected http://host:port",
    hint: "Correct HTTPS_PROXY and HTTP_PROXY, or the proxy settings in the user data",
  });
}

function isExempt(url: URL, noProxy: string): boolean {
  const host = hostOf(url);
  const port = url.port === "" ? defaultPort(url) : url.port;
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => exempts(entry.toLowerCase(), host, port));
}

function defaultPort(url: URL): string {
  return url.protocol === "https:" ? "443" : "80";
}

function exempts(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const [, network, prefix] = /^([0-9a-f.:]+)\/([0-9]{1,3})$/.exec(entry) ?? [];
  if (network !== undefined) return isInNetwork(host, network, Number(prefix));
  const [, bracketed, named, entryPort] =
    /^(?:\[([0-9a-f.:]+)\]|([^:[\]]+))(?::([0-9]+))?$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  return matchesHost(bracketed ?? named ?? entry, host);
}

function isInNetwork(host: string, network: string, prefix: number): boolean {
  const version = isIP(network);
  if (version === 0 || prefix > (version === 6 ? 128 : 32)) return false;
  const list = new BlockList();
  list.addSubnet(network, prefix, version === 6 ? "ipv6" : "ipv4");
  return isIn(list, host);
}

/** `example.com` and `.example.com` both stand for the domain's hosts; only the former for itself too. */
function matchesHost(pattern: string, host: string): boolean {
  if (isAddress(pattern)) return isInNetwork(host, pattern, isIP(pattern) === 6 ? 128 : 32);
  const bare = pattern.replace(/^\*\./, ".").replace(/\.$/, "");
  if (bare.startsWith(".")) return host.endsWith(bare) && host.length > bare.length;
  return !isAddress(host) && (host === bare || host.endsWith(`.${bare}`));
}
