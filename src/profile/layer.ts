/** The layers of a cluster profile (Palette's `packs[].layer`); `kernel` exists in its schema too. */
export const LAYERS = ["kernel", "os", "k8s", "cni", "csi", "addon"] as const;

/** One of {@link LAYERS}. */
export type Layer = (typeof LAYERS)[number];

/** Whether a layer is infrastructure: everything below the applications. */
export function isInfrastructure(layer: Layer): boolean {
  return layer !== "addon";
}
