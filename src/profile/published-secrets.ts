import { Findings, type Place, quoted } from "#base";
import { type Node, parseDocuments } from "./document.ts";
import { decodeText } from "./input-files.ts";
import { isMasked } from "./sensitive.ts";
import { fileSource, type TextSource } from "./text-source.ts";

/** A file that is about to be shown to others. */
export interface PublishedFile {
  /** What messages call it. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Reports every secret that stands in files which many will be able to read: passwords and tokens by their
 * keys, values of Secrets, private keys, addresses with a password in them; in packs' values, manifests
 * and variables too. Each is a fault with its place and what to do instead; the secret is in none of them.
 *
 * A mask, an empty value and a template are none: what a template stands for is given on the site.
 */
export function reportSecrets(files: readonly PublishedFile[], findings: Findings): void {
  for (const { name, bytes } of files) {
    const text = decodeText(bytes);
    if (text === undefined) continue;
    const source = fileSource(name, text);
    const report: Report = (place, what, remedy) =>
      findings.fault(
        place,
        "secret-published",
        `Cannot publish ${what}: whoever may pull the artifact could read it`,
        remedy,
      );
    reportKeysIn(source, report);
    reportInDocuments(source, report);
  }
}

type Report = (place: Place, what: string, remedy: string) => void;

const CREDENTIALS_REMEDY =
  "Take it out, and give it on the site: below credentials: of the site file, with passwordFile";
const LOCAL_REMEDY =
  "Take it out, and give it on the site: localRegistry.passwordFile of the site file";
const USER_DATA_REMEDY =
  "Leave it in a user data file on the host, named by userData: of the site file";
const VARIABLE_REMEDY =
  "Write a profile variable in its place ({{.spectro.var.NAME}}), which each site is given with --var or --vars";
const KEY_REMEDY = "Take it out: a private key belongs on one machine; put the file on the site";

const PRIVATE_KEY = /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/g;

/** `-----BEGIN`, as base64 has it; what follows says whether it is a key. */
const ENCODED_PEM = /LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,80}/g;

/** They are what they are wherever they stand, also in a comment or a text that is no YAML. */
function reportKeysIn({ text, place }: TextSource, report: Report): void {
  const encoded = [...text.matchAll(ENCODED_PEM)].filter(([found]) =>
    atob(found.slice(0, found.length - (found.length % 4))).includes("PRIVATE KEY"),
  );
  for (const { index } of [...text.matchAll(PRIVATE_KEY), ...encoded]) {
    report(place(index, ""), "a private key", KEY_REMEDY);
  }
}

/** What is broken is for others to tell; here all is looked at that can be. */
function reportInDocuments(source: TextSource, report: Report): void {
  for (const root of parseDocuments(source, new Findings(), () => "warning")) {
    visit(root, [], report);
  }
}

/** @param keys from the root of the outermost document */
function visit(node: Node, keys: readonly string[], report: Report): void {
  visitText(node, keys, report);
  for (const item of node.items) visit(item, keys, report);
  const isSecret = node.get("kind")?.text === "Secret" && node.get("metadata") !== undefined;
  if (isSecret) reportSecretObject(node, report);
  reportNamedValue(node, report);
  for (const { key, value } of node.entries) {
    if (isSecret && (key === "data" || key === "stringData")) continue;
    const path = [...keys, key];
    if (isSecretKey(key) && isLiteral(value)) {
      report(value.place, `the value of ${quoted(key, 60)}`, remedyFor(path));
    } else visit(value, path, report);
  }
}

const WORDS =
  /(?:password|passwd|passphrase|accesstoken|authtoken|bearertoken|apitoken|hosttoken|refreshtoken|identitytoken|apikey|clientsecret|secretaccesskey|privatekey|dockerconfigjson)$/;

function isSecretKey(key: string): boolean {
  const word = key.toLowerCase().replace(/[^a-z]/g, "");
  return word === "token" || word === "pwd" || WORDS.test(word);
}

