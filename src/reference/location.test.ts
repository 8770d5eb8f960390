import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { ANY_CHARACTER, FUZZ_RUNS } from "#test-support/fuzz";
import {
  canonicalDomain,
  contains,
  formatLocation,
  longestMatch,
  parseLocation,
  tryParseLocation,
} from "./location.ts";
import { parseReference } from "./reference.ts";

const READ: readonly (readonly [written: string, read: string])[] = [
  ["quay.io", "quay.io"],
  ["quay.io/", "quay.io"],
  ["https://quay.io/team/", "quay.io/team"],
  ["http://10.10.254.254:8000/spectro-images//", "10.10.254.254:8000/spectro-images"],
  ["oci://registry.example.com/a/b", "registry.example.com/a/b"],
  [" quay.io/team\n", "quay.io/team"],
  ["harbor:443/team", "harbor:443/team"],
  ["localhost:443", "localhost"],
  ["localhost:5000", "localhost:5000"],
  ["[2001:db8::1]:5000/team", "[2001:db8::1]:5000/team"],
  // one spelling per registry
  ["Quay.IO/team", "quay.io/team"],
  ["quay.io:443", "quay.io"],
  ["index.docker.io", "docker.io"],
  ["registry-1.docker.io/library", "docker.io/library"],
  ["https://index.docker.io/v1/", "docker.io/v1"],
];

test.each(READ)("parseLocation() reads %j as %s", (written, read) => {
  expect(formatLocation(parseLocation(written))).toBe(read);
});

const NO_LOCATIONS = [
  ...["", "/", "https://", "/team", "quay.io/Team", "quay.io//team", "quay.io/team:v1"],
  ...["quay.io/team@sha256:abc", "user:password@quay.io", "user@quay.io/team", "quay.io?x=1"],
  // these would be names on Docker Hub
  ...["harbor", "harbor/team", "Harbor", "https://harbor"],
  ...["quay.io:99999", "quay.io:port", "quay.io/../x", "qu ay.io", "*.quay.io", "quay.io/a%2fb"],
];

test.each(NO_LOCATIONS)("parseLocation() refuses %j", (text) => {
  expect(tryParseLocation(text)).toBeUndefined();
  expect(() => parseLocation(text)).toThrow("Cannot read registry");
});

test("canonicalDomain() tells apart what are different registries", () => {
  const domains = ["quay.io", "quay.io:80", "quay.io:8443", "docker.io", "docker.io.evil.com"];
  expect(domains.map(canonicalDomain)).toEqual(domains);
});

const CONTAINED: readonly (readonly [location: string, reference: string, expected: boolean])[] = [
  ["quay.io", "quay.io/a/b:v1", true],
  ["quay.io/a", "quay.io/a/b:v1", true],
  ["quay.io/a/b", "quay.io/a/b:v1", true],
  ["QUAY.io:443/a", "quay.io/a/b:v1", true],
  ["quay.io", "QUAY.io/a", true],
  ["docker.io/library", "busybox", true],
  ["registry-1.docker.io", "busybox", true],
  // whole path components (vector 7; C-34)
  ["us-docker.pkg.dev/palette-images", "us-docker.pkg.dev/palette-images-fips/x:1", false],
  ["quay.io/a/b/c", "quay.io/a/b:v1", false],
  ["quay.io/b", "quay.io/a/b:v1", false],
  // the host exactly, never a part of it (SEC-29)
  ["cr.io", "ghcr.io/a", false],
  ["ghcr.io", "ghcr.io.evil.com/a", false],
  ["127.0.0.1:5000", "victim.127.0.0.1:5000/a", false],
  ["docker.io", "docker.io.evil.com/a", false],
  ["quay.io", "quay.io:5000/a", false],
  ["quay.io:5000", "quay.io/a", false],
];

test.each(CONTAINED)("contains(%s) on %s is %p", (location, reference, expected) => {
  expect(contains(parseLocation(location), parseReference(reference))).toBe(expected);
});

test("longestMatch() takes the most specific location, the first of equals (vector 8)", () => {
  const candidates = ["a.io", "a.io/b", "a.io/b", "a.io/bc", "x.io/b/c"].map((text, i) => ({
    location: parseLocation(text),
    i,
  }));
  expect(longestMatch(candidates, parseReference("a.io/b/c:1"))?.i).toBe(1);
  expect(longestMatch(candidates.toReversed(), parseReference("a.io/b/c:1"))?.i).toBe(2);
  expect(longestMatch(candidates, parseReference("a.io/x:1"))?.i).toBe(0);
  expect(longestMatch(candidates, parseReference("b.io/x:1"))).toBeUndefined();
});

test("parseLocation() gives a location in one spelling or a failure, whatever the text", () => {
  const piece = fc.constantFrom(
    ...["a", "Z", "0", ".", "-", "_", "/", ":", "@", "://", "[", "]", " ", "\u0000", ":443"],
    ...["docker.io", "index.docker.io", "https://", "localhost", "::1", "é"],
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 10 }).map((parts) => parts.join("")),
    fc.string({ unit: ANY_CHARACTER }),
  );
  fc.assert(
    fc.property(text, (written) => {
      const location = parsedOrUndefined(written);
      if (location === undefined) return;
      expect(parseLocation(formatLocation(location))).toEqual(location);
      expect(contains(location, location)).toBe(true);
      const below = parseReference(`${formatLocation(location)}/a/b`);
      expect(below.domain).toBe(location.domain);
      expect(contains(location, below)).toBe(true);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

// Were it to try every start in turn, as /\/+$/ does on slashes, the run would be killed.
test("parseLocation() reads a long text once, whatever it is made of", () => {
  for (const part of ["a-", "a.", "a/", "/", "[", "a+"]) {
    expect(tryParseLocation(`${part.repeat(1_000_000)}!`)).toBeUndefined();
  }
});

function parsedOrUndefined(text: string) {
  try {
    return parseLocation(text);
  } catch (error) {
    if (isFailure(error, "location-invalid")) return undefined;
    throw error;
  }
}
