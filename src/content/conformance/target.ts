import { describe, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStore, type Target } from "#content";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { codeOf, get, patient, put, type Sample, sample, sampleOf } from "./sample.ts";

/** Repositories of one empty registry; disposing of it clears it away. */
export type OpenTarget = () => Promise<{ target(repository: string): Target } & AsyncDisposable>;

/** More than goes in one request, on registries that take chunks. */
const LARGE_BYTES = 17 * 1024 * 1024 + 3;

interface World extends AsyncDisposable {
  readonly target: Target;
  readonly other: Target;
  readonly store: MemoryStore;
}

/** Declares the tests that every {@link Target} must pass. */
export function targetConformance(name: string, openTarget: OpenTarget): void {
  const open = async (): Promise<World> => {
    const opened = await openTarget();
    return {
      target: opened.target("team/app"),
      other: opened.target("team/other"),
      store: createMemoryStore(),
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    };
  };
  describe(`${name} as a target`, () => {
    describe("takes a blob", () => blobTests(open));
    describe("takes a manifest", () => manifestTests(open));
    describe("keeps what refers to another", () => referrerTests(open));
  });
}

function blobTests(open: () => Promise<World>): void {
  const kinds = [
    ["empty", sample("empty", 0)],
    ["of one byte", sample("one", 1)],
    ["large", sample("large", LARGE_BYTES)],
    ["named by sha512", sample("long", 70_000, "sha512")],
    ["large and named by sha512", sample("long", LARGE_BYTES, "sha512")],
  ] as const;
  test.each(kinds)("that is %s, and gives it back", async (_, blob) => {
    await using world = await open();
    const { target, store } = world;
    await put(store, blob);
    expect(await target.has(blob.descriptor, { signal: patient })).toBe(false);
    const { told, pushed } = await push(world, blob);
    expect(pushed).toEqual({ outcome: "sent", bytesSent: blob.bytes.byteLength });
    expect(told).toBe(blob.bytes.byteLength);
    expect(await target.has(blob.descriptor, { signal: patient })).toBe(true);
    expect(await get(target, blob.descriptor)).toEqual(blob.bytes);
  });

  test("once: the second time nothing is read", async () => {
    await using world = await open();
    await put(world.store, LAYER);
    await push(world, LAYER);
    const { pushed } = await push({ ...world, store: createMemoryStore() }, LAYER);
    expect(pushed).toEqual({ outcome: "present", bytesSent: 0 });
  });

  test("from another repository of the registry, without a byte", async () => {
    await using world = await open();
    await put(world.store, LAYER);
    await push({ ...world, target: world.other }, LAYER);
    const { pushed } = await push({ ...world, store: createMemoryStore() }, LAYER, [
      world.other.repository,
    ]);
    expect(pushed).toEqual({ outcome: "mounted", bytesSent: 0 });
    expect(await get(world.target, LAYER.descriptor)).toEqual(LAYER.bytes);
  });

  test("although no other repository can give it", async () => {
    await using world = await open();
    await put(world.store, LAYER);
    const { pushed } = await push(world, LAYER, [world.other.repository, "no/such"]);
    expect(pushed.outcome).toBe("sent");
    expect(await get(world.target, LAYER.descriptor)).toEqual(LAYER.bytes);
  });

  test("not when its bytes are others", async () => {
    await using world = await open();
    const { bytes } = sample("others", LAYER.bytes.byteLength);
    const content = { fetch: async () => new Blob([new Uint8Array(bytes)]).stream() };
    const pushing = world.target.pushBlob(LAYER.descriptor, content, { signal: patient });
    expect(await codeOf(pushing)).toMatch(/digest-mismatch$/);
    expect(await world.target.has(LAYER.descriptor, { signal: patient })).toBe(false);
  });

  test("not when its source does not have it", async () => {
    await using world = await open();
    expect(await codeOf(push(world, LAYER))).toBe("content-missing");
  });

  test("until the signal is aborted, with its reason, and whole after", async () => {
    await using world = await open();
    const blob = sample("large", LARGE_BYTES);
    await put(world.store, blob);
    const abort = new AbortController();
    const reason = new Error("enough");
    const pushing = world.target.pushBlob(blob.descriptor, world.store, {
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    });
    expect(await codeOf(pushing)).toBe(reason);
    expect(await world.target.has(blob.descriptor, { signal: patient })).toBe(false);
    await push(world, blob);
    expect(await get(world.target, blob.descriptor)).toEqual(blob.bytes);
  });
}

