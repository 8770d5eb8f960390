import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { ANY_CHARACTER, FUZZ_RUNS } from "#test-support/fuzz";
import {
  formatReference,
  parseReference,
  type Reference,
  readReference,
  repositoryName,
  tagOrDigest,
} from "./reference.ts";

const SHA256 = `sha256:${"ab".repeat(32)}`;
const SHA512 = `sha512:${"0f".repeat(64)}`;

const NORMALISED: readonly (readonly [written: string, normalised: string])[] = [
  // Docker Hub by default, and its aliases (C-150, C-153)
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1.36", "docker.io/library/busybox:1.36"],
  ["docker.io/busybox", "docker.io/library/busybox:latest"],
  ["index.docker.io/busybox", "docker.io/library/busybox:latest"],
  ["docker.io/curlimages/curl", "docker.io/curlimages/curl:latest"],
  ["index.docker.io/curlimages/curl:8", "docker.io/curlimages/curl:8"],
  ["curlimages/curl", "docker.io/curlimages/curl:latest"],
  // what makes a first component a registry (C-150)
  ["quay.io/kairos/core:v1", "quay.io/kairos/core:v1"],
  ["quay.io/core", "quay.io/core:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["localhost:5000/app", "localhost:5000/app:latest"],
  ["myhost:5000/app", "myhost:5000/app:latest"],
  ["MyHost/app", "MyHost/app:latest"],
  ["REGISTRY.example.com/app:RC1", "REGISTRY.example.com/app:RC1"],
  ["myhost/app", "docker.io/myhost/app:latest"],
  ["test.com:5000", "docker.io/library/test.com:5000"],
  ["10.0.0.5:5000/a/b/c:d", "10.0.0.5:5000/a/b/c:d"],
  [`[2001:db8::1]:5000/repo:tag@${SHA256}`, `[2001:db8::1]:5000/repo:tag@${SHA256}`],
  ["[2001:db8::1]/repo", "[2001:db8::1]/repo:latest"],
  // tag, digest, both
  [`ghcr.io/spegel-org/spegel@${SHA256}`, `ghcr.io/spegel-org/spegel@${SHA256}`],
  [`quay.io/a/b:v1@${SHA512}`, `quay.io/a/b:v1@${SHA512}`],
  // a scheme is dropped
  ["container://quay.io/a/b:v1", "quay.io/a/b:v1"],
  ["oci://registry.example.com/charts/app:1.0.0", "registry.example.com/charts/app:1.0.0"],
  [
    "container://us-docker.pkg.dev/palette-images/edge/stylus-linux-amd64:v4.6.13",
    "us-docker.pkg.dev/palette-images/edge/stylus-linux-amd64:v4.6.13",
  ],
  // path components (C-151)
  ["a.io/a_b/c__d/e-f/g---h/i.j", "a.io/a_b/c__d/e-f/g---h/i.j:latest"],
  [`a.io/${"a/".repeat(127)}a`, `a.io/${"a/".repeat(127)}a:latest`],
  ["a.io/blobs/uploads", "a.io/blobs/uploads:latest"],
  [`a.io/${"0".repeat(64)}`, `a.io/${"0".repeat(64)}:latest`],
  [`a.io/b:${"t".repeat(128)}`, `a.io/b:${"t".repeat(128)}`],
];

test.each(NORMALISED)("parseReference() brings %s to %s", (written, normalised) => {
  expect(formatReference(parseReference(written))).toBe(normalised);
});

const REFUSED: readonly (readonly [written: string, offset: number])[] = [
  ["", 0],
  ["oci://", 6],
  [":tag", 0],
  ["/app", 0],
  ["quay.io/", 8],
  ["quay.io//app", 8],
  ["quay.io/app/", 12],
  ["quay.io/App", 8],
  ["quay.io/team/App", 13],
  ["App", 0],
  ["quay.io/a..b", 8],
  ["quay.io/../etc/passwd", 8],
  ["quay.io/a___b", 8],
  ["quay.io/-a", 8],
  ["quay.io/a-", 8],
  ["quay.io/_uploads/a", 8],
  ["quay.io/a b", 8],
  ["quay.io/a%2fb", 8],
  ["quay.io/a\u0000", 8],
  ["quay.io/a\n", 8],
  ["quay.io/a:", 10],
  ["quay.io/a:-b", 10],
  ["quay.io/a:.b", 10],
  [`quay.io/a:${"t".repeat(129)}`, 10],
  ["quay.io/a@", 10],
  ["quay.io/a@sha256:abc", 10],
  [`quay.io/a@sha256:${"AB".repeat(32)}`, 10],
  [`quay.io/a@${SHA256}:tag`, 10],
  [`quay.io/a@${SHA256}@${SHA256}`, 10],
  [`quay.io/a@md5:${"a".repeat(32)}`, 10],
  [`container://quay.io/a@sha256:abc`, 22],
  ["host:port/a", 0],
  ["host:0/a", 0],
  ["host:65536/a", 0],
  ["-host.io/a", 0],
  ["ho_st.io/a", 0],
  ["user:password@quay.io/a", 14],
  ["[2001:db8::1]", 11],
  ["[fe80::1%eth0]:5000/a", 0],
  ["[2001:db8::1/a", 0],
  ["0".repeat(64), 0],
  [`a.io/${"a/".repeat(128)}a`, 5],
];

test.each(REFUSED)("readReference() says where %j goes wrong: %i", (written, offset) => {
  const problem = readReference(written);
  expect(problem).toHaveProperty("message");
  expect(problem).toHaveProperty("offset", offset);
});

test("parseReference() names the text, bounded and escaped, and what to write instead", () => {
  const failure = catchFailure(() => parseReference(`quay.io/\u001b[31m${"A".repeat(10_000)}`));
  expect(failure.code).toBe("reference-invalid");
  expect(failure.message).toStartWith('Cannot read image reference "quay.io/\\u001b[31mAAA');
  expect(failure.message.length).toBeLessThan(600);
  expect(failure.hint).toContain("quay.io/team/app:1.2.3");
});

test("tagOrDigest() prefers the digest, which can't be moved (C-152)", () => {
  expect(tagOrDigest(parseReference(`quay.io/a:v1@${SHA256}`))).toBe(SHA256);
  expect(tagOrDigest(parseReference("quay.io/a:v1"))).toBe("v1");
  expect(tagOrDigest(parseReference("quay.io/a"))).toBe("latest");
});

test("repositoryName() leaves tag and digest out", () => {
  expect(repositoryName(parseReference(`busybox:1@${SHA256}`))).toBe("docker.io/library/busybox");
});

const RUNS = { numRuns: FUZZ_RUNS };

const component = fc.stringMatching(/^[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
const domain = fc.oneof(
  fc.constantFrom("docker.io", "localhost", "QUAY.io", "[::1]:5000", "10.0.0.5:8000"),
  fc.stringMatching(/^[a-z0-9]{1,10}\.[a-z]{2,6}(:[1-9][0-9]{0,3})?$/),
);
const reference = fc
  .record({
    domain,
    path: fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/")),
    tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,30}$/)),
    digest: fc.option(fc.constantFrom(SHA256, SHA512)),
  })
  .map(({ domain, path, tag, digest }) => {
    return `${domain}/${path}${tag === null ? "" : `:${tag}`}${digest === null ? "" : `@${digest}`}`;
  });

