import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { isFailure } from "#base";
import type { Source } from "#content";
import { parseDigest } from "#oci";
import {
  basicChallenge,
  blob,
  failureOf,
  fetchRange,
  manifest,
  signal,
  sourceAt,
  user,
} from "#test-support/remote-world";
import {
  contentOf,
  type ScriptedContent,
  type ScriptedReply,
  type ScriptedRequest,
  servedContent,
  servedRange,
  startScriptedServer,
} from "#test-support/scripted-registry";

const layer = contentOf(Array.from({ length: 400 }, (_, i) => `line ${i} of a layer`).join("\n"));
const text = layer.bytes.toString();
const { size } = layer.descriptor;

/** Reads content to its end, going on where the stream broke; the pieces in the order they came. */
async function resume(source: Source, { descriptor }: ScriptedContent): Promise<string> {
  const pieces: Uint8Array[] = [];
  let have = 0;
  while (have < descriptor.size) {
    try {
      const range = { start: have, end: descriptor.size };
      for await (const piece of await source.fetch(descriptor, { signal, range })) {
        pieces.push(piece);
        have += piece.byteLength;
      }
    } catch (error) {
      if (!isFailure(error) || !error.transient) throw error;
    }
  }
  return Buffer.concat(pieces).toString();
}

const rangesAsked = (requests: readonly ScriptedRequest[]) =>
  requests.map(({ headers }) => headers["range"]);

describe("a range", () => {
  test("is asked for as it is, and comes as it is (C-83)", async () => {
    await using registry = await startScriptedServer((request) => servedRange(layer, request));
    const source = sourceAt(registry.address);
    for (const [start, end, asked] of [
      [0, size, undefined],
      [0, 1, "bytes=0-0"],
      [1, size, "bytes=1-"],
      [size - 1, size, `bytes=${size - 1}-`],
      [100, 200, "bytes=100-199"],
    ] as const) {
      expect(await fetchRange(source, layer, start, end)).toBe(text.slice(start, end));
      expect(rangesAsked(registry.requests).at(-1)).toBe(asked);
    }
    expect(registry.requests).toHaveLength(5);
  });

  test("that is empty is never asked for (C-85), and one outside of the content is a bug", async () => {
    await using registry = await startScriptedServer((request) => servedRange(layer, request));
    const source = sourceAt(registry.address);
    expect(await fetchRange(source, layer, size)).toBe("");
    expect(await fetchRange(source, layer, 5, 5)).toBe("");
    for (const [start, end] of [
      [-1, 5],
      [6, 5],
      [0, size + 1],
    ] as const) {
      await expect(fetchRange(source, layer, start, end)).rejects.toThrow("Broken assertion");
    }
    expect(registry.requests).toEqual([]);
  });

  test("of content by sha512 is like any other (C-87)", async () => {
    const hex = createHash("sha512").update(layer.bytes).digest("hex");
    const digest = parseDigest(`sha512:${hex}`);
    const content = { ...layer, descriptor: { ...layer.descriptor, digest } };
    await using registry = await startScriptedServer(({ path, ...request }) =>
      path.endsWith(digest) ? servedRange(content, request) : undefined,
    );
    expect(await fetchRange(sourceAt(registry.address), content, 7)).toBe(text.slice(7));
  });

  test("of a manifest is cut from the whole of it", async () => {
    await using registry = await startScriptedServer(() => servedContent(manifest));
    const whole = manifest.bytes.toString();
    const source = sourceAt(registry.address);
    expect(await fetchRange(source, manifest, 3)).toBe(whole.slice(3));
    expect(await fetchRange(source, manifest, 3, 9)).toBe(whole.slice(3, 9));
    expect(rangesAsked(registry.requests)).toEqual([undefined, undefined]);
  });

  test.each<[string, (reply: ScriptedReply) => ScriptedReply]>([
    ["one byte too early", shifted(-1)],
    ["one byte too late", shifted(1)],
    ["of other content", (reply) => withContentRange(reply, `bytes 1000-${size - 1}/${size + 1}`)],
    ["twice", (reply) => withContentRange(reply, [contentRange(1000), contentRange(1000)])],
    ["of no unit we know", (reply) => withContentRange(reply, `lines 1000-${size - 1}/${size}`)],
    ["as several parts (C-90)", asMultipart],
    ["with 416 (C-85)", () => ({ status: 416 })],
  ])("that is answered %s is never taken for the right one", async (_, spoil) => {
    await using registry = await startScriptedServer((request) =>
      request.headers["range"] === undefined
        ? servedContent(layer)
        : spoil(servedRange(layer, request)),
    );
    const source = sourceAt(registry.address);
    expect(await fetchRange(source, layer, 1000)).toBe(text.slice(1000));
    expect(rangesAsked(registry.requests)).toEqual(["bytes=1000-", undefined]);
    const failure = await failureOf(fetchRange(source, layer, 1000, 1100));
    expect([failure.code, failure.transient]).toEqual(["range-ignored", false]);
    expect(registry.requests).toHaveLength(3);
  });

  test("that is ignored is cut from the whole up to the end, and refused before it (C-84)", async () => {
    await using registry = await startScriptedServer(() => servedContent(layer));
    const source = sourceAt(registry.address);
    expect(await fetchRange(source, layer, 1000)).toBe(text.slice(1000));
    expect((await failureOf(fetchRange(source, layer, 0, 1000))).code).toBe("range-ignored");
    expect(registry.requests).toHaveLength(2);
  });

  test("that is answered exactly and yet with 200 is taken (C-84)", async () => {
    await using registry = await startScriptedServer((request) => ({
      ...servedRange(layer, request),
      status: 200,
    }));
    const source = sourceAt(registry.address);
    expect(await fetchRange(source, layer, 1000)).toBe(text.slice(1000));
    expect(await fetchRange(source, layer, 1000, 1100)).toBe(text.slice(1000, 1100));
  });

  test("of what is not there is content-missing, in the registry's words", async () => {
    await using registry = await startScriptedServer(() => ({
      status: 404,
      body: '{"errors":[{"code":"BLOB_UNKNOWN"}]}',
    }));
    const failure = await failureOf(fetchRange(sourceAt(registry.address), layer, 5));
    expect(failure.code).toBe("content-missing");
    expect(failure.message).toContain("BLOB_UNKNOWN");
  });

  test("that ends early or is encoded is not taken for the whole of it (B-2, C-89)", async () => {
    let spoil = (reply: ScriptedReply): ScriptedReply => ({ ...reply, cutAfterBytes: 10 });
    await using registry = await startScriptedServer((request) =>
      spoil(servedRange(layer, request)),
    );
    const source = sourceAt(registry.address);
    const failure = await failureOf(fetchRange(source, layer, 1000));
    expect([failure.code, failure.transient]).toEqual(["registry-unreachable", true]);
    const encoding = { "Content-Encoding": "gzip", "Transfer-Encoding": "chunked" };
    spoil = (reply) => ({ ...reply, headers: { ...reply.headers, ...encoding } });
    expect((await failureOf(fetchRange(source, layer, 1000))).code).toBe("registry-protocol");
  });
});

