import { describe, expect, test } from "bun:test";
import { ANONYMOUS } from "#credential";
import { parseReference } from "#reference";
import {
  blob,
  failureOf,
  fetchText,
  manifest,
  remoteWith,
  signal,
  user,
} from "#test-support/remote-world";
import { servedContent, startScriptedServer } from "#test-support/scripted-registry";

const app = (address: string) => parseReference(`${address}/team/app:1`);

describe("a mirror", () => {
  test("is told with each request whose mirror it is, by the one scheme that it is asked by", async () => {
    await using registry = await startScriptedServer(({ path }) =>
      servedContent(path.includes("/manifests/") ? manifest : blob),
    );
    const remote = remoteWith();
    const way = { scheme: "http", namespace: "quay.io:443" } as const;
    const mirror = remote.mirror(app(registry.address), ANONYMOUS, way);
    await mirror.resolve("1", { signal });
    expect(await fetchText(mirror)).toBe("a layer");
    expect(await mirror.holds(blob.descriptor, { signal })).toBe(true);
    const { digest } = blob.descriptor;
    expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "HEAD /v2/team/app/manifests/1?ns=quay.io%3A443",
      `GET /v2/team/app/blobs/${digest}?ns=quay.io%3A443`,
      `HEAD /v2/team/app/blobs/${digest}?ns=quay.io%3A443`,
    ]);
    const https = remote.mirror(app(registry.address), user, { scheme: "https" });
    expect((await failureOf(https.resolve("1", { signal }))).message).toContain("no TLS");
    expect(registry.requests).toHaveLength(3);
  });

  test("does not hold a blob that it has not, or with another size", async () => {
    const { digest, size } = blob.descriptor;
    await using registry = await startScriptedServer(({ path }) =>
      path.endsWith(digest) ? servedContent(blob) : undefined,
    );
    const mirror = remoteWith().mirror(app(registry.address), ANONYMOUS, {});
    const holds = (changed: object) => mirror.holds({ ...blob.descriptor, ...changed }, { signal });
    expect(await holds({})).toBe(true);
    expect(await holds({ size: size + 1 })).toBe(false);
    expect(await holds({ digest: manifest.descriptor.digest })).toBe(false);
  });
});

describe("a client that is confined to the site", () => {
  const confined = (address: string) =>
    remoteWith({ confinedTo: [address], lookupAddresses: async () => ["203.0.113.7"] });

  test("is sent to no host outside by a redirect, and asks none for a token", async () => {
    const answers = {
      redirect: { status: 307, headers: { Location: "https://cdn.example.com/object" } },
      token: {
        status: 401,
        headers: {
          "WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="x"',
        },
      },
    };
    for (const answer of Object.values(answers)) {
      await using registry = await startScriptedServer(() => answer);
      const mirror = confined(registry.address).mirror(app(registry.address), ANONYMOUS, {});
      const failure = await failureOf(mirror.resolve("1", { signal }));
      expect(failure.code).toBe("host-out-of-bounds");
    }
  });

  test("asks the site's own hosts, and follows them within the local network", async () => {
    await using storage = await startScriptedServer(() => servedContent(blob));
    await using registry = await startScriptedServer(() => ({
      status: 307,
      headers: { Location: `${storage.url}/object` },
    }));
    const mirror = confined(registry.address).mirror(app(registry.address), ANONYMOUS, {});
    expect(await fetchText(mirror)).toBe("a layer");
    const elsewhere = confined("10.0.0.9:5000").mirror(
      parseReference("quay.io/a:1"),
      ANONYMOUS,
      {},
    );
    expect((await failureOf(elsewhere.resolve("1", { signal }))).code).toBe("host-out-of-bounds");
  });
});
