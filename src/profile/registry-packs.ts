import { type Finding, Findings, type Place, quoted } from "#base";
import type { Node } from "./document.ts";
import { type MappingRule, readMappingRules } from "./mapping-rule.ts";
import type { Pack } from "./pack.ts";
import {
  type PackedCertificates,
  type PackedCredential,
  readPackedCertificates,
  readPackedCredential,
} from "./registry-credential.ts";
import { TemplateScope, type TemplateValues } from "./scope.ts";

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
  /** Undefined when no pack says who may push. */
  readonly credential: PackedCredential | undefined;
  readonly trust: PackedCertificates;
  readonly place: Place;
  /** What there is to say of its port and its project, to be told where they are used. */
  readonly unclear: { readonly port: readonly Finding[]; readonly project: readonly Finding[] };
}

/** The local registry that the packs of a cluster declare together, if any. */
export function readPackedRegistry(
  packs: readonly Pack[],
  values: TemplateValues,
): PackedRegistry | undefined {
  const byName = (name: string) => packs.find((pack) => pack.name === name);
  const present = REGISTRY_PACKS.flatMap((name) => byName(name) ?? []);
  const [first] = present;
  if (first === undefined) return undefined;
  const isHarbor = present.some(
    ({ name }) => name === "harbor" || name === "harbor-edge-native-config",
  );
  const roots = present.flatMap((pack) => pack.wholeValues() ?? []);
  const [ofPort, ofProject] = [new Findings(), new Findings()];
  return {
    kind: isHarbor ? "harbor" : "oci",
    port: readPort(roots, new TemplateScope(values, ofPort), ofPort) ?? DEFAULT_PORT,
    project: readProject(roots, new TemplateScope(values, ofProject), ofProject),
    packNames: present.map(({ name }) => name),
    credential: readPackedCredential(present, values),
    trust: readPackedCertificates(present, values),
    place: first.place,
    unclear: { port: told(ofPort), project: told(ofProject) },
  };
}

/** What stands there is for the registry's own pack to judge: here a default or the site file makes up for it. */
function told({ faults, warnings }: Findings): readonly Finding[] {
  return [...faults, ...warnings];
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

function readPort(
  roots: readonly Node[],
  scope: TemplateScope,
  findings: Findings,
): number | undefined {
  for (const node of roots.flatMap((root) => PORT_PATHS.map((path) => root.at(...path)))) {
    const text = node === undefined ? undefined : scope.resolve(node)?.trim();
    if (node === undefined || text === undefined || text === "") continue;
    const port = Number(text);
    if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
    findings.warn(
      node.place,
      "local-port-invalid",
      `${quoted(text, 60)} is no port of a local registry, so it is passed over`,
      "Write a number from 1 to 65535, or set localRegistry.address in the site file",
    );
  }
  return undefined;
}

/** Both spellings of registry-connect; the first is the newer one. */
const PROJECT_PATHS = [
  ["charts", "registry-connect", "config", "content", "sync", "projects", "images"],
  ["charts", "registry-connect", "config", "registry", "inClusterRegistry", "projects", "images"],
] as const;

function readProject(
  roots: readonly Node[],
  scope: TemplateScope,
  findings: Findings,
): string | undefined {
  const [taken, ...others] = roots.flatMap((root) => {
    return PROJECT_PATHS.flatMap((path) => readName(root, path, scope));
  });
  for (const other of others) {
    if (taken === undefined || other.name === taken.name) continue;
    findings.warn(
      other.place,
      "local-project-conflict",
      `${taken.path} is ${quoted(taken.name)} and ${other.path} is ${quoted(other.name)}, and the first is taken`,
      "Keep one of the two, or set localRegistry.project in the site file",
    );
  }
  return taken?.name;
}

function readName(root: Node, path: readonly string[], scope: TemplateScope) {
  const node = root.at(...path);
  const name = node === undefined ? undefined : scope.resolve(node)?.trim();
  if (node === undefined || name === undefined || name === "") return [];
  return [{ name, path: path.join("."), place: node.place }];
}
