import { beforeEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { Failure, systemClock } from "#base";
import { createMemoryStore, digestOf, type MemoryStore } from "#content";
import type { DigestAlgorithm } from "#oci";
import {
  createRegistry,
  openAccess,
  type ServedRequest,
  type ServedStore,
  serveRegistry,
} from "#registry";

import { buildImage, randomBytes } from "#test-support/images";
import { errorOf, PushingClient } from "#test-support/pushing";
import { WireError } from "./wire.ts";

const R = "team/app";
const BYTES = randomBytes("blob", 100_000);
const EMPTY = new Uint8Array();

let store: MemoryStore;
let client: PushingClient;

beforeEach(() => {
  store = createMemoryStore();
  client = new PushingClient(createRegistry({ store }));
});

/** An address with one parameter more, as clients add the digest to the location they got. */
function withDigest(location: string, digest: string): string {
  const url = new URL(location, "http://registry.test");
  url.searchParams.set("digest", digest);
  return `${url.pathname}${url.search}`;
}

function streamOf(bytes: Uint8Array, pieceBytes = 10_000): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset >= bytes.byteLength) return controller.close();
      controller.enqueue(bytes.slice(offset, offset + pieceBytes));
      offset += pieceBytes;
    },
  });
}

async function expectCreated(response: Response, bytes: Uint8Array, digest: string): Promise<void> {
  expect(response.status).toBe(201);
  expect(response.headers.get("docker-content-digest")).toBe(digest);
  const location = response.headers.get("location") ?? "";
  expect(location).toBe(`/v2/${R}/blobs/${digest}`);
  const got = await client.send("GET", location);
  expect(got.status).toBe(200);
  expect(got.headers.get("docker-content-digest")).toBe(digest);
  expect(new Uint8Array(await got.arrayBuffer())).toEqual(new Uint8Array(bytes));
  const head = await client.send("HEAD", location);
  expect(head.headers.get("content-length")).toBe(String(bytes.byteLength));
}

async function uploadsUnderWay(): Promise<number> {
  return store.uploads.removeIdle(0);
}

