import { expect, test } from "bun:test";
import { diffIdsOf, parseDigest } from "#oci";

const DIGEST = `sha256:${"a".repeat(64)}`;
const read = (text: string) => diffIdsOf(new TextEncoder().encode(text));

test("the digests of unpacked layers are read in their order", () => {
  const other = `sha256:${"b".repeat(64)}`;
  const config = { os: "linux", rootfs: { type: "layers", diff_ids: [other, DIGEST] } };
  expect(read(JSON.stringify(config))).toEqual([parseDigest(other), parseDigest(DIGEST)]);
  expect(read('{"rootfs": {"diff_ids": []}}')).toEqual([]);
});

test.each([
  "",
  "{",
  "null",
  "[]",
  '{"rootfs": null}',
  '{"rootfs": {"diff_ids": null}}',
  '{"rootfs": {"diff_ids": {"0": "x"}}}',
  `{"rootfs": {"diff_ids": ["${DIGEST}", "sha256:short"]}}`,
  `{"rootfs": {"diff_ids": ["${DIGEST}", null]}}`,
])("a config that lists none, or something else among them, has none: %s", (text) => {
  expect(read(text)).toBeUndefined();
});
