import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import { ANONYMOUS, type Credential } from "#credential";
import type { JsonAnswer, JsonRequest, RemoteNotice } from "#remote";
import { testCertificates } from "#test-support/certificates";
import { createManualClock } from "#test-support/clock";
import { BASIC, failureOf, PASSWORD, remoteWith, signal, user } from "#test-support/remote-world";
import { type ScriptedReply, startScriptedServer } from "#test-support/scripted-registry";

const { ca, server } = testCertificates();

function ask(
  address: string,
  changed: Partial<JsonRequest> = {},
  { access = user, remote = remoteWith() } = {},
): Promise<JsonAnswer> {
  const request = { method: "GET", path: "/api/things?q=1", task: "read the things" } as const;
  return remote.api(address, access).request({ ...request, signal, ...changed });
}

test("a request goes with user and password, without a cookie, and its JSON comes back", async () => {
  await using api = await startScriptedServer(
    () => ({ status: 201, headers: { "Set-Cookie": "sid=1" }, body: '{"a":[1]}' }),
    server,
  );
  const access = { ...user, certificates: [ca] };
  const remote = remoteWith();
  const body = { name: "ä" };
  const first = await ask(api.address, { method: "POST", body }, { access, remote });
  expect(first).toEqual({ status: 201, body: { a: [1] } });
  await ask(api.address, {}, { access, remote });
  expect(api.requests.map(({ method, path, body: sent }) => [method, path, sent])).toEqual([
    ["POST", "/api/things?q=1", '{"name":"ä"}'],
    ["GET", "/api/things?q=1", ""],
  ]);
  for (const { headers } of api.requests) {
    expect([headers["authorization"], headers["cookie"]]).toEqual([BASIC, undefined]);
  }
  expect(api.requests[0]?.headers["content-type"]).toBe("application/json");
});

test("without a credential none is sent", async () => {
  await using api = await startScriptedServer(() => ({ body: "{}" }));
  await ask(api.address, {}, { access: ANONYMOUS });
  expect(api.requests[0]?.headers["authorization"]).toBeUndefined();
});

test("a helper is asked for the credential; what is no user and password is not sent", async () => {
  await using api = await startScriptedServer(() => ({ body: "{}" }));
  const helper: Credential = { kind: "helper", helper: "pass", server: api.address };
  const remote = remoteWith({ helpers: { get: async () => user.credential } });
  await ask(api.address, {}, { access: { ...user, credential: helper }, remote });
  expect(api.requests[0]?.headers["authorization"]).toBe(BASIC);
  const unusable: readonly Credential[] = [
    { kind: "identity-token", token: new Secret("canary") },
    { kind: "password", username: "edge", password: new Secret("") },
    { kind: "password", username: "a:b", password: new Secret("canary") },
  ];
  for (const credential of unusable) {
    const failure = await failureOf(ask(api.address, {}, { access: { ...user, credential } }));
    expect(failure.code).toBe("registry-unauthorized");
    expect(failure.message).toStartWith("Cannot read the things: ");
  }
  expect(api.requests).toHaveLength(1);
});

test.each([200, 204, 301, 400, 401, 403, 404, 409, 412])(
  "%d is an answer, whatever it means, and no redirect is followed",
  async (status) => {
    await using api = await startScriptedServer(() => ({
      ...{ status, headers: { Location: "https://elsewhere.test/" } },
      ...(status === 204 ? {} : { body: '{"errors":[]}' }),
    }));
    const { body, ...rest } = await ask(api.address);
    expect(rest).toEqual({ status });
    expect(body).toEqual(status === 204 ? undefined : { errors: [] });
    expect(api.requests).toHaveLength(1);
  },
);

test("a body that is no JSON is an answer without one", async () => {
  await using api = await startScriptedServer(() => ({ body: "<html>" }));
  expect(await ask(api.address)).toEqual({ status: 200, body: undefined });
});

