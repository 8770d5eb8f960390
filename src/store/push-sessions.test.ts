import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, isFailure, systemClock } from "#base";
import { digestOf, type PushSession } from "#content";
import { pushSessionsConformance } from "#content/conformance";
import { openStore } from "#store";

const NOW_MS = Date.UTC(2024, 1, 29, 12);
const DAY_MS = 24 * 3600 * 1000;
const clock: Clock = { ...systemClock, now: () => NOW_MS };

const session: PushSession = {
  registry: "registry.test",
  repository: "team/app",
  digest: digestOf(new Uint8Array(7)),
  location: "https://registry.test/v2/team/app/blobs/uploads/1?_state=secret",
  bytes: 4_194_304,
  atMs: NOW_MS,
};

async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), "dray-push-sessions-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

const find = async (dataDir: string, options = {}) => {
  await using store = await openStore(dataDir, { clock, ...options });
  return await store.pushSessions.find(session.registry, session.repository, session.digest);
};

const keep = async (dataDir: string, kept = session) => {
  await using store = await openStore(dataDir, { clock });
  await store.pushSessions.keep(kept);
};

pushSessionsConformance("openStore().pushSessions", async () => {
  const folder = await newFolder();
  const store = await openStore(join(folder.path, "data"), { clock });
  return {
    pushSessions: store.pushSessions,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
});

test("another process finds the session, before the first one has closed the store", async () => {
  await using folder = await newFolder();
  await using store = await openStore(folder.path, { clock });
  await store.pushSessions.keep(session);
  for (const options of [{ role: "registry" }, { readOnly: true }]) {
    expect(await find(folder.path, options)).toEqual(session);
  }
});

test("a session is forgotten when the store opens a week later, and not before", async () => {
  await using folder = await newFolder();
  await keep(folder.path, { ...session, atMs: NOW_MS - 7 * DAY_MS });
  expect(await find(folder.path)).toBeDefined();
  await keep(folder.path, { ...session, atMs: NOW_MS - 7 * DAY_MS - 1 });
  expect(await find(folder.path)).toBeUndefined();
});

test("a clock that was set back takes no session away", async () => {
  await using folder = await newFolder();
  const later = { ...session, atMs: NOW_MS + 365 * DAY_MS };
  await keep(folder.path, later);
  expect(await find(folder.path)).toEqual(later);
});

test("a store that is open to look at takes none", async () => {
  await using folder = await newFolder();
  await keep(folder.path);
  await using reader = await openStore(folder.path, { clock, readOnly: true });
  const { registry, repository, digest } = session;
  for (const change of [
    () => reader.pushSessions.keep({ ...session, bytes: 0 }),
    () => reader.pushSessions.forget(registry, repository, digest),
  ]) {
    const failure = await change().catch((error: unknown) => error);
    expect(isFailure(failure, "store-read-only")).toBe(true);
  }
  expect(await find(folder.path)).toEqual(session);
});

/** Tables of the version that had no push sessions; whatever came later is not among them. */
const VERSION_2 =
  /^(?:names|repository_(?:blobs|manifests|tags)|uploads|generations|generation_names)$/;

test("a store of the version before has none for a reader, and takes them from a writer on", async () => {
  await using folder = await newFolder();
  await keep(folder.path);
  {
    using database = new Database(join(folder.path, "drayage.db"));
    const tables = database
      .query<{ name: string }, []>(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
      )
      .all();
    for (const { name } of tables) if (!VERSION_2.test(name)) database.run(`DROP TABLE ${name}`);
    database.run("PRAGMA user_version = 2");
  }
  expect(await find(folder.path, { readOnly: true })).toBeUndefined();
  await keep(folder.path);
  expect(await find(folder.path)).toEqual(session);
});

test("nobody but the owner reads the files of the database, also those that an earlier version left", async () => {
  await using folder = await newFolder();
  const path = join(folder.path, "drayage.db");
  const files = [path, `${path}-wal`, `${path}-shm`];
  const modes = () => Promise.all(files.map(async (file) => (await stat(file)).mode & 0o777));
  await keep(folder.path);
  expect(await modes()).toEqual([0o600, 0o600, 0o600]);
  for (const file of files) await chmod(file, 0o644);
  await keep(folder.path);
  expect(await modes()).toEqual([0o600, 0o600, 0o600]);
});

test("a location is in no file but those of the database", async () => {
  await using folder = await newFolder();
  await keep(folder.path);
  for await (const file of new Bun.Glob("**/*").scan({ cwd: folder.path, dot: true })) {
    if (file.startsWith("drayage.db")) continue;
    expect(await readFile(join(folder.path, file), "utf8")).not.toContain("_state=secret");
  }
});
