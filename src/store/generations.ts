import type { Clock } from "#base";
import type { StoreDatabase } from "./database.ts";

/** How many plans that were carried out whole keep their names: the current one and the one before it. */
const KEPT_MAX = 2;

/** What the generations need from their store. */
export interface GenerationsPlace {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

/**
 * The names that plans declare, a generation for each plan. A collection keeps the names of those that
 * are recorded here, once one was carried out whole.
 */
export class Generations {
  readonly #place: GenerationsPlace;

  /** Of an open store. */
  constructor(place: GenerationsPlace) {
    this.#place = place;
  }

  /**
   * A delivery begins that declares these names: until it completes, or another begins, they stay, and
   * so does all content that comes, or is leased, from now on. A delivery that was given up holds what
   * it brought until the next one, which goes on with it.
   */
  begin(names: Iterable<string>): Promise<void> {
    return this.#change(() => {
      const { database, clock } = this.#place;
      database.run("DELETE FROM generations WHERE completed_ms IS NULL");
      this.#forgetNames();
      database.run("INSERT INTO generations (begun_ms) VALUES (?1)", clock.now());
      for (const name of new Set(names)) {
        database.run(
          "INSERT INTO generation_names SELECT max(id), ?1 FROM generations WHERE completed_ms IS NULL",
          name,
        );
      }
    });
  }

  /**
   * The delivery that began last was carried out whole: what it declares is the current generation now.
   * One that declares what the current one does is no other plan, and drives out none.
   */
  complete(): Promise<void> {
    return this.#change(() => {
      const { database, clock } = this.#place;
      const [open, current] = [openGeneration(database), completedGenerations(database)[0]];
      if (open === undefined) return;
      if (current !== undefined && this.#namesOf(open.id) === this.#namesOf(current)) {
        database.run("DELETE FROM generations WHERE id = ?1", current);
      }
      database.run(
        "UPDATE generations SET completed_ms = ?2 WHERE id = ?1",
        ...[open.id, clock.now()],
      );
      for (const id of completedGenerations(database).slice(KEPT_MAX)) {
        database.run("DELETE FROM generations WHERE id = ?1", id);
      }
      this.#forgetNames();
    });
  }

  #namesOf(generation: number): string {
    const sql = "SELECT name FROM generation_names WHERE generation = ?1 ORDER BY name";
    const rows = this.#place.database.rows<{ readonly name: string }>(sql, generation);
    return JSON.stringify(rows.map(({ name }) => name));
  }

  #forgetNames(): void {
    this.#place.database.run(
      "DELETE FROM generation_names WHERE generation NOT IN (SELECT id FROM generations)",
    );
  }

  async #change(apply: () => void): Promise<void> {
    this.#place.requireWriter();
    try {
      await this.#place.database.change(apply);
    } catch (error) {
      throw this.#place.failure(error);
    }
  }
}

/** The delivery that has begun and is not completed: it is at work, or was given up. */
export function openGeneration(
  database: StoreDatabase,
): { readonly id: number; readonly begunMs: number } | undefined {
  return database.row(
    "SELECT id, begun_ms AS begunMs FROM generations WHERE completed_ms IS NULL ORDER BY id DESC",
  );
}

/** Which names no generation declares; none as long as no plan was carried out whole. */
export const UNDECLARED = `FROM names WHERE name NOT IN (SELECT name FROM generation_names)
  AND EXISTS (SELECT 1 FROM generations WHERE completed_ms IS NOT NULL)`;

/** The newest first. The clock may have been set back; the numbers never are. */
function completedGenerations(database: StoreDatabase): readonly number[] {
  return database
    .rows<{ readonly id: number }>(
      "SELECT id FROM generations WHERE completed_ms IS NOT NULL ORDER BY id DESC",
    )
    .map(({ id }) => id);
}
