import { type Clock, isFailure } from "#base";
import { readImageGraph, type Store } from "#content";
import type { ImageWhereabouts } from "#daemon";
import { type Descriptor, type Digest, formatPlatform, type Platform } from "#oci";
import type { Plan } from "#plan";
import { formatReference, type Reference } from "#reference";
import { runnableConfig } from "#runtime";
import type { RuntimeImages } from "./runtime-images.ts";

/** What whereabouts are found out with. */
export interface WhereaboutsOptions {
  readonly clock: Clock;
  /** Asks the runtime at a socket which images it has. */
  listRuntime(socket: string, signal: AbortSignal): Promise<RuntimeImages>;
}

/** What is looked for, and where. */
export interface Sought {
  readonly plan: Plan;
  /** With the names of the revision that the plan is of. */
  readonly store: Pick<Store, "lookup" | "fetch">;
  readonly platform: Platform;
  /** Where the runtime is asked; undefined: nowhere. */
  readonly socket: string | undefined;
}

/** What one root leads to. */
interface Content {
  /** Of config and layers. */
  readonly bytes: number;
  /** By this digest CRI knows the image; null for what no runtime runs. */
  readonly config: Digest | null;
}

/** What a runtime has changes by itself: it is asked again after so long. */
const RUNTIME_FRESH_MS = 5_000;

/** Whoever looks at a page does not wait longer for a runtime that hangs. */
const RUNTIME_WAIT_MS = 2_000;

/** What is remembered: that of some revisions with ten thousand images each. */
const CONTENTS_MAX = 50_000;

const NEVER = new AbortController().signal;

/**
 * Tells where the images of a revision are. Pages ask for it again and again, so what can't change is
 * remembered, and the runtime is asked once for all who ask within some seconds.
 */
export class Whereabouts {
  readonly #options: WhereaboutsOptions;
  /** By root and platform. */
  readonly #contents = new Map<string, Content>();
  #runtime:
    | {
        readonly socket: string;
        readonly untilMs: number;
        readonly images: Promise<RuntimeImages | null>;
      }
    | undefined;

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
  }

  /** By declared reference. @throws {Failure} what looking up a name does */
  async of({ plan, store, platform, socket }: Sought): Promise<Map<string, ImageWhereabouts>> {
    const runtime = await this.#imagesAt(socket);
    const found = new Map<string, ImageWhereabouts>();
    for (const { declared, category } of plan.stages.flatMap(({ images }) => images)) {
      const name = formatReference(declared);
      const root = await store.lookup(name);
      const content = root && (await this.#contentOf(root, store, platform));
      // The provider image is for the operating system, and what is no image for no runtime.
      const isForRuntime = category !== "provider" && content?.config !== null;
      found.set(name, {
        digest: root?.digest ?? null,
        bytes: content?.bytes ?? null,
        runtime:
          runtime === null || !isForRuntime ? null : stateIn(runtime, declared, content?.config),
      });
    }
    return found;
  }

  /** Undefined where it can't be told: a manifest is gone, or there is none for this platform. */
  async #contentOf(
    root: Descriptor,
    store: Sought["store"],
    platform: Platform,
  ): Promise<Content | undefined> {
    const key = `${root.digest} ${formatPlatform(platform)}`;
    const known = this.#contents.get(key);
    if (known !== undefined) return known;
    try {
      const graph = await readImageGraph(store, root, platform, { signal: NEVER });
      const bytes = graph.blobs.reduce((sum, { size }) => sum + size, 0);
      const content = { bytes, config: runnableConfig(graph)?.digest ?? null };
      if (this.#contents.size >= CONTENTS_MAX) this.#contents.clear();
      this.#contents.set(key, content);
      return content;
    } catch (error) {
      if (isFailure(error)) return undefined;
      throw error;
    }
  }

  async #imagesAt(socket: string | undefined): Promise<RuntimeImages | null> {
    if (socket === undefined) return null;
    const nowMs = this.#options.clock.monotonic();
    const last = this.#runtime;
    if (last !== undefined && last.socket === socket && nowMs < last.untilMs) return last.images;
    const images = this.#ask(socket);
    this.#runtime = { socket, untilMs: nowMs + RUNTIME_FRESH_MS, images };
    return images;
  }

  /** That it does not answer is told where something is wanted of it; here it is only not known. */
  async #ask(socket: string): Promise<RuntimeImages | null> {
    const { clock, listRuntime } = this.#options;
    const over = new AbortController();
    const tooLate = clock.sleep(RUNTIME_WAIT_MS, over.signal).then(
      () => null,
      () => null,
    );
    try {
      return await Promise.race([listRuntime(socket, over.signal), tooLate]);
    } catch (error) {
      if (isFailure(error)) return null;
      throw error;
    } finally {
      over.abort();
    }
  }
}

/** What it has under the name may be what the name stood for before. */
function stateIn(
  { find, hasPinning }: RuntimeImages,
  declared: Reference,
  config: Digest | undefined | null,
): ImageWhereabouts["runtime"] {
  const image = find(declared);
  if (image === undefined || image.id !== (config ?? image.id)) return "absent";
  return hasPinning && image.isPinned ? "pinned" : "present";
}
