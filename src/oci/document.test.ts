import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { childrenOf, DESCRIPTORS_MAX, MANIFEST_BYTES_MAX, parseDocument } from "./document.ts";
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-type.ts";

const descriptor = (fill: string, extra: object = {}) => ({
  mediaType: "application/octet-stream",
  digest: `sha256:${fill.repeat(64)}`,
  size: 5,
  ...extra,
});
const MANIFEST = {
  schemaVersion: 2,
  config: descriptor("c"),
  layers: [descriptor("1"), descriptor("2")],
};
const INDEX = { schemaVersion: 2, manifests: [descriptor("a"), descriptor("b")] };

const bytesOf = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const parse = (json: unknown, contentType?: string) => parseDocument(bytesOf(json), contentType);
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
  return "no failure";
};

test.each([OCI_MANIFEST, DOCKER_MANIFEST])("parseDocument() reads an image as %s", (type) => {
  const document = parse({ ...MANIFEST, mediaType: type }, type);
  expect(document).toMatchObject({ kind: "manifest", mediaType: type, config: descriptor("c") });
  expect(childrenOf(document).map(({ digest }) => digest.at(-1))).toEqual(["c", "1", "2"]);
});

test.each([OCI_INDEX, DOCKER_MANIFEST_LIST])("parseDocument() reads an index as %s", (type) => {
  const document = parse({ ...INDEX, mediaType: type }, type);
  expect(document).toMatchObject({ kind: "index", mediaType: type });
  expect(childrenOf(document).map(({ digest }) => digest.at(-1))).toEqual(["a", "b"]);
});

test("parseDocument() reads artifacts: an empty config, no layers, a subject (C-70)", () => {
  const subject = descriptor("5");
  const json = { ...MANIFEST, layers: [], subject, artifactType: "application/x" };
  expect(parse(json, OCI_MANIFEST)).toMatchObject({
    layers: [],
    subject,
    artifactType: "application/x",
  });
  expect(parse({ ...MANIFEST, layers: null }, OCI_MANIFEST)).toMatchObject({ layers: [] });
  const withdrawn = { mediaType: OCI_ARTIFACT_MANIFEST, blobs: [descriptor("b")] };
  expect(childrenOf(parse(withdrawn, OCI_ARTIFACT_MANIFEST))).toHaveLength(1);
});

test("parseDocument() ignores parameters, and types that say nothing (C-61)", () => {
  expect(parse(INDEX, `${OCI_INDEX}; charset=utf-8`).mediaType).toBe(OCI_INDEX);
  expect(parse(INDEX, OCI_INDEX.toUpperCase()).mediaType).toBe(OCI_INDEX);
  for (const vague of [undefined, "", "application/octet-stream", "text/plain; charset=utf-8"]) {
    expect(parse(INDEX, vague).mediaType).toBe(OCI_INDEX);
    expect(parse(MANIFEST, vague).mediaType).toBe(OCI_MANIFEST);
    expect(parse({ ...MANIFEST, mediaType: DOCKER_MANIFEST }, vague).mediaType).toBe(
      DOCKER_MANIFEST,
    );
  }
});

const INVALID: readonly (readonly [why: string, json: unknown, contentType?: string])[] = [
  // one text must not be two things (C-62, SEC-7, CVE-2021-41190)
  ["index and image", { ...INDEX, ...MANIFEST }],
  ["index with a config", { ...INDEX, config: descriptor("c") }, OCI_INDEX],
  ["index with layers", { ...INDEX, layers: [] }, OCI_INDEX],
  ["image called an index", MANIFEST, OCI_INDEX],
  ["index called an image", INDEX, OCI_MANIFEST],
  ["another type inside", { ...MANIFEST, mediaType: OCI_INDEX }, OCI_MANIFEST],
  ["OCI inside, Docker outside", { ...MANIFEST, mediaType: OCI_MANIFEST }, DOCKER_MANIFEST],
  ["index by its own word", { ...MANIFEST, mediaType: OCI_INDEX }],
  // a JSON answer that is no manifest at all must not pass for an empty image
  ["nothing in it", {}],
  ["an error of the registry", { errors: [{ code: "MANIFEST_UNKNOWN" }] }, "application/json"],
  ["no config", { schemaVersion: 2, layers: [] }, OCI_MANIFEST],
  ["no object", []],
  ["null", null],
  ["a text", "text"],
  ["layers that are no list", { ...MANIFEST, layers: {} }],
  ["a layer that is none", { ...MANIFEST, layers: [null] }],
  ["a subject that is none", { ...MANIFEST, subject: {} }],
  ["an upper-case digest", { ...INDEX, manifests: [descriptor("A")] }],
  ["a size beyond 2^53", { ...INDEX, manifests: [descriptor("a", { size: 2 ** 53 })] }],
  ["too many", { ...INDEX, manifests: Array(DESCRIPTORS_MAX + 1).fill(descriptor("a")) }],
];

