import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, systemClock } from "#base";
import type { Store } from "#content";
import type { Descriptor } from "#oci";
import {
  type Disk,
  openStore,
  reserveDeliveries,
  systemDisk,
  verifyStore,
  type WriterRole,
} from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, randomBytes } from "#test-support/images";

const clock = systemClock;
const ROLES: readonly WriterRole[] = ["delivery", "registry"];

async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), "dray-roles-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

const indexNames = async (dataDir: string): Promise<readonly unknown[]> => {
  const index = JSON.parse(await readFile(join(dataDir, "index.json"), "utf8"));
  return index.manifests.map(
    (manifest: { annotations: Record<string, string> }) =>
      manifest.annotations["org.opencontainers.image.ref.name"],
  );
};

describe("a delivery and a registry", () => {
  test("write to one store at a time, and see what the other wrote", async () => {
    await using folder = await newFolder();
    await using delivery = await openStore(folder.path, { clock });
    await using registry = await openStore(folder.path, { clock, role: "registry" });
    const delivered = await buildImage(delivery, "quay.io/a:v1", { seed: "a" });
    expect(await registry.has(delivered)).toBe(true);
    expect(await registry.lookup("quay.io/a:v1")).toEqual(delivered);
    const pushed = await putBytes(registry, "application/x", randomBytes("pushed", 600_000));
    await registry.repositories.linkBlob("team/app", pushed);
    expect(await delivery.has(pushed)).toBe(true);
    expect(await delivery.repositories.blob("team/app", pushed.digest)).toEqual(pushed);
  });

  test("take in the same content at the same time", async () => {
    await using folder = await newFolder();
    await using delivery = await openStore(folder.path, { clock });
    await using registry = await openStore(folder.path, { clock, role: "registry" });
    const bytes = randomBytes("same", 900_000);
    const [descriptor] = await Promise.all(
      [delivery, registry].map((store) => putBytes(store, "application/x", bytes)),
    );
    expect(descriptor && (await delivery.has(descriptor))).toBe(true);
  });

  test("have one holder each, who is named", async () => {
    await using folder = await newFolder();
    for (const role of ROLES) {
      await using _holder = await openStore(folder.path, { clock, role });
      const failure = await openStore(folder.path, { clock, role }).catch((e: unknown) => e);
      if (!isFailure(failure, "store-locked")) throw failure;
      expect(failure.message).toContain(`for a ${role}: process ${process.pid} `);
      const other = ROLES.find((name) => name !== role) ?? role;
      await (await openStore(folder.path, { clock, role: other }))[Symbol.asyncDispose]();
    }
  });

  test("clear away their own junk and not the other's", async () => {
    await using folder = await newFolder();
    for (const role of ROLES) {
      await (await openStore(folder.path, { clock, role }))[Symbol.asyncDispose]();
    }
    const junk = {
      delivery: join(folder.path, "ingest", "odd"),
      registry: join(folder.path, "uploads", "ingest", "odd"),
    };
    for (const role of ROLES) {
      for (const path of Object.values(junk)) await writeFile(path, "x");
      await (await openStore(folder.path, { clock, role }))[Symbol.asyncDispose]();
      const left = await Promise.all(ROLES.map((name) => Bun.file(junk[name]).exists()));
      expect(left).toEqual(ROLES.map((name) => name !== role));
    }
  });

  test("leave an index with the names of both, whoever writes it last", async () => {
    await using folder = await newFolder();
    let duringRename = async (): Promise<void> => {};
    const disk: Disk = {
      ...systemDisk,
      async rename(from, to) {
        if (to.endsWith("index.json")) await duringRename();
        await systemDisk.rename(from, to);
      },
    };
    await using slow = await openStore(folder.path, { clock, role: "registry", disk });
    await using fast = await openStore(folder.path, { clock });
    await buildImage(slow, "quay.io/slow:v1", { seed: "slow" });
    duringRename = async () => {
      duringRename = async () => {};
      await buildImage(fast, "quay.io/fast:v1", { seed: "fast" });
      await fast.flush();
    };
    await slow.flush();
    expect(await indexNames(folder.path)).toEqual(["quay.io/fast:v1", "quay.io/slow:v1"]);
  });

  test("begin a store together, again and again", async () => {
    const script = `
      import { systemClock } from "#base";
      import { openStore } from "#store";
      import { putBytes } from "#test-support/images";
      const [folder, role] = process.argv.slice(-2);
      await using store = await openStore(folder, { clock: systemClock, role });
      for (let i = 0; i < 20; i += 1) {
        const blob = await putBytes(store, "a/b", new TextEncoder().encode(role + i));
        await store.repositories.linkBlob(role + i, blob);
      }`;
    for (let round = 0; round < 3; round += 1) {
      await using folder = await newFolder();
      const path = join(folder.path, "data");
      const writers = ROLES.map((role) =>
        Bun.spawn([process.execPath, "-e", script, path, role], {
          cwd: join(import.meta.dir, "..", ".."),
        }),
      );
      expect(await Promise.all(writers.map(({ exited }) => exited))).toEqual([0, 0]);
      await using reader = await openStore(path, { clock, readOnly: true });
      expect(await reader.repositories.list({ limit: 100 })).toHaveLength(40);
    }
  });
});

