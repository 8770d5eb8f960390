import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { formatBytes, systemErrorCode } from "#base";
import type { InputFiles, InputProblem } from "#profile";

/**
 * Largest input that is read, in bytes. Real profiles stay below a few MiB; YAML takes some sixty times
 * its size in memory while it is parsed, and a site has little.
 */
export const INPUT_BYTES_MAX: number = 16 * 1024 * 1024;

const STDIN = 0;

/** The files of this machine; `-` is standard input, which is read once and remembered. */
export function diskFiles(): InputFiles {
  let stdin: Uint8Array | InputProblem | undefined;
  return {
    read(path) {
      if (path !== "-") return readPath(path);
      stdin ??= readOpen(STDIN);
      return stdin;
    },
    list(folder) {
      try {
        return readdirSync(folder, { withFileTypes: true })
          .filter((entry) => !entry.isDirectory())
          .map(({ name }) => name)
          .sort();
      } catch (error) {
        return explain(error);
      }
    },
  };
}

function readPath(path: string): Uint8Array | InputProblem {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    return readOpen(file);
  } catch (error) {
    return explain(error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

const PIECE_BYTES = 64 * 1024;

/** Pipes and devices don't say how much they have, so it is counted while it is read. */
function readOpen(file: number): Uint8Array | InputProblem {
  try {
    const stat = fstatSync(file);
    if (stat.isDirectory()) {
      return { code: "input-unreadable", message: "it is a folder, expected a file" };
    }
    if (stat.size > INPUT_BYTES_MAX) return tooLarge(formatBytes(stat.size));
    const piece = new Uint8Array(PIECE_BYTES);
    const pieces: Uint8Array[] = [];
    for (let bytes = 0; bytes <= INPUT_BYTES_MAX; ) {
      const count = readSync(file, piece);
      if (count === 0) return Buffer.concat(pieces);
      pieces.push(piece.slice(0, count));
      bytes += count;
    }
    return tooLarge("more");
  } catch (error) {
    return explain(error);
  }
}

function tooLarge(found: string): InputProblem {
  const message = `it has ${found}, expected at most ${formatBytes(INPUT_BYTES_MAX)}`;
  return { code: "input-too-large", message };
}

function explain(error: unknown): InputProblem {
  switch (systemErrorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return { code: "input-missing", message: "it does not exist" };
    case "EACCES":
    case "EPERM":
      return { code: "input-unreadable", message: "this user may not read it" };
    case "EISDIR":
      return { code: "input-unreadable", message: "it is a folder, expected a file" };
    default:
      return { code: "input-unreadable", message: systemErrorCode(error) ?? "reading it failed" };
  }
}
