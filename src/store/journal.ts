import type { Clock } from "#base";
import { isJsonObject } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { JOURNAL_SINCE } from "./schema.ts";

/** Lines that are kept at most. */
const ENTRIES_MAX = 10_000;

/** What is older than this goes. */
const KEPT_MS = 180 * 24 * 3600 * 1000;

/** So many of the newest stay however old the clock takes them for: at an edge it may have been wrong. */
const ENTRIES_KEPT = 1_000;

/** Bytes of one line's data, as JSON. */
const DATA_BYTES_MAX = 64 * 1024;

/** Code units of a text that stays in data that is too much. */
const TEXT_MAX = 1_024;

/** Lines of one page, where nobody asks for a number. */
const PAGE_ENTRIES = 100;

/** Lines of one page at most. */
const PAGE_ENTRIES_MAX = 1_000;

/** What a line of the journal tells, beside when and what kind. Secrets never lie in it. */
export type JournalData = Readonly<Record<string, unknown>>;

/** A line of the journal. */
export interface JournalEntry {
  /** Grows by the order in which things were written, whatever the clock says; never used twice. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** A word of the field with dashes: `delivery-begun`, `hand-over-done`. */
  readonly kind: string;
  readonly data: JournalData;
}

/** Which lines are read. */
export interface JournalQuery {
  /** Only what was written before this line: the next page begins at the last `id` of the one before. */
  readonly before?: number;
  /** Only what was written after this line, to follow a journal. */
  readonly after?: number;
  /** Only these kinds; all without it. */
  readonly kinds?: readonly string[];
  /** At most so many: 100 without it, never more than 1,000. */
  readonly limit?: number;
}

/** What the journal needs from its store. */
export interface JournalPlace {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown): unknown;
}

interface Row {
  readonly id: number;
  readonly at_ms: number;
  readonly kind: string;
  readonly data: string;
}

/**
 * What happened at this site, in order: lines are added and never changed. The oldest go, once there are
 * more than 10,000 of them or they are older than half a year; the newest thousand stay at any age.
 */
export class Journal {
  readonly #place: JournalPlace;

  /** Of an open store. */
  constructor(place: JournalPlace) {
    this.#place = place;
  }

  /**
   * Adds a line; it is durable once this resolves.
   *
   * @param data what JSON can say. Of more than 64 KiB only what is short stays, and `omitted` names the rest
   * @param atMs when it happened, in milliseconds since 1970; now, without it
   * @throws {Failure} `store-read-only`, `store-full`, `store-busy`, `store-broken`
   */
  async add(kind: string, data: JournalData, atMs?: number): Promise<void> {
    const { database, clock, requireWriter, failure } = this.#place;
    requireWriter();
    const json = boundedJson(data);
    try {
      await database.change(() => {
        const nowMs = clock.now();
        const sql = "INSERT INTO journal (at_ms, kind, data) VALUES (?1, ?2, ?3)";
        database.run(sql, atMs ?? nowMs, kind, json);
        forgetOld(database, nowMs);
      });
    } catch (error) {
      throw failure(error);
    }
  }

  /** The newest first. Empty where no journal was ever written. */
  async read(query: JournalQuery = {}): Promise<readonly JournalEntry[]> {
    const { before = Number.MAX_SAFE_INTEGER, after = 0, kinds, limit = PAGE_ENTRIES } = query;
    const { database, failure } = this.#place;
    try {
      if (!database.hasVersion(JOURNAL_SINCE)) return [];
      const rows = database.rows<Row>(
        `SELECT * FROM journal WHERE id < ?1 AND id > ?2
           AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
         ORDER BY id DESC LIMIT ?4`,
        ...[before, after, kinds === undefined ? null : JSON.stringify(kinds)],
        Math.min(Math.max(0, limit), PAGE_ENTRIES_MAX),
      );
      return rows.map(entryOf);
    } catch (error) {
      throw failure(error);
    }
  }
}

/** By the order of writing and not by time alone: a clock that was wrong once must not empty the journal. */
function forgetOld(database: StoreDatabase, nowMs: number): void {
  const newest = database.row<{ readonly id: number }>("SELECT max(id) AS id FROM journal");
  const id = newest?.id ?? 0;
  database.run(
    "DELETE FROM journal WHERE id <= ?1 OR (id <= ?2 AND at_ms < ?3)",
    ...[id - ENTRIES_MAX, id - ENTRIES_KEPT, nowMs - KEPT_MS],
  );
}

function entryOf({ id, at_ms: atMs, kind, data }: Row): JournalEntry {
  return { id, atMs, kind, data: parsed(data) };
}

/** A line that somebody else wrote into the table must not hide the others. */
function parsed(text: string): JournalData {
  try {
    const json: unknown = JSON.parse(text);
    return isJsonObject(json) ? json : {};
  } catch {
    return {};
  }
}

function boundedJson(data: JournalData): string {
  const json = JSON.stringify(data);
  if (Buffer.byteLength(json) <= DATA_BYTES_MAX) return json;
  const kept: Record<string, unknown> = {};
  const omitted: string[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(data)) {
    const short = shortened(value);
    bytes += Buffer.byteLength(JSON.stringify([key, short]) ?? "");
    if (short === undefined || bytes > DATA_BYTES_MAX / 2) omitted.push(key);
    else kept[key] = short;
  }
  // Names are of this program, and few; data whose names alone are too much is nobody's.
  return JSON.stringify({ ...kept, omitted: omitted.slice(0, TEXT_MAX / 8) });
}

/** What is short by nature, and the beginning of a text; undefined for the rest. */
function shortened(value: unknown): unknown {
  if (typeof value === "string") {
    return value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value;
  }
  return typeof value === "object" ? (value === null ? null : undefined) : value;
}
