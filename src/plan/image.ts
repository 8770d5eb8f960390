import { assert, type Place } from "#base";
import {
  compareCodeUnits,
  isBootstrapPack,
  isInfrastructure,
  LAYERS,
  type Layer,
  type WantedImage,
} from "#profile";
import { formatReference, type Reference } from "#reference";
import type { StageName } from "./plan.ts";

/** An image of the cluster, all its declarations joined: one entry however many packs name it. */
export interface DeclaredImage {
  /** The reference, normalised, as text. */
  readonly name: string;
  readonly reference: Reference;
  readonly category: StageName;
  readonly layer: Layer;
  readonly packs: readonly string[];
  /** An application pack, or the site file, declares it, whatever else does. */
  readonly isApplication: boolean;
  readonly at: readonly Place[];
}

/**
 * Joins declarations of the same image. It goes to the earliest of its stages, and its layer is the
 * lowest of those that declare it there. The result is in code-unit order of the names, so it does
 * not depend on the order of the files.
 */
export function joinDeclarations(wanted: readonly WantedImage[]): readonly DeclaredImage[] {
  const groups = new Map<string, WantedImage[]>();
  for (const image of wanted) {
    const name = formatReference(image.reference);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [image]);
    else group.push(image);
  }
  return [...groups]
    .sort(([a], [b]) => compareCodeUnits(a, b))
    .map(([name, group]) => join(name, group));
}

function join(name: string, group: readonly WantedImage[]): DeclaredImage {
  const [first] = group;
  assert(first !== undefined, "a group has at least one image");
  const packs = new Set(group.flatMap(({ pack }) => pack ?? []));
  return {
    name,
    reference: first.reference,
    category: categoryOf(group),
    layer: LAYERS.find((layer) => group.some((image) => image.layer === layer)) ?? first.layer,
    packs: [...packs].sort(compareCodeUnits),
    isApplication: group.some((image) => !isInfrastructure(image.layer)),
    at: group.map(({ place }) => place).sort(comparePlaces),
  };
}

function categoryOf(group: readonly WantedImage[]): StageName {
  if (group.some(({ isProvider }) => isProvider)) return "provider";
  return group.some(({ layer }) => isInfrastructure(layer)) ? "infrastructure" : "application";
}

function comparePlaces(a: Place, b: Place): number {
  return compareCodeUnits(a.file, b.file) || a.line - b.line || a.column - b.column;
}

/** Whether one of the packs that declare it carries the local registry itself. */
export function isBootstrapImage({ packs }: DeclaredImage): boolean {
  return packs.some(isBootstrapPack);
}
