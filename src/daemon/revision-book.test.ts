import { expect, test } from "bun:test";
import type { KeptRevisions } from "#store";
import { revisionOf, sketchOf } from "#test-support/memory-operations";
import { NEW_COURSE } from "./course.ts";
import { RevisionBook } from "./revision-book.ts";

/** Where a book is kept, and what was put there last. */
function createShelf() {
  let kept: KeptRevisions = { revisions: [], roles: {} };
  return {
    read: async () => kept,
    async replace(next: KeptRevisions) {
      // As a store has it: what JSON can say.
      kept = JSON.parse(JSON.stringify(next));
    },
    put: (next: KeptRevisions) => {
      kept = next;
    },
  };
}

const [shop, till] = [revisionOf(sketchOf("shop"), 1), revisionOf(sketchOf("till"), 2)];

test("the next agent has every revision that plays a part, as it was, and where it stood", async () => {
  const shelf = createShelf();
  const book = new RevisionBook(shelf);
  for (const revision of [shop, till]) book.add(revision);
  book.stamp(shop.id, { stagedMs: 5, activatedMs: 6 });
  const turn = { to: till.id, why: "roll-back", undoes: shop.id } as const;
  const standing = { ...NEW_COURSE, wanted: till.id, active: shop.id, turn };
  await book.save(standing);
  const next = new RevisionBook(shelf);
  const { wanted, staged, active, previous, rolledBack } = standing;
  expect(await next.load()).toEqual({ wanted, staged, active, previous, rolledBack, turn });
  expect(next.get(shop.id)).toEqual(shop);
  expect(next.get(till.id)).toEqual(till);
  expect(next.state(shop.id)).toMatchObject({ stagedMs: 5, activatedMs: 6, images: 2 });
});

test("a revision that plays no part any more is forgotten, and that is said", async () => {
  const book = new RevisionBook(createShelf());
  for (const revision of [shop, till]) book.add(revision);
  await book.save({ ...NEW_COURSE, active: till.id });
  expect(book.state(shop.id)).toBeNull();
  expect(() => book.get(shop.id)).toThrow(`Cannot find revision ${shop.id}`);
  expect(book.get(till.id)).toEqual(till);
});

test("a revision that is read again keeps when it was seen first and what was done with it", () => {
  const book = new RevisionBook(createShelf());
  book.add(shop);
  book.stamp(shop.id, { activatedMs: 7 });
  book.add({ ...shop, seenMs: 99, source: "elsewhere" });
  expect(book.state(shop.id)).toMatchObject({ seenMs: 1, activatedMs: 7, source: "elsewhere" });
});

test("what is told of a revision can be broken, and does not keep an agent from starting", async () => {
  const shelf = createShelf();
  const about = { source: 1, profiles: "a", images: null, seenMs: "x" };
  shelf.put({
    revisions: [{ id: shop.id, record: "{", about }],
    roles: { active: shop.id, wanted: "gone", activating: "gone" },
  });
  const book = new RevisionBook(shelf);
  expect(await book.load()).toMatchObject({ active: shop.id, wanted: null, turn: null });
  expect(book.get(shop.id)).toEqual({
    ...{ id: shop.id, record: "{", source: "", profiles: [], images: 0, seenMs: 0 },
  });
});