const algorithms: readonly DigestAlgorithm[] = ["sha256", "sha512"];
describe.each(algorithms)("a blob under %s", (algorithm) => {
  const digest = digestOf(BYTES, algorithm);

  test("is missing before it is pushed", async () => {
    for (const method of ["GET", "HEAD"]) {
      expect((await client.send(method, `/v2/${R}/blobs/${digest}`)).status).toBe(404);
    }
  });

  test("comes whole with one POST", async () => {
    const path = `/v2/${R}/blobs/uploads/?digest=${digest}`;
    await expectCreated(await client.send("POST", path, { body: BYTES }), BYTES, digest);
    expect(await uploadsUnderWay()).toBe(0);
  });

  test("comes with POST and PUT", async () => {
    const response = await client.send("POST", `/v2/${R}/blobs/uploads/`);
    expect(response.status).toBe(202);
    expect(response.headers.get("content-length")).toBe("0");
    expect(response.headers.get("range")).toBe("0-0");
    const location = response.headers.get("location") ?? "";
    expect(location).toBe(`/v2/${R}/blobs/uploads/${response.headers.get("docker-upload-uuid")}`);
    const put = await client.send("PUT", withDigest(location, digest), { body: BYTES });
    await expectCreated(put, BYTES, digest);
  });

  test("comes as a stream of which nobody said how long it is", async () => {
    const location = await client.begin(R);
    const patch = await client.send("PATCH", location, { body: streamOf(BYTES) });
    expect(patch.status).toBe(202);
    expect(patch.headers.get("range")).toBe("0-99999");
    const put = await client.send("PUT", withDigest(patch.headers.get("location") ?? "", digest));
    await expectCreated(put, BYTES, digest);
  });

  const cuts: readonly (readonly [string, readonly number[], boolean])[] = [
    ["in one chunk", [0, 100_000], false],
    ["in three chunks", [0, 1, 60_000, 100_000], false],
    ["in chunks, the last with the PUT", [0, 30_000, 60_000, 100_000], true],
  ];
  test.each(cuts)("comes %s", async (_, offsets, isLastPut) => {
    let location = await client.begin(R);
    for (const [i, start] of offsets.slice(0, -1).entries()) {
      const end = offsets[i + 1] ?? 0;
      const headers = {
        "content-range": `${start}-${end - 1}`,
        "content-length": String(end - start),
      };
      const body = BYTES.slice(start, end);
      if (isLastPut && end === 100_000) {
        const put = await client.send("PUT", withDigest(location, digest), { headers, body });
        return expectCreated(put, BYTES, digest);
      }
      const patch = await client.send("PATCH", location, { headers, body });
      expect(patch.status).toBe(202);
      expect(patch.headers.get("range")).toBe(`0-${end - 1}`);
      location = patch.headers.get("location") ?? "";
    }
    await expectCreated(await client.send("PUT", withDigest(location, digest)), BYTES, digest);
  });

  test("comes from another repository without a byte", async () => {
    await client.blob("team/base", BYTES, algorithm);
    const path = `/v2/${R}/blobs/uploads/?mount=${digest}&from=team/base`;
    await expectCreated(await client.send("POST", path), BYTES, digest);
    expect(await uploadsUnderWay()).toBe(0);
  });

  test("has ranges", async () => {
    await client.blob(R, BYTES, algorithm);
    const path = `/v2/${R}/blobs/${digest}`;
    const part = await client.send("GET", path, { headers: { range: "bytes=500-1499" } });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe("bytes 500-1499/100000");
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(BYTES.slice(500, 1500));
    const beyond = await client.send("GET", path, { headers: { range: "bytes=200000-" } });
    expect(await errorOf(beyond)).toBe("416 RANGE_INVALID");
    const same = { "if-none-match": `"${digest}"` };
    expect((await client.send("GET", path, { headers: same })).status).toBe(304);
  });

  test("may be empty", async () => {
    const nothing = digestOf(EMPTY, algorithm);
    const path = `/v2/${R}/blobs/uploads/?digest=${nothing}`;
    await expectCreated(await client.send("POST", path, { body: EMPTY }), EMPTY, nothing);
    const location = await client.begin(R);
    await expectCreated(await client.send("PUT", withDigest(location, nothing)), EMPTY, nothing);
  });

  test("with another digest than was said is refused every way, and nothing of it stays", async () => {
    const wrong = digestOf(randomBytes("other", 10), algorithm);
    const ways = [
      async () => client.send("POST", `/v2/${R}/blobs/uploads/?digest=${wrong}`, { body: BYTES }),
      async () => client.send("PUT", withDigest(await client.begin(R), wrong), { body: BYTES }),
      async () => {
        const location = await client.begin(R);
        await client.send("PATCH", location, { body: streamOf(BYTES) });
        return client.send("PUT", withDigest(location, wrong));
      },
    ];
    for (const way of ways) {
      expect(await errorOf(await way())).toBe("400 DIGEST_INVALID");
      expect(await uploadsUnderWay()).toBe(0);
      expect((await client.send("GET", `/v2/${R}/blobs/${digest}`)).status).toBe(404);
      expect((await client.send("GET", `/v2/${R}/blobs/${wrong}`)).status).toBe(404);
    }
  });
});

