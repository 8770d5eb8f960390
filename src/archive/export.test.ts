import { describe, expect, test } from "bun:test";
import { existsSync, linkSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createMemoryStore, digestOf, type Fetcher, readImageGraph } from "#content";
import { digestHex, OCI_INDEX, parseDocument, parsePlatform } from "#oci";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { streamOf } from "#test-support/tar";
import { exportArchive, exportLayout } from "./export.ts";
import { archiveMembers, openImageArchive } from "./image-archive.ts";
import { readTar } from "./tar.ts";
import { plainHeader } from "./tar-writer.ts";

const { signal } = new AbortController();
const NAME = "quay.io/kairos/os:v1";

async function sample() {
  const store = createMemoryStore();
  const platforms = ["linux/amd64", "linux/arm64"];
  const root = await buildImage(store, NAME, { seed: "x", layers: 3, platforms });
  const graph = await readImageGraph(store, root, parsePlatform("linux/arm64"), { signal });
  return { store, image: { name: NAME, graph } };
}

describe("an image is exported", () => {
  test("as a layout that holds one platform, whole, and nothing else", async () => {
    await using folder = await temporaryFolder();
    const { store, image } = await sample();
    const path = join(folder.path, "layout");
    const exported = await exportLayout(store, image, path, { signal });
    expect(exported).toMatchObject({ path, blobs: 5, linked: 0 });
    const index = parseDocument(readFileSync(join(path, "index.json")), OCI_INDEX);
    expect(index).toMatchObject({
      manifests: [
        {
          digest: image.graph.manifest.digest,
          annotations: { "org.opencontainers.image.ref.name": NAME },
        },
      ],
    });
    const blobs = readdirSync(join(path, "blobs/sha256"));
    for (const name of blobs) {
      expect(digestOf(readFileSync(join(path, "blobs/sha256", name)))).toBe(
        `sha256:${name}` as never,
      );
    }
    expect(blobs).toHaveLength(5);
    expect(readdirSync(folder.path)).toEqual(["layout"]);
  });

  test("with the store's own files as blobs where that can be", async () => {
    await using folder = await temporaryFolder();
    const { store, image } = await sample();
    const [, first] = image.graph.blobs;
    if (first === undefined) throw new Error("no layer");
    const bytes = await new Response(await store.fetch(first, { signal })).bytes();
    const kept = join(folder.path, digestHex(first.digest));
    writeFileSync(kept, bytes);
    const path = join(folder.path, "layout");
    const blobFile = ({ digest }: { digest: typeof first.digest }) =>
      join(folder.path, digestHex(digest));
    expect(await exportLayout(store, image, path, { signal, blobFile })).toMatchObject({
      linked: 1,
      blobs: 5,
    });
    expect(statSync(kept).nlink).toBe(2);
  });

  test("as an archive that is a layout and what docker saves at once, the same bytes each time", async () => {
    await using folder = await temporaryFolder();
    const { store, image } = await sample();
    const [one, two] = [join(folder.path, "1.tar"), join(folder.path, "2.tar")];
    await exportArchive(store, image, one, { signal });
    await exportArchive(store, image, two, { signal });
    const bytes = readFileSync(one);
    expect(readFileSync(two).equals(bytes)).toBe(true);
    const archive = await openImageArchive(() => archiveMembers(streamOf(bytes)), { signal });
    expect(archive.images).toMatchObject([
      { names: [NAME], root: { digest: image.graph.manifest.digest } },
    ]);
    const withoutIndex = async function* () {
      for await (const member of archiveMembers(streamOf(bytes)))
        if (member.path !== "index.json") yield member;
    };
    const docker = await openImageArchive(withoutIndex, { signal });
    expect(docker.images[0]?.names).toEqual([NAME]);
    const graph = await readImageGraph(
      docker,
      docker.images[0]?.root ?? image.graph.manifest,
      parsePlatform("linux/arm64"),
      { signal },
    );
    expect(graph.blobs.map(({ digest }) => digest)).toEqual(
      image.graph.blobs.map(({ digest }) => digest),
    );
    expect(readdirSync(folder.path).sort()).toEqual(["1.tar", "2.tar"]);
  });
});

describe("nothing is left of an export", () => {
  test("that meets content which is not what it should be, at whichever blob", async () => {
    const { store, image } = await sample();
    for (const bad of [image.graph.manifest, ...image.graph.blobs]) {
      await using folder = await temporaryFolder();
      const lying: Fetcher = {
        fetch: async (descriptor, options) =>
          descriptor.digest === bad.digest
            ? streamOf(new Uint8Array(descriptor.size))
            : store.fetch(descriptor, options),
      };
      const path = join(folder.path, "out");
      await expect(exportLayout(lying, image, path, { signal })).rejects.toMatchObject({
        code: "digest-mismatch",
      });
      await expect(exportArchive(lying, image, path, { signal })).rejects.toMatchObject({
        code: "digest-mismatch",
      });
      expect(readdirSync(folder.path)).toEqual([]);
    }
  });

  test("to a folder that has something in it", async () => {
    await using folder = await temporaryFolder();
    const { store, image } = await sample();
    writeFileSync(join(folder.path, "mine"), "");
    linkSync(join(folder.path, "mine"), join(folder.path, "mine-too"));
    await expect(exportLayout(store, image, folder.path, { signal })).rejects.toMatchObject({
      code: "folder-taken",
    });
    expect(readdirSync(folder.path).sort()).toEqual(["mine", "mine-too"]);
    expect(existsSync(join(folder.path, "index.json"))).toBe(false);
  });
});

test("a blob of more than octal digits can say has its size in the header", async () => {
  const size = 80 * 1024 ** 3 + 7;
  const entries = readTar(streamOf(plainHeader({ path: "blobs/sha256/x", size })));
  const { value } = await entries.next();
  expect(value).toMatchObject({ path: "blobs/sha256/x", size, type: "file" });
});
