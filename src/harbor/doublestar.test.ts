import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { matchesDoublestar } from "./doublestar.ts";

test.each([
  ["", "anything/at all", true],
  ["**", "quay.io/calico/node", true],
  ["**", "node", true],
  ["*", "node", true],
  ["*", "calico/node", false],
  ["quay.io/**", "quay.io/calico/node", true],
  ["quay.io/**", "quay.io", false],
  ["**/node", "node", true],
  ["**/node", "quay.io/calico/node", true],
  ["quay.io/**/node", "quay.io/node", true],
  ["quay.io/**/node", "quay.io/a/b/node", true],
  ["quay.io/**/node", "quay.io/a/b/nodes", false],
  ["quay.io/**/**", "quay.io/a", true],
  ["release-**", "release-1.2", true],
  ["v?.*", "v1.25", true],
  ["v?.*", "v12.25", false],
  ["v[0-9].[^0-3]", "v1.4", true],
  ["v[0-9].[!0-3]", "v1.3", false],
  ["{v,release-}1*", "release-1.2", true],
  ["{v,release-}1*", "r1", false],
  ["a\\*b", "a*b", true],
  ["a\\*b", "aXb", false],
  ["[a\\]]", "]", true],
  ["*.*.*", "1.2", false],
])("the pattern %s and the name %s: %p", (pattern, name, expected) => {
  expect(matchesDoublestar(pattern, name)).toBe(expected);
});

test.each(["[a", "[]", "[]a]", "{a", "a\\", "[a-]", "{a/b,c}", `${"a".repeat(1_001)}`])(
  "%s is no pattern, and matches nothing",
  (pattern) => {
    expect(matchesDoublestar(pattern, pattern)).toBe(false);
  },
);

const segment = fc.stringMatching(/^[a-c.]{0,3}$/);
const name = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const patternSegment = fc.oneof(
  fc.constant("**"),
  fc.stringMatching(/^[a-c.*?]{0,4}$/).filter((text) => text !== "**"),
);
const pattern = fc
  .array(patternSegment, { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"))
  .filter((text) => text !== "");

/** The same question put to the regular expressions of the language. */
function asRegExp(text: string): RegExp {
  const parts = text.split("/");
  const source = parts.map((part, i) => {
    const isLast = i === parts.length - 1;
    if (part === "**") return isLast ? "(?:[^/]*/)*[^/]*" : "(?:[^/]*/)*";
    const inner = part.replaceAll(".", "\\.").replaceAll("?", "[^/]").replaceAll(/\*+/g, "[^/]*");
    return isLast ? inner : `${inner}/`;
  });
  return new RegExp(`^${source.join("")}$`);
}

test("it agrees with the regular expression that says the same", () => {
  fc.assert(
    fc.property(pattern, name, (somePattern, someName) => {
      expect(matchesDoublestar(somePattern, someName)).toBe(asRegExp(somePattern).test(someName));
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("a name that is written as a pattern, with all its signs escaped, matches itself and only itself", () => {
  const text = fc.string({ minLength: 1, maxLength: 20 });
  const literally = (raw: string) => raw.replaceAll(/[\\*?[\]{},]/g, "\\$&");
  fc.assert(
    fc.property(text, text, (one, other) => {
      expect(matchesDoublestar(literally(one), other)).toBe(one === other);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("any text is a question with an answer, also what would take a backtracking matcher years", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (somePattern, someName) => {
      expect(matchesDoublestar(somePattern, someName)).toBeBoolean();
    }),
    { numRuns: FUZZ_RUNS },
  );
  expect(matchesDoublestar("*a".repeat(100), `${"a".repeat(5_000)}b`)).toBe(false);
  expect(matchesDoublestar("{a,b}".repeat(100), "a".repeat(100))).toBe(false);
});
