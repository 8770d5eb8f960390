import { beforeAll, describe, expect, test } from "bun:test";
import { Failure } from "#base";
import {
  createMemoryStore,
  type MemoryStore,
  readImageGraph,
  resolveAndFetch,
  type Source,
} from "#content";
import { sourceConformance } from "#content/conformance";
import {
  type Descriptor,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  OCI_MANIFEST,
  parseDigest,
} from "#oci";
import { createRegistry, type Registry, type ServedRequest, type ServedStore } from "#registry";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, putJson } from "#test-support/images";
import { createAccess } from "./access.ts";

const signal = new AbortController().signal;
const AMD64 = { os: "linux", architecture: "amd64" };
const UNKNOWN_DIGEST = parseDigest(`sha256:${"0".repeat(64)}`);

let store: MemoryStore;
let registry: Registry;
let app: Descriptor;
let layer: Descriptor;
let other: Descriptor;

beforeAll(async () => {
  store = createMemoryStore();
  app = await buildImage(store, "quay.io/team/app:v1", { seed: "app", layerBytes: 10_000 });
  const otherRoot = await buildImage(store, "quay.io/team/other:v1", { seed: "other" });
  await buildImage(store, "docker.io/library/busybox:latest", { seed: "busybox" });
  await buildImage(store, "reg.example:5000/infra/cni:v1", { seed: "cni" });
  const blobs = async (root: Descriptor) =>
    (await readImageGraph(store, root, AMD64, { signal })).blobs;
  layer = required((await blobs(app))[1]);
  other = required((await blobs(otherRoot))[1]);
  registry = createRegistry({ store, project: "spectro-images" });
});

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the fixture lacks it");
  return value;
}

function ask(
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
  from: Registry = registry,
): Promise<Response> {
  return from.fetch(new Request(`http://registry.test${path}`, { method, headers }));
}

async function errorCode(response: Response): Promise<unknown> {
  expect(response.headers.get("content-type")).toBe("application/json");
  const body = (await response.json()) as { errors: { code: string; message: string }[] };
  expect(body.errors[0]?.message).toBeString();
  return body.errors[0]?.code;
}