describe("an upload", () => {
  const digest = digestOf(BYTES);

  test("tells how far it is, and by HEAD as well", async () => {
    const location = await client.begin(R);
    for (const [bytes, range] of [
      [0, "0-0"],
      [1, "0-0"],
      [99, "0-99"],
    ] as const) {
      await client.send("PATCH", location, { body: BYTES.slice(0, bytes) });
      for (const method of ["GET", "HEAD"]) {
        const status = await client.send(method, location);
        expect(status.status).toBe(204);
        expect(status.headers.get("range")).toBe(range);
        expect(status.headers.get("location")).toBe(location);
        expect(await status.text()).toBe("");
      }
    }
  });

  test("refuses a chunk that is not the next, and goes on", async () => {
    const location = await client.begin(R);
    const chunk = (method: string, range: string, start: number, end: number) =>
      client.send(method, method === "PUT" ? withDigest(location, digest) : location, {
        headers: { "content-range": range },
        body: BYTES.slice(start, end),
      });
    const refused = async (response: Response, range: string) => {
      expect(response.headers.get("location")).toBe(location);
      expect(response.headers.get("range")).toBe(range);
      expect(await errorOf(response)).toBe("416 RANGE_INVALID");
    };
    await refused(await chunk("PATCH", "50000-99999", 50_000, 100_000), "0-0");
    expect((await chunk("PATCH", "0-49999", 0, 50_000)).status).toBe(202);
    await refused(await chunk("PATCH", "0-49999", 0, 50_000), "0-49999");
    await refused(await chunk("PATCH", "50001-99999", 50_001, 100_000), "0-49999");
    await refused(await chunk("PUT", "50001-99999", 50_001, 100_000), "0-49999");
    for (const range of ["99999-50000", "x", "bytes", "", "-1-5"]) {
      await refused(await chunk("PATCH", range, 50_000, 100_000), "0-49999");
    }
    const put = await chunk("PUT", "bytes 50000-99999/*", 50_000, 100_000);
    await expectCreated(put, BYTES, digest);
  });

  test("takes nothing of a chunk whose length is not that of its range", async () => {
    const location = await client.begin(R);
    const headers = { "content-range": "0-49999", "content-length": "50001" };
    const patch = await client.send("PATCH", location, { headers, body: BYTES.slice(0, 50_001) });
    expect(await errorOf(patch)).toBe("400 SIZE_INVALID");
    expect((await client.send("GET", location)).headers.get("range")).toBe("0-0");
    const put = await client.send("PUT", withDigest(location, digest), { body: BYTES });
    await expectCreated(put, BYTES, digest);
  });

  test.each([
    ["longer", 60_000, 50_000],
    ["shorter", 40_000, 40_000],
  ])(
    "takes no more than its range of a stream that is %s, and tells what it took",
    async (_, length, bytesMax) => {
      const location = await client.begin(R);
      const patch = await client.send("PATCH", location, {
        headers: { "content-range": "0-49999" },
        body: streamOf(BYTES.slice(0, length)),
      });
      expect(await errorOf(patch)).toBe("400 SIZE_INVALID");
      const range = (await client.send("GET", location)).headers.get("range");
      expect(Number(range?.slice(2)) + 1).toBeLessThanOrEqual(bytesMax);
      const rest = BYTES.slice(Number(range?.slice(2)) + 1);
      const put = await client.send("PUT", withDigest(location, digest), { body: rest });
      await expectCreated(put, BYTES, digest);
    },
  );

  test("keeps what came before the client vanished", async () => {
    const answered = Promise.withResolvers<ServedRequest>();
    const registry = createRegistry({
      store,
      onRequest: (served) => served.method === "PATCH" && answered.resolve(served),
    });
    const clock = systemClock;
    await using server = serveRegistry({ registry, hostname: "127.0.0.1", port: 0, clock });
    const location = await client.begin(R);
    const socket = connect(Number(server.address.split(":")[1]), "127.0.0.1");
    socket.write(`PATCH ${location} HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n`);
    socket.write(BYTES.slice(0, 40_000));
    while ((await client.send("GET", location)).headers.get("range") !== "0-39999") {
      await new Promise(setImmediate);
    }
    socket.destroy();
    expect(await answered.promise).toMatchObject({ status: 400 });
    expect((await answered.promise).error).toBeUndefined();
    const put = await client.send("PUT", withDigest(location, digest), {
      body: BYTES.slice(40_000),
    });
    await expectCreated(put, BYTES, digest);
  });

  test("is for one request at a time", async () => {
    const location = await client.begin(R);
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    let pieces = 0;
    const slow = new ReadableStream<Uint8Array>({
      async pull(controller) {
        pieces += 1;
        if (pieces === 1) return controller.enqueue(BYTES.slice(0, 50_000));
        begun.resolve();
        await gate.promise;
        controller.enqueue(BYTES.slice(50_000));
        controller.close();
      },
    });
    const first = client.send("PATCH", location, { body: slow });
    await begun.promise;
    for (const method of ["PATCH", "PUT"]) {
      const other = await client.send(method, withDigest(location, digest), { body: BYTES });
      expect(await errorOf(other)).toBe("416 RANGE_INVALID");
    }
    gate.resolve();
    expect((await first).status).toBe(202);
    await expectCreated(await client.send("PUT", withDigest(location, digest)), BYTES, digest);
  });

  test("is gone when it is cancelled, and when it has ended", async () => {
    const cancelled = await client.begin(R);
    expect((await client.send("DELETE", cancelled)).status).toBe(204);
    const ended = await client.begin(R);
    await client.send("PUT", withDigest(ended, digest), { body: BYTES });
    for (const location of [cancelled, ended]) {
      for (const method of ["GET", "PATCH", "DELETE"]) {
        expect(await errorOf(await client.send(method, location))).toBe("404 BLOB_UPLOAD_UNKNOWN");
      }
      const put = await client.send("PUT", withDigest(location, digest));
      expect(await errorOf(put)).toBe("404 BLOB_UPLOAD_UNKNOWN");
    }
  });

  test("is nobody else's: not of another repository, not of another user", async () => {
    const access = {
      ...openAccess,
      authenticate: async ({ headers }: Request) => ({ user: headers.get("x-user") }),
    };
    const registry = createRegistry({ store, access });
    const edge = new PushingClient(registry, { "x-user": "edge" });
    const other = new PushingClient(registry, { "x-user": "other" });
    const location = await edge.begin(R);
    const elsewhere = location.replace(R, "team/other");
    for (const method of ["GET", "HEAD", "PATCH", "DELETE", "PUT"]) {
      expect((await edge.send(method, withDigest(elsewhere, digest))).status).toBe(404);
      expect((await other.send(method, withDigest(location, digest))).status).toBe(404);
    }
    const put = await edge.send("PUT", withDigest(location, digest), { body: BYTES });
    expect(put.status).toBe(201);
  });

  test("without a digest, or with none that is one, does not end, and goes on", async () => {
    const location = await client.begin(R);
    for (const bad of ["", "sha256:abc", digest.toUpperCase(), "md5:00"]) {
      const path = bad === "" ? location : withDigest(location, bad);
      const put = await client.send("PUT", path, { body: BYTES });
      expect(await errorOf(put)).toBe("400 DIGEST_INVALID");
    }
    const put = await client.send("PUT", withDigest(location, digest), { body: BYTES });
    await expectCreated(put, BYTES, digest);
  });

  test("of a digest that is none is not begun", async () => {
    const post = await client.send("POST", `/v2/${R}/blobs/uploads/?digest=sha256:x`);
    expect(await errorOf(post)).toBe("400 DIGEST_INVALID");
    expect(await uploadsUnderWay()).toBe(0);
  });

  test("that was to be whole at once and is not, is not kept", async () => {
    const headers = { "content-length": "5" };
    const path = `/v2/${R}/blobs/uploads/?digest=${digest}`;
    const post = await client.send("POST", path, { headers, body: BYTES });
    expect(await errorOf(post)).toBe("400 SIZE_INVALID");
    expect(await uploadsUnderWay()).toBe(0);
  });

  test("under a namespace stays there", async () => {
    const post = await client.send("POST", "/v2/team/app/blobs/uploads/?ns=quay.io");
    const location = post.headers.get("location") ?? "";
    const put = await client.send("PUT", withDigest(location, digest), { body: BYTES });
    expect((await client.send("GET", put.headers.get("location") ?? "")).status).toBe(200);
    expect((await client.send("GET", `/v2/quay.io/team/app/blobs/${digest}`)).status).toBe(200);
    expect((await client.send("GET", `/v2/team/app/blobs/${digest}`)).status).toBe(404);
  });
});

