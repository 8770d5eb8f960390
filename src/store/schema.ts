import type { Database } from "bun:sqlite";

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
];

/** Version of the tables. A program refuses a database that a newer one has written. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** The first version that has repositories and uploads. */
export const REPOSITORIES_SINCE = 2;

/** Brings the tables of a version up to {@link SCHEMA_VERSION}, within the caller's transaction. */
export function createTables(database: Database, fromVersion: number): void {
  for (const statement of MIGRATIONS.slice(fromVersion).flat()) database.run(statement);
  database.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}
