import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { isFailure } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { streamOf } from "#test-support/tar";
import { decompress, type UnpackLimits } from "./compression.ts";

const text = "the bytes of an archive, more than once; ".repeat(5_000);
const plain = new TextEncoder().encode(text);
const half = plain.byteLength / 2;

async function read(
  bytes: Uint8Array,
  chunkBytes?: number,
  limits?: UnpackLimits,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of decompress(streamOf(bytes, chunkBytes), limits)) {
    parts.push(chunk.slice());
  }
  return Buffer.concat(parts);
}

async function failureOf(bytes: Uint8Array, limits?: UnpackLimits): Promise<string> {
  try {
    await read(bytes, 1000, limits);
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
  return "read";
}

/** A zstd frame that holds no data (RFC 8878 section 3.1.2). */
const SKIPPED = Buffer.from([0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

const PACKED: readonly (readonly [string, Uint8Array])[] = [
  ["not at all", plain],
  ["by gzip", gzipSync(plain)],
  [
    "by gzip in two members",
    Buffer.concat([gzipSync(plain.subarray(0, half)), gzipSync(plain.subarray(half))]),
  ],
  ["by zstd", zstdCompressSync(plain)],
  [
    "by zstd in two frames",
    Buffer.concat([
      zstdCompressSync(plain.subarray(0, half)),
      zstdCompressSync(plain.subarray(half)),
    ]),
  ],
  ["by zstd with frames to skip", Buffer.concat([SKIPPED, zstdCompressSync(plain), SKIPPED])],
];

describe.each(PACKED)("what is packed %s", (name, bytes) => {
  test.each([1, 100, 1_000_000])("is unpacked, in chunks of %i", async (chunkBytes) => {
    const few = chunkBytes === 1 && bytes.byteLength > 10_000 ? 3 : chunkBytes;
    expect((await read(bytes, few)).equals(plain)).toBe(true);
  });

  test.skipIf(name === "not at all")("and cut off anywhere is damaged", async () => {
    for (const length of [6, 20, half, bytes.byteLength - 12, bytes.byteLength - 1]) {
      if (length >= bytes.byteLength || name.includes("skip")) continue;
      // Exactly one of two parts is a whole.
      if (length === half) continue;
      expect(await failureOf(bytes.subarray(0, length))).toBe("archive-broken");
    }
  });

  test("and damaged is never taken for whole", async () => {
    if (name === "not at all") return;
    const check = async (at: number, bit: number) => {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
      const told = await failureOf(damaged).catch((error: unknown) => {
        throw error;
      });
      expect(["read", "archive-broken", "archive-unsupported"]).toContain(told);
    };
    const damage = fc.asyncProperty(fc.nat(bytes.byteLength - 1), fc.nat(7), check);
    await fc.assert(damage, { numRuns: Math.ceil(FUZZ_RUNS / 20) });
  });
});

describe("an archive that is made to fill a disk", () => {
  const zeros = new Uint8Array(4_000_000);

  test.each([
    ["gzip", gzipSync(zeros)],
    ["zstd", zstdCompressSync(zeros)],
    ["nothing", zeros],
  ])("is stopped at the limit, packed by %s", async (_, bytes) => {
    expect(await failureOf(bytes, { bytesMax: 3_999_999, ratioMax: 1e9 })).toBe(
      "archive-too-large",
    );
    expect(await failureOf(bytes, { bytesMax: 4_000_000, ratioMax: 1e9 })).toBe("read");
  });
});

test.each([
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ["bzip2", [0x42, 0x5a, 0x68, 0x39, 0x31, 0x41]],
])("%s is named and refused", async (_, start) => {
  expect(await failureOf(Uint8Array.from(start))).toBe("archive-unsupported");
});

test("nothing at all is nothing", async () => {
  expect((await read(new Uint8Array())).byteLength).toBe(0);
});

test.each([
  ["gzip", gzipSync(plain)],
  ["not at all", plain],
] as const)("chunks stay with whoever gave them: packed by %s", async (_, packed) => {
  const chunks = [...Array(Math.ceil(packed.byteLength / 100)).keys()].map(
    (i) => new Uint8Array(packed.subarray(100 * i, 100 * (i + 1))),
  );
  const sizes = chunks.map(({ byteLength }) => byteLength);
  async function* given() {
    yield* chunks;
  }
  for await (const _ of decompress(given()));
  expect(chunks.map(({ byteLength }) => byteLength)).toEqual(sizes);
});

test("a chunk may be gone when the next is asked for", async () => {
  const packed = gzipSync(plain);
  async function* given() {
    for (let at = 0; at < packed.byteLength; at += 3) {
      const chunk = new Uint8Array(packed.subarray(at, at + 3));
      yield chunk;
      chunk.fill(0);
    }
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompress(given())) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(plain)).toBe(true);
});

test("what the source fails with is what is told", async () => {
  const broken = new Error("the link is down");
  const packed = gzipSync(plain);
  let pulls = 0;
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulls += 1;
      if (pulls === 1) controller.enqueue(packed.subarray(0, 100));
      else controller.error(broken);
    },
  });
  const reading = (async () => {
    for await (const _ of decompress(source));
  })();
  await expect(reading).rejects.toBe(broken);
});
