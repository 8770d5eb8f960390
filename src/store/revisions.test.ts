import { expect, test } from "bun:test";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { temporaryFolder } from "#test-support/program";

const clock = createManualClock();

test("what an agent wrote last is what the next process reads, whole", async () => {
  await using folder = await temporaryFolder();
  const one = { id: "one", record: "{}", about: { images: 3 } };
  const two = { id: "two", record: '{"a":1}', about: {} };
  {
    await using store = await openStore(folder.path, { clock });
    expect(await store.revisions.read()).toEqual({ revisions: [], roles: {} });
    await store.revisions.replace({ revisions: [one], roles: { active: "one" } });
    const roles = { active: "two", previous: "one", wanted: "two" };
    await store.revisions.replace({ revisions: [two, { ...one, record: "[]" }], roles });
  }
  await using store = await openStore(folder.path, { clock });
  expect(await store.revisions.read()).toEqual({
    revisions: [{ ...one, record: "[]" }, two],
    roles: { active: "two", previous: "one", wanted: "two" },
  });
  await store.revisions.replace({ revisions: [two], roles: { active: "two" } });
  expect(await store.revisions.read()).toEqual({ revisions: [two], roles: { active: "two" } });
  await using reader = await openStore(folder.path, { clock, readOnly: true });
  expect((await reader.revisions.read()).roles).toEqual({ active: "two" });
  const failing = reader.revisions.replace({ revisions: [], roles: {} });
  await expect(failing).rejects.toMatchObject({ code: "store-read-only" });
});

test("a note is there until it is taken away", async () => {
  await using folder = await temporaryFolder();
  {
    await using store = await openStore(folder.path, { clock });
    await store.notes.put("course", { isPaused: true });
    await store.notes.put("other", 1);
    await store.notes.put("other", undefined);
  }
  await using store = await openStore(folder.path, { clock });
  expect(await store.notes.get("course")).toEqual({ isPaused: true });
  expect(await store.notes.get("other")).toBeUndefined();
  expect(await store.notes.get("never")).toBeUndefined();
});

test("minutes of the uplink are kept for a week of them, the newest", async () => {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock });
  const week = 7 * 24 * 60;
  const minutes = Array.from({ length: week + 5 }, (_, i) => ({ minute: i, bytes: i, cap: null }));
  await store.uplinkMinutes.put(minutes);
  await store.uplinkMinutes.put([{ minute: week + 4, bytes: 9, cap: 1.5 }]);
  const kept = await store.uplinkMinutes.read();
  expect(kept).toHaveLength(week);
  expect(kept[0]).toEqual({ minute: 5, bytes: 5, cap: null });
  expect(kept.at(-1)).toEqual({ minute: week + 4, bytes: 9, cap: 1.5 });
});
