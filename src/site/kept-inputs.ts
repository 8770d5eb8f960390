import type { InputFiles, InputProblem } from "#profile";
import type { SiteArtifact } from "#steering";
import { type Versions, versionOf } from "./watched-files.ts";

/**
 * The inputs of a site as they were when they were read, for other processes of this program: what is
 * wrong with newer ones must harm nothing. They hold the secrets of the site.
 */
export interface KeptInputs {
  /** By path as it was asked for: the bytes, or why there are none. */
  readonly files: Readonly<Record<string, Uint8Array | InputProblem>>;
  /** By folder: the names in it, or why there are none. */
  readonly folders: Readonly<Record<string, readonly string[] | InputProblem>>;
  /** What the addresses among the profiles stand for. */
  readonly artifacts: readonly SiteArtifact[];
}

/** Input files that keep what is read of them, and know how each was before that. */
export class KeepingFiles implements InputFiles {
  readonly #files: InputFiles;
  readonly #read = new Map<string, Uint8Array | InputProblem>();
  readonly #versions = new Map<string, string>();
  readonly #listed = new Map<string, readonly string[] | InputProblem>();

  constructor(files: InputFiles) {
    this.#files = files;
  }

  read(path: string) {
    this.#note(path);
    const found = this.#files.read(path);
    this.#read.set(path, found);
    return found;
  }

  list(folder: string) {
    this.#note(folder);
    const found = this.#files.list(folder);
    this.#listed.set(folder, found);
    return found;
  }

  /** For who watches what was read. */
  versions(): Versions {
    return [...this.#versions];
  }

  /** All that was read until now. */
  kept(): Omit<KeptInputs, "artifacts"> {
    return { files: Object.fromEntries(this.#read), folders: Object.fromEntries(this.#listed) };
  }

  #note(path: string): void {
    if (!this.#versions.has(path)) this.#versions.set(path, versionOf(path));
  }
}

/** Input files as they were kept. What nobody asked for then does not exist. */
export function filesAsKept({ files, folders }: Omit<KeptInputs, "artifacts">): InputFiles {
  const read = new Map(Object.entries(files));
  const listed = new Map(Object.entries(folders));
  return {
    read: (path) => read.get(path) ?? NOT_KEPT,
    list: (folder) => listed.get(folder) ?? NOT_KEPT,
  };
}

const NOT_KEPT: InputProblem = { code: "input-missing", message: "it does not exist" };
