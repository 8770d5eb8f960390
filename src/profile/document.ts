import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
  type Scalar,
} from "yaml";
import { type Findings, type Place, quoted } from "#base";
import { syntaxFaults } from "./syntax.ts";
import { embeddedSource, type ScalarStyle, type TextSource } from "./text-source.ts";

/** One `key: value` of a mapping. */
export interface Entry {
  readonly key: string;
  /** Where the key stands. */
  readonly place: Place;
  readonly value: Node;
}

/** What a value is; an empty one and `null` are the same. */
export type NodeKind = "map" | "list" | "scalar" | "null";

type YamlNode = ParsedNode | null;

/**
 * Template expressions are not YAML: `image: {{ .x }}` would read as a mapping. What YAML takes for
 * an indicator in them is swapped for noncharacters of the same length while YAML is parsed, so that
 * every offset stays true. `{{` can't begin anything in JSON, so JSON loses nothing.
 */
const EXPRESSION = /\{\{[^{}\n]*\}\}/g;
const INDICATORS = "{}:#,[]";
/** The first of the 32 noncharacters that Unicode keeps for a program's own use. */
const MASK_START = 0xfdd0;

/**
 * A value in a YAML or JSON document that a person wrote, with its place. Reading never throws: what
 * a caller can't use it reports, with the node's own place.
 */
export class Node {
  readonly #source: TextSource;
  readonly #targets: AliasTargets;
  readonly #node: YamlNode;
  readonly path: string;
  /** Where its key begins; undefined for an item of a list and for the root, which have none. */
  readonly #keyOffset: number | undefined;

  constructor(
    source: TextSource,
    targets: AliasTargets,
    node: YamlNode,
    path: string,
    keyOffset?: number,
  ) {
    this.#source = source;
    this.#targets = targets;
    this.#node = isAlias(node) ? (targets.get(node) ?? null) : node;
    this.path = path;
    this.#keyOffset = keyOffset;
  }

  /** Where the value begins, or its key when there is no value. */
  get place(): Place {
    return this.#source.place(this.#node?.range?.[0] ?? this.#keyOffset ?? 0, this.path);
  }

  /** Where the line that declares it begins for a reader: its key, or itself in a list. */
  get declaredAt(): Place {
    return this.#keyOffset === undefined
      ? this.place
      : this.#source.place(this.#keyOffset, this.path);
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

  /** A boolean as YAML 1.1 or 1.2 or a person in a hurry writes it (`yes`, `"true"`); else undefined. */
  get boolean(): boolean | undefined {
    switch (this.text?.toLowerCase()) {
      case "true":
      case "yes":
      case "on":
        return true;
      case "false":
      case "no":
      case "off":
        return false;
      default:
        return undefined;
    }
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
      this.#child(item as YamlNode, `${this.path}[${i}]`, undefined),
    );
  }

  /** The value of a key; of keys written twice, the last, as everybody reads them. */
  get(key: string): Node | undefined {
    if (!isMap(this.#node)) return undefined;
    const pair = this.#node.items.findLast((item) => keyText(item) === key);
    if (pair !== undefined) return this.#valueOf(pair);
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
    return this.embedded()?.place(offset, "") ?? this.place;
  }

  #entry(pair: Pair<ParsedNode, YamlNode>): Entry {
    const value = this.#valueOf(pair);
    return { key: keyText(pair), place: value.declaredAt, value };
  }

  #valueOf(pair: Pair<ParsedNode, YamlNode>): Node {
    const path = joinStep(this.path, pathKey(keyText(pair)));
    return this.#child(pair.value, path, pair.key?.range?.[0] ?? 0);
  }

