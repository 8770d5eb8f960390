import { createHash } from "node:crypto";

/** The digest of what a path leads to; null when it leads nowhere. */
type State = string | null;

/** What came out when a registry was asked for all that it promised. */
export interface Look {
  /** How many paths led to content, whose bytes were compared. */
  readonly found: number;
  readonly bytes: number;
  /** How many unanswered requests had been carried out, and how many had not. */
  readonly done: number;
  readonly undone: number;
}

/**
 * What a registry has answered for: what each path of its API leads to. A request that got no answer may
 * have been carried out or not; from the first look on it must stay as it was found.
 */
export class Promises {
  readonly #states = new Map<string, ReadonlySet<State>>();
  /** What the manifests list, by their digests. */
  readonly #blobsOf = new Map<string, readonly string[]>();

  /** Something is about to be asked for, after which these paths lead there. */
  begin(paths: readonly string[], state: State): void {
    for (const path of paths) this.#states.set(path, new Set(this.#of(path)).add(state));
  }

  /** It was answered that these paths lead there now. */
  settle(paths: readonly string[], state: State): void {
    for (const path of paths) this.#states.set(path, new Set([state]));
  }

  /** Says which blobs a manifest lists: as long as it is there, a collection leaves them. */
  list(manifest: string, blobs: readonly string[]): void {
    this.#blobsOf.set(manifest, blobs);
  }

  /** The paths of a repository's manifests that lead to this one. */
  manifestPaths(repository: string, digest: string): readonly string[] {
    const start = `/v2/${repository}/manifests/`;
    const all = [...this.#states].filter(([path, to]) => path.startsWith(start) && to.has(digest));
    return all.map(([path]) => path);
  }

  /** Whether the path leads anywhere, as far as that is known. */
  leads(path: string): boolean {
    return [...this.#of(path)].some((state) => state !== null);
  }

  /** A collection has run, or will: it may take blobs that no manifest of their repository lists. */
  allowCollection(): void {
    const needed = new Set<string>();
    for (const [path, states] of this.#states) {
      const [, repository, digest = ""] = /^(.*)\/manifests\/(sha256:.*)$/.exec(path) ?? [];
      if (!states.has(digest)) continue;
      for (const blob of this.#blobsOf.get(digest) ?? []) needed.add(`${repository}/blobs/${blob}`);
    }
    for (const path of this.#states.keys()) {
      if (path.includes("/blobs/") && !needed.has(path)) this.begin([path], null);
    }
  }

  /**
   * Asks for everything and compares every byte.
   *
   * @throws {Error} that names the first promise which is broken
   */
  async check(origin: string): Promise<Look> {
    const total = { found: 0, bytes: 0, done: 0, undone: 0 };
    for (const [path, states] of this.#states) {
      const { state, bytes } = await read(origin, path);
      if (!states.has(state)) {
        throw new Error(`${path} leads to ${state}, expected ${[...states].join(" or ")}`);
      }
      if (state !== null) total.found += 1;
      total.bytes += bytes;
      // The first of two is what was before.
      if (states.size > 1) total[state === [...states][0] ? "undone" : "done"] += 1;
      if (state === null) this.#states.delete(path);
      else this.settle([path], state);
    }
    return total;
  }

  #of(path: string): ReadonlySet<State> {
    return this.#states.get(path) ?? new Set([null]);
  }
}

async function read(origin: string, path: string): Promise<{ state: State; bytes: number }> {
  const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
  const response = await fetch(`${origin}${path}`, { headers, decompress: false });
  const bytes = await response.bytes();
  if (response.status === 404) return { state: null, bytes: 0 };
  if (response.status !== 200) throw new Error(`GET ${path} was answered with ${response.status}`);
  const state = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const said = response.headers.get("docker-content-digest");
  if (said !== state) throw new Error(`GET ${path} gave ${state}, and said that it is ${said}`);
  return { state, bytes: bytes.byteLength };
}
