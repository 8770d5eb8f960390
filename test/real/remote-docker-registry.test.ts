import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { Secret } from "#base";
import { type Access, ANONYMOUS } from "#credential";
import { parseReference } from "#reference";
import { testCertificates } from "#test-support/certificates";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "#test-support/docker-registry";
import {
  blob,
  failureOf,
  fetchRange,
  fetchText,
  manifest,
  remoteWith,
  signal,
  sourceAt,
} from "#test-support/remote-world";
import { contentOf, type ScriptedContent } from "#test-support/scripted-registry";

const username = "edge";
const password = "s3cret:with colon";
const right: Access = {
  ...ANONYMOUS,
  origin: "user-data:registryCredentials",
  credential: { kind: "password", username, password: new Secret(password) },
};
const wrong: Access = {
  ...right,
  credential: { kind: "password", username, password: new Secret("canary") },
};

/** Pushes the image by the protocol's plainest way; a Bearer registry is asked as its challenge says. */
async function push(registry: DockerRegistry): Promise<void> {
  const base = `${registry.caFile === undefined ? "http" : "https"}://${registry.address}`;
  const tls =
    registry.caFile === undefined ? {} : { tls: { ca: await readFile(registry.caFile, "utf8") } };
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  let authorization = basic;
  const send = async (method: string, url: URL, body?: ScriptedContent): Promise<Response> => {
    const type = body?.descriptor.mediaType ?? "application/octet-stream";
    const headers = { Authorization: authorization, "Content-Type": type };
    const response = await fetch(url, {
      method,
      headers,
      ...tls,
      ...(body && { body: body.bytes }),
    });
    const realm = /^Bearer realm="([^"]+)"/.exec(
      response.headers.get("www-authenticate") ?? "",
    )?.[1];
    if (response.status !== 401 || realm === undefined) return response;
    const query = "service=test-registry&scope=repository:team/app:pull,push";
    const given = await fetch(`${realm}?${query}`, { headers: { Authorization: basic } });
    authorization = `Bearer ${Object(await given.json()).token}`;
    return send(method, url, body);
  };
  for (const content of [blob, contentOf("{}")]) {
    const begun = await send("POST", new URL("/v2/team/app/blobs/uploads/", base));
    const upload = new URL(begun.headers.get("location") ?? "", base);
    upload.searchParams.set("digest", content.descriptor.digest);
    expect(
      (
        await send("PUT", upload, {
          ...content,
          descriptor: { ...content.descriptor, mediaType: "application/octet-stream" },
        })
      ).status,
    ).toBe(201);
  }
  expect((await send("PUT", new URL("/v2/team/app/manifests/1", base), manifest)).status).toBe(201);
}

const { ca, server, expired } = testCertificates();
const trusting = (access: Access): Access => ({ ...access, certificates: [ca] });

describe.skipIf(!hasDockerRegistry)("distribution's own registry", () => {
  describe.each([
    ["with htpasswd over http", { htpasswd: { username, password } }],
    ["with htpasswd over TLS", { htpasswd: { username, password }, tls: server }],
    ["with tokens over http", { token: { username, password } }],
  ])("%s", (_, options) => {
    let registry: DockerRegistry;
    beforeAll(async () => {
      registry = await startDockerRegistry(options);
      await push(registry);
    });
    afterAll(() => registry[Symbol.asyncDispose]());

    test("the image is resolved by tag and by digest, and fetched whole", async () => {
      const source = sourceAt(registry.address, trusting(right));
      expect(await source.resolve("1", { signal })).toEqual(manifest.descriptor);
      expect(await source.resolve(manifest.descriptor.digest, { signal })).toEqual(
        manifest.descriptor,
      );
      expect(await fetchText(source, manifest)).toBe(manifest.bytes.toString());
      expect(await fetchText(source)).toBe("a layer");
    });

    test("a wrong password, and none, are refused with the origin of what was sent", async () => {
      const refused = await failureOf(
        sourceAt(registry.address, trusting(wrong)).resolve("1", { signal }),
      );
      expect(refused.code).toBe("registry-unauthorized");
      expect(refused.hint).toContain("user-data:registryCredentials");
      const nobody = await failureOf(
        sourceAt(registry.address, trusting(ANONYMOUS)).resolve("1", { signal }),
      );
      expect(nobody.code).toBe("registry-unauthorized");
      expect(nobody.hint).toContain("No credential was given");
    });

    test("a tag, a digest and a repository that are not there are content-missing", async () => {
      const source = sourceAt(registry.address, trusting(right));
      expect((await failureOf(source.resolve("2", { signal }))).code).toBe("content-missing");
      const absent = contentOf("not pushed");
      expect((await failureOf(source.resolve(absent.descriptor.digest, { signal }))).code).toBe(
        "content-missing",
      );
      const failure = await failureOf(fetchText(source, absent));
      expect(failure.code).toBe("content-missing");
      expect(failure.message).toContain("BLOB_UNKNOWN");
      const nowhere = remoteWith().repository(
        parseReference(`${registry.address}/no/where`),
        trusting(right),
      );
      expect((await failureOf(nowhere.resolve("1", { signal }))).code).toBe("content-missing");
    });

    test("any range of a blob comes as it is, by one request each", async () => {
      const before = (await registry.accessLog()).length;
      const source = sourceAt(registry.address, trusting(right));
      await source.resolve("1", { signal });
      const text = blob.bytes.toString();
      for (const [start, end] of [
        [3, text.length],
        [0, 3],
        [2, 3],
        [text.length - 1, text.length],
      ] as const) {
        expect(await fetchRange(source, blob, start, end)).toBe(text.slice(start, end));
      }
      const lines = (await registry.accessLog()).slice(before).filter((line) => /"GET /.test(line));
      expect(lines.map((line) => /HTTP\/1\.1" (\d+)/.exec(line)?.[1])).toEqual(
        Array(4).fill("206"),
      );
    });

    test("a manifest by its name is one request, with its exact bytes", async () => {
      const before = (await registry.accessLog()).length;
      const source = sourceAt(registry.address, trusting(right));
      const { descriptor, bytes } = await source.fetchManifest("1", { signal });
      expect(descriptor).toEqual(manifest.descriptor);
      expect(Buffer.compare(bytes, manifest.bytes)).toBe(0);
      const lines = (await registry.accessLog()).slice(before);
      expect(lines.map((line) => /"(\w+) \S+ HTTP\/1\.1" (\d+)/.exec(line)?.[2])).toEqual([
        "401",
        "200",
      ]);
    });

    test("what was asked is in its log, and nothing was asked twice", async () => {
      const before = (await registry.accessLog()).length;
      const source = sourceAt(registry.address, trusting(right));
      await source.resolve("1", { signal });
      await fetchText(source);
      const lines = (await registry.accessLog()).slice(before);
      expect(
        lines.map((line) => /"(\w+) \S+ HTTP\/1\.1" (\d+)/.exec(line)?.slice(1).join(" ")),
      ).toEqual(["HEAD 401", "HEAD 200", "GET 200"]);
    });
  });

  test("without its authority, and with an old certificate, it is refused as such", async () => {
    for (const [tls, access] of [
      [server, right],
      [expired, trusting(right)],
    ] as const) {
      await using registry = await startDockerRegistry({ tls });
      const failure = await failureOf(sourceAt(registry.address, access).resolve("1", { signal }));
      expect(failure.code).toBe("registry-certificate");
    }
  });
});
