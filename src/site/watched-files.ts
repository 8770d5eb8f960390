import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "#base";
import type { InputFiles } from "#profile";

/** What watches miss, network mounts and links that are exchanged, is looked for so often. */
const LOOK_MS = 60_000;

/**
 * Nothing may have been written for so long before what changed is read: half a profile reads as a whole
 * one with fewer images, and several files may belong together.
 */
const QUIET_MS = 2_000;

/** What never comes to rest is read after so long. */
const RESTLESS_MS = 60_000;

/** Input files that remember what was read, and tell when reading it again would give something else. */
export class WatchedFiles implements InputFiles {
  readonly #files: InputFiles;
  readonly #clock: Clock;
  /** What was read, and how it was before that. */
  #read = new Map<string, string>();
  #stir = (): void => undefined;

  constructor(files: InputFiles, clock: Clock) {
    this.#files = files;
    this.#clock = clock;
  }

  read(path: string) {
    this.#note(path);
    return this.#files.read(path);
  }

  list(folder: string) {
    this.#note(folder);
    return this.#files.list(folder);
  }

  /** What was read until now is forgotten: all is read again. */
  begin(): void {
    this.#read = new Map();
  }

  /** Whether something is not as it was when it was read. */
  hasChanged(): boolean {
    return [...this.#read].some(([path, version]) => versionOf(path) !== version);
  }

  /** All is read: from now on that is watched. */
  end(): void {
    this.#stir();
  }

  /** Resolves when something of it has changed; rejects with the reason of the signal. */
  async changed(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#stirred(signal);
      await this.#settled(signal);
      if (this.hasChanged()) return;
    }
  }

  async #settled(signal: AbortSignal): Promise<void> {
    let before: string | undefined;
    for (let waitedMs = 0; waitedMs < RESTLESS_MS; waitedMs += QUIET_MS) {
      const now = JSON.stringify([...this.#read.keys()].map(contentVersionOf));
      if (now === before) return;
      before = now;
      await this.#clock.sleep(QUIET_MS, signal);
    }
  }

  /** Resolves when it is time to look: something was written beside what was read, or long nothing. */
  async #stirred(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stir = resolve;
    const watchers = this.#folders().flatMap((folder) => watchFolder(folder, resolve));
    try {
      // What changed before it was watched is seen here.
      if (this.hasChanged()) return;
      const until = AbortSignal.any([signal, over.signal]);
      await Promise.race([promise, this.#clock.sleep(LOOK_MS, until)]);
    } finally {
      over.abort();
      for (const watcher of watchers) watcher.close();
    }
  }

  #note(path: string): void {
    if (path !== "-" && !this.#read.has(path)) this.#read.set(path, versionOf(path));
  }

  #folders(): readonly string[] {
    const paths = [...this.#read.keys()];
    return [...new Set([...paths, ...paths.map((path) => dirname(path))])].sort();
  }
}

/** Where it can't be watched, it is looked at from time to time. */
function watchFolder(path: string, onEvent: () => void): readonly FSWatcher[] {
  try {
    if (!statSync(path).isDirectory()) return [];
    const watcher = watch(path, { persistent: false }, onEvent);
    watcher.on("error", onEvent);
    return [watcher];
  } catch {
    return [];
  }
}

/** Differs when a file was written or exchanged, also behind a link, or a folder has other files. */
function versionOf(path: string): string {
  try {
    const status = statSync(path, { bigint: true });
    if (status.isDirectory()) return JSON.stringify(readdirSync(path).sort());
    return `${status.dev} ${status.ino} ${status.size} ${status.mtimeNs} ${status.ctimeNs}`;
  } catch {
    return "absent";
  }
}

/** Of a folder, with what is in its files: one that is new may still be written. */
function contentVersionOf(path: string): string {
  return JSON.stringify([versionOf(path), ...entriesOf(path).map(versionOf)]);
}

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path).map((name) => join(path, name));
  } catch {
    return [];
  }
}
