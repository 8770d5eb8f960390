import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure } from "#base";
import { type ConfigDisk, type FileEdit, systemConfigDisk } from "./config-disk.ts";
import { applyEdits, BACKUP_SUFFIX, readConfigFile } from "./config-files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function edit(name: string, change: Partial<FileEdit>): FileEdit {
  const path = join(folder, name);
  return {
    ...{ path, before: undefined, after: "new\n", isSecret: false, backup: "none" },
    ...change,
  };
}

/** Every file and folder with its mode and text. */
function tree(): Readonly<Record<string, string>> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const entries = names.map((name) => {
    const path = join(folder, name);
    const stats = statSync(path);
    const text = stats.isFile() ? readFileSync(path, "utf8") : "/";
    return [name, `${(stats.mode & 0o777).toString(8)} ${text}`];
  });
  return Object.fromEntries(entries);
}

function theirs(name: string, text: string, mode = 0o640): void {
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), mode);
}

/** The machine's disk, on which the n-th operation that changes something fails. */
function failingDisk(nth: number): ConfigDisk & { readonly done: () => number } {
  let count = 0;
  const changing = ["makeFolder", "write", "rename", "remove", "removeFolder", "syncFolder"];
  const calls = Object.entries(systemConfigDisk).map(([name, call]) => {
    const guarded = (...words: readonly never[]) => {
      if (changing.includes(name)) count += 1;
      if (changing.includes(name) && count === nth) {
        throw Object.assign(new Error("no room"), { code: "ENOSPC", path: String(words[0]) });
      }
      return (call as (...given: readonly never[]) => unknown)(...words);
    };
    return [name, guarded];
  });
  return { ...(Object.fromEntries(calls) as ConfigDisk), done: () => count };
}

