import { type Clock, isFailure, Limiter } from "#base";
import { type ImageGraph, readImageGraph, type Store } from "#content";
import type { Descriptor, Platform } from "#oci";
import type { Plan, PlannedImage, StageName } from "#plan";
import type { Followed } from "#redirect";
import { formatReference, type Reference } from "#reference";
import { type BlobReader, createBlobReader, type Examined, examinePlace } from "./examine.ts";
import type { RuntimeImage, SiteRegistries, SiteRole, Way } from "./ports.ts";
import {
  type Problem,
  type Proof,
  type ProvenPlace,
  type ProvenReference,
  type SiteState,
  sealProof,
} from "./proof.ts";
import { judgeRedirection } from "./redirection.ts";

/** What a proof is made from, beside the plan. */
export interface ProveOptions {
  readonly site: Omit<SiteState, "profiles">;
  readonly platform: Platform;
  /** What was delivered and verified. It is read, never written. */
  readonly store: Store;
  readonly registries: SiteRegistries;
  /** What people call each registry. */
  readonly names: Readonly<Record<SiteRole, string>>;
  /** The way that the runtime's files send it; undefined when no runtime is redirected. */
  readonly follow?: (reference: Reference) => Followed;
  /** What the runtime has under the name that kubelet asks for; left out when it was not looked at. */
  readonly inRuntime?: (reference: Reference) => RuntimeImage | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Hears of each reference that is done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** How many references are examined at a time: the registries are near, and one of them is this program. */
const IMAGES_MAX = 6;

/**
 * Examines every reference of a plan. What is wrong is part of the answer, never thrown.
 *
 * @throws the signal's reason; bugs
 */
export async function prove(plan: Plan, options: ProveOptions): Promise<Proof> {
  const { signal, clock, store, site, onProgress = () => undefined } = options;
  const images = plan.stages.flatMap((stage) =>
    stage.images.map((image) => ({ image, stage: stage.name })),
  );
  const limiter = new Limiter(IMAGES_MAX);
  const reader = createBlobReader(store, { signal });
  let done = 0;
  const references = await Promise.all(
    images.map(({ image, stage }) =>
      limiter.run(signal, async () => {
        const proven = await new Proving(plan, image, stage, options, reader).run();
        done += 1;
        onProgress(done, images.length);
        return proven;
      }),
    ),
  );
  return sealProof({ profiles: plan.profiles, ...site }, references, clock.now());
}

/** The proof of one reference. */
class Proving {
  readonly #plan: Plan;
  readonly #image: PlannedImage;
  readonly #stage: StageName;
  readonly #options: ProveOptions;
  readonly #reader: BlobReader;
  readonly #problems: Problem[] = [];

  constructor(
    plan: Plan,
    image: PlannedImage,
    stage: StageName,
    options: ProveOptions,
    reader: BlobReader,
  ) {
    this.#plan = plan;
    this.#image = image;
    this.#stage = stage;
    this.#options = options;
    this.#reader = reader;
  }

  async run(): Promise<ProvenReference> {
    const { signal, store } = this.#options;
    signal.throwIfAborted();
    const declared = formatReference(this.#image.declared);
    const root = await store.lookup(declared);
    const found = this.#redirection();
    if (found !== undefined) this.#problems.push(...found.problems);
    const graph = root === undefined ? undefined : await this.#graphOf(root);
    if (root === undefined) this.#problems.push(notDelivered(declared));
    const places: ProvenPlace[] = [];
    for (const role of this.#wanted) {
      const ways = (found?.endpoints.get(role) ?? []).flatMap(
        (each) => this.#readable(() => this.#options.registries.wayOf(each)) ?? [],
      );
      const direct = this.#options.registries.directWay(role, this.#image);
      const tried = ways.length > 0 || direct === undefined ? ways : [direct];
      places.push(await this.#examine(role, tried, graph));
    }
    const runtime = this.#inRuntime(graph);
    return {
      declared,
      stage: this.#stage,
      digest: root?.digest ?? null,
      manifest: graph?.manifest.digest ?? null,
      bytes: graph === undefined ? 0 : bytesOf(graph),
      redirection: found?.redirection ?? null,
      places,
      runtime,
      ok: this.#problems.length === 0,
      problems: unique(this.#problems),
    };
  }

  /** The registries that are to have the image: the local one if it is uploaded there, the embedded one always. */
  get #wanted(): readonly SiteRole[] {
    const { local } = this.#plan.registries;
    const isUploaded = this.#image.local !== null && local !== null && local.kind !== "embedded";
    return isUploaded ? ["local", "embedded"] : ["embedded"];
  }

  #redirection() {
    const { follow, registries, site } = this.#options;
    if (follow === undefined) return undefined;
    const runtime = site.runtime?.kind ?? "";
    const followed = this.#readable(() => follow(this.#image.declared));
    if (followed === undefined) return undefined;
    return judgeRedirection(this.#image, followed, registries, this.#wanted, runtime);
  }

  /** What the runtime's files say; undefined, with a problem more, when they can't be read. */
  #readable<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!isFailure(error)) throw error;
      this.#problems.push({ code: error.code, message: error.message, remedy: error.hint });
      return undefined;
    }
  }

