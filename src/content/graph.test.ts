import { describe, expect, test } from "bun:test";
import { isFailure } from "#base";
import {
  createMemoryStore,
  type Fetcher,
  type MemoryStore,
  platformWarning,
  readImageGraph,
  readWholeGraph,
} from "#content";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST, parsePlatform } from "#oci";
import { buildImage, putBytes, putJson } from "#test-support/images";

const signal = new AbortController().signal;
const NAME = "a.example/x:v1";
const AMD64 = parsePlatform("linux/amd64");
const ARM64 = parsePlatform("linux/arm64");

const index = (store: MemoryStore, manifests: readonly Descriptor[]) =>
  putJson(store, OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });

const image = (store: MemoryStore, seed: string, platform: string) =>
  buildImage(store, NAME, { seed, platforms: [platform] });

const graphOf = (source: Fetcher, root: Descriptor, platform = AMD64) =>
  readImageGraph(source, root, platform, { signal });

async function codeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
    return "none";
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
}

/** A source that tells what was asked of it. */
function watched(store: MemoryStore): { source: Fetcher; asked: string[] } {
  const asked: string[] = [];
  const source: Fetcher = {
    fetch(descriptor, options) {
      asked.push(descriptor.mediaType);
      return store.fetch(descriptor, options);
    },
  };
  return { source, asked };
}

