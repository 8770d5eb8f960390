import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Ingest, Store } from "#content";
import type { Descriptor } from "#oci";
import { codeOf, get, patient, put, sample, sampleOf } from "./sample.ts";

/** Opens an empty store; disposing of it clears it away. */
export type OpenStore = () => Promise<{ readonly store: Store } & AsyncDisposable>;

/** Larger than any buffer on the way. */
const LARGE_BYTES = 3 * 1024 * 1024 + 17;

/** Declares the tests that every {@link Store} must pass. */
export function storeConformance(name: string, open: OpenStore): void {
  describe(`${name} as a store`, () => {
    describe("takes in content", () => ingestTests(open));
    describe("goes on with content", () => resumeTests(open));
    describe("refuses content", () => refusalTests(open));
    describe("gives content", () => fetchTests(open));
    describe("names content", () => nameTests(open));
  });
}

function ingestTests(open: OpenStore): void {
  const sizes = [0, 1, 65_536, LARGE_BYTES];
  test.each(sizes)("of %d bytes, and gives the same bytes", async (length) => {
    await using opened = await open();
    const content = sample("size", length);
    await put(opened.store, content);
    expect(await opened.store.has(content.descriptor)).toBe(true);
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
  });

  test("in pieces of any size", async () => {
    await using opened = await open();
    for (const pieceBytes of [1000, 262_144, 1_048_576, 1_048_577, LARGE_BYTES]) {
      const content = sample(`pieces/${pieceBytes}`, LARGE_BYTES);
      await put(opened.store, content, pieceBytes);
      expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
    }
  });

  test("under sha512", async () => {
    await using opened = await open();
    const content = sample("sha512", 1000, "sha512");
    await put(opened.store, content);
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
    expect(await opened.store.has(sample("sha512", 1000).descriptor)).toBe(false);
  });

  test("from an array that is reused after each write", async () => {
    await using opened = await open();
    const content = sample("reused", 300_000);
    await using ingest = await opened.store.ingest(content.descriptor);
    const array = new Uint8Array(100_000);
    for (let offset = 0; offset < 300_000; offset += 100_000) {
      array.set(content.bytes.subarray(offset, offset + 100_000));
      await ingest.write(array, offset);
      array.fill(0xee);
    }
    await ingest.commit();
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
  });

  test("and shows nothing of it before the commit", async () => {
    await using opened = await open();
    const content = sample("invisible", LARGE_BYTES);
    await using ingest = await opened.store.ingest(content.descriptor);
    await ingest.write(content.bytes, 0);
    expect(await opened.store.has(content.descriptor)).toBe(false);
    expect(await codeOf(get(opened.store, content.descriptor))).toBe("content-missing");
    await ingest.commit();
    expect(await opened.store.has(content.descriptor)).toBe(true);
  });

  test("twice at the same time", async () => {
    await using opened = await open();
    const content = sample("twice", 200_000);
    await using first = await opened.store.ingest(content.descriptor);
    await using second = await opened.store.ingest(content.descriptor);
    await first.write(content.bytes.subarray(0, 150_000), 0);
    await second.write(content.bytes, 0);
    await second.commit();
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
    await first.write(content.bytes.subarray(150_000), 150_000);
    await first.commit();
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
  });
}

