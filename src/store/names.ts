import type { NamedContent } from "#content";
import { type Descriptor, parseDigest } from "#oci";
import type { StoreDatabase } from "./database.ts";

interface Row {
  readonly name: string;
  readonly media_type: string;
  readonly digest: string;
  readonly size: number;
}

/**
 * Stands between the id of a revision and a name, for what that revision has under the name while another
 * one is in force. No reference can have it, so nobody who reads names by their form takes it for one.
 */
const OF_REVISION = "!";

/** What a revision has under a name, under a name of its own. */
export function nameOfRevision(revision: string, name: string): string {
  return `${revision}${OF_REVISION}${name}`;
}

/** Whether a name is one that a revision has for itself. */
export function isOfRevision(name: string): boolean {
  return name.includes(OF_REVISION);
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

  /** The names that are in force: those of revisions are nobody's business but the agent's. */
  inForce(): readonly NamedContent[] {
    return this.all().filter(({ name }) => !isOfRevision(name));
  }

  /** The names of one revision, as they are when it is in force. */
  ofRevision(revision: string): readonly NamedContent[] {
    const prefix = nameOfRevision(revision, "");
    return this.all().flatMap(({ name, descriptor }) =>
      name.startsWith(prefix) ? [{ name: name.slice(prefix.length), descriptor }] : [],
    );
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
