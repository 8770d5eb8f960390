import { describe, expect, test } from "bun:test";
import {
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "#base";
import { digestOf } from "#content";
import { type Descriptor, digestAlgorithm, digestHex } from "#oci";
import {
  type Disk,
  type DiskStore,
  openStore,
  systemDisk,
  type Verification,
  type VerifyOptions,
  verifyStore,
} from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, randomBytes } from "#test-support/images";

const clock = systemClock;
const signal = new AbortController().signal;

async function newStore() {
  const dataDir = await mkdtemp(join(tmpdir(), "dray-verify-"));
  const store = await openStore(dataDir, { clock });
  return {
    dataDir,
    store,
    verify: (options: Partial<VerifyOptions> = {}) => verify(dataDir, store, options),
    fileOf: ({ digest }: Descriptor) =>
      join(dataDir, "blobs", digestAlgorithm(digest), digestHex(digest)),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function verify(
  dataDir: string,
  store: DiskStore,
  options: Partial<VerifyOptions> = {},
): Promise<Verification> {
  return verifyStore(dataDir, store, { clock, signal, scope: { kind: "whole" }, ...options });
}

const putSome = (store: DiskStore, seed: string, length = 1000) =>
  putBytes(store, "application/x", randomBytes(seed, length));

/** Overwrites a blob where it lies, as rot does: its name, its inode and its size stay. */
async function rot(file: string, offset: number): Promise<void> {
  const bytes = await Bun.file(file).bytes();
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

describe("a store", () => {
  test("in which all is right stays as it is, and every byte of it is read", async () => {
    await using site = await newStore();
    const sizes = [0, 1, 4096, 1024 * 1024, 1024 * 1024 + 4096, 3_000_001];
    for (const size of sizes) await putSome(site.store, `${size}`, size);
    const long = digestOf(randomBytes("long", 70_000), "sha512");
    const sha512 = { mediaType: "application/x", digest: long, size: 70_000 };
    {
      await using ingest = await site.store.ingest(sha512);
      await ingest.write(randomBytes("long", 70_000), 0);
      await ingest.commit();
    }
    const bytes = sizes.reduce((sum, size) => sum + size, 70_000);
    const { sinceMs, ...found } = await site.verify();
    expect(found).toEqual({
      blobsInStore: 7,
      blobsVerified: 7,
      bytesVerified: bytes,
      wrong: [],
    });
    expect(await readdir(site.dataDir)).not.toContain("quarantine");
  });

  test("that nobody delivered to has nothing that could be wrong", async () => {
    await using site = await newStore();
    expect(await site.verify()).toMatchObject({ blobsInStore: 0, wrong: [] });
  });

  test("may hold files that are no blobs", async () => {
    await using site = await newStore();
    await writeFile(join(site.dataDir, "blobs", "sha256", "notes.txt"), "x");
    await mkdir(join(site.dataDir, "blobs", "sha256", "a".repeat(64)));
    expect(await site.verify()).toMatchObject({ blobsVerified: 0, wrong: [] });
  });
});

describe("a blob that is wrong", () => {
  test("by one bit is moved to quarantine, with the names that lead to it", async () => {
    await using site = await newStore();
    const sharedBase = "shared";
    await buildImage(site.store, "quay.io/a:1", { seed: "a", sharedBase, layerBytes: 1_500_000 });
    await buildImage(site.store, "quay.io/b:1", {
      seed: "b",
      sharedBase,
      layerBytes: 1_500_000,
      platforms: ["linux/amd64", "linux/arm64"],
    });
    await buildImage(site.store, "quay.io/c:1", { seed: "c" });
    const layer = await firstLayer(site.dataDir, site.store, "quay.io/a:1");
    await rot(site.fileOf(layer), 1_200_000);
    const rotten = await Bun.file(site.fileOf(layer)).bytes();

    const { wrong } = await site.verify();
    const quarantined = `quarantine/sha256-${digestHex(layer.digest)}`;
    expect(wrong).toEqual([
      {
        digest: layer.digest,
        problem: "content",
        digestFound: digestOf(rotten),
        bytesFound: layer.size,
        bytesExpected: layer.size,
        names: ["quay.io/a:1", "quay.io/b:1"],
        quarantined,
      },
    ]);
    expect(await site.store.has(layer)).toBe(false);
    expect(await Bun.file(join(site.dataDir, quarantined)).bytes()).toEqual(rotten);
    expect((await site.verify()).wrong).toEqual([]);
  });

  test("in size says what was found and what was expected", async () => {
    await using site = await newStore();
    const root = await buildImage(site.store, "quay.io/a:1", { seed: "a" });
    await writeFile(site.fileOf(root), "{}");
    const [blob] = (await site.verify()).wrong;
    expect(blob).toMatchObject({ bytesFound: 2, bytesExpected: root.size, names: ["quay.io/a:1"] });
  });

  test("and that was pushed is told with the tags that lead to it, however many there are", async () => {
    await using site = await newStore();
    const { repositories } = site.store;
    const root = await buildImage(site.store, "quay.io/z:1", { seed: "a" });
    const tags = Array.from({ length: 501 }, (_, i) => `v${i}`);
    await repositories.putManifest("app", { descriptor: root }, { tags });
    const layer = await firstLayer(site.dataDir, site.store, "quay.io/z:1");
    await rot(site.fileOf(layer), 0);
    const [wrong] = (await site.verify()).wrong;
    const pushed = tags.map((tag) => `app:${tag}`);
    expect(wrong?.names).toEqual(["quay.io/z:1", ...pushed].sort());
  });

  test("and that no name leads to is moved away all the same", async () => {
    await using site = await newStore();
    const blob = await putSome(site.store, "a");
    await writeFile(site.fileOf(blob), "");
    const [wrong] = (await site.verify()).wrong;
    expect(wrong).toMatchObject({ bytesFound: 0, names: [] });
    expect(wrong).not.toHaveProperty("bytesExpected");
  });

  test("can be stored again, and go wrong again, and nothing in quarantine is lost", async () => {
    await using site = await newStore();
    for (const text of ["first", "second", "third"]) {
      const blob = await putSome(site.store, "a");
      await writeFile(site.fileOf(blob), text);
      expect((await site.verify()).wrong).toHaveLength(1);
    }
    const folder = join(site.dataDir, "quarantine");
    const kept = (await readdir(folder)).map((name) => Bun.file(join(folder, name)).text());
    expect((await Promise.all(kept)).sort()).toEqual(["first", "second", "third"]);
  });

  test("because the disk does not give it any more is moved away with its sectors", async () => {
    await using site = await newStore();
    const blob = await putSome(site.store, "a", 3_000_000);
    const disk = diskWith(async (path) => {
      const file = await systemDisk.openPastCache(path);
      return (
        file && {
          ...file,
          read: (buffer, offset) =>
            offset < 2_000_000 ? file.read(buffer, offset) : Promise.reject(systemError("EIO")),
        }
      );
    });
    const [wrong] = (await site.verify({ disk })).wrong;
    expect(wrong).toMatchObject({ problem: "unreadable", bytesFound: 2 * 1024 * 1024 });
    expect(await site.store.has(blob)).toBe(false);
  });

  test("and can't be moved away is told as such", async () => {
    await using site = await newStore();
    const blob = await putSome(site.store, "a");
    await writeFile(site.fileOf(blob), "x");
    const disk = { ...systemDisk, rename: () => Promise.reject(systemError("EROFS")) };
    expect((await site.verify({ disk })).wrong[0]).toMatchObject({ stuck: "EROFS" });
  });
});

describe("what happens meanwhile is no fault:", () => {
  test("a blob that vanishes before it is opened, or while it is read", async () => {
    await using site = await newStore();
    const blobs = [await putSome(site.store, "a"), await putSome(site.store, "b")];
    const disk = diskWith(async (path) => {
      for (const blob of blobs) await unlink(site.fileOf(blob)).catch(() => undefined);
      return systemDisk.openPastCache(path);
    });
    expect(await site.verify({ disk })).toMatchObject({ blobsVerified: 0, wrong: [] });
  });

  test("a wrong blob that is replaced by a good one before it is moved", async () => {
    await using site = await newStore();
    const blob = await putSome(site.store, "a");
    await writeFile(site.fileOf(blob), "wrong");
    const disk = diskWith(async (path) => {
      const file = await systemDisk.openPastCache(path);
      return file && { ...file, close: () => file.close().then(() => replace(path)) };
    });
    let moves = 0;
    const counted = async (from: string, to: string) => {
      if (to.includes("quarantine")) moves += 1;
      await systemDisk.rename(from, to);
    };
    const replace = async (path: string) => {
      await writeFile(`${path}.new`, randomBytes("a", 1000));
      await rename(`${path}.new`, path);
    };
    expect((await site.verify({ disk: { ...disk, rename: counted } })).wrong).toEqual([]);
    expect(moves).toBe(0);
    expect(await site.store.has(blob)).toBe(true);
  });

  test("a good one that comes between the last look and the move is put back", async () => {
    await using site = await newStore();
    const blob = await putSome(site.store, "a");
    await writeFile(site.fileOf(blob), "wrong");
    let moves = 0;
    const disk: Disk = {
      ...systemDisk,
      async rename(from, to) {
        moves += 1;
        if (moves === 1) {
          await writeFile(`${from}.new`, randomBytes("a", 1000));
          await rename(`${from}.new`, from);
        }
        await systemDisk.rename(from, to);
      },
    };
    expect((await site.verify({ disk })).wrong).toEqual([]);
    expect(await site.store.has(blob)).toBe(true);
    expect(await readdir(join(site.dataDir, "quarantine"))).toEqual([]);
  });
});

describe("a sample", () => {
  test("is as large as asked for, and the seed alone decides it", async () => {
    await using site = await newStore();
    for (let i = 0; i < 20; i += 1) await putSome(site.store, `${i}`, 1000 + i);
    const bytesOf = async (percent: number, seed: string) => {
      const { blobsVerified, bytesVerified } = await site.verify({
        scope: { kind: "sample", percent, seed },
      });
      return { blobsVerified, bytesVerified };
    };
    expect(await bytesOf(25, "x")).toMatchObject({ blobsVerified: 5 });
    expect(await bytesOf(25, "x")).toEqual(await bytesOf(25, "x"));
    expect(await bytesOf(25, "y")).not.toEqual(await bytesOf(25, "x"));
    expect(await bytesOf(0.1, "x")).toMatchObject({ blobsVerified: 1 });
    expect(await bytesOf(100, "x")).toMatchObject({ blobsVerified: 20 });
  });
});

describe("since the last unclean stop", () => {
  const scope = { kind: "since-unclean" } as const;
  /** Makes the writer of a folder as dead as kill -9 would: its mark stays. */
  async function leaveBehind(dataDir: string, sinceMs: number): Promise<void> {
    await writeFile(join(dataDir, "writer.json"), JSON.stringify({ suspectSinceMs: sinceMs }));
  }

  async function closedStore() {
    const dataDir = await mkdtemp(join(tmpdir(), "dray-verify-"));
    const put = async (seed: string, runClock: Clock = clock) => {
      await using store = await openStore(dataDir, { clock: runClock });
      return putSome(store, seed);
    };
    return {
      dataDir,
      put,
      async suspects() {
        await using store = await openStore(dataDir, { clock, readOnly: true });
        return verify(dataDir, store, { scope });
      },
      [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true }),
    };
  }

  test("nothing is suspect when the writer ended as it should", async () => {
    await using site = await closedStore();
    await site.put("a");
    expect(await readdir(site.dataDir)).not.toContain("writer.json");
    const found = await site.suspects();
    expect(found).toMatchObject({ blobsInStore: 1, blobsVerified: 0 });
    expect(found).not.toHaveProperty("sinceMs");
  });

  test("what a writer committed that died is suspect, also after others, until it is verified", async () => {
    await using site = await closedStore();
    await site.put("a");
    await leaveBehind(site.dataDir, Date.now());
    const anHourLater = { ...clock, now: () => Date.now() + 3_600_000 };
    await site.put("b", anHourLater);
    await site.put("c");
    expect(await site.suspects()).toMatchObject({ blobsVerified: 3 });
    expect(await site.suspects()).not.toHaveProperty("sinceMs");
    await site.put("d");
    expect(await readdir(site.dataDir)).not.toContain("writer.json");
  });

  test("what is verified while a writer is at work is not suspect when that ends as it should", async () => {
    await using site = await closedStore();
    await site.put("before");
    await leaveBehind(site.dataDir, Date.now());
    {
      await using writer = await openStore(site.dataDir, { clock });
      await putSome(writer, "a");
      expect(await site.suspects()).toMatchObject({ blobsVerified: 2 });
    }
    expect(await readdir(site.dataDir)).not.toContain("writer.json");
  });

  test("what was committed long before the writer that died is not", async () => {
    await using site = await closedStore();
    await site.put("a");
    await leaveBehind(site.dataDir, Date.now() + 60_000);
    expect(await site.suspects()).toMatchObject({ blobsVerified: 0 });
  });

  test("everything is when the mark can't be read", async () => {
    await using site = await closedStore();
    await site.put("a");
    await writeFile(join(site.dataDir, "writer.json"), "");
    expect(await site.suspects()).toMatchObject({ blobsVerified: 1 });
  });

  test("the time of the last write of a file doesn't decide, but when it was committed", async () => {
    await using site = await closedStore();
    const blob = await site.put("a");
    const file = join(site.dataDir, "blobs", "sha256", digestHex(blob.digest));
    await utimes(file, 0, 0);
    expect((await stat(file)).mtimeMs).toBe(0);
    await leaveBehind(site.dataDir, Date.now() - 1000);
    expect(await site.suspects()).toMatchObject({ blobsVerified: 1 });
  });

  test("a writer that is killed leaves its mark", async () => {
    await using site = await closedStore();
    const script = `
      import { systemClock } from "#base";
      import { openStore } from "#store";
      await openStore(${JSON.stringify(site.dataDir)}, { clock: systemClock });
      console.log("open");
      await new Promise((resolve) => setTimeout(resolve, 60_000));`;
    await using writer = Bun.spawn([process.execPath, "-e", script], {
      cwd: join(import.meta.dir, "..", ".."),
      stdout: "pipe",
    });
    await writer.stdout.getReader().read();
    writer.kill("SIGKILL");
    await writer.exited;
    expect(await site.suspects()).toHaveProperty("sinceMs");
  });

  test("a whole verification counts too; a sample, and one that left something wrong in place, do not", async () => {
    await using site = await closedStore();
    const blob = await site.put("a");
    await leaveBehind(site.dataDir, Date.now());
    await writeFile(join(site.dataDir, "blobs", "sha256", digestHex(blob.digest)), "x");
    await using store = await openStore(site.dataDir, { clock, readOnly: true });
    const rename = (from: string, to: string) =>
      to.includes("quarantine")
        ? Promise.reject(systemError("EROFS"))
        : systemDisk.rename(from, to);
    await verify(site.dataDir, store, { disk: { ...systemDisk, rename } });
    expect(await readdir(site.dataDir)).not.toContain("verified.json");
    const sample = { kind: "sample", percent: 100, seed: "x" } as const;
    await rm(join(site.dataDir, "quarantine"), { recursive: true });
    await site.put("b");
    await verify(site.dataDir, store, { scope: sample });
    expect(await readdir(site.dataDir)).not.toContain("verified.json");
    await verify(site.dataDir, store);
    expect(await readdir(site.dataDir)).toContain("verified.json");
  });
});

test("a cap is kept", async () => {
  await using site = await newStore();
  const MIB = 1024 * 1024;
  await putSome(site.store, "a", 4 * MIB);
  const manual = createManualClock();
  await site.verify({ clock: manual, bytesPerSecond: MIB });
  expect(manual.sleeps).toEqual([1000, 1000, 1000, 1000]);
});

test("what a slow disk did not use of a cap is no credit", async () => {
  await using site = await newStore();
  const MIB = 1024 * 1024;
  await putSome(site.store, "a", 3 * MIB);
  const manual = createManualClock();
  const disk = diskWith(async (path) => {
    const file = await systemDisk.openPastCache(path);
    return (
      file && {
        ...file,
        read(buffer, offset) {
          if (offset === MIB) manual.advance(60_000);
          return file.read(buffer, offset);
        },
      }
    );
  });
  await site.verify({ clock: manual, disk, bytesPerSecond: MIB / 2 });
  // A minute's worth was not read: a second of it may be made up for.
  expect(manual.sleeps).toEqual([2000, 1000, 2000]);
});

test("an interruption ends it at once, with its reason", async () => {
  await using site = await newStore();
  await putSome(site.store, "a", 3_000_000);
  const controller = new AbortController();
  const onProgress = () => controller.abort(new Error("enough"));
  await expect(site.verify({ signal: controller.signal, onProgress })).rejects.toThrow("enough");
});

test("a file system that can't be read past its cache is read through it", async () => {
  await using site = await newStore();
  await putSome(site.store, "a", 3_000_000);
  const disk = diskWith(async (path) => {
    const file = await systemDisk.openPastCache(path);
    return (
      file && {
        ...file,
        read: (buffer, offset) =>
          offset === 0 ? file.read(buffer, offset) : Promise.reject(systemError("EINVAL")),
      }
    );
  });
  expect(await site.verify({ disk })).toMatchObject({
    blobsVerified: 1,
    bytesVerified: 3_000_000,
    wrong: [],
  });
});

function diskWith(openPastCache: Disk["openPastCache"]): Disk {
  return { ...systemDisk, openPastCache };
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

async function firstLayer(dataDir: string, store: DiskStore, name: string): Promise<Descriptor> {
  const root = await store.lookup(name);
  const path = join(dataDir, "blobs", "sha256", digestHex(root?.digest ?? ("" as never)));
  const manifest = await Bun.file(path).json();
  return manifest.layers[0];
}
