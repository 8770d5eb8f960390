import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "#base";

/** What watches miss, network mounts and links that are exchanged, is looked for so often. */
const LOOK_MS = 60_000;

/**
 * Nothing may have been written for so long before what changed is read: half a profile reads as a whole
 * one with fewer images, and several files may belong together.
 */
const QUIET_MS = 2_000;

/** What never comes to rest is read after so long. */
const RESTLESS_MS = 60_000;

/** What was read, each path with how it was before that: see {@link versionOf}. */
export type Versions = readonly (readonly [path: string, version: string])[];

/** Tells when reading files and folders again would give something else. */
export class WatchedFiles {
  readonly #clock: Clock;
  #read: ReadonlyMap<string, string> = new Map();
  #stir = (): void => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was read is watched from now on, in place of what was watched until now. */
  watch(read: Versions): void {
    this.#read = new Map(read);
    this.#stir();
  }

  /** What is watched, as it is now. */
  versions(): Versions {
    return [...this.#read.keys()].map((path) => [path, versionOf(path)]);
  }

  /** Whether something is not as it was when it was read. */
  hasChanged(): boolean {
    return [...this.#read].some(([path, version]) => versionOf(path) !== version);
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
export function versionOf(path: string): string {
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
