import { Findings, type Place } from "#base";
import { type Node, parseDocuments } from "./document.ts";
import type { Pack } from "./pack.ts";

const PLUGIN = "AlwaysPullImages";
const FLAG = "enable-admission-plugins";

/** Far deeper than any cluster configuration. */
const DEPTH_MAX = 32;

/**
 * Where the Kubernetes layer switches on `AlwaysPullImages`, which makes every start of a pod ask the
 * registry again. It is an item `enable-admission-plugins=…` (k3s, RKE2), a key of that name
 * (kubeadm), or a `{name, value}` pair (kubeadm v1beta4), also in YAML inside a string.
 */
export function readAlwaysPullPlaces(pack: Pack): readonly Place[] {
  const values = pack.wholeValues();
  return values === undefined ? [] : search(values, DEPTH_MAX);
}

function search(node: Node, depth: number): readonly Place[] {
  if (depth === 0) return [];
  if (node.kind === "list") return node.items.flatMap((item) => search(item, depth - 1));
  if (node.kind === "map") return searchMap(node, depth);
  const text = node.text;
  if (text === undefined || !text.includes(PLUGIN)) return [];
  const inner = text.includes("\n") ? node.embedded() : undefined;
  if (inner !== undefined) {
    // What is not YAML in there is not ours to judge.
    return parseDocuments(inner, new Findings()).flatMap((root) => search(root, depth - 1));
  }
  const flag = new RegExp(`(?:^|-)${FLAG}=`).exec(text);
  return flag !== null && listsPlugin(text.slice(text.indexOf("=") + 1)) ? [node.place] : [];
}

function searchMap(node: Node, depth: number): readonly Place[] {
  const named = node.get("name")?.text === FLAG ? node.get("value") : undefined;
  return node.entries.flatMap(({ key, value }) => {
    const isFlag = key === FLAG || (named !== undefined && key === "value");
    if (!isFlag) return search(value, depth - 1);
    const values = value.kind === "list" ? value.items : [value];
    return values.filter((item) => listsPlugin(item.text ?? "")).map((item) => item.place);
  });
}

function listsPlugin(plugins: string): boolean {
  return plugins.split(",").some((plugin) => plugin.trim() === PLUGIN);
}
