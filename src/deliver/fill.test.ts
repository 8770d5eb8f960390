import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base";
import {
  type ByteRange,
  bytesIn,
  contentMissing,
  createMemoryStore,
  digestOf,
  type Fetcher,
} from "#content";
import type { Descriptor } from "#oci";
import { fill, type Lanes } from "./fill.ts";

const KIB = 1024;
const signal = new AbortController().signal;

function contentOf(sizeBytes: number): { bytes: Uint8Array<ArrayBuffer>; blob: Descriptor } {
  const bytes = new Uint8Array(sizeBytes).map((_, i) => (i * 31 + (i >> 8)) & 255);
  return {
    bytes,
    blob: { mediaType: "application/octet-stream", digest: digestOf(bytes), size: sizeBytes },
  };
}

const RESET = new Failure({
  code: "registry-unreachable",
  message: "Cannot fetch it: reset",
  hint: "Wait",
  transient: true,
});

const IGNORED = new Failure({ code: "range-ignored", message: "Cannot fetch it", hint: "Don't" });

interface Scripted {
  /** After how many bytes the n-th connection (from 0) is cut. */
  readonly cutAfter?: (connection: number) => number | undefined;
  readonly servesParts?: boolean;
  readonly chunkBytes?: number;
}

/** A registry with one blob, which notes what it was asked and how much it sent. */
function registryOf(bytes: Uint8Array<ArrayBuffer>, script: Scripted = {}) {
  const { cutAfter = () => undefined, servesParts = true, chunkBytes = 16 * KIB } = script;
  const asked: ByteRange[] = [];
  const seen = { asked, bytesSent: 0, open: 0, openMax: 0 };
  const fetcher: Fetcher = {
    async fetch({ size }, { signal, range = { start: 0, end: size } }) {
      const connection = asked.length;
      asked.push(range);
      if (range.start >= range.end) throw contentMissing(contentOf(0).blob);
      if (!servesParts && range.end < size) throw IGNORED;
      const cutAt = range.start + (cutAfter(connection) ?? Number.POSITIVE_INFINITY);
      let offset = range.start;
      seen.open += 1;
      seen.openMax = Math.max(seen.openMax, seen.open);
      const end = () => {
        seen.open -= 1;
      };
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
            if (signal.aborted || offset >= cutAt) {
              end();
              return controller.error(signal.aborted ? signal.reason : RESET);
            }
            if (offset >= range.end) {
              end();
              return controller.close();
            }
            const next = Math.min(offset + chunkBytes, range.end, cutAt);
            controller.enqueue(bytes.slice(offset, next));
            seen.bytesSent += next - offset;
            offset = next;
          },
          cancel: end,
        },
        { highWaterMark: 0 },
      );
    },
  };
  return { fetcher, ...seen, seen };
}

function lanesOf(
  max: number,
  requestBytesMax = Number.POSITIVE_INFINITY,
  firstLanes = 1,
): Lanes & { refused: number } {
  const lanes = {
    rangeBytesMin: 64 * KIB,
    firstLanes,
    get requestBytesMax() {
      return lanes.refused === 0 ? requestBytesMax : Number.POSITIVE_INFINITY;
    },
    refused: 0,
    wantsMore: (count: number) => lanes.refused === 0 && count < max,
    runSpare: (task: () => Promise<void>) => task(),
    refuse() {
      lanes.refused += 1;
    },
  };
  return lanes;
}

