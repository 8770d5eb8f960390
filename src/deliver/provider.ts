import { Failure, isFailure } from "#base";
import { type CallOptions, type ImageGraph, readImageGraph } from "#content";
import type { Digest, Platform } from "#oci";
import type { DeliveryContext } from "./context.ts";
import type { DeliveryFailure, HandOverOutcome, ProviderSummary } from "./event.ts";
import type { ImageWork } from "./image.ts";
import { describe } from "./stage.ts";

/** A provider image that is complete in the store. */
export interface ProviderImage {
  /** As declared, normalised. */
  readonly name: string;
  /** As the store has it: also where what was verified before had to stand. */
  readonly graph: ImageGraph;
}

/** How core images are loaded. */
export interface CoreImageOptions extends CallOptions {
  readonly platform: Platform;
  /** The names that the plan itself declares: what they stand for is the plan's to say. */
  readonly declared: ReadonlySet<string>;
}

/** What was found in a provider image. */
export interface CoreLoading {
  /** `loaded`: it was looked through, and the store has what was found; `present`: it was before. */
  readonly outcome: "loaded" | "present";
  /** Archives of images that there are in it. */
  readonly archives: number;
  /** What its images are called, also those that the plan declares itself; sorted. */
  readonly names: readonly string[];
  /** Sentences about what can't be used, each with its path inside the image. */
  readonly warnings: readonly string[];
}

/** Puts the images that lie inside a provider image, as archives, into the store, under their names. */
export interface CoreImages {
  /** @throws {Failure} what the store throws; an image that can't be looked through is a warning */
  load(image: ProviderImage, options: CoreImageOptions): Promise<CoreLoading>;
}

/** What the operating system is given, told before it is made. */
export interface HandOverStart {
  /** `rootfs`, `oci-archive`, … */
  readonly form: string;
  /** A path, or a reference in the embedded registry. */
  readonly target: string;
  /** The program that is run, without its words, which may hold secrets; null when none is. */
  readonly program: string | null;
}

/** How a hand-over is followed. */
export interface HandOverOptions extends CallOptions {
  /** Called once, and not when there is nothing to do. */
  readonly onStart: (start: HandOverStart) => void;
  /** Called for each line that the program writes, fit to print. */
  readonly onOutput: (line: string) => void;
}

/** What a hand-over came to. */
export interface HandOverEnd extends HandOverStart {
  readonly outcome: "done" | "present";
  /** Of the program; null when none was run. */
  readonly exitStatus: number | null;
}

/** Gives the provider image to the operating system. */
export interface HandOver {
  /**
   * Does nothing when this very image was handed over before, in the same form and with success.
   *
   * @throws {Failure} `hand-over-failed`, `hand-over-timeout`, `hand-over-missing`, and what making the
   *   form throws
   */
  run(image: ProviderImage, options: HandOverOptions): Promise<HandOverEnd>;
}

/** What is done with provider images once all of them are complete, as part of their stage. */
export interface ProviderSteps {
  /** Core images are not looked for without it. */
  readonly coreImages?: CoreImages;
  /** Nothing is handed over without it. */
  readonly handOver?: HandOver;
}

/**
 * Loads the core images, then hands the provider image over. The core images come first because the
 * operating system may restart the machine once it has its image.
 */
export async function finishProvider(
  works: readonly ImageWork[],
  { coreImages, handOver }: ProviderSteps,
  declared: ReadonlySet<string>,
  context: DeliveryContext,
): Promise<ProviderSummary> {
  const loadings: CoreLoading[] = [];
  let isDone = true;
  for (const work of works) {
    if (coreImages === undefined || !isDone) break;
    const loading = await loadCoreImages(work, coreImages, declared, context);
    if (loading === undefined) isDone = false;
    else loadings.push(loading);
  }
  let outcome: HandOverOutcome = "skipped";
  if (handOver !== undefined && isDone && works.length > 0) {
    outcome = await handOverAll(works, handOver, context);
  }
  return {
    coreImages: coreImages === undefined ? null : sumOf(loadings),
    handOver: handOver === undefined || works.length === 0 ? null : outcome,
    isDone: isDone && (handOver === undefined || works.length === 0 || COMPLETE.has(outcome)),
  };
}

const COMPLETE: ReadonlySet<HandOverOutcome> = new Set(["done", "present"]);

function sumOf(loadings: readonly CoreLoading[]): ProviderSummary["coreImages"] {
  return {
    archives: loadings.reduce((sum, { archives }) => sum + archives, 0),
    names: [...new Set(loadings.flatMap(({ names }) => names))].sort(),
  };
}

