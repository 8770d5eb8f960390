import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { sourceConformance } from "#content/conformance";
import { ANONYMOUS } from "#credential";
import { OCI_MANIFEST } from "#oci";
import { parseReference } from "#reference";
import {
  blob,
  failureOf,
  fetchText,
  manifest,
  openRegistry,
  remoteWith,
  signal,
  sourceAt,
} from "#test-support/remote-world";
import {
  contentOf,
  manifestOf,
  type ScriptedReply,
  servedContent,
  startScriptedServer,
} from "#test-support/scripted-registry";
import { startWritableRegistry } from "#test-support/writable-registry";

sourceConformance("Remote.repository() before our own registry", async (content) => {
  const registry = startWritableRegistry(content.store);
  const reference = parseReference(`${registry.address}/${content.repository}:v1`);
  return {
    source: remoteWith().repository(reference, ANONYMOUS),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
});

describe("resolving", () => {
  test("a tag becomes a descriptor by one HEAD that accepts every type of manifest (C-60)", async () => {
    await using registry = await startScriptedServer(openRegistry);
    expect(await sourceAt(registry.address).resolve("1", { signal })).toEqual(manifest.descriptor);
    expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "HEAD /v2/team/app/manifests/1",
    ]);
    const { accept, ...headers } = registry.requests[0]?.headers ?? {};
    for (const type of ["image.index.v1", "image.manifest.v1", "manifest.list.v2", "manifest.v2"]) {
      expect(accept).toContain(type);
    }
    expect(headers["user-agent"]).toBe("dray/test");
    expect(headers["accept-encoding"]).toBe("identity");
  });

  test.each<[string, ScriptedReply]>([
    ["no digest", { headers: { "Content-Type": OCI_MANIFEST } }],
    ["a type that says nothing", { headers: { "Content-Type": "text/plain" } }],
    ["405", { status: 405 }],
    ["403", { status: 403 }],
    [
      "an encoding",
      { headers: { ...servedContent(manifest).headers, "Content-Encoding": "gzip" } },
    ],
  ])("HEAD answered with %s falls back to GET (C-64, C-65)", async (_, reply) => {
    await using registry = await startScriptedServer((request) =>
      request.method === "HEAD" ? { body: manifest.bytes, ...reply } : openRegistry(request),
    );
    expect(await sourceAt(registry.address).resolve("1", { signal })).toEqual(manifest.descriptor);
    expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD", "GET"]);
  });

  test("a digest that is known only among the blobs is found there (C-65)", async () => {
    await using registry = await startScriptedServer(({ path }) =>
      path.includes("/blobs/") ? { body: manifest.bytes } : { status: 404 },
    );
    const source = sourceAt(registry.address);
    const { digest } = manifest.descriptor;
    expect(await source.resolve(digest, { signal })).toEqual(manifest.descriptor);
    expect(await fetchText(source, manifest)).toBe(manifest.bytes.toString());
  });

  test("what is not there is content-missing, in the registry's words", async () => {
    await using registry = await startScriptedServer(() => ({
      status: 404,
      body: '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown \\u001b[31m tag"}]}',
    }));
    const failure = await failureOf(
      sourceAt(registry.address).fetch(manifest.descriptor, { signal }),
    );
    expect(failure.code).toBe("content-missing");
    expect(failure.transient).toBe(false);
    expect(failure.message).toBe(
      `Cannot fetch "${registry.address}/team/app@${manifest.descriptor.digest}": ${registry.address} answered 404 (MANIFEST_UNKNOWN: "unknown \\u001b[31m tag"), expected 200`,
    );
  });

  test("a digest header that is none, or another than the pinned one, is refused (C-64, SEC-6)", async () => {
    let header = "sha256:../../x";
    await using registry = await startScriptedServer(() => ({
      body: manifest.bytes,
      headers: { "Content-Type": OCI_MANIFEST, "Docker-Content-Digest": header },
    }));
    const source = sourceAt(registry.address);
    expect((await failureOf(source.resolve("1", { signal }))).code).toBe("registry-protocol");
    header = blob.descriptor.digest;
    const pinned = manifest.descriptor.digest;
    expect((await failureOf(source.resolve(pinned, { signal }))).code).toBe("registry-protocol");
  });

  test("a pinned digest stands when the header names one of another algorithm (C-64)", async () => {
    await using registry = await startScriptedServer(() => ({
      body: manifest.bytes,
      headers: {
        "Content-Type": OCI_MANIFEST,
        "Docker-Content-Digest": `sha512:${"a".repeat(128)}`,
      },
    }));
    const source = sourceAt(registry.address);
    const { digest } = manifest.descriptor;
    expect(await source.resolve(digest, { signal })).toEqual(manifest.descriptor);
  });

  test("a body that is not what its header says is refused (SEC-6)", async () => {
    await using registry = await startScriptedServer(({ method }) => ({
      ...(method === "HEAD" ? { status: 405 } : { body: manifest.bytes }),
      headers: { "Content-Type": OCI_MANIFEST, "Docker-Content-Digest": blob.descriptor.digest },
    }));
    const source = sourceAt(registry.address);
    for (const way of ["resolve", "fetchManifest"] as const) {
      const failure = await failureOf(source[way]("1", { signal }));
      expect(failure.code).toBe("digest-mismatch");
      expect(failure.message).toContain(manifest.descriptor.digest);
    }
  });

  test("what is no tag and no digest never becomes part of a URL (SEC-5)", async () => {
    await using registry = await startScriptedServer(openRegistry);
    const source = sourceAt(registry.address);
    for (const text of ["../x", "sha256:../../x", "a/b", "", `sha256:${"A".repeat(64)}`, "a\nb"]) {
      expect((await failureOf(source.resolve(text, { signal }))).code).toBe("digest-invalid");
    }
    expect(registry.requests).toEqual([]);
  });

  test("a manifest without end is given up (C-66, SEC-8)", async () => {
    await using registry = await startScriptedServer(({ method }) =>
      method === "HEAD"
        ? { status: 405 }
        : { body: Buffer.alloc(5 * 1024 * 1024, " "), headers: { "Transfer-Encoding": "chunked" } },
    );
    const failure = await failureOf(sourceAt(registry.address).resolve("1", { signal }));
    expect(failure.code).toBe("registry-protocol");
    expect(failure.message).toContain("4194304");
  });

  test("a manifest that is announced as too large is not asked for (C-66)", async () => {
    await using registry = await startScriptedServer(() => ({
      headers: { ...servedContent(manifest).headers, "Content-Length": "4194305" },
    }));
    const source = sourceAt(registry.address);
    expect((await failureOf(source.resolve("1", { signal }))).message).toContain("4194305");
    const huge = { ...manifest.descriptor, size: 4_194_305 };
    expect((await failureOf(source.fetch(huge, { signal }))).message).toContain("4194305");
    expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD"]);
  });

  test("a login portal's page is named as what it is (R-15)", async () => {
    await using registry = await startScriptedServer(() => ({
      headers: { "Content-Type": "text/html" },
      body: "<html>Please log in</html>",
    }));
    const source = sourceAt(registry.address);
    for (const promise of [
      source.resolve("1", { signal }),
      source.fetch(blob.descriptor, { signal }),
    ]) {
      const failure = await failureOf(promise);
      expect(failure.code).toBe("registry-protocol");
      expect(failure.message).toContain("web page");
    }
  });
});

