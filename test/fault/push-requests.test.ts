import { describe, expect, test } from "bun:test";
import { createMemoryPushSessions, digestOf } from "#content";
import { PATIENCE } from "#remote";
import { type Reply, startHttpServer } from "#test-support/http-server";
import { imageToPush, type PushedImage, pushImage, targetAt } from "#test-support/push-world";
import {
  fault,
  type Interfere,
  type QuirkyRegistry,
  startQuirkyRegistry,
} from "#test-support/quirky-registry";
import { failureOf, remoteWith, signal } from "#test-support/remote-world";

const MIB = 1024 * 1024;
const CHUNK_BYTES = MIB;

const remoteInChunks = (sessions = createMemoryPushSessions()) =>
  remoteWith({
    pushSessions: sessions,
    quirks: [
      {
        name: "chunks of 1 MiB",
        host: /^127\.0\.0\.1$/,
        habit: { takes: "chunks", chunkBytesMax: CHUNK_BYTES },
      },
    ],
  });

const bodyBytes = ({ received }: QuirkyRegistry) =>
  received.reduce((bytes, request) => bytes + request.bodyBytes, 0);

function expectWhole(registry: QuirkyRegistry, { blobs, manifest }: PushedImage): void {
  for (const { digest } of [...blobs, manifest]) {
    const bytes = registry.content("team/app", digest);
    expect(bytes && digestOf(bytes)).toBe(digest);
  }
  expect(registry.tag("team/app", "1")).toBe(manifest.digest);
}

type Fault = ReturnType<Interfere>;

const FAULTS: Readonly<Record<string, Fault>> = {
  "is cut before it is answered": "cut",
  "is cut in its body": { cutBodyAfter: CHUNK_BYTES / 2 },
  "is done, and its answer lost": { isLate: true, reply: "cut" },
  "is answered 500": fault(500, "UNKNOWN", "unknown error"),
  "is answered 503 with a time to wait": {
    ...(fault(503, "UNAVAILABLE", "restarting") as Exclude<Reply, "cut">),
    headers: { "Retry-After": 2 },
  },
  "is done, and answered 502 by a proxy": {
    isLate: true,
    reply: { status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad Gateway" },
  },
};

describe("a push goes through although its n-th request", () => {
  test.each(Object.entries(FAULTS))(
    "%s, for each n",
    async (_, instead) => {
      const image = await imageToPush([3 * MIB + 5, 70_000]);
      const size = image.blobs.reduce((bytes, blob) => bytes + blob.size, 0);
      const requests = await faultFreeRequests(image);
      expect(requests).toBeGreaterThan(12);
      for (let n = 1; n <= requests; n += 1) {
        await using registry = await startQuirkyRegistry({ state: "any" });
        registry.interfere = (_request, ordinal) => (ordinal === n ? instead : undefined);
        await pushImage(targetAt(registry.address, { remote: remoteInChunks() }), image);
        expectWhole(registry, image);
        const extra = bodyBytes(registry) - size - image.manifestBytes.byteLength;
        expect(extra).toBeLessThanOrEqual(CHUNK_BYTES + image.manifestBytes.byteLength);
        expect(registry.uploads).toBeLessThanOrEqual(1);
      }
    },
    60_000,
  );
});

async function faultFreeRequests(image: PushedImage): Promise<number> {
  await using registry = await startQuirkyRegistry({ state: "any" });
  await pushImage(targetAt(registry.address, { remote: remoteInChunks() }), image);
  return registry.received.length;
}

describe("an upload of a process that died", () => {
  const killAt = async (registry: QuirkyRegistry, image: PushedImage) => {
    const sessions = createMemoryPushSessions();
    const [, layer] = image.blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    const abort = new AbortController();
    let chunks = 0;
    registry.interfere = ({ method }) => {
      if (method === "PATCH") chunks += 1;
      if (chunks === 4) abort.abort(new Error("killed"));
      return undefined;
    };
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    const pushing = target.pushBlob(layer, image.content, { signal: abort.signal });
    await expect(pushing).rejects.toThrow("killed");
    registry.interfere = undefined;
    return { sessions, layer };
  };

  test("goes on where the registry says, and is forgotten at its end", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    const image = await imageToPush([6 * MIB]);
    const { sessions, layer } = await killAt(registry, image);
    const kept = await sessions.find(registry.address, "team/app", layer.digest);
    expect(kept?.bytes).toBeGreaterThanOrEqual(3 * MIB);
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    let told = 0;
    const pushed = await target.pushBlob(layer, image.content, {
      signal,
      onProgress: (bytes) => {
        told += bytes;
      },
    });
    expect(pushed.bytesSent).toBeLessThanOrEqual(3 * MIB);
    expect(told).toBe(layer.size);
    expect(registry.content("team/app", layer.digest)?.byteLength).toBe(layer.size);
    expect(await sessions.find(registry.address, "team/app", layer.digest)).toBeUndefined();
  });

  test("is given up for a mount, which moves no byte", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    const image = await imageToPush([6 * MIB]);
    const { sessions, layer } = await killAt(registry, image);
    const bytes = await new Response(await image.content.fetch(layer, { signal })).arrayBuffer();
    registry.putBlob("team/base", new Uint8Array(bytes));
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    let told = 0;
    const pushed = await target.pushBlob(layer, image.content, {
      ...{ signal, mountFrom: ["team/base"] },
      onProgress: (more) => {
        told += more;
      },
    });
    expect(pushed).toEqual({ outcome: "mounted", bytesSent: 0 });
    expect(told).toBe(0);
    expect(registry.uploads).toBe(0);
    expect(await sessions.find(registry.address, "team/app", layer.digest)).toBeUndefined();
  });

  test("goes on although no other repository can give the blob, and none is left besides", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    const image = await imageToPush([6 * MIB]);
    const { sessions, layer } = await killAt(registry, image);
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    const mountFrom = ["team/empty", "team/bare"];
    const { bytesSent } = await target.pushBlob(layer, image.content, { signal, mountFrom });
    expect(bytesSent).toBeLessThanOrEqual(3 * MIB);
    expect(registry.content("team/app", layer.digest)?.byteLength).toBe(layer.size);
    expect(registry.uploads).toBe(0);
  });

  test("begins anew when the registry forgot it", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    const image = await imageToPush([6 * MIB]);
    const { sessions, layer } = await killAt(registry, image);
    registry.forgetUploads();
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    const { bytesSent } = await target.pushBlob(layer, image.content, { signal });
    expect(bytesSent).toBe(layer.size);
    expect(registry.content("team/app", layer.digest)?.byteLength).toBe(layer.size);
  });

  test("begins anew when the registry has other bytes than it says", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    const image = await imageToPush([6 * MIB]);
    const { sessions, layer } = await killAt(registry, image);
    // It took more than it says: what is sent on does not follow what it has.
    registry.interfere = ({ method, headers }) => {
      if (method !== "GET") return undefined;
      registry.interfere = undefined;
      const Location = `/v2/team/app/blobs/uploads/${"x".repeat(4)}`;
      expect(headers["host"]).toBe(registry.address);
      return { status: 204, headers: { Location, Range: `0-${MIB - 1}` } };
    };
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    await target.pushBlob(layer, image.content, { signal });
    expect(registry.content("team/app", layer.digest)?.byteLength).toBe(layer.size);
  });
});

