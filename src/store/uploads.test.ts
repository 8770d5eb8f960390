import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, isFailure, systemClock } from "#base";
import { digestOf, type Upload } from "#content";
import { type Digest, digestAlgorithm, digestHex } from "#oci";
import { type Disk, type DiskStore, openStore, systemDisk } from "#store";
import { createManualClock } from "#test-support/clock";
import { randomBytes } from "#test-support/images";

const R = "team/app";
const signal = new AbortController().signal;
const BYTES = randomBytes("pushed", 1_500_001);

interface OpenOptions {
  readonly clock?: Clock;
  readonly disk?: Disk;
}

/** A folder, and its store, which can be closed and opened again. */
async function newSite(options: OpenOptions = {}) {
  const path = await mkdtemp(join(tmpdir(), "dray-uploads-"));
  const open = (changes: OpenOptions = {}) =>
    openStore(path, { clock: systemClock, role: "registry", ...options, ...changes });
  let store = await open();
  return {
    path,
    get store() {
      return store;
    },
    async reopen(changes: OpenOptions = {}): Promise<DiskStore> {
      await store[Symbol.asyncDispose]();
      store = await open(changes);
      return store;
    },
    fileOf: ({ id }: Upload) => join(path, "uploads", id),
    blobOf: (digest: Digest) => join(path, "blobs", digestAlgorithm(digest), digestHex(digest)),
    uploadsThere: async () =>
      (await readdir(join(path, "uploads"))).filter((entry) => entry !== "ingest"),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(path, { recursive: true });
    },
  };
}

async function* pieces(bytes: Uint8Array, pieceBytes = 100_000) {
  for (let offset = 0; offset < bytes.byteLength; offset += pieceBytes) {
    yield bytes.slice(offset, offset + pieceBytes);
  }
}

const append = (upload: Upload, bytes: Uint8Array) => upload.append(pieces(bytes), { signal });

async function find(store: DiskStore, { id }: Upload): Promise<Upload> {
  const upload = await store.uploads.find(id);
  if (upload === undefined) throw new Error("the upload is not there");
  return upload;
}

async function codeOf(act: Promise<unknown>): Promise<unknown> {
  try {
    await act;
  } catch (error) {
    return isFailure(error) ? error.code : error;
  }
  throw new Error("it did not fail");
}

const systemError = (code: string) => Object.assign(new Error(code), { code });

/** A body of which no more comes, and which does not end. */
async function* stalling(bytes: Uint8Array, onStalled: () => void): AsyncGenerator<Uint8Array> {
  yield bytes.slice();
  onStalled();
  await new Promise(() => {});
}

describe("an upload outlives the process", () => {
  test.each(["sha256", "sha512"] as const)("and is gone on with: %s", async (algorithm) => {
    await using site = await newSite();
    const begun = await site.store.uploads.begin(R, "edge");
    await append(begun, BYTES.subarray(0, 700_001));
    const upload = await find(await site.reopen(), begun);
    expect(upload).toMatchObject({ repository: R, user: "edge", bytes: 700_001 });
    await append(upload, BYTES.subarray(700_001));
    const digest = digestOf(BYTES, algorithm);
    const descriptor = await upload.commit(digest);
    expect(await site.store.has(descriptor)).toBe(true);
    expect(Buffer.compare(await readFile(site.blobOf(digest)), BYTES)).toBe(0);
    expect(await site.uploadsThere()).toEqual([]);
    expect(await (await site.reopen()).uploads.find(begun.id)).toBeUndefined();
  });

  test("also when nothing of it has come yet", async () => {
    await using site = await newSite();
    const begun = await site.store.uploads.begin(R, null);
    const upload = await find(await site.reopen(), begun);
    expect(upload).toMatchObject({ user: null, bytes: 0 });
    await append(upload, BYTES);
    await upload.commit(digestOf(BYTES));
  });

  test("without what was never recorded as durable", async () => {
    await using site = await newSite();
    const begun = await site.store.uploads.begin(R, null);
    await append(begun, BYTES.subarray(0, 5000));
    await writeFile(site.fileOf(begun), randomBytes("beyond", 9000), { flag: "a" });
    const upload = await find(await site.reopen(), begun);
    expect(upload.bytes).toBe(5000);
    const digest = digestOf(BYTES.subarray(0, 5000));
    await upload.commit(digest);
    expect((await stat(site.blobOf(digest))).size).toBe(5000);
  });

  test("unless its file lacks what was recorded", async () => {
    await using site = await newSite();
    const begun = await site.store.uploads.begin(R, null);
    await append(begun, BYTES);
    await truncate(site.fileOf(begun), BYTES.byteLength - 1);
    expect(await (await site.reopen()).uploads.find(begun.id)).toBeUndefined();
    expect(await site.uploadsThere()).toEqual([]);
  });

  test("and what has no record does not", async () => {
    await using site = await newSite();
    const begun = await site.store.uploads.begin(R, null);
    await append(begun, BYTES);
    await writeFile(join(site.path, "uploads", "f".repeat(32)), "x");
    await writeFile(join(site.path, "uploads", "odd"), "x");
    await site.reopen();
    expect(await site.uploadsThere()).toEqual([begun.id]);
  });
});