describe("readImageGraph()", () => {
  test("takes a single manifest as it is: config, then layers", async () => {
    const store = createMemoryStore();
    const root = await image(store, "x", "linux/amd64");
    const graph = await graphOf(store, root, ARM64);
    expect(graph.root).toEqual(root);
    expect(graph.manifest).toEqual(root);
    expect(graph.documents.map(({ descriptor }) => descriptor)).toEqual([root]);
    expect(graph.blobs.map(({ mediaType }) => mediaType.split(".").at(-1))).toEqual([
      "v1+json",
      "tar+gzip",
      "tar+gzip",
    ]);
    expect(graph.absent).toEqual([]);
  });

  test("chooses the platform of an index and leaves the others, with the bytes unchanged", async () => {
    const store = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    const root = await buildImage(store, NAME, { seed: "x", platforms });
    const graph = await graphOf(store, root, ARM64);
    expect(graph.manifest.platform).toEqual(ARM64);
    expect(graph.absent.map(({ platform }) => platform?.architecture)).toEqual(["amd64", "arm"]);
    for (const { descriptor, bytes } of graph.documents) {
      const stored = await new Response(await store.fetch(descriptor, { signal })).bytes();
      expect(bytes).toEqual(stored);
    }
  });

  test("takes Docker's types as well", async () => {
    const store = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, NAME, { seed: "x", platforms, docker: true });
    expect((await graphOf(store, root)).blobs).toHaveLength(3);
  });

  test("asks for no blob", async () => {
    const store = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, NAME, { seed: "x", platforms });
    const { source, asked } = watched(store);
    await graphOf(source, root);
    expect(asked).toEqual([OCI_INDEX, OCI_MANIFEST]);
  });

  test("gives each blob once", async () => {
    const store = createMemoryStore();
    const layer = await putBytes(
      store,
      "application/vnd.oci.image.layer.v1.tar",
      new Uint8Array(9),
    );
    const config = await putBytes(
      store,
      "application/vnd.oci.empty.v1+json",
      new Uint8Array([123, 125]),
    );
    const root = await putJson(store, OCI_MANIFEST, {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config,
      layers: [layer, layer],
    });
    expect((await graphOf(store, root)).blobs).toEqual([config, layer]);
  });

  test("finds the platform in a nested index", async () => {
    const store = createMemoryStore();
    const amd64 = { ...(await image(store, "x", "linux/amd64")), platform: AMD64 };
    const arm64 = { ...(await image(store, "y", "linux/arm64")), platform: ARM64 };
    const nested = await index(store, [arm64]);
    const root = await index(store, [amd64, nested]);
    const graph = await graphOf(store, root, ARM64);
    expect(graph.documents.map(({ descriptor }) => descriptor)).toEqual([root, nested, arm64]);
    expect(graph.absent).toEqual([amd64]);
  });

  test("passes over attestations and over what is no image", async () => {
    const store = createMemoryStore();
    const amd64 = { ...(await image(store, "x", "linux/amd64")), platform: AMD64 };
    const attestation = {
      ...(await image(store, "y", "linux/amd64")),
      platform: { os: "unknown", architecture: "unknown" },
    };
    const odd = await putBytes(store, "application/vnd.odd", new Uint8Array(1));
    const graph = await graphOf(store, await index(store, [attestation, odd, amd64]));
    expect(graph.manifest).toEqual(amd64);
    const only = await index(store, [attestation]);
    await expect(graphOf(store, only)).rejects.toThrow("it has no platform, expected linux/amd64");
    const unsaid = await image(store, "z", "linux/amd64");
    const { source, asked } = watched(store);
    const lone = await graphOf(source, await index(store, [attestation, unsaid]));
    expect(lone.manifest).toEqual(unsaid);
    expect(asked).toEqual([OCI_INDEX, OCI_MANIFEST]);
  });

  test("looks into configs only where nothing else tells", async () => {
    const store = createMemoryStore();
    const amd64 = await image(store, "x", "linux/amd64");
    const arm64 = await image(store, "y", "linux/arm64");
    const unsaid = await index(store, [amd64, arm64]);
    const graph = await graphOf(store, unsaid, ARM64);
    expect(graph.manifest).toEqual(arm64);
    expect(graph.warnings[0]).toContain(arm64.digest);
    expect(await codeOf(graphOf(store, unsaid, parsePlatform("linux/s390x")))).toBe(
      "platform-missing",
    );
    const { source, asked } = watched(store);
    const said = await index(store, [arm64, { ...amd64, platform: AMD64 }]);
    expect((await graphOf(source, said)).manifest.digest).toBe(amd64.digest);
    const lone = await index(store, [arm64]);
    expect((await graphOf(source, lone)).manifest.digest).toBe(arm64.digest);
    expect(asked).toEqual([OCI_INDEX, OCI_MANIFEST, OCI_INDEX, OCI_MANIFEST]);
  });

  test("names the platforms that there are when none fits", async () => {
    const store = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, NAME, { seed: "x", platforms });
    await expect(graphOf(store, root, parsePlatform("linux/s390x"))).rejects.toThrow(
      `Cannot choose an image from index ${root.digest}: it has linux/amd64, linux/arm64, expected linux/s390x`,
    );
  });

  test("takes an artifact whole", async () => {
    const store = createMemoryStore();
    const config = await putJson(store, "application/vnd.cncf.helm.config.v1+json", { name: "x" });
    const chart = await putBytes(
      store,
      "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
      new Uint8Array(7),
    );
    const root = await putJson(store, OCI_MANIFEST, { schemaVersion: 2, config, layers: [chart] });
    const graph = await graphOf(store, root);
    expect(graph.blobs).toEqual([config, chart]);
    expect(await platformWarning(store, graph, AMD64, { signal })).toBeUndefined();
  });

  test("refuses foreign layers, and says which", async () => {
    const store = createMemoryStore();
    const config = await putJson(store, "application/vnd.oci.image.config.v1+json", {});
    const layer = await putBytes(
      store,
      "application/vnd.oci.image.layer.v1.tar",
      new Uint8Array(9),
    );
    for (const mediaType of [
      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ]) {
      const foreign = { ...layer, mediaType, urls: ["https://elsewhere.example/layer"] };
      const root = await putJson(store, OCI_MANIFEST, {
        schemaVersion: 2,
        config,
        layers: [layer, foreign],
      });
      expect(await codeOf(graphOf(store, root))).toBe("foreign-layer");
      await expect(graphOf(store, root)).rejects.toThrow("its layer 2");
    }
  });

  test("refuses schema 1, and documents that lie about their type", async () => {
    const store = createMemoryStore();
    const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    const schema1 = await putJson(store, type, { schemaVersion: 1 });
    expect(await codeOf(graphOf(store, schema1))).toBe("manifest-schema1");
    const root = await image(store, "x", "linux/amd64");
    const lying = await index(store, [{ ...root, mediaType: OCI_INDEX, platform: AMD64 }]);
    expect(await codeOf(graphOf(store, lying))).toBe("manifest-invalid");
  });

  test("goes eight indexes deep and no further", async () => {
    const store = createMemoryStore();
    let root: Descriptor = { ...(await image(store, "x", "linux/amd64")), platform: AMD64 };
    for (let depth = 1; depth <= 8; depth += 1) root = await index(store, [root]);
    expect((await graphOf(store, root)).documents).toHaveLength(9);
    expect(await codeOf(graphOf(store, await index(store, [root])))).toBe("graph-too-large");
  });

  test("reads a bounded number of documents, however many are listed", async () => {
    const store = createMemoryStore();
    const listed: Descriptor[] = [];
    for (let i = 0; i < 200; i += 1) {
      const config = { mediaType: "application/x", digest: `sha256:${"0".repeat(64)}`, size: 1 };
      listed.push(await putJson(store, OCI_MANIFEST, { schemaVersion: 2, config, layers: [], i }));
    }
    const { source, asked } = watched(store);
    expect(await codeOf(graphOf(source, await index(store, listed)))).toBe("graph-too-large");
    expect(asked.length).toBeLessThan(70);
  });
});

