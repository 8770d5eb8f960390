import type { Digest } from "#oci";
import { formatReference, type Reference } from "#reference";
import type { Labels } from "./api.ts";

/** That CRI looks after a name (containerd, `internal/cri/labels`). */
const MANAGED: Labels = { "io.cri-containerd.image": "managed" };

/** That kubelet must not collect the image; CRI tells it so since containerd 1.7. */
const PIN = "io.cri-containerd.pinned";

/** That the pin is ours to take away again. */
const OURS = "drayage.io/pinned";

/** That all of what the name stood for was brought in and unpacked. */
const LOADED = "drayage.io/loaded";

/** Labels of a name that somebody else pinned, and whose image we brought. */
export const LOADED_LABELS: Labels = { ...MANAGED, [LOADED]: "true" };

/** Labels of a name that we make or take over. */
export const PINNED_LABELS: Labels = { ...LOADED_LABELS, [PIN]: "pinned", [OURS]: "true" };

/** Labels of a name that we pinned, without the pin: an empty label is none to containerd. */
export const UNPINNED_LABELS: Labels = { [PIN]: "", [OURS]: "" };

/** Whether kubelet's collection passes a name by, whoever said so. */
export function isPinned(labels: Labels): boolean {
  return labels[PIN] === "pinned";
}

/** Whether what a name stood for was brought in whole. */
export function isLoaded(labels: Labels): boolean {
  return labels[LOADED] === "true";
}

/** Whether the pin of a name is ours. */
export function isOurs(labels: Labels): boolean {
  return labels[OURS] === "true";
}

/**
 * The name that kubelet asks CRI for when a pod declares this reference: normalised, and of a tag with a
 * digest the digest alone counts (containerd asks `ParseDockerRef` of distribution/reference).
 */
export function kubeletName({ domain, path, tag, digest }: Reference): string {
  return formatReference({
    ...{ domain, path },
    ...(digest === undefined ? { ...(tag === undefined ? {} : { tag }) } : { digest }),
  });
}

/**
 * Every name that a pull by CRI gives an image: what was asked for, its repository with the digest that
 * it stands for, and the digest of its config, by which CRI knows images.
 */
export function runtimeNames(
  declared: Reference,
  root: Digest,
  config: Digest | undefined,
): readonly string[] {
  const { domain, path } = declared;
  return [
    // CRI knows an image by this one: it must be there when the others come.
    ...(config === undefined ? [] : [config]),
    ...new Set([formatReference({ domain, path, digest: root }), kubeletName(declared)]),
  ];
}