describe("fetching a manifest by its name", () => {
  const readings: readonly (readonly [string, string])[] = [
    ["a tag", "1"],
    ["a digest", manifest.descriptor.digest],
  ];
  const headers = { "Content-Type": OCI_MANIFEST };

  test.each(readings)(
    "is one GET for %s, which accepts every type (C-60, C-63)",
    async (_, name) => {
      await using registry = await startScriptedServer(openRegistry);
      const { descriptor, bytes } = await sourceAt(registry.address).fetchManifest(name, {
        signal,
      });
      expect(descriptor).toEqual(manifest.descriptor);
      expect(Buffer.compare(bytes, manifest.bytes)).toBe(0);
      expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
        `GET /v2/team/app/manifests/${name}`,
      ]);
      const accept = `${registry.requests[0]?.headers["accept"]}`;
      for (const type of [
        "image.index.v1",
        "image.manifest.v1",
        "manifest.list.v2",
        "manifest.v2",
      ]) {
        expect(accept).toContain(type);
      }
    },
  );

  test.each<[string, Readonly<Record<string, string>>]>([
    ["no digest", headers],
    ["a type that says nothing", { "Content-Type": "text/plain" }],
    ["no length", { ...servedContent(manifest).headers, "Transfer-Encoding": "chunked" }],
    // An object store repeats what was noted beside the object; the digest knows better (B-2).
    ["a noted encoding", { ...servedContent(manifest).headers, "Content-Encoding": "gzip" }],
  ])("needs no header but what the bytes say: with %s (C-61, C-64)", async (_, sent) => {
    await using registry = await startScriptedServer(() => ({
      body: manifest.bytes,
      headers: sent,
    }));
    const read = await sourceAt(registry.address).fetchManifest("1", { signal });
    expect(read.descriptor).toEqual(manifest.descriptor);
    expect(registry.requests).toHaveLength(1);
  });

  test("takes a digest of another algorithm once the bytes have it (C-64, C-87)", async () => {
    const hex = createHash("sha512").update(manifest.bytes).digest("hex");
    let claimed = hex;
    await using registry = await startScriptedServer(() => ({
      body: manifest.bytes,
      headers: { ...headers, "Docker-Content-Digest": `sha512:${claimed}` },
    }));
    const source = sourceAt(registry.address);
    const { descriptor } = await source.fetchManifest("1", { signal });
    expect(`${descriptor.digest}`).toBe(`sha512:${hex}`);
    claimed = "a".repeat(128);
    const failure = await failureOf(source.fetchManifest("1", { signal }));
    expect(failure.code).toBe("digest-mismatch");
    // A pinned digest stands: the bytes have it, whatever else is said of them.
    const pinned = await source.fetchManifest(manifest.descriptor.digest, { signal });
    expect(pinned.descriptor).toEqual(manifest.descriptor);
  });

  test("refuses other bytes than a pinned digest names, whatever the header says (SEC-6)", async () => {
    const other = manifestOf(contentOf("another layer"));
    const pinned = manifest.descriptor.digest;
    for (const [header, code] of [
      [other.descriptor.digest, "registry-protocol"],
      [pinned, "digest-mismatch"],
      ["sha256:../../x", "registry-protocol"],
    ] as const) {
      await using registry = await startScriptedServer(() => ({
        body: other.bytes,
        headers: { ...headers, "Docker-Content-Digest": header },
      }));
      const failure = await failureOf(sourceAt(registry.address).fetchManifest(pinned, { signal }));
      expect(failure.code).toBe(code);
    }
  });

  test("refuses a body that is encoded, and says so (B-2)", async () => {
    const body = Bun.gzipSync(new Uint8Array(manifest.bytes));
    for (const more of [headers, servedContent(manifest).headers]) {
      await using registry = await startScriptedServer(() => ({
        body,
        headers: { ...more, "Content-Encoding": "gzip" },
      }));
      const failure = await failureOf(sourceAt(registry.address).fetchManifest("1", { signal }));
      expect(failure.code).toBe("registry-protocol");
      expect(failure.message).toContain('encoded the content as "gzip"');
    }
  });

  test("finds among the blobs a digest that is no manifest there (C-65), and never a tag", async () => {
    await using registry = await startScriptedServer(({ path }) =>
      path.includes("/blobs/") ? { body: manifest.bytes } : { status: 404 },
    );
    const source = sourceAt(registry.address);
    const { digest } = manifest.descriptor;
    expect((await source.fetchManifest(digest, { signal })).descriptor).toEqual(
      manifest.descriptor,
    );
    expect((await failureOf(source.fetchManifest("1", { signal }))).code).toBe("content-missing");
    expect(registry.requests.map(({ path }) => path.split("/")[4])).toEqual([
      "manifests",
      "blobs",
      "manifests",
    ]);
    const nowhere = contentOf("nowhere").descriptor.digest;
    await using empty = await startScriptedServer(() => ({ status: 404 }));
    const failure = await failureOf(sourceAt(empty.address).fetchManifest(nowhere, { signal }));
    expect(failure.code).toBe("content-missing");
  });

  test.each([
    ["it has 4194305 bytes", {}],
    ["it is larger", { "Transfer-Encoding": "chunked" }],
  ])("gives up one that is too large: %s (C-66, SEC-8)", async (found, more) => {
    await using registry = await startScriptedServer(() => ({
      body: Buffer.alloc(4 * 1024 * 1024 + 1, " "),
      headers: { ...headers, ...more },
    }));
    const failure = await failureOf(sourceAt(registry.address).fetchManifest("1", { signal }));
    expect(failure.code).toBe("registry-protocol");
    expect(failure.message).toContain(`${found}, expected a manifest of at most 4194304 bytes`);
  });

  test("asks again for one that breaks off, as often as its patience goes (C-89)", async () => {
    let cuts = 4;
    await using registry = await startScriptedServer((request) => {
      cuts -= 1;
      return { ...openRegistry(request), ...(cuts < 0 ? {} : { cutAfterBytes: 3 }) };
    });
    const source = sourceAt(registry.address);
    expect((await source.fetchManifest("1", { signal })).descriptor).toEqual(manifest.descriptor);
    expect(registry.requests).toHaveLength(5);
    cuts = 4;
    const brief = { signal, patience: "brief" } as const;
    const failure = await failureOf(source.fetchManifest("1", brief));
    expect([failure.code, failure.transient]).toEqual(["registry-unreachable", true]);
    expect(registry.requests).toHaveLength(6);
  });

  test.each([
    [401, "registry-unauthorized"],
    [403, "registry-denied"],
    [405, "registry-error"],
  ])("answered with %d is %s, and nothing else is tried", async (status, code) => {
    await using registry = await startScriptedServer(() => ({ status }));
    const failure = await failureOf(sourceAt(registry.address).fetchManifest("1", { signal }));
    expect(failure.code).toBe(code);
    expect(registry.requests).toHaveLength(1);
  });

  test("takes no web page, and nothing that is no manifest (R-15, C-67)", async () => {
    const schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for (const [type, body, code] of [
      ["text/html", "<html>Please log in</html>", "registry-protocol"],
      [OCI_MANIFEST, "<html>Please log in</html>", "manifest-invalid"],
      [schema1, '{"schemaVersion":1}', "manifest-schema1"],
    ] as const) {
      await using registry = await startScriptedServer(() => ({
        headers: { "Content-Type": type },
        body,
      }));
      const failure = await failureOf(sourceAt(registry.address).fetchManifest("1", { signal }));
      expect(failure.code).toBe(code);
    }
  });
});