function resumeTests(open: OpenStore): void {
  const content = sample("resumed", LARGE_BYTES);
  const { descriptor, bytes } = content;
  const writePart = (ingest: Ingest, start: number, end: number) =>
    ingest.write(bytes.subarray(start, end), start);

  test("where it was left, without showing it", async () => {
    await using opened = await open();
    for (const cut of [1, 5000, 300_000, 2_000_001, LARGE_BYTES]) {
      await using ingest = await opened.store.ingest(descriptor);
      const [gap] = ingest.missing;
      await writePart(ingest, gap?.start ?? 0, cut);
      await ingest[Symbol.asyncDispose]();
      expect(await opened.store.bytesHere(descriptor)).toBe(cut);
      expect(await opened.store.has(descriptor)).toBe(false);
    }
    await using ingest = await opened.store.ingest(descriptor);
    expect(ingest.missing).toEqual([]);
    await ingest.commit();
    expect(await get(opened.store, descriptor)).toEqual(bytes);
    expect(await opened.store.bytesHere(descriptor)).toBe(LARGE_BYTES);
  });

  test("in several ranges at the same time, the last one first", async () => {
    await using opened = await open();
    await using ingest = await opened.store.ingest(descriptor);
    const starts = [2_500_000, 1_000_000, 0, 1_800_000];
    const writes = starts.map(async (start) => {
      const end = Math.min(...starts.filter((other) => other > start), LARGE_BYTES);
      for (let at = start; at < end; at += 90_000) {
        await writePart(ingest, at, Math.min(at + 90_000, end));
      }
    });
    await Promise.all(writes);
    await ingest.commit();
    expect(await get(opened.store, descriptor)).toEqual(bytes);
  });

  test("of which ranges are missing", async () => {
    await using opened = await open();
    {
      await using ingest = await opened.store.ingest(descriptor);
      await writePart(ingest, 2_000_000, 2_600_000);
      await writePart(ingest, 0, 400_000);
      await writePart(ingest, 1_000_000, 1_000_001);
    }
    await using ingest = await opened.store.ingest(descriptor);
    expect(ingest.missing).toEqual([
      { start: 400_000, end: 1_000_000 },
      { start: 1_000_001, end: 2_000_000 },
      { start: 2_600_000, end: LARGE_BYTES },
    ]);
    expect(await codeOf(ingest.commit())).toBe("content-too-short");
    for (const { start, end } of ingest.missing.toReversed()) await writePart(ingest, start, end);
    await ingest.commit();
    expect(await get(opened.store, descriptor)).toEqual(bytes);
  });

  test("and takes nothing twice", async () => {
    await using opened = await open();
    await using ingest = await opened.store.ingest(descriptor);
    await writePart(ingest, 0, 1_000_000);
    await writePart(ingest, 1_500_000, 2_000_000);
    const spoiled = Uint8Array.from(bytes);
    spoiled.fill(0, 0, 1_000_000);
    spoiled.fill(0, 1_500_000, 2_000_000);
    await ingest.write(spoiled, 0);
    await ingest.commit();
    expect(await get(opened.store, descriptor)).toEqual(bytes);
  });

  test("from nothing beside an ingest that has it", async () => {
    await using opened = await open();
    const whole = [{ start: 0, end: LARGE_BYTES }];
    {
      await using first = await opened.store.ingest(descriptor);
      await writePart(first, 0, 1_000_000);
      await using second = await opened.store.ingest(descriptor);
      expect(second.missing).toEqual(whole);
      await writePart(second, 0, 2_000_000);
    }
    expect(await opened.store.bytesHere(descriptor)).toBe(1_000_000);
  });

  test("from nothing when it turned out to be wrong, or was of another size", async () => {
    await using opened = await open();
    const spoiled = Uint8Array.from(bytes);
    spoiled[7] = (spoiled[7] ?? 0) ^ 1;
    {
      await using ingest = await opened.store.ingest(descriptor);
      await ingest.write(spoiled, 0);
      expect(await codeOf(ingest.commit())).toBe("digest-mismatch");
    }
    expect(await opened.store.bytesHere(descriptor)).toBe(0);
    {
      await using ingest = await opened.store.ingest({ ...descriptor, size: LARGE_BYTES + 1 });
      await writePart(ingest, 0, 1_000_000);
    }
    expect(await opened.store.bytesHere(descriptor)).toBe(0);
    await put(opened.store, content);
    expect(await get(opened.store, descriptor)).toEqual(bytes);
  });

  test("however it is cut and in whatever order it comes", async () => {
    await using opened = await open();
    const cuts = fc.array(fc.nat({ max: LARGE_BYTES - 1 }), { minLength: 1, maxLength: 12 });
    let seed = 0;
    const property = fc.asyncProperty(cuts, fc.nat({ max: 4 }), async (starts, breaks) => {
      seed += 1;
      const own = sample(`any/${seed}`, LARGE_BYTES);
      for (let i = 0; i <= breaks; i += 1) {
        await using ingest = await opened.store.ingest(own.descriptor);
        const due = starts.filter((_, position) => position % (breaks + 1) === i);
        for (const start of due)
          await ingest.write(own.bytes.subarray(start, start + 200_000), start);
      }
      await using ingest = await opened.store.ingest(own.descriptor);
      for (const { start, end } of ingest.missing) {
        await ingest.write(own.bytes.subarray(start, end), start);
      }
      await ingest.commit();
      expect(Buffer.compare(await get(opened.store, own.descriptor), own.bytes)).toBe(0);
    });
    await fc.assert(property, { numRuns: 25 });
  });
}

function refusalTests(open: OpenStore): void {
  const content = sample("refused", 200_000);
  const falsified = Uint8Array.from(content.bytes);
  falsified[199_999] = (falsified[199_999] ?? 0) ^ 1;

  const cases: readonly (readonly [string, string, Uint8Array])[] = [
    ["whose last bit differs", "digest-mismatch", falsified],
    ["that is a byte short", "content-too-short", content.bytes.subarray(0, 199_999)],
    ["that is empty", "content-too-short", new Uint8Array()],
    ["that is a byte long", "content-too-long", new Uint8Array([...content.bytes, 0])],
  ];
  test.each(cases)("%s: %s", async (_, code, bytes) => {
    await using opened = await open();
    const { descriptor } = content;
    expect(await codeOf(put(opened.store, { descriptor, bytes }))).toBe(code);
    expect(await opened.store.has(descriptor)).toBe(false);
    expect(await codeOf(get(opened.store, descriptor))).toBe("content-missing");
    await put(opened.store, content);
    expect(await get(opened.store, descriptor)).toEqual(content.bytes);
  });

  test("as soon as there is too much of it", async () => {
    await using opened = await open();
    const small = sample("endless", 10);
    await using ingest = await opened.store.ingest(small.descriptor);
    await ingest.write(small.bytes, 0);
    expect(await codeOf(ingest.write(new Uint8Array(1), 10))).toBe("content-too-long");
  });

  test("under another algorithm's digest of the same bytes", async () => {
    await using opened = await open();
    const wrong = sample("other", 100, "sha512").descriptor;
    expect(await codeOf(put(opened.store, { ...sample("mine", 100), descriptor: wrong }))).toBe(
      "digest-mismatch",
    );
  });

  test("of a size that is not the one asked for", async () => {
    await using opened = await open();
    await put(opened.store, content);
    const longer: Descriptor = { ...content.descriptor, size: content.descriptor.size + 1 };
    expect(await opened.store.has(longer)).toBe(false);
    expect(await codeOf(get(opened.store, longer))).toBe("content-missing");
  });
}