async function fillStore(
  content: { bytes: Uint8Array<ArrayBuffer>; blob: Descriptor },
  script: Scripted,
  max: number,
  have: readonly ByteRange[] = [],
  requestBytesMax = Number.POSITIVE_INFINITY,
  firstLanes = 1,
) {
  const { bytes, blob } = content;
  const store = createMemoryStore();
  const registry = registryOf(bytes, script);
  const lanes = lanesOf(max, requestBytesMax, firstLanes);
  let bytesArrived = 0;
  let resumes = 0;
  await using ingest = await store.ingest(blob);
  for (const { start, end } of have) await ingest.write(bytes.subarray(start, end), start);
  const missingBytes = bytesIn(ingest.missing);
  await fill({
    blob,
    ingest,
    fetcher: registry.fetcher,
    signal,
    onBytes: (count) => {
      bytesArrived += count;
    },
    onResume: () => {
      resumes += 1;
    },
    lanes,
  });
  expect(registry.seen.open).toBe(0);
  await ingest.commit();
  expect(await store.has(blob)).toBe(true);
  return { registry: registry.seen, lanes, bytesArrived, resumes, missingBytes };
}

describe("fill()", () => {
  test("asks for all of it in one piece when nothing is here", async () => {
    const content = contentOf(500 * KIB);
    const { registry, bytesArrived } = await fillStore(content, {}, 1);
    expect(registry.asked).toEqual([{ start: 0, end: 500 * KIB }]);
    expect(bytesArrived).toBe(500 * KIB);
  });

  test("asks for the gaps and nothing else", async () => {
    const content = contentOf(500 * KIB);
    const have = [
      { start: 0, end: 100 * KIB },
      { start: 200 * KIB, end: 300 * KIB },
    ];
    const { registry, bytesArrived } = await fillStore(content, {}, 1, have);
    expect(registry.asked).toEqual([
      { start: 100 * KIB, end: 200 * KIB },
      { start: 300 * KIB, end: 500 * KIB },
    ]);
    expect([bytesArrived, registry.bytesSent]).toEqual([300 * KIB, 300 * KIB]);
  });

  test("reads past a gap's end where parts are not served, and asks for none again", async () => {
    const content = contentOf(500 * KIB);
    const have = [{ start: 100 * KIB, end: 200 * KIB }];
    const { registry, lanes, bytesArrived } = await fillStore(
      content,
      { servesParts: false },
      1,
      have,
    );
    expect(registry.asked.map(({ start, end }) => [start, end])).toEqual([
      [0, 100 * KIB],
      [0, 500 * KIB],
      [200 * KIB, 500 * KIB],
    ]);
    expect([bytesArrived, lanes.refused]).toEqual([400 * KIB, 1]);
  });

  test("fetches over several connections, and no byte twice", async () => {
    const content = contentOf(4_000 * KIB);
    const { registry, bytesArrived } = await fillStore(content, {}, 4);
    expect(registry.openMax).toBe(4);
    expect(bytesArrived).toBe(4_000 * KIB);
    // A connection whose tail was taken over is closed with at most the piece that was under way.
    expect(registry.bytesSent - bytesArrived).toBeLessThan(registry.asked.length * 16 * KIB);
  });

  test.each([
    ["1 MiB", 1024 * KIB, 4],
    ["what can be divided once", 128 * KIB, 2],
    ["what is not worth a second connection", 127 * KIB, 1],
  ])("begins with several connections where told to: %s", async (_, size, count) => {
    // No further one is wanted once the first has brought something.
    const { registry } = await fillStore(contentOf(size), {}, 0, [], undefined, 4);
    expect(registry.openMax).toBe(count);
  });

  test.each([true, false])(
    "begins with no range up to the end, which a registry without parts answers with all: %p",
    async (servesParts) => {
      const size = 4 * 1024 * KIB;
      const { registry } = await fillStore(contentOf(size), { servesParts }, 0, [], undefined, 5);
      for (const { end } of registry.asked.slice(0, 5)) expect(end).toBeLessThan(size);
      if (!servesParts) expect(registry.bytesSent).toBe(size);
    },
  );

  test("takes over what nobody asked for yet, and closes few connections for it", async () => {
    const content = contentOf(4_000 * KIB);
    const whole = await fillStore(content, {}, 4);
    const bounded = await fillStore(content, {}, 4, [], 256 * KIB);
    const wasted = ({ registry, bytesArrived }: typeof whole) => registry.bytesSent - bytesArrived;
    expect(bounded.registry.openMax).toBe(4);
    expect(bounded.bytesArrived).toBe(4_000 * KIB);
    expect(bounded.registry.asked.every(({ start, end }) => end - start <= 256 * KIB)).toBe(true);
    expect(wasted(bounded)).toBeLessThan(wasted(whole));
  });

  test("gives a range back to the connection it was taken from when parts are not served", async () => {
    const content = contentOf(2_000 * KIB);
    const { registry, lanes } = await fillStore(content, { servesParts: false }, 4);
    expect(lanes.refused).toBeGreaterThan(0);
    expect(registry.bytesSent).toBe(2_000 * KIB);
  });

  test("goes on without a further connection that is refused", async () => {
    const content = contentOf(2_000 * KIB);
    const cutAfter = (connection: number) => (connection > 0 ? 0 : undefined);
    const { registry, bytesArrived } = await fillStore(content, { cutAfter }, 4);
    expect(registry.asked.length).toBeLessThanOrEqual(4);
    expect(bytesArrived).toBe(2_000 * KIB);
  });

  test("throws what a connection met that brought nothing, and keeps what came before", async () => {
    const content = contentOf(500 * KIB);
    const cutAfter = (connection: number) => (connection < 2 ? 100 * KIB : 0);
    const store = createMemoryStore();
    const { fetcher } = registryOf(content.bytes, { cutAfter });
    const attempt = async () => {
      await using ingest = await store.ingest(content.blob);
      const lanes = lanesOf(1);
      const quiet = { signal, onBytes: () => undefined, onResume: () => undefined, lanes };
      await fill({ blob: content.blob, ingest, fetcher, ...quiet });
    };
    await expect(attempt()).rejects.toThrow("reset");
    expect(await store.bytesHere(content.blob)).toBe(200 * KIB);
  });

  test("ends all connections when the disk refuses", async () => {
    const { blob, bytes } = contentOf(2_000 * KIB);
    const registry = registryOf(bytes);
    const store = createMemoryStore();
    const full = new Failure({
      code: "store-full",
      message: "Cannot write: full",
      hint: "Make room",
    });
    let writes = 0;
    const attempt = async () => {
      await using inner = await store.ingest(blob);
      const ingest = {
        get missing() {
          return inner.missing;
        },
        async write(chunk: Uint8Array, offset: number) {
          writes += 1;
          if (writes > 20) throw full;
          await inner.write(chunk, offset);
        },
        commit: () => inner.commit(),
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
      };
      const quiet = { signal, onBytes: () => undefined, onResume: () => undefined };
      await fill({ blob, ingest, fetcher: registry.fetcher, ...quiet, lanes: lanesOf(4) });
    };
    await expect(attempt()).rejects.toBe(full);
    expect(registry.seen.open).toBe(0);
  });

  test("completes whatever is here, wherever connections break, with few bytes in vain", async () => {
    const content = contentOf(1_200 * KIB);
    const range = fc
      .tuple(fc.nat(1_200 * KIB), fc.nat(300 * KIB))
      .map(([start, length]) => ({ start, end: Math.min(start + length, 1_200 * KIB) }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(range, { maxLength: 3 }),
        fc.array(fc.integer({ min: 64 * KIB, max: 400 * KIB }), { maxLength: 10 }),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        fc.constantFrom(100 * KIB, 256 * KIB, Number.POSITIVE_INFINITY),
        async (have, cuts, max, servesParts, requestBytesMax) => {
          const script = { cutAfter: (n: number) => cuts[n], servesParts };
          const run = await fillStore(content, script, max, have, requestBytesMax);
          expect(run.bytesArrived).toBe(run.missingBytes);
        },
      ),
      { numRuns: 150 },
    );
  });
});
