import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import {
  header,
  padded,
  paxRecord,
  type ReadEntry,
  readEntries,
  streamOf,
  type TarSample,
  tarOf,
  withChecksum,
} from "#test-support/tar";
import { decodeName, encodeName } from "./entry-name.ts";
import { readTar } from "./tar.ts";

async function failureOf(archive: Uint8Array): Promise<string> {
  try {
    await readEntries(archive);
  } catch (error) {
    if (isFailure(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "read";
}

const names = fc
  .array(
    fc.constantFrom("usr", "bin", "Főtanúsítvány", "a b", "x".repeat(90), "\udcff\udc80", "."),
    {
      minLength: 1,
      maxLength: 8,
    },
  )
  .map((parts) => parts.join("/"));

const samples: fc.Arbitrary<TarSample> = fc.record({
  path: names,
  type: fc.constantFrom("file", "folder", "symlink", "hardlink", "fifo", "character-device"),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 0xffff_ffff }),
  gid: fc.integer({ min: 0, max: 0xffff_ffff }),
  mtime: fc.record({
    seconds: fc.integer({ min: -(2 ** 31), max: 2 ** 32 }),
    nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
  }),
  linkPath: names,
  devMajor: fc.integer({ min: 0, max: 4095 }),
  devMinor: fc.integer({ min: 0, max: 0xfffff }),
  attributes: fc
    .array(
      fc.tuple(fc.constantFrom("user.a", "security.capability"), fc.uint8Array({ minLength: 1 })),
    )
    .map((pairs) => new Map(pairs)),
  body: fc.uint8Array({ maxLength: 2000 }),
});

describe("a tar archive", () => {
  test("is read as it was written, in chunks of any size", async () => {
    const archives = fc.array(samples, { maxLength: 5 });
    const sizes = fc.constantFrom(1, 7, 511, 512, 4096, 1_000_000);
    const check = async (written: TarSample[], chunkBytes: number) => {
      const read = await readEntries(tarOf(written.map(fitting)), chunkBytes);
      expect(read.map(({ offset: _, ...entry }) => entry)).toEqual(
        written.map(fitting).map(asRead),
      );
    };
    await fc.assert(fc.asyncProperty(archives, sizes, check), {
      numRuns: Math.ceil(FUZZ_RUNS / 5),
    });
  });

  test("that is anything else never hangs and never fails but by a Failure", async () => {
    const whole = tarOf([
      {
        path: "a".repeat(150),
        body: "x".repeat(700),
        attributes: new Map([["user.a", new Uint8Array(9)]]),
      },
      { path: "b", type: "symlink", linkPath: "a" },
    ]);
    const damage = fc.tuple(
      fc.array(fc.tuple(fc.nat(whole.byteLength - 1), fc.nat(255)), { maxLength: 20 }),
      fc.nat(whole.byteLength),
      fc.boolean(),
    );
    const check = async ([changes, length, isMended]: [[number, number][], number, boolean]) => {
      const archive = whole.slice(0, length);
      for (const [at, byte] of changes) if (at < length) archive[at] = byte;
      for (let at = 0; isMended && at + 512 <= length; at += 512) {
        if (archive[at + 257] === 0x75) withChecksum(archive.subarray(at, at + 512));
      }
      expect(await failureOf(archive)).toMatch(/^(read|archive-[\w-]+: )/);
    };
    await fc.assert(fc.asyncProperty(damage, check), { numRuns: FUZZ_RUNS });
    const bytes = fc.uint8Array({ maxLength: 3000 });
    const never = async (archive: Uint8Array) => {
      expect(await failureOf(archive)).toMatch(/^(read|archive-[\w-]+: )/);
    };
    await fc.assert(fc.asyncProperty(bytes, never), { numRuns: Math.ceil(FUZZ_RUNS / 5) });
  });

  test("cut off anywhere names the place, except between two entries", async () => {
    const archive = tarOf([
      { path: "a", body: "x".repeat(600) },
      { path: "b", body: "yy" },
    ]);
    const ends = new Set([0, 1536, 2560]);
    for (let length = 0; length < 2560; length += 64) {
      const told = await failureOf(archive.slice(0, length));
      expect(told).toMatch(ends.has(length) ? /^read$/ : /archive-broken: .*at byte \d+/);
    }
  });

  test("is skipped over where nobody reads a body", async () => {
    const archive = tarOf([{ path: "a", body: "x".repeat(6000) }, { path: "b" }]);
    const paths: string[] = [];
    for await (const { path } of readTar(streamOf(archive, 100))) paths.push(path);
    expect(paths).toEqual(["a", "b"]);
  });

  test("is given up when its reader leaves, and its source with it", async () => {
    let cancelled = false;
    const archive = tarOf([{ path: "a" }, { path: "b" }]);
    const source = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(archive.slice(0, 512)),
      cancel() {
        cancelled = true;
      },
    });
    for await (const _ of readTar(source)) break;
    expect(cancelled).toBe(true);
  });

  test("is read to the end of its source, which may be filled up with zeros", async () => {
    const archive = Buffer.concat([tarOf([{ path: "a" }]), new Uint8Array(9000)]);
    let bytes = 0;
    const counted = (async function* () {
      for await (const chunk of streamOf(archive, 1000)) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    })();
    for await (const _ of readTar(counted));
    expect(bytes).toBe(archive.byteLength);
  });
});

