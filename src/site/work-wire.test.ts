import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { type FromWorker, linesOf, readLine, writeLine } from "./work-wire.ts";

/** Plain values as JSON has them, with bytes among them, and keys that look like what bytes are written as. */
const values = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.string({ unit: "binary" }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array(),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constant("$bytes"), fc.string()), tie("value"), { maxKeys: 3 }),
  ),
})).value;

const messageOf = (result: unknown) => ({ type: "done", result }) as unknown as FromWorker;

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let offset = 0;
  for (const size of sizes) {
    yield bytes.slice(offset, offset + size);
    offset += size;
  }
  yield bytes.slice(offset);
}

async function linesIn(stream: AsyncIterable<Uint8Array>, most?: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(stream, most)) lines.push(line);
  return lines;
}

const encode = (text: string) => new TextEncoder().encode(text);

test("a message comes back as it was, bytes too, and whatever keys it has", () => {
  fc.assert(
    fc.property(values, (value) => {
      const line = writeLine(messageOf(value));
      expect(line.indexOf("\n")).toBe(line.length - 1);
      expect(readLine<FromWorker>(line)).toEqual(messageOf(value));
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("an object that has the key of bytes alone stays one", () => {
  const bytes = new Uint8Array([0, 255, 10]);
  for (const $bytes of ["AAAA", ["AAAA"], [["AAAA"]], null, bytes, [bytes], { $bytes: "AAAA" }]) {
    const message = messageOf([{ $bytes }, { $bytes, more: 1 }]);
    expect(readLine<FromWorker>(writeLine(message))).toEqual(message);
  }
});

test("a buffer comes back as bytes", () => {
  const heard = readLine<FromWorker>(writeLine(messageOf(Buffer.from("ä"))));
  expect(heard).toEqual(messageOf(new Uint8Array([0xc3, 0xa4])));
});

test("what has no value is left out of a message", () => {
  expect(readLine<FromWorker>(writeLine(messageOf({ a: undefined, b: 1 })))).toEqual(
    messageOf({ b: 1 }),
  );
});

test("lines are the same wherever the stream is cut, in mid-character too", async () => {
  const texts = fc.array(fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\n", "")));
  await fc.assert(
    fc.asyncProperty(texts, fc.array(fc.nat(9)), async (lines, sizes) => {
      const bytes = encode(lines.map((line) => `${line}\n`).join(""));
      expect(await linesIn(inPieces(bytes, sizes))).toEqual(lines);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("what has no end is no line", async () => {
  expect(await linesIn(inPieces(encode("one\ntw"), [2]))).toEqual(["one"]);
});

test("a line that never ends is not taken in for good", async () => {
  let pieces = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; ; pieces += 1) yield encode("x".repeat(100));
  }
  const end = await linesIn(endless(), 1_000).catch((error: unknown) => error);
  expect(end).toBeInstanceOf(RangeError);
  expect(pieces).toBe(10);
});
