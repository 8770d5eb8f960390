import { constants, Database, type SQLQueryBindings, type Statement } from "bun:sqlite";
import { chmodSync, closeSync, openSync, statSync } from "node:fs";
import { Failure, isFailure, quoted } from "#base";
import { createTables, SCHEMA_VERSION, schemaFault } from "./schema.ts";

/** A quarter of what SQLite takes by default: the system has the file in memory too. */
const CACHE_KIB = 512;

/** How long another writer may hold the database before ours gives up. Its transactions take milliseconds. */
const BUSY_MS = 10_000;

/** A change that waits for its transaction. */
interface Change {
  apply(): void;
  settle(): void;
  reject(error: unknown): void;
}

/**
 * The SQLite database of a store, which is the truth for everything that has a name. Two processes may
 * write to it, each in short transactions; any number may read.
 */
export class StoreDatabase {
  readonly #connection: Database;
  readonly #path: string;
  readonly #waiting: Change[] = [];
  /** Asked for with every request of a registry: to look it up by its text costs as much as to run it. */
  readonly #dataVersion: Statement<{ readonly data_version: number }, []>;
  #version: number;

  private constructor(connection: Database, path: string) {
    this.#connection = connection;
    this.#path = path;
    this.#dataVersion = connection.query("PRAGMA data_version");
    this.#version = versionOf(connection, path);
  }

