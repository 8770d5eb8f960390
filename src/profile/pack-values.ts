import { type Finding, Findings } from "#base";
import type { DuplicateRule, Node } from "./document.ts";
import { readDocument, readMap } from "./reader.ts";
import type { TextSource } from "./text-source.ts";

/** Root keys of a pack's values that decide about images. The others are Helm's business. */
const OWN_KEYS: ReadonlySet<string> = new Set(["pack", "options", "providerCredentials"]);

/** Of keys written twice Helm takes the last; in what is read here it must be clear which was meant. */
const duplicates: DuplicateRule = (path) =>
  OWN_KEYS.has(path[0] ?? "") || path.includes("imageReplacementRules") ? "fault" : "warning";

/** The values of a pack. */
export interface PackValues {
  /** Their root. In large values the sections of charts are empty, only their keys are there. */
  readonly root: Node;
  /** Their root with all sections, at some sixty times their length in memory; their faults are told then. */
  whole(): Node;
}

/** From this many characters on, the values of charts are parsed only when somebody asks for them. */
const LARGE = 64 * 1024;

/**
 * Reads the values of a pack; undefined when they are empty.
 *
 * Palette reads them with a parser that is less strict than YAML's specification, and chart authors
 * have come to lean on it. So what only chart values break is a warning, and the rest is read alone.
 */
export function readPackValues(source: TextSource, findings: Findings): PackValues | undefined {
  const large = source.text.length < LARGE ? undefined : readLargeValues(source, findings);
  if (large !== undefined) return large;
  const root = readAllSections(source, findings);
  return root === undefined ? undefined : { root, whole: () => root };
}

/** Undefined when the own sections can't be read without the others, or there is nothing in them. */
function readLargeValues(source: TextSource, findings: Findings): PackValues | undefined {
  const unseen = new Findings();
  const root = readDocument({ ...source, text: emptyForeignSections(source.text) }, unseen);
  if (root?.kind !== "map" || unseen.hasFaults || unseen.warnings.length > 0) return undefined;
  let whole: Node | undefined;
  return {
    root,
    whole() {
      whole ??= readAllSections(source, findings) ?? root;
      return whole;
    },
  };
}

function readAllSections(source: TextSource, findings: Findings): Node | undefined {
  const whole = new Findings();
  const root = readDocument(source, whole, duplicates);
  const own = whole.faults.some(isSyntax) ? readOwnSections(source) : undefined;
  for (const found of whole.warnings) findings.warn(found, found.code, found.message, found.remedy);
  for (const found of whole.faults) {
    const { code, message, remedy } = found;
    if (own === undefined || !isSyntax(found)) findings.fault(found, code, message, remedy);
    else findings.warn(found, "values-unread", `Chart values are not read: ${message}`, remedy);
  }
  return readMap(own === undefined ? root : own.root, findings);
}

function isSyntax({ code }: Finding): boolean {
  return code !== "key-duplicate";
}

/** What can be read when all other sections are blanks; undefined when even that is broken. */
function readOwnSections(source: TextSource): { readonly root: Node | undefined } | undefined {
  const findings = new Findings();
  const text = blankForeignSections(source.text);
  const root = readDocument({ ...source, text }, findings, duplicates);
  return findings.faults.some(isSyntax) ? undefined : { root };
}

/** A key of the root mapping, which begins a line; what follows belongs to it until the next one. */
const ROOT_KEY = /^(?<quote>["']?)(?<key>[^\s#"':-][^\n"':]*)\k<quote>[ \t]*:(?=\s|$)/gm;

/** The text with blanks in place of all sections but our own, so that every offset stays true. */
function blankForeignSections(text: string): string {
  return mapForeignSections(text, (section) => section.replace(/[^\n]/g, " "));
}

/** {@link blankForeignSections} that keeps the keys, one of which may be a misspelt one of ours. */
function emptyForeignSections(text: string): string {
  // One line of blanks costs the parser next to nothing, and half a million lines a lot.
  return mapForeignSections(text, (section, key) => `${key.padEnd(section.length - 1)}\n`);
}

function mapForeignSections(text: string, change: (section: string, key: string) => string) {
  const sections = [...text.matchAll(ROOT_KEY)];
  const pieces = sections.map(({ 0: key, index, groups }, i) => {
    const section = text.slice(index, sections[i + 1]?.index);
    return OWN_KEYS.has(groups?.["key"] ?? "") ? section : change(section, key);
  });
  return text.slice(0, sections[0]?.index) + pieces.join("");
}
