import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import {
  copyContent,
  createMemoryStore,
  createVerifier,
  digestOf,
  type Fetcher,
  fetchVerified,
  writeContent,
} from "#content";
import { type Descriptor, MANIFEST_BYTES_MAX } from "#oci";

const signal = new AbortController().signal;
const CONTENT = new TextEncoder().encode("what was asked for");
const DESCRIPTOR = describeBytes(CONTENT);

function describeBytes(bytes: Uint8Array): Descriptor {
  return { mediaType: "application/x", digest: digestOf(bytes), size: bytes.byteLength };
}

async function codeOf(act: Promise<unknown>): Promise<unknown> {
  try {
    await act;
    return "none";
  } catch (error) {
    return isFailure(error) ? error.code : error;
  }
}

/** A source that sends these pieces, and then the same error or end as often as it is asked. */
function scripted(pieces: readonly Uint8Array[], error?: Error) {
  const state = { fetches: 0, pulled: 0, cancelled: false };
  const fetcher: Fetcher = {
    async fetch() {
      state.fetches += 1;
      let next = 0;
      return new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            state.pulled += 1;
            const piece = pieces[next];
            next += 1;
            if (piece !== undefined) controller.enqueue(piece.slice());
            else if (error === undefined) controller.close();
            else controller.error(error);
          },
          cancel() {
            state.cancelled = true;
          },
        },
        { highWaterMark: 0 },
      );
    },
  };
  return { fetcher, state };
}

/** A source that sends what is asked for, and remembers the ranges. */
function honest() {
  const asked: unknown[] = [];
  const fetcher: Fetcher = {
    async fetch(_descriptor, { range }) {
      asked.push(range);
      return new Response(CONTENT.slice(range?.start, range?.end)).body ?? new ReadableStream();
    },
  };
  return { fetcher, asked };
}

describe("copyContent()", () => {
  test("brings content in, counts it, and does nothing when it is there", async () => {
    const store = createMemoryStore();
    const { fetcher, state } = scripted([CONTENT.subarray(0, 5), CONTENT.subarray(5)]);
    const counted: number[] = [];
    const options = { signal, onBytes: (bytes: number) => counted.push(bytes) };
    expect(await copyContent(fetcher, store, DESCRIPTOR, options)).toEqual({
      bytesMoved: CONTENT.byteLength,
    });
    expect(counted).toEqual([5, CONTENT.byteLength - 5]);
    expect(await copyContent(fetcher, store, DESCRIPTOR, options)).toEqual({ bytesMoved: 0 });
    expect(state.fetches).toBe(1);
  });

  test("stops the source at the first byte that is too many", async () => {
    const store = createMemoryStore();
    const endless = Array.from({ length: 1000 }, () => CONTENT);
    const { fetcher, state } = scripted(endless);
    expect(await codeOf(copyContent(fetcher, store, DESCRIPTOR, { signal }))).toBe(
      "content-too-long",
    );
    expect(state).toEqual({ fetches: 1, pulled: 2, cancelled: true });
    expect(await store.has(DESCRIPTOR)).toBe(false);
  });

  test("leaves nothing behind when the source breaks, ends early or lies", async () => {
    const broken = new Error("connection reset");
    const half = CONTENT.subarray(0, 9);
    const cases = [
      { ...scripted([half], broken), expected: broken },
      { ...scripted([half]), expected: "content-too-short" },
      { ...scripted([CONTENT.map((byte) => byte ^ 1)]), expected: "digest-mismatch" },
    ];
    for (const { fetcher, expected } of cases) {
      const store = createMemoryStore();
      expect(await codeOf(copyContent(fetcher, store, DESCRIPTOR, { signal }))).toBe(expected);
      expect(await store.has(DESCRIPTOR)).toBe(false);
    }
  });

  test("fetches only what an earlier attempt has not brought", async () => {
    const store = createMemoryStore();
    const broken = scripted([CONTENT.subarray(0, 9)], new Error("connection reset"));
    await codeOf(copyContent(broken.fetcher, store, DESCRIPTOR, { signal }));
    const { fetcher, asked } = honest();
    const { bytesMoved } = await copyContent(fetcher, store, DESCRIPTOR, { signal });
    expect(asked).toEqual([{ start: 9, end: CONTENT.byteLength }]);
    expect(bytesMoved).toBe(CONTENT.byteLength - 9);
    expect(await fetchVerified(store, DESCRIPTOR, { signal })).toEqual(CONTENT);
  });

  test("fetches the whole, once, when what was brought earlier is wrong", async () => {
    const store = createMemoryStore();
    const wrong = scripted([new Uint8Array(9)], new Error("connection reset"));
    await codeOf(copyContent(wrong.fetcher, store, DESCRIPTOR, { signal }));
    const { fetcher, asked } = honest();
    await copyContent(fetcher, store, DESCRIPTOR, { signal });
    expect(asked).toEqual([{ start: 9, end: CONTENT.byteLength }, undefined]);
    expect(await fetchVerified(store, DESCRIPTOR, { signal })).toEqual(CONTENT);
  });

  test("asks for nothing when the store has no room", async () => {
    const full = new Error("full");
    const store = { ...createMemoryStore(), ingest: () => Promise.reject(full) };
    const { fetcher, state } = scripted([CONTENT]);
    expect(await codeOf(copyContent(fetcher, store, DESCRIPTOR, { signal }))).toBe(full);
    expect(state.fetches).toBe(0);
  });

  test("stops between two pieces when the signal is aborted, and lets the source go", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const { fetcher, state } = scripted([CONTENT.subarray(0, 5), CONTENT.subarray(5)]);
    const options = { signal: abort.signal, onBytes: () => abort.abort(reason) };
    expect(await codeOf(copyContent(fetcher, createMemoryStore(), DESCRIPTOR, options))).toBe(
      reason,
    );
    expect(state.cancelled).toBe(true);
  });

  test("asks for no piece before the store has taken the one before", async () => {
    const memory = createMemoryStore();
    const { fetcher, state } = scripted([CONTENT.subarray(0, 5), CONTENT.subarray(5)]);
    const pulledAtWrite: number[] = [];
    const store = {
      ...memory,
      ingest: async (descriptor: Descriptor) => {
        const ingest = await memory.ingest(descriptor);
        return {
          ...ingest,
          commit: () => ingest.commit(),
          write: async (bytes: Uint8Array, offset: number) => {
            await new Promise((resolve) => setImmediate(resolve));
            pulledAtWrite.push(state.pulled);
            await ingest.write(bytes, offset);
          },
        };
      },
    };
    await copyContent(fetcher, store, DESCRIPTOR, { signal });
    expect(pulledAtWrite).toEqual([1, 2]);
  });
});