describe("applyEdits()", () => {
  test("makes files with their folders; one with a password is its owner's alone", () => {
    applyEdits([edit("a/b/hosts.toml", {}), edit("a/c/hosts.toml", { isSecret: true })]);
    expect(tree()).toMatchObject({ "a/b/hosts.toml": "644 new\n", "a/c/hosts.toml": "600 new\n" });
    expect(Object.keys(tree())).toHaveLength(5);
  });

  test("keeps the mode of a file, and a backup of what was there before us, once", () => {
    theirs("hosts.toml", "theirs\n");
    applyEdits([edit("hosts.toml", { before: "theirs\n", backup: "keep" })]);
    applyEdits([edit("hosts.toml", { before: "new\n", after: "newer\n", backup: "keep" })]);
    expect(tree()).toEqual({
      "hosts.toml": "640 newer\n",
      [`hosts.toml${BACKUP_SUFFIX}`]: "640 theirs\n",
    });
  });

  test("gives back the mode that a file had before it got a password, and drops the backup", () => {
    theirs("hosts.toml", "theirs\n", 0o644);
    applyEdits([edit("hosts.toml", { before: "theirs\n", isSecret: true, backup: "keep" })]);
    expect(tree()["hosts.toml"]).toBe("600 new\n");
    applyEdits([edit("hosts.toml", { before: "new\n", after: "theirs\n", backup: "drop" })]);
    expect(tree()).toEqual({ "hosts.toml": "644 theirs\n" });
  });

  test("removes a file, and the folder that is empty then", () => {
    applyEdits([edit("a/hosts.toml", {})]);
    applyEdits([edit("a/hosts.toml", { before: "new\n", after: undefined, backup: "drop" })]);
    expect(tree()).toEqual({});
  });

  test("writes through a symbolic link, not over it", () => {
    mkdirSync(join(folder, "real"));
    theirs("real/hosts.toml", "theirs\n");
    symlinkSync(join(folder, "real/hosts.toml"), join(folder, "hosts.toml"));
    applyEdits([edit("hosts.toml", { before: "theirs\n" })]);
    expect(readFileSync(join(folder, "real/hosts.toml"), "utf8")).toBe("new\n");
  });

  test.each<[string, () => void]>([
    [
      "bytes that are no UTF-8",
      () => writeFileSync(join(folder, "f"), Buffer.of(0x23, 0xe9, 0x0a)),
    ],
    ["a folder", () => mkdirSync(join(folder, "f"))],
    ["a device", () => symlinkSync("/dev/null", join(folder, "f"))],
    ["a link to nothing", () => symlinkSync("nowhere", join(folder, "f"))],
    ["a link to itself", () => symlinkSync("f", join(folder, "f"))],
    [
      "more than any configuration",
      () => writeFileSync(join(folder, "f"), "#".repeat(2 ** 24 + 1)),
    ],
  ])("what can't be put back as it was is not touched: %s", (_, make) => {
    make();
    const names = () => readdirSync(folder).join();
    const before = names();
    expect(codeOf(() => readConfigFile(join(folder, "f")))).toBe("config-not-text");
    expect(codeOf(() => applyEdits([edit("f", {})]))).toBe("config-not-text");
    expect(names()).toBe(before);
  });

  test("a byte order mark is part of the text", () => {
    theirs("f", "\ufefftheirs\n");
    expect(readConfigFile(join(folder, "f"))).toBe("\ufefftheirs\n");
  });

  test("changes nothing when a file is edited while the new ones are being written", () => {
    theirs("b", "theirs\n");
    const disk: ConfigDisk = {
      ...systemConfigDisk,
      write(path, text, rights) {
        systemConfigDisk.write(path, text, rights);
        if (path.includes("/a.")) theirs("b", "edited meanwhile\n");
      },
    };
    const edits = [edit("b", { before: "theirs\n" }), edit("a", {})];
    expect(codeOf(() => applyEdits(edits, disk))).toBe("config-changed");
    expect(tree()).toEqual({ b: "640 edited meanwhile\n" });
  });

  test("changes nothing when a file is not what it was when the edits were made", () => {
    theirs("b", "edited meanwhile\n");
    const before = tree();
    const edits = [edit("a", {}), edit("b", { before: "theirs\n" })];
    expect(codeOf(() => applyEdits(edits))).toBe("config-changed");
    expect(tree()).toEqual(before);
  });

  test("leaves all as it was when the n-th operation fails, for every n until the last file is there", () => {
    const run = (disk: ConfigDisk) => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      theirs("one", "theirs\n");
      theirs("gone", "ours\n");
      const before = tree();
      const edits = [
        edit("one", { before: "theirs\n", isSecret: true, backup: "keep" }),
        edit("deep/two", {}),
        edit("gone", { before: "ours\n", after: undefined }),
      ];
      return { before, code: codeOf(() => applyEdits(edits, disk)) };
    };
    const sound = failingDisk(0);
    expect(run(sound).code).toBeUndefined();
    const after = tree();
    let refused = 0;
    for (let n = 1; n <= sound.done(); n += 1) {
      const { before, code } = run(failingDisk(n));
      expect(["config-unwritable", undefined]).toContain(code);
      // What fails after the last change of a name is a failure of nothing that a person wants.
      expect(tree()).toEqual(code === undefined ? after : before);
      if (code !== undefined) refused += 1;
    }
    expect(refused).toBeGreaterThan(6);
  });

  test("a temporary file that a dead run left is in nobody's way", () => {
    theirs("hosts.toml.drayage-new", "half");
    applyEdits([edit("hosts.toml", {})]);
    expect(tree()).toEqual({ "hosts.toml": "644 new\n" });
  });

  test.each(["EROFS", "EACCES", "ENOSPC"])(
    "says what %s means, and that no file was changed",
    (code) => {
      const disk: ConfigDisk = {
        ...systemConfigDisk,
        write() {
          throw Object.assign(new Error(code), { code });
        },
      };
      try {
        applyEdits([edit("hosts.toml", {})], disk);
        throw new Error("it did not fail");
      } catch (error) {
        if (!isFailure(error, "config-unwritable")) throw error;
        expect(error.message).toContain("No file was changed");
        expect(error.message).not.toContain(code);
        expect(error.hint).not.toBe("");
      }
    },
  );
});

function codeOf(act: () => void): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
}
