import type { RevisionsPlace } from "./revisions.ts";
import { AGENT_SINCE } from "./schema.ts";

/** What an agent must still know after its death and that is no revision: one JSON value by each name. */
export class Notes {
  readonly #place: RevisionsPlace;

  /** Of an open store. */
  constructor(place: RevisionsPlace) {
    this.#place = place;
  }

  /** Undefined when there is no such note. @throws {Failure} `store-broken`, `store-busy` */
  async get(name: string): Promise<unknown> {
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(AGENT_SINCE)) return undefined;
      const sql = "SELECT value FROM notes WHERE name = ?1";
      const row = database.row<{ readonly value: string }>(sql, name);
      return row === undefined ? undefined : tryParse(row.value);
    } catch (error) {
      throw failure(error);
    }
  }

  /**
   * Durable once this resolves. `undefined` removes the note.
   *
   * @throws {Failure} `store-read-only`, `store-full`, `store-busy`, `store-broken`
   */
  async put(name: string, value: unknown): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => {
        if (value === undefined) database.run("DELETE FROM notes WHERE name = ?1", name);
        else {
          const sql = "INSERT OR REPLACE INTO notes (name, value) VALUES (?1, ?2)";
          database.run(sql, name, JSON.stringify(value));
        }
      });
    } catch (error) {
      throw failure(error);
    }
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
