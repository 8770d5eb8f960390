import type { StoreDatabase } from "./database.ts";

/** What is kept of an upload: enough to go on with it in another process. */
export interface UploadRecord {
  readonly id: string;
  readonly repository: string;
  readonly user: string | null;
  /** How much of its file is durable, in bytes. */
  readonly bytes: number;
  /** When something was last done with it, in milliseconds since 1970. */
  readonly touchedMs: number;
}

interface Row {
  readonly id: string;
  readonly repository: string;
  readonly user: string | null;
  readonly bytes: number;
  readonly touched_ms: number;
}

/** The uploads that are under way, in the store's database. What it is told is durable once it resolves. */
export class UploadTable {
  readonly #database: StoreDatabase;

  constructor(database: StoreDatabase) {
    this.#database = database;
  }

  async add({ id, repository, user, bytes, touchedMs }: UploadRecord): Promise<void> {
    await this.#change(
      `INSERT INTO uploads (id, repository, user, bytes, begun_ms, touched_ms)
       VALUES (?1, ?2, ?3, ?4, ?5, ?5)`,
      ...[id, repository, user, bytes, touchedMs],
    );
  }

  async advance(id: string, bytes: number, touchedMs: number): Promise<void> {
    const sql = "UPDATE uploads SET bytes = ?2, touched_ms = ?3 WHERE id = ?1";
    await this.#change(sql, id, bytes, touchedMs);
  }

  async remove(id: string): Promise<void> {
    await this.#change("DELETE FROM uploads WHERE id = ?1", id);
  }

  all(): readonly UploadRecord[] {
    const rows = this.#database.rows<Row>("SELECT * FROM uploads");
    return rows.map(({ touched_ms: touchedMs, ...row }) => ({ ...row, touchedMs }));
  }

  #change(sql: string, ...values: (string | number | null)[]): Promise<number> {
    return this.#database.change(() => this.#database.run(sql, ...values));
  }
}
