import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, isFailure, systemClock } from "#base";
import {
  repositoriesConformance,
  storeConformance,
  uploadsConformance,
} from "#content/conformance";
import { type Descriptor, digestHex } from "#oci";
import { type Disk, type DiskStore, openStore, systemDisk } from "#store";
import { buildImage, putBytes, randomBytes } from "#test-support/images";

const signal = new AbortController().signal;
const clock: Clock = { ...systemClock, now: () => Date.UTC(2024, 1, 29, 12) };

async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), "dray-store-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function failureOf(
  act: Promise<unknown>,
): Promise<{ code: string; message: string; hint: string }> {
  try {
    await act;
  } catch (error) {
    if (isFailure(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

const putSome = (store: DiskStore, seed: string, length = 1000) =>
  putBytes(store, "application/x", randomBytes(seed, length));

const fileOf = (dataDir: string, { digest }: Descriptor) =>
  join(dataDir, "blobs", "sha256", digestHex(digest));

storeConformance("openStore()", async () => {
  const folder = await newFolder();
  const store = await openStore(join(folder.path, "data"), { clock });
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
});

const openRegistry = async () => {
  const folder = await newFolder();
  const store = await openStore(join(folder.path, "data"), { clock, role: "registry" });
  const { repositories, uploads } = store;
  return {
    ...{ store, repositories, uploads },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
};
storeConformance("openStore() for a registry", openRegistry);
repositoriesConformance("openStore().repositories", openRegistry);
uploadsConformance("openStore().uploads", openRegistry);

describe("the folder of a store", () => {
  test("is an OCI image layout whose index has the names, in order", async () => {
    await using folder = await newFolder();
    {
      await using store = await openStore(folder.path, { clock });
      await buildImage(store, "quay.io/b:v1", { seed: "b" });
      await buildImage(store, "quay.io/a:v1", { seed: "a" });
    }
    const read = async (name: string) =>
      JSON.parse(await readFile(join(folder.path, name), "utf8"));
    expect(await read("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
    const index = (await read("index.json")) as { manifests: { annotations: object }[] };
    expect(index.manifests.map(({ annotations }) => annotations)).toEqual([
      { "org.opencontainers.image.ref.name": "quay.io/a:v1" },
      { "org.opencontainers.image.ref.name": "quay.io/b:v1" },
    ]);
  });

  test("gives the same index for the same names, whatever order they came in", async () => {
    const texts: string[] = [];
    for (const order of [
      ["a", "b"],
      ["b", "a", "b"],
    ]) {
      await using folder = await newFolder();
      await using store = await openStore(folder.path, { clock });
      for (const name of order) await buildImage(store, `quay.io/${name}:v1`, { seed: name });
      await store.flush();
      texts.push(await readFile(join(folder.path, "index.json"), "utf8"));
    }
    expect(texts[0]).toBe(texts[1] ?? "");
  });

  test("gets its index rewritten when a writer finds it stale or spoiled", async () => {
    await using folder = await newFolder();
    const path = join(folder.path, "index.json");
    {
      await using store = await openStore(folder.path, { clock });
      await buildImage(store, "quay.io/a:v1", { seed: "a" });
    }
    const right = await readFile(path, "utf8");
    for (const spoiled of ["", "{", right.replace("quay.io/a:v1", "quay.io/a:v0")]) {
      await writeFile(path, spoiled);
      await using _store = await openStore(folder.path, { clock });
      expect(await readFile(path, "utf8")).toBe(right);
    }
  });

  test("loses what a writer that died left in ingest", async () => {
    await using folder = await newFolder();
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
    await mkdir(join(folder.path, "ingest", "odd"));
    await writeFile(join(folder.path, "ingest", "odd", "file"), "x");
    await writeFile(join(folder.path, "ingest", "sha256-abc.1"), "x");
    await using _store = await openStore(folder.path, { clock });
    expect(await readdir(join(folder.path, "ingest"))).toEqual([]);
  });

  test("holds a blob of a wrong size no longer than until the next ingest", async () => {
    await using folder = await newFolder();
    await using store = await openStore(folder.path, { clock });
    const descriptor = await putSome(store, "a");
    for (const spoiled of ["", "short", "x".repeat(1001)]) {
      await writeFile(fileOf(folder.path, descriptor), spoiled);
      expect(await store.has(descriptor)).toBe(false);
      expect((await failureOf(store.openBlob(descriptor))).code).toBe("content-missing");
      expect((await failureOf(store.fetch(descriptor, { signal }))).code).toBe("content-missing");
      await putSome(store, "a");
      expect(await (await store.openBlob(descriptor)).bytes()).toEqual(randomBytes("a", 1000));
    }
  });

  test("is seen as it is, also when something else removes a blob", async () => {
    await using folder = await newFolder();
    await using store = await openStore(folder.path, { clock });
    const descriptor = await putSome(store, "a");
    await rm(fileOf(folder.path, descriptor));
    expect(await store.has(descriptor)).toBe(false);
    await putSome(store, "a");
    expect(await store.has(descriptor)).toBe(true);
  });
});

test("an index that could not be written is written by the next flush", async () => {
  await using folder = await newFolder();
  const { disk, steps } = recordingDisk(folder.path);
  let isBroken = false;
  const rename: Disk["rename"] = (from, to) =>
    isBroken ? Promise.reject(systemError("EIO")) : disk.rename(from, to);
  await using store = await openStore(folder.path, { clock, disk: { ...disk, rename } });
  await buildImage(store, "quay.io/a:1", { seed: "a" });
  isBroken = true;
  expect((await failureOf(store.flush())).code).toBe("store-broken");
  isBroken = false;
  steps.length = 0;
  await store.flush();
  expect(steps).toContain("rename ingest/index.json index.json");
});

/** A disk that tells in which order what was done to it, the paths relative to the folder. */
function recordingDisk(dataDir: string): { disk: Disk; steps: string[] } {
  const steps: string[] = [];
  const short = (path: string) => path.slice(dataDir.length + 1).replace(/[0-9a-f]{64}/, "HEX");
  const disk: Disk = {
    ...systemDisk,
    async create(path) {
      const file = await systemDisk.create(path);
      const note = (step: string) => steps.push(`${step} ${short(path)}`);
      return {
        ...file,
        write: (bytes, offset) => file.write(bytes, offset).finally(() => note("write")),
        sync: () => file.sync().finally(() => note("sync")),
        close: () => file.close().finally(() => note("close")),
      };
    },
    remove: (path) => systemDisk.remove(path).finally(() => steps.push(`remove ${short(path)}`)),
    rename: (from, to) =>
      systemDisk.rename(from, to).finally(() => steps.push(`rename ${short(from)} ${short(to)}`)),
    syncFolder: (path) =>
      systemDisk.syncFolder(path).finally(() => steps.push(`sync ${short(path)}/`)),
  };
  return { disk, steps };
}

test("a commit makes content durable before it is visible, and the name of its file after", async () => {
  await using folder = await newFolder();
  const { disk, steps } = recordingDisk(folder.path);
  await using store = await openStore(folder.path, { clock, disk });
  steps.length = 0;
  await putSome(store, "a", 2_000_000);
  const partial = "ingest/sha256-HEX";
  const last = steps.lastIndexOf(`write ${partial}`);
  expect(steps.slice(last).filter((step) => step !== `write ${partial}.log`)).toEqual([
    `write ${partial}`,
    `sync ${partial}`,
    `close ${partial}`,
    `rename ${partial} blobs/sha256/HEX`,
    "sync blobs/sha256/",
    `close ${partial}.log`,
    `remove ${partial}.log`,
  ]);
});

test("commits at the same time share the fsync of their folder", async () => {
  await using folder = await newFolder();
  const { disk, steps } = recordingDisk(folder.path);
  await using store = await openStore(folder.path, { clock, disk });
  steps.length = 0;
  await Promise.all(["a", "b", "c", "d", "e", "f"].map((seed) => putSome(store, seed)));
  const rename = steps.findLastIndex((step) => step.startsWith("rename "));
  const syncs = steps.filter((step) => step === "sync blobs/sha256/").length;
  expect(syncs).toBeLessThan(6);
  expect(steps.slice(rename)).toContain("sync blobs/sha256/");
});

test("the index is replaced whole, once for many names, and not at all for none", async () => {
  await using folder = await newFolder();
  const { disk, steps } = recordingDisk(folder.path);
  await using store = await openStore(folder.path, { clock, disk });
  for (const name of ["a", "b", "c"]) await buildImage(store, `quay.io/${name}:1`, { seed: name });
  steps.length = 0;
  await Promise.all([store.flush(), store.flush()]);
  await store.flush();
  expect(steps).toEqual([
    "remove ingest/index.json",
    "write ingest/index.json",
    "sync ingest/index.json",
    "close ingest/index.json",
    "rename ingest/index.json index.json",
    "sync /",
  ]);
});

describe("openStore() refuses", () => {
  test("a path that is a file, or lies under one", async () => {
    await using folder = await newFolder();
    const file = join(folder.path, "file");
    await writeFile(file, "x");
    for (const path of [file, join(file, "data")]) {
      const failure = await failureOf(openStore(path, { clock }));
      expect(failure.code).toBe("store-unusable");
      expect(failure.message).toContain(path);
    }
  });

  test("a folder that holds something else, and leaves it alone", async () => {
    for (const name of ["index.json", "oci-layout", "passwd", "repositories"]) {
      await using folder = await newFolder();
      await writeFile(join(folder.path, name), "precious");
      const failure = await failureOf(openStore(folder.path, { clock }));
      expect(failure.code).toBe("store-unusable");
      expect(failure.message).toContain(name);
      expect(await readdir(folder.path)).toEqual([name]);
      expect(await readFile(join(folder.path, name), "utf8")).toBe("precious");
    }
  });

  test("a layout of another version", async () => {
    await using folder = await newFolder();
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
    await writeFile(join(folder.path, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}');
    const failure = await failureOf(openStore(folder.path, { clock }));
    expect(failure.code).toBe("store-unusable");
    expect(failure.message).toContain("2.0.0");
  });

  test("a store of a newer schema, to write and to read", async () => {
    await using folder = await newFolder();
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
    const database = new Database(join(folder.path, "drayage.db"));
    database.run("PRAGMA user_version = 7");
    database.close();
    for (const readOnly of [false, true]) {
      const failure = await failureOf(openStore(folder.path, { clock, readOnly }));
      expect(failure.code).toBe("store-newer");
      expect(failure.message).toContain("version 7");
    }
  });
});

describe("a store whose database was moved away", () => {
  const lose = async (dataDir: string) => {
    for (const name of await readdir(dataDir)) {
      if (name.startsWith("drayage.db")) await rm(join(dataDir, name));
    }
  };

  test.each(["delivery", "registry"] as const)(
    "has its blobs and names again, for a %s",
    async (role) => {
      await using folder = await newFolder();
      const roots: Descriptor[] = [];
      {
        await using store = await openStore(folder.path, { clock, role });
        for (const name of ["quay.io/a:v1", "quay.io/b:v1"]) {
          roots.push(await buildImage(store, name, { seed: name }));
        }
      }
      const index = await readFile(join(folder.path, "index.json"), "utf8");
      await lose(folder.path);
      await using store = await openStore(folder.path, { clock, role });
      const found = (await store.names()).map(({ descriptor }) => descriptor);
      expect(found).toEqual(roots);
      expect(await readFile(join(folder.path, "index.json"), "utf8")).toBe(index);
    },
  );

  test("has no name again of what is not there, or that is no index", async () => {
    await using folder = await newFolder();
    const lost = await openStore(folder.path, { clock }).then(async (store) => {
      await using _closed = store;
      await buildImage(store, "quay.io/a:v1", { seed: "a" });
      return await buildImage(store, "quay.io/b:v1", { seed: "b" });
    });
    await rm(fileOf(folder.path, lost));
    await lose(folder.path);
    const names = async () => {
      await using store = await openStore(folder.path, { clock });
      return (await store.names()).map(({ name }) => name);
    };
    expect(await names()).toEqual(["quay.io/a:v1"]);
    await lose(folder.path);
    await writeFile(join(folder.path, "index.json"), "[");
    expect(await names()).toEqual([]);
  });

  test("has not again what a collection untagged while its database was whole", async () => {
    await using folder = await newFolder();
    const index = await openStore(folder.path, { clock }).then(async (store) => {
      await using _closed = store;
      await buildImage(store, "quay.io/a:v1", { seed: "a" });
      await store.generations.begin([]);
      await store.generations.complete();
      await store.flush();
      return await readFile(join(folder.path, "index.json"), "utf8");
    });
    const database = new Database(join(folder.path, "drayage.db"));
    database.run("DELETE FROM names");
    database.close();
    await writeFile(join(folder.path, "index.json"), index);
    await using store = await openStore(folder.path, { clock });
    expect(await store.names()).toEqual([]);
  });
});

describe("the lock", () => {
  test("lets one process write, and says who does", async () => {
    await using folder = await newFolder();
    const first = await openStore(folder.path, { clock });
    const failure = await failureOf(openStore(folder.path, { clock }));
    expect(failure.code).toBe("store-locked");
    expect(failure.message).toContain(`process ${process.pid} (since "2024-02-29T12:00:00.000Z")`);
    await first[Symbol.asyncDispose]();
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
  });

  test("is held against other processes, and freed when its holder is killed", async () => {
    await using folder = await newFolder();
    const script = `
      import { systemClock } from "#base";
      import { openStore } from "#store";
      await openStore(${JSON.stringify(folder.path)}, { clock: systemClock });
      console.log("open");
      await new Promise((resolve) => setTimeout(resolve, 60_000));`;
    await using holder = Bun.spawn([process.execPath, "-e", script], {
      cwd: join(import.meta.dir, "..", ".."),
      stdout: "pipe",
    });
    await holder.stdout.getReader().read();
    const failure = await failureOf(openStore(folder.path, { clock }));
    expect(failure.message).toContain(`process ${holder.pid} `);
    holder.kill("SIGKILL");
    await holder.exited;
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
  });

  test("is given back when the store can't be opened after all", async () => {
    await using folder = await newFolder();
    const broken: Disk = {
      ...systemDisk,
      makeFolder: (path) =>
        path.endsWith("sha512") ? Promise.reject(systemError("EIO")) : systemDisk.makeFolder(path),
    };
    expect((await failureOf(openStore(folder.path, { clock, disk: broken }))).code).toBe(
      "store-broken",
    );
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
  });
});

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe("a reader", () => {
  test("sees beside the writer what that has committed, at once", async () => {
    await using folder = await newFolder();
    await using writer = await openStore(folder.path, { clock });
    await using reader = await openStore(folder.path, { clock, readOnly: true });
    expect(await reader.names()).toEqual([]);
    const before = reader.revision();
    const root = await buildImage(writer, "quay.io/a:v1", { seed: "a" });
    expect(await reader.lookup("quay.io/a:v1")).toEqual(root);
    expect(await reader.has(root)).toBe(true);
    expect(reader.revision()).not.toBe(before);
    expect(reader.revision()).toBe(reader.revision());
  });

  test("changes nothing", async () => {
    await using folder = await newFolder();
    let root: Descriptor;
    {
      await using writer = await openStore(folder.path, { clock });
      root = await buildImage(writer, "quay.io/a:v1", { seed: "a" });
    }
    await rm(join(folder.path, "index.json"));
    const before = await stat(folder.path);
    {
      await using reader = await openStore(folder.path, { clock, readOnly: true });
      expect((await failureOf(reader.ingest(root))).code).toBe("store-read-only");
      expect((await failureOf(reader.name("quay.io/b:v1", root))).code).toBe("store-read-only");
      expect(await reader.names()).toHaveLength(1);
    }
    expect((await stat(folder.path)).mtimeMs).toBe(before.mtimeMs);
  });

  test("says when there is no store yet", async () => {
    await using folder = await newFolder();
    for (const path of [folder.path, join(folder.path, "none")]) {
      const opening = openStore(path, { clock, readOnly: true });
      expect((await failureOf(opening)).code).toBe("store-missing");
    }
    expect(await readdir(folder.path)).toEqual([]);
  });
});

describe("a disk that is too small", () => {
  test("is found out before anything is taken in, with how much is missing", async () => {
    await using folder = await newFolder();
    const disk: Disk = { ...systemDisk, freeBytes: async () => 12 * 1024 * 1024 };
    await using store = await openStore(folder.path, { clock, disk });
    const descriptor = { ...(await putSome(store, "a")), size: 300 * 1024 * 1024 };
    const failure = await failureOf(store.ingest(descriptor));
    expect(failure.code).toBe("store-full");
    expect(failure.message).toContain("has 12.6 MB free, expected 314.6 MB");
    expect(await readdir(join(folder.path, "ingest"))).toEqual([]);
  });
});

test("a stream that is cancelled, aborted, or read to its end gives its file back", async () => {
  await using folder = await newFolder();
  let openFiles = 0;
  const disk: Disk = {
    ...systemDisk,
    async open(path) {
      const file = await systemDisk.open(path);
      if (file === undefined) return undefined;
      openFiles += 1;
      return { ...file, close: () => file.close().finally(() => (openFiles -= 1)) };
    },
  };
  await using store = await openStore(folder.path, { clock, disk });
  const descriptor = await putSome(store, "a", 2_000_000);
  openFiles = 0;

  const cancelled = await store.fetch(descriptor, { signal });
  await cancelled.cancel();
  const abort = new AbortController();
  const aborted = (await store.fetch(descriptor, { signal: abort.signal })).getReader();
  await aborted.read();
  abort.abort(new Error("enough"));
  await expect(aborted.read()).rejects.toThrow("enough");
  await new Response(await store.fetch(descriptor, { signal })).bytes();
  while (openFiles > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(openFiles).toBe(0);
});
