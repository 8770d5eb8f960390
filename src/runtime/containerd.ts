import { type Clock, Failure, printable, quoted, SingleFlight } from "#base";
import type { Fetcher, ImageGraph } from "#content";
import type { Digest } from "#oci";
import { parseReference } from "#reference";
import { API, type ApiImage, apiDescriptor } from "./api.ts";
import type { CallSettings, GrpcSocket } from "./grpc.ts";
import { hasGrpcCode, RuntimeFailure } from "./grpc-failure.ts";
import { GRPC, type Method } from "./grpc-wire.ts";
import {
  importContent,
  isRunnableGraph,
  type RunnableImage,
  readRunnable,
} from "./import-image.ts";
import {
  isLoaded,
  isOurs,
  isPinned,
  kubeletName,
  LOADED_LABELS,
  PINNED_LABELS,
  runtimeNames,
  UNPINNED_LABELS,
} from "./names.ts";
import { type ImportSession, KUBERNETES_NAMESPACE } from "./session.ts";
import { deadlineFor } from "./write-content.ts";

/** Where containerd listens when nobody says otherwise. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** What containerd is. */
export interface ContainerdFacts {
  /** `1.7.24`, as it says. */
  readonly version: string;
  /** Where CRI unpacks images: `overlayfs`. */
  readonly snapshotter: string;
  /** Whether CRI keeps kubelet from collecting what is pinned: since 1.7. */
  readonly hasPinning: boolean;
}

/** An image of the store, under the name that the profile declares. */
export interface LoadedAs {
  /** Normalised. */
  readonly name: string;
  readonly graph: ImageGraph;
}

/** What became of an image that was to be loaded. */
export type LoadOutcome = "loaded" | "present" | "not-runnable";

/** What loading images is given. */
export interface ContainerdOptions {
  readonly socket: string;
  /** Gives the content of images: the store. */
  readonly content: Fetcher;
  /**
   * Where the store is served by plain http: `127.0.0.1:port`. Without it content is sent over the
   * socket, message by message.
   */
  readonly servedAt?: string;
  readonly clock: Clock;
}

/** Content that is in containerd, and that nothing of ours names yet. */
interface Brought {
  /** Takes back what held it meanwhile. */
  release(isWhole: boolean): Promise<void>;
}

/** A pull reads and unpacks. */
const PULL_FACTOR = 5;

const NAMESPACE = { "containerd-namespace": KUBERNETES_NAMESPACE };

/** An import that died keeps for so long what it brought, for the next one to go on with. */
const LEASE_MS = 24 * 3_600_000;

/** CRI hears of a new name by an event; on a busy machine that takes its time. */
const SEEN_WITHIN_MS = 10_000;
const SEEN_POLL_MS = 20;

/**
 * A containerd as kubelet sees it by CRI: images of the store are put into it under exactly the names
 * that kubelet asks for, unpacked, and pinned against kubelet's collection.
 *
 * containerd pulls the content by digest from a registry on loopback, which serves the store: no mirror
 * has a say in that, and it takes half as long as sending it over the socket (256 MB of 4 layers, on two
 * busy cores: 4.4 and 7.5 s against 10.9 and 14.9 s). What can't be pulled so is sent. Either way the
 * names are made afterwards, and stand for the digest that was verified.
 */
export class Containerd implements Disposable {
  /** Its library takes its time to load: who has no runtime does not wait for it. */
  #socket: Promise<GrpcSocket> | undefined;
  readonly #options: ContainerdOptions;
  readonly #flights = new SingleFlight<void>();
  #facts: ContainerdFacts | undefined;
  #servedAt: string | undefined;
  /** By name; asked for once, and kept up by what we change ourselves. */
  #images: Map<string, ApiImage> | undefined;

  /** Asks nobody yet. */
  constructor(options: ContainerdOptions) {
    this.#options = options;
    this.#servedAt = options.servedAt;
  }

  [Symbol.dispose](): void {
    void this.#socket?.then((api) => api[Symbol.dispose]());
  }

  /** Where it listens. */
  get socket(): string {
    return this.#options.socket;
  }