  async #graphOf(root: Descriptor): Promise<ImageGraph | undefined> {
    const { store, platform, signal } = this.#options;
    try {
      return await readImageGraph(store, root, platform, { signal });
    } catch (error) {
      if (!isFailure(error)) throw error;
      this.#problems.push({
        code: "manifest-unreadable",
        message: `The store has not all of its manifests any more. ${error.message}`,
        remedy: "Run `dray verify`, then `dray deliver`, which fetches them again",
      });
      return undefined;
    }
  }

  /** By the first way that somebody answers on, as the runtime does; what the others said is told if nobody does. */
  async #examine(
    role: SiteRole,
    ways: readonly Way[],
    graph: ImageGraph | undefined,
  ): Promise<ProvenPlace> {
    const { names, site, signal } = this.#options;
    const [first] = ways;
    const unseen = { role, url: first?.url ?? null, digest: null };
    const nothing: ProvenPlace = { ...unseen, manifests: 0, blobs: 0, bytesRead: 0 };
    if (graph === undefined || first === undefined) {
      if (graph !== undefined) this.#problems.push(addressUnknown(names[role]));
      return nothing;
    }
    const mayBeOnePlatform =
      role === "local" && this.#plan.registries.local?.indexes === "one-platform";
    let told: Examined | undefined;
    for (const way of ways) {
      const question = { role, name: names[role], way, image: this.#image, graph };
      const asked = { ...question, mayBeOnePlatform };
      const examined = await examinePlace(asked, site.depth, this.#reader, signal);
      if (told === undefined || telling(examined) > telling(told)) told = examined;
      if (examined.place.digest !== null) break;
    }
    this.#problems.push(...(told?.problems ?? []));
    return told?.place ?? nothing;
  }

  /** The provider's image is for the operating system, and what has no config of an image runs nowhere. */
  #inRuntime(graph: ImageGraph | undefined): ProvenReference["runtime"] {
    const { inRuntime, site } = this.#options;
    const [config] = graph?.blobs ?? [];
    if (inRuntime === undefined || this.#stage === "provider") return null;
    if (config !== undefined && !IMAGE_CONFIG.test(config.mediaType)) return null;
    const image = inRuntime(this.#image.declared);
    const kind = site.runtime?.kind ?? "the runtime";
    if (image === undefined) {
      this.#problems.push({
        code: "runtime-lacks-image",
        message: `${kind} does not have the image under its name`,
        remedy: "Run `dray deliver`, which loads it into the runtime",
      });
      return { config: null, pinned: null };
    }
    if (config !== undefined && image.config !== config.digest) {
      this.#problems.push({
        code: "runtime-has-another",
        message: `${kind} has another image under the name: config ${image.config}, expected ${config.digest}`,
        remedy: "Run `dray deliver`, which loads it anew",
      });
    }
    if (image.isPinned === false) {
      this.#problems.push({
        code: "runtime-unpinned",
        message: `The image is not pinned in ${kind}, so kubelet may remove it when the disk fills`,
        remedy: "Run `dray deliver`, which pins it",
      });
    }
    return { config: image.config, pinned: image.isPinned ?? null };
  }
}

const IMAGE_CONFIG =
  /^application\/vnd\.(?:oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/;

/** Which of several failures says most: an answer does, and no connection at all does least. */
function telling({ place, problems: [first] }: Examined): number {
  if (place.digest !== null) return 3;
  if (first?.code === "registry-unreachable") return 0;
  return first?.code === "registry-protocol" ? 1 : 2;
}

function bytesOf({ documents, blobs }: ImageGraph): number {
  const all = [...documents.map(({ descriptor }) => descriptor), ...blobs];
  return all.reduce((sum, { size }) => sum + size, 0);
}

function notDelivered(declared: string): Problem {
  return {
    code: "not-delivered",
    message: `${declared} is not in the store`,
    remedy: "Run `dray deliver` with the same inputs while there is a link",
  };
}

function addressUnknown(name: string): Problem {
  return {
    code: "registry-address-unknown",
    message: `Nothing says where ${name} is`,
    remedy: "Set localRegistry.address in the site file to the host:port that nodes dial",
  };
}

/** A blob that two registries of the site lack is told of for each; the same words are told once. */
function unique(problems: readonly Problem[]): readonly Problem[] {
  const byText = new Map(
    problems.map((problem) => [`${problem.code} ${problem.message}`, problem]),
  );
  return [...byText.values()];
}
