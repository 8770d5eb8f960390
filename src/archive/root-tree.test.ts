import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { streamOf, type TarSample, tarOf } from "#test-support/tar";
import { pathOf, RootTree, walkTree } from "./root-tree.ts";
import { readTar } from "./tar.ts";

async function rootOf(layers: readonly (readonly TarSample[])[], nodesMax?: number) {
  const tree = new RootTree(nodesMax);
  for (const [position, samples] of layers.entries()) {
    for await (const entry of readTar(streamOf(tarOf(samples)))) tree.apply(entry, position);
  }
  return tree;
}

/** All paths; a folder ends in a slash, and what a link or a second name is for follows an arrow. */
async function pathsOf(...layers: readonly (readonly TarSample[])[]): Promise<string[]> {
  const tree = await rootOf(layers);
  return [...walkTree(tree.root)]
    .slice(1)
    .map((node) => {
      const { kind, entry, layer } = node.inode;
      if (kind === "folder") return `${pathOf(node)}/`;
      return kind === "symlink"
        ? `${pathOf(node)} -> ${entry?.linkPath}`
        : `${pathOf(node)} ${layer}`;
    })
    .sort();
}

async function codeOf(...layers: readonly (readonly TarSample[])[]): Promise<string> {
  try {
    await rootOf(layers);
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
  return "applied";
}

const file = (path: string): TarSample => ({ path, type: "file" });
const folder = (path: string): TarSample => ({ path, type: "folder" });
const symlink = (path: string, linkPath: string): TarSample => ({
  path,
  type: "symlink",
  linkPath,
});
const hardlink = (path: string, linkPath: string): TarSample => ({
  path,
  type: "hardlink",
  linkPath,
});

test("folders in folders without end are refused, also those that links hide", async () => {
  const deep = "d/".repeat(400);
  expect(await codeOf([folder(deep)])).toBe("applied");
  expect(await codeOf([folder(deep.repeat(2))])).toBe("archive-too-large");
  const links = [folder(deep), symlink("l", deep), folder(`l/${deep}`)];
  expect(await codeOf(links)).toBe("archive-too-large");
});

describe("layers on each other", () => {
  test("add, replace and keep", async () => {
    expect(await pathsOf([file("a/b"), file("a/c")], [file("a/b"), file("d")])).toEqual([
      "a/",
      "a/b 1",
      "a/c 0",
      "d 1",
    ]);
  });

  test("a whiteout hides what lower layers have, and itself", async () => {
    expect(await pathsOf([file("a/b"), file("a/c")], [file("a/.wh.b")])).toEqual(["a/", "a/c 0"]);
    expect(await pathsOf([file("a/b/c")], [file(".wh.a")])).toEqual([]);
    expect(await pathsOf([], [file(".wh.none"), file("no/.wh.such")])).toEqual([]);
  });

  test("the example of the specification: an opaque whiteout, before and after its siblings", async () => {
    const base = [folder("a"), folder("a/b"), folder("a/b/c"), file("a/b/c/bar")];
    const siblings = [folder("a/b"), folder("a/b/c"), file("a/b/c/foo")];
    const expected = ["a/", "a/b/", "a/b/c/", "a/b/c/foo 1"];
    expect(await pathsOf(base, [folder("a"), file("a/.wh..wh..opq"), ...siblings])).toEqual(
      expected,
    );
    expect(await pathsOf(base, [folder("a"), ...siblings, file("a/.wh..wh..opq")])).toEqual(
      expected,
    );
  });

  test("a whiteout leaves alone what its own layer has", async () => {
    expect(await pathsOf([file("a")], [file("a"), file(".wh.a")])).toEqual(["a 1"]);
    expect(await pathsOf([file("a/x")], [file("a/y"), file(".wh.a")])).toEqual(["a/", "a/y 1"]);
  });

  test("notes of AUFS to itself are no files", async () => {
    expect(
      await pathsOf([
        folder(".wh..wh.plnk"),
        file(".wh..wh.plnk/7"),
        file(".wh..wh.aufs"),
        file("a"),
      ]),
    ).toEqual(["a 0"]);
  });

  test("a file replaces a folder with all in it, and a folder a file", async () => {
    expect(await pathsOf([file("a/b/c")], [file("a")])).toEqual(["a 1"]);
    expect(await pathsOf([file("a")], [folder("a"), file("a/b")])).toEqual(["a/", "a/b 1"]);
    expect(await pathsOf([file("a")], [file("a/b")])).toEqual(["a/", "a/b 1"]);
    expect(await codeOf([file("a"), file("a/b")])).toBe("layer-invalid");
  });

  test("a folder that meets a folder changes what describes it and keeps what is in it", async () => {
    const tree = await rootOf([
      [{ ...folder("a"), mode: 0o700 }, file("a/b")],
      [{ ...folder("a"), mode: 0o711 }],
    ]);
    expect(tree.find("a")?.inode.entry?.mode).toBe(0o711);
    expect(tree.find("a/b")?.inode.layer).toBe(0);
  });

  test("the same entry twice: the last one counts", async () => {
    const tree = await rootOf([
      [
        { ...file("a"), mode: 0o600 },
        { ...file("./a"), mode: 0o640 },
      ],
    ]);
    expect(tree.find("a")?.inode.entry?.mode).toBe(0o640);
  });
});

describe("paths that mean to leave", () => {
  test.each([
    ["a file", file("../evil")],
    ["a file behind a name", file("a/../../evil")],
    ["a whiteout", file("../.wh.evil")],
    ["a hard link", hardlink("a", "../../etc/shadow")],
    ["a folder with the name of a whiteout", file(".wh.a/b")],
    ["a whiteout of its own folder", file("a/.wh.")],
    ["a whiteout of the folder above", file("a/.wh...")],
  ])("%s is refused", async (_, sample) => {
    expect(await codeOf([file("a/b"), sample])).toBe("layer-invalid");
  });

  test("links lead to what they would after chroot: in the same layer, across layers, in turns", async () => {
    const outside = [symlink("out", "../../../../etc"), file("out/passwd")];
    expect(await pathsOf(outside)).toEqual(["etc/", "etc/passwd 0", "out -> ../../../../etc"]);
    const absolute = [[symlink("lib", "/usr/lib"), folder("usr/lib")], [file("lib/x")]];
    expect(await pathsOf(...absolute)).toEqual([
      "lib -> /usr/lib",
      "usr/",
      "usr/lib/",
      "usr/lib/x 1",
    ]);
    const nested = [
      symlink("a/b/lib", "/usr"),
      file("a/b/lib/x"),
      symlink("a/b/up", "../c"),
      file("a/b/up/y"),
    ];
    expect(await pathsOf(nested)).toEqual([
      ...["a/", "a/b/", "a/b/lib -> /usr", "a/b/up -> ../c", "a/c/", "a/c/y 0", "usr/", "usr/x 0"],
    ]);
    const swapped = [[folder("a"), file("a/b")], [symlink("a", "/")], [file("a/etc/x")]];
    expect(await pathsOf(...swapped)).toEqual(["a -> /", "etc/", "etc/x 2"]);
    const turns = [symlink("a", "b/c"), symlink("b", "/d/.."), file("a/x")];
    expect(await pathsOf(turns)).toEqual(["a -> b/c", "b -> /d/..", "c/", "c/x 0", "d/"]);
  });

  test("a whiteout through a link hides within the root", async () => {
    expect(await pathsOf([symlink("a", "../../b"), file("b/x")], [file("a/.wh.x")])).toEqual([
      "a -> ../../b",
      "b/",
    ]);
  });

  test("a link in a circle is refused where something must go through it", async () => {
    expect(await codeOf([symlink("a", "b"), symlink("b", "a")])).toBe("applied");
    expect(await codeOf([symlink("a", "b"), symlink("b", "a"), file("a/x")])).toBe("layer-invalid");
  });

  test("a link that grows each time it is followed ends", async () => {
    expect(await codeOf([symlink("a", `a/${"x/".repeat(1000)}`), file("a/y")])).toBe(
      "layer-invalid",
    );
  });

  test("the root stays a folder", async () => {
    expect(await codeOf([symlink("./", "/etc")])).toBe("layer-invalid");
    expect(await codeOf([file(".")])).toBe("layer-invalid");
    expect(await codeOf([folder("./")])).toBe("applied");
  });
});

describe("hard links", () => {
  test("are names of one file, whatever becomes of the first name", async () => {
    const tree = await rootOf([
      [file("a"), hardlink("b", "a")],
      [file("a")],
      [hardlink("c", "/b")],
    ]);
    expect(tree.find("b")?.inode).toBe(tree.find("c")?.inode as never);
    expect(tree.find("a")?.inode).not.toBe(tree.find("b")?.inode as never);
  });

  test("reach through links to folders, and not through one at the end", async () => {
    const tree = await rootOf([
      [
        symlink("l", "d"),
        file("d/a"),
        symlink("d/s", "a"),
        hardlink("x", "l/a"),
        hardlink("y", "l/s"),
      ],
    ]);
    expect(tree.find("x")?.inode).toBe(tree.find("d/a")?.inode as never);
    expect(tree.find("y", false)?.inode.kind).toBe("symlink");
  });

  test.each([
    ["to nothing", [hardlink("a", "b")]],
    ["to a folder", [folder("b"), hardlink("a", "b")]],
    ["to what it replaces", [file("b/c"), hardlink("b", "b/c")]],
  ])("%s are refused", async (_, samples) => {
    expect(await codeOf(samples)).toBe("layer-invalid");
  });

  test("below the file they are a name of are refused", async () => {
    expect(await codeOf([file("b")], [hardlink("b/c", "b")])).toBe("layer-invalid");
  });

  test("to themselves change nothing", async () => {
    expect(await pathsOf([file("a"), hardlink("a", "a")], [hardlink("a", "a")])).toEqual(["a 0"]);
  });
});

test("more names than a machine should keep are refused, also those that nothing describes", async () => {
  const samples = Array.from({ length: 10 }, (_, i) => file(`${i}/${"a/".repeat(9)}`));
  const tree = new RootTree(100);
  const apply = async () => {
    for await (const entry of readTar(streamOf(tarOf(samples)))) tree.apply(entry, 0);
  };
  await expect(apply()).rejects.toThrow(/more than 100 files/);
});

test("names longer than a disk takes are refused", async () => {
  expect(await codeOf([file("n".repeat(255))])).toBe("applied");
  expect(await codeOf([file("n".repeat(256))])).toBe("layer-invalid");
  expect(await codeOf([file("ő".repeat(128))])).toBe("layer-invalid");
});

test("whatever layers say, every node has its name in its folder, and nothing is above the root", async () => {
  const path = fc
    .array(fc.constantFrom("a", "b", "c", "..", ".", ".wh.a", ".wh.b", ".wh..wh..opq"), {
      minLength: 1,
      maxLength: 4,
    })
    .map((names) => names.join("/"));
  const target = fc
    .tuple(
      fc.constantFrom("", "/"),
      fc.array(fc.constantFrom("a", "b", "c", ".."), { minLength: 1, maxLength: 3 }),
    )
    .map(([start, names]) => start + names.join("/"));
  const sample: fc.Arbitrary<TarSample> = fc.record({
    path,
    type: fc.constantFrom("file", "folder", "symlink", "hardlink"),
    linkPath: target,
  });
  const layers = fc.array(fc.array(sample, { maxLength: 6 }), { maxLength: 3 });
  const check = async (written: TarSample[][]) => {
    const tree = new RootTree(200);
    for (const [position, samples] of written.entries()) {
      for await (const entry of readTar(streamOf(tarOf(samples)))) {
        try {
          const { made, removed } = tree.apply(entry, position);
          if (made !== undefined) expect(made.parent?.inode.kind ?? "folder").toBe("folder");
          for (const gone of removed) expect(gone.parent).toBeDefined();
        } catch (error) {
          if (!isFailure(error)) throw error;
        }
      }
    }
    for (const node of walkTree(tree.root)) {
      if (node === tree.root) continue;
      expect(node.name).not.toMatch(/^(\.\.?|\.wh\..*|)$|\//);
      expect(node.parent?.inode.children?.get(node.name)).toBe(node);
    }
  };
  await fc.assert(fc.asyncProperty(layers, check), { numRuns: Math.ceil(FUZZ_RUNS / 2) });
});
