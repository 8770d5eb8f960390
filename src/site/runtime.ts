import { exportArchive } from "#archive";
import type { Clock } from "#base";
import type { Runtime } from "#deliver";
import type { Site } from "#profile";
import {
  CONTAINERD_SOCKET,
  Containerd,
  type ContainerdFacts,
  IMAGES_FOLDERS,
  ImagesFolder,
} from "#runtime";
import type { DiskStore } from "#store";
import { serveOnLoopback } from "./loopback-registry.ts";

/** What a runtime is opened with. */
export interface RuntimeOptions {
  readonly site: Pick<Site, "runtime" | "runtimeSocket">;
  readonly store: DiskStore;
  readonly clock: Clock;
  /** Where this very store is served by plain http on loopback already: `127.0.0.1:port`. */
  readonly servedAt?: string;
}

/** A runtime, and what was started for it. */
export interface OpenRuntime extends AsyncDisposable {
  /** Undefined when the site file names none. */
  readonly runtime: Runtime | undefined;
}

/**
 * The runtime that the site file names, as a delivery wants it. k3s and RKE2 get archives into their
 * folder, because most deliveries come before they run for the first time; `runtime.socket` has images
 * loaded into their containerd at once.
 */
export function openRuntime(options: RuntimeOptions): OpenRuntime {
  const { runtime: kind, runtimeSocket: socket } = options.site;
  if (kind === undefined || kind === "none") {
    return { runtime: undefined, [Symbol.asyncDispose]: async () => undefined };
  }
  if (kind === "containerd" || socket !== undefined) {
    return openContainerd(kind, socket ?? CONTAINERD_SOCKET, options);
  }
  return openImagesFolder(kind, IMAGES_FOLDERS[kind], options.store);
}

function openContainerd(kind: string, socket: string, options: RuntimeOptions): OpenRuntime {
  const { store, clock } = options;
  // containerd pulls by digest, so whoever else finds the port gets what the site serves anyhow.
  const served = options.servedAt === undefined ? serveOnLoopback(store, clock) : undefined;
  const servedAt = options.servedAt ?? served?.address;
  const containerd = new Containerd({
    ...{ socket, clock, content: store },
    ...(servedAt === undefined ? {} : { servedAt }),
  });
  return {
    runtime: {
      address: `${kind} at ${socket}`,
      prepare: async ({ signal }) => warningsOf(await containerd.facts(signal)),
      load: (image, { signal }) => containerd.load(image, signal),
      retain: async (names, { signal }) => void (await containerd.retain(names, signal)),
    },
    async [Symbol.asyncDispose]() {
      containerd[Symbol.dispose]();
      await served?.[Symbol.asyncDispose]();
    },
  };
}

function warningsOf({ version, hasPinning }: ContainerdFacts): readonly string[] {
  if (hasPinning) return [];
  return [
    `containerd ${version} tells kubelet of no pinned images (1.7 is the first that does), so kubelet's collection may remove images that nothing runs when its disk fills up. Update containerd, or set imageGCHighThresholdPercent to 100 in kubelet's configuration; what was removed is loaded again by the next delivery`,
  ];
}

function openImagesFolder(kind: string, folder: string, store: DiskStore): OpenRuntime {
  const images = new ImagesFolder({
    folder,
    async writeArchive(image, path, signal) {
      await exportArchive(store, image, path, { signal });
    },
  });
  return {
    runtime: {
      address: `${kind} by ${folder}`,
      prepare: async () => [],
      load: (image, { signal }) => images.load(image, signal),
      retain: async (names) => void (await images.retain(names)),
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
