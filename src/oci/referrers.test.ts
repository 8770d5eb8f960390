import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import type { Descriptor } from "./descriptor.ts";
import { parseDigest } from "./digest.ts";
import { MANIFEST_BYTES_MAX, parseDocument } from "./document.ts";
import { OCI_MANIFEST } from "./media-type.ts";
import {
  cosignTags,
  formatReferrers,
  referrerEntry,
  referrersTag,
  subjectTagOf,
} from "./referrers.ts";

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hexDigit = fc.constantFrom(..."0123456789abcdef");
const hex = (length: number) =>
  fc.array(hexDigit, { minLength: length, maxLength: length }).map((digits) => digits.join(""));
const digest = fc
  .oneof(
    hex(64).map((text) => `sha256:${text}`),
    hex(128).map((text) => `sha512:${text}`),
  )
  .map(parseDigest);

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

test("a referrers tag is the digest with a dash, and that of a sha512 is cut off at 64 digits", () => {
  expect(referrersTag(parseDigest(`sha256:${"ab".repeat(32)}`))).toBe(`sha256-${"ab".repeat(32)}`);
  expect(referrersTag(parseDigest(`sha512:${"ab".repeat(64)}`))).toBe(`sha512-${"ab".repeat(32)}`);
});

test("cosign's tags are those of signatures, attestations and bills of materials", () => {
  const hex = "0f".repeat(32);
  expect(cosignTags(parseDigest(`sha256:${hex}`))).toEqual([
    `sha256-${hex}.sig`,
    `sha256-${hex}.att`,
    `sha256-${hex}.sbom`,
  ]);
  expect(cosignTags(parseDigest(`sha512:${hex}${hex}`))).toEqual([]);
});

test("every tag of a digest is a tag, and leads back to the digest's own", () => {
  fc.assert(
    fc.property(digest, (subject) => {
      for (const tag of [referrersTag(subject), ...cosignTags(subject)]) {
        expect(tag).toMatch(TAG);
        expect(subjectTagOf(tag)).toBe(referrersTag(subject));
      }
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test.each([
  "latest",
  "v1.sig",
  "sha256-abc.sig",
  `sha256-${"AB".repeat(32)}`,
  `sha256-${"ab".repeat(32)}.cosign`,
  `sha256-${"ab".repeat(32)}.sig.sig`,
  `x-sha256-${"ab".repeat(32)}`,
])("%s belongs to no digest", (tag) => {
  expect(subjectTagOf(tag)).toBeUndefined();
});

test("an entry says what the referrer is, by its own type, else by its config's, and its annotations", () => {
  const descriptor: Descriptor = {
    mediaType: OCI_MANIFEST,
    digest: parseDigest(`sha256:${"1".repeat(64)}`),
    size: 3,
    // What a registry says beside it is not what counts.
    artifactType: "a/lie",
  };
  const entryOf = (more: object) => {
    const config = { ...descriptor, mediaType: "the/config" };
    const bytes = encode({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config,
      layers: [],
      ...more,
    });
    return referrerEntry(descriptor, parseDocument(bytes), bytes);
  };
  expect(entryOf({ artifactType: "its/own", annotations: { a: "b", c: 7 } })).toEqual({
    ...descriptor,
    artifactType: "its/own",
    annotations: { a: "b" },
  });
  expect(entryOf({})).toEqual({ ...descriptor, artifactType: "the/config" });
  expect(entryOf({ artifactType: "" }).artifactType).toBe("the/config");
});

test("the same referrers give the same bytes, in any order and however often", () => {
  const entry = fc.record({
    mediaType: fc.constant(OCI_MANIFEST),
    digest,
    size: fc.integer({ min: 1, max: 1e6 }),
  });
  const entries = fc.uniqueArray(entry, { selector: (each) => each.digest, maxLength: 8 });
  fc.assert(
    fc.property(entries, (some) => {
      const bytes = formatReferrers(some);
      expect(formatReferrers([...some, ...some.toReversed()])).toEqual(bytes);
      const document = parseDocument(bytes);
      const listed = document.kind === "index" ? document.manifests : [];
      expect(listed.map((each) => each.digest)).toEqual(some.map((each) => each.digest).sort());
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("annotations that make the list too large to read are left out of it", () => {
  const entries = [1, 2].map((i) => ({
    mediaType: OCI_MANIFEST,
    digest: parseDigest(`sha256:${String(i).repeat(64)}`),
    size: 1,
    artifactType: "text/plain",
    annotations: { long: "x".repeat(MANIFEST_BYTES_MAX / 2) },
  }));
  const bytes = formatReferrers(entries);
  expect(bytes.byteLength).toBeLessThan(1000);
  expect(parseDocument(bytes)).toMatchObject({
    manifests: entries.map(({ annotations: _, ...rest }) => rest),
  });
});
