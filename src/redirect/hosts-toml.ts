import { stringify } from "smol-toml";
import { Findings, quoted } from "#base";
import {
  type Endpoint,
  endpointUrl,
  isLoopback,
  type Mirror,
  type NodeCredential,
} from "./endpoint.ts";
import { insertMarked, removeMarked } from "./marked.ts";
import { isSameData } from "./same-data.ts";
import { parseToml, type TomlStatement, type TomlTable, tomlStatements } from "./toml-text.ts";

/** What a person has already where containerd looks for the mirrors of a host. */
export interface HostFolder {
  /** Text of its `hosts.toml`; undefined when there is none. */
  readonly hostsToml?: string;
  /** Names of the other files in it: certificates, in Docker's pattern. */
  readonly files: readonly string[];
}

/** What a new hosts.toml must take over, because it takes the place of it. */
export interface Replaced {
  /** The folder of the host itself, which may hold certificates and no hosts.toml. */
  readonly own?: HostFolder;
  /** The folder `_default`, which containerd reads for hosts without a folder. */
  readonly fallback?: HostFolder;
}

/** How long a node tries to reach an endpoint that may not be up yet; containerd's own is 30 s. */
const DIAL_TIMEOUT = "5s";

/**
 * Merges a mirror into a hosts.toml: ours come before the tables of the person, for containerd tries
 * them in the order of the file, and after the keys that belong to no table. What the person wrote, and
 * `server`, stays as it is.
 *
 * @param file its name, for findings
 * @param authorityPath where a file of certificates lies, as hosts.toml is to name it
 * @returns undefined, with faults, when the file can't be merged into
 */
export function mergeHostsToml(
  text: string | undefined,
  mirror: Mirror,
  context: {
    readonly file: string;
    readonly authorityPath: (name: string) => string;
    readonly replaced?: Replaced;
  },
  findings: Findings,
): string | undefined {
  const theirs = removeMarked(text ?? "", context.file, findings);
  if (theirs === undefined) return undefined;
  const table = parseToml(theirs, context.file, findings);
  if (table === undefined) return undefined;
  const endpoints = withoutTheirs(mirror, { theirs, table }, context.file, findings);
  const isNew = theirs.trim() === "";
  const lines = [
    ...(isNew ? topKeys(mirror.host, context.replaced ?? {}) : []),
    ...endpoints.flatMap((endpoint) => endpointLines(endpoint, context.authorityPath)),
    ...(isNew ? fallbackTables(context.replaced ?? {}) : []),
  ];
  const offset = insertionOffset(theirs);
  const merged = insertMarked(theirs, [{ offset, form: "lines", indent: "", lines }]);
  // What we made must be read as we meant it, whatever the person wrote around it.
  if (isMerged(merged, table, lines)) return merged;
  reportUnmergeable(theirs, context.file, findings);
  return undefined;
}

/** Whether a merged file says what the person's said, and what our lines say. */
function isMerged(merged: string, theirs: TomlTable, lines: readonly string[]): boolean {
  const after = parseToml(merged, "", new Findings());
  const ours = parseToml(lines.join("\n"), "", new Findings());
  if (after === undefined || ours === undefined) return false;
  const host = { ...tableOf(ours["host"]), ...tableOf(theirs["host"]) };
  const hasHost = "host" in ours || "host" in theirs;
  return isSameData(after, { ...ours, ...theirs, ...(hasHost ? { host } : {}) });
}

/** The one way in which sound TOML takes no table of ours: `host` is there, and closed to others. */
function reportUnmergeable(text: string, file: string, findings: Findings): void {
  const host = tomlStatements(text).find(({ key }) => key[0] === "host");
  findings.fault(
    { file, line: lineOf(text, host), column: 1, path: "host" },
    "redirect-unmergeable",
    `Cannot add mirrors to ${quoted(file)}: host is written in a way that takes no more tables`,
    'Write each mirror as a table of its own: [host."https://…"]',
  );
}

function lineOf(text: string, statement: TomlStatement | undefined): number {
  return text.slice(0, statement?.start ?? 0).split("\n").length;
}

/** A table that the person has already can't be there twice; theirs stays. */
function withoutTheirs(
  { endpoints }: Mirror,
  { theirs, table }: { readonly theirs: string; readonly table: TomlTable },
  file: string,
  findings: Findings,
): readonly Endpoint[] {
  const hosts = tableOf(table["host"]);
  return endpoints.filter((endpoint) => {
    const url = endpointUrl(endpoint);
    if (hosts[url] === undefined) return true;
    const there = tomlStatements(theirs).find(({ key }) => key.includes(url));
    findings.warn(
      { file, line: lineOf(theirs, there), column: 1, path: `host.${url}` },
      "redirect-already-there",
      `${quoted(url)} is in the file already, so that table stays as it is, in its place`,
      "Remove the table to have it written by dray redirect",
    );
    return false;
  });
}

