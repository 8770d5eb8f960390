import { describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isFailure } from "#base";
import { createMemoryStore, digestOf, type Fetcher, writeContent } from "#content";
import { temporaryFolder } from "#test-support/program";
import { header, padded, paxRecord, type TarSample, tarOf } from "#test-support/tar";
import type { ImageLayer } from "./layers.ts";
import { type UnpackOptions, unpackLayers } from "./unpack.ts";

const IS_ROOT = process.geteuid?.() === 0;
const { signal } = new AbortController();

/** Layers in a store, packed each in another way. */
async function stored(...layers: readonly (readonly TarSample[])[]) {
  const store = createMemoryStore();
  const packers = [gzipSync, zstdCompressSync, (bytes: Uint8Array) => bytes];
  const described: ImageLayer[] = [];
  for (const [i, samples] of layers.entries()) {
    const tar = tarOf(samples);
    const bytes = Uint8Array.from(packers[i % 3]?.(tar) ?? tar);
    const descriptor = { mediaType: "a/b", digest: digestOf(bytes), size: bytes.byteLength };
    await writeContent(store, descriptor, bytes);
    described.push({ descriptor, diffId: digestOf(tar) });
  }
  return { store, layers: described };
}

async function unpack(
  { store, layers }: { store: Fetcher; layers: readonly ImageLayer[] },
  target: string,
  options: Partial<UnpackOptions> = {},
) {
  return unpackLayers(store, layers, target, { signal, isRootless: !IS_ROOT, ...options });
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
  return "unpacked";
}