test("parse and format are each other's inverse on every valid reference", () => {
  fc.assert(
    fc.property(reference, (written) => {
      const parsed = parseReference(written);
      expect(parseReference(formatReference(parsed))).toEqual(parsed);
      expect(formatReference(parsed)).toContain(written.replace(/^docker\.io\//, ""));
    }),
    RUNS,
  );
});

/** Text made of what references are made of, so that much of it is nearly right. */
const nearlyReference = fc
  .array(
    fc.constantFrom(
      ...["a", "B", "0", ".", "..", "_", "__", "-", "/", ":", "@", "[", "]", "%", " ", "\u0000"],
      ...["localhost", "docker.io", "quay.io", "://", SHA256, "sha256:", ":5000", "é", "\ud800"],
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

test("parseReference() gives a reference in normal form or a failure, whatever the text", () => {
  fc.assert(
    fc.property(fc.oneof(nearlyReference, fc.string({ unit: ANY_CHARACTER })), (text) => {
      const parsed = parsedOrUndefined(text);
      if (parsed === undefined) return;
      expect(parseReference(formatReference(parsed))).toEqual(parsed);
      expect(parsed.tag ?? parsed.digest).toBeDefined();
      expect(formatReference(parsed)).not.toMatch(/[\s%\\\p{Cc}]|\/\//u);
      expect(repositoryName(parsed)).not.toContain("..");
    }),
    RUNS,
  );
});

test("readReference() points into the text, whatever it is", () => {
  fc.assert(
    fc.property(nearlyReference, (text) => {
      const result = readReference(text);
      if ("domain" in result) return;
      expect(result.offset).toBeWithin(0, text.length + 1);
    }),
    RUNS,
  );
});

test("parseReference() reads a long text once, whatever it is made of", () => {
  for (const part of ["a-", "a.", "a/", "-", "a:", "[", "1."]) {
    for (const start of ["", "quay.io/", "quay.io/a:", "[", "a://"]) {
      expect(parsedOrUndefined(`${start}${part.repeat(300_000)}!`)).toBeUndefined();
    }
  }
});

function parsedOrUndefined(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (isFailure(error, "reference-invalid")) return undefined;
    throw error;
  }
}

function catchFailure(work: () => unknown) {
  try {
    work();
  } catch (error) {
    if (isFailure(error)) return error;
    throw error;
  }
  throw new Error("Expected a failure");
}
