import { isJsonObject } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { AGENT_SINCE } from "./schema.ts";

/** What is kept of a revision, which is all that is wanted of a site at one moment. */
export interface KeptRevision {
  readonly id: string;
  /** What it can be made anew from; for whoever wrote it to read. */
  readonly record: string;
  /** What is told of it without reading the record; what JSON can say. */
  readonly about: Readonly<Record<string, unknown>>;
}

/** The revisions that an agent needs, and by its words for them, which part each plays. */
export interface KeptRevisions {
  readonly revisions: readonly KeptRevision[];
  /** Ids by role. A revision may play several parts. */
  readonly roles: Readonly<Record<string, string>>;
}

/** What the revisions need from their store. */
export interface RevisionsPlace {
  readonly database: StoreDatabase;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

interface Row {
  readonly id: string;
  readonly record: string;
  readonly about: string;
}

/** What an agent goes on with after its death: revisions with their roles. Written as a whole, or not at all. */
export class Revisions {
  readonly #place: RevisionsPlace;

  /** Of an open store. */
  constructor(place: RevisionsPlace) {
    this.#place = place;
  }

  /** None where no agent ever was. @throws {Failure} `store-broken`, `store-busy` */
  async read(): Promise<KeptRevisions> {
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(AGENT_SINCE)) return { revisions: [], roles: {} };
      const rows = database.rows<Row>("SELECT id, record, about FROM revisions ORDER BY id");
      const roles = database.rows<{ readonly role: string; readonly revision: string }>(
        "SELECT role, revision FROM revision_roles ORDER BY role",
      );
      return {
        revisions: rows.map((row) => ({ ...row, about: parsedObject(row.about) })),
        roles: Object.fromEntries(roles.map(({ role, revision }) => [role, revision])),
      };
    } catch (error) {
      throw failure(error);
    }
  }

  /**
   * In place of all that were kept before; durable once this resolves.
   *
   * @throws {Failure} `store-read-only`, `store-full`, `store-busy`, `store-broken`
   */
  async replace({ revisions, roles }: KeptRevisions): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => {
        const ids = JSON.stringify(revisions.map(({ id }) => id));
        database.run(
          "DELETE FROM revisions WHERE id NOT IN (SELECT value FROM json_each(?1))",
          ids,
        );
        database.run("DELETE FROM revision_roles");
        for (const { id, record, about } of revisions) {
          const sql = "INSERT OR REPLACE INTO revisions (id, record, about) VALUES (?1, ?2, ?3)";
          database.run(sql, id, record, JSON.stringify(about));
        }
        for (const [role, revision] of Object.entries(roles)) {
          const sql = "INSERT INTO revision_roles (role, revision) VALUES (?1, ?2)";
          database.run(sql, role, revision);
        }
      });
    } catch (error) {
      throw failure(error);
    }
  }
}

/** What somebody else wrote into the table must not keep the agent from starting. */
function parsedObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(text);
    return isJsonObject(json) ? json : {};
  } catch {
    return {};
  }
}