/** Undefined when it failed, which was told, or was interrupted. */
async function loadCoreImages(
  work: ImageWork,
  coreImages: CoreImages,
  declared: ReadonlySet<string>,
  context: DeliveryContext,
): Promise<CoreLoading | undefined> {
  const { clock, emit, signal, platform } = context;
  const { image } = work;
  const startedMs = clock.monotonic();
  const tell = (end: Pick<CoreLoading, "archives" | "names">, outcome: CoreOutcome) => {
    const ms = clock.monotonic() - startedMs;
    emit({ type: "core-images-done", image, ...outcome, ...end, ms });
  };
  emit({ type: "core-images-started", image });
  try {
    const options = { signal, platform, declared };
    const loading = await coreImages.load(await readProvider(work, context), options);
    for (const message of loading.warnings) emit({ type: "warning", image, message });
    const { outcome, archives, names } = loading;
    tell({ archives, names }, { outcome });
    return loading;
  } catch (error) {
    const failure = failureOf(error, work, context);
    tell(
      { archives: 0, names: [] },
      failure === undefined ? { outcome: "skipped" } : { outcome: "failed", failure },
    );
    return undefined;
  }
}

type CoreOutcome =
  | { readonly outcome: "loaded" | "present" | "skipped" }
  | { readonly outcome: "failed"; readonly failure: DeliveryFailure };

async function handOverAll(
  works: readonly ImageWork[],
  handOver: HandOver,
  context: DeliveryContext,
): Promise<HandOverOutcome> {
  const [work, ...others] = works;
  if (work === undefined) return "skipped";
  const { clock, emit, signal } = context;
  const { image } = work;
  const startedMs = clock.monotonic();
  const end = (digest: Digest | null, rest: HandOverDone): HandOverOutcome => {
    emit({ type: "hand-over-done", image, digest, ...rest, ms: clock.monotonic() - startedMs });
    return rest.outcome;
  };
  try {
    if (others.length > 0) throw ambiguous(works);
    const provider = await readProvider(work, context);
    const { digest } = provider.graph.manifest;
    const { outcome, exitStatus } = await handOver.run(provider, {
      signal,
      onStart: (start) => emit({ type: "hand-over-started", image, digest, ...start }),
      onOutput: (line) => emit({ type: "hand-over-output", image, line }),
    });
    return end(digest, { outcome, exitStatus });
  } catch (error) {
    const failure = failureOf(error, work, context);
    if (failure === undefined) return end(null, { outcome: "skipped", exitStatus: null });
    return end(null, { outcome: "failed", exitStatus: exitStatusOf(error), failure });
  }
}

interface HandOverDone {
  readonly outcome: HandOverOutcome;
  readonly exitStatus: number | null;
  readonly failure?: DeliveryFailure;
}

/** A program that ended by itself, and not well. */
export class CommandFailure extends Failure {
  /** Null when a signal ended it. */
  readonly exitStatus: number | null;

  /** Of a program that was run for the operating system. */
  constructor(fields: ConstructorParameters<typeof Failure>[0], exitStatus: number | null) {
    super(fields);
    this.exitStatus = exitStatus;
  }
}

function exitStatusOf(error: unknown): number | null {
  return error instanceof CommandFailure ? error.exitStatus : null;
}

function ambiguous(works: readonly ImageWork[]): Failure {
  return new Failure({
    code: "hand-over-ambiguous",
    message: `Cannot hand over the provider image: the plan has ${works.length} (${works.map(({ image }) => image).join(", ")}), expected one`,
    hint: "Leave one OS pack in the profiles, or set provider.handOver.form to none in the site file",
  });
}

/** By its name and not as it was fetched: when its registry is out of reach, what stands is handed over. */
async function readProvider(
  { image }: ImageWork,
  { store, platform, signal }: DeliveryContext,
): Promise<ProviderImage> {
  const root = await store.lookup(image);
  if (root !== undefined) {
    return { name: image, graph: await readImageGraph(store, root, platform, { signal }) };
  }
  throw new Failure({
    code: "content-missing",
    message: `Cannot find provider image ${image} in the store: its name is gone, expected what was delivered`,
    hint: "Run `dray deliver` again",
  });
}

/** Undefined when the delivery is being ended. What is no failure of the world is a bug, and is thrown. */
function failureOf(
  error: unknown,
  work: ImageWork,
  { signal, stop }: DeliveryContext,
): DeliveryFailure | undefined {
  if (signal.aborted) return undefined;
  if (isFailure(error)) return describe(work, error);
  stop(error);
  throw error;
}
