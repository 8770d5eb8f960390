import type { Secret } from "#base";

/** Programs that pull images on a node and can be told of mirrors. */
export type RuntimeKind = "containerd" | "k3s" | "rke2";

/** What a node proves to a registry that it pulls from. */
export interface NodeCredential {
  readonly username: string;
  readonly password: Secret;
}

/** How nodes talk to a registry: with what credential, trusting whom. */
export interface NodeAccess {
  readonly credential?: NodeCredential;
  /** PEM certificates of authorities that are trusted beside the system's. */
  readonly certificates: readonly string[];
  /** https without verification, then plain http. */
  readonly insecure: boolean;
}

/** A registry that asks for nothing and that the node's system trusts. */
export const OPEN_ACCESS: NodeAccess = { certificates: [], insecure: false };

/** The part that a registry plays for the runtime. */
export type EndpointRole = "local" | "embedded" | "external";

/** One address that a runtime tries for the images of a host. */
export interface Endpoint {
  readonly role: EndpointRole;
  /** `https://10.0.0.5:30003`, without a path. */
  readonly origin: string;
  /** Path of the registry that stands before the image's own: `spectro-images/quay.io`, or empty. */
  readonly prefix: string;
  readonly skipVerify: boolean;
  readonly credential?: NodeCredential;
  readonly authority?: Authority;
}

/** Certificates in a file of their own, for runtimes take them from files alone. */
export interface Authority {
  /** Name of the file: `local-ca.pem`. */
  readonly name: string;
  readonly pem: string;
}

/** Where the images of one host are asked for, before the host itself. */
export interface Mirror {
  /** The host as references have it: `docker.io`, `registry.example.com:5000`. */
  readonly host: string;
  /** In the order of trial. */
  readonly endpoints: readonly Endpoint[];
  /** Regular expressions of repository names and what replaces them; k3s and RKE2 alone know these. */
  readonly rewrites: readonly (readonly [pattern: string, replacement: string])[];
}

/** An endpoint's URL as a runtime's file has it; a path in front replaces `/v2` and so begins with it. */
export function endpointUrl({ origin, prefix }: Endpoint): string {
  return prefix === "" ? origin : `${origin}/v2/${prefix}`;
}

/**
 * An endpoint as k3s and RKE2 understand it: without a scheme it is https, or http for a port of
 * loopback; a path of its own is kept.
 */
export function normalEndpoint(endpoint: string): {
  readonly origin: string;
  readonly path: string;
} {
  const bare = endpoint.replace(/^https?:\/\//, "");
  const [, host = bare, rawPath = ""] = /^([^/]*)(.*)$/.exec(bare) ?? [];
  const path = rawPath.replace(/\/+$/, "");
  const isPlain = isLoopback(host) && /:\d+$/.test(host) && !host.endsWith(":443");
  const scheme = /^(https?):\/\//.exec(endpoint)?.[1] ?? (isPlain ? "http" : "https");
  const real = host === "docker.io" ? "registry-1.docker.io" : host;
  return { origin: `${scheme}://${real}`, path: path === "" ? "/v2" : path };
}

/** Whether an address is this machine alone, where plain http is no risk. */
export function isLoopback(address: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(address);
}