  /**
   * What it is; asked once.
   *
   * @throws {Failure} `runtime-unreachable`, `runtime-silent`, `runtime-old`, `runtime-failed`
   */
  async facts(signal: AbortSignal): Promise<ContainerdFacts> {
    if (this.#facts !== undefined) return this.#facts;
    const { runtimeName, runtimeVersion } = await this.#call(API.criVersion, {}, { signal });
    if (runtimeName !== "containerd") throw notContainerd(this.socket, runtimeName);
    const version = printable(runtimeVersion, 60);
    const snapshotter = await this.#snapshotter(signal);
    this.#facts = { version, snapshotter, hasPinning: isAtLeast(version, 1, 7) };
    return this.#facts;
  }

  /**
   * Makes an image of the store one that kubelet can start containers from. What is there already, and
   * pinned, costs nothing.
   *
   * @throws {Failure} `runtime-unreachable`, `runtime-silent`, `runtime-old`, `runtime-failed`, `layer-mismatch`,
   *   `runtime-blind`; what reading the store throws
   */
  async load({ name, graph }: LoadedAs, signal: AbortSignal): Promise<LoadOutcome> {
    const { content } = this.#options;
    if (!isRunnableGraph(graph)) return "not-runnable";
    const image = await readRunnable(graph, { content, signal });
    const names = runtimeNames(parseReference(name), graph.root.digest, image.config.digest);
    const images = await this.#list(signal);
    if (names.every((each) => isThere(images.get(each), each, image))) return "present";
    const brought = (await this.#pull(name, image, signal)) ?? (await this.#send(image, signal));
    let isWhole = false;
    try {
      for (const each of names) await this.#name(each, graph, signal);
      await this.#seen(kubeletName(parseReference(name)), image.config.digest, signal);
      isWhole = true;
    } finally {
      await brought.release(isWhole);
    }
    return "loaded";
  }

  /**
   * Takes our pins from all names but those of these declared images, so that kubelet may collect what
   * no profile needs any more. Pins that others set stay. Gives the names that lost theirs.
   *
   * @throws {Failure} `runtime-unreachable`, `runtime-silent`, `runtime-old`, `runtime-failed`
   */
  async retain(declared: Iterable<string>, signal: AbortSignal): Promise<readonly string[]> {
    const images = await this.#list(signal);
    const kept = new Set<string>();
    for (const name of declared) {
      const target = images.get(kubeletName(parseReference(name)))?.target;
      if (target !== undefined) kept.add(target.digest);
    }
    const released: string[] = [];
    for (const image of images.values()) {
      if (!isOurs(image.labels) || kept.has(image.target.digest)) continue;
      await this.#update({ ...image, labels: UNPINNED_LABELS }, signal);
      released.push(image.name);
    }
    return released;
  }

  /**
   * The images that CRI lists, as kubelet sees them.
   *
   * @throws {Failure} `runtime-unreachable`, `runtime-silent`, `runtime-old`, `runtime-failed`
   */
  async listed(signal: AbortSignal): Promise<
    readonly {
      readonly id: string;
      readonly names: readonly string[];
      readonly isPinned: boolean;
    }[]
  > {
    const { images } = await this.#call(API.criListImages, {}, { signal });
    return images.map(({ id, repoTags, repoDigests, pinned }) => ({
      ...{ id, names: [...repoTags, ...repoDigests], isPinned: pinned },
    }));
  }

  /** Undefined when it can't be pulled: containerd may be told to ask somebody else for everything. */
  async #pull(
    name: string,
    { graph, config }: RunnableImage,
    signal: AbortSignal,
  ): Promise<Brought | undefined> {
    if (this.#servedAt === undefined) return undefined;
    const { domain, path } = parseReference(name);
    const image = `${this.#servedAt}/${domain}/${path}@${graph.root.digest}`;
    const bytes = graph.blobs.reduce((sum, { size }) => sum + size, 0);
    try {
      const settings = { signal, deadlineMs: deadlineFor(bytes * PULL_FACTOR) };
      const { imageRef } = await this.#call(API.criPullImage, { image: { image } }, settings);
      // The name is the last thing of the pull that nobody wants.
      const release = () => this.#delete(image);
      if (imageRef === config.digest) return { release };
      await release();
      return undefined;
    } catch (error) {
      if (!(error instanceof RuntimeFailure)) throw error;
      this.#servedAt = undefined;
      return undefined;
    }
  }

  async #send(image: RunnableImage, signal: AbortSignal): Promise<Brought> {
    const { content, clock } = this.#options;
    const { snapshotter } = await this.facts(signal);
    const lease = await this.#takeLease(signal);
    const session: ImportSession = {
      ...{ api: await this.#open(), content, snapshotter, signal, lease, clock },
      flights: this.#flights,
    };
    await importContent(image, session);
    return {
      release: async (isWhole) => {
        // After a failure it stays till it ends: the next import goes on with what it holds.
        if (isWhole) await this.#dropLease(lease, signal);
      },
    };
  }

  /** Also after the end was called for: nobody else would. */
  async #delete(name: string): Promise<void> {
    const settings = { signal: AbortSignal.timeout(5_000), metadata: NAMESPACE };
    await this.#call(API.deleteImage, { name, sync: false }, settings).catch(() => undefined);
  }

  async #call<Request extends object, Response>(
    method: Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    const api = await this.#open();
    return api.call(method, request, settings);
  }

