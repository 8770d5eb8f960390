import { createMemoryStore, readImageGraph, type Store } from "#content";
import { ANONYMOUS } from "#credential";
import { type DeliverOptions, type DeliveryEvent, type DeliverySummary, deliver } from "#deliver";
import { type Platform, parsePlatform } from "#oci";
import { type Plan, type PlannedImage, STAGE_NAMES, type StageName } from "#plan";
import { formatReference, parseReference } from "#reference";
import { createManualClock, type ManualClock } from "#test-support/clock";
import { createScriptedWorld, type ScriptedWorld } from "#test-support/scripted-world";

/** References by stage, as a person would list them; `declared <- source` when they differ. */
export type StageImages = Partial<Record<StageName, readonly string[]>>;

/**
 * A plan with these images and nothing else in it.
 *
 * @param local where application images are uploaded: `host:port`
 */
export function planOf(images: StageImages, local?: string): Plan {
  return {
    profiles: ["test"],
    registries: { provider: null, external: [], local: null },
    combination: { supported: true, needsExtended: false },
    stages: STAGE_NAMES.map((name) => ({
      name,
      images: (images[name] ?? []).map((text) => plannedImage(name, text, local)),
    })),
    warnings: [],
    faults: [],
  };
}

function plannedImage(category: StageName, text: string, local: string | undefined): PlannedImage {
  const [declared = "", source = declared] = text.split(" <- ");
  return {
    declared: parseReference(declared),
    packs: ["pack"],
    layer: category === "provider" ? "os" : category === "infrastructure" ? "cni" : "addon",
    category,
    source: parseReference(source),
    access: ANONYMOUS,
    local:
      local === undefined || category !== "application"
        ? null
        : `${local}/spectro-images/${formatReference(parseReference(declared))}`,
    because: [],
    at: [],
  };
}

/** A site with a store and the world's registries around it. */
export interface DeliverySite {
  readonly world: ScriptedWorld;
  readonly store: Store;
  readonly clock: ManualClock;
  /** Delivers, and gives the summary and everything that was told on the way. */
  run(
    images: StageImages,
    options?: Partial<DeliverOptions>,
  ): Promise<{ readonly summary: DeliverySummary; readonly events: readonly DeliveryEvent[] }>;
}

const PLATFORM: Platform = parsePlatform("linux/amd64");

/** A site of linux/amd64 machines. */
export function createDeliverySite(store: Store = createMemoryStore()): DeliverySite {
  const world = createScriptedWorld();
  const clock = createManualClock();
  return {
    world,
    store,
    clock,
    async run(images, options = {}) {
      const events: DeliveryEvent[] = [];
      const summary = await deliver(planOf(images, options.localRegistry?.address), {
        store,
        clock,
        platform: PLATFORM,
        random: () => 0,
        openSource: ({ source }) => world.open(source),
        signal: new AbortController().signal,
        ...options,
        emit(event) {
          events.push(event);
          options.emit?.(event);
        },
      });
      return { summary, events };
    },
  };
}

/** The names of a store whose image is not all there: always none, whatever went wrong. */
export async function incompleteNames(store: Store): Promise<readonly string[]> {
  const incomplete: string[] = [];
  const options = { signal: new AbortController().signal };
  for (const { name, descriptor } of await store.names()) {
    try {
      const { blobs, documents } = await readImageGraph(store, descriptor, PLATFORM, options);
      for (const content of [...blobs, ...documents.map(({ descriptor }) => descriptor)]) {
        if (!(await store.has(content))) incomplete.push(name);
      }
    } catch {
      incomplete.push(name);
    }
  }
  return incomplete;
}

/** The declared name of a reference, as events and stores have it. */
export function nameOf(text: string): string {
  return formatReference(parseReference(text));
}
