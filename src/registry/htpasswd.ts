import { createHmac, randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { Failure, Limiter, quoted, SingleFlight } from "#base";
import { fileVersion } from "./file-version.ts";

/** Who may use a registry. */
export interface Users {
  /**
   * Whether this is the user's password. It takes as long for a user that there is not (S-50).
   *
   * @param beforeComparing called before a password is compared that was not right before, once for all
   *   who ask the same at the same time; what it throws is thrown on
   */
  verify(username: string, password: string, beforeComparing?: () => void): Promise<boolean>;
}

/** Users that are read from a file, which may change while they are in. */
export interface FileUsers extends Users {
  /**
   * Differs once the user has another password; undefined for who is no user (any more). It says nothing
   * of the password. Who was let in for a while is asked for it again.
   *
   * @throws {Failure} `htpasswd-unreadable`, `htpasswd-invalid`
   */
  passwordVersion(username: string): string | undefined;
}

/** bcrypt in the spellings that htpasswd, nginx and others write. */
const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/;

/** bcrypt looks at no more than this. Bun would hash a longer password first, which htpasswd does not. */
const PASSWORD_BYTES_MAX = 72;

/** How many passwords are remembered as right; more than a site has users. */
const PROVEN_MAX = 1000;

/** A comparison keeps a core busy for a tenth of a second: logins must not starve the deliveries. */
const COMPARISONS_MAX = 2;

const never: AbortSignal = new AbortController().signal;

/**
 * Reads an htpasswd file, and reads it again whenever it changes. Only bcrypt is accepted. While the
 * file cannot be used, nobody is let in.
 *
 * @throws {Failure} `htpasswd-unreadable`, `htpasswd-invalid`; `verify` throws them as well
 */
export async function openHtpasswd(path: string): Promise<FileUsers> {
  const key = randomBytes(32);
  const proven = new Set<string>();
  const comparing = new SingleFlight<boolean>();
  const limiter = new Limiter(COMPARISONS_MAX);
  let users = readUsers(path);

  const readAgain = () => {
    if (versionOf(path) !== users.version) users = readUsers(path);
  };
  const verify: Users["verify"] = async (username, password, beforeComparing) => {
    readAgain();
    if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX || password === "") return false;
    const hash = users.hashes.get(username);
    const [anyHash] = users.hashes.values();
    const compared = hash ?? anyHash;
    if (compared === undefined) return false;
    // The hash is part of it: what was proven for one password says nothing once it was changed.
    const proof = createHmac("sha256", key)
      .update(JSON.stringify([username, password, compared]))
      .digest("base64");
    // Another user may have the same hash, so what is proven of it says nothing for one who is gone.
    if (hash !== undefined && proven.has(proof)) return true;
    const isRight = await comparing.run(proof, async () => {
      beforeComparing?.();
      return limiter.run(never, () => Bun.password.verify(password, compared, "bcrypt"));
    });
    if (!isRight || hash === undefined) return false;
    if (proven.size >= PROVEN_MAX) proven.clear();
    proven.add(proof);
    return true;
  };
  const passwordVersion: FileUsers["passwordVersion"] = (username) => {
    readAgain();
    const hash = users.hashes.get(username);
    return hash && createHmac("sha256", key).update(hash).digest("base64");
  };
  return { verify, passwordVersion };
}

interface UserTable {
  /** Differs when the file was changed or replaced. */
  readonly version: string;
  readonly hashes: ReadonlyMap<string, string>;
}

function readUsers(path: string): UserTable {
  // The version first: what is written after it is read again the next time.
  const version = versionOf(path);
  const text = orUnreadable(path, () => readFileSync(path, "utf8"));
  return { version, hashes: parseHtpasswd(text, path) };
}

function versionOf(path: string): string {
  return fileVersion(orUnreadable(path, () => statSync(path)));
}

/**
 * Reads the text of an htpasswd file into hashes by user.
 *
 * @param path for the message
 * @throws {Failure} `htpasswd-invalid`
 */
export function parseHtpasswd(text: string, path: string): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    const entry = line.trim();
    if (entry === "" || entry.startsWith("#")) continue;
    const colon = entry.indexOf(":");
    const hash = entry.slice(colon + 1);
    if (colon < 1 || !BCRYPT.test(hash)) throw invalid(path, index + 1);
    hashes.set(entry.slice(0, colon), hash);
  }
  return hashes;
}

function orUnreadable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Failure({
      code: "htpasswd-unreadable",
      message: `Cannot read the users: ${quoted(path)} is not readable, expected an htpasswd file`,
      hint: `Write one with \`htpasswd -Bc ${path} USER\``,
      cause,
    });
  }
}

/** The line itself is a secret, so it is named by its number. */
function invalid(path: string, line: number): Failure {
  return new Failure({
    code: "htpasswd-invalid",
    message: `Cannot use line ${line} of ${quoted(path)}: it is not understood, expected a user, ":" and a bcrypt hash`,
    hint: `Write the line with \`htpasswd -B ${path} USER\``,
  });
}
