import { type Finding, Findings } from "#base";
import type { DuplicateRule, Node } from "./document.ts";
import { readDocument, readMap } from "./reader.ts";
import type { TextSource } from "./text-source.ts";

/** Root keys of a pack's values that decide about images. The others are Helm's business. */
const OWN_KEYS: ReadonlySet<string> = new Set(["pack", "options", "providerCredentials"]);

/** Of keys written twice Helm takes the last; in what is read here it must be clear which was meant. */
const duplicates: DuplicateRule = (path) =>
  OWN_KEYS.has(path[0] ?? "") || path.includes("imageReplacementRules") ? "fault" : "warning";

/**
 * Reads the values of a pack; undefined when they are empty.
 *
 * Palette reads them with a parser that is less strict than YAML's specification, and chart authors
 * have come to lean on it. So what only chart values break is a warning, and the rest is read alone.
 */
export function readPackValues(source: TextSource, findings: Findings): Node | undefined {
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
  const sections = [...text.matchAll(ROOT_KEY)];
  const pieces = sections.map(({ index, groups }, i) => {
    const section = text.slice(index, sections[i + 1]?.index);
    return OWN_KEYS.has(groups?.["key"] ?? "") ? section : section.replace(/[^\n]/g, " ");
  });
  return text.slice(0, sections[0]?.index) + pieces.join("");
}
