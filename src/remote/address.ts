import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

/**
 * IPv4 networks that are not the public Internet: this host, loopback, link-local (cloud metadata
 * lives there), private, and carrier-grade NAT, which overlay networks use as private.
 */
const LOCAL_NETWORKS_V4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const;

/** Unspecified, loopback, unique local, link-local and the withdrawn site-local. */
const LOCAL_NETWORKS_V6 = [
  ["::", 128],
  ["::1", 128],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
] as const;

const LOCAL = networks(LOCAL_NETWORKS_V4, LOCAL_NETWORKS_V6);

/** Addresses where no registry and no token service ever is, but clouds keep credentials of the machine. */
const LINK_LOCAL = networks(
  [
    ["0.0.0.0", 8],
    ["169.254.0.0", 16],
  ],
  [
    ["::", 128],
    ["fe80::", 10],
  ],
);

type Network = readonly [address: string, prefix: number];

/**
 * An IPv4 address also hides in IPv6: mapped (which BlockList sees through by itself), compatible
 * (`::a.b.c.d`), translated (64:ff9b::/96, RFC 6052) and 6to4 (2002::/16).
 */
function networks(v4: readonly Network[], v6: readonly Network[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of v6) list.addSubnet(network, prefix, "ipv6");
  for (const [network, prefix] of v4) {
    list.addSubnet(network, prefix, "ipv4");
    list.addSubnet(`::${network}`, 96 + prefix, "ipv6");
    list.addSubnet(`64:ff9b::${network}`, 96 + prefix, "ipv6");
    const [a = 0, b = 0, c = 0, d = 0] = network.split(".").map(Number);
    const hex = (high: number, low: number) => ((high << 8) | low).toString(16);
    list.addSubnet(`2002:${hex(a, b)}:${hex(c, d)}::`, 16 + prefix, "ipv6");
  }
  return list;
}

const LOOPBACK = loopbackNetworks();

function loopbackNetworks(): BlockList {
  const list = new BlockList();
  list.addSubnet("127.0.0.0", 8, "ipv4");
  list.addAddress("::1", "ipv6");
  return list;
}

/**
 * The host of a URL as names and addresses are compared: no brackets, no final dot. The URL parser
 * has already brought every spelling of an IPv4 address (`0x7f.1`, `2130706433`) to dotted decimals.
 */
export function hostOf(url: URL): string {
  return url.hostname
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "")
    .toLowerCase();
}

/** Tells whether a host as {@link hostOf} gives it is a literal IP address. */
export function isAddress(host: string): boolean {
  return isIP(host) !== 0;
}

/** Tells whether an IP address is one that the public Internet does not route. */
export function isLocalAddress(address: string): boolean {
  return isIn(LOCAL, address);
}

/** Tells whether an IP address is unspecified or link-local, where cloud metadata lives. */
export function isLinkLocalAddress(address: string): boolean {
  return isIn(LINK_LOCAL, address);
}

/** Tells whether a host is this very machine: `localhost`, `*.localhost`, 127.0.0.0/8, `::1` (C-154). */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || isIn(LOOPBACK, host);
}

/** Tells whether an IP address lies in a list of networks; a name lies in none. */
export function isIn(networks: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && networks.check(address, version === 6 ? "ipv6" : "ipv4");
}

/** The addresses of a host by the system's resolver; none when it has none or there is no resolver. */
export async function dnsAddresses(host: string): Promise<readonly string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return [];
  }
}
