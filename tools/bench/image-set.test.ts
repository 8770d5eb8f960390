import { expect, test } from "bun:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { distinctLayers, IMAGE_SETS, imagesOf, layerPieces } from "./image-set.ts";

function layerOf(bytes: number, seed = "a/0"): Buffer {
  return Buffer.concat([...layerPieces({ seed, bytes })]);
}

/** The header of the first file of a tar, as far as it matters here. */
function headerOf(tar: Buffer) {
  const field = (from: number, to: number) =>
    tar.toString("latin1", from, to).replace(/[\0 ]+$/, "");
  const sum = tar
    .subarray(0, 512)
    .reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  return {
    name: field(0, 100),
    bytes: Number.parseInt(field(124, 136), 8),
    magic: field(257, 262),
    isSumRight: Number.parseInt(field(148, 156), 8) === sum,
  };
}

test.each([1, 511, 512, 65_535, 1_048_560, 1_048_561, 3_000_000])(
  "a layer of %i bytes is a gzip of a tar of one file of that size",
  (bytes) => {
    const tar = gunzipSync(layerOf(bytes));
    expect(headerOf(tar)).toEqual({ name: "opt/a/0", bytes, magic: "ustar", isSumRight: true });
    expect(tar.byteLength).toBe(512 + Math.ceil(bytes / 512) * 512 + 1_024);
    expect(tar.subarray(512 + bytes).every((byte) => byte === 0)).toBe(true);
  },
);

test("a layer does not compress, and is the same for the same seed only", () => {
  const layer = layerOf(200_000);
  expect(gzipSync(layer).byteLength).toBeGreaterThan(200_000);
  expect(layerOf(200_000).equals(layer)).toBe(true);
  expect(layerOf(200_000, "b/0").equals(layer)).toBe(false);
});

test("images share what their groups say, and a base of one size over groups", () => {
  const images = imagesOf([
    { images: 3, layerBytes: [10, 20, 30], sharedLayers: 2 },
    { images: 2, layerBytes: [10, 40], sharedLayers: 1 },
  ]);
  expect(images.map(({ name }) => name)).toEqual([
    ...["app-0-00", "app-0-01", "app-0-02"],
    ...["app-1-00", "app-1-01"],
  ]);
  const distinct = distinctLayers(images).map(({ bytes }) => bytes);
  expect(distinct.sort()).toEqual([10, 20, 30, 30, 30, 40, 40]);
});

test("the set that speed is judged by has 82 layers of 16 MB", () => {
  const layers = distinctLayers(imagesOf(IMAGE_SETS["20x6x16"]));
  expect(layers.map(({ bytes }) => bytes)).toEqual(Array<number>(82).fill(16_000_000));
});
