import { describe, expect, test } from "bun:test";
import { collectStore, type DiskStore, GRACE_MS, holdNames, openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";

async function newSite() {
  const folder = await temporaryFolder();
  const clock = createManualClock();
  const store = await openStore(folder.path, { clock });
  return {
    ...{ store, clock, path: folder.path },
    /** Names that are still there once everything that may go has gone. */
    async left(): Promise<readonly string[]> {
      clock.advance(GRACE_MS * 2);
      await collectStore(folder.path, { clock, signal: new AbortController().signal });
      return (await store.names()).map(({ name }) => name);
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function deliver(store: DiskStore, names: readonly string[], isWhole = true) {
  await store.generations.begin(names);
  for (const name of names) await buildImage(store, name, { seed: name });
  if (isWhole) await store.generations.complete();
}

describe("what an agent holds", () => {
  test("stays however many plans are staged beside it, and what it drops goes", async () => {
    await using site = await newSite();
    const { store } = site;
    await deliver(store, ["a:1"]);
    await store.generations.hold({ active: ["a:1"] });
    for (const name of ["a:2", "a:3", "a:4"]) {
      await deliver(store, [name]);
      await store.generations.hold({ active: ["a:1"], staged: [name] });
    }
    expect(await site.left()).toEqual(["a:1", "a:4"]);
    await store.generations.hold({ active: ["a:4"], previous: ["a:1"] });
    expect(await site.left()).toEqual(["a:1", "a:4"]);
    await store.generations.hold({ active: ["a:4"] });
    expect(await site.left()).toEqual(["a:4"]);
  });

  test("can be said by another process, beside a delivery that is under way", async () => {
    await using site = await newSite();
    const { store, path, clock } = site;
    await deliver(store, ["a:1"]);
    await deliver(store, ["a:2"]);
    await deliver(store, ["a:3"], false);
    await holdNames(path, { active: ["a:1"] }, { clock });
    expect(await site.left()).toEqual(["a:1", "a:3"]);
    await store.generations.complete();
    await holdNames(path, { active: ["a:3"], previous: ["a:1"] }, { clock });
    expect(await site.left()).toEqual(["a:1", "a:3"]);
  });

  test("is not said of a store that is not there", async () => {
    await using folder = await temporaryFolder();
    const held = holdNames(folder.path, { active: ["a:1"] }, { clock: createManualClock() });
    expect(await held.catch((error: unknown) => error)).toMatchObject({ code: "store-missing" });
  });

  test("leaves to a delivery that is not complete what it declares", async () => {
    await using site = await newSite();
    const { store } = site;
    await deliver(store, ["a:1"]);
    await deliver(store, ["a:2"], false);
    await store.generations.hold({ active: ["a:1"] });
    expect(await site.left()).toEqual(["a:1", "a:2"]);
  });

  test("that is nothing drives out none of what was delivered by hand", async () => {
    await using site = await newSite();
    const { store } = site;
    for (const name of ["a:1", "a:2", "a:3"]) await deliver(store, [name]);
    await store.generations.hold({});
    expect(await site.left()).toEqual(["a:2", "a:3"]);
  });

  test("stays while plans are delivered by hand, which keep their own last two", async () => {
    await using site = await newSite();
    const { store } = site;
    await deliver(store, ["held:1"]);
    await store.generations.hold({ active: ["held:1"] });
    for (const name of ["a:1", "a:2", "a:3"]) await deliver(store, [name]);
    expect(await site.left()).toEqual(["a:2", "a:3", "held:1"]);
  });
});
