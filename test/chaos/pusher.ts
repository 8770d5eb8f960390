import { createHash } from "node:crypto";
import { type Chance, createChance } from "#test-support/chance";
import { randomBytes } from "#test-support/images";
import type { Promises } from "./promises.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

const KIB = 1024;

/** How many images a pusher has in its repository before it deletes the oldest. */
const IMAGES_MAX = 10;

/** How many blobs the pushers have in common. */
const SHARED_MAX = 8;

/** What pushers need of a registry that may die. */
export interface PushedRegistry {
  readonly origin: string;
  /** True from when it was told to die: requests that are under way then get no answer. */
  readonly isDying: boolean;
  /** A collection may run at any time: it takes blobs that belong to no image before they are deleted. */
  readonly isCollected?: boolean;
  /** Called for each answer. */
  readonly onAnswer: () => void;
}

/** Thrown at a pusher whose registry died. */
class Died extends Error {}

interface Blob {
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Image {
  readonly digest: string;
  readonly blobs: readonly string[];
}

/** An upload that was under way when the registry died, and how much of it was answered for. */
interface Session {
  readonly location: string;
  readonly blob: Blob;
  readonly answeredBytes: number;
  /** Whether its end was asked for: then it may have come. */
  readonly isEnding: boolean;
}

/** What became of uploads whose registry died. */
export interface SessionTally {
  resumed: number;
  ended: number;
}

/**
 * A client that pushes images of all kinds, in all ways, to a repository of its own, and deletes some;
 * it writes down what it was promised. The seed decides what it does.
 */
export class Pusher {
  readonly sessions: SessionTally = { resumed: 0, ended: 0 };
  readonly #repository: string;
  readonly #others: readonly string[];
  readonly #promises: Promises;
  readonly #chance: Chance;
  readonly #images: Image[] = [];
  /** Digests of blobs that belong to no image, yet or any more. */
  readonly #loose = new Set<string>();
  /** What is being pushed: it may have come when the registry died. */
  #current: Image | undefined;
  /** Blobs that others may mount. They are never deleted. */
  readonly #shared: Blob[];
  #session: Session | undefined;
  #registry!: PushedRegistry;
  #made = 0;

  /** @param shared a list that all pushers of a registry have in common */
  constructor(
    seed: string,
    names: { readonly repository: string; readonly others: readonly string[] },
    { promises, shared }: { readonly promises: Promises; readonly shared: Blob[] },
  ) {
    this.#repository = names.repository;
    this.#others = names.others;
    this.#promises = promises;
    this.#shared = shared;
    this.#chance = createChance(seed);
  }

  /**
   * Pushes until the registry dies, or `isOver` says that it is enough.
   *
   * @throws {Error} when an answer is wrong, or does not come though the registry lives
   */
  async push(registry: PushedRegistry, isOver: () => boolean = () => false): Promise<void> {
    this.#registry = registry;
    try {
      await this.#resume();
      while (!isOver()) await this.#step();
    } catch (error) {
      if (!(error instanceof Died)) throw error;
    }
  }

  async #step(): Promise<void> {
    if (this.#images.length > IMAGES_MAX) return await this.#deleteOldest();
    if (this.#chance.happens(0.1)) return await this.#deleteTag();
    if (this.#chance.happens(0.1)) {
      await this.#pushBlob();
      return await this.#deleteLoose();
    }
    await this.#pushImage();
  }

  async #pushImage(): Promise<void> {
    const layers: Blob[] = [];
    for (let count = 1 + this.#chance.below(3); count > 0; count -= 1) {
      layers.push(this.#chance.happens(0.25) ? await this.#mount() : await this.#pushBlob());
    }
    const config = await this.#pushBlob(this.#make(200));
    const { bytes, digest } = manifestOf(config, layers);
    const blobs = [config, ...layers].map((blob) => blob.digest);
    this.#promises.list(digest, blobs);
    this.#current = { digest, blobs };
    // One that each image takes from the one before it, or one of its own.
    const path = this.#manifest(this.#chance.happens(0.3) ? "latest" : `v${this.#made}`);
    const put = { method: "PUT", body: bytes, headers: { "content-type": MANIFEST } };
    await this.#change([this.#manifest(digest), path], digest, [201], path, put);
    this.#adopt();
  }

  /** What was pushed is one of ours now, if it came. */
  #adopt(): void {
    const image = this.#current;
    this.#current = undefined;
    if (image === undefined || !this.#promises.leads(this.#manifest(image.digest))) return;
    this.#images.push(image);
    for (const digest of image.blobs) this.#loose.delete(digest);
  }

  async #deleteOldest(): Promise<void> {
    const [image] = this.#images;
    if (image === undefined) return;
    const paths = this.#promises.manifestPaths(this.#repository, image.digest);
    const path = this.#manifest(image.digest);
    // Gone already, when the registry died before it could say so.
    if (paths.includes(path)) await this.#change(paths, null, [202], path, { method: "DELETE" });
    this.#images.shift();
    for (const digest of image.blobs) this.#loose.add(digest);
    await this.#deleteLoose();
  }

