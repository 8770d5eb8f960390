import { expect, setDefaultTimeout, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompress } from "#archive";
import { isFailure } from "#base";
import { streamOf } from "#test-support/tar";

// Hundreds of megabytes are unpacked.
setDefaultTimeout(60_000);

const MB = 1_000_000;

/** How many bytes came of an archive, and why no more did. */
async function unpack(bytes: Uint8Array, ...limits: Parameters<typeof decompress>[1][]) {
  let unpacked = 0;
  try {
    for await (const { byteLength } of decompress(streamOf(bytes), ...limits)) {
      unpacked += byteLength;
    }
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { unpacked, code: error.code };
  }
  return { unpacked, code: undefined };
}

test("an archive of which too much comes is stopped before it has filled the disk", async () => {
  const frame = zstdCompressSync(new Uint8Array(4 * MB));
  const bomb = Buffer.concat(Array.from({ length: 75 }, () => frame));
  const { unpacked, code } = await unpack(bomb);
  expect(code).toBe("archive-too-large");
  expect(unpacked).toBeLessThan(280 * MB);
  const patient = await unpack(bomb, { bytesMax: 1e12, ratioMax: 1e9 });
  expect(patient).toEqual({ unpacked: 300 * MB, code: undefined });
});

test("gzip as tight as it can be packed is no bomb", async () => {
  const packed = gzipSync(new Uint8Array(270 * MB));
  expect(await unpack(packed)).toEqual({ unpacked: 270 * MB, code: undefined });
});