/** Before the first table, and before the comment that stands right over it. */
function insertionOffset(text: string): number {
  const statements = tomlStatements(text);
  const first = statements.findIndex(({ kind }) => kind === "header");
  const header = statements[first];
  if (header === undefined) return text.length;
  // The last line of a text in three quotes may look like a comment.
  const floor = statements[first - 1]?.end ?? 0;
  let offset = text.lastIndexOf("\n", header.start) + 1;
  for (;;) {
    const above = text.lastIndexOf("\n", offset - 2) + 1;
    const isComment = above >= floor && /^[ \t]*#/.test(text.slice(above, offset));
    if (offset === 0 || !isComment) return offset;
    offset = above;
  }
}

/**
 * The keys over all tables in a file that is new: they are those of the host itself, which stays the
 * last resort. For loopback containerd's own rules are better than any key: plain http, unverified.
 */
function topKeys(host: string, replaced: Replaced): readonly string[] {
  const server = host === "docker.io" ? "https://registry-1.docker.io" : `https://${host}`;
  const { host: _, ...inherited } = defaultTable(replaced);
  const top: TomlTable = {
    ...(isLoopback(host) ? {} : { server }),
    ...inherited,
    ...dockerCertificates(replaced.own),
  };
  return Object.keys(top).length === 0 ? [] : [...stringifyLines(top), ""];
}

/** What containerd does with the certificates of a folder without hosts.toml, as keys. */
function dockerCertificates({ files }: HostFolder = NO_FOLDER): TomlTable {
  const ca = files.filter((name) => name.endsWith(".crt")).sort();
  const client = files
    .filter((name) => name.endsWith(".cert"))
    .sort()
    .map((name) => {
      const key = name.replace(/\.cert$/, ".key");
      return [name, files.includes(key) ? key : ""];
    });
  return { ...(ca.length > 0 ? { ca } : {}), ...(client.length > 0 ? { client } : {}) };
}

const NO_FOLDER: HostFolder = { files: [] };

/** A folder that holds nothing of a person's counts for none: it may be one that was made for us. */
function hasCertificates(own: HostFolder | undefined): boolean {
  return Object.keys(dockerCertificates(own)).length > 0;
}

/** A folder of a host's own hides `_default` from it, so what that says is said again, after ours. */
function fallbackTables(replaced: Replaced): readonly string[] {
  const { host } = defaultTable(replaced);
  if (host === undefined) return [];
  const note = "# From _default/hosts.toml, which no longer holds for this host";
  return ["", note, ...stringifyLines({ host })];
}

/** The `_default` that held until now, its paths as seen from a folder beside it. */
function defaultTable({ own, fallback }: Replaced): TomlTable {
  if (fallback?.hostsToml === undefined || hasCertificates(own)) return {};
  const findings = new Findings();
  const theirs = removeMarked(fallback.hostsToml, "_default/hosts.toml", findings);
  // A broken one holds for nobody, so there is nothing to take over.
  const table = theirs === undefined ? undefined : parseToml(theirs, "", findings);
  return table === undefined ? {} : movePaths(table);
}

function movePaths(table: TomlTable): TomlTable {
  const moved: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(table)) {
    if (key === "ca" || key === "client") moved[key] = movePath(value);
    else if (key === "host") {
      moved[key] = Object.fromEntries(
        Object.entries(tableOf(value)).map(([url, host]) => [url, movePaths(tableOf(host))]),
      );
    } else moved[key] = value;
  }
  return moved;
}

function movePath(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(movePath);
  return typeof value !== "string" || value === "" || value.startsWith("/")
    ? value
    : `../_default/${value}`;
}

function stringifyLines(table: TomlTable): readonly string[] {
  return stringify(table).trimEnd().split("\n");
}

/** A value as a table; whatever is none has nothing in it. */
export function tableOf(value: unknown): TomlTable {
  const isTable = typeof value === "object" && value !== null && !Array.isArray(value);
  return isTable ? (value as TomlTable) : {};
}

const ROLE_NOTES = {
  local: "# The site's local registry, for application images",
  embedded: "# The site's embedded registry, which has every image of the profile",
  external: "# The external registry of the user data",
} as const;

function endpointLines(
  endpoint: Endpoint,
  authorityPath: (name: string) => string,
): readonly string[] {
  const { role, prefix, authority, skipVerify, credential } = endpoint;
  const key = `host.${tomlString(endpointUrl(endpoint))}`;
  return [
    ROLE_NOTES[role],
    `[${key}]`,
    '  capabilities = ["pull", "resolve"]',
    ...(prefix === "" ? [] : ["  override_path = true"]),
    ...(authority === undefined ? [] : [`  ca = ${tomlString(authorityPath(authority.name))}`]),
    ...(skipVerify ? ["  skip_verify = true"] : []),
    `  dial_timeout = "${DIAL_TIMEOUT}"`,
    ...(credential === undefined
      ? []
      : [`  [${key}.header]`, `    Authorization = ${tomlString(basicAuthorization(credential))}`]),
  ];
}

/** JSON's strings are basic strings of TOML, but for the control character that JSON leaves as it is. */
function tomlString(text: string): string {
  return JSON.stringify(text).replaceAll("\u007f", "\\u007f");
}

/** The header that proves a name and password to a registry, and to the token service it names. */
export function basicAuthorization({ username, password }: NodeCredential): string {
  const bytes = new TextEncoder().encode(`${username}:${password.reveal()}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}