describe("an image", () => {
  test("becomes a root file system: content, modes, times, links", async () => {
    await using folder = await temporaryFolder();
    const mtime = { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    const image = await stored(
      [
        { path: "./", type: "folder", mode: 0o751, mtime },
        { path: "bin/", mode: 0o555, mtime },
        { path: "bin/su", mode: 0o4755, body: "#!", mtime },
        { path: "bin/hard", type: "hardlink", linkPath: "bin/su" },
        { path: "bin/soft", type: "symlink", linkPath: "/../../etc/x", mtime },
        { path: "bin/fifo", type: "fifo", mode: 0o620, mtime },
        { path: "name\udcff", body: "odd" },
        { path: "old", mtime: { seconds: -5, nanoseconds: 250_000_000 } },
      ],
      [{ path: "bin/added", body: "x".repeat(200_000), mode: 0o600 }, { path: ".wh.none" }],
      [{ path: "etc/x", body: "in the root" }, { path: "bin/.wh.fifo" }],
    );
    const target = join(folder.path, "deep", "root");
    const unpacked = await unpack(image, target);
    expect(unpacked).toMatchObject({ folder: target, layers: 3, entries: 10, leftOut: [] });
    const at = (path: string) => lstatSync(join(target, path), { bigint: true });
    expect(at(".").mode & 0o7777n).toBe(0o751n);
    expect(at("bin").mode & 0o7777n).toBe(0o555n);
    expect(at("bin").mtimeNs).toBe(1_600_000_000_123_456_789n);
    expect(at("bin/su").mode & 0o7777n).toBe(0o4755n);
    expect(at("bin/su").mtimeNs).toBe(1_600_000_000_123_456_789n);
    expect(at("bin/hard").ino).toBe(at("bin/su").ino);
    expect(readlinkSync(join(target, "bin/soft"))).toBe("/../../etc/x");
    expect(at("bin/soft").mtimeNs).toBe(1_600_000_000_123_456_789n);
    expect(at("old").mtimeNs).toBe(-4_750_000_000n);
    expect(existsSync(join(target, "bin/fifo"))).toBe(false);
    expect(at("bin/added").size).toBe(200_000n);
    expect(at("etc").mode & 0o7777n).toBe(0o755n);
    const odd = Buffer.concat([Buffer.from(`${target}/name`), Buffer.from([0xff])]);
    expect(readFileSync(odd, "utf8")).toBe("odd");
    expect(readdirSync(join(folder.path, "deep"))).toEqual(["root"]);
  });

  test.skipIf(!IS_ROOT)(
    "has its owners, devices and capabilities (left out without root)",
    async () => {
      await using folder = await temporaryFolder();
      const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
      const image = await stored([
        {
          path: "ping",
          uid: 7,
          gid: 8,
          mode: 0o6711,
          body: "p",
          attributes: new Map([["security.capability", capability]]),
        },
        { path: "link", type: "symlink", linkPath: "ping", uid: 9, gid: 10 },
        { path: "disk", type: "block-device", devMajor: 259, devMinor: 70_000, mode: 0o660 },
        { path: "null", type: "character-device", devMajor: 1, devMinor: 3 },
        { path: "d/", uid: 4_000_000_000, gid: 1, mode: 0o2770 },
      ]);
      const target = join(folder.path, "root");
      await unpack(image, target);
      const at = (path: string) => lstatSync(join(target, path));
      expect(at("ping")).toMatchObject({ uid: 7, gid: 8 });
      expect(at("ping").mode & 0o7777).toBe(0o6711);
      expect(at("link")).toMatchObject({ uid: 9, gid: 10 });
      expect(at("d")).toMatchObject({ uid: 4_000_000_000, gid: 1 });
      expect(at("d").mode & 0o7777).toBe(0o2770);
      const disk = at("disk");
      expect(disk.isBlockDevice()).toBe(true);
      // How glibc packs major 259 and minor 70000 (`gnu_dev_makedev`).
      expect(disk.rdev).toBe((259 << 8) | (70_000 & 0xff) | ((70_000 & ~0xff) << 12));
      expect(at("null").isCharacterDevice()).toBe(true);
      if (Bun.which("getcap") === null) return;
      const getcap = Bun.spawnSync(["getcap", join(target, "ping")]).stdout.toString();
      expect(getcap).toContain("cap_net_raw=ep");
    },
  );

  test("without root goes without what needs it, and says so", async () => {
    await using folder = await temporaryFolder();
    const image = await stored(
      [
        {
          path: "file",
          uid: 12_345,
          body: "x",
          attributes: new Map([["trusted.a", new Uint8Array(1)]]),
        },
        { path: "disk", type: "block-device", devMajor: 8 },
        { path: "locked/", mode: 0 },
        { path: "locked/in", body: "y" },
      ],
      [{ path: ".wh.disk" }],
    );
    const target = join(folder.path, "root");
    const { leftOut } = await unpack(image, target, { isRootless: true });
    const kinds = leftOut.map(({ kind, example }) => `${kind} ${example}`);
    expect(kinds).toContain("devices disk");
    expect(kinds).toContain("owners file");
    expect(kinds).toContain("attributes file");
    expect(lstatSync(join(target, "file")).uid).toBe(process.geteuid?.() ?? -1);
    expect(lstatSync(join(target, "locked")).mode & 0o777).toBe(0);
  });

  test("overwrites nothing, and takes an empty folder and a link to one", async () => {
    await using folder = await temporaryFolder();
    const image = await stored([{ path: "a", body: "new" }]);
    const at = (name: string) => join(folder.path, name);
    mkdirSync(at("full/sub"), { recursive: true });
    writeFileSync(at("file"), "");
    mkdirSync(at("empty"));
    mkdirSync(at("behind"));
    symlinkSync("behind", at("link"));
    expect(await codeOf(unpack(image, at("full")))).toBe("folder-taken");
    expect(await codeOf(unpack(image, at("file")))).toBe("folder-taken");
    expect(await codeOf(unpack(image, at("empty")))).toBe("unpacked");
    expect(await codeOf(unpack(image, at("link")))).toBe("unpacked");
    expect(readFileSync(at("behind/a"), "utf8")).toBe("new");
    expect(lstatSync(at("link")).isSymbolicLink()).toBe(true);
    expect(readdirSync(at("full"))).toEqual(["sub"]);
  });
});

describe("nothing is left when", () => {
  const bad: readonly (readonly [string, readonly TarSample[], string])[] = [
    ["a path leads out", [{ path: "../x", body: "evil" }], "layer-invalid"],
    [
      "a hard link leads out",
      [{ path: "x", type: "hardlink", linkPath: "../../etc/passwd" }],
      "layer-invalid",
    ],
    ["an entry is of nobody's type", [{ path: "x", type: "other" }], "archive-unsupported"],
  ];

  test.each(bad)("%s", async (_, samples, code) => {
    await using folder = await temporaryFolder();
    const image = await stored([{ path: "a/b", body: "first" }], samples);
    expect(await codeOf(unpack(image, join(folder.path, "root")))).toBe(code);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("a layer is not what the config promises, though its blob is whole", async () => {
    await using folder = await temporaryFolder();
    const { store, layers } = await stored([{ path: "a" }], [{ path: "b" }]);
    const swapped = layers.map((layer) => ({
      ...layer,
      diffId: layers[0]?.diffId ?? layer.diffId,
    }));
    const target = join(folder.path, "root");
    expect(await codeOf(unpack({ store, layers: swapped }, target))).toBe("digest-mismatch");
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("the files come to more than was allowed", async () => {
    await using folder = await temporaryFolder();
    const image = await stored([
      { path: "a", body: "x".repeat(1000) },
      { path: "b", body: "y" },
    ]);
    const target = join(folder.path, "root");
    expect(await codeOf(unpack(image, target, { bytesMax: 1000 }))).toBe("unpack-full");
    expect(readdirSync(folder.path)).toEqual([]);
    expect(await codeOf(unpack(image, target, { bytesMax: 1001 }))).toBe("unpacked");
  });

  test("the reading fails, wherever it does", async () => {
    await using folder = await temporaryFolder();
    const image = await stored([{ path: "a", body: "x".repeat(3000) }], [{ path: "b" }]);
    for (let failing = 0; failing < 2; failing += 1) {
      let fetches = 0;
      const store: Fetcher = {
        fetch(descriptor, options) {
          fetches += 1;
          if (fetches - 1 === failing) throw new Error("the disk is gone");
          return image.store.fetch(descriptor, options);
        },
      };
      const work = unpack({ ...image, store }, join(folder.path, "root"));
      await expect(work).rejects.toThrow("the disk is gone");
      expect(readdirSync(folder.path)).toEqual([]);
    }
  });

  test("it is interrupted", async () => {
    await using folder = await temporaryFolder();
    const image = await stored([{ path: "a", body: "x".repeat(3000) }]);
    const abort = new AbortController();
    abort.abort(new Error("interrupted"));
    const work = unpack(image, join(folder.path, "root"), { signal: abort.signal });
    await expect(work).rejects.toThrow("interrupted");
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

test.skipIf(!IS_ROOT)(
  "a disk that runs out of room or of files is told of, and left as it was (root only)",
  async () => {
    await using folder = await temporaryFolder();
    const image = await stored([
      { path: "a/big", body: "x".repeat(3_000_000) },
      ...Array.from({ length: 100 }, (_, i) => ({ path: `f${i}` })),
    ]);
    for (const limit of ["size=2m", "size=80m,nr_inodes=50"]) {
      const at = join(folder.path, "disk");
      mkdirSync(at, { recursive: true });
      expect(Bun.spawnSync(["mount", "-t", "tmpfs", "-o", limit, "tmpfs", at]).exitCode).toBe(0);
      try {
        expect(await codeOf(unpack(image, join(at, "root")))).toBe("unpack-full");
        expect(readdirSync(at)).toEqual([]);
        expect(await codeOf(unpack(image, at))).not.toBe("unpacked");
      } finally {
        expect(Bun.spawnSync(["umount", at]).exitCode).toBe(0);
      }
    }
    expect(readdirSync(folder.path)).toEqual(["disk"]);
  },
);

test("layers that try to write through links write within the root", async () => {
  await using folder = await temporaryFolder();
  const outside = join(folder.path, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "kept");
  const image = await stored(
    [
      { path: "abs", type: "symlink", linkPath: outside },
      { path: "up", type: "symlink", linkPath: "../../outside" },
      { path: "abs/one", body: "1" },
      { path: "up/two", body: "2" },
      { path: "dir/", mode: 0o755 },
    ],
    [
      { path: "dir", type: "symlink", linkPath: outside },
      { path: "dir/three", body: "3" },
      { path: "abs/.wh.kept" },
      { path: "abs/kept", type: "hardlink", linkPath: "up/two" },
    ],
    [{ path: "dir/", mode: 0o700 }, { path: "up/.wh..wh..opq" }],
  );
  const target = join(folder.path, "root");
  await unpack(image, target);
  expect(readdirSync(outside)).toEqual(["kept"]);
  expect(readFileSync(join(outside, "kept"), "utf8")).toBe("kept");
  expect(lstatSync(join(target, "dir")).isDirectory()).toBe(true);
  expect(readFileSync(join(target, outside, "one"), "utf8")).toBe("1");
  expect(readdirSync(folder.path).sort()).toEqual(["outside", "root"]);
});

test("a file of nothing but holes is measured before it is written", async () => {
  await using folder = await temporaryFolder();
  const pax = Buffer.concat(
    [
      ["GNU.sparse.map", "0,0"],
      ["GNU.sparse.size", String(2 ** 50)],
    ].map(([key = "", value = ""]) => paxRecord(key, value)),
  );
  const tar = Buffer.concat([
    header({ path: "PaxHeaders/0", flag: "x", size: pax.byteLength }),
    ...padded(pax),
    header({ path: "hole", flag: "0", size: 0 }),
    new Uint8Array(1024),
  ]);
  const store = createMemoryStore();
  const bytes = new Uint8Array(tar);
  const descriptor = { mediaType: "a/b", digest: digestOf(bytes), size: bytes.byteLength };
  await writeContent(store, descriptor, bytes);
  const layers = [{ descriptor, diffId: digestOf(bytes) }];
  // Zeros would be written until the disk is full, by a process that hears nobody meanwhile.
  expect(await codeOf(unpack({ store, layers }, join(folder.path, "root")))).toBe("unpack-full");
  expect(readdirSync(folder.path)).toEqual([]);
});

test("a second name of a device that is left out is left out too", async () => {
  await using folder = await temporaryFolder();
  const image = await stored(
    [
      { path: "null", type: "character-device", devMajor: 1, devMinor: 3 },
      { path: "again", type: "hardlink", linkPath: "null" },
      { path: "file", body: "x" },
    ],
    [{ path: ".wh.again" }],
  );
  const target = join(folder.path, "root");
  const { leftOut } = await unpack(image, target, { isRootless: true });
  expect(readdirSync(target)).toEqual(["file"]);
  expect(leftOut.find(({ kind }) => kind === "devices")?.files).toBe(2);
});
