import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { ANY_CHARACTER, FUZZ_RUNS } from "#test-support/fuzz";
import { digestAlgorithm, digestHex, parseDigest, tryParseDigest } from "./digest.ts";

const HEX = "0123456789abcdef".repeat(4);

test("parseDigest() reads sha256 and sha512 (C-87)", () => {
  const sha256 = parseDigest(`sha256:${HEX}`);
  const sha512 = parseDigest(`sha512:${HEX}${HEX}`);
  expect([digestAlgorithm(sha256), digestHex(sha256)]).toEqual(["sha256", HEX]);
  expect([digestAlgorithm(sha512), digestHex(sha512)]).toEqual(["sha512", HEX + HEX]);
});

/** What must never become part of a path or a URL (SEC-5). */
const REFUSED = [
  ...["", "sha256", "sha256:", ":", HEX, `:${HEX}`, `sha256${HEX}`, `sha256-${HEX}`],
  ...[`sha256:${HEX.slice(1)}`, `sha256:${HEX}0`, `sha512:${HEX}`, `sha256:${HEX}${HEX}`],
  ...[`sha256:${HEX.toUpperCase()}`, `SHA256:${HEX}`, `sha384:${HEX}`, `md5:${HEX.slice(32)}`],
  ...["sha256:../../x", `sha256:${"../".repeat(21)}a`, `sha256:${HEX.slice(1)}/`],
  ...[`sha256:${HEX}\n`, `\nsha256:${HEX}`, ` sha256:${HEX}`, `sha256:${HEX}\u0000`],
  ...[`sha256:${HEX}:${HEX}`, `sha256:sha256:${HEX}`, `sha256:${HEX.slice(1)}g`],
  ...["constructor:a", "__proto__:a", "toString:abc"],
];

test.each(REFUSED)("parseDigest() refuses %j", (text) => {
  expect(tryParseDigest(text)).toBeUndefined();
  expect(() => parseDigest(text)).toThrow("Cannot read digest");
});

test("parseDigest() gives the text itself or a failure that shows it escaped, whatever it is", () => {
  const piece = fc.constantFrom("sha256", "sha512", ":", HEX, "a", "0", "A", "/", "\u001b", "\n");
  const text = fc.oneof(
    fc.array(piece, { maxLength: 6 }).map((parts) => parts.join("")),
    fc.string({ unit: ANY_CHARACTER }),
  );
  fc.assert(
    fc.property(text, (written) => {
      try {
        expect(parseDigest(written) as string).toBe(written);
        expect(written).toMatch(/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/);
      } catch (error) {
        if (!isFailure(error, "digest-invalid")) throw error;
        expect(error.message).not.toMatch(/\p{Cc}/u);
      }
    }),
    { numRuns: FUZZ_RUNS },
  );
});