describe("names", () => {
  const paths = [
    "/v2/quay.io/team/app/manifests/v1",
    "/v2/spectro-images/quay.io/team/app/manifests/v1",
    "/v2/team/app/manifests/v1?ns=quay.io",
    "/v2/library/busybox/manifests/latest?ns=docker.io",
    "/v2/library/busybox/manifests/latest?ns=registry-1.docker.io",
    "/v2/index.docker.io/library/busybox/manifests/latest",
    "/v2/infra/cni/manifests/v1?ns=reg.example:5000",
    "/v2/reg.example_5000/infra/cni/manifests/v1",
    "/v2/spectro-images/reg.example_5000/infra/cni/manifests/v1",
    "/v2/spectro-images/quay.io/team/app/manifests/v1?ns=quay.io",
    "/v2/spectro-images/reg.example_5000/infra/cni/manifests/v1?ns=reg.example:5000",
  ];
  test.each(paths)("serves %s", async (path) => {
    expect((await ask(path)).status).toBe(200);
  });

  test("answers containerd with the namespace it asked for", async () => {
    const response = await ask("/v2/team/app/manifests/v1?ns=quay.io");
    expect(response.headers.get("oci-namespace")).toBe("quay.io");
  });

  const unknown = [
    "/v2/team/app/manifests/v1",
    "/v2/team/app/manifests/v1?ns=ghcr.io",
    "/v2/team/app/manifests/v1?ns=",
    "/v2/team/app/manifests/v1?ns=quay.io/team",
    "/v2/app/manifests/v1?ns=quay.io/team",
    "/v2/other-project/quay.io/team/app/manifests/v1",
    "/v2/quay.io/team/manifests/v1",
    "/v2/_catalog",
    "/v2/team/app/referrers/sha256:0000000000000000000000000000000000000000000000000000000000000000?ns=quay.io.example",
    "/",
  ];
  test.each(unknown)("knows no %s", async (path) => {
    const response = await ask(path);
    expect(response.status).toBe(404);
    expect(await errorCode(response)).toBe("NAME_UNKNOWN");
  });

  test("shows a name at once when it is given, and not when it is not", async () => {
    const own = createMemoryStore();
    const served = createRegistry({ store: own });
    expect((await ask("/v2/a.example/x/manifests/v1", {}, "GET", served)).status).toBe(404);
    const manifest = await buildImage(own, "a.example/x:v1", { seed: "x" });
    expect((await ask("/v2/a.example/x/manifests/v1", {}, "GET", served)).status).toBe(200);
    await own.name(`a.example/x:v2@${manifest.digest}`, manifest);
    expect((await ask("/v2/a.example/x/manifests/v2", {}, "GET", served)).status).toBe(200);
  });

  test("takes the last part of the path for the verb, so that any repository can be named", async () => {
    const own = createMemoryStore();
    for (const name of ["a.b/blobs/uploads", "a.b/x/tags/list", "a.b/manifests/manifests"]) {
      await buildImage(own, `${name}:v1`, { seed: name });
      const served = createRegistry({ store: own });
      expect((await ask(`/v2/${name}/manifests/v1`, {}, "GET", served)).status).toBe(200);
      expect((await ask(`/v2/${name}/tags/list`, {}, "GET", served)).status).toBe(200);
    }
  });

  const refused: readonly (readonly [string, number])[] = [
    ["/v2/quay.io/team%2Fapp/manifests/v1", 400],
    ["/v2/quay.io//team/app/manifests/v1", 400],
    ["/v2/quay.io/team/app%00/manifests/v1", 400],
    ["/v2/quay.io/Team/app/manifests/v1", 400],
    ["/v2/quay.io/team/app/manifests/%2e%2e%2fv1", 400],
    ["/v2/quay.io/team/app/blobs/sha256:ABC", 400],
    ["/v2/quay.io/team/app/blobs/sha256:%2e%2e%2f%2e%2e%2fetc", 400],
    ["/v2/quay.io/team/app/manifests/sha256:baddigeststring", 400],
    ["/v2/quay.io/team/app/../../../../etc/passwd", 404],
  ];
  test.each(refused)("refuses %s", async (path, status) => {
    expect((await ask(path)).status).toBe(status);
  });
});

