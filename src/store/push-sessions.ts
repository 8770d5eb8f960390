import type { PushSession, PushSessions } from "#content";
import { type Digest, parseDigest } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { PUSH_SESSIONS_SINCE } from "./schema.ts";

/** Distribution, and Harbor with it, removes uploads after a week. What is older is no use to anybody. */
const KEPT_MS = 7 * 24 * 3600 * 1000;

interface Row {
  readonly registry: string;
  readonly repository: string;
  readonly digest: string;
  readonly location: string;
  readonly bytes: number;
  readonly at_ms: number;
}

/** What the sessions need from their store. */
export interface PushSessionsPlace {
  readonly database: StoreDatabase;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

/**
 * The uploads to other registries that are under way, in the store's database. What it is told is durable
 * once it resolves, so that a power cut loses no more than what came after the last acknowledgement.
 */
export class DiskPushSessions implements PushSessions {
  readonly #place: PushSessionsPlace;

  /** Of an open store. */
  constructor(place: PushSessionsPlace) {
    this.#place = place;
  }

  async find(
    registry: string,
    repository: string,
    digest: Digest,
  ): Promise<PushSession | undefined> {
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(PUSH_SESSIONS_SINCE)) return undefined;
      const sql = `SELECT * FROM push_sessions WHERE ${OF_BLOB}`;
      const row = database.row<Row>(sql, registry, repository, digest);
      return row && sessionOf(row);
    } catch (error) {
      throw failure(error);
    }
  }

  keep({ registry, repository, digest, location, bytes, atMs }: PushSession): Promise<void> {
    return this.#change(
      `INSERT OR REPLACE INTO push_sessions (registry, repository, digest, location, bytes, at_ms)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
      ...[registry, repository, digest, location, bytes, atMs],
    );
  }

  forget(registry: string, repository: string, digest: Digest): Promise<void> {
    const sql = `DELETE FROM push_sessions WHERE ${OF_BLOB}`;
    return this.#change(sql, registry, repository, digest);
  }

  async #change(sql: string, ...values: (string | number)[]): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => database.run(sql, ...values));
    } catch (error) {
      throw failure(error);
    }
  }
}

const OF_BLOB = "registry = ?1 AND repository = ?2 AND digest = ?3";

function sessionOf({ at_ms: atMs, digest, ...row }: Row): PushSession {
  return { ...row, digest: parseDigest(digest), atMs };
}

/**
 * Forgets the sessions that no registry has any more, so that their locations do not lie on the disk for
 * good.
 *
 * @param nowMs milliseconds since 1970
 */
export async function forgetOldPushSessions(database: StoreDatabase, nowMs: number): Promise<void> {
  const sql = "DELETE FROM push_sessions WHERE at_ms < ?1";
  await database.change(() => database.run(sql, nowMs - KEPT_MS));
}
