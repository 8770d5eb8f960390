import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { rangeHeaders, rangeHolding, strongEtag } from "./range.ts";

const answer = (status: number, headers: Readonly<Record<string, string>>) => ({
  status,
  headers: new Headers(headers),
});

test("rangeHeaders() asks for the bytes and no others, and with a validator when there is one (C-83)", () => {
  expect(rangeHeaders({ start: 3, end: 7 }, 7, undefined)).toEqual({ Range: "bytes=3-" });
  expect(rangeHeaders({ start: 0, end: 4 }, 7, '"v1"')).toEqual({
    Range: "bytes=0-3",
    "If-Range": '"v1"',
  });
});

test("rangeHolding() takes the exact range of any content for what it is, from any of three statuses' forms", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.maxSafeNat(), { minLength: 3, maxLength: 3 }),
      fc.boolean(),
      fc.constantFrom(200, 206),
      (numbers, isTotalKnown, status) => {
        const [start = 0, end = 0, size = 0] = numbers.toSorted((a, b) => a - b);
        const total = isTotalKnown ? size : "*";
        const headers = {
          "Content-Range": `bytes ${start}-${end - 1}/${total}`,
          "Content-Length": `${end - start}`,
        };
        expect(rangeHolding(answer(status, headers), { start, end }, size)).toBe("part");
      },
    ),
  );
});

describe("rangeHolding() of bytes 3 to 7 of 10", () => {
  test.each<[number, Readonly<Record<string, string>>, string | undefined]>([
    [206, { "Content-Range": "bytes 3-6/10" }, "part"],
    [206, { "Content-Range": "bytes 3-6/*", "Content-Length": "4" }, "part"],
    [200, { "Content-Range": "bytes 3-6/10", "Content-Length": "4" }, "part"],
    [200, { "Content-Length": "10" }, "whole"],
    [200, { "Content-Range": "bytes 0-6/10" }, "unusable"],
    [206, {}, "unusable"],
    [206, { "Content-Type": "multipart/byteranges; boundary=x" }, "unusable"],
    [206, { "Content-Range": "bytes 2-6/10" }, "unusable"],
    [206, { "Content-Range": "bytes 4-6/10" }, "unusable"],
    [206, { "Content-Range": "bytes 3-5/10" }, "unusable"],
    [206, { "Content-Range": "bytes 3-9/10" }, "unusable"],
    [206, { "Content-Range": "bytes 3-6/11" }, "unusable"],
    [206, { "Content-Range": "bytes 3-6/10, bytes 3-6/10" }, "unusable"],
    [206, { "Content-Range": "bytes 3-6/10", "Content-Length": "5" }, "unusable"],
    [206, { "Content-Range": "bytes 3-6" }, "unusable"],
    [206, { "Content-Range": "bytes */10" }, "unusable"],
    [206, { "Content-Range": "items 3-6/10" }, "unusable"],
    [206, { "Content-Range": "bytes -3-6/10" }, "unusable"],
    [206, { "Content-Range": "bytes 0x3-6/10" }, "unusable"],
    [416, { "Content-Range": "bytes */10" }, "unusable"],
    [404, {}, undefined],
    [204, {}, undefined],
  ])("%d with %j is %p", (status, headers, expected) => {
    expect(rangeHolding(answer(status, headers), { start: 3, end: 7 }, 10)).toBe(
      expected as ReturnType<typeof rangeHolding>,
    );
  });
});

test.each<[string | undefined, string | undefined]>([
  ['"v1"', '"v1"'],
  [' "sha256:00"', '"sha256:00"'],
  ['W/"v1"', undefined],
  ['w/"v1"', undefined],
  ["v1", undefined],
  ['"v1', undefined],
  ['"a"b"', undefined],
  ['""', undefined],
  [`"${"x".repeat(201)}"`, undefined],
  [undefined, undefined],
])("strongEtag() of %j is %j", (header, expected) => {
  expect(strongEtag(new Headers(header === undefined ? {} : { ETag: header }))).toBe(expected);
});
