import { describe, expect, test } from "bun:test";
import { ANONYMOUS } from "#credential";
import { testCertificates } from "#test-support/certificates";
import {
  basicChallenge,
  blob,
  failureOf,
  fetchText,
  manifest,
  remoteWith,
  signal,
  sourceAt,
  user,
} from "#test-support/remote-world";
import {
  servedContent,
  startScriptedServer,
  startTunnelProxy,
} from "#test-support/scripted-registry";

const { ca, server: serverCertificate } = testCertificates();

describe("redirects", () => {
  test("across origins the credentials stay behind, and so they do when the chain returns (C-40, SEC-3)", async () => {
    await using storage = await startScriptedServer(({ path }) =>
      path === "/object"
        ? { status: 307, headers: { Location: `${registry.url}/back` } }
        : undefined,
    );
    await using registry = await startScriptedServer(({ path, headers }) => {
      if (path === "/back") return { body: blob.bytes };
      if (headers["authorization"] === undefined) return basicChallenge;
      return { status: 307, headers: { Location: `${storage.url}/object` } };
    });
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
    const sent = [...registry.requests, ...storage.requests].map(({ path, headers }) => [
      path,
      headers["authorization"] === undefined ? "nothing" : "credential",
    ]);
    const path = `/v2/team/app/blobs/${blob.descriptor.digest}`;
    expect(sent).toEqual([
      [path, "nothing"],
      [path, "credential"],
      ["/back", "nothing"],
      ["/object", "nothing"],
    ]);
  });

  test("on the same origin they go along, and a relative Location is understood", async () => {
    await using registry = await startScriptedServer(({ path, headers }) => {
      if (headers["authorization"] === undefined) return basicChallenge;
      return path === "/moved"
        ? { body: blob.bytes }
        : { status: 302, headers: { Location: "/moved" } };
    });
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
  });

  test("ten hops are followed and no more (C-42)", async () => {
    await using registry = await startScriptedServer(({ path }) => {
      const hop = Number(/^\/hop\/(\d+)$/.exec(path)?.[1] ?? 0);
      return { status: 302, headers: { Location: `/hop/${hop + 1}` } };
    });
    const failure = await failureOf(sourceAt(registry.address).fetch(blob.descriptor, { signal }));
    expect(failure.code).toBe("redirect-refused");
    expect(registry.requests).toHaveLength(11);
  });

  test("https to http, a user in the URL, another scheme, and a local network are refused", async () => {
    let location = "";
    await using registry = await startScriptedServer(
      () => ({ status: 307, headers: { Location: location } }),
      serverCertificate,
    );
    await using proxy = await startTunnelProxy(registry.address);
    const remote = remoteWith({
      proxy: { httpsProxy: proxy.url, noProxy: "rebound.example" },
      lookupAddresses: async (host) =>
        host === "rebound.example" ? ["10.1.2.3"] : ["203.0.113.7"],
    });
    const source = sourceAt("registry.test", { ...ANONYMOUS, certificates: [ca] }, remote);
    for (const refused of [
      "http://registry.test/x",
      "https://edge:canary@registry.test/x",
      "ftp://registry.test/x",
      "https://169.254.169.254/latest/meta-data?canary",
      "https://127.0.0.1/x",
      "https://2130706433/x",
      "https://0x7f.1/x",
      "https://[::1]/x",
      "https://[::ffff:10.0.0.1]/x",
      "https://localhost./x",
      "https://rebound.example/x",
    ]) {
      location = refused;
      const requestsBefore = registry.requests.length;
      const failure = await failureOf(source.fetch(blob.descriptor, { signal }));
      expect([refused, failure.code]).toEqual([refused, "redirect-refused"]);
      expect(registry.requests).toHaveLength(requestsBefore + 1);
    }
  });

  test("even a registry of this machine leads to no link-local address, and its plain http not away", async () => {
    for (const location of [
      "http://169.254.169.254/latest/meta-data",
      "https://[fe80::1]/x",
      "https://0.0.0.0/x",
      "http://192.0.2.1/x",
    ]) {
      await using registry = await startScriptedServer(() => ({
        status: 302,
        headers: { Location: location },
      }));
      const source = sourceAt(registry.address);
      const failure = await failureOf(source.fetch(blob.descriptor, { signal }));
      expect([location, failure.code]).toEqual([location, "redirect-refused"]);
    }
  });

  test("a signed URL that has run out is asked for anew, once (C-44), and never shown (C-45)", async () => {
    let isExpired = true;
    await using storage = await startScriptedServer(() => {
      if (!isExpired) return { body: blob.bytes };
      return { status: 403, body: "<Error><Code>AccessDenied</Code><Url>canary</Url></Error>" };
    });
    await using registry = await startScriptedServer((_, number) => {
      isExpired = number !== 2;
      return { status: 307, headers: { Location: `${storage.url}/o?X-Signature=canary` } };
    });
    const source = sourceAt(registry.address);
    expect(await fetchText(source)).toBe("a layer");
    const failure = await failureOf(source.fetch(blob.descriptor, { signal }));
    expect(failure.code).toBe("registry-denied");
    expect(failure.message).toContain("answered 403 (AccessDenied)");
    expect(registry.requests).toHaveLength(4);
  });

  test("storage that wants a token of its own gets an anonymous one (C-41)", async () => {
    await using storage = await startScriptedServer(({ path, headers }) => {
      if (path.startsWith("/token")) return { body: JSON.stringify({ token: "for-storage" }) };
      if (headers["authorization"] === "Bearer for-storage") return { body: blob.bytes };
      return {
        status: 401,
        headers: { "WWW-Authenticate": `Bearer realm="${storage.url}/token"` },
      };
    });
    await using registry = await startScriptedServer(({ headers }) =>
      headers["authorization"] === undefined
        ? basicChallenge
        : { status: 307, headers: { Location: `${storage.url}/object` } },
    );
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
    const basic = storage.requests.filter(({ headers }) =>
      `${headers["authorization"]}`.includes("Basic"),
    );
    expect(basic).toEqual([]);
  });

  test("HEAD that fails where it was redirected to is repeated as GET (C-46)", async () => {
    await using storage = await startScriptedServer((request) =>
      request.method === "HEAD" ? { status: 403 } : servedContent(manifest),
    );
    await using registry = await startScriptedServer(() => ({
      status: 307,
      headers: { Location: `${storage.url}/object` },
    }));
    expect(await sourceAt(registry.address).resolve("1", { signal })).toEqual(manifest.descriptor);
  });
});