test("one role's clean end says nothing of the other's work", async () => {
  await using folder = await newFolder();
  const verify = (store: Store) => {
    const scope = { kind: "since-unclean" } as const;
    return verifyStore(folder.path, store, { clock, scope, signal: new AbortController().signal });
  };
  for (const role of ROLES) {
    await using store = await openStore(folder.path, { clock, role });
    await putBytes(store, "a/b", randomBytes(role, 10));
    const other = ROLES.find((name) => name !== role) ?? role;
    await (await openStore(folder.path, { clock, role: other }))[Symbol.asyncDispose]();
    const entries = await readdir(folder.path);
    expect(entries.filter((entry) => entry.startsWith("writer"))).toHaveLength(1);
  }
  await using reader = await openStore(folder.path, { clock, readOnly: true });
  expect((await verify(reader)).sinceMs).toBeUndefined();
});

test("a registry opens on a disk that is full, and serves", async () => {
  await using folder = await newFolder();
  let blob: Descriptor;
  {
    await using store = await openStore(folder.path, { clock, role: "registry" });
    blob = await putBytes(store, "a/b", randomBytes("blob", 10));
    await store.repositories.linkBlob("team/app", blob);
  }
  const full = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
  const disk: Disk = {
    ...systemDisk,
    freeBytes: async () => 0,
    create: async (path) => ({
      ...(await systemDisk.create(path)),
      write: () => Promise.reject(full),
    }),
  };
  await using store = await openStore(folder.path, { clock, role: "registry", disk });
  expect(await store.repositories.blob("team/app", blob.digest)).toEqual(blob);
  // Should it die, what it writes once there is room is looked at.
  expect(await readdir(folder.path)).toContain("writer-registry.json");
});

describe("a store of the first version", () => {
  async function newOldStore() {
    const folder = await newFolder();
    {
      await using store = await openStore(folder.path, { clock });
      await buildImage(store, "quay.io/a:v1", { seed: "a" });
    }
    // What the later versions added.
    const database = new Database(join(folder.path, "drayage.db"));
    const tables = database
      .query<{ name: string }, []>(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
      )
      .all();
    for (const { name } of tables) if (name !== "names") database.run(`DROP TABLE ${name}`);
    database.run("PRAGMA user_version = 1");
    database.close();
    return folder;
  }

  test("is brought up to date by a writer, names and all", async () => {
    for (const role of ROLES) {
      await using folder = await newOldStore();
      await using store = await openStore(folder.path, { clock, role });
      const [name] = await store.names();
      expect(name?.name).toBe("quay.io/a:v1");
      const manifest = { descriptor: await putBytes(store, "a/b", randomBytes("m", 10)) };
      await store.repositories.putManifest("team/app", manifest, { tags: ["v1"] });
      expect(await store.repositories.tag("team/app", "v1")).toEqual(manifest.descriptor);
    }
  });

  test("has no repositories for a reader, until a writer comes", async () => {
    await using folder = await newOldStore();
    await using reader = await openStore(folder.path, { clock, readOnly: true });
    expect(await reader.names()).toHaveLength(1);
    expect(await reader.repositories.list({ limit: 10 })).toEqual([]);
    expect(await reader.repositories.has("team/app")).toBe(false);
    await using writer = await openStore(folder.path, { clock, role: "registry" });
    const blob = await putBytes(writer, "a/b", randomBytes("blob", 10));
    await writer.repositories.linkBlob("team/app", blob);
    expect(await reader.repositories.blob("team/app", blob.digest)).toEqual(blob);
  });

  test("gives way to a new one when something stands in the way of the step", async () => {
    for (const sql of ["CREATE TABLE uploads (other TEXT)", "CREATE VIEW uploads AS SELECT 1"]) {
      await using folder = await newOldStore();
      {
        using database = new Database(join(folder.path, "drayage.db"));
        database.run(sql);
      }
      await using store = await openStore(folder.path, { clock });
      expect(store.recoveryText).toContain('it has a "uploads" before its version');
      expect((await store.names()).map(({ name }) => name)).toEqual(["quay.io/a:v1"]);
    }
  });
});

