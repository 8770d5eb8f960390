import { type Finding, Findings, type Place, Secret } from "#base";
import type { Node } from "./document.ts";
import type { Pack } from "./pack.ts";
import { readText } from "./reader.ts";
import { TemplateScope, type TemplateValues } from "./scope.ts";
import { decodeBase64, isMasked, parsePem } from "./sensitive.ts";

/**
 * Who may push to the local registry, as the values of its packs say. What is wrong with it counts only
 * where it is needed: the site file may say it better, or switch the local registry off.
 */
export interface PackedCredential {
  /** `pack:NAME`, in the plan's words. */
  readonly origin: string;
  readonly username: string | undefined;
  /**
   * - `given`: the values say it
   * - `fixed`: the registry itself does; Harbor's administrator is `admin`
   * - `assumed`: nobody does, and this is the usual one
   */
  readonly userIs: "given" | "fixed" | "assumed";
  readonly password: Secret | undefined;
  readonly place: Place;
  /** A mask or a template that can't be filled in, where the password should be. */
  readonly faults: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** A place in the values of a pack where a password may be, and whose it is. */
interface Spelling {
  readonly pack: string;
  readonly password: readonly string[];
  /** Where the user may be; by default there is no such place. */
  readonly users?: readonly (readonly string[])[];
  readonly fallback: { readonly username: string; readonly userIs: "fixed" | "assumed" };
}

const HARBOR_ADMIN = { username: "admin", userIs: "fixed" } as const;

/** No document names the user of the Zot pack; `admin` is what Zot's own chart and guides begin with. */
const ZOT_ADMIN = { username: "admin", userIs: "assumed" } as const;

/** The first that gives a password wins; of the two spellings for Zot the newer one. */
const SPELLINGS: readonly Spelling[] = [
  {
    pack: "harbor",
    password: ["charts", "harbor", "harborAdminPassword"],
    fallback: HARBOR_ADMIN,
  },
  {
    pack: "harbor-edge-native-config",
    password: ["harbor-config", "auth", "password"],
    fallback: HARBOR_ADMIN,
  },
  {
    pack: "zot",
    password: ["charts", "zot", "registry", "password"],
    users: [
      ["charts", "zot", "registry", "username"],
      ["charts", "zot", "registry", "user"],
    ],
    fallback: ZOT_ADMIN,
  },
  {
    pack: "zot",
    password: ["charts", "zot", "registryPassword"],
    users: [
      ["charts", "zot", "registryUsername"],
      ["charts", "zot", "registryUser"],
    ],
    fallback: ZOT_ADMIN,
  },
];

const CONNECT_PATH = [
  ...["charts", "registry-connect", "config", "registry", "inClusterRegistry", "credentials"],
] as const;
const USER_KEYS = ["username", "user"] as const;

/** What one spelling, or registry-connect's own, says. */
interface Candidate extends Omit<PackedCredential, "warnings"> {
  /** The key that gives the password, for messages. */
  readonly key: string;
}

/**
 * The credential that the packs of a local registry declare together: registry-connect's own, which is
 * what Palette's agent logs in with, else the password that the registry's pack is installed with.
 */
export function readPackedCredential(
  packs: readonly Pack[],
  values: TemplateValues,
): PackedCredential | undefined {
  const fallback = SPELLINGS.find(({ pack }) => packs.some(({ name }) => name === pack))?.fallback;
  const connects = packs
    .filter(({ name }) => name === "registry-connect")
    .map((pack) => readConnect(pack, fallback, values));
  const installed = SPELLINGS.flatMap((spelling) => {
    const owner = packs.find(({ name }) => name === spelling.pack);
    return owner === undefined ? [] : [readSpelling(owner, spelling, values)];
  });
  const candidates = [...connects.flatMap(({ candidate }) => candidate ?? []), ...installed];
  const chosen =
    candidates.find(({ password, faults }) => password !== undefined && faults.length === 0) ??
    candidates.find(({ faults }) => faults.length > 0) ??
    candidates[0];
  const unread = connects.flatMap(({ warnings }) => warnings);
  if (chosen === undefined) return unread[0] && unreadCredential(unread[0], unread);
  const { key: _, ...credential } = chosen;
  return { ...credential, warnings: [...unread, ...conflicts(chosen, candidates)] };
}

function readSpelling(
  { name, place, wholeValues }: Pack,
  { password, users = [], fallback }: Spelling,
  values: TemplateValues,
): Candidate {
  const root = wholeValues();
  const found = new Findings();
  const passwordNode = root?.at(...password);
  const userNode = users.map((path) => root?.at(...path)).find(isWritten);
  const username = readSecretText(userNode, values, found);
  return {
    origin: `pack:${name}`,
    key: password.join("."),
    ...(username === undefined ? fallback : { username, userIs: "given" }),
    password: toSecret(readSecretText(passwordNode, values, found)),
    place: passwordNode?.place ?? place,
    faults: found.faults,
  };
}

/** What registry-connect says: a credential, or why there is none although something is written. */
interface Connect {
  readonly candidate: Candidate | undefined;
  readonly warnings: readonly Finding[];
}

/**
 * No document shows the keys inside of registry-connect's `credentials`. Taken are those of the user
 * data (`username`, `password`) and of the OS pack (`user`), as they are or one mapping further in, as
 * `basicAuth:` or as one entry for each project; and a warning where something else is written.
 */
function readConnect(
  { name, wholeValues }: Pack,
  fallback: Spelling["fallback"] | undefined,
  values: TemplateValues,
): Connect {
  const node = wholeValues()?.at(...CONNECT_PATH);
  const homes = [node, ...(node?.entries ?? []).map(({ value }) => value)];
  const home =
    homes.find((candidate) => isWritten(candidate?.get("password"))) ??
    homes.find((candidate) => USER_KEYS.some((key) => isWritten(candidate?.get(key))));
  if (node === undefined || home === undefined) return unreadConnect(node);
  const found = new Findings();
  const userNode = USER_KEYS.map((key) => home.get(key)).find(isWritten);
  const username = readSecretText(userNode, values, found);
  const passwordNode = home.get("password");
  const key = [...CONNECT_PATH, "password"].join(".");
  const candidate: Candidate = {
    origin: `pack:${name}`,
    key,
    ...(username === undefined
      ? (fallback ?? { username: undefined, userIs: "given" })
      : { username, userIs: "given" }),
    password: toSecret(readSecretText(passwordNode, values, found)),
    place: passwordNode?.place ?? home.place,
    faults: found.faults,
  };
  return { candidate, warnings: [] };
}

function unreadConnect(node: Node | undefined): Connect {
  const warnings = new Findings();
  if (node !== undefined && (isWritten(node) || node.entries.length > 0 || node.items.length > 0)) {
    warnings.warn(
      node.place,
      "credential-unread",
      "registry-connect's credentials hold no user and password that can be read here, so they are not used",
      `Write username and password there, or ${SITE_REMEDY}`,
    );
  }
  return { candidate: undefined, warnings: warnings.warnings };
}

/** Nothing to log in with, and the reason why. */
function unreadCredential(place: Place, warnings: readonly Finding[]): PackedCredential {
  const nothing = { username: undefined, userIs: "fixed", password: undefined } as const;
  return { origin: "pack:registry-connect", ...nothing, place, faults: [], warnings };
}

/** Of two passwords for one user nobody can tell which one the registry was installed with. */
function conflicts(chosen: Candidate, candidates: readonly Candidate[]): readonly Finding[] {
  const findings = new Findings();
  for (const other of candidates) {
    const isSameUser = other.username === chosen.username || other.username === undefined;
    if (other === chosen || !isSameUser || other.password === undefined) continue;
    if (other.faults.length > 0 || other.password.reveal() === chosen.password?.reveal()) continue;
    findings.warn(
      other.place,
      "local-password-conflict",
      `${chosen.key} and ${other.key} give the local registry different passwords, and that of ${chosen.key} is taken`,
      `Keep one of the two, or ${SITE_REMEDY}`,
    );
  }
  return findings.warnings;
}

const SITE_REMEDY = "give it in the site file: localRegistry: {username: …, passwordFile: …}";

function isWritten(node: Node | undefined): boolean {
  return node?.text !== undefined && node.text.trim() !== "";
}

function toSecret(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}

/** A text with its templates filled in; what it can't be is a fault, with the site file as the way out. */
function readSecretText(
  node: Node | undefined,
  values: TemplateValues,
  faults: Findings,
): string | undefined {
  const found = new Findings();
  if (node === undefined || readText(node, found) === undefined) return retell(found, faults);
  const text = new TemplateScope(values, found).resolveSecret(node)?.trim();
  if (found.hasFaults || text === undefined || text === "") return retell(found, faults);
  if (!isMasked(text)) return text;
  faults.fault(
    node.place,
    "secret-masked",
    "The credential of the local registry is masked, as exports leave it",
    `To use it, ${SITE_REMEDY}`,
  );
  return undefined;
}

function retell(found: Findings, faults: Findings): undefined {
  for (const { code, message, remedy, ...place } of found.faults)
    faults.fault(place, code, message, `${remedy}; or ${SITE_REMEDY}`);
  return undefined;
}

/** Certificates of the local registry that a pack gives. */
export interface PackedCertificates {
  /** PEM. */
  readonly certificates: readonly string[];
  /** Where something is written that holds no certificate; else undefined. */
  readonly unreadAt: Place | undefined;
}

/**
 * `harbor-config.auth.certs`: a certificate with its key, as one text or several, in PEM or its base64.
 * Only certificates are taken out of it. Where it is empty, Harbor makes one that nobody knows here.
 */
export function readPackedCertificates(
  packs: readonly Pack[],
  values: TemplateValues,
): PackedCertificates {
  const pack = packs.find(({ name }) => name === "harbor-edge-native-config");
  const node = pack?.wholeValues()?.at("harbor-config", "auth", "certs");
  const texts = leavesOf(node).flatMap((leaf) => {
    return new TemplateScope(values, new Findings()).resolveSecret(leaf) ?? [];
  });
  const certificates = texts.flatMap(
    (text) => parsePem(text) ?? parsePem(decodeBase64(text) ?? ""),
  );
  const pem = certificates.filter((certificate) => certificate !== undefined);
  const isEmpty = leavesOf(node).length === 0;
  return { certificates: pem, unreadAt: isEmpty || pem.length > 0 ? undefined : node?.place };
}

/** How deep texts are looked for: a mapping of lists, and no further. */
const LEAF_DEPTH_MAX = 3;

function leavesOf(node: Node | undefined, depth = 0): readonly Node[] {
  if (node === undefined || depth > LEAF_DEPTH_MAX) return [];
  if (node.kind === "scalar") return isWritten(node) ? [node] : [];
  const children = [...node.entries.map(({ value }) => value), ...node.items];
  return children.flatMap((child) => leavesOf(child, depth + 1));
}