function fetchTests(open: OpenStore): void {
  const content = sample("fetched", LARGE_BYTES);

  test("that is not there: content-missing", async () => {
    await using opened = await open();
    const fetching = opened.store.fetch(content.descriptor, { signal: patient });
    expect(await codeOf(fetching)).toBe("content-missing");
  });

  test("in the range that is asked for", async () => {
    await using opened = await open();
    await put(opened.store, content);
    const ranges = [
      { start: 0, end: 1 },
      { start: 1_000_000, end: 2_700_000 },
      { start: LARGE_BYTES - 1, end: LARGE_BYTES },
    ];
    for (const range of ranges) {
      const options = { signal: patient, range };
      const part = await new Response(
        await opened.store.fetch(content.descriptor, options),
      ).bytes();
      expect(part).toEqual(content.bytes.slice(range.start, range.end));
    }
  });

  test("to several readers at once", async () => {
    await using opened = await open();
    await put(opened.store, content);
    const readers = [1, 2, 3].map(() => get(opened.store, content.descriptor));
    for (const bytes of await Promise.all(readers)) expect(bytes).toEqual(content.bytes);
  });

  test("that a reader may write over without harm", async () => {
    await using opened = await open();
    await put(opened.store, content);
    for await (const chunk of await opened.store.fetch(content.descriptor, { signal: patient })) {
      chunk.fill(0);
    }
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
  });

  test("until the reader cancels", async () => {
    await using opened = await open();
    await put(opened.store, content);
    const stream = await opened.store.fetch(content.descriptor, { signal: patient });
    const reader = stream.getReader();
    expect((await reader.read()).done).toBe(false);
    await reader.cancel();
    expect(await get(opened.store, content.descriptor)).toEqual(content.bytes);
  });

  test("until the signal is aborted, with its reason", async () => {
    await using opened = await open();
    await put(opened.store, content);
    const abort = new AbortController();
    const stream = await opened.store.fetch(content.descriptor, { signal: abort.signal });
    const reader = stream.getReader();
    expect((await reader.read()).done).toBe(false);
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await codeOf(readOn(reader))).toBe(reason);
    const late = opened.store.fetch(content.descriptor, { signal: abort.signal });
    expect(await codeOf(late)).toBe(reason);
  });
}

/** Reads to the end; one chunk may have been on its way when the signal came. */
async function readOn(reader: { read(): Promise<{ readonly done: boolean }> }): Promise<void> {
  while (!(await reader.read()).done);
}

function nameTests(open: OpenStore): void {
  const first = sampleOf(new TextEncoder().encode('{"a":1}'), "application/vnd.test.one+json");
  const second = sample("second", 10, "sha512");

  test("and gives what a name stands for", async () => {
    await using opened = await open();
    await put(opened.store, first);
    await opened.store.name("quay.io/team/app:v1", first.descriptor);
    expect(await opened.store.lookup("quay.io/team/app:v1")).toEqual(first.descriptor);
    expect(await opened.store.lookup("quay.io/team/app:v2")).toBeUndefined();
  });

  test("and moves a name", async () => {
    await using opened = await open();
    await put(opened.store, first);
    await put(opened.store, second);
    await opened.store.name("a.example/app:v1", first.descriptor);
    await opened.store.name("a.example/app:v1", second.descriptor);
    expect(await opened.store.lookup("a.example/app:v1")).toEqual(second.descriptor);
    expect(await opened.store.names()).toHaveLength(1);
  });

  test("only when it is there", async () => {
    await using opened = await open();
    const naming = opened.store.name("a.example/app:v1", first.descriptor);
    expect(await codeOf(naming)).toBe("content-missing");
    expect(await opened.store.lookup("a.example/app:v1")).toBeUndefined();
    expect(await opened.store.names()).toEqual([]);
  });

  test("and lists names in the order of their code units", async () => {
    await using opened = await open();
    await put(opened.store, first);
    const names = ["b.example/b:1", "a.example/z:1", "a.example/Z:1", "a.example/a-b:1", "a:1"];
    for (const name of names) await opened.store.name(name, first.descriptor);
    const listed = await opened.store.names();
    expect(listed.map(({ name }) => name)).toEqual([...names].sort());
    expect(listed[0]?.descriptor).toEqual(first.descriptor);
  });
}
