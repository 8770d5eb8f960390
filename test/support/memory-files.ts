import type { InputFiles } from "#profile";

/** What a path holds: text (as UTF-8), bytes, or the reason why it can't be read. */
type Content = string | Uint8Array | ReturnType<typeof unreadable>;

const FOLDER = { code: "input-unreadable", message: "it is a folder, expected a file" } as const;
const MISSING = { code: "input-missing", message: "it does not exist" } as const;

/** Files by their paths. */
export type MemoryContents = Readonly<Record<string, Content>>;

/**
 * Input files out of memory, by path. A path that only begins others is a folder, and what is named
 * with `..` is found where a disk would find it.
 */
export function createMemoryFiles(contents: MemoryContents): InputFiles {
  const files = new Map(Object.entries(contents));
  const within = (folder: string) => {
    return [...files.keys()].filter((path) => path.startsWith(`${folder}/`));
  };
  return {
    read(path) {
      const key = normalized(path);
      const content = files.get(key);
      if (content === undefined) return within(key).length > 0 ? FOLDER : MISSING;
      return typeof content === "string" ? new TextEncoder().encode(content) : content;
    },
    list(folder) {
      const key = normalized(folder);
      const names = within(key).map((path) => path.slice(key.length + 1));
      return names.length === 0 ? MISSING : names.filter((name) => !name.includes("/")).sort();
    },
  };
}

/** A file that is there and can't be read. */
export function unreadable(message: string) {
  return { code: "input-unreadable", message } as const;
}

function normalized(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === ".." && parts.length > 0) parts.pop();
    else if (part !== "." && (part !== "" || parts.length === 0)) parts.push(part);
  }
  return parts.join("/");
}
