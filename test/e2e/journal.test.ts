import { expect, test } from "bun:test";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { dray, temporaryFolder } from "#test-support/program";

async function site() {
  const folder = await temporaryFolder();
  const clock = createManualClock(Date.UTC(2026, 10, 23, 12));
  await using store = await openStore(folder.path, { clock });
  await store.journal.add("delivery-begun", { images: 3, uploads: 0 });
  clock.advance(1_500);
  await store.journal.add("hand-over-done", {
    outcome: "failed",
    exitStatus: 3,
    output: ["upgrading", "no \u001b[31mroom"],
    failure: { image: "quay.io/os:1", code: "hand-over-failed", message: "Cannot", hint: "Look" },
  });
  await store.journal.add("note", { text: "x".repeat(300), nested: { a: 1 } });
  return Object.assign(folder, {
    journal: (...words: string[]) => dray(["journal", "-d", folder.path, ...words]),
  });
}

test("the journal is printed newest first, with what a command wrote and why it failed", async () => {
  await using at = await site();
  const { out, exitCode } = await at.journal();
  expect(exitCode).toBe(0);
  expect(out.split("\n")).toEqual([
    `2026-11-23T12:00:01.500Z  note  ${"x".repeat(300)}`,
    "2026-11-23T12:00:01.500Z  hand-over-done  outcome=failed  exitStatus=3",
    "    | upgrading",
    String.raw`    | no \u001b[31mroom`,
    "    error: quay.io/os:1: Cannot [hand-over-failed]",
    "    hint: Look",
    "2026-11-23T12:00:00.000Z  delivery-begun  images=3",
    "",
  ]);
});

test("the journal is JSON, by number of lines, kind, and page", async () => {
  await using at = await site();
  const read = async (...words: string[]) => {
    const { out } = await at.journal("-o", "json", ...words);
    const { entries, ...rest } = JSON.parse(out);
    expect(rest).toEqual({ apiVersion: "drayage/v1", kind: "Journal" });
    return entries.map(({ id, kind }: { id: number; kind: string }) => `${id} ${kind}`);
  };
  expect(await read("-n", "2")).toEqual(["3 note", "2 hand-over-done"]);
  expect(await read("--before", "2")).toEqual(["1 delivery-begun"]);
  expect(await read("--kind", "note", "--kind", "delivery-begun")).toEqual([
    ...["3 note", "1 delivery-begun"],
  ]);
});

test("where there is no store, and for what is no number, it says so", async () => {
  await using folder = await temporaryFolder();
  const none = await dray(["journal", "-d", `${folder.path}/none`]);
  expect(none.exitCode).toBe(1);
  expect(none.err).toContain("store-missing");
  expect((await dray(["journal", "-n", "0"])).exitCode).toBe(2);
});
