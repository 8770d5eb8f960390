import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure } from "#base";
import { collectStore, GRACE_MS, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, randomBytes } from "#test-support/images";

const DAY_MS = 24 * 3600 * 1000;
const NAME = "quay.io/team/app:v1";
const PUSHED = "team/pushed";

/** A store with an image that was delivered, one that was pushed, and a blob that nothing names any more. */
async function buildSite(path: string) {
  await using store = await openStore(path, { clock: createManualClock(Date.now()) });
  const delivered = await buildImage(store, NAME, { seed: "delivered" });
  const staged = await putBytes(store, "application/x", randomBytes("staged", 5_000));
  const pushed = await buildImage(store, "localhost/other:v1", { seed: "pushed" });
  await store.repositories.putManifest(PUSHED, { descriptor: pushed }, { tags: ["v2"] });
  // Enough for tables of many pages, so that some can be damaged and others not.
  const filler = { text: "x".repeat(9_000) };
  await Promise.all(Array.from({ length: 30 }, () => store.journal.add("filler", filler)));
  await store[Symbol.asyncDispose]();
  // Into the file: what is done to it would be repaired from the log.
  using connection = new Database(join(path, "drayage.db"));
  connection.run("PRAGMA wal_checkpoint(TRUNCATE)");
  return { delivered, staged, pushed };
}

const template = await mkdtemp(join(tmpdir(), "dray-database-"));
const contents = await buildSite(template);
afterAll(() => rm(template, { recursive: true }));

