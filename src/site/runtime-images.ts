import type { Clock } from "#base";
import { createMemoryStore } from "#content";
import type { Site } from "#profile";
import type { Reference } from "#reference";
import { CONTAINERD_SOCKET, Containerd, kubeletName } from "#runtime";

/** What a runtime has, as it was at one moment. */
export interface RuntimeImages {
  /** The version of containerd. */
  readonly version: string;
  /** Whether it tells kubelet of pins; without, {@link RuntimeImage.isPinned} says nothing. */
  readonly hasPinning: boolean;
  /** By the name that kubelet asks for. */
  find(reference: Reference): RuntimeImage | undefined;
}

/** One image of a runtime. */
export interface RuntimeImage {
  /** The digest of its config, by which CRI knows images. */
  readonly id: string;
  readonly isPinned: boolean;
}

/**
 * Where the runtime of a site can be asked what it has; undefined where none is configured, or images
 * come to it by a folder alone.
 */
export function runtimeSocketOf({
  runtime,
  runtimeSocket,
}: Pick<Site, "runtime" | "runtimeSocket">): string | undefined {
  if (runtime === undefined || runtime === "none") return undefined;
  return runtimeSocket ?? (runtime === "containerd" ? CONTAINERD_SOCKET : undefined);
}

/**
 * Asks a containerd which images it has.
 *
 * @throws {Failure} `runtime-unreachable` and what else asking it does
 */
export async function listRuntimeImages(
  socket: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<RuntimeImages> {
  using containerd = new Containerd({ socket, content: createMemoryStore(), clock });
  const { hasPinning, version } = await containerd.facts(signal);
  const images = await containerd.listed(signal);
  const byName = new Map(images.flatMap((image) => image.names.map((name) => [name, image])));
  return { version, hasPinning, find: (reference) => byName.get(kubeletName(reference)) };
}
