import { type Failure, isFailure, Limiter } from "#base";
import { readImageGraph } from "#content";
import type { DeliveryContext } from "./context.ts";
import {
  COMPLETE,
  type ImageOutcome,
  type LoadFailure,
  type LoadOutcome,
  type LoadSummary,
} from "./event.ts";
import type { ImageWork } from "./image.ts";
import type { Runtime } from "./runtime.ts";
import { inBackground, settleAll } from "./settle-all.ts";

/** Images that are loaded at once: one is unpacked while the next one is read. */
const LOADS_MAX = 2;

/** After these no other image would fare better. */
const RUNTIME_REFUSES: ReadonlySet<string> = new Set([
  ...["runtime-unreachable", "runtime-silent", "runtime-old", "images-folder-unwritable"],
]);

/** Puts images into the runtime, each once it is complete in the store, while others are still fetched. */
export interface LoadStage {
  /** Something became of an image; if it is complete, it is loaded, behind the caller's back. */
  offer(work: ImageWork, outcome: ImageOutcome): void;
  /** An image that no plan declares is complete in the store. */
  offerNamed(image: string): void;
  /**
   * No image is offered any more. Resolves when nothing runs behind the caller's back.
   *
   * @param kept names that stay loaded; undefined: whatever is there stays
   */
  finish(kept: readonly string[] | undefined): Promise<LoadSummary>;
}

/** The image of an operating system is no container's: it is handed over, and not loaded. */
export function wantsLoad({ planned }: ImageWork): boolean {
  return planned.category !== "provider";
}

/**
 * Asks the runtime at once whether it can be loaded into, so that a missing socket is known early.
 *
 * @param works those that are to be loaded, of the stages that are attempted
 */
export function createLoadStage(
  works: readonly ImageWork[],
  runtime: Runtime,
  delivery: DeliveryContext,
): LoadStage {
  const ended = new AbortController();
  const signal = AbortSignal.any([delivery.signal, ended.signal]);
  const context: DeliveryContext = { ...delivery, signal };
  const outcomes = { loaded: 0, present: 0, "not-runnable": 0, failed: 0, skipped: 0 };
  const failures: LoadFailure[] = [];
  const places = new Limiter(LOADS_MAX);
  const refuse = (failure: LoadFailure) => {
    if (ended.signal.aborted) return;
    failures.push(failure);
    context.emit({ type: "runtime-failed", failure });
    ended.abort();
  };
  const ready = prepare(runtime, context).catch((error: unknown) => {
    if (!isFailure(error)) {
      context.stop(error);
      throw error;
    }
    if (!signal.aborted) refuse(describe(error, runtime, null));
  });
  const running: Promise<unknown>[] = [inBackground(ready)];
  let images = works.length;
  const run = async (image: string) => {
    await ready;
    const startedMs = context.clock.monotonic();
    const { outcome, failure } = await attempt(image, { places, runtime, context });
    outcomes[outcome] += 1;
    const isOfAll = failure !== undefined && RUNTIME_REFUSES.has(failure.code);
    if (failure !== undefined && !isOfAll) failures.push(failure);
    const ms = context.clock.monotonic() - startedMs;
    const told = failure === undefined ? {} : { failure };
    context.emit({ type: "runtime-loaded", image, outcome, ms, ...told });
    if (isOfAll) refuse(failure);
  };
  return {
    offer(work, outcome) {
      if (wantsLoad(work) && COMPLETE.has(outcome)) running.push(inBackground(run(work.image)));
    },
    offerNamed(image) {
      images += 1;
      running.push(inBackground(run(image)));
    },
    async finish(kept) {
      await settleAll(running);
      try {
        if (kept !== undefined && !signal.aborted) await runtime.retain(kept, { signal });
      } catch (error) {
        if (!isFailure(error)) throw error;
        if (!signal.aborted) refuse(describe(error, runtime, null));
      }
      const counted = outcomes.loaded + outcomes.present + outcomes["not-runnable"];
      return {
        ...{ runtime: runtime.address, images, ...outcomes, failures },
        skipped: images - counted - outcomes.failed,
      };
    },
  };
}

async function prepare(runtime: Runtime, { signal, emit }: DeliveryContext): Promise<void> {
  for (const message of await runtime.prepare({ signal })) {
    emit({ type: "runtime-warning", runtime: runtime.address, message });
  }
}

interface Loading {
  readonly places: Limiter;
  readonly runtime: Runtime;
  readonly context: DeliveryContext;
}

async function attempt(
  image: string,
  { places, runtime, context }: Loading,
): Promise<{ readonly outcome: LoadOutcome; readonly failure?: LoadFailure }> {
  const { store, platform, signal } = context;
  try {
    const outcome = await places.run(signal, async () => {
      const root = await store.lookup(image);
      // A collection beside us can't take what a plan declares.
      if (root === undefined) return "skipped";
      const graph = await readImageGraph(store, root, platform, { signal });
      return runtime.load({ name: image, graph }, { signal });
    });
    return { outcome };
  } catch (error) {
    if (signal.aborted) return { outcome: "skipped" };
    if (!isFailure(error)) {
      context.stop(error);
      throw error;
    }
    return { outcome: "failed", failure: describe(error, runtime, image) };
  }
}

function describe(
  { code, message, hint }: Failure,
  { address: runtime }: Runtime,
  image: string | null,
): LoadFailure {
  return { image, runtime, code, message, hint };
}