describe("manifests", () => {
  test("are served byte for byte, by tag and by digest, with what pullers need", async () => {
    for (const reference of ["v1", app.digest, app.digest.replace(":", "%3A")]) {
      const response = await ask(`/v2/quay.io/team/app/manifests/${reference}`);
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe(app.mediaType);
      expect(response.headers.get("docker-content-digest")).toBe(app.digest);
      expect(response.headers.get("content-length")).toBe(String(app.size));
      expect(response.headers.get("etag")).toBe(`"${app.digest}"`);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      const body = new Uint8Array(await response.arrayBuffer());
      expect(body).toEqual(
        new Uint8Array(await new Response(await store.fetch(app, { signal })).arrayBuffer()),
      );
    }
  });

  test("have the headers of GET and no body on HEAD", async () => {
    const response = await ask("/v2/quay.io/team/app/manifests/v1", {}, "HEAD");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(app.size));
    expect(await response.text()).toBe("");
  });

  test("may be cached for good by digest and not by tag", async () => {
    const byTag = await ask("/v2/quay.io/team/app/manifests/v1");
    const byDigest = await ask(`/v2/quay.io/team/app/manifests/${app.digest}`);
    expect(byTag.headers.get("cache-control")).toBe("no-cache");
    expect(byDigest.headers.get("cache-control")).toContain("immutable");
  });

  test("that a client has already are not sent again", async () => {
    for (const tag of [
      `"${app.digest}"`,
      app.digest,
      `W/"${app.digest}"`,
      `"x", "${app.digest}"`,
    ]) {
      const response = await ask("/v2/quay.io/team/app/manifests/v1", { "if-none-match": tag });
      expect(response.status).toBe(304);
      expect(await response.text()).toBe("");
    }
    const response = await ask("/v2/quay.io/team/app/manifests/v1", { "if-none-match": '"x"' });
    expect(response.status).toBe(200);
  });

  const accepted: readonly (readonly [string, number])[] = [
    [`${OCI_MANIFEST}, ${OCI_INDEX}`, 200],
    [`${OCI_MANIFEST};q=0.5`, 200],
    ["*/*", 200],
    ["application/json", 200],
    ["text/html", 200],
    [OCI_INDEX, 404],
    [`${OCI_INDEX}, application/vnd.docker.distribution.manifest.v2+json`, 404],
    [`${OCI_INDEX}, */*;q=0.1`, 200],
  ];
  test.each(accepted)("for Accept: %s answer %d", async (accept, status) => {
    const response = await ask("/v2/quay.io/team/app/manifests/v1", { accept });
    expect(response.status).toBe(status);
    if (status === 404) expect(await errorCode(response)).toBe("MANIFEST_UNKNOWN");
  });

  const unknown = ["v2", UNKNOWN_DIGEST, ".hidden"];
  test.each(unknown)("are unknown: %s", async (reference) => {
    const response = await ask(`/v2/quay.io/team/app/manifests/${reference}`);
    expect(response.status).toBe(404);
    expect(await errorCode(response)).toBe("MANIFEST_UNKNOWN");
  });

  test("are no layers", async () => {
    const response = await ask(`/v2/quay.io/team/app/manifests/${layer.digest}`);
    expect(await errorCode(response)).toBe("MANIFEST_UNKNOWN");
  });
});