test("an error that repeats the credential does not bring it back, however JSON spells it", async () => {
  const spelled = PASSWORD.replace(/^./, (first) => `\\u00${first.charCodeAt(0).toString(16)}`);
  await using api = await startScriptedServer(() => ({
    ...{ status: 400, body: `{"message":"${spelled} ${BASIC}"}` },
  }));
  const { body } = await ask(api.address);
  expect(body).toEqual({ message: "[secret] Basic [secret]" });
});

describe("not now", () => {
  test.each([429, 500, 502, 503, 504])(
    "%d: a GET is repeated until it is answered",
    async (status) => {
      await using api = await startScriptedServer((_, number) =>
        number < 3 ? webPage(status) : { body: "[]" },
      );
      expect(await ask(api.address)).toEqual({ status: 200, body: [] });
      expect(api.requests).toHaveLength(3);
    },
  );

  test("a POST is not repeated: nobody knows what the first one did", async () => {
    await using api = await startScriptedServer(() => webPage(502));
    const failure = await failureOf(ask(api.address, { method: "POST", body: {} }));
    expect([failure.code, failure.transient]).toEqual(["registry-error", true]);
    expect(failure.message).toStartWith(`Cannot read the things: ${api.address} answered 502`);
    expect(failure.message).not.toContain("<");
    expect(api.requests).toHaveLength(1);
  });

  test("Retry-After is waited for, by all who ask this host", async () => {
    const clock = createManualClock();
    const remote = remoteWith({ clock });
    await using api = await startScriptedServer((_, number) =>
      number === 1 ? { status: 503, headers: { "Retry-After": "9" } } : { body: "1" },
    );
    const world = { access: user, remote };
    const failure = await failureOf(ask(api.address, { method: "POST", body: {} }, world));
    expect(failure.retryAfterMs).toBe(9000);
    expect((await ask(api.address, {}, world)).body).toBe(1);
    expect(clock.sleeps).toEqual([9000]);
  });

  test("a connection that breaks, and a host where nobody is", async () => {
    await using api = await startScriptedServer((_, number) =>
      number === 1 ? { hangs: "cut" } : { body: "1" },
    );
    expect(await ask(api.address)).toEqual({ status: 200, body: 1 });
    const failure = await failureOf(ask("127.0.0.1:1"));
    expect([failure.code, failure.transient]).toEqual(["registry-unreachable", true]);
    expect(failure.message).toStartWith("Cannot read the things: 127.0.0.1:1 refused");
  });
});

describe("https and http", () => {
  test("a certificate that is not trusted is no reason for plain http", async () => {
    await using api = await startScriptedServer(() => ({ body: "{}" }), server);
    const failure = await failureOf(ask(api.address));
    expect(failure.code).toBe("registry-certificate");
    expect(api.requests).toEqual([]);
  });

  test("insecure: any certificate, and plain http with a notice", async () => {
    const access = { ...user, insecure: true };
    await using secure = await startScriptedServer(() => ({ body: "1" }), server);
    expect((await ask(secure.address, {}, { access })).body).toBe(1);
    await using plain = await startScriptedServer(() => ({ body: "2" }));
    const notices: RemoteNotice[] = [];
    const remote = remoteWith({ onNotice: (notice) => notices.push(notice) });
    expect((await ask(plain.address, {}, { access, remote })).body).toBe(2);
    expect(notices).toMatchObject([{ registry: plain.address }]);
  });
});

test("an answer without end is given up", async () => {
  const body = `"${"a".repeat(4 * 1024 * 1024)}"`;
  await using api = await startScriptedServer(() => ({ body }));
  const failure = await failureOf(ask(api.address));
  expect([failure.code, failure.transient]).toEqual(["registry-protocol", false]);
});

test("it ends when its signal does", async () => {
  await using api = await startScriptedServer(() => ({ hangs: "headers" }));
  const controller = new AbortController();
  const asked = ask(api.address, { signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  expect(await asked.catch((error: unknown) => error)).toBe(reason);
});

function webPage(status: number): ScriptedReply {
  return { status, headers: { "Content-Type": "text/html" }, body: "<html>nginx</html>" };
}
