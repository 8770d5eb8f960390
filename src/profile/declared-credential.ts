import { type Findings, type Place, quoted, type Secret } from "#base";
import { type Location, tryParseLocation } from "#reference";
import type { Node } from "./document.ts";
import { withoutSecrets } from "./sensitive.ts";
import { isTemplate } from "./template.ts";

/** A registry as somebody declared it: where it is, who we are there, whom to trust. */
export interface DeclaredRegistry {
  /** Where it was declared, in the plan's words: `user-data:externalRegistries[1]`, `secret:reg-a`. */
  readonly origin: string;
  readonly location: Location;
  readonly username?: string;
  readonly password?: Secret;
  /** Where a mask stands for what was taken out when the profile was exported; else undefined. */
  readonly maskedAt: Place | undefined;
  readonly insecure: boolean;
  /** PEM. */
  readonly certificates: readonly string[];
  readonly place: Place;
}

/** Whether the declaration says who we are: a user or a password, even a masked one. */
export function isAuthenticated({ username, password }: DeclaredRegistry): boolean {
  return username !== undefined || password !== undefined;
}

/** Warns of a user without a password or the other way round: no registry lets half a credential in. */
export function warnIncomplete(
  username: Node | undefined,
  password: Node | undefined,
  findings: Findings,
): void {
  const isGiven = (node: Node | undefined) => (node?.text ?? "").trim() !== "";
  const given = isGiven(username) ? username : password;
  if (given === undefined || isGiven(username) === isGiven(password)) return;
  const [here, missing] = given === username ? ["user", "password"] : ["password", "user"];
  findings.warn(
    given.place,
    "credential-incomplete",
    `A ${here} is given without a ${missing}, so the registry will refuse the credential`,
    `Give the ${missing} too, or take the ${here} out to fetch without a credential`,
  );
}

/**
 * Reads the text of a node as a registry or a path in one; a fault when it is none. The `/v1/` or
 * `/v2/` of an API address, which docker login writes, is no path.
 */
export function readLocation(node: Node, text: string, findings: Findings): Location | undefined {
  const location = tryParseLocation(text.replace(/^([^/]*(?:\/\/[^/]+)?)\/v[12]\/?$/, "$1"));
  if (location !== undefined) return location;
  // What a template was filled with may be anything, also a password that went astray.
  const shown = isTemplate(node.text ?? "") ? (node.text ?? "") : text;
  findings.fault(
    node.place,
    "registry-invalid",
    `Cannot read ${quoted(withoutSecrets(shown))} as a registry: expected host, host:port or host/path`,
    'Write it like "registry.example.com:5000/team", without user, tag or digest',
  );
  return undefined;
}
