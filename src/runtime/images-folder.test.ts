import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryStore, readImageGraph } from "#content";
import { parsePlatform } from "#oci";
import { buildImage, putJson } from "#test-support/images";
import { ImagesFolder } from "./images-folder.ts";

const { signal } = new AbortController();
const store = createMemoryStore();

let place: string;
let folder: string;
let written: string[];
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "dray-images-"));
  folder = join(place, "agent", "images");
  written = [];
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

function open(): ImagesFolder {
  return new ImagesFolder({
    folder,
    async writeArchive({ name }, path) {
      written.push(name);
      writeFileSync(path, "archive");
    },
  });
}

async function imageOf(name: string, seed = name) {
  const root = await buildImage(store, name, { seed });
  const graph = await readImageGraph(store, root, parsePlatform("linux/amd64"), { signal });
  return { name, graph };
}

test("each image is an archive of its own, and is written once", async () => {
  const images = open();
  const [a, b] = [await imageOf("docker.io/library/a:1"), await imageOf("docker.io/library/a:2")];
  expect([await images.load(a, signal), await images.load(b, signal)]).toEqual([
    "loaded",
    "loaded",
  ]);
  expect(await open().load(a, signal)).toBe("present");
  expect(written).toEqual([a.name, b.name]);
  const files = readdirSync(folder);
  expect(files).toHaveLength(2);
  for (const file of files) expect(file).toMatch(/^drayage-docker\.io_library_a_[12]-.*\.tar$/);
});

test("what a run that died was writing goes, and nothing of others that looks like it", async () => {
  const images = open();
  const [a, b] = [await imageOf("quay.io/a:1"), await imageOf("quay.io/b:1")];
  await images.load(a, signal);
  const [archive = ""] = readdirSync(folder);
  writeFileSync(join(folder, `.${archive}.dray-4711`), "half of it");
  writeFileSync(join(folder, ".rke2.tar.dray-1"), "theirs");
  await images.load(b, signal);
  await images.retain([a.name, b.name]);
  const names = readdirSync(folder);
  expect(names).toContain(".rke2.tar.dray-1");
  expect(names.filter((name) => name.includes("4711"))).toEqual([]);
  expect(names).toHaveLength(3);
});

test("what is no longer wanted goes, and what a person put there stays", async () => {
  const images = open();
  const [a, b] = [await imageOf("quay.io/a:1"), await imageOf("quay.io/b:1")];
  await images.load(a, signal);
  await images.load(b, signal);
  for (const name of ["rke2-images.tar.zst", "drayage-mine.tar", "list.txt"]) {
    writeFileSync(join(folder, name), "theirs");
  }
  const gone = await images.retain([b.name]);
  expect(gone).toHaveLength(1);
  expect(gone[0]).toStartWith("drayage-quay.io_a_1-");
  expect(readdirSync(folder).sort()).toEqual([
    ...["drayage-mine.tar", expect.stringMatching(/^drayage-quay\.io_b_1-/) as unknown as string],
    ...["list.txt", "rke2-images.tar.zst"],
  ]);
});

test("a tag that moved leaves no archive of what it stood for", async () => {
  const images = open();
  await images.load(await imageOf("quay.io/a:1", "before"), signal);
  const [before] = readdirSync(folder);
  expect(await images.load(await imageOf("quay.io/a:1", "after"), signal)).toBe("loaded");
  expect(readdirSync(folder)).toHaveLength(1);
  expect(readdirSync(folder)).not.toEqual([before as string]);
});

test("an archive that could not be written is tried again, and the old one stays till then", async () => {
  await open().load(await imageOf("quay.io/a:1", "before"), signal);
  const before = readdirSync(folder);
  const failing = new ImagesFolder({
    folder,
    writeArchive: async () => {
      throw new Error("no room");
    },
  });
  const after = await imageOf("quay.io/a:1", "after");
  await expect(failing.load(after, signal)).rejects.toThrow("no room");
  expect(readdirSync(folder)).toEqual(before);
  expect(await open().load(after, signal)).toBe("loaded");
});

test("what no container can run is left out", async () => {
  const config = await putJson(store, "application/vnd.cncf.helm.config.v1+json", {});
  const type = "application/vnd.oci.image.manifest.v1+json";
  const root = await putJson(store, type, {
    ...{ schemaVersion: 2, mediaType: type, config, layers: [] },
  });
  const graph = await readImageGraph(store, root, parsePlatform("linux/amd64"), { signal });
  expect(await open().load({ name: "quay.io/chart:1", graph }, signal)).toBe("not-runnable");
  expect(written).toEqual([]);
});

test("a folder that can't be made is told as such", async () => {
  mkdirSync(join(place, "agent"));
  writeFileSync(folder, "a file");
  await expect(open().load(await imageOf("quay.io/a:1"), signal)).rejects.toMatchObject({
    code: "images-folder-unwritable",
  });
  expect(
    await new ImagesFolder({ folder: join(place, "none"), writeArchive: async () => {} }).retain(
      [],
    ),
  ).toEqual([]);
});
