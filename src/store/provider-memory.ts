import type { Clock } from "#base";
import { type Digest, parseDigest } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { PROVIDER_SINCE } from "./schema.ts";

/** What was found in a provider image, when it was looked through. */
export interface CoreSearch {
  /** The provider image, as declared. */
  readonly provider: string;
  /** Its manifest, for the platform of the site. */
  readonly manifest: Digest;
  /** What decided where was looked, in words of whoever looked. */
  readonly settings: string;
  /** Archives that there were. */
  readonly archives: number;
  /** The names that the store has from it, sorted. */
  readonly names: readonly string[];
  /** What a person should know of it: archives that can't be used. */
  readonly warnings: readonly string[];
}

/** What the operating system was given last, or is about to be given. */
export interface HandedOver {
  /** The provider image's manifest. */
  readonly manifest: Digest;
  readonly form: string;
  /** Where the form was made; null where it needs no place. */
  readonly path: string | null;
  /** What tells this form from whatever else may come to lie there; null where it needs no place. */
  readonly identity: string | null;
  /** The command as the site file has it, with its placeholders. */
  readonly command: readonly string[];
  /** How often the command was started since it last came to an end, one way or another. */
  readonly starts: number;
  /** When the command had succeeded, in milliseconds since 1970; null as long as it has not. */
  readonly doneMs: number | null;
}

/** What the memory needs from its store. */
export interface ProviderMemoryPlace {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

interface SearchRow {
  readonly manifest: string;
  readonly settings: string;
  readonly archives: number;
  readonly warnings: string;
}

interface HandOverRow {
  readonly manifest: string;
  readonly form: string;
  readonly path: string | null;
  readonly identity: string | null;
  readonly command: string;
  readonly starts: number;
  readonly done_ms: number | null;
}

/**
 * What was done with provider images, so that it is not done again. The names that came out of one stay
 * in the store as long as a plan that is kept declares the image itself.
 */
export class ProviderMemory {
  readonly #place: ProviderMemoryPlace;

  /** Of an open store. */
  constructor(place: ProviderMemoryPlace) {
    this.#place = place;
  }

  /** What was found in this image, if all of it was loaded and it was looked for by the same settings. */
  async search(
    provider: string,
    manifest: Digest,
    settings: string,
  ): Promise<CoreSearch | undefined> {
    return this.#read((database) => {
      const row = database.row<SearchRow>(
        `SELECT * FROM core_searches WHERE provider = ?1 AND manifest = ?2 AND settings = ?3
           AND completed_ms IS NOT NULL`,
        ...[provider, manifest, settings],
      );
      if (row === undefined) return undefined;
      const names = namesOf(database, provider);
      const warnings: readonly string[] = JSON.parse(row.warnings);
      return { provider, manifest, settings, archives: row.archives, names, warnings };
    });
  }

  /** The names that came out of this image, also when not all of them are loaded. */
  async names(provider: string): Promise<readonly string[]> {
    return (await this.#read((database) => namesOf(database, provider))) ?? [];
  }

  /** These names are about to be given: from now on no collection takes them for nobody's. */
  begin({ provider, manifest, settings, names }: Omit<CoreSearch, "archives" | "warnings">) {
    return this.#change((database) => {
      database.run(
        `INSERT OR REPLACE INTO core_searches VALUES (?1, ?2, ?3, 0, '[]', NULL)`,
        ...[provider, manifest, settings],
      );
      putNames(database, provider, names, { isAdded: true });
    });
  }

  /** All that was found is loaded; names that came out of an earlier image of this name are nobody's now. */
  complete({ provider, manifest, settings, archives, names, warnings }: CoreSearch): Promise<void> {
    return this.#change((database) => {
      database.run(
        "INSERT OR REPLACE INTO core_searches VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        ...[provider, manifest, settings, archives],
        ...[JSON.stringify(warnings), this.#place.clock.now()],
      );
      putNames(database, provider, names, { isAdded: false });
      for (const table of ["core_searches", "core_names"]) {
        database.run(`DELETE FROM ${table} WHERE provider NOT IN (SELECT name FROM names)`);
      }
    });
  }

  /** What the operating system was given last; undefined when it was nothing. */
  async handedOver(): Promise<HandedOver | undefined> {
    return this.#read((database) => {
      const row = database.row<HandOverRow>("SELECT * FROM hand_over");
      if (row === undefined) return undefined;
      const { done_ms: doneMs, manifest, command, form, path, identity, starts } = row;
      const known = { form, path, identity, starts, doneMs };
      return { ...known, manifest: parseDigest(manifest), command: JSON.parse(command) };
    });
  }

  /** Takes the place of what was noted before. */
  noteHandOver(handed: HandedOver): Promise<void> {
    const { manifest, form, path, identity, command, starts, doneMs } = handed;
    return this.#change((database) => {
      database.run(
        "INSERT OR REPLACE INTO hand_over VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        ...[manifest, form, path, identity, JSON.stringify(command), starts, doneMs],
      );
    });
  }

  #read<T>(read: (database: StoreDatabase) => T): T | undefined {
    const { database, failure } = this.#place;
    try {
      return database.hasVersion(PROVIDER_SINCE) ? read(database) : undefined;
    } catch (error) {
      throw failure(error);
    }
  }

  async #change(apply: (database: StoreDatabase) => void): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => apply(database));
    } catch (error) {
      throw failure(error);
    }
  }
}

function namesOf(database: StoreDatabase, provider: string): readonly string[] {
  const sql = "SELECT name FROM core_names WHERE provider = ?1 ORDER BY name";
  return database.rows<{ readonly name: string }>(sql, provider).map(({ name }) => name);
}

function putNames(
  database: StoreDatabase,
  provider: string,
  names: readonly string[],
  { isAdded }: { readonly isAdded: boolean },
): void {
  if (!isAdded) database.run("DELETE FROM core_names WHERE provider = ?1", provider);
  for (const name of names) {
    database.run("INSERT OR IGNORE INTO core_names VALUES (?1, ?2)", provider, name);
  }
}
