import { beforeEach, expect, test } from "bun:test";
import { createMemoryStore, type Uploads } from "#content";
import { boundUploads } from "./bound-uploads.ts";
import { WireError } from "./wire.ts";

let inner: Uploads;

beforeEach(() => {
  inner = createMemoryStore().uploads;
});

async function codeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
    return "none";
  } catch (error) {
    if (error instanceof WireError) return error.code;
    throw error;
  }
}

test("a user who has too many uploads under way is told to come again; others go on", async () => {
  const uploads = boundUploads(inner, { uploadsPerUserMax: 2 });
  await uploads.begin("a", "alice");
  await uploads.begin("b", "alice");
  expect(await codeOf(uploads.begin("c", "alice"))).toBe("TOOMANYREQUESTS");
  expect(await codeOf(uploads.begin("a", "bob"))).toBe("none");
});

test("an upload that has ended, by itself or for idling, makes room", async () => {
  const uploads = boundUploads(inner, { uploadsPerUserMax: 1 });
  const first = await uploads.begin("a", "alice");
  await first.cancel();
  const second = await uploads.begin("a", "alice");
  expect(await codeOf(uploads.begin("a", "alice"))).toBe("TOOMANYREQUESTS");
  await uploads.removeIdle(-1);
  expect(await uploads.find(second.id)).toBeUndefined();
  expect(await codeOf(uploads.begin("a", "alice"))).toBe("none");
});

test("all uploads together have a bound, which a crowd can't pass by coming at once", async () => {
  const uploads = boundUploads(inner, { uploadsMax: 3 });
  const codes = await Promise.all([1, 2, 3, 4, 5].map(() => codeOf(uploads.begin("a", null))));
  expect(codes.sort()).toEqual(["TOOMANYREQUESTS", "TOOMANYREQUESTS", "none", "none", "none"]);
});

test("users who are nobody are bounded together only", async () => {
  const uploads = boundUploads(inner, { uploadsPerUserMax: 1, uploadsMax: 3 });
  expect(await codeOf(uploads.begin("a", null))).toBe("none");
  expect(await codeOf(uploads.begin("a", null))).toBe("none");
});

test("an upload that could not begin takes no room", async () => {
  let fails = true;
  const failing: Uploads = {
    ...inner,
    find: (id) => inner.find(id),
    begin: (repository, user) =>
      fails ? Promise.reject(new Error("no room")) : inner.begin(repository, user),
  };
  const uploads = boundUploads(failing, { uploadsMax: 1 });
  await expect(uploads.begin("a", null)).rejects.toThrow("no room");
  fails = false;
  expect(await codeOf(uploads.begin("a", null))).toBe("none");
});
