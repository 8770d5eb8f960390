import { beforeEach, describe, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStore, type Repositories } from "#content";
import { repositoriesConformance } from "#content/conformance";
import { type Descriptor, OCI_MANIFEST } from "#oci";
import { createRegistry } from "#registry";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { PushingClient } from "#test-support/pushing";
import { RememberedRepositories } from "./remembered.ts";

const R = "team/app";

repositoriesConformance("RememberedRepositories over those in memory", async () => {
  const store = createMemoryStore();
  const repositories = new RememberedRepositories(store);
  return { store, repositories, async [Symbol.asyncDispose]() {} };
});

/** A store of which the test knows what it was asked, and says what others do to it. */
class WatchedStore {
  readonly store: MemoryStore = createMemoryStore();
  readonly asked: string[] = [];
  /** What is not on the disk any more. */
  readonly vanished = new Set<string>();
  /** Counts up when another process writes. */
  version = 0;
  /** Holds back the answers to who asks for a tag. */
  gate: Promise<void> = Promise.resolve();

  revision(): string {
    return `${this.version}`;
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return !this.vanished.has(descriptor.digest) && (await this.store.has(descriptor));
  }

  get repositories(): Repositories {
    const { repositories } = this.store;
    return new Proxy(repositories, {
      get: (target, name) => {
        const act = Reflect.get(target, name) as (...words: unknown[]) => Promise<unknown>;
        return async (...words: unknown[]) => {
          this.asked.push(String(name));
          const answer = await act.apply(target, words);
          if (name === "tag") await this.gate;
          return answer;
        };
      },
    });
  }
}

describe("remembered", () => {
  let watched: WatchedStore;
  let remembered: RememberedRepositories;
  let first: Descriptor;
  let second: Descriptor;

  beforeEach(async () => {
    watched = new WatchedStore();
    remembered = new RememberedRepositories(watched);
    first = await putBytes(watched.store, OCI_MANIFEST, randomBytes("first", 100));
    second = await putBytes(watched.store, OCI_MANIFEST, randomBytes("second", 100));
    await watched.store.repositories.putManifest(R, { descriptor: first }, { tags: ["v1"] });
    await watched.store.repositories.linkBlob(R, first);
  });

  const elsewhere = () =>
    watched.store.repositories.putManifest(R, { descriptor: second }, { tags: ["v1"] });

  test("is what was answered: the store is asked once", async () => {
    for (let i = 0; i < 3; i += 1) {
      expect(await remembered.tag(R, "v1")).toEqual(first);
      expect(await remembered.tag(R, "v2")).toBeUndefined();
      expect(await remembered.tags(R, { limit: 5 })).toEqual(["v1"]);
      expect(await remembered.has(R)).toBe(true);
      expect((await remembered.manifest(R, first.digest))?.descriptor).toEqual(first);
      expect((await remembered.blob(R, first.digest))?.digest).toBe(first.digest);
    }
    expect(watched.asked).toEqual(["tag", "tag", "tags", "has", "manifest", "blob"]);
  });

  test("is of a list the first page only, each length by itself: what begins elsewhere is the client's text", async () => {
    await watched.store.repositories.putManifest(R, { descriptor: first }, { tags: ["v2", "v3"] });
    for (let i = 0; i < 2; i += 1) {
      expect(await remembered.tags(R, { limit: 1 })).toEqual(["v1"]);
      expect(await remembered.tags(R, { after: "", limit: 2 })).toEqual(["v1", "v2"]);
      expect(await remembered.tags(R, { after: "v1", limit: 1 })).toEqual(["v2"]);
      expect(await remembered.tags(R, { after: "v2", limit: 1 })).toEqual(["v3"]);
    }
    expect(watched.asked).toEqual(["tags", "tags", "tags", "tags", "tags", "tags"]);
  });

  test("is nothing of what another process may have changed", async () => {
    expect(await remembered.tag(R, "v1")).toEqual(first);
    await elsewhere();
    watched.version += 1;
    expect(await remembered.tag(R, "v1")).toEqual(second);
  });

  test("is nothing of a repository that was written to, and all of the others", async () => {
    await watched.store.repositories.linkBlob("team/other", first);
    await remembered.has("team/other");
    expect(await remembered.tag(R, "v1")).toEqual(first);
    await remembered.putManifest(R, { descriptor: second }, { tags: ["v1"] });
    expect(await remembered.tag(R, "v1")).toEqual(second);
    await remembered.has("team/other");
    expect(watched.asked).toEqual(["has", "tag", "putManifest", "tag"]);
  });

  test.each(["a write of ours", "a write of another process"])(
    "is no answer that was on its way during %s",
    async (whose) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      watched.gate = promise;
      const asking = remembered.tag(R, "v1");
      if (whose === "a write of ours") {
        await remembered.putManifest(R, { descriptor: second }, { tags: ["v1"] });
      } else {
        await elsewhere();
        watched.version += 1;
        await remembered.has(R);
      }
      resolve();
      expect(await asking).toEqual(first);
      expect(await remembered.tag(R, "v1")).toEqual(second);
    },
  );

  test("is not whether content is there: the disk is looked at each time (S-65)", async () => {
    expect(await remembered.blob(R, first.digest)).toBeDefined();
    expect(await remembered.manifest(R, first.digest)).toBeDefined();
    watched.vanished.add(first.digest);
    expect(await remembered.blob(R, first.digest)).toBeUndefined();
    expect(await remembered.manifest(R, first.digest)).toBeUndefined();
    watched.vanished.clear();
    expect(await remembered.blob(R, first.digest)).toBeDefined();
    expect(await remembered.manifest(R, first.digest)).toBeDefined();
  });

  test("is only so much: whoever asks for ever new names gets answers and no memory", async () => {
    await remembered.has(R);
    for (let i = 0; i < 11_000; i += 1) await remembered.tag(`guess/${i % 50}`, `v${i}`);
    watched.asked.length = 0;
    await remembered.has(R);
    expect(watched.asked).toEqual(["has"]);
  });
});

test("a manifest that vanished from the store is served neither by tag nor by digest, though its bytes are remembered", async () => {
  const store = createMemoryStore();
  let isGone = false;
  const has = async (descriptor: Descriptor) => !isGone && (await store.has(descriptor));
  const client = new PushingClient(createRegistry({ store: { ...store, has } }));
  const root = await buildImage(store, "quay.io/team/app:v1", { seed: "app" });
  const pushed = await client.image(R, "pushed");
  await client.manifest(R, "v1", pushed);
  const statuses = async () => {
    const paths = [
      ...["v1", root.digest].map((reference) => `/v2/quay.io/team/app/manifests/${reference}`),
      ...["v1", pushed.digest].map((reference) => `/v2/${R}/manifests/${reference}`),
    ];
    return Promise.all(paths.map(async (path) => (await client.send("GET", path)).status));
  };
  expect(await statuses()).toEqual([200, 200, 200, 200]);
  isGone = true;
  expect(await statuses()).toEqual([404, 404, 404, 404]);
  isGone = false;
  expect(await statuses()).toEqual([200, 200, 200, 200]);
});
