import { describe, expect, test } from "bun:test";
import type { Store, Upload, Uploads } from "#content";
import { codeOf, get, patient, sample } from "./sample.ts";

/** Opens a store with nothing in it and its uploads; disposing of it clears them away. */
export type OpenUploads = () => Promise<
  { readonly uploads: Uploads; readonly store: Store } & AsyncDisposable
>;

const R = "team/app";

/** Larger than any buffer on the way. */
const LARGE_BYTES = 3 * 1024 * 1024 + 17;

/** Declares the tests that every {@link Uploads} must pass. */
export function uploadsConformance(name: string, open: OpenUploads): void {
  describe(`${name} as uploads`, () => {
    describe("take in content", () => contentTests(open));
    describe("refuse", () => refusalTests(open));
    describe("are kept", () => keepingTests(open));
  });
}

function contentTests(open: OpenUploads): void {
  test.each([0, 1, 65_536, LARGE_BYTES])("of %d bytes at once", async (length) => {
    await using opened = await open();
    const { uploads, store } = opened;
    const content = sample("size", length);
    const upload = await uploads.begin(R, null);
    expect(upload.bytes).toBe(0);
    await append(upload, content.bytes);
    expect(upload.bytes).toBe(length);
    expect(await store.has(content.descriptor)).toBe(false);
    const { digest, size } = content.descriptor;
    expect(await upload.commit(digest)).toMatchObject({ digest, size });
    expect(await get(store, content.descriptor)).toEqual(content.bytes);
    expect(await uploads.find(upload.id)).toBeUndefined();
  });

  test("in chunks of any size, each found again by the id", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const content = sample("chunks", LARGE_BYTES);
    const { id } = await uploads.begin(R, "edge");
    const cuts = [0, 1, 4096, 4097, 1_048_576, 1_048_577, 3_000_000, LARGE_BYTES];
    for (const [i, end] of cuts.slice(1).entries()) {
      const upload = required(await uploads.find(id));
      expect(upload).toMatchObject({ id, repository: R, user: "edge", bytes: cuts[i] });
      await append(upload, content.bytes.subarray(cuts[i], end), 70_000);
      expect(upload.bytes).toBe(end);
    }
    await required(await uploads.find(id)).commit(content.descriptor.digest);
    expect(await get(store, content.descriptor)).toEqual(content.bytes);
  });

  test("under the algorithm that its end names", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const content = sample("sha512", 100_000, "sha512");
    const upload = await uploads.begin(R, null);
    await append(upload, content.bytes);
    await upload.commit(content.descriptor.digest);
    expect(await get(store, content.descriptor)).toEqual(content.bytes);
  });

  test("with nothing in it", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const nothing = sample("nothing", 0);
    const upload = await uploads.begin(R, null);
    expect(await upload.commit(nothing.descriptor.digest)).toMatchObject({ size: 0 });
    expect(await store.has(nothing.descriptor)).toBe(true);
  });

  test("that two push at the same time: one copy, both right", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const content = sample("both", 200_000);
    const both = await Promise.all([uploads.begin(R, "a"), uploads.begin("other", "b")]);
    expect(both[0].id).not.toBe(both[1].id);
    await Promise.all(both.map((upload) => append(upload, content.bytes)));
    await Promise.all(both.map((upload) => upload.commit(content.descriptor.digest)));
    expect(await get(store, content.descriptor)).toEqual(content.bytes);
  });
}

function refusalTests(open: OpenUploads): void {
  const content = sample("refused", 100_000);
  const wrong = [
    ["another digest", sample("other", 100_000).descriptor.digest],
    [
      "another algorithm's digest of something else",
      sample("other", 1, "sha512").descriptor.digest,
    ],
  ] as const;
  test.each(wrong)("%s, and keep nothing", async (_, digest) => {
    await using opened = await open();
    const { uploads, store } = opened;
    const upload = await uploads.begin(R, null);
    await append(upload, content.bytes);
    expect(await codeOf(upload.commit(digest))).toBe("digest-mismatch");
    expect(await uploads.find(upload.id)).toBeUndefined();
    expect(await store.has(content.descriptor)).toBe(false);
  });

  test("a second request while one is at it, which goes on unharmed", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const upload = await uploads.begin(R, null);
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    async function* slowly() {
      yield content.bytes.slice(0, 10_000);
      begun.resolve();
      await gate.promise;
      yield content.bytes.slice(10_000);
    }
    const first = upload.append(slowly(), { signal: patient });
    await begun.promise;
    for (const other of [upload, required(await uploads.find(upload.id))]) {
      expect(await codeOf(append(other, content.bytes))).toBe("upload-busy");
      expect(await codeOf(other.commit(content.descriptor.digest))).toBe("upload-busy");
    }
    expect(await uploads.removeIdle(0)).toBe(0);
    gate.resolve();
    await first;
    expect(upload.bytes).toBe(100_000);
    await upload.commit(content.descriptor.digest);
    expect(await store.has(content.descriptor)).toBe(true);
  });
}

function keepingTests(open: OpenUploads): void {
  const content = sample("kept", 300_000);

  test("with what came before the body broke off", async () => {
    await using opened = await open();
    const { uploads, store } = opened;
    const upload = await uploads.begin(R, null);
    const reason = new Error("the client is gone");
    async function* breaking() {
      yield content.bytes.slice(0, 50_000);
      yield content.bytes.slice(50_000, 120_000);
      throw reason;
    }
    expect(await codeOf(upload.append(breaking(), { signal: patient }))).toBe(reason);
    const found = required(await uploads.find(upload.id));
    expect(found.bytes).toBe(120_000);
    await append(found, content.bytes.subarray(120_000));
    await found.commit(content.descriptor.digest);
    expect(await get(store, content.descriptor)).toEqual(content.bytes);
  });

  test("until they are cancelled", async () => {
    await using opened = await open();
    const { uploads } = opened;
    const [gone, stays] = [await uploads.begin(R, null), await uploads.begin(R, null)];
    await append(gone, content.bytes);
    await gone.cancel();
    expect(await uploads.find(gone.id)).toBeUndefined();
    expect(await uploads.find(stays.id)).toBeDefined();
  });

  test("until nobody has touched them for long enough", async () => {
    await using opened = await open();
    const { uploads } = opened;
    const upload = await uploads.begin(R, null);
    await append(upload, content.bytes);
    expect(await uploads.removeIdle(24 * 3600 * 1000)).toBe(0);
    expect(await uploads.find(upload.id)).toBeDefined();
    expect(await uploads.removeIdle(0)).toBe(1);
    expect(await uploads.find(upload.id)).toBeUndefined();
    expect(await uploads.removeIdle(0)).toBe(0);
  });

  test("under ids that are 128 bits of chance, and under no other", async () => {
    await using opened = await open();
    const { uploads } = opened;
    const ids = new Set<string>();
    for (let i = 0; i < 20; i += 1) ids.add((await uploads.begin(R, null)).id);
    expect(ids.size).toBe(20);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
    for (const id of ["", "..", "0".repeat(32)]) expect(await uploads.find(id)).toBeUndefined();
  });
}

function append(upload: Upload, bytes: Uint8Array, pieceBytes = 100_000): Promise<void> {
  async function* pieces() {
    for (let offset = 0; offset < bytes.byteLength; offset += pieceBytes) {
      yield bytes.slice(offset, offset + pieceBytes);
    }
  }
  return upload.append(pieces(), { signal: patient });
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the upload is not there");
  return value;
}