  #open(): Promise<GrpcSocket> {
    this.#socket ??= import("./grpc.ts").then(({ GrpcSocket: Socket }) => new Socket(this.socket));
    return this.#socket;
  }

  async #list(signal: AbortSignal): Promise<Map<string, ApiImage>> {
    if (this.#images !== undefined) return this.#images;
    const { images } = await this.#call(
      API.listImages,
      { filters: [] },
      { signal, metadata: NAMESPACE },
    );
    this.#images ??= new Map(images.map((image) => [image.name, image]));
    return this.#images;
  }

  /** Makes a name, or moves it. A pin that somebody else set is not ours to take away later. */
  async #name(name: string, { root }: ImageGraph, signal: AbortSignal): Promise<void> {
    const images = await this.#list(signal);
    const old = images.get(name);
    const isTheirs = old !== undefined && isPinned(old.labels) && !isOurs(old.labels);
    const labels = isTheirs ? LOADED_LABELS : PINNED_LABELS;
    const image: ApiImage = { name, target: apiDescriptor(root), labels };
    if (old === undefined) {
      try {
        await this.#call(API.createImage, { image }, { signal, metadata: NAMESPACE });
      } catch (error) {
        // CRI makes the name of the config by itself when it hears of another one.
        if (!hasGrpcCode(error, GRPC.ALREADY_EXISTS)) throw error;
        await this.#update(image, signal, ["target"]);
      }
    } else await this.#update(image, signal, ["target"]);
    images.set(name, { ...image, labels: { ...old?.labels, ...labels } });
  }

  async #update(image: ApiImage, signal: AbortSignal, more: readonly string[] = []): Promise<void> {
    const paths = [...more, ...Object.keys(image.labels).map((key) => `labels.${key}`)];
    await this.#call(
      API.updateImage,
      { image, updateMask: { paths } },
      { signal, metadata: NAMESPACE },
    );
    const old = this.#images?.get(image.name);
    this.#images?.set(image.name, { ...image, labels: { ...old?.labels, ...image.labels } });
  }

  async #seen(name: string, config: Digest, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonic() + SEEN_WITHIN_MS;
    for (;;) {
      const { image } = await this.#call(
        API.criImageStatus,
        { image: { image: name } },
        { signal },
      );
      if (image?.id === config) return;
      if (clock.monotonic() > deadlineMs) throw unseen(name, this.socket);
      await clock.sleep(SEEN_POLL_MS, signal);
    }
  }

  async #takeLease(signal: AbortSignal): Promise<string> {
    const expires = new Date(this.#options.clock.now() + LEASE_MS).toISOString();
    const { lease } = await this.#call(
      API.createLease,
      { id: "", labels: { "containerd.io/gc.expire": expires, "drayage.io/import": "true" } },
      { signal, metadata: NAMESPACE },
    );
    return lease?.id ?? "";
  }

  async #dropLease(id: string, signal: AbortSignal): Promise<void> {
    await this.#call(API.deleteLease, { id, sync: false }, { signal, metadata: NAMESPACE });
  }

  /**
   * containerd 1.x tells its configuration; 2.x only where the file systems of images lie, in a folder
   * that is named after the snapshotter's plugin.
   */
  async #snapshotter(signal: AbortSignal): Promise<string> {
    const { info } = await this.#call(API.criStatus, { verbose: true }, { signal });
    const told = snapshotterOf(info["config"]);
    if (told !== undefined) return told;
    const { imageFilesystems } = await this.#call(API.criImageFsInfo, {}, { signal });
    for (const { fsId } of imageFilesystems) {
      const [, name] =
        /\/io\.containerd\.snapshotter\.v1\.([\w-]+)$/.exec(fsId?.mountpoint ?? "") ?? [];
      if (name !== undefined) return name;
    }
    return "overlayfs";
  }
}

function snapshotterOf(config: string | undefined): string | undefined {
  try {
    const { containerd } = JSON.parse(config ?? "") as { containerd?: { snapshotter?: unknown } };
    const name = containerd?.snapshotter;
    return typeof name === "string" && name !== "" ? name : undefined;
  } catch {
    return undefined;
  }
}

/** The name is pinned, and what it stands for was unpacked. */
function isThere(image: ApiImage | undefined, name: string, { graph }: RunnableImage): boolean {
  if (image === undefined || !isPinned(image.labels) || !isLoaded(image.labels)) return false;
  // Two indexes may lead to one config, whose name then stands for either.
  return image.target.digest === graph.root.digest || !name.includes("/");
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [, ours = "0", theirs = "0"] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(ours) > major || (Number(ours) === major && Number(theirs) >= minor);
}

function notContainerd(socket: string, name: string): Failure {
  return new Failure({
    code: "runtime-unreachable",
    message: `Cannot load images by ${quoted(socket)}: the runtime there is ${quoted(name)}, expected containerd`,
    hint: "Set runtime.kind to none in the site file: other runtimes pull from the embedded registry by their own mirrors",
  });
}

function unseen(name: string, socket: string): Failure {
  return new Failure({
    code: "runtime-blind",
    message: `Cannot see image ${name} by CRI at ${quoted(socket)}: containerd has it, but did not tell CRI within ${SEEN_WITHIN_MS / 1000} s`,
    hint: "Restart containerd, which reads its images anew then, and run `dray deliver` again",
    transient: true,
  });
}
