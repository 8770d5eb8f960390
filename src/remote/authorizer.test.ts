import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import { type Access, ANONYMOUS, type Credential } from "#credential";
import { parseReference } from "#reference";
import {
  BASIC,
  basicChallenge,
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
import { startScriptedServer } from "#test-support/scripted-registry";

test("a repository that asks for nothing is served although another's challenge can not be met", async () => {
  for (const realm of ["file:///token", "/no-token"]) {
    await using registry = await startScriptedServer((request) => {
      if (request.path === "/no-token") return { status: 401 };
      if (!request.path.includes("/private/")) return openRegistry(request);
      return { status: 401, headers: { "WWW-Authenticate": `Bearer realm="${realm}"` } };
    });
    const remote = remoteWith({});
    const open = sourceAt(registry.address, ANONYMOUS, remote);
    const closed = remote.repository(parseReference(`${registry.address}/private/app`), ANONYMOUS);
    const failure = await failureOf(closed.resolve("1", { signal }));
    expect(failure.message).toContain("private/app");
    expect(await fetchText(open)).toBe("a layer");
  }
});

describe("Basic", () => {
  test("the password is sent after it was asked for, and then at once (C-22)", async () => {
    await using registry = await startScriptedServer((request) =>
      request.headers["authorization"] === undefined ? basicChallenge : openRegistry(request),
    );
    const source = sourceAt(registry.address, user);
    await source.resolve("1", { signal });
    await source.resolve("1", { signal });
    expect(registry.requests.map(({ headers }) => headers["authorization"] ?? "nothing")).toEqual([
      "nothing",
      BASIC,
      BASIC,
    ]);
  });

  test("a refused password says where it was written, and is sent once", async () => {
    await using registry = await startScriptedServer(({ headers }) => ({
      ...basicChallenge,
      body: JSON.stringify({ errors: [{ code: "X", message: headers["authorization"] ?? "" }] }),
    }));
    const source = sourceAt(registry.address, user);
    const failure = await failureOf(source.resolve("1", { signal }));
    expect(failure.code).toBe("registry-unauthorized");
    expect(failure.hint).toContain("site:credentials[0]");
    expect(registry.requests).toHaveLength(2);
    await failureOf(source.resolve("1", { signal }));
    expect(registry.requests).toHaveLength(3);
  });

  test("without a credential the failure says that none was given", async () => {
    await using registry = await startScriptedServer(() => basicChallenge);
    const failure = await failureOf(sourceAt(registry.address).resolve("1", { signal }));
    expect(failure.code).toBe("registry-unauthorized");
    expect(failure.hint).toContain("No credential was given");
    expect(registry.requests).toHaveLength(1);
  });

  test.each([
    ["", PASSWORD, "no user name"],
    ["edge", "", "no password"],
    ["ed:ge", PASSWORD, "has a colon"],
  ])(
    "user %p and half a password are no anonymous pull (C-16, C-22)",
    async (username, text, why) => {
      const credential: Credential = { kind: "password", username, password: new Secret(text) };
      for (const challenge of ['Basic realm="r"', 'Bearer realm="/token"']) {
        await using registry = await startScriptedServer(() => ({
          status: 401,
          headers: { "WWW-Authenticate": challenge },
        }));
        const source = sourceAt(registry.address, { ...user, credential });
        const failure = await failureOf(source.resolve("1", { signal }));
        expect(failure.code).toBe("registry-unauthorized");
        expect(failure.message).toContain(why);
        expect(registry.requests).toHaveLength(1);
      }
    },
  );

  test("a 401 without a challenge, or with unknown ones only, is final (C-4, C-7)", async () => {
    for (const headers of [{}, { "WWW-Authenticate": ["Negotiate", 'Digest realm="r"'] }]) {
      await using registry = await startScriptedServer(() => ({ status: 401, headers }));
      const failure = await failureOf(sourceAt(registry.address, user).resolve("1", { signal }));
      expect(failure.code).toBe("registry-unauthorized");
      expect(registry.requests).toHaveLength(1);
    }
  });

  test("a credential that a server repeats is not shown, however JSON spells it (SEC-23)", async () => {
    const spelled = PASSWORD.replace(/^./, (first) => `\\u00${first.charCodeAt(0).toString(16)}`);
    await using registry = await startScriptedServer(({ headers }) =>
      headers["authorization"] === undefined
        ? basicChallenge
        : {
            status: 403,
            body: `{"errors":[{"code":"DENIED","message":"${spelled} ${headers["authorization"]} https://x/?sig=canary"}]}`,
          },
    );
    const failure = await failureOf(
      sourceAt(registry.address, user).fetch(blob.descriptor, { signal }),
    );
    expect(failure.message).toContain('DENIED: "[secret] Basic [secret] https://x/?…"');
  });
});

describe("helpers", () => {
  const access: Access = {
    ...ANONYMOUS,
    origin: "docker-config",
    credential: { kind: "helper", helper: "store", server: "registry.test" },
  };

  test("a helper is asked when a request needs it, and again when what it gave is refused (C-36)", async () => {
    let asked = 0;
    const given = ["first", "second", "third"];
    const remote = remoteWith({
      helpers: {
        async get(helper, server): Promise<Credential> {
          expect([helper, server]).toEqual(["store", "registry.test"]);
          const password = new Secret(given[asked] ?? "");
          asked += 1;
          return { kind: "password", username: "edge", password };
        },
      },
    });
    let accepted = "first";
    await using registry = await startScriptedServer((request) => {
      const expected = `Basic ${Buffer.from(`edge:${accepted}`).toString("base64")}`;
      return request.headers["authorization"] === expected ? openRegistry(request) : basicChallenge;
    });
    const source = sourceAt(registry.address, access, remote);
    await source.resolve("1", { signal });
    await source.resolve("1", { signal });
    expect(asked).toBe(1);
    accepted = "second";
    await source.resolve("1", { signal });
    expect(asked).toBe(2);
  });

  test("a caller that gives up leaves the helper's answer to the others", async () => {
    const answer = Promise.withResolvers<Credential>();
    const asked = Promise.withResolvers<void>();
    const remote = remoteWith({
      helpers: {
        get(_helper, _server, { signal: aborted }) {
          asked.resolve();
          aborted.addEventListener("abort", () => answer.reject(aborted.reason));
          return answer.promise;
        },
      },
    });
    await using registry = await startScriptedServer((request) => {
      if (request.path.startsWith("/token")) return { body: '{"token":"canary-token"}' };
      if (request.headers["authorization"] === "Bearer canary-token") return openRegistry(request);
      return { status: 401, headers: { "WWW-Authenticate": 'Bearer realm="/token"' } };
    });
    const source = sourceAt(registry.address, access, remote);
    const caller = new AbortController();
    const first = source.fetch(blob.descriptor, { signal: caller.signal });
    await asked.promise;
    const second = fetchText(source);
    caller.abort(new Error("given up"));
    await expect(first).rejects.toThrow("given up");
    answer.resolve({ kind: "password", username: "edge", password: new Secret(PASSWORD) });
    expect(await second).toBe("a layer");
    const forToken = registry.requests.filter(({ path }) => path.startsWith("/token"));
    expect(forToken.map(({ headers }) => headers["authorization"])).toEqual([BASIC]);
  });

  test("a caller may give up while a helper thinks", async () => {
    const asked = Promise.withResolvers<void>();
    const remote = remoteWith({
      helpers: {
        get() {
          asked.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    await using registry = await startScriptedServer(() => basicChallenge);
    const caller = new AbortController();
    const source = sourceAt(registry.address, access, remote);
    const resolving = source.resolve("1", { signal: caller.signal });
    await asked.promise;
    caller.abort(new Error("given up"));
    await expect(resolving).rejects.toThrow("given up");
  });

  test("a helper that has nothing leaves the request anonymous", async () => {
    await using registry = await startScriptedServer(() => basicChallenge);
    const failure = await failureOf(sourceAt(registry.address, access).resolve("1", { signal }));
    expect(failure.code).toBe("registry-unauthorized");
  });
});
