import { expect, test } from "bun:test";
import { readDescriptor } from "./descriptor.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const BASE = { mediaType: "application/octet-stream", digest: DIGEST, size: 7 };

test("readDescriptor() keeps what it knows and drops what it does not", () => {
  const value = {
    ...BASE,
    platform: { os: "Linux", architecture: "x86_64", "os.version": "10" },
    urls: ["https://example.com/a", 7],
    artifactType: "application/x",
    annotations: { a: "b", n: 1 },
    data: "e30=",
  };
  expect(readDescriptor(value, "config")).toEqual({
    ...readDescriptor(BASE, "config"),
    platform: { os: "linux", architecture: "amd64" },
    urls: ["https://example.com/a"],
    artifactType: "application/x",
    annotations: { a: "b" },
  });
});

test("readDescriptor() takes sizes from nothing to the largest safe integer", () => {
  for (const size of [0, 1, Number.MAX_SAFE_INTEGER]) {
    expect(readDescriptor({ ...BASE, size }, "config").size).toBe(size);
  }
});

const REFUSED: readonly (readonly [value: unknown, place: string])[] = [
  [null, "layers[3]"],
  ["text", "layers[3]"],
  [[BASE], "layers[3]"],
  [{ ...BASE, mediaType: undefined }, "layers[3].mediaType"],
  [{ ...BASE, mediaType: 1 }, "layers[3].mediaType"],
  [{ ...BASE, digest: undefined }, "layers[3].digest"],
  [{ ...BASE, digest: "sha256:../../x" }, "layers[3].digest"],
  [{ ...BASE, digest: DIGEST.toUpperCase() }, "layers[3].digest"],
  ...[undefined, "7", -1, 1.5, Number.NaN, 2 ** 53, 1e300, null].map(
    (size) => [{ ...BASE, size }, "layers[3].size"] as const,
  ),
];

test.each(REFUSED)("readDescriptor() refuses %j and says where (C-69)", (value, place) => {
  expect(() => readDescriptor(value, "layers[3]")).toThrow(`${place} is not valid`);
});