describe("blobs", () => {
  const path = () => `/v2/quay.io/team/app/blobs/${layer.digest}`;

  test("are served whole, with their length", async () => {
    const response = await ask(path());
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(layer.size));
    expect(response.headers.get("docker-content-digest")).toBe(layer.digest);
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect((await response.arrayBuffer()).byteLength).toBe(layer.size);
  });

  test("have the headers of GET and no body on HEAD, whatever range is asked for", async () => {
    const response = await ask(path(), { range: "bytes=0-9" }, "HEAD");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(layer.size));
    expect(await response.text()).toBe("");
  });

  const ranges: readonly (readonly [string, number, number])[] = [
    ["bytes=500-1499", 500, 1500],
    ["bytes=500-", 500, -1],
    ["bytes=-500", -500, -1],
    ["bytes=0-0", 0, 1],
    ["bytes=2000-50000000", 2000, -1],
    ["bytes=-50000000", 0, -1],
  ];
  test.each(ranges)("are served in part: %s", async (range, from, to) => {
    const start = from < 0 ? layer.size + from : from;
    const end = to < 0 ? layer.size : to;
    const response = await ask(path(), { range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/${layer.size}`);
    expect(response.headers.get("content-length")).toBe(String(end - start));
    const whole = new Uint8Array(await (await ask(path())).arrayBuffer());
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(whole.subarray(start, end));
  });

  test.each(["bytes=500-0", "bytes=50000000-", "bytes=-0"])("have no %s: 416", async (range) => {
    const response = await ask(path(), { range });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe(`bytes */${layer.size}`);
    expect(await errorCode(response)).toBe("RANGE_INVALID");
  });

  test.each(["bytes=0-1,4-5", "lines=0-1", "bytes=-", "bytes=a-b"])(
    "are served whole for %s",
    async (range) => {
      expect((await ask(path(), { range })).status).toBe(200);
    },
  );

  test("are served in part only of the version that the client began with", async () => {
    const same = { range: "bytes=1-2", "if-range": `"${layer.digest}"` };
    expect((await ask(path(), same)).status).toBe(206);
    const another = { range: "bytes=1-2", "if-range": `"${app.digest}"` };
    expect((await ask(path(), another)).status).toBe(200);
  });

  test("are served only from the repositories whose names lead to them", async () => {
    expect((await ask(`/v2/quay.io/team/other/blobs/${other.digest}`)).status).toBe(200);
    const response = await ask(`/v2/quay.io/team/app/blobs/${other.digest}`);
    expect(response.status).toBe(404);
    expect(await errorCode(response)).toBe("BLOB_UNKNOWN");
  });

  test("are not served when nothing leads to them", async () => {
    const own = createMemoryStore();
    await buildImage(own, "a.example/x:v1", { seed: "x" });
    const stray = await putBytes(own, "application/octet-stream", new Uint8Array([1, 2, 3]));
    const served = createRegistry({ store: own });
    const response = await ask(`/v2/a.example/x/blobs/${stray.digest}`, {}, "GET", served);
    expect(await errorCode(response)).toBe("BLOB_UNKNOWN");
  });
});

describe("what a name leads to", () => {
  test("is found out from manifests alone, once", async () => {
    const own = createMemoryStore();
    const root = await buildImage(own, "a.example/x:v1", { seed: "x" });
    const fetched: string[] = [];
    const watched: ServedStore = {
      ...own,
      fetch(descriptor, options) {
        fetched.push(descriptor.digest);
        return own.fetch(descriptor, options);
      },
    };
    const served = createRegistry({ store: watched });
    for (let i = 0; i < 3; i += 1) {
      await ask(`/v2/a.example/x/blobs/${UNKNOWN_DIGEST}`, {}, "GET", served);
      await ask("/v2/a.example/x/manifests/v1", {}, "GET", served);
    }
    expect(fetched).toEqual([root.digest]);
  });

  test("is what the tag says where a pinned name has the same tag", async () => {
    const own = createMemoryStore();
    const old = await buildImage(own, "a.example/x:v1", { seed: "old" });
    const root = await buildImage(own, "a.example/x:v1", { seed: "new" });
    await own.name(`a.example/x:v1@${old.digest}`, old);
    const served = createRegistry({ store: own });
    const response = await ask("/v2/a.example/x/manifests/v1", {}, "HEAD", served);
    expect(response.headers.get("docker-content-digest")).toBe(root.digest);
    const pinned = `/v2/a.example/x/manifests/${old.digest}`;
    expect((await ask(pinned, {}, "GET", served)).status).toBe(200);
  });
});

describe("an index whose other platforms are not here", () => {
  test("is served, they are not, and they are as soon as they come", async () => {
    const whole = createMemoryStore();
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(whole, "a.example/x:v1", { seed: "x", platforms });
    const own = createMemoryStore();
    await copyPlatform(whole, own, root, "amd64");
    await own.name("a.example/x:v1", root);
    const served = createRegistry({ store: own });
    const arm64 = await readImageGraph(
      whole,
      root,
      { os: "linux", architecture: "arm64" },
      { signal },
    );
    const armPath = `/v2/a.example/x/manifests/${arm64.manifest.digest}`;
    const armLayer = `/v2/a.example/x/blobs/${required(arm64.blobs[1]).digest}`;
    expect((await ask("/v2/a.example/x/manifests/v1", {}, "GET", served)).status).toBe(200);
    expect(await errorCode(await ask(armPath, {}, "GET", served))).toBe("MANIFEST_UNKNOWN");
    expect(await errorCode(await ask(armLayer, {}, "GET", served))).toBe("BLOB_UNKNOWN");
    await copyPlatform(whole, own, root, "arm64");
    expect((await ask(armPath, {}, "GET", served)).status).toBe(200);
    expect((await ask(armLayer, {}, "GET", served)).status).toBe(200);
  });

  async function copyPlatform(
    from: MemoryStore,
    to: MemoryStore,
    root: Descriptor,
    architecture: string,
  ) {
    const graph = await readImageGraph(from, root, { os: "linux", architecture }, { signal });
    for (const content of [
      ...graph.blobs,
      ...graph.documents.map(({ descriptor }) => descriptor),
    ]) {
      const bytes = await new Response(await from.fetch(content, { signal })).bytes();
      await putBytes(to, content.mediaType, bytes);
    }
  }
});

describe("a listed document that can't be read", () => {
  test("hides nothing else", async () => {
    const own = createMemoryStore();
    const image = await buildImage(own, "a.example/x:v1", { seed: "x" });
    const broken = await putBytes(own, OCI_MANIFEST, new TextEncoder().encode("not JSON"));
    const index = await putJson(own, OCI_INDEX, {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [broken, image],
    });
    await own.name("a.example/y:v1", index);
    const served = createRegistry({ store: own });
    const path = `/v2/a.example/y/manifests/${image.digest}`;
    expect((await ask(path, {}, "GET", served)).status).toBe(200);
  });
});

describe("tags", () => {
  let tagged: Registry;
  beforeAll(async () => {
    const own = createMemoryStore();
    const root = await buildImage(own, "a.example/x:b", { seed: "x" });
    for (const tag of ["a", "c", "B", "a-1"]) await own.name(`a.example/x:${tag}`, root);
    await own.name(`a.example/x@${root.digest}`, root);
    await own.name("a.example/xy:other", root);
    await own.name(`a.example/pinned@${root.digest}`, root);
    tagged = createRegistry({ store: own });
  });

  const pages: readonly (readonly [string, readonly string[], string | null])[] = [
    ["", ["B", "a", "a-1", "b", "c"], null],
    ["?n=2", ["B", "a"], '</v2/a.example/x/tags/list?n=2&last=a>; rel="next"'],
    ["?n=2&last=a", ["a-1", "b"], '</v2/a.example/x/tags/list?n=2&last=b>; rel="next"'],
    ["?n=2&last=b", ["c"], null],
    ["?last=aa", ["b", "c"], null],
    ["?last=z", [], null],
    ["?n=0", [], null],
    ["?n=5", ["B", "a", "a-1", "b", "c"], null],
    ["?n=99999999999999999999", ["B", "a", "a-1", "b", "c"], null],
  ];
  test.each(pages)("are listed in order, a page at a time: %s", async (query, tags, link) => {
    const response = await ask(`/v2/a.example/x/tags/list${query}`, {}, "GET", tagged);
    expect(await response.json()).toEqual({ name: "a.example/x", tags });
    expect(response.headers.get("link")).toBe(link);
  });

  test("keep the rest of the query in the link", async () => {
    const response = await ask("/v2/x/tags/list?ns=a.example&n=1", {}, "GET", tagged);
    expect(response.headers.get("link")).toContain("ns=a.example");
  });

  test.each(["-1", "x", "1.5", "1e3", ""])("refuse n=%s", async (n) => {
    const response = await ask(`/v2/a.example/x/tags/list?n=${n}`, {}, "GET", tagged);
    expect(response.status).toBe(400);
    expect(await errorCode(response)).toBe("PAGINATION_NUMBER_INVALID");
  });

  test("are an empty list where all names are digests", async () => {
    const response = await ask("/v2/a.example/pinned/tags/list", {}, "GET", tagged);
    expect(await response.json()).toEqual({ name: "a.example/pinned", tags: [] });
  });
});

describe("requests", () => {
  test.each(["/v2/", "/v2"])("to %s tell that this is a registry", async (path) => {
    const response = await ask(path);
    expect(response.status).toBe(200);
    expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
  });

  test.each(["PUT", "POST", "PATCH", "DELETE"])("that write are refused: %s", async (method) => {
    const reading = createRegistry({ store, isWritable: false });
    const response = await ask("/v2/quay.io/team/app/manifests/v1", {}, method, reading);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
    expect(await errorCode(response)).toBe("UNSUPPORTED");
  });

  test("without a right password learn nothing, not even what there is not", async () => {
    const users = {
      verify: async (user: string, password: string) => user === "a" && password === "b:c",
    };
    const closed = createRegistry({
      store,
      access: createAccess({ users, clock: createManualClock() }),
    });
    const wrong = [
      {},
      { authorization: basic("a", "x") },
      { authorization: "Basic !!" },
      { authorization: "Bearer x" },
    ];
    for (const headers of wrong) {
      for (const path of [
        "/v2/",
        "/v2/quay.io/team/app/manifests/v1",
        "/v2/none/manifests/v1",
        "/v2/%2F",
        "/",
      ]) {
        for (const method of ["GET", "HEAD", "PUT"]) {
          const response = await ask(path, headers as Record<string, string>, method, closed);
          expect(response.status).toBe(401);
          expect(response.headers.get("www-authenticate")).toStartWith("Basic realm=");
        }
      }
    }
    const right = { authorization: basic("a", "b:c") };
    expect((await ask("/v2/quay.io/team/app/manifests/v1", right, "GET", closed)).status).toBe(200);
    expect((await ask("/v2/none/manifests/v1", right, "GET", closed)).status).toBe(404);
  });

  test("are told of once each", async () => {
    const log: ServedRequest[] = [];
    const users = { verify: async () => true };
    const logged = createRegistry({
      store,
      access: createAccess({ users, clock: createManualClock() }),
      onRequest: (request) => log.push(request),
    });
    const headers = { authorization: basic("edge", "secret") };
    const path = `/v2/quay.io/team/app/blobs/${layer.digest}`;
    await ask(path, { ...headers, range: "bytes=0-9" }, "GET", logged);
    await ask(`${path}?token=secret`, headers, "HEAD", logged);
    await ask("/v2/", {}, "GET", logged);
    expect(log).toEqual([
      { method: "GET", path, status: 206, bytes: 10, user: "edge" },
      { method: "HEAD", path, status: 200, bytes: 0, user: "edge" },
      { method: "GET", path: "/v2/", status: 401, bytes: expect.any(Number), user: null },
    ]);
  });

  test("that break the store are answered with 500, and the log has the reason", async () => {
    const reason = new Failure({ code: "store-broken", message: "the disk is gone", hint: "none" });
    const broken: ServedStore = { ...createMemoryStore(), names: () => Promise.reject(reason) };
    const log: ServedRequest[] = [];
    const served = createRegistry({ store: broken, onRequest: (request) => log.push(request) });
    const response = await ask("/v2/a.example/x/manifests/v1", {}, "GET", served);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("disk");
    expect(log[0]?.error).toBe(reason);
  });
});

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** What a client does, at its smallest: enough to hold the registry to the words of a source. */
function handlerSource(from: Registry, repository: string): Source {
  const request = async (path: string, method: string) => {
    const response = await ask(`/v2/${repository}/${path}`, {}, method, from);
    if (response.status === 200) return response;
    throw new Failure({ code: "content-missing", message: await response.text(), hint: "none" });
  };
  return {
    async resolve(tagOrDigest, options) {
      options.signal.throwIfAborted();
      const { headers } = await request(`manifests/${tagOrDigest}`, "HEAD");
      return {
        mediaType: headers.get("content-type") ?? "",
        digest: parseDigest(headers.get("docker-content-digest") ?? ""),
        size: Number(headers.get("content-length")),
      };
    },
    fetchManifest(tagOrDigest, options) {
      return resolveAndFetch(this, tagOrDigest, options);
    },
    async fetch({ digest, mediaType }, options) {
      const verb = isManifestType(mediaType) || isIndexType(mediaType) ? "manifests" : "blobs";
      const { body } = await request(`${verb}/${digest}`, "GET");
      const stream = body ?? new Blob([]).stream();
      return stream.pipeThrough(new TransformStream(), { signal: options.signal });
    },
  };
}

sourceConformance("a registry over a store in memory", async (content) => ({
  source: handlerSource(createRegistry({ store: content.store }), content.repository),
  async [Symbol.asyncDispose]() {},
}));