describe("repositories", () => {
  test("are not changed by a reader", async () => {
    await using folder = await newFolder();
    await using writer = await openStore(folder.path, { clock });
    const blob = await putBytes(writer, "a/b", randomBytes("blob", 10));
    await using reader = await openStore(folder.path, { clock, readOnly: true });
    const linking = reader.repositories.linkBlob("team/app", blob).catch((error: unknown) => error);
    expect(isFailure(await linking, "store-read-only")).toBe(true);
  });

  test("take changes that come together, each on its own merits", async () => {
    await using folder = await newFolder();
    await using store = await openStore(folder.path, { clock, role: "registry" });
    const { repositories } = store;
    const manifest = { descriptor: await putBytes(store, "a/b", randomBytes("m", 10)) };
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        repositories.putManifest("team/app", manifest, { tags: ["v1"], expected: null }),
      ),
    );
    const taken = outcomes.map(({ status }) => status === "fulfilled");
    expect(taken).toEqual([true, ...Array<boolean>(9).fill(false)]);
    const { digest } = manifest.descriptor;
    const [unlinked, deleted, again] = await Promise.all([
      repositories.unlinkBlob("team/app", digest),
      repositories.deleteManifest("team/app", digest),
      repositories.deleteManifest("team/app", digest),
    ]);
    expect([unlinked, deleted, again]).toEqual([false, true, false]);
  });

  test("have a manifest no longer than the store has it whole", async () => {
    await using folder = await newFolder();
    await using store = await openStore(folder.path, { clock, role: "registry" });
    const descriptor = await putBytes(store, "a/b", randomBytes("m", 10));
    const { repositories } = store;
    await repositories.putManifest("team/app", { descriptor }, { tags: ["v1"] });
    await writeFile(join(folder.path, "blobs", ...descriptor.digest.split(":")), "short");
    expect(await repositories.manifest("team/app", descriptor.digest)).toBeUndefined();
  });

  test("answer by an index, whatever they are asked", async () => {
    await using folder = await newFolder();
    await using store = await openStore(folder.path, { clock });
    const blob = await putBytes(store, "a/b", randomBytes("blob", 10));
    const asked = new Set<string>();
    const query = Database.prototype.query;
    Database.prototype.query = function record(this: Database, sql: string) {
      asked.add(sql);
      return query.call(this, sql);
    } as typeof query;
    try {
      const { repositories } = store;
      await repositories.linkBlob("r", blob);
      await repositories.putManifest("r", { descriptor: blob }, { tags: ["t"], expected: null });
      await repositories.blob("r", blob.digest);
      await repositories.manifest("r", blob.digest);
      await repositories.tag("r", "t");
      await repositories.tags("r", { limit: 1 });
      await repositories.referrers("r", blob.digest);
      await repositories.list({ limit: 10 });
      await repositories.has("r");
      await repositories.deleteTag("r", "t");
      await repositories.deleteManifest("r", blob.digest);
      await repositories.unlinkBlob("r", blob.digest);
    } finally {
      Database.prototype.query = query;
    }
    using database = new Database(join(folder.path, "drayage.db"));
    const statements = [...asked].filter((sql) => !sql.startsWith("PRAGMA"));
    expect(statements.length).toBeGreaterThan(12);
    for (const sql of statements) {
      const plan = database.query<{ detail: string }, []>(`EXPLAIN QUERY PLAN ${sql}`).all();
      const details = plan.map(({ detail }) => detail).join("\n");
      expect(details).not.toMatch(/^SCAN repository_/m);
      // And by all of the index: the tags or manifests of a whole repository can be many.
      const [, ...conditions] = sql.split("WHERE");
      for (const [, column] of conditions.join().matchAll(/(\w+) = \?/g)) {
        expect({ sql, details }).toEqual({ sql, details: expect.stringContaining(`${column}=?`) });
      }
    }
  });
});

