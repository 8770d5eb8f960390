import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { temporaryFolder } from "#test-support/program";

const START_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 24 * 3600 * 1000;

test("the journal is read newest first, page by page, by the next process too", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock(START_MS);
  {
    await using store = await openStore(folder.path, { clock });
    expect(await store.journal.read()).toEqual([]);
    for (let n = 1; n <= 5; n += 1) {
      await store.journal.add(n % 2 === 0 ? "even" : "odd", { n, nested: { list: [n] } });
      clock.advance(1_000);
    }
  }
  await using store = await openStore(folder.path, { clock, readOnly: true });
  const first = await store.journal.read({ limit: 2 });
  expect(first).toEqual([
    { id: 5, atMs: START_MS + 4_000, kind: "odd", data: { n: 5, nested: { list: [5] } } },
    { id: 4, atMs: START_MS + 3_000, kind: "even", data: { n: 4, nested: { list: [4] } } },
  ]);
  const ids = async (query: Parameters<typeof store.journal.read>[0]) =>
    (await store.journal.read(query)).map(({ id }) => id);
  expect(await ids({ limit: 2, before: 4 })).toEqual([3, 2]);
  expect(await ids({ before: 2 })).toEqual([1]);
  expect(await ids({ before: 1 })).toEqual([]);
  expect(await ids({ after: 3 })).toEqual([5, 4]);
  expect(await ids({ kinds: ["even"] })).toEqual([4, 2]);
  expect(await ids({ kinds: ["even", "odd"], limit: 1 })).toEqual([5]);
  expect(await ids({ kinds: [] })).toEqual([]);
  expect(await ids({ limit: 0 })).toEqual([]);
  await expect(store.journal.add("odd", {})).rejects.toMatchObject({ code: "store-read-only" });
});

test("the registry beside a delivery writes in the same journal", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock(START_MS);
  await using delivery = await openStore(folder.path, { clock });
  await using registry = await openStore(folder.path, { clock, role: "registry" });
  await delivery.journal.add("one", {});
  await registry.journal.add("two", {});
  await delivery.journal.add("three", {});
  const kinds = (await registry.journal.read()).map(({ kind }) => kind);
  expect(kinds).toEqual(["three", "two", "one"]);
});

test("the oldest lines go when there are too many, and their numbers are not used again", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock(START_MS);
  await using store = await openStore(folder.path, { clock });
  const adding: Promise<void>[] = [];
  for (let n = 1; n <= 10_003; n += 1) adding.push(store.journal.add("line", { n }));
  await Promise.all(adding);
  const oldest = await store.journal.read({ before: 6 });
  expect(oldest.map(({ id }) => id)).toEqual([5, 4]);
  expect(await store.journal.read({ limit: 5_000 })).toHaveLength(1_000);
});

test("lines of long ago go, but for the newest thousand, however wrong the clock was", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock(0);
  await using store = await openStore(folder.path, { clock });
  const lines = async (count: number) => {
    const adding: Promise<void>[] = [];
    for (let n = 0; n < count; n += 1) adding.push(store.journal.add("line", {}));
    await Promise.all(adding);
  };
  await lines(1_200);
  clock.advance(START_MS);
  await store.journal.add("line", {});
  const page = await store.journal.read({ limit: 1_000 });
  expect(page.at(0)?.id).toBe(1_201);
  expect(page.at(-1)?.id).toBe(202);
  expect(await store.journal.read({ before: 202 })).toEqual([]);
  await lines(500);
  clock.advance(179 * DAY_MS);
  await store.journal.add("line", {});
  // Only what is older than half a year: 500 lines and one are not, beside the thousand of 1970.
  const rest = await store.journal.read({ before: 1_201, limit: 1_000 });
  expect(rest.map(({ id }) => id)).toEqual(Array.from({ length: 498 }, (_, i) => 1_200 - i));
});

test("data that is too much keeps what is short of it, and says what it left out", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: createManualClock(START_MS) });
  const data = {
    outcome: "failed",
    count: 7,
    nothing: null,
    text: "x".repeat(70_000),
    list: Array.from({ length: 10 }, () => "y"),
  };
  await store.journal.add("large", data);
  const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`key-${n}`, n]));
  await store.journal.add("many", many);
  const [second, first] = await store.journal.read();
  expect(first?.data).toEqual({
    ...{ outcome: "failed", count: 7, nothing: null },
    ...{ text: `${"x".repeat(1_024)}…`, omitted: ["list"] },
  });
  expect(Buffer.byteLength(JSON.stringify(second?.data))).toBeLessThan(64 * 1024);
  expect(second?.data).toMatchObject({ "key-0": 0 });
});

test("a line that is no JSON hides no other", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: createManualClock(START_MS) });
  await store.journal.add("good", { n: 1 });
  const database = new Database(join(folder.path, "drayage.db"));
  database.run("INSERT INTO journal (at_ms, kind, data) VALUES (1, 'bad', '{')");
  database.close();
  expect((await store.journal.read()).map(({ kind, data }) => ({ kind, data }))).toEqual([
    { kind: "bad", data: {} },
    { kind: "good", data: { n: 1 } },
  ]);
});

test("a store of an earlier version has an empty journal", async () => {
  await using folder = await temporaryFolder();
  const clock = createManualClock(START_MS);
  await (await openStore(folder.path, { clock }))[Symbol.asyncDispose]();
  const database = new Database(join(folder.path, "drayage.db"));
  database.run("DROP TABLE journal");
  database.run("PRAGMA user_version = 4");
  database.close();
  await using store = await openStore(folder.path, { clock, readOnly: true });
  expect(await store.journal.read()).toEqual([]);
});
