import { type Findings, type Place, quoted, type Secret } from "#base";
import { type Location, tryParseLocation } from "#reference";
import type { Node } from "./document.ts";
import { withoutSecrets } from "./sensitive.ts";

/** A registry as somebody declared it: where it is, who we are there, whom to trust. */
export interface DeclaredRegistry {
  /** Where it was declared, in the plan's words: `user-data:externalRegistries[1]`, `secret:reg-a`. */
  readonly origin: string;
  readonly location: Location;
  readonly username?: string;
  readonly password?: Secret;
  /** The password was masked when the profile was exported, and is not here. */
  readonly isMasked: boolean;
  readonly insecure: boolean;
  /** PEM. */
  readonly certificates: readonly string[];
  readonly place: Place;
}

/** Whether the declaration says who we are: a user or a password, even a masked one. */
export function isAuthenticated({ username, password }: DeclaredRegistry): boolean {
  return username !== undefined || password !== undefined;
}

/**
 * Reads the text of a node as a registry or a path in one; a fault when it is none. The `/v1/` or
 * `/v2/` of an API address, which docker login writes, is no path.
 */
export function readLocation(node: Node, text: string, findings: Findings): Location | undefined {
  const location = tryParseLocation(text.replace(/^([^/]*(?:\/\/[^/]+)?)\/v[12]\/?$/, "$1"));
  if (location !== undefined) return location;
  findings.fault(
    node.place,
    "registry-invalid",
    `Cannot read ${quoted(withoutSecrets(text))} as a registry: expected host, host:port or host/path`,
    'Write it like "registry.example.com:5000/team", without user, tag or digest',
  );
  return undefined;
}
