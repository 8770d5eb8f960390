import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import { type Access, ANONYMOUS, type Credential } from "#credential";
import { createManualClock } from "#test-support/clock";
import {
  BASIC,
  blob,
  failureOf,
  fetchText,
  openRegistry,
  PASSWORD,
  remoteWith,
  signal,
  sourceAt,
  user,
} from "#test-support/remote-world";
import {
  type ScriptedReply,
  type ScriptedRequest,
  type ScriptedServer,
  startScriptedServer,
} from "#test-support/scripted-registry";

const identity: Access = {
  ...ANONYMOUS,
  origin: "docker-config",
  credential: { kind: "identity-token", token: new Secret("canary-identity") },
};

/** What a token service does with a request; `token` is its n-th answer's. */
type TokenScript = (request: ScriptedRequest, token: string) => ScriptedReply;

const giveToken: TokenScript = (_, token) => ({ body: JSON.stringify({ token }) });

/** A registry that takes any token which its own service gave and that is not revoked. */
async function startBearerRegistry(
  giving: TokenScript = giveToken,
  challenge = 'service="s",scope="repository:team/app:pull"',
): Promise<
  ScriptedServer & { readonly revoked: Set<string>; asked(): readonly ScriptedRequest[] }
> {
  const given = new Set<string>();
  const revoked = new Set<string>();
  const server = await startScriptedServer((request) => {
    if (request.path.startsWith("/token")) {
      const token = `canary-token-${given.size + 1}`;
      given.add(token);
      return giving(request, token);
    }
    const token = String(request.headers["authorization"] ?? "").replace(/^Bearer /, "");
    if (given.has(token) && !revoked.has(token)) return openRegistry(request);
    return {
      status: 401,
      headers: { "WWW-Authenticate": `Bearer realm="/token?kept=1",${challenge}` },
    };
  });
  return {
    ...server,
    requests: server.requests,
    revoked,
    asked: () => server.requests.filter(({ path }) => path.startsWith("/token")),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const queryOf = ({ path }: ScriptedRequest) =>
  Object.fromEntries(new URL(path, "http://registry").searchParams);

describe("asking for a token", () => {
  test("a password goes by GET, and the realm's own query is kept (C-6, C-10)", async () => {
    await using registry = await startBearerRegistry();
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
    const [request] = registry.asked();
    expect(request?.method).toBe("GET");
    expect(request?.headers["authorization"]).toBe(BASIC);
    expect(request && queryOf(request)).toEqual({
      kept: "1",
      service: "s",
      scope: "repository:team/app:pull",
      client_id: "drayage",
      account: "edge",
    });
  });

  test("nobody asks for a refresh token (C-14), and nobody without a credential says who asks (C-16)", async () => {
    await using registry = await startBearerRegistry();
    expect(await fetchText(sourceAt(registry.address))).toBe("a layer");
    const [request] = registry.asked();
    expect(request?.headers["authorization"]).toBeUndefined();
    expect(request?.path).not.toMatch(/offline|account/);
  });

  test("a challenge without service and scope is enough (C-5)", async () => {
    await using registry = await startBearerRegistry(giveToken, "");
    expect(await fetchText(sourceAt(registry.address))).toBe("a layer");
    const [request] = registry.asked();
    expect(request && queryOf(request)["scope"]).toBe("repository:team/app:pull");
  });

  test("a token is taken where access_token is there and empty, as Harbor sends it", async () => {
    await using registry = await startBearerRegistry((_, token) => ({
      body: JSON.stringify({ token, access_token: "" }),
    }));
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
  });

  test("an identity token goes by POST, and the one that replaces it is used next (C-11, C-14)", async () => {
    const manual = createManualClock();
    await using registry = await startBearerRegistry((_, token) => ({
      body: JSON.stringify({
        access_token: token,
        token: "not-this",
        refresh_token: "canary-rotated",
      }),
    }));
    const source = sourceAt(registry.address, identity, remoteWith({ clock: manual }));
    expect(await fetchText(source)).toBe("a layer");
    manual.advance(60_000);
    expect(await fetchText(source)).toBe("a layer");
    const forms = registry.asked().map(({ method, body }) => {
      expect(method).toBe("POST");
      return Object.fromEntries(new URLSearchParams(body));
    });
    const form = {
      grant_type: "refresh_token",
      service: "s",
      client_id: "drayage",
      scope: "repository:team/app:pull",
    };
    expect(forms).toEqual([
      { ...form, refresh_token: "canary-identity" },
      { ...form, refresh_token: "canary-rotated" },
    ]);
  });

  test("a service that knows no GET gets the password by POST (C-12)", async () => {
    await using registry = await startBearerRegistry((request, token) =>
      request.method === "GET" ? { status: 405 } : giveToken(request, token),
    );
    expect(await fetchText(sourceAt(registry.address, user))).toBe("a layer");
    const form = Object.fromEntries(new URLSearchParams(registry.asked()[1]?.body));
    expect(form).toMatchObject({ grant_type: "password", username: "edge", password: PASSWORD });
  });

  test("a registry token is sent as it is, and never traded", async () => {
    const credential: Credential = { kind: "registry-token", token: new Secret("canary-direct") };
    const access = { ...ANONYMOUS, origin: "docker-config", credential };
    await using registry = await startScriptedServer((request) =>
      request.headers["authorization"] === "Bearer canary-direct"
        ? openRegistry(request)
        : { status: 401, headers: { "WWW-Authenticate": 'Bearer realm="/token"' } },
    );
    expect(await fetchText(sourceAt(registry.address, access))).toBe("a layer");
    const wrong: Access = {
      ...access,
      credential: { kind: "registry-token", token: new Secret("canary-old") },
    };
    const failure = await failureOf(fetchText(sourceAt(registry.address, wrong)));
    expect(failure.code).toBe("registry-unauthorized");
    expect(registry.requests.filter(({ path }) => path.startsWith("/token"))).toEqual([]);
  });

  test.each([401, 403, 400])(
    "a password that is refused with %d is no anonymous pull (C-16)",
    async (status) => {
      await using registry = await startBearerRegistry(() => ({
        status,
        body: `{"details":"${PASSWORD}"}`,
      }));
      const failure = await failureOf(fetchText(sourceAt(registry.address, user)));
      expect([failure.code, failure.transient]).toEqual(["registry-unauthorized", false]);
      expect(failure.message).toContain("refused the credential");
      expect(failure.hint).toContain("site:credentials[0]");
      expect(registry.asked()).toHaveLength(1);
    },
  );

  test.each([
    ["nobody", ANONYMOUS],
    ["a password", user],
    ["an identity token", identity],
  ])("a token service that is busy is asked again by %s (C-50)", async (_, access) => {
    let calls = 0;
    await using registry = await startBearerRegistry((request, token) => {
      calls += 1;
      return calls < 3 ? { status: 503 } : giveToken(request, token);
    });
    expect(await fetchText(sourceAt(registry.address, access))).toBe("a layer");
    expect(calls).toBe(3);
  });

  test("a foreign token service gets no credential unless it was declared good (SEC-2)", async () => {
    await using service = await startScriptedServer(() => ({ body: '{"token":"canary-foreign"}' }));
    const realm = `${service.url.replace("127.0.0.1", "localhost")}/token`;
    await using registry = await startScriptedServer((request) =>
      request.headers["authorization"] === "Bearer canary-foreign"
        ? openRegistry(request)
        : { status: 401, headers: { "WWW-Authenticate": `Bearer realm="${realm}"` } },
    );
    const failure = await failureOf(fetchText(sourceAt(registry.address, user)));
    expect(failure.code).toBe("token-realm-refused");
    expect(service.requests).toEqual([]);
    expect(await fetchText(sourceAt(registry.address))).toBe("a layer");
    const declaring = remoteWith({ trustedTokenHosts: ["localhost"] });
    expect(await fetchText(sourceAt(registry.address, user, declaring))).toBe("a layer");
    const sent = service.requests.map(({ headers }) => headers["authorization"] ?? "nothing");
    expect(sent).toEqual(["nothing", BASIC]);
  });

  test.each<[string, ScriptedReply]>([
    ["no token", { body: "{}" }],
    ["no JSON", { body: "<html>" }],
    ["a list", { body: "[]" }],
    ["a token that breaks a header", { body: JSON.stringify({ token: "canary\r\nX-Evil: 1" }) }],
    ["more than a mebibyte", { body: JSON.stringify({ token: "x".repeat(1024 * 1024) }) }],
  ])("a reply with %s is refused (C-13, C-20)", async (_, reply) => {
    await using registry = await startBearerRegistry(() => reply);
    const failure = await failureOf(fetchText(sourceAt(registry.address, user)));
    expect(failure.code).toBe("registry-protocol");
    expect(failure.message).toContain("gave no token");
  });

  test("a token service that redirects elsewhere is not followed with a credential", async () => {
    await using thief = await startScriptedServer((request) => giveToken(request, "canary-thief"));
    await using registry = await startBearerRegistry(() => ({
      status: 307,
      headers: { Location: `${thief.url}/token` },
    }));
    const failure = await failureOf(fetchText(sourceAt(registry.address, user)));
    expect(failure.code).toBe("redirect-refused");
    expect(thief.requests).toEqual([]);
  });
});

describe("keeping tokens", () => {
  test("concurrent requests share one token, and another repository has its own (C-17, C-19)", async () => {
    await using registry = await startBearerRegistry();
    const remote = remoteWith();
    const source = sourceAt(registry.address, user, remote);
    await source.resolve("1", { signal });
    await Promise.all(Array.from({ length: 8 }, () => fetchText(source)));
    expect(registry.asked()).toHaveLength(1);
    await Promise.all(
      Array.from({ length: 8 }, () => fetchText(sourceAt(registry.address, user, remote))),
    );
    expect(registry.asked()).toHaveLength(1);
  });

  test("a second credential for the same registry does not use the first one's token (C-17)", async () => {
    await using registry = await startBearerRegistry();
    const remote = remoteWith();
    await fetchText(sourceAt(registry.address, user, remote));
    await fetchText(sourceAt(registry.address, ANONYMOUS, remote));
    const sent = registry.asked().map(({ headers }) => headers["authorization"] ?? "nothing");
    expect(sent).toEqual([BASIC, "nothing"]);
  });

  test.each([
    [undefined, 48],
    [0, 48],
    [-5, 48],
    [300, 240],
    [1e300, 69_120],
  ])(
    "expires_in %p is used for %d s, whatever the server's clock says (C-15)",
    async (expiresIn, seconds) => {
      const manual = createManualClock();
      await using registry = await startBearerRegistry((_, token) => ({
        body: JSON.stringify({ token, expires_in: expiresIn, issued_at: "1999-01-01T00:00:00Z" }),
      }));
      const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ clock: manual }));
      await fetchText(source);
      manual.advance(seconds * 1000 - 1);
      await fetchText(source);
      expect(registry.asked()).toHaveLength(1);
      manual.advance(1);
      await fetchText(source);
      expect(registry.asked()).toHaveLength(2);
    },
  );

  test("a token that is refused before its time is replaced (C-15, C-47)", async () => {
    await using registry = await startBearerRegistry();
    const source = sourceAt(registry.address, user);
    await fetchText(source);
    registry.revoked.add("canary-token-1");
    expect(await fetchText(source)).toBe("a layer");
    expect(registry.asked()).toHaveLength(2);
  });

  test("a registry that refuses every token is asked twice and no more (C-7)", async () => {
    await using registry = await startScriptedServer(({ path }) =>
      path.startsWith("/token")
        ? { body: JSON.stringify({ token: "canary" }) }
        : {
            status: 401,
            headers: { "WWW-Authenticate": 'Bearer realm="/token",error="invalid_token"' },
          },
    );
    const failure = await failureOf(fetchText(sourceAt(registry.address, user)));
    expect(failure.code).toBe("registry-unauthorized");
    expect(registry.requests).toHaveLength(3);
  });

  test("insufficient_scope is answered with the wider scope, once (C-7, C-18)", async () => {
    const wide = "repository:team/app:pull,push";
    await using registry = await startScriptedServer((request) => {
      const { path, headers } = request;
      if (path.startsWith("/token")) {
        const scopes = new URL(path, "http://r").searchParams.getAll("scope");
        return {
          body: JSON.stringify({ token: scopes.includes(wide) ? "canary-wide" : "canary" }),
        };
      }
      if (headers["authorization"] === "Bearer canary-wide") return openRegistry(request);
      const isFirst = headers["authorization"] === undefined;
      const error = isFirst ? "" : `,scope="${wide}",error="insufficient_scope"`;
      return { status: 401, headers: { "WWW-Authenticate": `Bearer realm="/token"${error}` } };
    });
    const source = sourceAt(registry.address);
    expect(await fetchText(source)).toBe("a layer");
    expect(registry.requests).toHaveLength(5);
    expect(await fetchText(source)).toBe("a layer");
    expect(registry.requests).toHaveLength(6);
  });

  test("a caller that gives up leaves the token to the others", async () => {
    let release: (() => void) | undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { promise: wasAsked, resolve: tell } = Promise.withResolvers<void>();
    using registry = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === "/token") {
          tell();
          await released;
          return Response.json({ token: "canary" });
        }
        if (request.headers.has("authorization")) return new Response(blob.bytes.toString());
        return new Response(null, {
          status: 401,
          headers: { "WWW-Authenticate": 'Bearer realm="/token"' },
        });
      },
    });
    const source = sourceAt(`127.0.0.1:${registry.port}`);
    const caller = new AbortController();
    const first = source.fetch(blob.descriptor, { signal: caller.signal });
    await wasAsked;
    const second = fetchText(source);
    // The second call knows the challenge: within this turn it waits for the same token.
    await new Promise(setImmediate);
    caller.abort(new Error("given up"));
    await expect(first).rejects.toThrow("given up");
    release?.();
    expect(await second).toBe("a layer");
  });
});