describe("fetching", () => {
  test("manifests come from /manifests/, everything else from /blobs/", async () => {
    await using registry = await startScriptedServer(openRegistry);
    const source = sourceAt(registry.address);
    expect(await fetchText(source)).toBe("a layer");
    expect(await fetchText(source, manifest)).toBe(manifest.bytes.toString());
    expect(registry.requests.map(({ path }) => path)).toEqual([
      `/v2/team/app/blobs/${blob.descriptor.digest}`,
      `/v2/team/app/manifests/${manifest.descriptor.digest}`,
    ]);
  });

  test("empty content needs no registry (C-85)", async () => {
    await using registry = await startScriptedServer(openRegistry);
    expect(await fetchText(sourceAt(registry.address), contentOf(""))).toBe("");
    expect(registry.requests).toEqual([]);
  });

  test("a length that contradicts the descriptor fails before a byte is read (C-82)", async () => {
    await using registry = await startScriptedServer(() => ({ body: "a layer and more" }));
    const failure = await failureOf(sourceAt(registry.address).fetch(blob.descriptor, { signal }));
    expect(failure.code).toBe("registry-protocol");
    expect(failure.message).toContain("announced 16 bytes, expected 7");
  });

  test("an encoded body is refused, unless the object itself was only noted as encoded (B-2)", async () => {
    await using registry = await startScriptedServer(({ path }) => ({
      headers: { "Content-Encoding": "gzip" },
      body: path.includes(blob.descriptor.digest) ? "a layer" : Bun.gzipSync("manifest"),
    }));
    const source = sourceAt(registry.address);
    expect(await fetchText(source)).toBe("a layer");
    const failure = await failureOf(source.fetch(manifest.descriptor, { signal }));
    expect(failure.message).toContain('encoded the content as "gzip"');
  });

  test("a body that is cut errors the stream with a transient failure (C-89)", async () => {
    await using registry = await startScriptedServer(() => ({
      body: blob.bytes,
      cutAfterBytes: 3,
    }));
    const failure = await failureOf(fetchText(sourceAt(registry.address)));
    expect(failure.code).toBe("registry-unreachable");
    expect(failure.transient).toBe(true);
  });

  test.each([
    ["short", "a lay", "registry-unreachable", true],
    ["long", "a layer, and then some", "registry-protocol", false],
  ])("a body without length that is too %s errors the stream", async (_, body, code, transient) => {
    using registry = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, data) {
          // A TLS hello gets what a plain server answers; so the client comes back without TLS.
          const isHttp = data.toString("latin1").startsWith("GET");
          socket.end(
            isHttp ? `HTTP/1.1 200 OK\r\n\r\n${body}` : "HTTP/1.0 400 Bad Request\r\n\r\n",
          );
        },
      },
    });
    const failure = await failureOf(fetchText(sourceAt(`127.0.0.1:${registry.port}`)));
    expect(failure.code).toBe(code);
    expect(failure.transient).toBe(transient);
  });

  test("a body that stalls is given up, and there is no limit to the whole (C-54)", async () => {
    await using registry = await startScriptedServer(() => ({ body: blob.bytes, hangs: "body" }));
    const patience = { attempts: 1, firstMs: 1, maxMs: 1, headerTimeoutMs: 30_000, stallMs: 20 };
    const failure = await failureOf(
      fetchText(sourceAt(registry.address, ANONYMOUS, remoteWith({ patience }))),
    );
    expect(failure.message).toContain("sent next to nothing for 0.02 s");
    expect(failure.transient).toBe(true);
  });

  test("an aborted signal ends a body with the caller's own reason", async () => {
    await using registry = await startScriptedServer(() => ({ body: blob.bytes, hangs: "body" }));
    const caller = new AbortController();
    const stream = await sourceAt(registry.address).fetch(blob.descriptor, {
      signal: caller.signal,
    });
    const reader = stream.getReader();
    await reader.read();
    const reason = new Error("the caller's own");
    caller.abort(reason);
    await expect(reader.read()).rejects.toBe(reason);
  });
});
