import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { tokenEndsMs } from "./token-expiry.ts";

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const jwt = (claims: unknown) => `${encode({ alg: "none" })}.${encode(claims)}.c2ln`;

describe("tokenEndsMs()", () => {
  test("reads when a JWT ends, also between seconds and with text in any script", () => {
    expect(tokenEndsMs(jwt({ exp: 1_700_000_000 }))).toBe(1_700_000_000_000);
    expect(tokenEndsMs(jwt({ exp: 1.5, name: "Straße ≥ 1??>>" }))).toBe(1_500);
  });

  test.each([
    ["a password", "hunter2"],
    ["three words", "a.b.c"],
    ["no end", jwt({ sub: "edge" })],
    ["an end in words", jwt({ exp: "tomorrow" })],
    ["an end after all dates", jwt({ exp: 8.64e12 + 1 })],
    ["an end before all dates", jwt({ exp: -1 })],
    ["a payload that is null", jwt(null)],
    ["a payload that is a list", jwt([])],
    ["more than a header carries", jwt({ exp: 1, pad: "x".repeat(16_384) })],
  ])("gives nothing for %s", (_, token) => expect(tokenEndsMs(token)).toBeUndefined());

  test("gives a date or nothing, for whatever it is given", () => {
    const payload = fc.oneof(fc.json(), fc.string(), fc.record({ exp: fc.anything() }));
    fc.assert(
      fc.property(payload, (claims) => {
        const endsMs = tokenEndsMs(jwt(claims));
        if (endsMs !== undefined) expect(() => new Date(endsMs).toISOString()).not.toThrow();
      }),
      { numRuns: FUZZ_RUNS },
    );
    fc.assert(
      fc.property(fc.string(), (text) => void tokenEndsMs(text)),
      { numRuns: FUZZ_RUNS },
    );
  });
});