test("what came is kept when the store is closed in the middle of it", async () => {
  await using site = await newSite();
  const begun = await site.store.uploads.begin(R, null);
  const { promise: stalled, resolve } = Promise.withResolvers<void>();
  const appending = codeOf(begun.append(stalling(BYTES.subarray(0, 300_000), resolve), { signal }));
  await stalled;
  const store = await site.reopen();
  expect(String(await appending)).toContain("closed");
  expect((await find(store, begun)).bytes).toBe(300_000);
});

test("a body that stalls is given up when the signal says so, and what came is kept", async () => {
  await using site = await newSite();
  const upload = await site.store.uploads.begin(R, null);
  const abort = new AbortController();
  const reason = new Error("the client is gone");
  const body = stalling(BYTES.subarray(0, 300_000), () => abort.abort(reason));
  expect(await codeOf(upload.append(body, { signal: abort.signal }))).toBe(reason);
  expect(upload.bytes).toBe(300_000);
  await append(upload, BYTES.subarray(300_000));
  await upload.commit(digestOf(BYTES));
});

test("an upload that is cancelled ends the request that is at it, and no other can begin", async () => {
  await using site = await newSite();
  const upload = await site.store.uploads.begin(R, null);
  const { promise: stalled, resolve } = Promise.withResolvers<void>();
  const appending = codeOf(upload.append(stalling(BYTES, resolve), { signal }));
  await stalled;
  const cancelling = upload.cancel();
  expect(await appending).toBe("upload-unknown");
  await cancelling;
  expect(await codeOf(append(upload, BYTES))).toBe("upload-unknown");
  expect(await codeOf(upload.commit(digestOf(BYTES)))).toBe("upload-unknown");
  expect(await site.uploadsThere()).toEqual([]);
});

test("content that is there already is not replaced", async () => {
  await using site = await newSite();
  const digest = digestOf(BYTES);
  const inodes: number[] = [];
  for (const _time of ["first", "second"]) {
    const upload = await site.store.uploads.begin(R, null);
    await append(upload, BYTES);
    await upload.commit(digest);
    inodes.push((await stat(site.blobOf(digest))).ino);
  }
  expect(inodes[0]).toBe(inodes[1] ?? 0);
  expect(await site.uploadsThere()).toEqual([]);
  // What has another size is no content.
  await truncate(site.blobOf(digest), 7);
  const upload = await site.store.uploads.begin(R, null);
  await append(upload, BYTES);
  await upload.commit(digest);
  expect((await stat(site.blobOf(digest))).size).toBe(BYTES.byteLength);
});

test("bytes are durable before they count, and content before it is visible", async () => {
  const steps: string[] = [];
  let dataDir = "";
  const note = (step: string, path: string) =>
    steps.push(`${step} ${path.slice(dataDir.length + 1).replace(/[0-9a-f]{32,}/g, "HEX")}`);
  const disk: Disk = {
    ...systemDisk,
    async create(path) {
      const file = await systemDisk.create(path);
      return {
        ...file,
        write: (bytes, offset) => file.write(bytes, offset).finally(() => note("write", path)),
        sync: () => file.sync().finally(() => note("sync", path)),
        close: () => file.close().finally(() => note("close", path)),
      };
    },
    rename: (from, to) => systemDisk.rename(from, to).finally(() => note("rename to", to)),
    syncFolder: (path) => systemDisk.syncFolder(path).finally(() => note("sync folder", path)),
  };
  await using site = await newSite({ disk });
  dataDir = site.path;
  const upload = await site.store.uploads.begin(R, null);
  steps.length = 0;
  await append(upload, BYTES);
  await upload.commit(digestOf(BYTES));
  expect(steps.filter((step) => step !== "write uploads/HEX")).toEqual([
    "sync uploads/HEX",
    "sync folder uploads",
    "close uploads/HEX",
    "rename to blobs/sha256/HEX",
    "sync folder blobs/sha256",
  ]);
  expect(steps.lastIndexOf("write uploads/HEX")).toBe(steps.indexOf("sync uploads/HEX") - 1);
});

test("a long body is recorded on its way, every two seconds", async () => {
  const clock = createManualClock();
  await using site = await newSite({ clock });
  const upload = await site.store.uploads.begin(R, null);
  const seen: number[] = [];
  async function* slowly() {
    for await (const piece of pieces(BYTES.subarray(0, 600_000))) {
      clock.advance(1000);
      seen.push(upload.bytes);
      yield piece;
    }
  }
  await upload.append(slowly(), { signal });
  expect(seen).toEqual([0, 0, 200_000, 200_000, 400_000, 400_000]);
  expect(upload.bytes).toBe(600_000);
});

