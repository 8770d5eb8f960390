import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { digestOf } from "#content";
import { parseRange } from "./range.ts";
import { parseRoute } from "./route.ts";
import { WireError } from "./wire.ts";

const DIGEST = digestOf(new Uint8Array());

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
      }),
    );
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
      "manifests",
      "sha256:",
      "A",
      "\0",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 }))), (parts) => {
        const path = `/v2/${parts.join("")}`;
        try {
          const route = parseRoute(path);
          if (route.kind !== "version") expect(path).toContain(route.name);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
    );
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
