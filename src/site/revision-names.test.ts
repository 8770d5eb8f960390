import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { openRevisionNames, putInForce } from "./revision-names.ts";

const NAME = "registry.example.com:5000/team/app:v1";
const NEVER = { signal: new AbortController().signal };

async function openWorld() {
  const folder = await temporaryFolder();
  const store = await openStore(folder.path, { clock: systemClock });
  return {
    store,
    index: async () => {
      await store.flush();
      return readFile(join(folder.path, "index.json"), "utf8");
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("what a revision names is in force for nobody else before it is put in force", async () => {
  await using world = await openWorld();
  const { store } = world;
  await buildImage(store, NAME, { seed: "one" });
  const one = await store.lookup(NAME);
  const names = openRevisionNames(store, "aaaaaaaaaaaa");
  expect(await names.lookup(NAME)).toEqual(one);
  await buildImage(names, NAME, { seed: "two" });
  const two = await names.lookup(NAME);
  expect(two?.digest).not.toBe(one?.digest ?? "");
  expect(await store.lookup(NAME)).toEqual(one);
  expect(await openRevisionNames(store, "bbbbbbbbbbbb").lookup(NAME)).toEqual(one);
  expect((await store.names()).map(({ name }) => name)).toEqual([NAME]);
  expect(await world.index()).not.toContain("aaaaaaaaaaaa");
  expect(await putInForce(store, "aaaaaaaaaaaa", NEVER)).toBe(1);
  expect(await store.lookup(NAME)).toEqual(two);
  expect(await world.index()).toContain(two?.digest ?? "none");
  expect(await putInForce(store, "aaaaaaaaaaaa", NEVER)).toBe(0);
});

test("a revision that was in force before comes back as it was", async () => {
  await using world = await openWorld();
  const { store } = world;
  const digests: (string | undefined)[] = [];
  for (const revision of ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]) {
    await buildImage(openRevisionNames(store, revision), NAME, { seed: revision });
    await putInForce(store, revision, NEVER);
    digests.push((await store.lookup(NAME))?.digest);
  }
  expect(new Set(digests).size).toBe(2);
  await putInForce(store, "aaaaaaaaaaaa", NEVER);
  expect((await store.lookup(NAME))?.digest).toBe(digests[0] as never);
});
