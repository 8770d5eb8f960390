import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml";
import { Findings, type Place, quoted } from "#base";
import { type Endpoint, endpointUrl, type Mirror, normalEndpoint } from "./endpoint.ts";
import { type Insertion, insertMarked, removeMarked, splitMark } from "./marked.ts";
import { isSameData } from "./same-data.ts";

/** A `registries.yaml` as k3s and RKE2 read it; what they don't know of it, we don't either. */
export interface RegistriesYaml {
  readonly mirrors: Readonly<Record<string, RegistriesMirror>>;
  readonly configs: Readonly<Record<string, unknown>>;
}

/** One entry of `mirrors`. */
export interface RegistriesMirror {
  readonly endpoint: readonly string[];
  readonly rewrite: Readonly<Record<string, string>>;
}

/**
 * Merges mirrors into a registries.yaml: our endpoints come before those of the person, for k3s tries
 * them in order. What the person wrote stays, byte for byte; ours stands between marks.
 *
 * @param authorityPath where a file of certificates lies, as the runtime finds it
 * @returns undefined, with faults, when the file can't be merged into
 */
export function mergeRegistriesYaml(
  text: string | undefined,
  mirrors: readonly Mirror[],
  context: { readonly file: string; readonly authorityPath: (name: string) => string },
  findings: Findings,
): string | undefined {
  const rest = removeMarked(text ?? "", context.file, findings);
  if (rest === undefined) return undefined;
  const [mark, theirs] = splitMark(rest);
  const file = openYaml(theirs, context.file, findings);
  if (file === undefined) return undefined;
  const before = readRegistries(file.json);
  const wanted = mirrors.flatMap((mirror) => wantedMirror(mirror, before, file, findings));
  const configs = configsOf(mirrors, wanted, before, context.authorityPath).filter(([host]) => {
    if (before.configs[host] === undefined) return true;
    warnOfConfig(host, file, findings);
    return false;
  });
  const insertions = [
    ...placeEntries(file, "mirrors", wanted, findings),
    ...placeEntries(file, "configs", configs, findings),
  ];
  if (findings.hasFaults) return undefined;
  const merged = insertMarked(theirs, insertions);
  const after = openYaml(merged, context.file, new Findings());
  if (after !== undefined && isMerged(after.json, file.json, wanted, configs)) {
    return mark + merged;
  }
  const section = file.root && (findPair(file.root, "mirrors") ?? findPair(file.root, "configs"));
  findings.fault(
    file.place(keyOffset(section)),
    "redirect-unmergeable",
    `Cannot merge mirrors into ${quoted(context.file)}: what came out would not mean what it should`,
    "Write mirrors and configs as plain indented mappings, without anchors, tags and document ends",
  );
  return undefined;
}

/** An entry of `mirrors` or `configs`: its key, and the value as plain data. */
type Entry = readonly [key: string, value: Readonly<Record<string, unknown>>];

interface YamlFile {
  readonly text: string;
  readonly root: YAMLMap.Parsed | undefined;
  readonly json: unknown;
  place(offset: number, path?: string): Place;
}

function openYaml(text: string, file: string, findings: Findings): YamlFile | undefined {
  const lines = new LineCounter();
  // k3s knows merge keys (`<<`), which YAML 1.2 left out.
  const document = parseDocument(text, { lineCounter: lines, version: "1.2", merge: true });
  const place = (offset: number, path = ""): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path };
  };
  const [error] = document.errors;
  const root = document.contents;
  if (error !== undefined || (root !== null && !isMap(root) && !isNull(root))) {
    findings.fault(
      place(error?.pos[0] ?? root?.range?.[0] ?? 0),
      "yaml-invalid",
      `Cannot read YAML: ${error === undefined ? "expected a mapping with mirrors and configs" : `it is broken here (${error.code})`}`,
      "Mend the file, or remove it; nothing was changed",
    );
    return undefined;
  }
  const broken = brokenAlias(document);
  const json = broken === undefined ? toJson(document) : undefined;
  if (json !== undefined) return { text, root: isMap(root) ? root : undefined, json, place };
  findings.fault(
    place(broken?.range?.[0] ?? 0),
    "yaml-invalid",
    broken === undefined
      ? "Cannot read YAML: its aliases stand for more than any configuration has"
      : "Cannot read YAML: the alias has no anchor of its name that ends before it",
    "Mend the file, or remove it; nothing was changed",
  );
  return undefined;
}

/** The first alias of nothing, or of something that it is a part of. */
function brokenAlias(document: Document.Parsed): Alias | undefined {
  const anchored = new Map<string, Node>();
  let broken: Alias | undefined;
  visit(document, {
    Node(_, node, path) {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchored.set(node.anchor, node);
        return undefined;
      }
      const target = anchored.get(node.source);
      if (target !== undefined && !path.includes(target)) return undefined;
      broken = node;
      return visit.BREAK;
    },
  });
  return broken;
}