describe("patience", () => {
  test("ends when no attempt brings the registry further, and the upload is kept", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    registry.interfere = ({ method }) => (method === "PATCH" ? "cut" : undefined);
    const sessions = createMemoryPushSessions();
    const { content, blobs } = await imageToPush([2 * MIB]);
    const [, layer] = blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    const target = targetAt(registry.address, { remote: remoteInChunks(sessions) });
    const failure = await failureOf(target.pushBlob(layer, content, { signal }));
    expect(failure.code).toBe("registry-unreachable");
    expect(failure.message).toStartWith(`Cannot push "${registry.address}/team/app@sha256:`);
    expect(failure.transient).toBe(true);
    expect(await sessions.find(registry.address, "team/app", layer.digest)).toBeDefined();
  });

  test("is long for a link that cuts every second chunk", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    let chunks = 0;
    registry.interfere = ({ method }) => {
      if (method === "PATCH") chunks += 1;
      return method === "PATCH" && chunks % 2 === 0 ? { cutBodyAfter: 100_000 } : undefined;
    };
    const image = await imageToPush([12 * MIB]);
    await pushImage(targetAt(registry.address, { remote: remoteInChunks() }), image);
    expectWhole(registry, image);
  });

  test("is not wasted on a registry that stops reading: no more is read of the blob, and it is given up", async () => {
    let handedBytes = 0;
    let requests = 0;
    await using server = await startHttpServer(async ({ method }) => {
      if (method === "HEAD") return { status: 404 };
      if (method === "POST") return { status: 202, headers: { Location: "/v2/upload" } };
      requests += 1;
      if (method === "GET") return { status: 404 };
      await new Promise(() => undefined);
      return { status: 500 };
    });
    const patience = { ...PATIENCE, attempts: 1, stallMs: 100 };
    const target = targetAt(server.address, { remote: remoteWith({ patience }) });
    const { content, blobs } = await imageToPush([32 * MIB]);
    const [, layer] = blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    const pushing = target.pushBlob(layer, content, {
      signal,
      onProgress: (bytes) => {
        handedBytes += bytes;
      },
    });
    const failure = await failureOf(pushing);
    expect(failure.code).toBe("registry-unreachable");
    expect(failure.message).toContain("did not answer (0.1 s)");
    expect(requests).toBe(1);
    expect(handedBytes).toBeLessThan(16 * MIB);
  });

  test("is not needed for an answer that comes before the body is over", async () => {
    await using server = await startHttpServer(async ({ method }) => {
      if (method === "HEAD") return { status: 404 };
      if (method === "POST") return { status: 202, headers: { Location: "/v2/upload" } };
      return fault(403, "DENIED", "the quota of the project is used up");
    });
    const target = targetAt(server.address);
    const { content, blobs } = await imageToPush([32 * MIB]);
    const [, layer] = blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    let sentBytes = 0;
    const pushing = target.pushBlob(layer, content, {
      signal,
      onProgress: (bytes) => {
        sentBytes += bytes;
      },
    });
    expect((await failureOf(pushing)).code).toBe("registry-full");
    expect(sentBytes).toBeLessThan(layer.size);
  });
});