  /**
   * Opens the database to write, and creates it, or brings it up to this program, when need be. All of it
   * is looked at before (12 ms for 8 MB: measured), for who builds on half a database loses the rest.
   *
   * @throws {Failure} `store-newer`; errors of SQLite as they are, and {@link UnsoundDatabase}
   */
  static openForWriting(path: string): StoreDatabase {
    hide(path);
    return StoreDatabase.#open(path, { create: true, readwrite: true }, (database) => {
      const connection = database.#connection;
      connection.run("PRAGMA journal_mode = WAL");
      // What was answered must survive a power cut.
      connection.run("PRAGMA synchronous = FULL");
      // Without the -wal and -shm files, users who may only read the folder could not open it.
      connection.fileControl(constants.SQLITE_FCNTL_PERSIST_WAL, 1);
      database.#requireSound();
      database.#migrate();
    });
  }

  /**
   * Opens the database for a process that only looks; undefined when there are no tables yet.
   *
   * @throws {Failure} `store-newer`; errors of SQLite as they are
   */
  static openForReading(path: string): StoreDatabase | undefined {
    const database = StoreDatabase.#open(path, { readonly: true }, () => {});
    if (database.#version > 0) return database;
    database.close();
    return undefined;
  }

  static #open(
    path: string,
    options: { readonly?: boolean; create?: boolean; readwrite?: boolean },
    prepare: (database: StoreDatabase) => void,
  ): StoreDatabase {
    const connection = new Database(path, options);
    try {
      connection.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
      connection.run(`PRAGMA cache_size = -${CACHE_KIB}`);
      const database = new StoreDatabase(connection, path);
      prepare(database);
      return database;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** All rows of a query. */
  rows<Row>(sql: string, ...values: SQLQueryBindings[]): Row[] {
    return this.#connection.query<Row, SQLQueryBindings[]>(sql).all(...values);
  }

  /** The first row of a query, if any. */
  row<Row>(sql: string, ...values: SQLQueryBindings[]): Row | undefined {
    return this.#connection.query<Row, SQLQueryBindings[]>(sql).get(...values) ?? undefined;
  }

  /** Runs a statement of a {@link change}; gives how many rows it changed. */
  run(sql: string, ...values: SQLQueryBindings[]): number {
    return this.#connection.query(sql).run(...values).changes;
  }

  /**
   * Applies a change, whole or not at all; it is durable when the promise resolves. Changes that come
   * together share one transaction, for its fsync is what costs: this thread waits for it, 1 ms on a
   * disk that is busy otherwise (measured).
   *
   * @param apply may throw a {@link Failure}: then nothing of this change is kept, and the others are
   */
  change<T>(apply: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: { readonly value: T } | { readonly failure: unknown };
      this.#waiting.push({
        apply: () => {
          try {
            result = { value: this.#connection.transaction(apply)() };
          } catch (failure) {
            // What SQLite itself throws may have ended the transaction of all.
            if (!isFailure(failure)) throw failure;
            result = { failure };
          }
        },
        settle: () => ("value" in result ? resolve(result.value) : reject(result.failure)),
        reject,
      });
      if (this.#waiting.length === 1) setImmediate(() => this.#applyWaiting());
    });
  }

  /**
   * Whether there are the tables of that version. A reader may have opened a store that a writer has
   * not brought up to date yet.
   */
  hasVersion(version: number): boolean {
    if (this.#version < version) this.#version = versionOf(this.#connection, this.#path);
    return this.#version >= version;
  }

  /** Differs whenever another process has changed anything. */
  revision(): number {
    return this.#dataVersion.get()?.data_version ?? 0;
  }

  /** Applies what still waits, and closes the database. */
  close(): void {
    this.#applyWaiting();
    this.#connection.close();
  }

  #applyWaiting(): void {
    const changes = this.#waiting.splice(0);
    if (changes.length === 0) return;
    try {
      this.#connection
        .transaction(() => {
          for (const change of changes) change.apply();
        })
        .immediate();
    } catch (error) {
      for (const change of changes) change.reject(error);
      return;
    }
    for (const change of changes) change.settle();
  }

  #requireSound(): void {
    const connection = this.#connection;
    const [found] = connection
      .query<{ readonly quick_check: string }, []>("PRAGMA quick_check(1)")
      .all();
    if (found?.quick_check !== "ok") throw new UnsoundDatabase("its pages contradict each other");
    // Of one moment: another writer may be bringing it up to date.
    const fault = connection.transaction(() =>
      schemaFault(connection, versionOf(connection, this.#path)),
    )();
    if (fault !== undefined) throw new UnsoundDatabase(fault);
  }

  /** In one transaction, so that no crash, and no other process, sees a version without its tables. */
  #migrate(): void {
    if (this.hasVersion(SCHEMA_VERSION)) return;
    this.#connection
      .transaction(() => {
        // Another writer may have done it meanwhile.
        this.#version = versionOf(this.#connection, this.#path);
        createTables(this.#connection, this.#version);
      })
      .immediate();
    this.#version = SCHEMA_VERSION;
  }
}

/** A database that SQLite can open, and that is not whole, or not of this program. */
export class UnsoundDatabase extends Error {
  /** As SQLite calls it, so that it is told from other trouble in one way. */
  readonly code = "SQLITE_CORRUPT";
}

/**
 * Makes the database a file that nobody but its owner can read, also one of an earlier version: it holds
 * locations of uploads, which may be signed. SQLite gives its -wal and -shm files the same mode.
 */
function hide(path: string): void {
  closeSync(openSync(path, "a", PRIVATE));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode;
    if (mode !== undefined && (mode & OF_OTHERS) !== 0) chmodSync(file, PRIVATE);
  }
}

const PRIVATE = 0o600;

/** The rights that are not the owner's. */
const OF_OTHERS = 0o077;

/** @throws {Failure} `store-newer` */
function versionOf(connection: Database, path: string): number {
  const row = connection.query<{ user_version: number }, []>("PRAGMA user_version").get();
  const version = row?.user_version ?? 0;
  if (version <= SCHEMA_VERSION) return version;
  throw new Failure({
    code: "store-newer",
    message: `Cannot open ${quoted(path)}: its schema is version ${version}, expected at most ${SCHEMA_VERSION}`,
    hint: "A newer `dray` wrote this store: run that one, or name another folder with `--data-dir`",
  });
}
