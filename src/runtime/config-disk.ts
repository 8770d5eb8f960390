import {
  chownSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { Failure, formatBytes, quoted, systemErrorCode } from "#base";

/** Who may do what with a file. */
export interface FileRights {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * What files of a configuration ask of a file system: the seam at which tests make the n-th operation
 * fail. Everything throws the system's own error.
 */
export interface ConfigDisk {
  /** Where a path leads, symbolic links followed; the path itself when there is nothing. */
  resolve(path: string): string;
  /**
   * Text and rights of a file; undefined when there is nothing of that name.
   *
   * @throws {Failure} `config-not-text` for what could not be put back as it was: a device, a link to
   *   nothing, bytes that are no UTF-8, more than {@link CONFIG_BYTES_MAX}
   */
  read(path: string): { readonly text: string; readonly rights: FileRights } | undefined;
  /** Makes a folder; false when it was there. */
  makeFolder(path: string): boolean;
  /** Writes a file and returns once it would survive a power cut. */
  write(path: string, text: string, rights: FileRights): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes a folder that is empty; false when it is not. */
  removeFolder(path: string): boolean;
  /** Returns once the names in a folder would survive a power cut. */
  syncFolder(path: string): void;
}

/** One file of a configuration, and what is to become of it. */
export interface FileEdit {
  readonly path: string;
  /** What it was when the edit was made; undefined: it was not there. */
  readonly before: string | undefined;
  /** Undefined: it is to be removed. */
  readonly after: string | undefined;
  /** It has a password: nobody but its owner may read it. */
  readonly isSecret: boolean;
  /** What of it was not ours is kept beside it, until nothing of ours is in it. */
  readonly backup: "keep" | "drop" | "none";
}

/** No configuration of a runtime is a thousandth of this. */
export const CONFIG_BYTES_MAX: number = 16 * 1024 ** 2;

/** A mark at the start is part of the text, for it must be there again afterwards. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The machine's disk. All at once and synchronous: the files are few and small. */
export const systemConfigDisk: ConfigDisk = {
  resolve: (path) => unlessMissing(() => realpathSync(path)) ?? path,
  read(path) {
    const status = unlessMissing(() => statSync(path));
    if (status === undefined) {
      if (isLink(path)) throw unreadable(path, "it is a symbolic link to nothing");
      return undefined;
    }
    const { mode, uid, gid, size } = status;
    if (status.isDirectory()) throw unreadable(path, "it is a folder");
    if (!status.isFile()) throw unreadable(path, "it is a device or the like");
    if (size > CONFIG_BYTES_MAX) throw unreadable(path, `it has ${formatBytes(size)}`);
    return { text: textOf(path), rights: { mode: mode & 0o7777, uid, gid } };
  },
  makeFolder(path) {
    try {
      mkdirSync(path, { mode: 0o755 });
      return true;
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST") return false;
      throw error;
    }
  },
  write(path, text, { mode, uid, gid }) {
    const file = openSync(path, "wx", 0o600);
    try {
      writeFileSync(file, text);
      if (process.getuid?.() === 0) chownSync(path, uid, gid);
      fchmodSync(file, mode);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },
  rename: renameSync,
  remove: unlinkSync,
  removeFolder(path) {
    try {
      rmdirSync(path);
      return true;
    } catch (error) {
      if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes(systemErrorCode(error) ?? "")) return false;
      throw error;
    }
  },
  syncFolder(path) {
    const folder = openSync(path, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  },
};

function isLink(path: string): boolean {
  return unlessMissing(() => lstatSync(path))?.isSymbolicLink() === true;
}

/** What is no UTF-8 would come back as something else. */
function textOf(path: string): string {
  const bytes = readFileSync(path);
  try {
    return utf8.decode(bytes);
  } catch {
    throw unreadable(path, "it has bytes that are no UTF-8");
  }
}

function unreadable(path: string, found: string): Failure {
  return new Failure({
    code: "config-not-text",
    message: `Cannot read ${quoted(path)}: ${found}, expected a text file or none`,
    hint: "Mend what lies there, or remove it; nothing was changed",
  });
}

function unlessMissing<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    // A link that leads to itself leads to nothing.
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(systemErrorCode(error) ?? "")) return undefined;
    throw error;
  }
}
