import { describe, expect, test } from "bun:test";
import type { HeldManifest, Repositories, Store } from "#content";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { codeOf, put, type Sample, sample, sampleOf } from "./sample.ts";

/** Opens repositories in which there is nothing, and the store that has their content; disposing clears both away. */
export type OpenRepositories = () => Promise<
  { readonly repositories: Repositories; readonly store: Store } & AsyncDisposable
>;

const R = "team/app";

/** Declares the tests that every {@link Repositories} must pass. */
export function repositoriesConformance(name: string, open: OpenRepositories): void {
  describe(`${name} as repositories`, () => {
    describe("have blobs", () => blobTests(open));
    describe("have manifests", () => manifestTests(open));
    describe("have tags", () => tagTests(open));
    describe("have referrers", () => referrerTests(open));
    describe("are listed", () => listTests(open));
  });
}

function blobTests(open: OpenRepositories): void {
  const blob = sample("blob", 1000);
  const { digest, size } = blob.descriptor;

  test("that were linked, each repository its own", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    await put(store, blob);
    expect(await repositories.blob(R, digest)).toBeUndefined();
    await repositories.linkBlob(R, blob.descriptor);
    expect(await repositories.blob(R, digest)).toMatchObject({ digest, size });
    expect(await repositories.blob("team/other", digest)).toBeUndefined();
    expect(await repositories.manifest(R, digest)).toBeUndefined();
  });

  test("as often as they are linked", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    await put(store, blob);
    await repositories.linkBlob(R, blob.descriptor);
    await repositories.linkBlob(R, blob.descriptor);
    expect(await repositories.unlinkBlob(R, digest)).toBe(true);
    expect(await repositories.unlinkBlob(R, digest)).toBe(false);
    expect(await repositories.blob(R, digest)).toBeUndefined();
  });

  test("only of what the store has", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    const failure = repositories.linkBlob(R, blob.descriptor);
    expect(await codeOf(failure)).toBe("content-missing");
    expect(await repositories.has(R)).toBe(false);
    await put(store, blob);
    await repositories.linkBlob(R, blob.descriptor);
    expect(await repositories.blob(R, digest)).toMatchObject({ digest, size });
  });

  test("under sha512, and empty ones", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    for (const other of [sample("blob", 1000, "sha512"), sample("empty", 0)]) {
      await put(store, other);
      await repositories.linkBlob(R, other.descriptor);
      const { digest, size } = other.descriptor;
      expect(await repositories.blob(R, digest)).toMatchObject({ digest, size });
    }
  });

  test("whose content stays where another repository has it", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    await put(store, blob);
    for (const name of [R, "other"]) await repositories.linkBlob(name, blob.descriptor);
    expect(await repositories.unlinkBlob(R, digest)).toBe(true);
    expect(await repositories.blob("other", digest)).toMatchObject({ digest });
    expect(await store.has(blob.descriptor)).toBe(true);
  });
}

function manifestTests(open: OpenRepositories): void {
  test("with all that is to be known of them", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const bare = await held(opened, "bare");
    const rich = await held(opened, "rich", {
      artifactType: "application/vnd.test",
      annotations: { "org.example.a": "ä\n", "": "" },
      subject: sample("subject", 1).descriptor.digest,
    });
    for (const manifest of [bare, rich]) {
      await repositories.putManifest(R, manifest, { tags: [] });
      expect(await repositories.manifest(R, manifest.descriptor.digest)).toEqual(manifest);
      expect(await repositories.manifest("other", manifest.descriptor.digest)).toBeUndefined();
    }
    expect(await repositories.tags(R, { limit: 10 })).toEqual([]);
  });

  test("until they are deleted, with every tag of theirs and no other", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const one = await held(opened, "one");
    const two = await held(opened, "two");
    await repositories.putManifest(R, one, { tags: ["a", "b"] });
    await repositories.putManifest(R, two, { tags: ["c"] });
    await repositories.putManifest("other", one, { tags: ["a"] });
    expect(await repositories.deleteManifest(R, one.descriptor.digest)).toBe(true);
    expect(await repositories.deleteManifest(R, one.descriptor.digest)).toBe(false);
    expect(await repositories.manifest(R, one.descriptor.digest)).toBeUndefined();
    expect(await repositories.tag(R, "a")).toBeUndefined();
    expect(await repositories.tags(R, { limit: 10 })).toEqual(["c"]);
    expect(await repositories.tag("other", "a")).toEqual(one.descriptor);
  });
}

