import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
  type Scalar,
} from "yaml";
import { type Findings, type Place, quoted } from "#base";
import { embeddedSource, type ScalarStyle, type TextSource } from "./text-source.ts";

/** One `key: value` of a mapping. */
export interface Entry {
  readonly key: string;
  /** Where the key stands. */
  readonly place: Place;
  readonly value: Node;
}

export type NodeKind = "map" | "list" | "scalar" | "null";

type YamlNode = ParsedNode | null;

/** How many faults of one broken document are worth telling; the rest follow from the first. */
const SYNTAX_FAULTS_MAX = 5;

/**
 * Template expressions are not YAML: `image: {{ .x }}` would read as a mapping. Their braces are
 * swapped for noncharacters of the same length while YAML is parsed, so that every offset stays true.
 * `{{` can't begin anything in JSON, so JSON loses nothing.
 */
const EXPRESSION = /\{\{[^{}\n]*\}\}/g;
const OPEN = "\uFDD0\uFDD0";
const CLOSE = "\uFDD1\uFDD1";

/**
 * A value in a YAML or JSON document that a person wrote, with its place. Reading never throws: what
 * a caller can't use it reports, with the node's own place.
 */
export class Node {
  readonly #source: TextSource;
  readonly #document: Document.Parsed;
  readonly #node: YamlNode;
  readonly path: string;
  /** Offset to blame when the node itself is empty: the end of its key. */
  readonly #fallbackOffset: number;

  constructor(source: TextSource, document: Document.Parsed, node: YamlNode, path: string, at = 0) {
    this.#source = source;
    this.#document = document;
    this.#node = resolveAlias(document, node);
    this.path = path;
    this.#fallbackOffset = at;
  }

  get place(): Place {
    return this.#source.place(this.#node?.range?.[0] ?? this.#fallbackOffset, this.path);
  }

