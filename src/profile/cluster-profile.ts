import { Findings, nearest, quoted } from "#base";
import { type Node, parseDocuments } from "./document.ts";
import type { InputFiles } from "./input-files.ts";
import { type Pack, readPack } from "./pack.ts";
import { readList, readMap, readText } from "./reader.ts";
import type { TextSource } from "./text-source.ts";

/** A cluster profile: its name, its packs, and what its templates may refer to. */
export interface ClusterProfile {
  readonly name: string;
  readonly version: string | undefined;
  readonly cloudType: string | undefined;
  readonly packs: readonly Pack[];
  /** Profile variables that have a default. */
  readonly variables: ReadonlyMap<string, string>;
  /** Names of all profile variables, also of those without a default. */
  readonly variableNames: readonly string[];
}

/**
 * Reads the profiles of a file: an export (JSON or YAML), a live object of the API (`spec.published`,
 * `spec.draft`), or a cluster's own list of profiles with `packValues`.
 */
export function readClusterProfiles(
  source: TextSource,
  file: string,
  files: InputFiles,
  findings: Findings,
): readonly ClusterProfile[] {
  const faultsBefore = findings.faults.length;
  const roots = parseDocuments(source, findings).filter((root) => root.kind !== "null");
  const isBroken = findings.faults.length > faultsBefore;
  // What broken YAML seems to lack may only be what could not be read.
  const readable = isBroken
    ? roots.filter((root) => packsOf(templateOf(root)) !== undefined)
    : roots;
  const profiles = readable.flatMap((root) => readRoot(root, file, files, findings));
  if (profiles.length === 0 && findings.faults.length === faultsBefore) {
    findings.fault(
      source.place(0, ""),
      "profile-empty",
      "Cannot read a cluster profile: the file is empty",
      "Give the JSON that Export Profile saves, or YAML of that shape",
    );
  }
  return profiles;
}

function readRoot(
  root: Node,
  file: string,
  files: InputFiles,
  findings: Findings,
): readonly ClusterProfile[] {
  const several = root.at("spec", "profiles");
  if (several?.kind === "list") {
    return several.items.map((item) => readOne(item, item, file, files, findings));
  }
  return [readOne(root, templateOf(root), file, files, findings)];
}

function templateOf(root: Node): Node {
  const spec = root.get("spec");
  const parts = ["template", "published", "draft"].map((key) => spec?.get(key));
  return parts.find((part) => part?.kind === "map") ?? spec ?? root;
}

function packsOf(template: Node): Node | undefined {
  return template.get("packs") ?? template.get("packValues");
}

function readOne(
  root: Node,
  template: Node,
  file: string,
  files: InputFiles,
  findings: Findings,
): ClusterProfile {
  const packs = packsOf(template);
  if (packs === undefined) reportNoPacks(root, template, findings);
  const spec = root.get("spec");
  const variables = spec?.get("variables");
  return {
    name: readText(root.at("metadata", "name") ?? root.get("name"), findings) ?? "",
    version: readText(spec?.get("version"), findings),
    cloudType: readText(template.get("cloudType"), findings),
    packs: readList(packs, findings).flatMap((item) => readPack(item, file, files, findings) ?? []),
    variables: readVariables(variables, findings),
    variableNames: readList(variables, new Findings()).flatMap(
      (item) => item.get("name")?.text?.trim() ?? [],
    ),
  };
}

function reportNoPacks(root: Node, template: Node, findings: Findings): void {
  const near = template.entries.find(
    ({ key }) => nearest(key, ["packs", "packValues"]) !== undefined,
  );
  const found = near === undefined ? "" : `, but ${quoted(near.key)}`;
  findings.fault(
    near?.place ?? root.place,
    "profile-without-packs",
    `Cannot read a cluster profile: there is no spec.template.packs${found}`,
    near === undefined
      ? "Give the JSON that Export Profile saves, or YAML of that shape"
      : 'Did you mean "packs"?',
  );
}

function readVariables(node: Node | undefined, findings: Findings): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const item of readList(node, findings)) {
    const name = readText(readMap(item, findings)?.get("name"), findings);
    const value = item.get("defaultValue")?.text;
    if (name !== undefined && value !== undefined && value !== "") variables.set(name, value);
  }
  return variables;
}
