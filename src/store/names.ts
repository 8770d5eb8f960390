import type { NamedContent } from "#content";
import { type Descriptor, parseDigest } from "#oci";
import type { StoreDatabase } from "./database.ts";

interface Row {
  readonly name: string;
  readonly media_type: string;
  readonly digest: string;
  readonly size: number;
}

/** The names of what was delivered. */
export class NameTable {
  readonly #database: StoreDatabase;
  #changes = 0;

  constructor(database: StoreDatabase) {
    this.#database = database;
  }

  async put(name: string, { mediaType, digest, size }: Descriptor): Promise<void> {
    await this.#database.change(() =>
      this.#database.run(
        `INSERT INTO names (name, media_type, digest, size) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET media_type = ?2, digest = ?3, size = ?4`,
        ...[name, mediaType, digest, size],
      ),
    );
    this.#changes += 1;
  }

  get(name: string): Descriptor | undefined {
    const row = this.#database.row<Row>("SELECT * FROM names WHERE name = ?1", name);
    return row && descriptorOf(row);
  }

  /** All names in the order of their code units: of what names are made of, that is SQLite's order of bytes. */
  all(): readonly NamedContent[] {
    const rows = this.#database.rows<Row>("SELECT * FROM names ORDER BY name");
    return rows.map((row) => ({ name: row.name, descriptor: descriptorOf(row) }));
  }

  /** Differs whenever a name may have changed, also when another process changed it. */
  revision(): string {
    return `${this.#changes}.${this.#database.revision()}`;
  }
}

/** The descriptor that a row of any table holds. */
export function descriptorOf(row: Omit<Row, "name">): Descriptor {
  return { mediaType: row.media_type, digest: parseDigest(row.digest), size: row.size };
}
