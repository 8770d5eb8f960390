import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { isFailure } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import {
  header,
  padded,
  paxRecord,
  streamOf,
  type TarSample,
  tarOf,
  withChecksum,
} from "#test-support/tar";
import { decodeName, encodeName } from "./entry-name.ts";
import { readTar, type TarEntry } from "./tar.ts";

/** An entry with its body read. */
interface ReadEntry extends Omit<TarEntry, "body"> {
  readonly content: string;
}

async function readAll(archive: Uint8Array, chunkBytes?: number): Promise<ReadEntry[]> {
  const entries: ReadEntry[] = [];
  for await (const { body, ...entry } of readTar(streamOf(archive, chunkBytes))) {
    const parts: Uint8Array[] = [];
    for await (const chunk of body) parts.push(chunk.slice());
    entries.push({ ...entry, content: Buffer.concat(parts).toString("latin1") });
  }
  return entries;
}

async function failureOf(archive: Uint8Array): Promise<string> {
  try {
    await readAll(archive);
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
      const read = await readAll(tarOf(written.map(fitting)), chunkBytes);
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
    const [entry] = await readAll(one(withChecksum(block), ...padded(Buffer.from("abc"))));
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

/** Runs a program in a folder that holds what it shall pack, and gives what it wrote to stdout. */
async function packed(command: readonly string[]): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "dray-tar-"));
  try {
    const prepare = `printf abc >file; mkdir -p ${"deep/".repeat(40)}; ln file hard; ln -s ${"t/".repeat(80)} soft
      printf x >${"n".repeat(200)}; truncate -s 10M sparse; printf middle | dd of=sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
      setfattr -n user.a -v b file 2>/dev/null || true; mkfifo fifo; touch -d '2020-02-03 04:05:06.789' file`;
    const run = Bun.spawn(["sh", "-c", `${prepare}; exec "$@"`, "sh", ...command], {
      cwd: folder,
      stdout: "pipe",
      stderr: "ignore",
    });
    return new Uint8Array(await new Response(run.stdout).arrayBuffer());
  } finally {
    await rm(folder, { recursive: true });
  }
}

const PYTHON = (format: string) => [
  "python3",
  "-c",
  `import sys,tarfile; t=tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.${format}); t.add("."); t.close()`,
];

describe("archives of other programs (left out where they are not installed)", () => {
  test.each([
    ["GNU tar, its own format", ["tar", "--format=gnu", "-cf-", "."], true],
    ["GNU tar, PAX", ["tar", "--format=posix", "--xattrs", "-cf-", "."], true],
    ["GNU tar, old sparse format", ["tar", "--format=gnu", "-Scf-", "."], true],
    ["GNU tar, sparse 0.0", ["tar", "--format=posix", "-Scf-", "--sparse-version=0.0", "."], true],
    ["GNU tar, sparse 0.1", ["tar", "--format=posix", "-Scf-", "--sparse-version=0.1", "."], true],
    ["GNU tar, sparse 1.0", ["tar", "--format=posix", "-Scf-", "--sparse-version=1.0", "."], true],
    ["bsdtar", ["bsdtar", "-cf-", "."], true],
    ["bsdtar, PAX", ["bsdtar", "--format=pax", "-cf-", "."], true],
    ["Python, PAX", PYTHON("PAX_FORMAT"), true],
    ["Python, GNU", PYTHON("GNU_FORMAT"), true],
  ])("%s", async (_, command) => {
    if (!Bun.which(command[0] ?? "")) return;
    const entries = await readAll(await packed(command));
    const find = (name: string) => entries.find(({ path }) => path.replace(/^\.\//, "") === name);
    expect(find("n".repeat(200))?.content).toBe("x");
    expect(find("soft")).toMatchObject({ type: "symlink", linkPath: "t/".repeat(80) });
    expect(find("fifo")?.type).toBe("fifo");
    const pair = [find("file"), find("hard")];
    expect(pair.map((entry) => entry?.type).sort()).toEqual(["file", "hardlink"]);
    expect(pair.find((entry) => entry?.type === "file")?.content).toBe("abc");
    const folders = entries.filter(({ type }) => type === "folder");
    expect(
      folders.some(
        ({ path }) =>
          path.endsWith(`${"deep/".repeat(39)}deep/`) || path.endsWith(`${"deep/".repeat(39)}deep`),
      ),
    ).toBe(true);
    const sparse = find("sparse");
    expect(sparse?.size).toBe(10 * 1024 * 1024);
    if (command.includes("-Scf-")) expect(sparse?.holes).toBeGreaterThan(10_000_000);
    expect(sparse?.content.length).toBe(10 * 1024 * 1024);
    expect(sparse?.content.indexOf("middle")).toBe(5_000_000);
    expect(sparse?.content.replace("middle", "").replaceAll("\0", "")).toBe("");
    expect(Math.abs((find("file") ?? find("hard"))?.mtime.seconds ?? 0)).toBeGreaterThan(1.5e9);
  });
});