  /** A manifest without its tag is there all the same. */
  async #deleteTag(): Promise<void> {
    const image = this.#images[this.#chance.below(this.#images.length)];
    const paths = this.#promises.manifestPaths(this.#repository, image?.digest ?? "");
    const tag = paths.find((path) => !path.includes("sha256:"));
    if (tag !== undefined) await this.#change([tag], null, [202], tag, { method: "DELETE" });
  }

  async #deleteLoose(): Promise<void> {
    const kept = this.#shared.map(({ digest }) => digest);
    for (const digest of this.#loose) {
      const path = this.#blob(digest);
      if (!kept.includes(digest) && this.#promises.leads(path)) {
        const statuses = this.#registry.isCollected === true ? [202, 404] : [202];
        await this.#change([path], null, statuses, path, { method: "DELETE" });
      }
      this.#loose.delete(digest);
    }
  }

  /** Takes a blob from another repository, when there is one; a registry may want its bytes all the same. */
  async #mount(): Promise<Blob> {
    if (this.#shared.length < SHARED_MAX) {
      const blob = await this.#pushBlob();
      this.#shared.push(blob);
      return blob;
    }
    const blob = this.#shared[this.#chance.below(this.#shared.length)] ?? this.#make(1);
    const path = this.#blob(blob.digest);
    this.#promises.begin([path], blob.digest);
    const from = this.#others[this.#chance.below(this.#others.length)] ?? this.#repository;
    const response = await this.#ask(
      `${this.#uploads()}?mount=${blob.digest}&from=${encodeURIComponent(from)}`,
      { method: "POST" },
    );
    if (response.status === 202) return await this.#send(locationOf(response), blob);
    expectStatus(response, 201);
    this.#promises.settle([path], blob.digest);
    return blob;
  }

  async #pushBlob(blob: Blob = this.#make(this.#size())): Promise<Blob> {
    this.#loose.add(blob.digest);
    if (this.#chance.happens(0.3)) {
      const path = `${this.#uploads()}?digest=${blob.digest}`;
      const body = { method: "POST", body: blob.bytes };
      await this.#change([this.#blob(blob.digest)], blob.digest, [201], path, body);
      return blob;
    }
    const begun = expectStatus(await this.#ask(this.#uploads(), { method: "POST" }), 202);
    return await this.#send(locationOf(begun), blob);
  }

  /** Sends an upload to its end, in chunks or as a whole; from `start` on. */
  async #send(location: string, blob: Blob, start = 0): Promise<Blob> {
    const { digest, bytes } = blob;
    const chunkBytes = Math.ceil(bytes.byteLength / (1 + this.#chance.below(5)));
    let [offset, path] = [start, location];
    while (offset + chunkBytes < bytes.byteLength) {
      this.#session = { location: path, blob, answeredBytes: offset, isEnding: false };
      const chunk = bytes.slice(offset, offset + chunkBytes);
      const range = `${offset}-${offset + chunk.byteLength - 1}`;
      // Without one it is a stream, as docker sends it.
      const headers: Record<string, string> = this.#chance.happens(0.5)
        ? { "content-range": range }
        : {};
      const sent = await this.#ask(path, { method: "PATCH", body: chunk, headers });
      path = locationOf(expectStatus(sent, 202));
      offset += chunk.byteLength;
    }
    this.#session = { location: path, blob, answeredBytes: offset, isEnding: true };
    const end = `${path}${path.includes("?") ? "&" : "?"}digest=${digest}`;
    const body = { method: "PUT", body: bytes.slice(offset) };
    await this.#change([this.#blob(digest)], digest, [201], end, body);
    this.#session = undefined;
    return blob;
  }

  /** Goes on after the registry's death, all promises being looked at: what came is kept or deleted. */
  async #resume(): Promise<void> {
    this.#adopt();
    await this.#resumeUpload();
    await this.#deleteLoose();
  }

  /** Goes on with the upload that was under way: what was answered for is there. */
  async #resumeUpload(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    const { location, blob, answeredBytes, isEnding } = session;
    const asked = await this.#ask(location);
    if (asked.status === 404 && isEnding) {
      this.#session = undefined;
      this.sessions.ended += 1;
      return;
    }
    const range = expectStatus(asked, 204).headers.get("range") ?? "none";
    const last = Number(/^0-(\d+)$/.exec(range)?.[1]);
    // Nothing at all looks as one byte does (S-3), and no chunk is that small.
    const here = last === 0 ? 0 : last + 1;
    if (!(here >= answeredBytes && here <= blob.bytes.byteLength)) {
      throw new Error(`${location} has ${range}, and ${answeredBytes} bytes were answered for`);
    }
    await this.#send(location, blob, here);
    this.sessions.resumed += 1;
  }

  /** Asks for a change; what is promised is written down before and after. */
  async #change(
    paths: readonly string[],
    state: string | null,
    statuses: readonly number[],
    path: string,
    init: RequestInit,
  ): Promise<void> {
    this.#promises.begin(paths, state);
    expectStatus(await this.#ask(path, init), ...statuses);
    this.#promises.settle(paths, state);
  }

  async #ask(path: string, init: RequestInit = {}): Promise<Response> {
    const { origin, onAnswer } = this.#registry;
    try {
      const response = await fetch(new URL(path, origin), init);
      // The answer has not come before its body has.
      await response.bytes();
      onAnswer();
      return response;
    } catch (error) {
      if (this.#registry.isDying) throw new Died();
      throw new Error(`${init.method ?? "GET"} ${path} was not answered`, { cause: error });
    }
  }

  #make(length: number): Blob {
    this.#made += 1;
    return blobOf(randomBytes(`${this.#repository}/${this.#made}`, length));
  }

  /** Mostly small ones, some of a middle size, few large ones. */
  #size(): number {
    const max = this.#chance.pick([4, 4, 4, 4, 4, 4, 200, 200, 200, 3_000]) * KIB;
    return 100 + this.#chance.below(max);
  }

  #blob(digest: string): string {
    return `/v2/${this.#repository}/blobs/${digest}`;
  }

  #manifest(reference: string): string {
    return `/v2/${this.#repository}/manifests/${reference}`;
  }

  #uploads(): string {
    return `/v2/${this.#repository}/blobs/uploads/`;
  }
}