describe("writeContent()", () => {
  test("puts bytes under their descriptor, and no others", async () => {
    const store = createMemoryStore();
    const other = new TextEncoder().encode("what was asked FOR");
    expect(await codeOf(writeContent(store, DESCRIPTOR, other))).toBe("digest-mismatch");
    await writeContent(store, DESCRIPTOR, CONTENT);
    expect(await fetchVerified(store, DESCRIPTOR, { signal })).toEqual(CONTENT);
  });
});

describe("fetchVerified()", () => {
  test("asks for nothing that claims to be too large", async () => {
    const { fetcher, state } = scripted([CONTENT]);
    for (const size of [MANIFEST_BYTES_MAX + 1, Number.MAX_SAFE_INTEGER]) {
      const descriptor = { ...DESCRIPTOR, size };
      expect(await codeOf(fetchVerified(fetcher, descriptor, { signal }))).toBe(
        "manifest-too-large",
      );
    }
    expect(state.fetches).toBe(0);
  });

  test("stops an endless answer, and refuses a short or a wrong one", async () => {
    const endless = scripted(Array.from({ length: 1000 }, () => CONTENT));
    expect(await codeOf(fetchVerified(endless.fetcher, DESCRIPTOR, { signal }))).toBe(
      "content-too-long",
    );
    expect(endless.state.pulled).toBe(2);
    const short = scripted([CONTENT.subarray(1)]);
    expect(await codeOf(fetchVerified(short.fetcher, DESCRIPTOR, { signal }))).toBe(
      "content-too-short",
    );
    const wrong = scripted([CONTENT.map((byte) => byte ^ 1)]);
    expect(await codeOf(fetchVerified(wrong.fetcher, DESCRIPTOR, { signal }))).toBe(
      "digest-mismatch",
    );
  });
});

describe("createVerifier()", () => {
  test("accepts exactly the bytes that the descriptor names, however they are cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom("sha256", "sha512"),
        (pieces, other, algorithm) => {
          const whole = Buffer.concat(pieces);
          const descriptor = { ...describeBytes(whole), digest: digestOf(whole, algorithm) };
          expect(verdict(descriptor, pieces)).toBe("right");
          if (whole.equals(other)) return;
          const length = other.byteLength - whole.byteLength;
          const expected =
            length === 0
              ? "digest-mismatch"
              : length < 0
                ? "content-too-short"
                : "content-too-long";
          expect(verdict(descriptor, [other])).toBe(expected);
        },
      ),
    );
  });
});

function verdict(descriptor: Descriptor, pieces: readonly Uint8Array[]): string {
  const verifier = createVerifier(descriptor);
  try {
    for (const piece of pieces) verifier.update(piece);
    verifier.end();
    return "right";
  } catch (error) {
    return isFailure(error) ? error.code : "no failure";
  }
}