describe("validators", () => {
  const served = (request: ScriptedRequest, etag: string): ScriptedReply => {
    const ifRange = request.headers["if-range"];
    const reply =
      ifRange === undefined || ifRange === etag
        ? servedRange(layer, request)
        : servedContent(layer);
    return { ...reply, headers: { ...reply.headers, ETag: etag } };
  };

  test("a strong one that was seen goes along with a range, a weak one never (C-83)", async () => {
    let etag = '"v1"';
    await using registry = await startScriptedServer((request) => served(request, etag));
    const strong = sourceAt(registry.address);
    await fetchRange(strong, layer, 5);
    await fetchRange(strong, layer, 6);
    etag = 'W/"v1"';
    const weak = sourceAt(registry.address);
    await fetchRange(weak, layer, 5);
    await fetchRange(weak, layer, 6);
    expect(registry.requests.map(({ headers }) => headers["if-range"])).toEqual([
      undefined,
      '"v1"',
      undefined,
      undefined,
    ]);
  });

  test("one that changes behind the same digest costs a request and not the whole", async () => {
    let etag = '"server 1"';
    await using registry = await startScriptedServer((request) => served(request, etag));
    const source = sourceAt(registry.address);
    await fetchRange(source, layer, 5);
    etag = '"server-2"';
    expect(await fetchRange(source, layer, 6, 10)).toBe(text.slice(6, 10));
    etag = '"server-3"';
    expect(await fetchRange(source, layer, 6)).toBe(text.slice(6));
    expect(registry.requests.map(({ headers }) => headers["if-range"])).toEqual([
      undefined,
      undefined,
      '"server-2"',
      undefined,
    ]);
  });
});

