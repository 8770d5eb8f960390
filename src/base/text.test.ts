import { expect, test } from "bun:test";
import fc from "fast-check";
import { ANY_CHARACTER, FUZZ_RUNS } from "#test-support/fuzz";
import { nearest, printable, quoted } from "./text.ts";

test("printable() escapes what would move a cursor or turn the direction of text (SEC-24)", () => {
  expect(printable("a\u001b[2Jb")).toBe("a\\u001b[2Jb");
  expect(printable("a\r\nb\tc\u0000\u009b\u007f")).toBe(
    "a\\u000d\\u000ab\\u0009c\\u0000\\u009b\\u007f",
  );
  expect(printable("a\u202eb\u2066c\u200fd\u2028e\ufefff")).toBe(
    "a\\u202eb\\u2066c\\u200fd\\u2028e\\ufefff",
  );
  expect(printable("größe 漢字 👍")).toBe("größe 漢字 👍");
});

test("printable() bounds the length and says that it did", () => {
  expect(printable("abcdef", 6)).toBe("abcdef");
  expect(printable("abcdefg", 6)).toBe("abcdef…");
});

test("quoted() stands in a sentence as one thing", () => {
  expect(quoted('say "hi"')).toBe('"say \\"hi\\""');
  expect(quoted("plain")).toBe('"plain"');
});

test("printable() gives text for one line of bounded length, whatever it is given", () => {
  fc.assert(
    fc.property(fc.string({ unit: ANY_CHARACTER, maxLength: 60 }), fc.nat(40), (text, max) => {
      const shown = printable(text, max);
      expect(shown).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u);
      expect(shown.length).toBeLessThanOrEqual(max * 6 + 1);
      expect(shown.isWellFormed()).toBe(true);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

const KEYS = ["image", "images", "username", "password", "insecure"];

test("nearest() finds what a word was meant to be", () => {
  expect(nearest("iamge", KEYS)).toBe("image");
  expect(nearest("imges", KEYS)).toBe("images");
  expect(nearest("userName", KEYS)).toBe("username");
  expect(nearest("pasword", KEYS)).toBe("password");
  expect(nearest("insceure", KEYS)).toBe("insecure");
});

test("nearest() finds nothing where nothing is near", () => {
  expect(nearest("platform", KEYS)).toBeUndefined();
  expect(nearest("im", ["in", "os"])).toBeUndefined();
  expect(nearest("", KEYS)).toBeUndefined();
  expect(nearest("image", [])).toBeUndefined();
});

test("nearest() gives a word itself when it is there", () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z]{3,8}$/), { minLength: 1 }), (words) => {
      const word = words.at(-1) ?? "";
      expect(nearest(word, words)).toBe(word);
    }),
    { numRuns: 2_000 },
  );
});
