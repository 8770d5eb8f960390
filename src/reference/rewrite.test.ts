import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { type Location, parseLocation } from "./location.ts";
import { formatReference, parseReference, type Reference } from "./reference.ts";
import { isAlreadyThere, prependRegistry, replacePrefix, replaceRegistry } from "./rewrite.ts";

const EXTERNAL = "10.10.254.254:8000/spectro-images";
const DIGEST = `sha256:${"5e".repeat(32)}`;

const move =
  (how: (reference: Reference, to: Location) => Reference) => (written: string, to: string) =>
    formatReference(how(parseReference(written), parseLocation(to)));

const REPLACED: readonly (readonly [written: string, to: string, expected: string])[] = [
  [
    "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
    EXTERNAL,
    "10.10.254.254:8000/spectro-images/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
  ],
  ["busybox", "reg.example", "reg.example/busybox:latest"],
  ["a.io/b/c/d:1", "reg.example/", "reg.example/d:1"],
  ["a.io/b/c/d:1", "docker.io", "docker.io/library/d:1"],
  [`a.io/b/c@${DIGEST}`, EXTERNAL, `${EXTERNAL}/c@${DIGEST}`],
  [`a.io/b/c:1@${DIGEST}`, EXTERNAL, `${EXTERNAL}/c:1@${DIGEST}`],
];

test.each(REPLACED)("replaceRegistry() moves %s to %s: %s", (written, to, expected) => {
  expect(move(replaceRegistry)(written, to)).toBe(expected);
});

const PREPENDED: readonly (readonly [written: string, to: string, expected: string])[] = [
  [
    "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
    EXTERNAL,
    "10.10.254.254:8000/spectro-images/quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
  ],
  ["quay.io/kairos/core:v1", `${EXTERNAL}/`, `${EXTERNAL}/quay.io/kairos/core:v1`],
  [
    "gcr.io/spectro-images-public/kube-vip/kube-vip:v0.6.3",
    "10.10.137.220:30003/spectro-images",
    "10.10.137.220:30003/spectro-images/gcr.io/spectro-images-public/kube-vip/kube-vip:v0.6.3",
  ],
  [
    `ghcr.io/spegel-org/spegel@${DIGEST}`,
    EXTERNAL,
    `${EXTERNAL}/ghcr.io/spegel-org/spegel@${DIGEST}`,
  ],
  ["busybox", EXTERNAL, `${EXTERNAL}/docker.io/library/busybox:latest`],
  ["[2001:DB8::1]:5000/a", EXTERNAL, `${EXTERNAL}/2001-db8--1_5000/a:latest`],
  ["[::1]/a", EXTERNAL, `${EXTERNAL}/0--1/a:latest`],
  ["[fe80::]/a", EXTERNAL, `${EXTERNAL}/fe80--0/a:latest`],
  ["Reg.Example:5000/a:V1", EXTERNAL, `${EXTERNAL}/reg.example_5000/a:V1`],
];

test.each(PREPENDED)("prependRegistry() puts %s below %s: %s", (written, to, expected) => {
  expect(move(prependRegistry)(written, to)).toBe(expected);
});

const MAPPED: readonly (readonly [written: string, from: string, to: string, expected: string])[] =
  [
    [
      "somedomain.com/somepath/example-repo/alpine:latest",
      "somedomain.com/somepath",
      "targetdomain.com/other/path",
      "targetdomain.com/other/path/example-repo/alpine:latest",
    ],
    ["a.io/b/c:1", "a.io", "r.io", "r.io/b/c:1"],
    ["a.io/b/c:1", "a.io", "r.io/x", "r.io/x/b/c:1"],
    ["a.io/b/c:1", "a.io/b/c", "r.io/x/y", "r.io/x/y:1"],
    ["busybox", "docker.io/library/busybox", "r.io/tools/box", "r.io/tools/box:latest"],
    [`a.io/b/c:1@${DIGEST}`, "a.io/b", "r.io", `r.io/c:1@${DIGEST}`],
  ];

test.each(MAPPED)("replacePrefix() maps %s by %s → %s to %s", (written, from, to, expected) => {
  const mapped = replacePrefix(parseReference(written), parseLocation(from), parseLocation(to));
  expect(formatReference(mapped)).toBe(expected);
});

test("isAlreadyThere() knows what need not be moved (vector 12)", () => {
  const external = parseLocation(EXTERNAL);
  expect(isAlreadyThere(parseReference(`${EXTERNAL}/core:v1`), external)).toBe(true);
  expect(isAlreadyThere(parseReference("10.10.254.254:8000/other/core:v1"), external)).toBe(false);
  expect(isAlreadyThere(parseReference("10.10.254.254/spectro-images/core:v1"), external)).toBe(
    false,
  );
});

const component = fc.stringMatching(/^[a-z0-9]{1,6}(-[a-z0-9]{1,4})?$/);
const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const host = fc.oneof(
  fc.constantFrom("docker.io", "localhost:5000", "10.0.0.5:8000", "Quay.IO", "[2001:db8::1]:5000"),
  fc.stringMatching(/^[a-z0-9]{1,6}\.io$/),
);
const suffix = fc.constantFrom("", ":v1", `@${DIGEST}`, `:v1@${DIGEST}`);
const reference = fc
  .tuple(host, path, suffix)
  .map(([domain, name, rest]) => parseReference(`${domain}/${name}${rest}`));
const location = fc
  .tuple(host, fc.option(path))
  .map(([domain, below]) => parseLocation(below === null ? domain : `${domain}/${below}`));

test("a moved name lies where it was moved to, can be read again and keeps tag and digest", () => {
  fc.assert(
    fc.property(reference, location, (from, to) => {
      for (const how of [replaceRegistry, prependRegistry]) {
        const moved = how(from, to);
        expect(isAlreadyThere(moved, to)).toBe(true);
        expect([moved.tag, moved.digest]).toEqual([from.tag, from.digest]);
        expect(parseReference(formatReference(moved))).toEqual(moved);
      }
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("prependRegistry() never gives two names one place", () => {
  fc.assert(
    fc.property(reference, reference, location, (a, b, to) => {
      const spelling = (name: Reference) =>
        formatReference({ ...name, domain: name.domain.toLowerCase() });
      const isSame = spelling(a) === spelling(b);
      const isSamePlace =
        formatReference(prependRegistry(a, to)) === formatReference(prependRegistry(b, to));
      expect(isSamePlace).toBe(isSame);
    }),
    { numRuns: FUZZ_RUNS },
  );
});