describe("a disk that is full", () => {
  test("gets no new upload", async () => {
    let freeBytes = 63 * 1024 * 1024;
    const disk: Disk = { ...systemDisk, freeBytes: async () => freeBytes };
    await using site = await newSite({ disk });
    const failure = await site.store.uploads.begin(R, null).catch((error: unknown) => error);
    expect(isFailure(failure, "store-full") && failure.message).toContain(
      "has 66.1 MB free, expected 67.1 MB",
    );
    freeBytes += 1024 * 1024;
    await append(await site.store.uploads.begin(R, null), BYTES);
    // Where the file system does not say, it is tried.
    await site.reopen({
      disk: { ...systemDisk, freeBytes: () => Promise.reject(systemError("ENOSYS")) },
    });
    await append(await site.store.uploads.begin(R, null), BYTES);
  });

  test("gets its room back at once, and takes the next one when it has some", async () => {
    let isFull = false;
    const disk: Disk = {
      ...systemDisk,
      async create(path) {
        const file = await systemDisk.create(path);
        const write = (bytes: Uint8Array, offset: number) =>
          isFull ? Promise.reject(systemError("ENOSPC")) : file.write(bytes, offset);
        return { ...file, write };
      },
    };
    await using site = await newSite({ disk });
    const upload = await site.store.uploads.begin(R, null);
    async function* filling() {
      yield* pieces(BYTES.subarray(0, 1_200_000));
      isFull = true;
      yield* pieces(BYTES.subarray(1_200_000));
    }
    expect(await codeOf(upload.append(filling(), { signal }))).toBe("store-full");
    expect(await site.uploadsThere()).toEqual([]);
    expect(await site.store.uploads.find(upload.id)).toBeUndefined();
    isFull = false;
    const next = await site.store.uploads.begin(R, null);
    await append(next, BYTES);
    await next.commit(digestOf(BYTES));
  });
});

describe("an upload is idle", () => {
  const HOUR_MS = 3_600_000;

  test("since somebody last touched it, in this process or an earlier one", async () => {
    const clock = createManualClock();
    await using site = await newSite({ clock });
    const upload = await site.store.uploads.begin(R, null);
    clock.advance(HOUR_MS);
    await append(upload, BYTES);
    clock.advance(HOUR_MS - 1);
    await site.reopen();
    expect(await site.store.uploads.removeIdle(HOUR_MS)).toBe(0);
    clock.advance(1);
    expect(await site.store.uploads.removeIdle(HOUR_MS)).toBe(1);
    expect(await site.uploadsThere()).toEqual([]);
  });

  test("no sooner because somebody sets the clock", async () => {
    let aheadMs = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    await using site = await newSite({ clock });
    const upload = await site.store.uploads.begin(R, null);
    aheadMs = 10 * 365 * 24 * HOUR_MS;
    expect(await site.store.uploads.removeIdle(HOUR_MS)).toBe(0);
    // Of an earlier process it can't be known; a clock that was set back says nothing.
    aheadMs = -aheadMs;
    await site.reopen();
    expect(await site.store.uploads.removeIdle(HOUR_MS)).toBe(0);
    expect(await site.store.uploads.find(upload.id)).toBeDefined();
  });
});

test("two hundred at a time gather little each", async () => {
  const written: number[] = [];
  const disk: Disk = {
    ...systemDisk,
    async create(path) {
      const file = await systemDisk.create(path);
      const write = (bytes: Uint8Array, offset: number) => {
        written.push(bytes.byteLength);
        return file.write(bytes, offset);
      };
      return { ...file, write };
    },
  };
  await using site = await newSite({ disk });
  const bytes = BYTES.subarray(0, 200_000);
  const uploads = await Promise.all(
    Array.from({ length: 40 }, () => site.store.uploads.begin(R, null)),
  );
  written.length = 0;
  await Promise.all(uploads.map((upload) => append(upload, bytes)));
  expect(written.filter((length) => length === 200_000)).toHaveLength(16);
  expect(Math.max(...written.filter((length) => length < 200_000))).toBeLessThan(140_000);
  for (const upload of uploads) expect(upload.bytes).toBe(200_000);
});

test("a record that names no file of ours leads nowhere", async () => {
  await using site = await newSite();
  const precious = join(site.path, "precious");
  await writeFile(precious, "x");
  await site.store[Symbol.asyncDispose]();
  const database = new Database(join(site.path, "drayage.db"));
  database.run("INSERT INTO uploads VALUES ('../precious', 'r', NULL, 0, 0, 0)");
  database.close();
  const store = await site.reopen();
  expect(await store.uploads.find("../precious")).toBeUndefined();
  expect(await store.uploads.removeIdle(0)).toBe(0);
  expect(await readFile(precious, "utf8")).toBe("x");
});