function manifestTests(open: () => Promise<World>): void {
  test("by its digest, without a tag", async () => {
    await using world = await open();
    const manifest = await pushImage(world, "a");
    await pushDocument(world, manifest);
    const { digest } = manifest.descriptor;
    const resolved = await world.target.resolve(digest, { signal: patient });
    expect(resolved).toMatchObject(manifest.descriptor);
    expect(await get(world.target, manifest.descriptor)).toEqual(manifest.bytes);
  });

  test("by a tag, which moves", async () => {
    await using world = await open();
    for (const seed of ["a", "b", "b"]) {
      const manifest = await pushImage(world, seed);
      await pushDocument(world, manifest, "v1");
      const resolved = await world.target.resolve("v1", { signal: patient });
      expect(resolved).toMatchObject(manifest.descriptor);
    }
  });

  test("and an index over it, byte for byte", async () => {
    await using world = await open();
    const manifest = await pushImage(world, "a");
    await pushDocument(world, manifest);
    const platform = { os: "linux", architecture: "amd64" };
    const manifests = [{ ...manifest.descriptor, platform }];
    const index = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX);
    await pushDocument(world, index, "multi");
    const resolved = await world.target.resolve("multi", { signal: patient });
    expect(resolved).toMatchObject(index.descriptor);
    expect(await get(world.target, index.descriptor)).toEqual(index.bytes);
    const fetched = await world.target.fetchManifest("multi", { signal: patient });
    expect(fetched.descriptor).toMatchObject(index.descriptor);
    expect(Buffer.compare(fetched.bytes, index.bytes)).toBe(0);
  });

  test("not when a blob of it is missing, and not its tag: manifest-blob-unknown", async () => {
    await using world = await open();
    const manifest = imageOf(sample("config", 10), sample("layer", 20));
    const pushing = pushDocument(world, manifest, "v1");
    expect(await codeOf(pushing)).toBe("manifest-blob-unknown");
    const resolving = world.target.resolve("v1", { signal: patient });
    expect(await codeOf(resolving)).toBe("content-missing");
  });

  test("nothing once the signal is aborted", async () => {
    await using world = await open();
    const manifest = await pushImage(world, "a");
    const reason = new Error("enough");
    const pushing = world.target.pushManifest(manifest.descriptor, manifest.bytes, {
      signal: AbortSignal.abort(reason),
    });
    expect(await codeOf(pushing)).toBe(reason);
  });
}

function referrerTests(open: () => Promise<World>): void {
  test("in a list, each once", async () => {
    await using world = await open();
    const subject = await pushImage(world, "a");
    await pushDocument(world, subject, "v1");
    const signatures = ["s1", "s2"].map((seed) => signatureOf(subject, seed));
    for (const signature of [...signatures, ...signatures]) {
      await pushBlobs(world, signature.blobs);
      await pushDocument(world, signature.manifest);
    }
    const { digest } = subject.descriptor;
    const listed = await world.target.referrers?.(digest, { signal: patient });
    const digests = signatures.map(({ manifest }) => `${manifest.descriptor.digest}`);
    expect(listed?.map((entry) => `${entry.digest}`).sort()).toEqual(digests.sort());
  });
}

const LAYER = sample("layer", 300_000);

async function push(
  { target, store }: Pick<World, "target" | "store">,
  { descriptor }: Sample,
  mountFrom: readonly string[] = [],
) {
  let told = 0;
  const pushed = await target.pushBlob(descriptor, store, {
    signal: patient,
    mountFrom,
    onProgress: (bytes) => {
      told += bytes;
    },
  });
  return { told, pushed };
}

async function pushBlobs(world: World, blobs: readonly Sample[]): Promise<void> {
  for (const blob of blobs) {
    await put(world.store, blob);
    await push(world, blob);
  }
}

/** Pushes the blobs of an image, and gives its manifest. */
async function pushImage(world: World, seed: string): Promise<Sample> {
  const blobs = [sample(`config of ${seed}`, 100), sample(`layer of ${seed}`, 5_000)] as const;
  await pushBlobs(world, blobs);
  return imageOf(...blobs);
}

function pushDocument({ target }: World, { descriptor, bytes }: Sample, tag?: string) {
  return target.pushManifest(descriptor, bytes, {
    signal: patient,
    ...(tag === undefined ? {} : { tag }),
  });
}

function imageOf(config: Sample, layer: Sample, more: object = {}): Sample {
  const described = {
    ...config.descriptor,
    mediaType: "application/vnd.oci.image.config.v1+json",
  } satisfies Descriptor;
  return json(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: described,
      layers: [layer.descriptor],
      ...more,
    },
    OCI_MANIFEST,
  );
}

function signatureOf(subject: Sample, seed: string) {
  const blobs = [sample(`config of ${seed}`, 10), sample(`layer of ${seed}`, 50)] as const;
  return { blobs, manifest: imageOf(...blobs, { subject: subject.descriptor }) };
}

function json(value: unknown, mediaType: string): Sample {
  return sampleOf(new TextEncoder().encode(JSON.stringify(value)), mediaType);
}
