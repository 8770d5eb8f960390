import type { Finding, Findings, Place } from "#base";
import { type Access, ANONYMOUS, type Credential } from "#credential";
import {
  type ClusterInputs,
  type DeclaredRegistry,
  isAuthenticated,
  type PackedCredential,
  type PackedRegistry,
} from "#profile";
import { longestMatch, parseLocation } from "#reference";
import { type DockerCredentials, passwordCredential } from "./access.ts";
import type { PlanRegistries } from "./plan.ts";

type Local = NonNullable<PlanRegistries["local"]>;

/** A user, a password, or one of the two, and where they were written. */
interface Login {
  readonly origin: string;
  readonly username: string | undefined;
  readonly password: PackedCredential["password"];
  readonly place: Place;
  /** The user says nothing by itself: a registry's own administrator, or a guess. */
  readonly isUserImplied: boolean;
}

/**
 * Decides with which credential images are uploaded, and whom to trust: what the site file says below
 * localRegistry, else its `credentials`, else what the packs say, else Docker's configuration. What a
 * pack says is for the registry that the packs declare, and never sent to one of another kind.
 */
export function decideLocalAccess(
  { kind, address, project }: Pick<Local, "kind" | "address" | "project">,
  inputs: ClusterInputs,
  docker: DockerCredentials,
  findings: Findings,
): Access {
  if (kind === "embedded") {
    warnEmbeddedLogin(inputs, findings);
    return ANONYMOUS;
  }
  const written = inputs.site.localRegistry;
  const packed = isOfPacks(kind, inputs.packedRegistry) ? inputs.packedRegistry : undefined;
  const place = address === null ? undefined : parseLocation(`${address}/${project}`);
  const declared = place && longestMatch(inputs.site.credentials, place);
  const login = loginOf(inputs, declared, packed?.credential, findings);
  const ownTrust = [...(written?.certificates ?? []), ...(declared?.certificates ?? [])];
  const insecure = written?.insecure === true || declared?.insecure === true;
  const packedTrust = ownTrust.length > 0 || insecure ? [] : packed?.trust.certificates;
  if (ownTrust.length === 0 && !insecure) warnUnreadTrust(packed, findings);
  const certificates = [...ownTrust, ...(packedTrust ?? []), ...inputs.userData.caCertificates];
  const dockerCredential = login === undefined && place !== undefined ? docker(place) : undefined;
  return {
    ...credentialOf(login, dockerCredential),
    insecure,
    certificates: [...new Set(certificates)],
  };
}

function credentialOf(
  login: Login | undefined,
  docker: Credential | undefined,
): Pick<Access, "origin" | "credential"> {
  if (login !== undefined) return { origin: login.origin, credential: passwordCredential(login) };
  return docker === undefined ? { origin: null } : { origin: "docker-config", credential: docker };
}

/** Whether the registry of this kind is the one that the packs declare: registry-connect goes with any. */
function isOfPacks(kind: Local["kind"], packed: PackedRegistry | undefined): boolean {
  if (packed === undefined) return false;
  return kind === packed.kind || packed.packNames.every((name) => name === "registry-connect");
}

/** The site file may give one half of what a pack gives the other half of. */
function loginOf(
  { site }: ClusterInputs,
  declared: DeclaredRegistry | undefined,
  packed: PackedCredential | undefined,
  findings: Findings,
): Login | undefined {
  const { username, password, loginAt } = site.localRegistry ?? {};
  if (username === undefined && password === undefined) {
    if (declared !== undefined && isAuthenticated(declared)) {
      const { origin, place } = declared;
      return { origin, place, isUserImplied: false, ...halvesOf(declared) };
    }
  }
  const faults = password === undefined ? (packed?.faults ?? []) : [];
  for (const { code, message, remedy, ...place } of faults)
    findings.fault(place, code, message, remedy);
  if (password === undefined) tell(packed?.warnings ?? [], findings);
  const login: Login = {
    origin: password === undefined && packed !== undefined ? packed.origin : "site:localRegistry",
    username: username ?? packed?.username,
    password: password ?? packed?.password,
    place: loginAt ?? packed?.place ?? NOWHERE,
    isUserImplied: username === undefined && packed?.userIs !== "given",
  };
  if (faults.length > 0) return undefined;
  if (login.password === undefined && login.isUserImplied) return undefined;
  if (login.username === undefined && login.password === undefined) return undefined;
  warnHalf(login, findings);
  if (username === undefined && packed?.userIs === "assumed") warnAssumedUser(login, findings);
  return login;
}

const NOWHERE: Place = { file: "", line: 1, column: 1, path: "" };

function halvesOf({ username, password }: DeclaredRegistry): Pick<Login, "username" | "password"> {
  return { username, password };
}

/** Says what reading the packs found, now that it counts. */
export function tell(warnings: readonly Finding[], findings: Findings): void {
  for (const { code, message, remedy, ...place } of warnings)
    findings.warn(place, code, message, remedy);
}

function warnHalf({ username, password, place }: Login, findings: Findings): void {
  if (username !== undefined && password !== undefined) return;
  const [here, missing] = username === undefined ? ["password", "user"] : ["user", "password"];
  findings.warn(
    place,
    "credential-incomplete",
    `The local registry has a ${here} and no ${missing}, so it will refuse the credential`,
    "Give localRegistry.username and localRegistry.passwordFile in the site file",
  );
}

function warnAssumedUser({ username, place }: Login, findings: Findings): void {
  findings.warn(
    place,
    "local-user-assumed",
    `The pack gives a password for the local registry and no user, so ${username ?? ""} is assumed`,
    "Set localRegistry.username in the site file",
  );
}

function warnUnreadTrust(packed: PackedRegistry | undefined, findings: Findings): void {
  const at = packed?.trust.unreadAt;
  if (at === undefined) return;
  findings.warn(
    at,
    "certificate-unreadable",
    "No certificate can be read from harbor-config.auth.certs, so the local registry's may not be trusted",
    "Set localRegistry.caFile in the site file to the authority of its certificate",
  );
}

function warnEmbeddedLogin({ site }: ClusterInputs, findings: Findings): void {
  const at = site.localRegistry?.loginAt;
  if (at === undefined) return;
  findings.warn(
    at,
    "credential-unused",
    "localRegistry.username and passwordFile are not used: uploads to the embedded registry are names in its own store",
    "Take them out; who may pull from it is said by dray registry serve --htpasswd",
  );
}
