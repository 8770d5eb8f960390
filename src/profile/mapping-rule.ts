import { type Findings, type Place, quoted } from "#base";
import { type Location, tryParseLocation } from "#reference";
import { type Node, parseDocuments } from "./document.ts";
import { withoutSecrets } from "./sensitive.ts";

/** Images whose name lies in `from` are fetched from `to`, the rest of the path kept. */
export interface MappingRule {
  /** What it is matched against: the normalised name. */
  readonly location: Location;
  readonly to: Location;
  readonly place: Place;
}

/**
 * Reads a map of source prefix to target prefix. A key without a registry is one of Docker Hub's, as
 * in a reference; tags and digests take no part and are refused.
 */
export function readMappingRules(
  node: Node | undefined,
  findings: Findings,
): readonly MappingRule[] {
  if (node === undefined || node.kind === "null") return [];
  if (node.kind === "list") return node.items.flatMap((item) => readListedRule(item, findings));
  if (node.kind === "map") {
    return node.entries.flatMap(({ key, value, place }) => readRule(key, value, place, findings));
  }
  const inner = node.embedded();
  const roots = inner === undefined ? [] : parseDocuments(inner, findings);
  const rules = roots.filter((root) => root.kind === "map" || root.kind === "list");
  if (rules.length > 0) return rules.flatMap((root) => readMappingRules(root, findings));
  findings.fault(
    node.place,
    "mapping-rule-invalid",
    "Cannot read the mapping rules: expected a mapping of source to target",
    'Write them like "quay.io/team": "registry.example.com/mirror/team"',
  );
  return [];
}

/** Palette's documents do not say how a list names its two sides, so every usual pair is taken. */
const SIDES = [
  ["source", "target"],
  ["source", "destination"],
  ["from", "to"],
  ["match", "replace"],
  ["match", "replacement"],
  ["old", "new"],
  ["key", "value"],
] as const;

function readListedRule(item: Node, findings: Findings): readonly MappingRule[] {
  for (const [fromKey, toKey] of SIDES) {
    const [from, to] = [item.get(fromKey), item.get(toKey)];
    if (from?.text !== undefined && to !== undefined)
      return readRule(from.text, to, from.place, findings);
  }
  if (item.kind === "map" && item.entries.length === 1) return readMappingRules(item, findings);
  findings.fault(
    item.place,
    "mapping-rule-invalid",
    "Cannot read the mapping rule: expected a source and a target",
    'Write it like - source: quay.io/team, and below it target: "registry.example.com/mirror/team"',
  );
  return [];
}

function readRule(
  key: string,
  value: Node,
  place: Place,
  findings: Findings,
): readonly MappingRule[] {
  const from = parseSource(key);
  const to = value.text === undefined ? undefined : tryParseLocation(value.text);
  if (from === undefined) reportSide(place, key, "source", findings);
  if (to === undefined) reportSide(value.place, value.text ?? "", "target", findings);
  return from === undefined || to === undefined ? [] : [{ location: from, to, place }];
}

function parseSource(key: string): Location | undefined {
  const bare = key
    .trim()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")
    .replace(/\/+$/, "");
  if (bare === "") return undefined;
  const first = bare.split("/")[0] ?? "";
  const isRegistry = first === "localhost" || /[.:[]/.test(first) || first !== first.toLowerCase();
  return tryParseLocation(isRegistry ? bare : `docker.io/${bare}`);
}

function reportSide(place: Place, text: string, side: string, findings: Findings): void {
  findings.fault(
    place,
    "mapping-rule-invalid",
    `Cannot read ${quoted(withoutSecrets(text))} as the ${side} of a mapping rule: expected host, host:port or host/path`,
    'Write it like "quay.io/team": "registry.example.com/mirror/team", without tag or digest',
  );
}
