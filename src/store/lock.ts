import { Database } from "bun:sqlite";
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { type Clock, Failure, quoted, systemErrorCode } from "#base";
import { isJsonObject } from "#oci";
import { type Disk, readText, replaceFile } from "./disk.ts";
import { isDamage } from "./failure.ts";
import type { WriterRole } from "./layout.ts";

/** A right in a store that one process has at a time. */
export interface Lock {
  release(): void;
}

/**
 * What a lock is for: to write in a role, to collect, or to say when there are deliveries, which an agent
 * keeps to itself between those that it has made.
 */
export type LockRole = WriterRole | "collection" | "deliveries";

/** How a lock is asked for. */
export interface LockOptions {
  readonly role: LockRole;
  readonly clock: Clock;
  /** How long it is waited for while another process has it, in milliseconds; not at all without it. */
  readonly waitMs?: number;
}

/** A lock that is waited for is asked for so often. */
const LOOK_MS = 25;

/**
 * Takes a role's lock of a data folder. The kernel frees it with the process, however that ends, so it is
 * never stale: it is an exclusive transaction on a SQLite database of its own, which is what Bun has
 * in place of flock (measured).
 *
 * @throws {Failure} `store-locked`, which says who holds it
 */
export async function takeLock(
  disk: Disk,
  dataDir: string,
  { role, clock, waitMs = 0 }: LockOptions,
): Promise<Lock> {
  const name = role === "delivery" ? "lock" : `lock-${role}`;
  const holderPath = join(dataDir, `${name}.json`);
  const path = join(dataDir, `${name}.db`);
  const untilMs = clock.monotonic() + waitMs;
  let database = lockFile(path);
  while (database === undefined && clock.monotonic() < untilMs) {
    await clock.sleep(LOOK_MS, NEVER);
    database = lockFile(path);
  }
  if (database === undefined) {
    throw locked(
      dataDir,
      role === "deliveries" ? "delivery" : role,
      await readText(disk, holderPath),
    );
  }
  const held = database;
  const holder = { pid: process.pid, since: new Date(clock.now()).toISOString() };
  const at = { path: holderPath, folder: dataDir, draft: `${holderPath}.draft` };
  // It is for people: a full disk is no reason not to hold the lock, and to get it its room back.
  await replaceFile(disk, at, `${JSON.stringify(holder)}\n`).catch(() =>
    disk.remove(holderPath).catch(() => {}),
  );
  return {
    release() {
      held.run("ROLLBACK");
      held.close();
    },
  };
}

const NEVER = new AbortController().signal;

/** Undefined while another process has it. */
function lockFile(path: string): Database | undefined {
  try {
    return mendedLockFile(path);
  } catch (error) {
    if (systemErrorCode(error) !== "SQLITE_BUSY") throw error;
    return undefined;
  }
}

function mendedLockFile(path: string): Database {
  try {
    return beginExclusive(path);
  } catch (error) {
    if (!isDamage(error)) throw error;
    // It is empty as long as nobody but us writes to it, and nobody can hold one that is not. The file
    // itself stays, and with it the lock of whoever was quicker.
    truncateSync(path, 0);
    return beginExclusive(path);
  }
}

function beginExclusive(path: string): Database {
  const database = new Database(path);
  try {
    database.run("PRAGMA busy_timeout = 0");
    // Nothing is ever written to it, and a disk that is full has no room for a journal.
    database.run("PRAGMA journal_mode = MEMORY");
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function locked(dataDir: string, role: string, holderText: string | undefined): Failure {
  const holder = readHolder(holderText);
  return new Failure({
    code: "store-locked",
    message: `Cannot open store ${quoted(dataDir)} for a ${role}: ${holder?.text ?? "another process"} holds it for one, expected no other ${role}`,
    hint:
      holder === undefined
        ? "Find the other `dray` with `ps ax`, wait for it or stop it, then try again"
        : `Look at it with \`ps -p ${holder.pid}\`, wait for it or stop it, then try again`,
  });
}

function readHolder(text: string | undefined): { text: string; pid: number } | undefined {
  try {
    const holder: unknown = JSON.parse(text ?? "");
    if (!isJsonObject(holder)) return undefined;
    const { pid, since } = holder;
    if (typeof pid !== "number" || typeof since !== "string") return undefined;
    return { text: `process ${pid} (since ${quoted(since, 40)})`, pid };
  } catch {
    return undefined;
  }
}