/** Undefined for what the library takes for an attack: aliases of aliases, without end. */
function toJson(document: Document.Parsed): unknown {
  try {
    return document.toJS() ?? null;
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

function isNull(node: unknown): boolean {
  return isScalar(node) && node.value === null;
}

/** Reads a registries.yaml that a person may have written. Broken, it is a fault at its place. */
export function parseRegistriesYaml(
  text: string,
  file: string,
  findings: Findings,
): RegistriesYaml | undefined {
  const opened = openYaml(text, file, findings);
  return opened === undefined ? undefined : readRegistries(opened.json);
}

/** What k3s sees in the data of a file; entries of a wrong form are as good as none. */
function readRegistries(json: unknown): RegistriesYaml {
  const root = record(json);
  const mirrors = Object.entries(record(root["mirrors"])).map(([host, value]) => {
    const { endpoint, rewrite } = record(value);
    const endpoints = Array.isArray(endpoint) ? endpoint.filter(isText) : [];
    const rewrites = Object.entries(record(rewrite)).filter((pair) => isText(pair[1]));
    return [host, { endpoint: endpoints, rewrite: Object.fromEntries(rewrites) }] as const;
  });
  return {
    mirrors: Object.fromEntries(mirrors) as RegistriesYaml["mirrors"],
    configs: record(root["configs"]),
  };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  const isRecord = typeof value === "object" && value !== null && !Array.isArray(value);
  return isRecord ? (value as Readonly<Record<string, unknown>>) : {};
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/**
 * The entry of a host. An entry of its own hides `*`, so the endpoints of that are said again. A
 * rewrite holds for all endpoints of a host: ours and a person's can't stand beside each other.
 */
function wantedMirror(
  mirror: Mirror,
  { mirrors }: RegistriesYaml,
  file: YamlFile,
  findings: Findings,
): readonly Entry[] {
  const theirs = mirrors[mirror.host];
  const wildcard = theirs === undefined ? mirrors["*"] : undefined;
  const others = theirs ?? wildcard;
  const isRewritten = Object.keys(others?.rewrite ?? {}).length > 0;
  if (isRewritten || (mirror.rewrites.length > 0 && theirs !== undefined)) {
    reportRewrite(mirror.host, theirs === undefined ? "*" : mirror.host, file, findings);
    return [];
  }
  const known = new Set(theirs?.endpoint.map(normalUrl));
  const all = mirror.endpoints.map(endpointUrl);
  for (const url of all)
    if (known.has(normalUrl(url))) warnOfEndpoint(mirror.host, url, file, findings);
  const ours = all.filter((url) => !known.has(normalUrl(url)));
  const inherited = mirror.rewrites.length > 0 ? [] : (wildcard?.endpoint ?? []);
  const byUrl = new Map<string, string>();
  for (const url of [...ours, ...inherited]) {
    if (!byUrl.has(normalUrl(url))) byUrl.set(normalUrl(url), url);
  }
  const endpoint = [...byUrl.values()];
  if (endpoint.length === 0) return [];
  const rewrite = Object.fromEntries(mirror.rewrites);
  return [[mirror.host, { endpoint, ...(mirror.rewrites.length === 0 ? {} : { rewrite }) }]];
}

/**
 * What tells endpoints apart. One that stood there twice, in whatever words, would make some releases of
 * k3s write a file that containerd refuses (k3s-io/k3s#9693).
 */
function normalUrl(endpoint: string): string {
  const { origin, path } = normalEndpoint(endpoint);
  return origin + path;
}

function reportRewrite(host: string, key: string, file: YamlFile, findings: Findings): void {
  const node = file.root?.getIn(["mirrors", key], true) as { range?: [number] } | undefined;
  findings.fault(
    file.place(node?.range?.[0] ?? 0, `mirrors.${key}`),
    "redirect-rewrite-clash",
    `Cannot redirect ${host}: mirrors has an entry for ${quoted(key)}, and a rewrite holds for every endpoint of an entry`,
    `Remove the entry, or its rewrite, from the file: the site's registries have the images of ${host} by their own names`,
  );
}

function warnOfEndpoint(host: string, url: string, file: YamlFile, findings: Findings): void {
  const path = `mirrors.${host}.endpoint`;
  const node = file.root?.getIn(["mirrors", host, "endpoint"], true) as
    | { range?: [number] }
    | undefined;
  findings.warn(
    file.place(node?.range?.[0] ?? 0, path),
    "redirect-already-there",
    `${quoted(url)} is an endpoint of ${quoted(host)} already, so it stays in its place`,
    "Remove it to have it written by dray redirect, before the others",
  );
}

function warnOfConfig(host: string, file: YamlFile, findings: Findings): void {
  const node = file.root?.getIn(["configs", host], true) as { range?: [number] } | undefined;
  findings.warn(
    file.place(node?.range?.[0] ?? 0, `configs.${host}`),
    "redirect-already-there",
    `configs has an entry for ${quoted(host)} already, so that stays as it is`,
    "Remove the entry to have credentials and certificates written by dray redirect",
  );
}

/** How endpoints are talked to, by host and port: their credentials and authorities. */
function configsOf(
  mirrors: readonly Mirror[],
  wanted: readonly Entry[],
  before: RegistriesYaml,
  authorityPath: (name: string) => string,
): readonly Entry[] {
  const byHost = new Map<string, Readonly<Record<string, unknown>>>(inheritedTls(wanted, before));
  for (const endpoint of mirrors.flatMap(({ endpoints }) => endpoints)) {
    const host = endpoint.origin.replace(/^https?:\/\//, "");
    const config = { ...byHost.get(host), ...configOf(endpoint, authorityPath) };
    if (Object.keys(config).length > 0) byHost.set(host, config);
  }
  return [...byHost].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * An entry of `mirrors` hides from its host what `configs` says of `*` (k3s, pkg/agent/containerd/config.go:
 * `getHostConfigs`), so that is said again: it may be what trusts a proxy on the way to the host. A login
 * of `*` is not: containerd is given it by that name, which no host has.
 */
function inheritedTls(
  wanted: readonly Entry[],
  { mirrors, configs }: RegistriesYaml,
): readonly Entry[] {
  const { tls } = record(configs["*"]);
  if (Object.keys(record(tls)).length === 0) return [];
  return wanted.flatMap(([host]): readonly Entry[] => {
    const real = host === "docker.io" ? "registry-1.docker.io" : host;
    const isTold = [mirrors[host], configs[host], configs[real]].some((each) => each !== undefined);
    return isTold ? [] : [[host, { tls }]];
  });
}

function configOf(
  { credential, authority, skipVerify }: Endpoint,
  authorityPath: (name: string) => string,
): Readonly<Record<string, unknown>> {
  const tls = {
    ...(authority === undefined ? {} : { ca_file: authorityPath(authority.name) }),
    ...(skipVerify ? { insecure_skip_verify: true } : {}),
  };
  const auth = { username: credential?.username, password: credential?.password.reveal() };
  return {
    ...(credential === undefined ? {} : { auth }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  };
}

/** Where entries go: into the section if it is there, else with it to the end of the file. */
function placeEntries(
  file: YamlFile,
  section: "mirrors" | "configs",
  entries: readonly Entry[],
  findings: Findings,
): readonly Insertion[] {
  if (entries.length === 0) return [];
  const { root } = file;
  const pair = root === undefined ? undefined : findPair(root, section);
  if (pair === undefined) return [placeIn(file, root, [[section, Object.fromEntries(entries)]])];
  const map = pair.value;
  if (!isMap(map)) return placeUnder(file, pair, Object.fromEntries(entries), section, findings);
  const added = entries.filter(([key]) => findPair(map as YAMLMap.Parsed, key) === undefined);
  const extended = entries.flatMap(([key, value]) => {
    const theirs = findPair(map as YAMLMap.Parsed, key);
    return theirs === undefined ? [] : extendMirror(file, theirs, key, value, findings);
  });
  return added.length === 0
    ? extended
    : [...extended, placeIn(file, map as YAMLMap.Parsed, added, pair)];
}

/** Our endpoints before those of an entry that is there. */
function extendMirror(
  file: YamlFile,
  pair: Pair,
  host: string,
  { endpoint }: Readonly<Record<string, unknown>>,
  findings: Findings,
): readonly Insertion[] {
  const path = `mirrors.${host}`;
  if (!isMap(pair.value)) return placeUnder(file, pair, { endpoint }, path, findings);
  const map = pair.value as YAMLMap.Parsed;
  const list = findPair(map, "endpoint");
  if (list === undefined) return [placeIn(file, map, [["endpoint", endpoint]], pair)];
  const items = list.value;
  const urls = (endpoint as readonly string[]).map((url) => JSON.stringify(url));
  if (!isSeq(items)) return placeUnder(file, list, endpoint, `${path}.endpoint`, findings);
  const offset = (items as { range?: readonly number[] }).range?.[0] ?? 0;
  if (items.flow === true) {
    const indent = `${indentAt(file.text, keyOffset(pair))}    `;
    return [
      { offset: offset + 1, form: "flow", indent, lines: urls.map((url) => `${indent}${url},`) },
    ];
  }
  const indent = columnOf(file.text, offset);
  return [
    {
      ...{ offset: nextLine(file.text, keyOffset(list)), form: "lines", indent },
      lines: urls.map((url) => `${indent}- ${url}`),
    },
  ];
}

/** Entries at the beginning of a mapping; or at the end of the file, for the root and for none. */
function placeIn(
  { text, root }: YamlFile,
  map: YAMLMap.Parsed | undefined,
  entries: readonly (readonly [string, unknown])[],
  owner?: Pair,
): Insertion {
  if (map?.flow === true) {
    const indent = owner === undefined ? "  " : `${indentAt(text, keyOffset(owner))}    `;
    const lines = entries.map(
      ([key, value]) => `${indent}${JSON.stringify(key)}: ${JSON.stringify(value)},`,
    );
    return { offset: (map.range[0] ?? 0) + 1, form: "flow", indent, lines };
  }
  const indent = map === undefined ? "" : columnOf(text, keyOffset(map.items[0]));
  const lines = entries.flatMap(([key, value]) => blockLines(indent, key, value));
  const atEnd = owner === undefined || root === undefined;
  const offset = atEnd ? text.length : nextLine(text, keyOffset(owner));
  return { offset, form: "lines", indent, lines };
}

/** Below a key that has no value; one that has another value than it should is a fault. */
function placeUnder(
  file: YamlFile,
  pair: Pair,
  value: unknown,
  path: string,
  findings: Findings,
): readonly Insertion[] {
  const offset = keyOffset(pair);
  const source = isScalar(pair.value) ? (pair.value.source ?? "") : "";
  if ((pair.value === null || isNull(pair.value)) && source === "") {
    const indent = `${indentAt(file.text, offset)}  `;
    const entries: readonly string[] = Array.isArray(value)
      ? value.map((item) => `${indent}- ${JSON.stringify(item)}`)
      : Object.entries(record(value)).flatMap(([key, item]) => blockLines(indent, key, item));
    return [{ offset: nextLine(file.text, offset), form: "lines", indent, lines: entries }];
  }
  findings.fault(
    file.place(offset, path),
    "redirect-unmergeable",
    `Cannot add to ${quoted(path)}: it has a value of another kind`,
    "Write it as an indented mapping, or remove it",
  );
  return [];
}

function findPair(map: YAMLMap.Parsed, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function keyOffset(pair: Pair | undefined): number {
  const key = pair?.key as { readonly range?: readonly number[] } | undefined;
  return key?.range?.[0] ?? 0;
}

/** Blanks that begin the line of an offset. */
function indentAt(text: string, offset: number): string {
  const start = text.lastIndexOf("\n", offset - 1) + 1;
  return /^ */.exec(text.slice(start))?.[0] ?? "";
}

/** As many blanks as characters stand before an offset in its line. */
function columnOf(text: string, offset: number): string {
  return " ".repeat(offset - (text.lastIndexOf("\n", offset - 1) + 1));
}

function nextLine(text: string, offset: number): number {
  const at = text.indexOf("\n", offset);
  return at === -1 ? text.length : at + 1;
}

/** A key and its value in block form. JSON's scalars are YAML's, so nothing needs escaping but those. */
function blockLines(indent: string, key: string, value: unknown): readonly string[] {
  const name = `${indent}${/^[A-Za-z][A-Za-z0-9_.-]*$/.test(key) ? key : JSON.stringify(key)}:`;
  if (Array.isArray(value)) {
    return [name, ...value.map((item) => `${indent}  - ${JSON.stringify(item)}`)];
  }
  if (typeof value !== "object" || value === null) return [`${name} ${JSON.stringify(value)}`];
  return [
    name,
    ...Object.entries(value).flatMap(([inner, item]) => blockLines(`${indent}  `, inner, item)),
  ];
}

/** Whether a merged file says all that the person's said, with ours before it. */
function isMerged(
  after: unknown,
  before: unknown,
  mirrors: readonly Entry[],
  configs: readonly Entry[],
): boolean {
  const root = record(before);
  const theirs = record(root["mirrors"]);
  const extended = mirrors.map(([host, { endpoint, rewrite }]) => {
    const entry = record(theirs[host]);
    const others: unknown = entry["endpoint"] ?? [];
    const endpoints = [
      ...(endpoint as readonly string[]),
      ...(Array.isArray(others) ? others : []),
    ];
    return [
      host,
      { ...entry, endpoint: endpoints, ...(rewrite === undefined ? {} : { rewrite }) },
    ] as const;
  });
  return isSameData(record(after), {
    ...root,
    ...sectionOf("mirrors", theirs, extended),
    ...sectionOf("configs", record(root["configs"]), configs),
  });
}

/** A section with entries of ours; one that gets none stays as it is, whatever it is. */
function sectionOf(
  name: string,
  theirs: Readonly<Record<string, unknown>>,
  ours: readonly Entry[],
) {
  return ours.length === 0 ? {} : { [name]: { ...theirs, ...Object.fromEntries(ours) } };
}