test("a folder in which only a lock and folders are is no stranger's", async () => {
  await using folder = await newFolder();
  await mkdir(join(folder.path, "uploads", "ingest"), { recursive: true });
  await writeFile(join(folder.path, "lock-registry.json"), "{}");
  await writeFile(join(folder.path, "lock-registry.db"), "");
  await using _store = await openStore(folder.path, { clock, role: "registry" });
  expect(await readdir(folder.path)).toContain("drayage.db");
});

describe("deliveries that are reserved", () => {
  const failureOf = async (promise: Promise<unknown>) => {
    const failure = await promise.catch((error: unknown) => error);
    if (!isFailure(failure)) throw new Error(`no failure: ${failure}`);
    return failure;
  };

  test("are made by who says so, and by nobody else", async () => {
    await using folder = await newFolder();
    const reservation = await reserveDeliveries(folder.path, { clock });
    const refused = await failureOf(openStore(folder.path, { clock }));
    expect(refused.code).toBe("store-locked");
    expect(refused.message).toContain(`for a delivery: process ${process.pid} `);
    await (await openStore(folder.path, { clock, isReserved: true }))[Symbol.asyncDispose]();
    await (await openStore(folder.path, { clock, role: "registry" }))[Symbol.asyncDispose]();
    // Not only once: it holds between deliveries.
    expect((await failureOf(openStore(folder.path, { clock }))).code).toBe("store-locked");
    reservation.release();
    await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
  });

  test("are not reserved while somebody else delivers, or has reserved them", async () => {
    await using folder = await newFolder();
    {
      await using _delivery = await openStore(folder.path, { clock });
      const failure = await failureOf(reserveDeliveries(folder.path, { clock }));
      expect(failure.message).toContain(`process ${process.pid} `);
    }
    const reservation = await reserveDeliveries(folder.path, { clock });
    expect((await failureOf(reserveDeliveries(folder.path, { clock }))).code).toBe("store-locked");
    reservation.release();
  });

  test("wait for an earlier one that is ending, and not for good", async () => {
    await using folder = await newFolder();
    const time = createManualClock();
    const earlier = await openStore(folder.path, { clock: time, isReserved: true });
    const later = openStore(folder.path, { clock: time, isReserved: true });
    expect((await failureOf(later)).code).toBe("store-locked");
    expect(time.monotonic()).toBeGreaterThanOrEqual(10_000);
    const patient = {
      ...time,
      async sleep(ms: number, signal: AbortSignal) {
        if (time.monotonic() < 15_000) return time.sleep(ms, signal);
        await earlier[Symbol.asyncDispose]();
      },
    };
    const last = await openStore(folder.path, { clock: patient, isReserved: true });
    await last[Symbol.asyncDispose]();
  });

  test("are given back when the store can't be opened after all", async () => {
    await using folder = await newFolder();
    const disk: Disk = {
      ...systemDisk,
      makeFolder: (path) =>
        path.endsWith("sha512")
          ? Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" }))
          : systemDisk.makeFolder(path),
    };
    expect((await failureOf(openStore(folder.path, { clock, disk }))).code).toBe("store-broken");
    (await reserveDeliveries(folder.path, { clock })).release();
  });

  test("are free again when who reserved them is killed", async () => {
    await using folder = await newFolder();
    const script = `
      import { systemClock } from "#base";
      import { reserveDeliveries } from "#store";
      await reserveDeliveries(${JSON.stringify(folder.path)}, { clock: systemClock });
      console.log("reserved");
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
    (await reserveDeliveries(folder.path, { clock })).release();
  });
});
