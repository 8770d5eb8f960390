import type { Clock } from "#base";
import type { StoreDatabase } from "./database.ts";
import { isOfRevision } from "./names.ts";
import { PROVIDER_SINCE } from "./schema.ts";

const KEPT = `SELECT name FROM generation_names
  UNION SELECT core_names.name FROM core_names
    JOIN generation_names ON generation_names.name = core_names.provider
  ORDER BY name`;

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

/** The part that a generation plays for an agent, which may stage many plans before it activates one. */
export type GenerationRole = "active" | "staged" | "previous";

/**
 * The names that plans declare, a generation for each plan. A collection keeps the names of those that
 * are recorded here, once one was carried out whole.
 *
 * Who delivers by hand has the last two plans kept, by their order; an agent says which ones it needs.
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

  /**
   * From now on these names stay, whatever else is carried out, until this is called again. What was
   * carried out before and is not among them goes, unless nothing is held at all; what a delivery that is
   * not complete declares stays.
   *
   * @throws {Failure} `store-read-only`, `store-full`, `store-busy`, `store-broken`
   */
  hold(roles: Readonly<Partial<Record<GenerationRole, Iterable<string>>>>): Promise<void> {
    return this.#change(() => {
      const { database, clock } = this.#place;
      const held = Object.entries(roles).filter(([, names]) => names !== undefined);
      const before = database.rows<{ readonly id: number }>(
        `SELECT id FROM generations WHERE completed_ms IS NOT NULL
           AND (?1 OR id IN (SELECT generation FROM generation_roles))`,
        held.length > 0,
      );
      database.run("DELETE FROM generation_roles");
      // New ones before the old are gone: who saw the old numbers must see that they have changed.
      for (const [role, names] of held) {
        const sql = "INSERT INTO generations (begun_ms, completed_ms) VALUES (?1, ?1)";
        database.run(sql, clock.now());
        database.run("INSERT INTO generation_roles SELECT ?1, max(id) FROM generations", role);
        for (const name of new Set(names)) {
          database.run("INSERT INTO generation_names SELECT max(id), ?1 FROM generations", name);
        }
      }
      for (const { id } of before) database.run("DELETE FROM generations WHERE id = ?1", id);
      this.#forgetNames();
    });
  }

  /**
   * The names that the kept plans declare, and what came out of their provider images; sorted. What
   * revisions have for themselves is not among them: a runtime knows no such names.
   */
  async kept(): Promise<readonly string[]> {
    try {
      const { database } = this.#place;
      return database
        .rows<{ readonly name: string }>(KEPT)
        .flatMap(({ name }) => (isOfRevision(name) ? [] : [name]));
    } catch (error) {
      throw this.#place.failure(error);
    }
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

/** Differs from what it was before when a delivery has begun since. Numbers alone are used again. */
export function latestGeneration(database: StoreDatabase): string {
  const sql = "SELECT id, begun_ms AS begunMs FROM generations ORDER BY id DESC LIMIT 1";
  const row = database.row<{ readonly id: number; readonly begunMs: number }>(sql);
  return row === undefined ? "" : `${row.id}.${row.begunMs}`;
}

/**
 * Which names no generation declares, and came out of no provider image that one declares; what belongs
 * to one that a generation declares, and is beside it by its tag, is among them (see `attachedTo`). None
 * as long as no plan was carried out whole.
 */
export function undeclared(database: StoreDatabase): string {
  const ofProviders = database.hasVersion(PROVIDER_SINCE)
    ? `AND name NOT IN (
         SELECT core_names.name FROM core_names JOIN generation_names
           ON generation_names.name = core_names.provider
       )`
    : "";
  return `FROM names WHERE name NOT IN (SELECT name FROM generation_names) ${ofProviders}
    AND EXISTS (SELECT 1 FROM generations WHERE completed_ms IS NOT NULL)`;
}

/** Those that deliveries carried out, the newest first. The clock may have been set back; the numbers never are. */
function completedGenerations(database: StoreDatabase): readonly number[] {
  return database
    .rows<{ readonly id: number }>(
      `SELECT id FROM generations WHERE completed_ms IS NOT NULL
         AND id NOT IN (SELECT generation FROM generation_roles) ORDER BY id DESC`,
    )
    .map(({ id }) => id);
}
