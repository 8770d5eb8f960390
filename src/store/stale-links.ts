import type { Digest } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { type Link, linksIn } from "./mark.ts";

/** What tells which links nobody needs. */
export interface LinkJudge {
  /** Whether it may go by what it says and when it was said. */
  isStale(link: Link): boolean;
  /** Whether the content is here. */
  isHere(digest: Digest): Promise<boolean>;
}

/**
 * Repositories forget blobs that nothing leads to and that are gone. One that comes again at this moment
 * is given back: whoever saw that a repository had it, saw it here. It rejects with SQLite's errors.
 */
export async function dropStaleLinks(database: StoreDatabase, judge: LinkJudge): Promise<void> {
  const stale: Link[] = [];
  for (const link of linksIn(database)) {
    if (judge.isStale(link) && !(await judge.isHere(link.digest))) stale.push(link);
  }
  if (stale.length === 0) return;
  const dropped = await changeLinks(database, stale, dropLink);
  const back: Link[] = [];
  for (const link of dropped) if (await judge.isHere(link.digest)) back.push(link);
  if (back.length > 0) await changeLinks(database, back, restoreLink);
}

function changeLinks(
  database: StoreDatabase,
  links: readonly Link[],
  change: (database: StoreDatabase, link: Link) => number,
): Promise<readonly Link[]> {
  return database.change(() => links.filter((link) => change(database, link) > 0));
}

/** Only as it was seen: one that was renewed stays. */
function dropLink(database: StoreDatabase, { repository, digest, linkedMs }: Link): number {
  return database.run(
    "DELETE FROM repository_blobs WHERE repository = ?1 AND digest = ?2 AND linked_ms = ?3",
    ...[repository, digest, linkedMs],
  );
}

function restoreLink(
  database: StoreDatabase,
  { repository, digest, mediaType, size, linkedMs }: Link,
): number {
  return database.run(
    `INSERT OR IGNORE INTO repository_blobs (repository, digest, media_type, size, linked_ms)
     VALUES (?1, ?2, ?3, ?4, ?5)`,
    ...[repository, digest, mediaType, size, linkedMs],
  );
}
