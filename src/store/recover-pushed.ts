import { Database } from "bun:sqlite";
import { tryParseDigest } from "#oci";
import type { Blobs } from "./blobs.ts";
import type { StoreDatabase } from "./database.ts";

/** What is asked of a damaged database at most: its pages may lead in a circle. */
const ROWS_MAX = 1_000_000;

/** What says what was pushed. That there is more of it than there should be only keeps content. */
const COLUMNS = {
  repository_blobs: ["repository", "digest", "media_type", "size", "linked_ms"],
  repository_manifests: [
    ...["repository", "digest", "media_type", "size"],
    ...["artifact_type", "annotations", "subject", "put_ms"],
  ],
  repository_tags: ["repository", "tag", "digest"],
} as const;

type Table = keyof typeof COLUMNS;
type Row = Readonly<Record<string, string | number | null>>;

/** What was read of each table. */
export type PushedRows = Readonly<Record<Table, readonly Row[]>>;

/** What a damaged database can still say of what was pushed; nothing when it is none. It does not fail. */
export function readPushed(path: string): PushedRows {
  const pushed: Record<Table, Row[]> = {
    ...{ repository_blobs: [], repository_manifests: [], repository_tags: [] },
  };
  try {
    using database = new Database(path, { readonly: true });
    for (const table of tables()) readInto(pushed[table], database, table);
  } catch {
    // Not even that could be opened.
  }
  return pushed;
}

/** Up to the page that can't be read. */
function readInto(rows: Row[], database: Database, table: Table): void {
  try {
    const sql = `SELECT ${COLUMNS[table].join(", ")} FROM ${table} LIMIT ${ROWS_MAX}`;
    for (const row of database.query<Row, []>(sql).iterate()) rows.push(row);
  } catch {
    // What was read until then counts.
  }
}

/**
 * Gives a new database what was read of the damaged one, as far as the content is here, whole.
 *
 * @returns how many manifests are known again
 */
export async function restorePushed(
  database: StoreDatabase,
  blobs: Blobs,
  pushed: PushedRows,
): Promise<number> {
  const contents: Record<Table, readonly Row[]> = {
    repository_blobs: await present(blobs, pushed.repository_blobs),
    repository_manifests: await present(blobs, pushed.repository_manifests),
    repository_tags: [],
  };
  const manifests = new Set(contents.repository_manifests.map(keyOf));
  contents.repository_tags = pushed.repository_tags.filter((row) => manifests.has(keyOf(row)));
  return database.change(() => {
    for (const table of tables()) {
      const columns = COLUMNS[table];
      const places = columns.map((_, n) => `?${n + 1}`);
      const sql = `INSERT OR IGNORE INTO ${table} (${columns.join(", ")}) VALUES (${places.join(", ")})`;
      for (const row of contents[table]) {
        database.run(sql, ...columns.map((column) => row[column] ?? null));
      }
    }
    return manifests.size;
  });
}

function tables(): readonly Table[] {
  return Object.keys(COLUMNS) as Table[];
}

async function present(blobs: Blobs, rows: readonly Row[]): Promise<readonly Row[]> {
  const found: Row[] = [];
  for (const row of rows) {
    const digest = tryParseDigest(String(row["digest"]));
    const size = Number(row["size"]);
    if (digest !== undefined && (await blobs.has({ digest, size }))) found.push(row);
  }
  return found;
}

function keyOf(row: Row): string {
  return JSON.stringify([row["repository"], row["digest"]]);
}