describe("going on where it broke", () => {
  test("wherever that was, no byte is asked for twice, and none is missing", async () => {
    for (const cutAfterBytes of [1, 2, 3, 100, 1000, 4096, size - 1]) {
      let sentBytes = 0;
      await using registry = await startScriptedServer((request) => {
        const reply = servedRange(layer, request);
        sentBytes += Math.min(cutAfterBytes, reply.body?.length ?? 0);
        const isLong = (reply.body?.length ?? 0) > cutAfterBytes;
        // Few bytes at a time would take thousands of connections; those few cuts come first.
        const isCut = isLong && (cutAfterBytes > 50 || registry.requests.length < 20);
        if (isLong && !isCut) sentBytes += (reply.body?.length ?? 0) - cutAfterBytes;
        return isCut ? { ...reply, cutAfterBytes } : reply;
      });
      expect(await resume(sourceAt(registry.address), layer)).toBe(text);
      expect([cutAfterBytes, sentBytes]).toEqual([cutAfterBytes, size]);
    }
  });

  test("a registry that knows no ranges is read past what is there", async () => {
    await using registry = await startScriptedServer((_, number) =>
      number < 4 ? { ...servedContent(layer), cutAfterBytes: 2000 * number } : servedContent(layer),
    );
    expect(await resume(sourceAt(registry.address), layer)).toBe(text);
    expect(registry.requests).toHaveLength(4);
  });

  test("a signed URL that ran out meanwhile is not asked again: the registry gives a new one (C-44)", async () => {
    await using storage = await startScriptedServer((request, number) => {
      if (!request.path.endsWith(`canary-${number}`)) return { status: 403 };
      const reply = servedRange(layer, request);
      return number < 3 ? { ...reply, cutAfterBytes: 3000 } : reply;
    });
    await using registry = await startScriptedServer(({ headers }) => {
      if (headers["authorization"] === undefined) return basicChallenge;
      const signature = `canary-${storage.requests.length + 1}`;
      return { status: 307, headers: { Location: `${storage.url}/o?X-Signature=${signature}` } };
    });
    expect(await resume(sourceAt(registry.address, user), layer)).toBe(text);
    expect(rangesAsked(storage.requests)).toEqual([undefined, "bytes=3000-", "bytes=6000-"]);
    expect(storage.requests.map(({ headers }) => headers["authorization"])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("a token that expired meanwhile is renewed, and the transfer goes on at its byte (C-47)", async () => {
    await using registry = await startScriptedServer((request) => {
      const tokens = registry.requests.filter(({ path }) => path.startsWith("/token")).length;
      if (request.path.startsWith("/token")) return { body: `{"token":"t${tokens}"}` };
      const blobs = registry.requests.filter(
        ({ headers }) => headers["authorization"] === `Bearer t${tokens}`,
      );
      // Each token is good for one request.
      if (blobs.length !== 1) {
        return {
          status: 401,
          headers: {
            "WWW-Authenticate": `Bearer realm="${registry.url}/token",error="invalid_token"`,
          },
        };
      }
      const reply = servedRange(layer, request);
      return tokens < 4 ? { ...reply, cutAfterBytes: 2000 } : reply;
    });
    expect(await resume(sourceAt(registry.address, user), layer)).toBe(text);
    const good = registry.requests.filter(({ path }) => path.startsWith("/token"));
    expect(good).toHaveLength(4);
    expect(new Set(rangesAsked(registry.requests))).toEqual(
      new Set([undefined, "bytes=2000-", "bytes=4000-", "bytes=6000-"]),
    );
  });
});

test("a blob of another size than the descriptor's is refused, whatever part is asked for", async () => {
  await using registry = await startScriptedServer((request) => servedRange(layer, request));
  const { digest } = blob.descriptor;
  const content = { ...layer, descriptor: { ...layer.descriptor, digest, size: size + 10 } };
  const failure = await failureOf(fetchRange(sourceAt(registry.address), content, 5));
  expect(failure.code).toBe("registry-protocol");
  expect(failure.message).toContain(`announced ${size} bytes`);
});

function contentRange(start: number): string {
  return `bytes ${start}-${size - 1}/${size}`;
}

function withContentRange(reply: ScriptedReply, value: string | readonly string[]): ScriptedReply {
  return { ...reply, headers: { ...reply.headers, "Content-Range": value } };
}

/** Bytes and header agree with each other, and not with what was asked for. */
function shifted(by: number): (reply: ScriptedReply) => ScriptedReply {
  return (reply) => ({
    ...withContentRange(reply, contentRange(1000 + by)),
    body: layer.bytes.subarray(1000 + by),
  });
}

function asMultipart(reply: ScriptedReply): ScriptedReply {
  const body = `--x\r\nContent-Range: ${contentRange(1000)}\r\n\r\n${reply.body}\r\n--x--\r\n`;
  return { status: 206, headers: { "Content-Type": "multipart/byteranges; boundary=x" }, body };
}