function tagTests(open: OpenRepositories): void {
  test("that stand for a manifest, and move", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const one = await held(opened, "one");
    const two = await held(opened, "two", { mediaType: OCI_INDEX });
    await repositories.putManifest(R, one, { tags: ["v1", "latest"] });
    await repositories.putManifest(R, two, { tags: ["latest"] });
    expect(await repositories.tag(R, "v1")).toEqual(one.descriptor);
    expect(await repositories.tag(R, "latest")).toEqual(two.descriptor);
    expect(await repositories.tag(R, "v2")).toBeUndefined();
    expect(await repositories.tag("none", "v1")).toBeUndefined();
  });

  test("that stay when their manifest is put again under others, or under none", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const one = await held(opened, "one");
    for (const tags of [["a"], ["b"], []]) await repositories.putManifest(R, one, { tags });
    expect(await repositories.tags(R, { limit: 10 })).toEqual(["a", "b"]);
  });

  test("that are deleted, and leave what they stood for", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const one = await held(opened, "one");
    await repositories.putManifest(R, one, { tags: ["a", "b"] });
    expect(await repositories.deleteTag(R, "a")).toBe(true);
    expect(await repositories.deleteTag(R, "a")).toBe(false);
    expect(await repositories.deleteTag("none", "a")).toBe(false);
    expect(await repositories.tags(R, { limit: 10 })).toEqual(["b"]);
    expect(await repositories.manifest(R, one.descriptor.digest)).toEqual(one);
  });

  test("in the order of code units, a page at a time", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const tags = ["b", "a", "a-1", "B", "c", "_x", "1"];
    await repositories.putManifest(R, await held(opened, "one"), { tags });
    const sorted = [...tags].sort();
    expect(await repositories.tags(R, { limit: 100 })).toEqual(sorted);
    expect(await repositories.tags(R, { limit: 0 })).toEqual([]);
    expect(await repositories.tags(R, { limit: 3 })).toEqual(sorted.slice(0, 3));
    expect(await repositories.tags(R, { limit: 3, after: "B" })).toEqual(["_x", "a", "a-1"]);
    expect(await repositories.tags(R, { limit: 3, after: "aa" })).toEqual(["b", "c"]);
    expect(await repositories.tags(R, { limit: 3, after: "z" })).toEqual([]);
    expect(await repositories.tags("none", { limit: 3 })).toBeUndefined();
  });

  test("that are put only where they stand for what is expected, all or none", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const one = await held(opened, "one");
    const two = await held(opened, "two");
    const tags = ["a", "b"];
    await repositories.putManifest(R, one, { tags: ["a"], expected: null });
    const refused = [
      { tags: ["a"], expected: null },
      { tags: ["a"], expected: two.descriptor.digest },
      { tags: ["b"], expected: one.descriptor.digest },
      { tags, expected: one.descriptor.digest },
      { tags, expected: null },
    ];
    for (const options of refused) {
      expect(await codeOf(repositories.putManifest(R, two, options))).toBe("tag-moved");
      expect(await repositories.tag(R, "a")).toEqual(one.descriptor);
      expect(await repositories.tag(R, "b")).toBeUndefined();
      expect(await repositories.manifest(R, two.descriptor.digest)).toBeUndefined();
    }
    await repositories.putManifest(R, two, { tags: ["a"], expected: one.descriptor.digest });
    expect(await repositories.tag(R, "a")).toEqual(two.descriptor);
  });
}

function referrerTests(open: OpenRepositories): void {
  const subject = sample("subject", 1).descriptor.digest;

  test("in the order of digests, whether the subject is here or not", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const seeds = ["a", "b", "c", "d"];
    const manifests = await Promise.all(seeds.map((seed) => held(opened, seed, { subject })));
    for (const manifest of manifests) await repositories.putManifest(R, manifest, { tags: [] });
    await repositories.putManifest(R, await held(opened, "stranger"), { tags: [] });
    const sorted = manifests.toSorted((a, b) =>
      a.descriptor.digest < b.descriptor.digest ? -1 : 1,
    );
    expect(await repositories.referrers(R, subject)).toEqual(sorted);
    expect(await repositories.referrers("other", subject)).toEqual([]);
    expect(await repositories.referrers(R, sample("no", 1).descriptor.digest)).toEqual([]);
  });

  test("until they are deleted", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const manifest = await held(opened, "a", { subject });
    await repositories.putManifest(R, manifest, { tags: ["a"] });
    await repositories.deleteTag(R, "a");
    expect(await repositories.referrers(R, subject)).toEqual([manifest]);
    await repositories.deleteManifest(R, manifest.descriptor.digest);
    expect(await repositories.referrers(R, subject)).toEqual([]);
  });
}

function listTests(open: OpenRepositories): void {
  test("while they have a manifest or a blob", async () => {
    await using opened = await open();
    const { repositories, store } = opened;
    const blob = sample("blob", 10);
    const manifest = await held(opened, "one");
    await put(store, blob);
    expect(await repositories.has(R)).toBe(false);
    await repositories.linkBlob(R, blob.descriptor);
    expect(await repositories.has(R)).toBe(true);
    expect(await repositories.tags(R, { limit: 1 })).toEqual([]);
    await repositories.putManifest(R, manifest, { tags: ["a"] });
    await repositories.unlinkBlob(R, blob.descriptor.digest);
    expect(await repositories.list({ limit: 10 })).toEqual([R]);
    await repositories.deleteManifest(R, manifest.descriptor.digest);
    expect(await repositories.has(R)).toBe(false);
    expect(await repositories.list({ limit: 10 })).toEqual([]);
    expect(await repositories.tags(R, { limit: 1 })).toBeUndefined();
  });

  test("in the order of code units, a page at a time, also where one name begins another", async () => {
    await using opened = await open();
    const { repositories } = opened;
    const manifest = await held(opened, "one");
    const names = ["a", "a/b", "a-b", "a/b/c", "ab", "b"];
    for (const name of names) await repositories.putManifest(name, manifest, { tags: ["v1"] });
    const sorted = [...names].sort();
    expect(await repositories.list({ limit: 100 })).toEqual(sorted);
    expect(await repositories.list({ limit: 2 })).toEqual(sorted.slice(0, 2));
    expect(await repositories.list({ limit: 2, after: "a-b" })).toEqual(["a/b", "a/b/c"]);
    expect(await repositories.list({ limit: 0 })).toEqual([]);
  });
}

type About = Omit<HeldManifest, "descriptor"> & { readonly mediaType?: string };

/** Puts a document into the store, and tells what a repository is to remember of it. */
async function held(
  { store }: { readonly store: Store },
  seed: string,
  { mediaType = OCI_MANIFEST, ...about }: About = {},
): Promise<HeldManifest & { readonly descriptor: Descriptor }> {
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, seed }));
  const document: Sample = sampleOf(bytes, mediaType);
  await put(store, document);
  return { descriptor: document.descriptor, ...about };
}