describe("a mount", () => {
  const digest = digestOf(BYTES);
  const mount = (query: string, from = client) =>
    from.send("POST", `/v2/${R}/blobs/uploads/?${query}`);

  test("of what is not there, or is named badly, is an upload", async () => {
    await client.blob("team/base", BYTES);
    const asked: string[] = [];
    const access = {
      ...openAccess,
      demand: (_: unknown, __: unknown, repository: string) => void asked.push(repository),
    };
    const watched = new PushingClient(createRegistry({ store, access }));
    const queries = [
      `mount=${digest}`,
      `mount=${digest}&from=team/none`,
      `mount=${digest}&from=../team/base`,
      `mount=${digest}&from=Team`,
      `mount=sha256:x&from=team/base`,
      `mount=${digestOf(EMPTY)}&from=team/base`,
    ];
    for (const query of queries) {
      const response = await mount(query, watched);
      expect(response.status).toBe(202);
      expect(response.headers.get("location")).toContain("/blobs/uploads/");
      expect((await client.send("HEAD", `/v2/${R}/blobs/${digest}`)).status).toBe(404);
    }
    // What is no name never gets as far as rights, or as a store.
    expect(new Set(asked)).toEqual(new Set([R, "team/none", "team/base"]));
  });

  test("of what the caller may not pull is an upload like any other", async () => {
    await client.blob("secret/base", BYTES);
    const access = {
      ...openAccess,
      demand(_: unknown, __: unknown, repository: string) {
        if (repository.startsWith("secret/")) throw new WireError("DENIED", "no");
      },
    };
    const limited = new PushingClient(createRegistry({ store, access }));
    const response = await mount(`mount=${digest}&from=secret/base`, limited);
    expect(response.status).toBe(202);
    expect((await limited.send("HEAD", `/v2/${R}/blobs/${digest}`)).status).toBe(404);
  });

  test("takes what was delivered", async () => {
    const root = await buildImage(store, "quay.io/team/base:v1", { seed: "base" });
    const manifest = await client.send("GET", "/v2/quay.io/team/base/manifests/v1");
    const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
    const layer = layers[0]?.digest ?? root.digest;
    expect((await mount(`mount=${layer}&from=quay.io/team/base`)).status).toBe(201);
    expect((await client.send("HEAD", `/v2/${R}/blobs/${layer}`)).status).toBe(200);
  });
});

