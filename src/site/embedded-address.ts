import { Failure, quoted } from "#base";
import type { Site } from "#profile";
import { isLoopback, type MirrorOptions, type NodeCredential, OPEN_ACCESS } from "#redirect";
import { dialled } from "./dialled.ts";

/** What somebody says of the embedded registry in place of the site file. */
export interface NamedEmbedded {
  /** URL, or `host:port`, as nodes dial it. */
  readonly address?: string | undefined;
  /** Authorities by which nodes know it, PEM. */
  readonly certificates?: readonly string[] | undefined;
  readonly credential?: NodeCredential | undefined;
}

/**
 * The embedded registry as nodes dial it, by what the site file says of how it is served. Without TLS it
 * is reached from this machine alone (SEC-16), and then by plain http.
 *
 * @throws {Failure} `usage` when the address that was named is none
 */
export function embeddedAsServed(
  { registry }: Pick<Site, "registry">,
  named: NamedEmbedded = {},
): MirrorOptions["embedded"] {
  const { listen, address = listen, tls } = registry;
  const { certificates = registry.certificates, credential = registry.nodes } = named;
  const [scheme, given] = named.address === undefined ? [undefined, address] : parse(named.address);
  const host = dialled(given);
  const isPlain = scheme === undefined ? tls === undefined && isLoopback(host) : scheme === "http";
  return {
    origin: `${isPlain && certificates.length === 0 ? "http" : "https"}://${host}`,
    access: { ...OPEN_ACCESS, certificates, ...(credential === undefined ? {} : { credential }) },
  };
}

function parse(text: string): readonly [scheme: string | undefined, address: string] {
  const [, scheme, address] = /^(?:(https?):\/\/)?([^/\s@?#]+)\/?$/.exec(text) ?? [];
  if (address !== undefined) return [scheme, address];
  throw new Failure({
    code: "usage",
    message: `Cannot use --embedded ${quoted(text)}: expected https://host:port or host:port`,
    hint: 'Write it like "--embedded https://10.0.0.5:5055"',
  });
}
