import { expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { systemDisk } from "#store";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { randomBytes } from "#test-support/images";

const SIZE = 2_000_003;
const CONTENT = randomBytes("system-file", SIZE);

async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), "dray-file-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test("however content is cut into writes, and in whatever order they come, the file holds it", async () => {
  await using folder = await newFolder();
  let files = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.oneof(
          fc.nat(SIZE),
          fc.nat(488).map((block) => block * 4096),
        ),
      ),
      fc.boolean(),
      async (cuts, isBackwards) => {
        const path = join(folder.path, String(files++));
        const file = await systemDisk.create(path);
        const ends = [...cuts.sort((a, b) => a - b), SIZE];
        const parts = ends.map((end, i) => ({ start: ends[i - 1] ?? 0, end }));
        for (const { start, end } of isBackwards ? parts.reverse() : parts) {
          await file.write(CONTENT.subarray(start, end), start);
        }
        await file.sync();
        const back = new Uint8Array(1000);
        expect(await file.read(back, SIZE - 1000)).toBe(1000);
        await file.close();
        expect(Buffer.from(back).equals(CONTENT.subarray(SIZE - 1000))).toBe(true);
        expect(Buffer.from(await readFile(path)).equals(CONTENT)).toBe(true);
        await rm(path);
      },
    ),
    { numRuns: Math.min(50, FUZZ_RUNS) },
  );
});

test("bytes that the disk cannot take past the page cache are written through it", async () => {
  await using folder = await newFolder();
  const path = join(folder.path, "file");
  const file = await systemDisk.create(path);
  // One byte beside every block in memory.
  const bytes = new Uint8Array(1024 * 1024 + 1).subarray(1);
  bytes.set(CONTENT.subarray(0, bytes.byteLength));
  await file.write(bytes, 0);
  await file.write(bytes, bytes.byteLength);
  await file.close();
  expect(Buffer.from(await readFile(path)).equals(Buffer.concat([bytes, bytes]))).toBe(true);
});

test("a file that is closed while it is written is closed after that", async () => {
  await using folder = await newFolder();
  const path = join(folder.path, "file");
  const file = await systemDisk.create(path);
  const writing = file.write(CONTENT, 0);
  await file.close();
  await writing;
  expect(Buffer.from(await readFile(path)).equals(CONTENT)).toBe(true);
});