describe("a store that fails", () => {
  const failing = (code: string): { client: PushingClient; log: ServedRequest[] } => {
    const log: ServedRequest[] = [];
    const failure = new Failure({ code, message: "the disk /dev/sdx", hint: "none" });
    const broken: ServedStore = {
      ...store,
      uploads: { ...store.uploads, begin: () => Promise.reject(failure) },
    };
    const registry = createRegistry({ store: broken, onRequest: (request) => log.push(request) });
    return { client: new PushingClient(registry), log };
  };

  test.each([
    ["store-full", "507 INSUFFICIENT_STORAGE"],
    ["store-broken", "500 UNKNOWN"],
  ])("with %s answers %s, tells the log why, and serves on", async (code, answer) => {
    const digest = await client.blob(R, BYTES);
    const { client: unlucky, log } = failing(code);
    const response = await unlucky.send("POST", `/v2/${R}/blobs/uploads/`);
    expect(await errorOf(response.clone() as Response)).toBe(answer);
    expect(await response.text()).not.toContain("/dev/sdx");
    expect(log[0]?.error).toMatchObject({ code });
    expect((await unlucky.send("GET", `/v2/${R}/blobs/${digest}`)).status).toBe(200);
  });
});

describe("a blob of another repository", () => {
  test("is not served here, nor after it was deleted here (SEC-12)", async () => {
    const digest = await client.blob(R, BYTES);
    expect((await client.send("GET", `/v2/team/other/blobs/${digest}`)).status).toBe(404);
    await client.blob("team/other", BYTES);
    expect((await client.send("DELETE", `/v2/${R}/blobs/${digest}`)).status).toBe(202);
    expect((await client.send("GET", `/v2/team/other/blobs/${digest}`)).status).toBe(200);
    expect((await client.send("GET", `/v2/${R}/blobs/${digest}`)).status).toBe(404);
  });
});
