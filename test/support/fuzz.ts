import fc from "fast-check";

/**
 * Cases of each property of a parser: few in the gate, which every commit waits for, and ten thousand
 * in `npm test`, which sets `FUZZ_RUNS`.
 */
export const FUZZ_RUNS: number = Number(process.env["FUZZ_RUNS"] ?? 200);

/**
 * Any code point, lone surrogates too, the rare ones as often as the usual. fast-check's own `binary`
 * first makes a table of all of them, which takes each process a second.
 */
export const ANY_CHARACTER: fc.Arbitrary<string> = fc
  .oneof(fc.nat(0x7f), fc.nat(0x7ff), fc.nat(0xffff), fc.nat(0x10ffff))
  .map((codePoint) => String.fromCodePoint(codePoint));
