import type { RevisionsPlace } from "./revisions.ts";
import { AGENT_SINCE } from "./schema.ts";

/** A week: what is older goes. */
const MINUTES_MAX = 7 * 24 * 60;

/** What crossed the uplink in one minute. */
export interface UplinkMinute {
  /** Minutes since 1970. */
  readonly minute: number;
  readonly bytes: number;
  /** The cap that held at its end, in bytes per second; null: none. */
  readonly cap: number | null;
}

/** Bytes over the uplink by the minute, for a week. Minutes in which nothing crossed have no row. */
export class UplinkMinutes {
  readonly #place: RevisionsPlace;

  /** Of an open store. */
  constructor(place: RevisionsPlace) {
    this.#place = place;
  }

  /** Oldest first. @throws {Failure} `store-broken`, `store-busy` */
  async read(): Promise<readonly UplinkMinute[]> {
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(AGENT_SINCE)) return [];
      return database.rows<UplinkMinute>(
        "SELECT minute, bytes, cap FROM uplink_minutes ORDER BY minute",
      );
    } catch (error) {
      throw failure(error);
    }
  }

  /**
   * Each minute in place of what was written for it before.
   *
   * @throws {Failure} `store-read-only`, `store-full`, `store-busy`, `store-broken`
   */
  async put(minutes: readonly UplinkMinute[]): Promise<void> {
    const { database, requireWriter, failure } = this.#place;
    requireWriter();
    try {
      await database.change(() => {
        for (const { minute, bytes, cap } of minutes) {
          const sql =
            "INSERT OR REPLACE INTO uplink_minutes (minute, bytes, cap) VALUES (?1, ?2, ?3)";
          database.run(sql, minute, bytes, cap);
        }
        // By how many there are and not by the time: a clock that was wrong must not empty the table.
        database.run(
          `DELETE FROM uplink_minutes WHERE minute NOT IN (
             SELECT minute FROM uplink_minutes ORDER BY minute DESC LIMIT ?1)`,
          MINUTES_MAX,
        );
      });
    } catch (error) {
      throw failure(error);
    }
  }
}