/** Something that is written out, and no flag (`encodedPassword: true`). */
function isLiteral(value: Node): boolean {
  const text = value.kind === "scalar" ? (value.text ?? "").trim() : "";
  return text !== "" && value.boolean === undefined && !isMasked(text) && !isFilledIn(text);
}

/** A template of Palette or a chart, or a variable of a shell or of Kubernetes. */
function isFilledIn(text: string): boolean {
  return /\{\{|\$\{|\$\(|^\$[A-Za-z_]+$/.test(text);
}

function remedyFor(keys: readonly string[]): string {
  const has = (...names: readonly string[]) => names.some((name) => keys.includes(name));
  if (has("providerCredentials", "registryCredentials", "externalRegistries")) {
    return CREDENTIALS_REMEDY;
  }
  if (has("harborAdminPassword", "harbor-config", "inClusterRegistry", "registryPassword")) {
    return LOCAL_REMEDY;
  }
  return has("stylus", "users", "chpasswd") ? USER_DATA_REMEDY : VARIABLE_REMEDY;
}

/** Of a registry Secret the address and the user are none; of all others everything is. */
function reportSecretObject(secret: Node, report: Report): void {
  const isRegistry = secret.at("metadata", "labels", "spectrocloud.com/registry")?.boolean === true;
  const open = isRegistry ? ["url", "username", "name", "type"] : [];
  const name = quoted(secret.at("metadata", "name")?.text ?? "unnamed", 60);
  for (const home of ["data", "stringData"]) {
    for (const { key, value } of secret.get(home)?.entries ?? []) {
      if (open.includes(key) || !isLiteral(value)) continue;
      report(
        value.place,
        `${quoted(key, 60)} of the Secret ${name}`,
        isRegistry || /dockerconfigjson$/.test(key) ? CREDENTIALS_REMEDY : VARIABLE_REMEDY,
      );
    }
  }
}

/** `{name: DB_PASSWORD, value: …}` as containers have it, and a sensitive variable of a profile. */
function reportNamedValue(node: Node, report: Report): void {
  const name = node.get("name")?.text;
  if (name === undefined) return;
  const value = node.get("value");
  if (value !== undefined && isSecretKey(name) && isLiteral(value)) {
    report(value.place, `the value of ${quoted(name, 60)}`, VARIABLE_REMEDY);
  }
  const fallback = node.get("defaultValue");
  const isSensitive = node.get("isSensitive")?.boolean === true || isSecretKey(name);
  if (fallback !== undefined && isSensitive && isLiteral(fallback)) {
    report(
      fallback.place,
      `the default of the variable ${quoted(name, 60)}`,
      "Leave defaultValue out; each site is given the variable with --var or --vars",
    );
  }
}

const ADDRESS = /[a-z][a-z0-9+.-]*:\/\/[^\s/:@"'{}$]*:(?<password>[^\s/@"'{}$]+)@/gi;

function visitText(node: Node, keys: readonly string[], report: Report): void {
  const { text } = node;
  if (text === undefined) return;
  // A text of several lines that has keys in it is YAML in YAML: values of a pack, a manifest.
  const embedded = /^[ \t-]*["']?[\w.-]+["']?[ \t]*:/m.test(text) ? node.embedded() : undefined;
  if (embedded !== undefined && text.includes("\n")) {
    for (const root of parseDocuments(embedded, new Findings(), () => "warning")) {
      if (root.kind !== "scalar") visit(root, keys, report);
      else reportAddresses(root, report);
    }
  } else reportAddresses(node, report);
}

function reportAddresses(node: Node, report: Report): void {
  for (const { index, groups } of (node.text ?? "").matchAll(ADDRESS)) {
    if (isMasked(groups?.["password"] ?? "")) continue;
    report(node.placeWithin(index), "an address with a password in it", USER_DATA_REMEDY);
  }
}