  get kind(): NodeKind {
    if (isMap(this.#node)) return "map";
    if (isSeq(this.#node)) return "list";
    return isScalar(this.#node) && this.#node.value !== null ? "scalar" : "null";
  }

  /**
   * The text of a scalar. Numbers and booleans give what is written, so that a version `1.10` stays
   * `1.10`; everything else but a scalar gives undefined.
   */
  get text(): string | undefined {
    if (!isScalar(this.#node) || this.#node.value === null) return undefined;
    const { value, source } = this.#node;
    return unmask(typeof value === "string" ? value : (source ?? String(value)));
  }

  /** A boolean as YAML or as a person in a hurry writes it (`"true"`); undefined for all else. */
  get boolean(): boolean | undefined {
    const text = this.text?.toLowerCase();
    return text === "true" ? true : text === "false" ? false : undefined;
  }

  /** The entries of a mapping in the order of the file, those merged in by `<<` last; else none. */
  get entries(): readonly Entry[] {
    if (!isMap(this.#node)) return [];
    const own = this.#node.items
      .filter((pair) => keyText(pair) !== "<<")
      .map((pair) => this.#entry(pair));
    const keys = new Set(own.map(({ key }) => key));
    const merged = this.#node.items
      .filter((pair) => keyText(pair) === "<<")
      .flatMap((pair) => this.#entry(pair).value.#mergeEntries());
    return [...own, ...merged.filter(({ key }) => !keys.has(key))];
  }

  #mergeEntries(): readonly Entry[] {
    return this.kind === "list" ? this.items.flatMap((item) => item.entries) : this.entries;
  }

  /** The items of a list, or none. */
  get items(): readonly Node[] {
    if (!isSeq(this.#node)) return [];
    return this.#node.items.map((item, i) =>
      this.#child(item as YamlNode, `${this.path}[${i}]`, 0),
    );
  }

  /** The value of a key; of keys written twice, the last, as everybody reads them. */
  get(key: string): Node | undefined {
    if (!isMap(this.#node)) return undefined;
    const pair = this.#node.items.findLast((item) => keyText(item) === key);
    if (pair !== undefined) return this.#entry(pair).value;
    const hasMerge = this.#node.items.some((item) => keyText(item) === "<<");
    return hasMerge ? this.entries.find((entry) => entry.key === key)?.value : undefined;
  }

  /** The value at a path of keys, each one level down; undefined when one is missing. */
  at(...keys: readonly string[]): Node | undefined {
    let node: Node | undefined = this;
    for (const key of keys) node = node?.get(key);
    return node;
  }

  /** The string of this node as a text of its own, for YAML inside a string. */
  embedded(): TextSource | undefined {
    const node = this.#node;
    const text = this.text;
    if (!isScalar(node) || text === undefined || !node.range) return undefined;
    const raw = { start: node.range[0], end: node.range[1] };
    return embeddedSource(this.#source, raw, styleOf(node), { text, path: this.path });
  }

  /** The place of the character at an offset of {@link Node.text}. */
  placeWithin(offset: number): Place {
    const { line, column, file } = this.embedded()?.place(offset, "") ?? this.place;
    return { file, line, column, path: this.path };
  }

  #entry(pair: Pair<ParsedNode, YamlNode>): Entry {
    const key = keyText(pair);
    const path = this.path === "" ? pathKey(key) : `${this.path}.${pathKey(key)}`;
    const range = pair.key?.range;
    return {
      key,
      place: this.#source.place(range?.[0] ?? 0, path),
      value: this.#child(pair.value, path, range?.[0] ?? 0),
    };
  }

  #child(node: YamlNode, path: string, at: number): Node {
    return new Node(this.#source, this.#document, node, path, at);
  }
}

/** Keys that hold a dot are quoted in a path, or `system.uri` would look like two levels. */
function pathKey(key: string): string {
  return /[.[\]"]/.test(key) ? `"${key}"` : key;
}

function keyText(pair: Pair<ParsedNode, YamlNode>): string {
  const key = pair.key as unknown;
  if (!isScalar(key)) return "";
  return unmask(typeof key.value === "string" ? key.value : (key.source ?? String(key.value)));
}

function resolveAlias(document: Document.Parsed, node: YamlNode): YamlNode {
  return isAlias(node)
    ? (((node as Alias).resolve(document) as YamlNode | undefined) ?? null)
    : node;
}

function styleOf(node: Scalar): ScalarStyle {
  switch (node.type) {
    case "BLOCK_LITERAL":
      return "literal";
    case "BLOCK_FOLDED":
      return "folded";
    case "QUOTE_DOUBLE":
      return "double";
    case "QUOTE_SINGLE":
      return "single";
    default:
      return "plain";
  }
}

function mask(text: string): string {
  return text.replace(EXPRESSION, (match) => `${OPEN}${match.slice(2, -2)}${CLOSE}`);
}

function unmask(text: string): string {
  return text.includes("\uFDD0") ? text.replaceAll(OPEN, "{{").replaceAll(CLOSE, "}}") : text;
}

/** Decides whether a key that is written twice at a path is a fault here, or somebody else's business. */
export type DuplicateRule = (path: readonly string[]) => "fault" | "warning";

/**
 * Reads the documents of a text, JSON being YAML of one document. Faults of syntax and duplicate keys
 * go into `findings`; what could be read is still returned, so that the rest can be judged too.
 */
export function parseDocuments(
  source: TextSource,
  findings: Findings,
  duplicates: DuplicateRule = () => "fault",
): readonly Node[] {
  try {
    const documents = parseYaml(source.text);
    for (const document of documents) {
      reportSyntax(source, document, findings);
      reportDuplicates(source, document, findings, duplicates);
    }
    return documents.map((document) => new Node(source, document, document.contents, ""));
  } catch (error) {
    // The parser recurses once a level: a stack overflow is what deep nesting looks like.
    if (!(error instanceof RangeError)) throw error;
    const message = "Cannot read the document: it is nested too deeply";
    findings.fault(
      source.place(0, ""),
      "yaml-broken",
      message,
      "Check that this is the file you meant to give",
    );
    return [];
  }
}

function parseYaml(text: string): readonly Document.Parsed[] {
  const options = {
    uniqueKeys: false,
    strict: false,
    logLevel: "error",
    prettyErrors: false,
  } as const;
  const documents = parseAllDocuments(mask(text), options);
  return "empty" in documents ? [] : documents;
}

function reportSyntax(source: TextSource, document: Document.Parsed, findings: Findings): void {
  for (const { message, pos } of document.errors.slice(0, SYNTAX_FAULTS_MAX)) {
    findings.fault(
      source.place(pos[0], ""),
      "yaml-broken",
      `Cannot read the document as YAML: ${quoted(message.split("\n")[0] ?? "", 160).slice(1, -1)}`,
      "Mend the line; quote values that hold special characters, and indent with blanks, never with tabs",
    );
  }
}

function reportDuplicates(
  source: TextSource,
  document: Document.Parsed,
  findings: Findings,
  rule: DuplicateRule,
): void {
  const walk = (node: unknown, path: readonly string[]): void => {
    if (isSeq(node)) for (const item of node.items) walk(item, path);
    if (!isMap(node)) return;
    const seen = new Set<string>();
    for (const pair of node.items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue;
      const key = keyText(pair as Pair<ParsedNode, YamlNode>);
      if (seen.has(key) && key !== "<<") {
        reportDuplicate(
          source.place(pair.key.range?.[0] ?? 0, [...path, key].join(".")),
          key,
          rule(path),
          findings,
        );
      }
      seen.add(key);
      if (pair.value !== null) walk(pair.value, [...path, key]);
    }
  };
  walk(document.contents, []);
}

function reportDuplicate(
  place: Place,
  key: string,
  kind: "fault" | "warning",
  findings: Findings,
): void {
  const message = `Key ${quoted(key)} is written twice in one mapping`;
  const remedy = "Keep one of the two; YAML does not say which of them holds";
  if (kind === "fault") findings.fault(place, "key-duplicate", message, remedy);
  else findings.warn(place, "key-duplicate", message, remedy);
}
