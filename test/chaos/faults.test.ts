import { expect, setDefaultTimeout, test } from "bun:test";
import type { Digest } from "#oci";
import { type BlobAnswer, LIES, MISHAPS, SPOILS } from "#test-support/chaos-registry";
import { SAMPLE_IMAGES } from "#test-support/sample-site";
import { Crossings } from "./crossings.ts";
import { type ChaosSite, checkStore, SEED, withChaosSite } from "./site.ts";

// The program waits as registries tell it to, in real time.
setDefaultTimeout(300_000);

const MIB = 1024 * 1024;

/** Of an answer that broke off: what is on its way between two programs, and in Bun's hands (measured: 64 KiB). */
const LOST_BYTES_MAX = 128 * 1024;

const BASE = { layerBytesMax: 3 * MIB, bytesPerSecond: 8 * MIB, tokenLifeMs: 2_000 };

test.each([1, 2])("a delivery comes through all mishaps in one run (%i)", async (round) => {
  const seed = `${SEED}/mishaps/${round}`;
  await withChaosSite({ ...BASE, name: "mishaps", seed, faults: MISHAPS }, async (site) => {
    await expectDone(site, 1);
  });
});

test.each([1, 2])(
  "a delivery believes no lie, and ends well within a few runs (%i)",
  async (round) => {
    const seed = `${SEED}/lies/${round}`;
    const faults = [...MISHAPS, ...LIES];
    await withChaosSite({ ...BASE, name: "lies", seed, faults }, async (site) => {
      await expectDone(site, 5);
    });
  },
);

/** Delivers until it is done; after each run the store must hold no lie, in the end everything, each byte once. */
async function expectDone({ registry, dataDir, start }: ChaosSite, runsMax: number): Promise<void> {
  const mismatched = new Set<string>();
  for (let runs = 1; ; runs += 1) {
    const { exitCode, told, digestMismatches } = await start().ended;
    for (const digest of digestMismatches) mismatched.add(digest);
    const names = await checkStore(dataDir);
    expect(registry.violations).toEqual([]);
    if (exitCode === 0) {
      expect(names).toHaveLength(SAMPLE_IMAGES.length);
      break;
    }
    expect({ exitCode, told, isLast: runs === runsMax }).toEqual({
      exitCode: 1,
      told,
      isLast: false,
    });
  }
  // Whoever takes bytes that were not asked for learns it only now, and has to begin again.
  const corrupt = registry.answers.filter(({ fault }) => fault === "corrupt");
  const blamed = new Set<string>(corrupt.map(({ digest }) => digest));
  expect([...mismatched].filter((digest) => !blamed.has(digest))).toEqual([]);
  expect(fetchedTwice(registry.answers, registry.blobs)).toEqual([]);
}

/** Blobs of which more crossed the link again than what was lost on its way and what was spoilt. */
function fetchedTwice(
  answers: readonly BlobAnswer[],
  sizes: ReadonlyMap<Digest, number>,
): readonly object[] {
  const allowed = new Map<Digest, number>();
  for (const { digest, fault, asked, start, end } of answers) {
    const size = sizes.get(digest) ?? 0;
    const isBroken = end < (asked?.end ?? size) || start > (asked?.start ?? 0);
    const spoilt = fault !== null && SPOILS.has(fault) ? size : 0;
    const lost = isBroken ? Math.min(LOST_BYTES_MAX, size) : 0;
    allowed.set(digest, (allowed.get(digest) ?? 0) + spoilt + lost);
  }
  return [...new Crossings().add(answers)].flatMap(([digest, againBytes]) => {
    const allowedBytes = allowed.get(digest) ?? 0;
    return againBytes <= allowedBytes ? [] : [{ digest, againBytes, allowedBytes }];
  });
}