async function newSite() {
  const path = await mkdtemp(join(tmpdir(), "dray-database-"));
  await cp(template, path, { recursive: true, preserveTimestamps: true });
  const database = join(path, "drayage.db");
  return {
    ...{ path, clock: createManualClock(Date.now()), ...contents },
    damage: (how: (file: string) => Promise<void>) => how(database),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

const setVersion = (version: number) => async (file: string) => {
  using connection = new Database(file);
  connection.run(`PRAGMA user_version = ${version}`);
};

const run = (sql: string) => async (file: string) => {
  using connection = new Database(file);
  connection.run(sql);
};

/** Far from the schema, which every opening reads. */
const overwriteSome = async (file: string) => {
  const bytes = await readFile(file);
  bytes.fill(0xaa, bytes.length - 20 * 4096, bytes.length - 16 * 4096);
  await writeFile(file, bytes);
};

const DAMAGES: Readonly<Record<string, (file: string) => Promise<void>>> = {
  "is garbage": (file) => writeFile(file, "no database ".repeat(1_000)),
  "is nothing but zeros": (file) => writeFile(file, new Uint8Array(40_960)),
  "has lost its end": (file) => truncate(file, 40_960),
  "has lost all but its first bytes": (file) => truncate(file, 50),
  "has lost all": (file) => truncate(file, 0),
  "is gone": (file) => rm(file),
  "has a page of something else": overwriteSome,
  "has no table of names": run("DROP TABLE names"),
  "has no index of referrers": run("DROP INDEX repository_referrers"),
  "has a table of other columns": run("ALTER TABLE notes ADD COLUMN more TEXT"),
  "has tables that its version has not": setVersion(2),
  "has a version that never was": setVersion(-5),
};

describe("a database that", () => {
  for (const [what, how] of Object.entries(DAMAGES)) {
    test(`${what} is replaced, and no content is lost`, async () => {
      await using site = await newSite();
      await site.damage(how);
      {
        await using store = await openStore(site.path, { clock: site.clock });
        expect(store.recoveryText).toContain("was damaged");
        expect(await store.lookup(NAME)).toEqual(site.delivered);
        const [line] = await store.journal.read({ kinds: ["database-replaced"] });
        expect(line?.data).toMatchObject({ level: "warning", names: 2 });
        await store.journal.add("later", {});
      }
      // It is whole again for whoever comes next, and what was moved away is a person's to delete.
      await using reader = await openStore(site.path, { clock: site.clock, readOnly: true });
      expect(await reader.has(site.staged)).toBe(true);
      expect(await reader.journal.read({ kinds: ["later"] })).toHaveLength(1);
      const isLeft = !/is gone|lost all$/.test(what);
      const quarantine = await readdir(join(site.path, "quarantine")).catch((): string[] => []);
      expect(quarantine.includes("drayage.db")).toBe(isLeft);
    });
  }

  test("is whole stays as it is, and nothing is said", async () => {
    await using site = await newSite();
    await using store = await openStore(site.path, { clock: site.clock });
    expect(store.recoveryText).toBeUndefined();
    expect(await store.journal.read({ kinds: ["database-replaced"] })).toEqual([]);
    expect(await store.repositories.tags(PUSHED, { limit: 9 })).toEqual(["v2"]);
  });

  test("is damaged in part keeps what was pushed", async () => {
    await using site = await newSite();
    await site.damage(run("DROP TABLE journal"));
    await using store = await openStore(site.path, { clock: site.clock, role: "registry" });
    expect(await store.repositories.tag(PUSHED, "v2")).toEqual(site.pushed);
  });

  test("is damaged twice is set aside twice", async () => {
    await using site = await newSite();
    for (const _ of [1, 2]) {
      // The log would repair it.
      await rm(join(site.path, "drayage.db-wal"), { force: true });
      await site.damage(DAMAGES["is garbage"] ?? expect.unreachable());
      await using _store = await openStore(site.path, { clock: site.clock });
    }
    const quarantine = await readdir(join(site.path, "quarantine"));
    expect(quarantine.sort()).toEqual(["drayage.db", "drayage.db.2"]);
  });

  test("is damaged has nothing collected for a week that was here before", async () => {
    await using site = await newSite();
    const { path, clock } = site;
    await site.damage(DAMAGES["is garbage"] ?? expect.unreachable());
    await (await openStore(path, { clock }))[Symbol.asyncDispose]();
    const collect = () => collectStore(path, { clock, signal: AbortSignal.any([]) });
    clock.advance(6 * DAY_MS);
    expect((await collect()).blobs).toEqual([]);
    clock.advance(DAY_MS + GRACE_MS);
    expect((await collect()).blobs.map(({ digest }) => digest)).toEqual([site.staged.digest]);
  });

  test("is damaged is left alone while another process has it open", async () => {
    await using site = await newSite();
    const { path, clock } = site;
    {
      await using _other = await openStore(path, { clock, role: "registry" });
      await site.damage(DAMAGES["is garbage"] ?? expect.unreachable());
      const failure = await openStore(path, { clock }).catch((error: unknown) => error);
      if (!isFailure(failure, "store-broken")) throw failure;
      expect(failure.message).toContain("another `dray` has it open");
      expect(failure.hint).toContain(`ps -p ${process.pid}`);
      expect(await readdir(join(path, "quarantine")).catch(() => [])).toEqual([]);
    }
    await using store = await openStore(path, { clock });
    expect(await store.lookup(NAME)).toEqual(site.delivered);
  });

  test("is damaged is told of to who only reads, or collects, with what to do", async () => {
    await using site = await newSite();
    const { path, clock } = site;
    await site.damage(DAMAGES["is garbage"] ?? expect.unreachable());
    for (const open of [
      () => openStore(path, { clock, readOnly: true }),
      () => collectStore(path, { clock, signal: AbortSignal.any([]) }),
    ]) {
      const failure = await open().catch((error: unknown) => error);
      if (!isFailure(failure, "store-broken")) throw failure;
      expect(failure.message).toContain("is damaged: file is not a database");
      expect(failure.hint).toContain("Run `dray deliver`");
    }
  });
});

test("a lock that is garbage is taken all the same, by one process", async () => {
  await using site = await newSite();
  const { path, clock } = site;
  await writeFile(join(path, "lock.db"), "no database ".repeat(1_000));
  await using _store = await openStore(path, { clock });
  await expect(openStore(path, { clock })).rejects.toMatchObject({ code: "store-locked" });
});
