import { Failure, formatBytes, isFailure, quoted, systemErrorCode } from "#base";

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
  if (UNUSABLE.has(code)) return storeUnusable(attempt.dataDir, `${code} on access`, error);
  return new Failure({
    code: "store-broken",
    message: `Cannot ${attempt.verb} ${attempt.object}: the disk of ${quoted(attempt.dataDir)} answered ${code}, expected it to work`,
    hint: "Look for disk errors with `dmesg`, repair or replace the disk, then run `dray verify`",
    cause: error,
  });
}

const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG", "SQLITE_FULL"]);

const UNUSABLE: ReadonlySet<string> = new Set([
  "EACCES",
  "EPERM",
  "ENOTDIR",
  "EISDIR",
  "EEXIST",
  "SQLITE_CANTOPEN",
  "SQLITE_READONLY",
  "SQLITE_PERM",
  "SQLITE_AUTH",
]);

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
    hint: `Make room on the disk (\`df -h ${attempt.dataDir}\` shows it), then run \`dray deliver\` again`,
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