describe("platformWarning()", () => {
  test("tells when an image is made for other machines", async () => {
    const store = createMemoryStore();
    const graph = await graphOf(store, await image(store, "x", "linux/arm64"));
    expect(await platformWarning(store, graph, ARM64, { signal })).toBeUndefined();
    expect(await platformWarning(store, graph, AMD64, { signal })).toBe(
      `The image ${graph.manifest.digest} is made for linux/arm64 and this site is linux/amd64`,
    );
  });
});

describe("readWholeGraph()", () => {
  test("gives all platforms, children before what lists them, and each blob once", async () => {
    const store = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, NAME, { seed: "x", platforms, sharedBase: "base" });
    const outer = await index(store, [root]);
    const whole = await readWholeGraph(store, outer, { signal });
    const order = whole.documents.map(({ descriptor }) => descriptor.digest);
    const amd64 = await graphOf(store, root, AMD64);
    const arm64 = await graphOf(store, root, ARM64);
    expect(order).toEqual([
      ...[amd64.manifest.digest, arm64.manifest.digest],
      ...[root.digest, outer.digest],
    ]);
    const blobs = new Set([...amd64.blobs, ...arm64.blobs].map(({ digest }) => digest));
    expect(new Set(whole.blobs.map(({ digest }) => digest))).toEqual(blobs);
    expect(whole.blobs).toHaveLength(blobs.size);
    for (const { descriptor, bytes } of whole.documents) {
      expect(bytes.byteLength).toBe(descriptor.size);
    }
  });

  test("asks for no blob, and leaves out what no registry holds", async () => {
    const store = createMemoryStore();
    const config = await putJson(store, "application/vnd.oci.image.config.v1+json", {});
    const layer = await putBytes(store, "text/plain", new Uint8Array([1]));
    const mediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    const foreign = await putBytes(store, mediaType, new Uint8Array([2]));
    const layers = [layer, foreign];
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
    const root = await index(store, [await putJson(store, OCI_MANIFEST, manifest)]);
    const { source, asked } = watched(store);
    const whole = await readWholeGraph(source, root, { signal });
    expect(asked).toEqual([OCI_INDEX, OCI_MANIFEST]);
    expect(whole.blobs.map(({ digest }) => digest)).toEqual([config.digest, layer.digest]);
  });

  test("is bounded: indexes that lie ever deeper in each other", async () => {
    const store = createMemoryStore();
    let root = await image(store, "x", "linux/amd64");
    for (let depth = 0; depth < 10; depth += 1) root = await index(store, [root]);
    expect(await codeOf(readWholeGraph(store, root, { signal }))).toBe("graph-too-large");
  });
});
