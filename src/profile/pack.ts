import { type Findings, nearest, type Place, quoted } from "#base";
import type { Node } from "./document.ts";
import { folderOf, type InputFiles, isProblem, joinPath, readTextFile } from "./input-files.ts";
import { LAYERS, type Layer } from "./layer.ts";
import { type PackValues, readPackValues } from "./pack-values.ts";
import { readDocument, readList, readMap, readText } from "./reader.ts";
import { sliceSource, type TextSource } from "./text-source.ts";

/** One layer of a cluster profile. */
export interface Pack {
  readonly name: string;
  readonly layer: Layer;
  readonly version: string | undefined;
  /** The root of its values, in large ones without what is below the keys of charts; undefined when they are empty. */
  readonly values: Node | undefined;
  /** The root of its values with all that they hold. */
  wholeValues(): Node | undefined;
  readonly manifests: readonly TextSource[];
  /** Where the profile names the pack. */
  readonly place: Place;
}

/** Reads one entry of a profile's packs: inline, or a `path:` to the folder of a pack. */
export function readPack(
  node: Node,
  profileFile: string,
  files: InputFiles,
  findings: Findings,
): Pack | undefined {
  if (readMap(node, findings) === undefined) return undefined;
  const folder = readText(node.get("path"), findings);
  const folderNode = folder === undefined ? undefined : node.get("path");
  const parts =
    folder === undefined || folderNode === undefined
      ? undefined
      : readFolder(folder, folderNode.place, folderOf(profileFile), files, findings);
  const name =
    readText(node.get("name"), findings) ?? readText(parts?.descriptor?.get("name"), findings);
  if (name === undefined) {
    if (folder === undefined || parts?.descriptor !== undefined) reportNameless(node, findings);
    return undefined;
  }
  const values = readValues(node.get("values"), findings) ?? parts?.values;
  const version = node.get("version") ?? node.get("tag") ?? parts?.descriptor?.get("version");
  return {
    name,
    layer: readLayer(
      node.get("layer") ?? parts?.descriptor?.get("layer"),
      name,
      node.place,
      findings,
    ),
    version: readText(version, findings),
    values: values?.root,
    wholeValues: () => values?.whole(),
    manifests: [...readManifests(node.get("manifests"), findings), ...(parts?.manifests ?? [])],
    place: folderNode?.place ?? node.get("name")?.place ?? node.place,
  };
}

interface PackFolder {
  readonly descriptor: Node | undefined;
  readonly values: PackValues | undefined;
  readonly manifests: readonly TextSource[];
}

function readFolder(
  folder: string,
  namedAt: Place,
  profileFolder: string,
  files: InputFiles,
  findings: Findings,
): PackFolder | undefined {
  const bare = folder.replace(/\/+$/, "");
  const read = (name: string) => {
    const shown = `${bare}/${name}`;
    return readTextFile(files, joinPath(profileFolder, shown), findings, { name: shown, namedAt });
  };
  const descriptor = read("pack.json");
  const values = read("values.yaml");
  if (descriptor === undefined && values === undefined) return undefined;
  const listed = files.list(joinPath(profileFolder, `${bare}/manifests`));
  const manifests = isProblem(listed)
    ? []
    : listed.filter((file) => /^[^.].*\.(?:ya?ml|json)$/.test(file));
  return {
    descriptor: descriptor === undefined ? undefined : readDocument(descriptor, findings),
    values: values === undefined ? undefined : readPackValues(values, findings),
    manifests: manifests.flatMap((file) => read(`manifests/${file}`) ?? []),
  };
}

/** Values are a text of YAML in an export; a mapping written in place is taken as well. */
function readValues(node: Node | undefined, findings: Findings): PackValues | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  if (node.kind === "map") return { root: node, whole: () => node };
  const source = node.embedded();
  if (source !== undefined) return readPackValues(source, findings);
  readMap(node, findings);
  return undefined;
}

function readManifests(node: Node | undefined, findings: Findings): readonly TextSource[] {
  return readList(node, findings).flatMap((item) => {
    const content = item.get("content");
    return readText(content, findings) === undefined ? [] : (content?.embedded() ?? []);
  });
}

/** A cluster's `packValues` carry no layer, so it is told from the name where it is missing. */
const LAYER_BY_NAME: readonly (readonly [RegExp, Layer])[] = [
  [/^(?:edge-native-byoi|generic-byoi|byoos)/, "os"],
  [/^(?:kubernetes|edge-(?:k8s|k3s|rke2|microk8s|canonical|nodeadm))/, "k8s"],
  [/^cni-/, "cni"],
  [/^csi-/, "csi"],
];

function readLayer(
  node: Node | undefined,
  packName: string,
  packPlace: Place,
  findings: Findings,
): Layer {
  const guessed = LAYER_BY_NAME.find(([pattern]) => pattern.test(packName))?.[1] ?? "addon";
  const text = readText(node, findings);
  if (node === undefined || text === undefined) {
    findings.warn(
      packPlace,
      "layer-missing",
      `Pack ${quoted(packName)} does not say its layer, so it is taken for "${guessed}"`,
      `Write layer: ${guessed} if that is right, else one of ${LAYERS.join(", ")}`,
    );
    return guessed;
  }
  const layer = LAYERS.find((candidate) => candidate === text.toLowerCase());
  if (layer !== undefined) return layer;
  const meant = nearest(text, LAYERS);
  findings.fault(
    node.place,
    "layer-unknown",
    `Cannot use the layer ${quoted(text)} of pack ${quoted(packName)}: expected one of ${LAYERS.join(", ")}`,
    meant === undefined ? `Write one of ${LAYERS.join(", ")}` : `Did you mean "${meant}"?`,
  );
  return guessed;
}

function reportNameless(node: Node, findings: Findings): void {
  findings.fault(
    node.place,
    "pack-nameless",
    "Cannot use the pack: it has no name",
    "Give it a name:, or a path: to a folder whose pack.json has one",
  );
}

/** The documents of a manifest file, split at `---` lines, each with its place. */
export function manifestDocuments(manifest: TextSource): readonly TextSource[] {
  const documents: TextSource[] = [];
  const separator = /^---(?:[ \t].*)?\r?$/gm;
  let start = 0;
  for (
    let match = separator.exec(manifest.text);
    match !== null;
    match = separator.exec(manifest.text)
  ) {
    documents.push(sliceSource(manifest, start, match.index));
    start = match.index + match[0].length;
  }
  documents.push(sliceSource(manifest, start, manifest.text.length));
  return documents;
}