for (const [why, json, contentType] of INVALID) {
  test(`parseDocument() refuses ${why}`, () => {
    expect(codeOf(() => parse(json, contentType))).toBe("manifest-invalid");
  });
}

test("parseDocument() refuses Docker's schema 1 by its name (C-67)", () => {
  const json = { schemaVersion: 1, fsLayers: [] };
  const types = ["manifest.v1+json", "manifest.v1+prettyjws"];
  for (const type of types.map((name) => `application/vnd.docker.distribution.${name}`)) {
    expect(codeOf(() => parse(json, type))).toBe("manifest-schema1");
  }
  expect(codeOf(() => parse(json, "application/json"))).toBe("manifest-schema1");
});

test("parseDocument() refuses other media types by their name", () => {
  expect(codeOf(() => parse(MANIFEST, "application/vnd.example+json"))).toBe(
    "manifest-unsupported",
  );
});

test("parseDocument() shows how a text that is no JSON begins, escaped (R-15)", () => {
  const page = new TextEncoder().encode(`<html>\u001b[31m${"x".repeat(1000)}`);
  expect(() => parseDocument(page, "text/html")).toThrow(
    'it is not JSON but begins with "<html>\\u001b[31mxxx',
  );
});

test("parseDocument() survives what makes readers stumble (SEC-25)", () => {
  const text = (json: string) => () => parseDocument(new TextEncoder().encode(json));
  const deep = "[".repeat(MANIFEST_BYTES_MAX);
  expect(codeOf(text(deep))).toBe("manifest-invalid");
  expect(codeOf(text(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`))).toBe(
    "manifest-invalid",
  );
  expect(codeOf(text('{"__proto__":{"manifests":[]}}'))).toBe("manifest-invalid");
  expect(codeOf(() => parseDocument(Uint8Array.of(0xff, 0xfe)))).toBe("manifest-invalid");
  const notUtf8 = bytesOf({ ...MANIFEST, annotations: { name: "?" } });
  notUtf8[notUtf8.indexOf("?".charCodeAt(0))] = 0xff;
  expect(codeOf(() => parseDocument(notUtf8))).toBe("manifest-invalid");
  const twice = JSON.stringify(MANIFEST).replace("{", '{"config":7,"layers":7,');
  expect(text(twice)()).toEqual(parse(MANIFEST));
});

const field = fc.constantFrom(
  ...["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "blobs"],
  ...["digest", "size", "platform", "os", "architecture", "variant", "urls", "annotations"],
  ...["artifactType", "__proto__", "constructor"],
);
const leaf = fc.oneof(
  fc.constantFrom(OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, `sha256:${"a".repeat(64)}`, "linux"),
  fc.constantFrom(0, 1, 2, -1, 2 ** 53, 0.5, null, true, "", "__proto__", "constructor", "arm64"),
);
const { json: nearlyManifest } = fc.letrec((tie) => ({
  json: fc.oneof({ maxDepth: 4 }, leaf, tie("list"), tie("object"), tie("descriptor")),
  list: fc.array(tie("json"), { maxLength: 3 }),
  object: fc
    .array(fc.tuple(field, tie("json")), { maxLength: 8 })
    .map((entries) => Object.fromEntries(entries)),
  descriptor: fc
    .array(fc.tuple(field, tie("json")), { maxLength: 2 })
    .map((entries) => descriptor("a", Object.fromEntries(entries))),
}));
const contentType = fc.option(fc.constantFrom("", OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST), {
  nil: undefined,
});

test("parseDocument() gives a document or a failure, whatever the JSON", () => {
  let read = 0;
  const image = fc
    .tuple(nearlyManifest, fc.constantFrom(MANIFEST, INDEX, {}))
    .map(([json, base]) => (typeof json === "object" ? { ...base, ...json } : json));
  fc.assert(
    fc.property(image, contentType, (json, type) => {
      const code = codeOf(() => {
        for (const child of childrenOf(parse(json, type))) {
          expect(child.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
          expect(child.size).toBeWithin(0, 2 ** 53);
        }
        read += 1;
      });
      expect(code).toBeOneOf([
        ...["no failure", "manifest-invalid", "manifest-schema1", "manifest-unsupported"],
      ]);
    }),
    { numRuns: FUZZ_RUNS },
  );
  expect(read).toBeGreaterThan(FUZZ_RUNS / 20);
});

test("parseDocument() gives a document or a failure, whatever the bytes", () => {
  const valid = fc.constantFrom(bytesOf(MANIFEST), bytesOf(INDEX));
  const damaged = fc
    .tuple(valid, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }), fc.nat(500))
    .map(([bytes, changes, length]) => {
      const copy = bytes.slice(0, Math.max(length, 1));
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), contentType, (bytes, type) => {
      expect(codeOf(() => parseDocument(bytes, type))).toMatch(/^(no failure|manifest-)/);
    }),
    { numRuns: FUZZ_RUNS },
  );
});