  #child(node: YamlNode, path: string, keyOffset: number | undefined): Node {
    return new Node(this.#source, this.#targets, node, path, keyOffset);
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
  return text.replace(EXPRESSION, (expression) =>
    expression.replace(/[{}:#,[\]]/g, (indicator) =>
      String.fromCharCode(MASK_START + INDICATORS.indexOf(indicator)),
    ),
  );
}

function unmask(text: string): string {
  if (!text.includes("\uFDD0")) return text;
  return text.replace(
    /[\uFDD0-\uFDD6]/g,
    (masked) => INDICATORS[masked.charCodeAt(0) - MASK_START] ?? masked,
  );
}

/**
 * Decides whether a key that is written twice is a fault here, or somebody else's business; the last
 * item of the path is the key.
 */
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
    return parseYaml(source.text).flatMap((document) => {
      reportSyntax(source, document, findings);
      const targets = new Survey(source, findings, duplicates).of(document);
      return targets === undefined ? [] : [new Node(source, targets, document.contents, "")];
    });
  } catch (error) {
    // The parser recurses once a level: a stack overflow is what deep nesting looks like.
    if (!(error instanceof RangeError)) throw error;
    reportTooDeep(source.place(0, ""), findings);
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
  const { errors } = document;
  // The parser catches its own stack overflow and reports it as if it were an error of syntax.
  const tooDeep = errors.find(({ message }) => message.includes("call stack"));
  if (tooDeep !== undefined) reportTooDeep(source.place(tooDeep.pos[0], ""), findings);
  const told = tooDeep === undefined ? syntaxFaults(document, source.text) : [];
  for (const { offset, state } of told) {
    findings.fault(
      source.place(offset, ""),
      "yaml-broken",
      `Cannot read the document as YAML: ${state}`,
      "Mend the line; quote values that hold special characters, and indent with blanks, never with tabs",
    );
  }
}

function reportTooDeep(place: Place, findings: Findings): void {
  reportBroken(place, "it is nested too deeply", findings);
}

function reportBroken(place: Place, state: string, findings: Findings): void {
  findings.fault(
    place,
    "yaml-broken",
    `Cannot read the document: ${state}`,
    "Check that this is the file you meant to give",
  );
}

/** What each alias stands for; none leads to itself. */
type AliasTargets = ReadonlyMap<Alias.Parsed, YamlNode>;

/** How many values aliases may add to a document before they are taken for an attack. */
const ALIASED_VALUES_MAX = 100_000;

/** One walk through a document before it is used: duplicate keys, and where the aliases lead. */
class Survey {
  readonly #source: TextSource;
  readonly #findings: Findings;
  readonly #rule: DuplicateRule;
  readonly #path: string[] = [];
  readonly #anchors = new Map<string, { readonly node: ParsedNode; readonly size: number }>();
  readonly #targets = new Map<Alias.Parsed, YamlNode>();
  #aliasedValues = 0;

  constructor(source: TextSource, findings: Findings, rule: DuplicateRule) {
    this.#source = source;
    this.#findings = findings;
    this.#rule = rule;
  }

  /** Undefined when the document is not to be read at all. */
  of({ contents }: Document.Parsed): AliasTargets | undefined {
    this.#measure(contents);
    if (this.#aliasedValues <= ALIASED_VALUES_MAX) return this.#targets;
    reportBroken(this.#source.place(0, ""), "its aliases make it too large", this.#findings);
    return undefined;
  }

  /** How many values a node holds, aliases written out. */
  #measure(node: YamlNode): number {
    if (node === null) return 1;
    if (isAlias(node)) return this.#follow(node);
    let size = 1;
    if (isMap(node)) size += this.#measureMap(node.items);
    else if (isSeq(node)) size += this.#measureList(node.items);
    // Only now, so that an alias inside of what it names finds nothing and no loop can arise.
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, { node, size });
    return size;
  }

  #follow(alias: Alias.Parsed): number {
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      this.#findings.fault(
        this.#source.place(alias.range[0], this.#where()),
        "alias-unknown",
        "Cannot read the alias: there is no anchor of its name before it",
        "Write the value out; a text that begins with * must be quoted",
      );
      return 1;
    }
    this.#targets.set(alias, target.node);
    this.#aliasedValues += target.size;
    return target.size;
  }

  #measureList(items: readonly unknown[]): number {
    let size = 0;
    for (const [i, item] of items.entries()) {
      this.#path.push(`[${i}]`);
      size += this.#measure(item as YamlNode);
      this.#path.pop();
    }
    return size;
  }

  #measureMap(pairs: readonly Pair<ParsedNode, YamlNode>[]): number {
    const seen = new Set<string>();
    let size = 0;
    for (const pair of pairs) {
      const key = keyText(pair);
      this.#path.push(pathKey(key));
      if (seen.has(key) && key !== "<<") this.#reportDuplicate(pair.key, key);
      seen.add(key);
      size += this.#measure(pair.value);
      this.#path.pop();
    }
    return size;
  }

  #reportDuplicate({ range }: ParsedNode, key: string): void {
    const place = this.#source.place(range[0], this.#where());
    const message = `Key ${quoted(key)} is written twice in one mapping`;
    const remedy = "Keep one of the two; YAML does not say which of them holds";
    if (this.#rule(this.#path) === "fault")
      this.#findings.fault(place, "key-duplicate", message, remedy);
    else this.#findings.warn(place, "key-duplicate", message, remedy);
  }

  #where(): string {
    return this.#path.reduce((path, step) => joinStep(path, step), "");
  }
}

function joinStep(path: string, step: string): string {
  return path === "" || step.startsWith("[") ? `${path}${step}` : `${path}.${step}`;
}
