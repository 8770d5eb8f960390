import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Failure, quoted, systemErrorCode } from "#base";
import { parseReference } from "#reference";
import type { LoadedAs, LoadOutcome } from "./containerd.ts";
import { isRunnableGraph } from "./import-image.ts";
import { kubeletName } from "./names.ts";

/** Where k3s and RKE2 look for image archives, if their data folder is the default one. */
export const IMAGES_FOLDERS: Readonly<Record<"k3s" | "rke2", string>> = {
  k3s: "/var/lib/rancher/k3s/agent/images",
  rke2: "/var/lib/rancher/rke2/agent/images",
};

/** Writes an image as an archive that `ctr images import` reads: whole, durable, under that name alone. */
export type WriteArchive = (image: LoadedAs, path: string, signal: AbortSignal) => Promise<void>;

/** What the folder is given. */
export interface ImagesFolderOptions {
  readonly folder: string;
  readonly writeArchive: WriteArchive;
}

/**
 * The `agent/images` folder of k3s and RKE2. What lies there is imported into containerd and pinned
 * against kubelet's collection when the program starts, and since the releases of January 2025 (1.29.13,
 * 1.30.9, 1.31.5, 1.32.0) also while it runs (docs.k3s.io/import-images).
 *
 * One archive for each image, by names that tell whose they are and of which image: what is ours and no
 * longer wanted is removed, what a person put there stays. An image that k3s has imported stays in its
 * containerd until kubelet is asked for it no more and somebody takes its pin.
 */
export class ImagesFolder {
  readonly #options: ImagesFolderOptions;

  /** Touches nothing yet. */
  constructor(options: ImagesFolderOptions) {
    this.#options = options;
  }

  /** Where it is. */
  get folder(): string {
    return this.#options.folder;
  }

  /**
   * Puts an image there, unless it is there already, digest and all.
   *
   * @throws {Failure} `images-folder-unwritable`; what writing the archive throws
   */
  async load({ name, graph }: LoadedAs, signal: AbortSignal): Promise<LoadOutcome> {
    const { folder, writeArchive } = this.#options;
    if (!isRunnableGraph(graph)) return "not-runnable";
    const path = join(folder, `${prefixOf(name)}${shortHash(graph.manifest.digest)}.tar`);
    if (existsSync(path)) return "present";
    this.#attempt(() => mkdirSync(folder, { recursive: true, mode: 0o755 }));
    await writeArchive({ name: kubeletName(parseReference(name)), graph }, path, signal);
    // An older image of that name would be imported too, and whichever is the last one wins.
    this.#remove((file) => file.startsWith(prefixOf(name)) && !path.endsWith(`/${file}`));
    return "loaded";
  }

  /**
   * Removes archives of ours of all but these declared images, and what a run that died was writing.
   * Nothing is being written meanwhile. Gives the files that went.
   *
   * @throws {Failure} `images-folder-unwritable`
   */
  async retain(declared: Iterable<string>): Promise<readonly string[]> {
    const kept = [...declared].map(prefixOf);
    return this.#remove((file) => {
      return DRAFT.test(file) || !kept.some((prefix) => file.startsWith(prefix));
    });
  }

  #remove(isUnwanted: (file: string) => boolean): readonly string[] {
    return this.#attempt(() => {
      const ours = this.#files().filter((file) => OURS.test(file) || DRAFT.test(file));
      const files = ours.filter(isUnwanted);
      for (const file of files) rmSync(join(this.folder, file), { force: true });
      return files;
    });
  }

  #files(): readonly string[] {
    try {
      return readdirSync(this.folder);
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return [];
      throw error;
    }
  }

  #attempt<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      throw new Failure({
        code: "images-folder-unwritable",
        message: `Cannot write to ${quoted(this.folder)}: the system answered ${code}, expected a folder for image archives`,
        hint: "Run dray as root, and make room on that disk",
        cause: error,
      });
    }
  }
}

const OURS = /^drayage-[\w.-]*-[0-9a-f]{16}-[0-9a-f]{16}\.tar$/;

/** What {@link WriteArchive} writes to until the archive is whole; no program takes it for one. */
const DRAFT = /^\.drayage-[\w.-]*-[0-9a-f]{16}-[0-9a-f]{16}\.tar\.dray-\d+$/;

/** Readable as far as a file's name can be, and told apart by the hash. */
function prefixOf(name: string): string {
  const readable = name.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 120);
  return `drayage-${readable}-${shortHash(name)}-`;
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
