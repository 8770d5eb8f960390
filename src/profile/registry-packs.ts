import type { Findings, Place } from "#base";
import type { Node } from "./document.ts";
import { type MappingRule, readMappingRules } from "./mapping-rule.ts";
import type { Pack } from "./pack.ts";

/** The packs that put a registry on the cluster (design section 2, `combination` and `bootstrap`). */
const REGISTRY_PACKS = ["harbor-edge-native-config", "registry-connect", "harbor", "zot"] as const;

/** What stands beside a local registry and must run before it: certificates and their reloading. */
const COMPANION_PACKS: ReadonlySet<string> = new Set(["cert-manager", "certmanager", "reloader"]);

/** Port of Harbor and Zot on every node, in all of Palette's presets. */
const DEFAULT_PORT = 30003;

/** A local registry that the profile itself declares. */
export interface PackedRegistry {
  readonly kind: "harbor" | "oci";
  readonly port: number;
  /** Undefined when no pack names one. */
  readonly project: string | undefined;
  readonly packNames: readonly string[];
  readonly place: Place;
}

/** The local registry that the packs of a cluster declare together, if any. */
export function readPackedRegistry(packs: readonly Pack[]): PackedRegistry | undefined {
  const byName = (name: string) => packs.find((pack) => pack.name === name);
  const present = REGISTRY_PACKS.flatMap((name) => byName(name) ?? []);
  const [first] = present;
  if (first === undefined) return undefined;
  const isHarbor = present.some(
    ({ name }) => name === "harbor" || name === "harbor-edge-native-config",
  );
  const all = present.map((pack) => pack.wholeValues());
  const ports = all.map((values) => (values === undefined ? undefined : readPort(values)));
  const projects = all.map((values) => (values === undefined ? undefined : readProject(values)));
  return {
    kind: isHarbor ? "harbor" : "oci",
    port: ports.find((port) => port !== undefined) ?? DEFAULT_PORT,
    project: projects.find((project) => project !== undefined),
    packNames: present.map(({ name }) => name),
    place: first.place,
  };
}

/** Whether a pack carries the local registry itself, so that its images can't depend on it. */
export function isBootstrapPack(name: string): boolean {
  return REGISTRY_PACKS.some((candidate) => candidate === name) || COMPANION_PACKS.has(name);
}

/** `imageReplacementRules` of a registry-connect pack, a map or a list. */
export function readImageReplacementRules(
  packs: readonly Pack[],
  findings: Findings,
): readonly MappingRule[] {
  return packs
    .filter(({ name }) => name === "registry-connect")
    .flatMap((pack) => {
      const config = pack.wholeValues()?.at("charts", "registry-connect", "config");
      return readMappingRules(config?.at("registry", "imageReplacementRules"), findings);
    });
}

/** Where the packs' values name the port that nodes dial. */
const PORT_PATHS = [
  ["harbor-config", "service", "harbor", "https"],
  ["harbor-config", "service", "harbor"],
  ["charts", "harbor", "expose", "nodePort", "ports", "https", "nodePort"],
  ["charts", "zot", "service", "nodePort"],
] as const;

function readPort(values: Node): number | undefined {
  for (const path of PORT_PATHS) {
    const port = Number(values.at(...path)?.text ?? Number.NaN);
    if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  }
  return undefined;
}

const PROJECT_PATHS = [
  ["charts", "registry-connect", "config", "content", "sync", "projects", "images"],
  ["charts", "registry-connect", "config", "registry", "inClusterRegistry", "projects", "images"],
] as const;

function readProject(values: Node): string | undefined {
  for (const path of PROJECT_PATHS) {
    const project = values.at(...path)?.text?.trim();
    if (project !== undefined && project !== "") return project;
  }
  return undefined;
}
