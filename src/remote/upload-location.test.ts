import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { failureOf } from "#test-support/remote-world";
import type { Answer } from "./transport.ts";
import { readLocation, receivedBytes, withParameter } from "./upload-location.ts";

const ASKED = "https://registry.example/v2/team/app/blobs/uploads/";

function answering(location: string | undefined, url = ASKED): Answer {
  return {
    status: 202,
    headers: new Headers(location === undefined ? {} : { Location: location }),
    body: null,
    url: new URL(url),
    asked: { subject: '"registry.example/team/app"', verb: "push", host: "registry.example" },
    signal: new AbortController().signal,
  };
}

describe("a location", () => {
  const forms = [
    [
      "https://registry.example/u/1?_state=a%2fB%3D",
      "https://registry.example/u/1?_state=a%2fB%3D",
    ],
    ["/u/1?x=%7e&empty=", "https://registry.example/u/1?x=%7e&empty="],
    ["1?_state=x", "https://registry.example/v2/team/app/blobs/uploads/1?_state=x"],
    ["uploads/1", "https://registry.example/v2/team/app/blobs/uploads/uploads/1"],
    ["registry.example/u/1", "https://registry.example/u/1"],
    ["registry.example:8443/u/1", "https://registry.example:8443/u/1"],
    ["localhost:5000/u/1", "https://localhost:5000/u/1"],
    ["harbor:30003/u/1", "https://harbor:30003/u/1"],
    ["10.0.0.5:30003/u/1", "https://10.0.0.5:30003/u/1"],
    ["https://cdn.example/u/1", "https://cdn.example/u/1"],
  ] as const;
  test.each(forms)("%s leads to %s", (location, expected) => {
    expect(readLocation(answering(location)).href).toBe(expected);
  });

  test("with http of the host that was asked by https is meant as it was asked", () => {
    const href = readLocation(answering("http://registry.example/u/1?_state=a%2fb")).href;
    expect(href).toBe("https://registry.example/u/1?_state=a%2fb");
  });

  test("with http of another host stays so, for the rules of redirects to refuse", () => {
    expect(readLocation(answering("http://other.example/u")).protocol).toBe("http:");
  });

  test.each([undefined, "", "https://", "http://[::1"])(
    "that is %p is no location",
    async (text) => {
      const failure = await failureOf((async () => readLocation(answering(text)))());
      expect(failure.code).toBe("registry-protocol");
      expect(failure.message).toStartWith("Cannot push ");
    },
  );
});

test("a parameter goes behind those that are there, which stay byte for byte (property)", () => {
  const query = fc.stringMatching(/^[A-Za-z0-9%._~=&-]{1,40}[A-Za-z0-9]$/);
  fc.assert(
    fc.property(query, (text) => {
      const url = withParameter(new URL(`${ASKED}1?${text}`), "digest", "sha256:ab");
      expect(url.search).toBe(`?${text}&digest=sha256:ab`);
    }),
    { numRuns: FUZZ_RUNS },
  );
  expect(withParameter(new URL(`${ASKED}1`), "digest", "d").search).toBe("?digest=d");
  expect(withParameter(new URL(`${ASKED}1?`), "digest", "d").search).toBe("?digest=d");
});

describe("what a registry says that it has", () => {
  test.each([
    ["0-41", 42],
    ["bytes=0-41", 42],
    ["bytes 0-41", 42],
    ["0-0", 0],
    ["0-1", 2],
    ["5-41", undefined],
    ["0--1", undefined],
    ["0-9999999999999999999", undefined],
    ["junk", undefined],
    ["", undefined],
  ] as const)("%p is %p bytes", (range, bytes) => {
    expect(receivedBytes(new Headers({ Range: range }))).toBe(bytes);
  });

  test("is unknown when it says nothing", () => {
    expect(receivedBytes(new Headers())).toBeUndefined();
  });
});
