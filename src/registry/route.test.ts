import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { digestOf } from "#content";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { parseChunkRange, parseRange } from "./range.ts";
import { parseRoute } from "./route.ts";
import { WireError } from "./wire.ts";

const DIGEST = digestOf(new Uint8Array());
const UPLOAD = "0123456789abcdef0123456789abcdef";

describe("parseRoute()", () => {
  const component = fc.constantFrom(
    "a",
    "quay.io",
    "blobs",
    "manifests",
    "tags",
    "list",
    "uploads",
    "x_y",
    "a--b",
  );
  const name = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"));

  test("reads back what was asked for, whatever words a repository is named by", () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(parseRoute(`/v2/${text}/tags/list`)).toEqual({ kind: "tags", name: text });
        expect(parseRoute(`/v2/${text}/manifests/list`)).toEqual({
          kind: "manifest",
          name: text,
          reference: { tag: "list" },
        });
        expect(parseRoute(`/v2/${text}/blobs/${DIGEST}`)).toEqual({
          kind: "blob",
          name: text,
          digest: DIGEST,
        });
        expect(parseRoute(`/v2/${text}/referrers/${DIGEST}`)).toEqual({
          kind: "referrers",
          name: text,
          digest: DIGEST,
        });
        for (const end of ["", "/"]) {
          const route = { kind: "uploads", name: text } as const;
          expect(parseRoute(`/v2/${text}/blobs/uploads${end}`)).toEqual(route);
        }
        expect(parseRoute(`/v2/${text}/blobs/uploads/${UPLOAD}`)).toEqual({
          kind: "upload",
          name: text,
          id: UPLOAD,
        });
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  const strangers = [
    `/v2/a/uploads/${UPLOAD}`,
    `/v2/blobs/uploads/${UPLOAD}`,
    "/v2/blobs/uploads/",
    "/v2/a/blobs/uploads/x/y",
    "/v2/a/tags/lists",
    "/v2/a/_catalog",
    "/v2/_catalog/",
    "/v2/referrers/x",
  ];
  test.each(strangers)("knows no %s", (path) => {
    expect(() => parseRoute(path)).toThrow(WireError);
  });

  const ids = ["", "x", UPLOAD.toUpperCase(), `${UPLOAD}0`, "..", `${UPLOAD.slice(1)}.`];
  test.each(ids)("takes no %j for an upload", (id) => {
    expect(() => parseRoute(`/v2/a/blobs/uploads/${id}x`)).toThrow("no such upload");
  });

  test("answers every other path with an error for the client, and never fails", () => {
    const pieces = fc.constantFrom(
      "/",
      "v2",
      "a",
      "..",
      "%2e",
      "%2F",
      "\\",
      "blobs",
      "uploads",
      "manifests",
      "referrers",
      "_catalog",
      "sha256:",
      UPLOAD,
      "A",
      "\0",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 }))), (parts) => {
        const path = `/v2/${parts.join("")}`;
        try {
          const route = parseRoute(path);
          if ("name" in route) expect(path).toContain(route.name);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("parseChunkRange()", () => {
  test("reads both forms, and never a range that is empty or backwards", () => {
    const end = fc.nat(2 ** 31);
    fc.assert(
      fc.property(end, end, fc.constantFrom("", "bytes ", "bytes="), (a, b, unit) => {
        for (const total of ["", "/*", "/99"]) {
          const range = parseChunkRange(`${unit}${a}-${b}${total}`);
          expect(range).toEqual(a > b ? undefined : { start: a, end: b + 1 });
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("reads nothing else", () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom("-", "1-", "-1", "0--1", "0-1-2", "a-b", "1e3-9e9"),
    );
    fc.assert(
      fc.property(text, (header) => {
        if (!/^\s*(bytes[ =])?\d+-\d+(\/(\d+|\*))?\s*$/.test(header)) {
          expect(parseChunkRange(header)).toBeUndefined();
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(parseChunkRange(`0-${"9".repeat(30)}`)).toBeUndefined();
  });
});

describe("parseRange()", () => {
  test("never leads out of the content", () => {
    const header = fc.oneof(
      fc.tuple(fc.nat(30), fc.nat(30)).map(([a, b]) => `bytes=${a}-${b}`),
      fc.nat(30).map((a) => `bytes=${a}-`),
      fc.nat(30).map((a) => `bytes=-${a}`),
      fc.string(),
    );
    fc.assert(
      fc.property(header, fc.nat(20), (text, size) => {
        const range = parseRange(text, size);
        if (typeof range === "string") return;
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeGreaterThan(range.start);
        expect(range.end).toBeLessThanOrEqual(size);
      }),
    );
  });

  test("of nothing is nothing", () => {
    expect(parseRange("bytes=0-", 0)).toBe("unsatisfiable");
    expect(parseRange(null, 0)).toBe("whole");
  });
});
