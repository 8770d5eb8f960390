import { type Findings, nearest, type Place, quoted } from "#base";
import { type DuplicateRule, type Node, parseDocuments } from "./document.ts";
import type { TextSource } from "./text-source.ts";

/** Reading typed values out of {@link Node}s: what is of the wrong shape is reported, and left out. */

/**
 * The root of a text that is to hold one document, undefined when it is empty. Empty documents before
 * it are passed over, as the comments and `---` that templates leave behind make them.
 */
export function readDocument(
  source: TextSource,
  findings: Findings,
  duplicates?: DuplicateRule,
): Node | undefined {
  const roots = parseDocuments(source, findings, duplicates);
  const [root, ignored] = roots.filter(({ kind }) => kind !== "null");
  if (ignored !== undefined) {
    findings.warn(
      ignored.place,
      "document-ignored",
      "A second document begins here, and only the first one is read",
      "Merge the two, or take out the --- between them",
    );
  }
  return root;
}

/** The text of a scalar, trimmed; a fault when it is a mapping or list, undefined when it is empty or absent. */
export function readText(node: Node | undefined, findings: Findings): string | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  const text = node.text?.trim();
  if (text === undefined) return wrongShape(node, "a text", findings);
  return text === "" ? undefined : text;
}

/** A boolean; absent is `fallback`. */
export function readBoolean(
  node: Node | undefined,
  fallback: boolean,
  findings: Findings,
): boolean {
  if (node === undefined || node.kind === "null") return fallback;
  return node.boolean ?? wrongShape(node, "true or false", findings) ?? fallback;
}

/** The items of a list; absent is none. */
export function readList(node: Node | undefined, findings: Findings): readonly Node[] {
  if (node === undefined || node.kind === "null") return [];
  return node.kind === "list" ? node.items : (wrongShape(node, "a list", findings) ?? []);
}

/** A mapping; absent and empty is undefined. */
export function readMap(node: Node | undefined, findings: Findings): Node | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  return node.kind === "map" ? node : wrongShape(node, "a mapping", findings);
}

/** One of a few words. */
export function readChoice<T extends string>(
  node: Node | undefined,
  choices: readonly T[],
  findings: Findings,
): T | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  const choice = choices.find((candidate) => candidate === text);
  if (choice !== undefined) return choice;
  const meant = nearest(text, choices);
  findings.fault(
    node.place,
    "value-unknown",
    `Cannot use ${quoted(text)} for "${lastKey(node.path)}": expected one of ${choices.join(", ")}`,
    meant === undefined ? `Write one of ${choices.join(", ")}` : `Did you mean "${meant}"?`,
  );
  return undefined;
}

/**
 * Reports the keys of a mapping that nobody reads: as faults in our own files, as warnings where we
 * know all keys that there are, else only near misses.
 */
export function reportUnknownKeys(
  node: Node | undefined,
  known: readonly string[],
  findings: Findings,
  severity: "fault" | "warning" | "near-miss" = "near-miss",
): void {
  for (const { key, place } of node?.entries ?? []) {
    if (known.includes(key)) continue;
    const meant = nearest(key, known) ?? nearest(key.replace(/y$/, "ies"), known);
    const remedy =
      meant === undefined ? `Known keys are ${known.join(", ")}` : `Did you mean "${meant}"?`;
    if (severity === "fault") {
      findings.fault(place, "key-unknown", `Unknown key ${quoted(key)}`, remedy);
    } else if (meant !== undefined || severity === "warning") {
      findings.warn(
        place,
        "key-unknown",
        `Unknown key ${quoted(key)} is ignored, and what it holds is lost`,
        remedy,
      );
    }
  }
}

function wrongShape(node: Node, expected: string, findings: Findings): undefined {
  const found = { map: "a mapping", list: "a list", scalar: "a text", null: "nothing" };
  const object = node.path === "" ? "the document" : `the value of "${lastKey(node.path)}"`;
  findings.fault(
    node.place,
    "value-wrong-shape",
    `Cannot use ${object}: it is ${found[node.kind]}, expected ${expected}`,
    `Write ${expected} there, or leave the key out`,
  );
  return undefined;
}

function lastKey(path: string): string {
  return (/(?:^|[.:])("[^"]*"|[^.:]+)$/.exec(path)?.[1] ?? path).replaceAll('"', "");
}

/** A place for what concerns a file as a whole. */
export function wholeFile(file: string): Place {
  return { file, line: 1, column: 1, path: "" };
}
