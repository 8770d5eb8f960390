import type { Digest } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { ATTACHMENT_CHECKS_SINCE } from "./schema.ts";

/** What the checks need from their store. */
export interface AttachmentChecksPlace {
  readonly database: StoreDatabase;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

/** When it was last asked what belongs to images: signatures and the like. Of names that are gone, nothing. */
export class AttachmentChecks {
  readonly #place: AttachmentChecksPlace;

  /** Of an open store. */
  constructor(place: AttachmentChecksPlace) {
    this.#place = place;
  }

  /** In milliseconds since 1970; undefined when it was not asked since the name stands for this. */
  async last(name: string, root: Digest): Promise<number | undefined> {
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(ATTACHMENT_CHECKS_SINCE)) return undefined;
      const sql = "SELECT at_ms AS atMs FROM attachment_checks WHERE name = ?1 AND digest = ?2";
      return database.row<{ readonly atMs: number }>(sql, name, root)?.atMs;
    } catch (error) {
      throw failure(error);
    }
  }

  /** All that belongs to what the name stands for has been asked for, and came. */
  async note(name: string, root: Digest, atMs: number): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => {
        database.run("DELETE FROM attachment_checks WHERE name NOT IN (SELECT name FROM names)");
        database.run(
          "INSERT OR REPLACE INTO attachment_checks VALUES (?1, ?2, ?3)",
          name,
          root,
          atMs,
        );
      });
    } catch (error) {
      throw failure(error);
    }
  }
}