/** Some pushers to one registry, each with a repository of its own. */
export function makePushers(seed: string, count: number, promises: Promises): readonly Pusher[] {
  const names = Array.from({ length: count }, (_, i) => `team-${i}/app`);
  const shared: Blob[] = [];
  return names.map((repository) => {
    const others = names.filter((name) => name !== repository);
    return new Pusher(`${seed}/${repository}`, { repository, others }, { promises, shared });
  });
}

function manifestOf(config: Blob, layers: readonly Blob[]): Blob {
  const describe = (mediaType: string, { digest, bytes }: Blob) => {
    return { mediaType, digest, size: bytes.byteLength };
  };
  const document = {
    ...{ schemaVersion: 2, mediaType: MANIFEST, config: describe(CONFIG, config) },
    layers: layers.map((layer) => describe(LAYER, layer)),
  };
  return blobOf(new TextEncoder().encode(JSON.stringify(document)));
}

function blobOf(bytes: Uint8Array<ArrayBuffer>): Blob {
  return { bytes, digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}` };
}

/** The answer, if it has such a status. */
function expectStatus(response: Response, ...statuses: readonly number[]): Response {
  if (statuses.includes(response.status)) return response;
  throw new Error(
    `${response.url} was answered with ${response.status}, expected ${statuses.join(" or ")}`,
  );
}

function locationOf(response: Response): string {
  return response.headers.get("location") ?? "no location";
}
