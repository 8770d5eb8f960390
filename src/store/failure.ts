import { Failure, formatBytes, isFailure, printable, quoted, systemErrorCode } from "#base";
import type { Digest } from "#oci";

/** What could not be done, in the words of a message: `open`, `"/var/lib/drayage"`. */
export interface Attempt {
  readonly verb: string;
  readonly object: string;
  readonly dataDir: string;
}

/** How much room there was and how much was wanted, where that is known. */
export interface Room {
  readonly freeBytes?: number | undefined;
  readonly neededBytes?: number | undefined;
}

/**
 * What to throw for an error of the file system or of SQLite. What is a failure already passes
 * through, and so does what the system did not report: that is a bug, and must not look like a disk.
 */
export function storeFailure(error: unknown, attempt: Attempt, room: Room = {}): unknown {
  const code = systemErrorCode(error);
  if (isFailure(error) || code === undefined) return error;
  if (FULL.has(code)) return storeFull(attempt, room, error);
  if (code === "SQLITE_BUSY") return storeBusy(attempt, error);
  if (isDamage(error)) return databaseDamaged(attempt, error);
  const unusable = UNUSABLE[code];
  if (unusable !== undefined) return storeUnusable(attempt.dataDir, `${unusable} (${code})`, error);
  const hint =
    BROKEN_HINTS[code] ?? "Look for disk errors with `dmesg`, and repair or replace the disk";
  return new Failure({
    code: "store-broken",
    message: `Cannot ${attempt.verb} ${attempt.object}: the disk of ${quoted(attempt.dataDir)} answered ${code}, expected it to work`,
    hint: `${hint}, then run \`dray deliver\` again`,
    cause: error,
  });
}

function storeBusy({ verb, object, dataDir }: Attempt, cause: unknown): Failure {
  return new Failure({
    code: "store-busy",
    message: `Cannot ${verb} ${object}: another process holds the database of ${quoted(dataDir)}, expected it for no longer than a moment`,
    hint: `Find who has drayage.db open with \`fuser -v ${dataDir}/drayage.db\`, then try again`,
    transient: true,
    cause,
  });
}

/** Whether an error of SQLite says that the file is no database, or not whole. */
export function isDamage(error: unknown): boolean {
  const code = systemErrorCode(error) ?? "";
  return code === "SQLITE_NOTADB" || /^SQLITE_CORRUPT(_|$)/.test(code);
}

/** What is wrong with a database, in the words of whoever found it. */
export function damageIn(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}

/** Whoever opens it to write next gets a new one, see `openDatabase`. */
function databaseDamaged({ verb, object, dataDir }: Attempt, cause: unknown): Failure {
  return new Failure({
    code: "store-broken",
    message: `Cannot ${verb} ${object}: the database of ${quoted(dataDir)} is damaged: ${damageIn(cause)}, expected it to be whole`,
    hint: "Run `dray deliver`, or start the agent again: it moves the database into quarantine/ and gives what was delivered its names again; then look for disk errors with `dmesg`",
    cause,
  });
}

const BROKEN_HINTS: Readonly<Record<string, string>> = {
  EROFS: "Mount the file system for writing, or name another folder with `--data-dir`",
};

const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG", "SQLITE_FULL"]);

/** What a person can mend, in words. */
const UNUSABLE: Readonly<Record<string, string>> = {
  EACCES: "this user may not use it",
  EPERM: "this user may not use it",
  ENOTDIR: "it, or a part of its path, is a file",
  EISDIR: "a folder lies where a file belongs",
  EEXIST: "it is a file",
  SQLITE_CANTOPEN: "its database can not be opened",
  SQLITE_READONLY: "its database can not be written",
  SQLITE_PERM: "this user may not use its database",
  SQLITE_AUTH: "this user may not use its database",
};

/** The disk has no room: other writes will fail as well until somebody makes some. */
export function storeFull(
  attempt: Attempt,
  { freeBytes, neededBytes }: Room,
  cause?: unknown,
): Failure {
  const state = freeBytes === undefined ? "is full" : `has ${formatBytes(freeBytes)} free`;
  const needed = neededBytes === undefined ? "more room" : formatNeeded(neededBytes, freeBytes);
  return new Failure({
    code: "store-full",
    message: `Cannot ${attempt.verb} ${attempt.object}: the disk of ${quoted(attempt.dataDir)} ${state}, expected ${needed}`,
    hint: `Make room on the disk (\`df -h ${attempt.dataDir}\` shows it), then run \`dray deliver\` again; an agent goes on by itself`,
    cause,
  });
}

function formatNeeded(neededBytes: number, freeBytes: number | undefined): string {
  const lackingBytes = neededBytes - (freeBytes ?? neededBytes);
  const more = lackingBytes > 0 ? ` (${formatBytes(lackingBytes)} more)` : "";
  return `${formatBytes(neededBytes)}${more}`;
}

/** The folder cannot be a store as it is: a person has to change something. */
export function storeUnusable(dataDir: string, state: string, cause?: unknown): Failure {
  return new Failure({
    code: "store-unusable",
    message: `Cannot open store ${quoted(dataDir)}: ${state}, expected an empty folder or a store that this user may write`,
    hint: "Name another folder with `--data-dir`, or change the owner of this one",
    cause,
  });
}

/** The upload is at work for somebody else: one request at a time (S-31). */
export function uploadBusy(id: string): Failure {
  return new Failure({
    code: "upload-busy",
    message: `Cannot go on with upload ${id}: another request is at it, expected one at a time`,
    hint: "Wait for the other request, ask how far the upload is, and go on from there",
    transient: true,
  });
}

/** The upload was there when it was looked up, and is not any more. */
export function uploadUnknown(id: string): Failure {
  return new Failure({
    code: "upload-unknown",
    message: `Cannot go on with upload ${id}: it has ended, expected one that is under way`,
    hint: "Push the content again",
  });
}

/** What was pushed is not what it was said to be. */
export function uploadMismatch(digest: Digest, actual: Digest): Failure {
  return new Failure({
    code: "digest-mismatch",
    message: `Cannot accept content ${digest}: the bytes that were pushed have digest ${actual}, expected the one it is named by`,
    hint: "Push the content again",
  });
}
