import { describe, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStore, type Source } from "#content";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { codeOf, get, patient, put, type Sample, sample, sampleOf } from "./sample.ts";

/** What a source must give: it is in the store, named as one repository of a registry. */
export interface SourceContent {
  readonly store: MemoryStore;
  /** The repository, host and path: `registry.example/team/app`. Its tags are `v1` and `multi`. */
  readonly repository: string;
}

/** Opens a source for the repository, which gives what the store holds; disposing of it clears it away. */
export type OpenSource = (
  content: SourceContent,
) => Promise<{ readonly source: Source } & AsyncDisposable>;

const REPOSITORY = "registry.example/team/app";

interface World extends AsyncDisposable {
  readonly source: Source;
  readonly manifest: Sample;
  readonly index: Sample;
  readonly layer: Sample;
  readonly empty: Sample;
}

/** Declares the tests that every {@link Source} must pass. */
export function sourceConformance(name: string, openSource: OpenSource): void {
  const open = async (): Promise<World> => {
    const content = await fillStore();
    const opened = await openSource({ store: content.store, repository: REPOSITORY });
    return {
      ...content,
      source: opened.source,
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    };
  };
  describe(`${name} as a source`, () => {
    describe("resolves", () => resolveTests(open));
    describe("fetches", () => fetchTests(open));
    describe("fetches by name", () => fetchManifestTests(open));
  });
}

function resolveTests(open: () => Promise<World>): void {
  test("a tag to the descriptor of its manifest", async () => {
    await using world = await open();
    const resolved = await world.source.resolve("v1", { signal: patient });
    expect(resolved).toMatchObject(world.manifest.descriptor);
  });

  test("a tag to the descriptor of its index", async () => {
    await using world = await open();
    const resolved = await world.source.resolve("multi", { signal: patient });
    expect(resolved).toMatchObject(world.index.descriptor);
  });

  test("a digest to the descriptor of what it names", async () => {
    await using world = await open();
    const { descriptor } = world.manifest;
    const resolved = await world.source.resolve(descriptor.digest, { signal: patient });
    expect(resolved).toMatchObject(descriptor);
  });

  const unknown = ["no-such-tag", sample("no such content", 1).descriptor.digest];
  test.each(unknown)("not %s: content-missing", async (tagOrDigest) => {
    await using world = await open();
    const resolving = world.source.resolve(tagOrDigest, { signal: patient });
    expect(await codeOf(resolving)).toBe("content-missing");
  });

  test("nothing once the signal is aborted", async () => {
    await using world = await open();
    const reason = new Error("enough");
    expect(await codeOf(world.source.resolve("v1", { signal: AbortSignal.abort(reason) }))).toBe(
      reason,
    );
  });
}

function fetchTests(open: () => Promise<World>): void {
  const kinds = ["manifest", "index", "layer", "empty"] as const;
  test.each(kinds)("a %s, byte for byte", async (kind) => {
    await using world = await open();
    const { descriptor, bytes } = world[kind];
    expect(await get(world.source, descriptor)).toEqual(bytes);
  });

  test("not what is not there: content-missing", async () => {
    await using world = await open();
    const manifest: Descriptor = { ...sample("m", 9).descriptor, mediaType: OCI_MANIFEST };
    for (const descriptor of [sample("b", 9).descriptor, manifest]) {
      expect(await codeOf(get(world.source, descriptor))).toBe("content-missing");
    }
  });

  test("until the reader cancels, and again after", async () => {
    await using world = await open();
    const { descriptor, bytes } = world.layer;
    const stream = await world.source.fetch(descriptor, { signal: patient });
    const reader = stream.getReader();
    expect((await reader.read()).done).toBe(false);
    await reader.cancel();
    expect(await get(world.source, descriptor)).toEqual(bytes);
  });

  test("until the signal is aborted, with its reason", async () => {
    await using world = await open();
    const abort = new AbortController();
    const stream = await world.source.fetch(world.layer.descriptor, { signal: abort.signal });
    const reader = stream.getReader();
    expect((await reader.read()).done).toBe(false);
    const reason = new Error("enough");
    abort.abort(reason);
    const readOn = async () => {
      while (!(await reader.read()).done);
    };
    expect(await codeOf(readOn())).toBe(reason);
  });
}

function fetchManifestTests(open: () => Promise<World>): void {
  test("the manifest or index of a tag, and of a digest, byte for byte", async () => {
    await using world = await open();
    const { manifest, index, source } = world;
    const named = [
      ["v1", manifest],
      ["multi", index],
      [manifest.descriptor.digest, manifest],
    ] as const;
    for (const [tagOrDigest, expected] of named) {
      const found = await source.fetchManifest(tagOrDigest, { signal: patient });
      expect(found.descriptor).toMatchObject(expected.descriptor);
      expect(Buffer.compare(found.bytes, expected.bytes)).toBe(0);
    }
  });

  const unknown = ["no-such-tag", sample("no such content", 1).descriptor.digest];
  test.each(unknown)("not %s: content-missing", async (tagOrDigest) => {
    await using world = await open();
    const fetching = world.source.fetchManifest(tagOrDigest, { signal: patient });
    expect(await codeOf(fetching)).toBe("content-missing");
  });

  test("nothing once the signal is aborted", async () => {
    await using world = await open();
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    expect(await codeOf(world.source.fetchManifest("v1", { signal }))).toBe(reason);
  });
}

/** An image with a layer larger than any buffer on the way, an empty one, and an index over it. */
async function fillStore(): Promise<
  Omit<World, "source" | keyof AsyncDisposable> & { store: MemoryStore }
> {
  const store = createMemoryStore();
  const config = json(
    { os: "linux", architecture: "amd64" },
    "application/vnd.oci.image.config.v1+json",
  );
  const layer = sample("layer", 8 * 1024 * 1024 + 3);
  const empty = sample("empty", 0);
  const layers = [layer.descriptor, empty.descriptor];
  const manifest = json(
    { schemaVersion: 2, mediaType: OCI_MANIFEST, config: config.descriptor, layers },
    OCI_MANIFEST,
  );
  const child = { ...manifest.descriptor, platform: { os: "linux", architecture: "amd64" } };
  const index = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] }, OCI_INDEX);
  for (const content of [config, layer, empty, manifest, index]) await put(store, content);
  await store.name(`${REPOSITORY}:v1`, manifest.descriptor);
  await store.name(`${REPOSITORY}:multi`, index.descriptor);
  return { store, manifest, index, layer, empty };
}

function json(value: unknown, mediaType: string): Sample {
  return sampleOf(new TextEncoder().encode(JSON.stringify(value)), mediaType);
}
