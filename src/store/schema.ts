import { Database } from "bun:sqlite";
import { quoted } from "#base";

/**
 * What each version of the schema adds to the one before it, the first to an empty database.
 *
 * Text is compared by its bytes, which for what names are made of is the order of code units. Times
 * are milliseconds since 1970.
 */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    // What was delivered, by its declared reference.
    `CREATE TABLE names (
       name TEXT PRIMARY KEY, media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID`,
  ],
  [
    // What was pushed. A repository is there as long as it has a blob or a manifest.
    `CREATE TABLE repository_blobs (
       repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
       size INTEGER NOT NULL, linked_ms INTEGER NOT NULL,
       PRIMARY KEY (repository, digest)
     ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE repository_manifests (
       repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
       size INTEGER NOT NULL, artifact_type TEXT, annotations TEXT, subject TEXT,
       put_ms INTEGER NOT NULL,
       PRIMARY KEY (repository, digest)
     ) STRICT, WITHOUT ROWID`,
    `CREATE INDEX repository_referrers ON repository_manifests (repository, subject, digest)
       WHERE subject IS NOT NULL`,
    `CREATE TABLE repository_tags (
       repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
       PRIMARY KEY (repository, tag)
     ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX repository_tags_of_manifest ON repository_tags (repository, digest)",
    // Pushes under way: how much of each one's file is durable.
    `CREATE TABLE uploads (
       id TEXT PRIMARY KEY, repository TEXT NOT NULL, user TEXT, bytes INTEGER NOT NULL,
       begun_ms INTEGER NOT NULL, touched_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID`,
    // The names that deliveries declared: of the one that is not completed, and of the last plans that were.
    `CREATE TABLE generations (
       id INTEGER PRIMARY KEY, begun_ms INTEGER NOT NULL, completed_ms INTEGER
     ) STRICT`,
    `CREATE TABLE generation_names (
       generation INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (generation, name)
     ) STRICT, WITHOUT ROWID`,
  ],
  [
    // Our own uploads to other registries. A location may hold a secret, as signed queries do.
    `CREATE TABLE push_sessions (
       registry TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL,
       location TEXT NOT NULL, bytes INTEGER NOT NULL, at_ms INTEGER NOT NULL,
       PRIMARY KEY (registry, repository, digest)
     ) STRICT, WITHOUT ROWID`,
  ],
  [
    // When it was last asked what belongs to the image that a name stands for.
    `CREATE TABLE attachment_checks (
       name TEXT PRIMARY KEY, digest TEXT NOT NULL, at_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID`,
  ],
  [
    // What happened here. A number is never used twice, so that who follows it misses nothing.
    `CREATE TABLE journal (
       id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
       data TEXT NOT NULL
     ) STRICT`,
    // Which images were looked for in a provider image, and whether all that was found is loaded.
    `CREATE TABLE core_searches (
       provider TEXT PRIMARY KEY, manifest TEXT NOT NULL, settings TEXT NOT NULL,
       archives INTEGER NOT NULL, warnings TEXT NOT NULL, completed_ms INTEGER
     ) STRICT, WITHOUT ROWID`,
    // The names that came from it, which stay as long as its own does.
    `CREATE TABLE core_names (
       provider TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (provider, name)
     ) STRICT, WITHOUT ROWID`,
    // What the operating system was given last: one row, or none.
    `CREATE TABLE hand_over (
       id INTEGER PRIMARY KEY CHECK (id = 1), manifest TEXT NOT NULL, form TEXT NOT NULL,
       path TEXT, identity TEXT, command TEXT NOT NULL, starts INTEGER NOT NULL, done_ms INTEGER
     ) STRICT`,
  ],
  [
    // What an agent holds: the generations of its active, staged and previous revision.
    `CREATE TABLE generation_roles (
       role TEXT PRIMARY KEY, generation INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID`,
    // What was wanted of the site, and which part each plays. `about` is JSON.
    `CREATE TABLE revisions (
       id TEXT PRIMARY KEY, record TEXT NOT NULL, about TEXT NOT NULL
     ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE revision_roles (
       role TEXT PRIMARY KEY, revision TEXT NOT NULL
     ) STRICT, WITHOUT ROWID`,
    // What an agent must still know after its death, as JSON.
    `CREATE TABLE notes (
       name TEXT PRIMARY KEY, value TEXT NOT NULL
     ) STRICT, WITHOUT ROWID`,
    // Bytes that crossed the uplink, by the minute since 1970. The cap is in bytes per second.
    `CREATE TABLE uplink_minutes (
       minute INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, cap REAL
     ) STRICT`,
  ],
];

/** Version of the tables. A program refuses a database that a newer one has written. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** The first version that has repositories and uploads. */
export const REPOSITORIES_SINCE = 2;

/** The first version that remembers uploads to other registries. */
export const PUSH_SESSIONS_SINCE = 3;

/** The first version that remembers when signatures were asked for. */
export const ATTACHMENT_CHECKS_SINCE = 4;

/** The first version that keeps a journal. */
export const JOURNAL_SINCE = 5;

/** The first version that remembers what came out of provider images, and what was handed over. */
export const PROVIDER_SINCE = 5;

/** The first version that remembers what an agent is at. */
export const AGENT_SINCE = 6;

/** Brings the tables of a version up to {@link SCHEMA_VERSION}, within the caller's transaction. */
export function createTables(database: Database, fromVersion: number): void {
  for (const statement of MIGRATIONS.slice(fromVersion).flat()) database.run(statement);
  database.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/**
 * What of a database is not as this program made it at that version, in words; undefined when all is. What
 * is there beside it is nobody's business.
 */
export function schemaFault(database: Database, version: number): string | undefined {
  if (version < 0) return `its schema says version ${version}`;
  const found = partsOf(database);
  const wanted = partsOfVersion(version);
  for (const [name, columns] of wanted) {
    if (found.get(name) !== columns) return `it has no ${quoted(name)} as version ${version} does`;
  }
  // They would stand in the way of those that are to come.
  for (const name of partsOfVersion(SCHEMA_VERSION).keys()) {
    if (!wanted.has(name) && found.has(name)) return `it has a ${quoted(name)} before its version`;
  }
  return undefined;
}

const knownParts = new Map<number, ReadonlyMap<string, string>>();

function partsOfVersion(version: number): ReadonlyMap<string, string> {
  const known = knownParts.get(version);
  if (known !== undefined) return known;
  using model = new Database(":memory:");
  for (const statement of MIGRATIONS.slice(0, version).flat()) model.run(statement);
  const parts = partsOf(model);
  knownParts.set(version, parts);
  return parts;
}

/** Tables with their columns, and whatever else has a name: by what they are, not by the text that made them. */
function partsOf(database: Database): ReadonlyMap<string, string> {
  const rows = database
    .query<{ readonly name: string; readonly column: string }, []>(
      `SELECT part.name AS name, col.name || ' ' || col.type || ' ' || col.pk AS column
         FROM sqlite_schema AS part, pragma_table_info(part.name) AS col
         WHERE part.type = 'table' AND part.name NOT LIKE 'sqlite~_%' ESCAPE '~'
       UNION ALL SELECT name, type || ' of ' || tbl_name FROM sqlite_schema
         WHERE type <> 'table' AND sql IS NOT NULL`,
    )
    .all();
  const parts = new Map<string, string>();
  for (const { name, column } of rows) parts.set(name, `${parts.get(name) ?? ""}${column},`);
  return parts;
}