/** Links, folders and devices have no body; ustar keeps devices in seven octal digits. */
function fitting(sample: TarSample): TarSample {
  return sample.type === "file" ? sample : { ...sample, body: "" };
}

function asRead(sample: TarSample): Omit<ReadEntry, "offset"> {
  const { body = new Uint8Array(), type = "file", linkPath = "" } = sample;
  const content = Buffer.from(body as Uint8Array).toString("latin1");
  const isLink = type === "symlink" || type === "hardlink";
  return {
    ...(sample as Omit<ReadEntry, "offset">),
    ...{ body: undefined, type, linkPath: isLink ? linkPath : "", holes: 0 },
    ...{ size: content.length, content },
  } as unknown as Omit<ReadEntry, "offset">;
}

describe("headers that lie", () => {
  const one = (block: Uint8Array, ...more: Uint8Array[]) =>
    new Uint8Array(Buffer.concat([block, ...more, new Uint8Array(1024)]));

  test.each([
    ["a wrong checksum", one(header({ path: "a", flag: "0", size: 0 }).fill(7, 0, 1)), /checksum/],
    ["no tar at all", new TextEncoder().encode("<html>".repeat(200)), /archive-broken.*<html>/],
    ["an extended header of 8 GB", one(header({ path: "a", flag: "x", size: 8e9 })), /too-large/],
    ["a long name of 2 MB", one(header({ path: "a", flag: "L", size: 2e6 })), /too-large/],
    [
      "an extended header and no entry",
      one(header({ path: "a", flag: "x", size: 0 })),
      /expected its entry/,
    ],
    [
      "extended headers without end",
      new Uint8Array(
        Buffer.concat(Array.from({ length: 40 }, () => header({ path: "a", flag: "x", size: 0 }))),
      ),
      /without end/,
    ],
    [
      "a record longer than its header",
      one(header({ path: "a", flag: "x", size: 9 }), ...padded(Buffer.from("99 path=a"))),
      /LENGTH KEYWORD/,
    ],
    ["a size that is no number", pax(paxRecord("size", "1e3")), /size is "1e3"/],
    ["a NUL in a path", pax(paxRecord("path", "a\0b")), /NUL/],
    ["a path of 5000 bytes", pax(paxRecord("path", "a".repeat(5000))), /too-large.*path/],
    ["an owner beyond what Linux counts", pax(paxRecord("uid", "4294967296")), /owner/],
    ["a time that is none", pax(paxRecord("mtime", "now")), /expected seconds/],
  ])("%s is refused", async (_, archive, told) => {
    expect(await failureOf(archive)).toMatch(told);
  });

  function pax(record: Uint8Array): Uint8Array {
    const entry = header({ path: "a", flag: "0", size: 0 });
    const extended = header({ path: "p", flag: "x", size: record.byteLength });
    return one(extended, ...padded(record), entry);
  }

  test("a negative size in base 256 is refused, a large one is read", async () => {
    const block = header({ path: "a", flag: "0", size: 0 });
    block.fill(0xff, 124, 136);
    expect(await failureOf(one(withChecksum(block)))).toMatch(/negative/);
    block.fill(0, 124, 136);
    block.set([0x80], 124);
    block.set([3], 135);
    const [entry] = await readEntries(one(withChecksum(block), ...padded(Buffer.from("abc"))));
    expect(entry?.content).toBe("abc");
  });
});

describe("names", () => {
  test("of any bytes come back as they were", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(new Uint8Array(Buffer.from(encodeName(decodeName(bytes))))).toEqual(bytes);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("that are text read as text", () => {
    expect(decodeName(Buffer.from("Főtanúsítvány"))).toBe("Főtanúsítvány");
    expect(decodeName(Buffer.from([0xf0, 0x90, 0x82, 0x80]))).toBe("\u{10080}");
    expect(Buffer.from(encodeName("\u{10080}\udcff")).toString("hex")).toBe("f0908280ff");
    expect(decodeName(Buffer.from([0x61, 0xff, 0xc5, 0x91]))).toBe("a\udcffő");
  });
});
