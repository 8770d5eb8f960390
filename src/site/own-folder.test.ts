import { describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "#test-support/program";
import { folderIdentity, isNewest, replaceFolder } from "./own-folder.ts";

function bornAt(path: string): bigint {
  return lstatSync(path, { bigint: true }).birthtimeNs;
}

async function place() {
  const folder = await temporaryFolder();
  const path = join(folder.path, "deep", "root");
  const state: { identity: string | undefined } = { identity: undefined };
  const replace = (text: string, options: { readonly failAt?: "make" | "note" } = {}) =>
    replaceFolder(
      {
        path,
        identity: state.identity,
        async note(identity) {
          state.identity = identity;
          if (options.failAt === "note") throw new Error("power cut");
        },
      },
      async (target) => {
        mkdirSync(target);
        writeFileSync(join(target, "file"), text);
        if (options.failAt === "make") throw new Error("power cut");
      },
    );
  return Object.assign(folder, {
    ...{ path, state, replace },
    read: () => readFileSync(join(path, "file"), "utf8"),
    beside: () => readdirSync(join(path, "..")),
  });
}

describe("a folder of ours", () => {
  test("is put where nothing is, or nothing in it, and replaced as a whole", async () => {
    await using at = await place();
    await at.replace("one");
    expect(at.read()).toBe("one");
    writeFileSync(join(at.path, "more"), "");
    await at.replace("two");
    expect([at.read(), readdirSync(at.path), at.beside()]).toEqual(["two", ["file"], ["root"]]);
    expect(isNewest(at.path, at.state.identity)).toBe(true);
    rmSync(at.path, { recursive: true });
    expect(isNewest(at.path, at.state.identity)).toBe(false);
    mkdirSync(at.path);
    await at.replace("three");
    expect(at.read()).toBe("three");
  });

  test.each(["a folder with a file", "a file", "a link to a folder"])(
    "is not put where %s lies that is not ours",
    async (kind) => {
      await using at = await place();
      mkdirSync(join(at.path, ".."), { recursive: true });
      if (kind === "a file") writeFileSync(at.path, "theirs");
      else if (kind === "a link to a folder") symlinkSync("/", at.path);
      else {
        mkdirSync(at.path);
        writeFileSync(join(at.path, "theirs"), "");
      }
      await expect(at.replace("one")).rejects.toMatchObject({ code: "folder-taken" });
      expect(at.beside()).toEqual(["root"]);
      expect(existsSync(join(at.path, "file"))).toBe(false);
    },
  );

  test("that somebody put another one in the place of is theirs", async () => {
    await using at = await place();
    await at.replace("one");
    // It may get the very number of the one before, and is another one all the same.
    const bornNs = bornAt(at.path);
    do {
      rmSync(at.path, { recursive: true });
      mkdirSync(at.path);
    } while (bornNs !== 0n && bornAt(at.path) === bornNs);
    writeFileSync(join(at.path, "theirs"), "");
    await expect(at.replace("two")).rejects.toMatchObject({ code: "folder-taken" });
    expect(readdirSync(at.path)).toEqual(["theirs"]);
  });

  test("stays as it was when the next can't be made, and what is left is removed the next time", async () => {
    await using at = await place();
    await at.replace("one");
    await expect(at.replace("two", { failAt: "make" })).rejects.toThrow("power cut");
    mkdirSync(join(at.path, "..", "..root.dray-next.dray-abc123"));
    expect(at.read()).toBe("one");
    expect(at.beside()).toHaveLength(3);
    await at.replace("two");
    expect([at.read(), at.beside()]).toEqual(["two", ["root"]]);
  });

  test("is still ours when the power went between the note and the name", async () => {
    await using at = await place();
    await at.replace("one");
    await expect(at.replace("two", { failAt: "note" })).rejects.toThrow("power cut");
    expect(at.read()).toBe("one");
    expect(isNewest(at.path, at.state.identity)).toBe(false);
    await at.replace("three");
    expect([at.read(), at.beside()]).toEqual(["three", ["root"]]);
  });

  test("is found again after the power went between the two names", async () => {
    await using at = await place();
    await at.replace("one");
    await expect(at.replace("two", { failAt: "note" })).rejects.toThrow("power cut");
    renameSync(at.path, join(at.path, "..", ".root.dray-old"));
    await at.replace("three");
    expect([at.read(), at.beside()]).toEqual(["three", ["root"]]);
  });

  test.skipIf(process.geteuid?.() !== 0)(
    "is not touched while something is mounted in it",
    async () => {
      await using at = await place();
      await at.replace("one");
      const mounted = join(at.path, "with space");
      mkdirSync(mounted);
      const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "none", mounted]);
      // In a container root itself may not.
      if (mount.exitCode !== 0) return;
      try {
        writeFileSync(join(mounted, "theirs"), "");
        const error = await at.replace("two").catch((caught: unknown) => caught);
        expect(error).toMatchObject({ code: "folder-taken" });
        expect(`${error}`).toContain("with space");
        expect(readdirSync(mounted)).toEqual(["theirs"]);
      } finally {
        Bun.spawnSync(["umount", mounted]);
      }
      await at.replace("two");
      expect(at.read()).toBe("two");
    },
  );
});

test("only a folder has an identity", async () => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, "file"), "");
  symlinkSync(folder.path, join(folder.path, "link"));
  expect(folderIdentity(folder.path)).toMatch(/^\d+:\d+$/);
  for (const name of ["file", "link", "none"]) {
    expect(folderIdentity(join(folder.path, name))).toBeUndefined();
  }
});
