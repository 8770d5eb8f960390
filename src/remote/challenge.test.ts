import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { chooseChallenge, parseChallenges } from "./challenge.ts";

const flat = (header: string) =>
  parseChallenges(header)?.map(({ scheme, parameters }) => [
    scheme,
    Object.fromEntries(parameters),
  ]);

test.each<[string, [string, Record<string, string>][]]>([
  [
    'Basic realm="a", Bearer realm="b",service="c"',
    [
      ["basic", { realm: "a" }],
      ["bearer", { realm: "b", service: "c" }],
    ],
  ],
  [
    'Bearer realm="b",service="c", Basic realm="a"',
    [
      ["bearer", { realm: "b", service: "c" }],
      ["basic", { realm: "a" }],
    ],
  ],
  [
    'Basic, Bearer realm="b"',
    [
      ["basic", {}],
      ["bearer", { realm: "b" }],
    ],
  ],
  ["Negotiate", [["negotiate", {}]]],
  [
    "Negotiate YWJj==, Basic realm=a",
    [
      ["negotiate", {}],
      ["basic", { realm: "a" }],
    ],
  ],
  ['BEARER Service=s , REALM = "r\\"\\\\q"', [["bearer", { service: "s", realm: 'r"\\q' }]]],
  [
    'Bearer scope="repository:a/b:pull,push",realm="x"',
    [["bearer", { scope: "repository:a/b:pull,push", realm: "x" }]],
  ],
  [' , Basic realm="a" , ,', [["basic", { realm: "a" }]]],
  ['Bearer realm="1",realm="2"', [["bearer", { realm: "1" }]]],
  ['Bearer realm=""', [["bearer", { realm: "" }]]],
  ["", []],
])("parseChallenges() reads %s (C-1, C-2, C-3)", (header, expected) => {
  expect(flat(header)).toEqual(expected);
});

test.each([
  'Bearer realm="a',
  'Bearer realm="a\\"',
  '"',
  "=",
  'Bearer realm="a" service="b"',
  "Basic @",
])("parseChallenges() refuses %s", (header) => {
  expect(parseChallenges(header)).toBeUndefined();
});

const token = fc.stringMatching(/^[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,11}$/);
const bareValue = fc.stringMatching(/^[A-Za-z0-9._~:/?-]{1,20}$/);
const text = fc.string({
  unit: fc.mixedCase(fc.constantFrom("a", ",", '"', "\\", " ", "=", "é", "\t")),
});
const parameters = fc.dictionary(token, fc.oneof(bareValue, text), {
  maxKeys: 4,
  noNullPrototype: true,
});
const challenges = fc.array(fc.tuple(token, parameters), { minLength: 1, maxLength: 4 });
const spaces = fc.constantFrom("", " ", "  ", "\t");

test("parseChallenges() reads back whatever was written by the grammar", () => {
  fc.assert(
    fc.property(challenges, spaces, fc.boolean(), (written, space, isBare) => {
      const format = (value: string) =>
        isBare && /^[A-Za-z0-9._~:/?-]+$/.test(value)
          ? value
          : `"${value.replace(/["\\]/g, "\\$&")}"`;
      const header = written
        .map(([scheme, values]) => {
          const pairs = Object.entries(values).map(
            ([name, value]) => `${name}${space}=${space}${format(value)}`,
          );
          return pairs.length === 0 ? scheme : `${scheme} ${pairs.join(`${space},${space}`)}`;
        })
        .join(`${space},${space}`);
      expect(flat(header)).toEqual(written);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("parseChallenges() ends for any text, also for hostile ones", () => {
  const hostile = fc.string({
    unit: fc.constantFrom("B", "=", '"', "\\", ",", " ", "é", "\n"),
    maxLength: 60,
  });
  fc.assert(
    fc.property(fc.oneof(hostile, fc.string()), (header) => {
      const read = parseChallenges(header);
      expect(read === undefined || Array.isArray(read)).toBe(true);
      chooseChallenge(header);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("chooseChallenge() takes Bearer before Basic, and neither without what it needs (C-4, C-5)", () => {
  expect(chooseChallenge('Basic realm="a", Bearer realm="b"')).toEqual({
    scheme: "bearer",
    realm: "b",
    scopes: [],
  });
  expect(chooseChallenge('Bearer service="s", Basic realm="a"')).toEqual({ scheme: "basic" });
  expect(chooseChallenge('Bearer service="s"')).toBeUndefined();
  expect(chooseChallenge('Negotiate, Digest realm="x"')).toBeUndefined();
  expect(
    chooseChallenge('Bearer realm="r",scope="a:b:pull c:d:pull",error="insufficient_scope"'),
  ).toEqual({
    scheme: "bearer",
    realm: "r",
    scopes: ["a:b:pull", "c:d:pull"],
    error: "insufficient_scope",
  });
});
