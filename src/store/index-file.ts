import { join } from "node:path";
import { type Disk, readText, replaceFile } from "./disk.ts";
import { formatIndex, type Layout } from "./layout.ts";
import type { NameTable } from "./names.ts";

/**
 * The `index.json` of a store, which other tools read: a copy of the names, written once for many of
 * them. It rejects with the system's errors.
 */
export class IndexFile {
  readonly #layout: Layout;
  readonly #disk: Disk;
  readonly #names: NameTable;
  #isStale = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(layout: Layout, disk: Disk, names: NameTable) {
    this.#layout = layout;
    this.#disk = disk;
    this.#names = names;
  }

  /** Says that a name has changed. */
  noteChange(): void {
    this.#isStale = true;
  }

  /** Brings it up to the names, if need be. After an error the next call tries again. */
  flush(): Promise<void> {
    this.#writing = this.#writing.catch(() => {}).then(() => this.#write());
    return this.#writing;
  }

  /** Compares it with the names, also those of a writer that died, and writes it when it is not right. */
  async check(): Promise<void> {
    this.#isStale = (await readText(this.#disk, this.#layout.index)) !== this.#text();
    await this.flush();
  }

  async #write(): Promise<void> {
    if (!this.#isStale) return;
    this.#isStale = false;
    const { index, ingest, dataDir } = this.#layout;
    const at = { path: index, folder: dataDir, draft: join(ingest, "index.json") };
    try {
      // Another process may have given a name and written the index since ours was read: it would now
      // lie under an older one. Whoever writes last finds nothing new here.
      for (let text: string | undefined; text !== this.#text(); ) {
        text = this.#text();
        await replaceFile(this.#disk, at, text);
      }
    } catch (error) {
      this.#isStale = true;
      throw error;
    }
  }

  #text(): string {
    return formatIndex(this.#names.inForce());
  }
}
