import { describe, expect, test } from "bun:test";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { isFailure, systemClock } from "#base";
import { createMemoryStore } from "#content";
import {
  type AccessOptions,
  createAccess,
  createRegistry,
  type Registry,
  type ServedRequest,
  serveRegistry,
} from "#registry";
import { type TestCertificate, testCertificates } from "#test-support/certificates";
import { createEventClock } from "#test-support/event-clock";
import { buildImage } from "#test-support/images";

const AT = { hostname: "127.0.0.1", port: 0, clock: systemClock };
const HOUR_MS = 3_600_000;

const registry = createRegistry({ store: createMemoryStore() });

/** Each user's password is the name. */
const users = { verify: async (user: string, password: string) => user === password };
const accessFor = (options: Partial<AccessOptions> = {}) =>
  createAccess({ users, clock: systemClock, ...options });
const closed = createRegistry({ store: createMemoryStore(), access: accessFor() });

const basic = (user: string) => `Basic ${Buffer.from(`${user}:${user}`).toString("base64")}`;

function codeOf(act: () => unknown): string {
  try {
    act();
    return "none";
  } catch (error) {
    return isFailure(error) ? error.code : "no failure";
  }
}

test("serveRegistry() listens, says where, and stops", async () => {
  const server = serveRegistry({ ...AT, registry });
  expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
  expect((await fetch(`http://${server.address}/v2/`)).status).toBe(200);
  await server.stop();
  await expect(fetch(`http://${server.address}/v2/`)).rejects.toThrow();
});

test("serveRegistry() sends heads and parts as the handler made them", async () => {
  const store = createMemoryStore();
  const root = await buildImage(store, "a.example/x:v1", { seed: "x" });
  await using server = serveRegistry({ ...AT, registry: createRegistry({ store }) });
  const url = `http://${server.address}/v2/a.example/x`;
  const head = await fetch(`${url}/manifests/v1`, { method: "HEAD" });
  expect(head.headers.get("content-length")).toBe(String(root.size));
  const part = await fetch(`${url}/blobs/${root.digest}`, { headers: { range: "bytes=1-4" } });
  expect(part.status).toBe(206);
  expect(part.headers.get("accept-ranges")).toBe("bytes");
  expect(part.headers.get("content-range")).toBe(`bytes 1-4/${root.size}`);
  expect(await part.text()).toHaveLength(4);
});

test("serveRegistry() tells a client that pushes why it may not", async () => {
  const readOnly = createRegistry({ store: createMemoryStore(), isWritable: false });
  await using server = serveRegistry({ ...AT, registry: readOnly });
  const url = `http://${server.address}/v2/a/blobs/uploads/`;
  const body = new Uint8Array(1024 * 1024);
  expect((await fetch(url, { method: "POST", body })).status).toBe(405);
});

test("serveRegistry() shows nothing to other machines without TLS and users", () => {
  const tls = { cert: "", key: "" };
  for (const hostname of [
    "0.0.0.0",
    "::",
    "[::]",
    "10.0.0.5",
    "edge.example",
    "127.0.0.1.evil.example",
  ]) {
    for (const options of [{ registry }, { registry, tls }, { registry: closed }]) {
      expect(codeOf(() => serveRegistry({ ...AT, hostname, ...options }))).toBe("registry-exposed");
    }
  }
});

test("serveRegistry() says when an address is taken", async () => {
  await using first = serveRegistry({ ...AT, registry });
  const port = Number(first.address.split(":")[1]);
  expect(codeOf(() => serveRegistry({ ...AT, registry, port }))).toBe("registry-address");
});

test("serveRegistry() tells the registry where a request comes from", async () => {
  const clients: (string | undefined)[] = [];
  const asked: Registry = {
    hasUsers: false,
    fetch: async (_request, client) => {
      clients.push(client);
      return new Response();
    },
  };
  await using server = serveRegistry({ ...AT, registry: asked });
  await fetch(`http://${server.address}/v2/`);
  expect(clients).toEqual(["127.0.0.1"]);
});

describe("who may do what, over the wire", () => {
  const DIGEST = `sha256:${"0".repeat(64)}`;
  /** Every verb, the right it needs, and what it answers to who has that. */
  const REQUESTS: readonly (readonly [string, string, "pull" | "push", number])[] = [
    ["GET", "team/app/manifests/v1", "pull", 404],
    ["HEAD", "team/app/manifests/v1", "pull", 404],
    ["PUT", "team/app/manifests/v1", "push", 400],
    ["DELETE", "team/app/manifests/v1", "push", 404],
    ["GET", `team/app/blobs/${DIGEST}`, "pull", 404],
    ["HEAD", `team/app/blobs/${DIGEST}`, "pull", 404],
    ["DELETE", `team/app/blobs/${DIGEST}`, "push", 404],
    ["GET", "team/app/tags/list", "pull", 404],
    ["HEAD", "team/app/tags/list", "pull", 404],
    ["GET", `team/app/referrers/${DIGEST}`, "pull", 200],
    ["POST", "team/app/blobs/uploads/", "push", 202],
    ["POST", `team/app/blobs/uploads/?mount=${DIGEST}&from=team/other`, "push", 202],
    ["GET", `team/app/blobs/uploads/${"0".repeat(32)}`, "push", 404],
    ["HEAD", `team/app/blobs/uploads/${"0".repeat(32)}`, "push", 404],
    ["PATCH", `team/app/blobs/uploads/${"0".repeat(32)}`, "push", 404],
    ["PUT", `team/app/blobs/uploads/${"0".repeat(32)}?digest=${DIGEST}`, "push", 404],
    ["DELETE", `team/app/blobs/uploads/${"0".repeat(32)}`, "push", 404],
  ];

  async function statuses(options: Partial<AccessOptions>, user: string | null) {
    const access = accessFor({ pushers: new Set(["pusher"]), ...options });
    const served = createRegistry({ store: createMemoryStore(), access });
    await using server = serveRegistry({ ...AT, registry: served });
    const headers = user === null ? {} : { authorization: basic(user) };
    const rows: [string, string, number][] = [];
    for (const [method, path] of REQUESTS) {
      const url = `http://${server.address}/v2/${path}`;
      const response = await fetch(url, { method, headers });
      await response.arrayBuffer();
      expect(response.headers.has("www-authenticate")).toBe(response.status === 401);
      rows.push([method, path, response.status]);
    }
    return rows;
  }

  const expected = (pull: number | undefined, push: number | undefined) =>
    REQUESTS.map(([method, path, right, status]) => {
      return [method, path, (right === "pull" ? pull : push) ?? status];
    });

  test("a pusher may do everything", async () => {
    expect(await statuses({}, "pusher")).toEqual(expected(undefined, undefined) as never);
  });

  test("another user may pull, and is denied the rest", async () => {
    expect(await statuses({}, "reader")).toEqual(expected(undefined, 403) as never);
  });

  test("who has not logged in is asked to, whatever is wanted and whether it is there or not", async () => {
    expect(await statuses({}, null)).toEqual(expected(401, 401) as never);
  });

  test("with anonymous pull, who has not logged in may pull, and is asked to log in for the rest", async () => {
    const rows = await statuses({ anonymousPull: true }, null);
    expect(rows).toEqual(expected(undefined, 401) as never);
  });

  test("an upload can't be gone on with by another user", async () => {
    const served = createRegistry({ store: createMemoryStore(), access: accessFor() });
    await using server = serveRegistry({ ...AT, registry: served });
    const ask = (user: string, path: string, method: string) =>
      fetch(`http://${server.address}${path}`, {
        method,
        headers: { authorization: basic(user) },
      });
    const begun = await ask("alice", "/v2/team/app/blobs/uploads/", "POST");
    const path = begun.headers.get("location") ?? "";
    for (const method of ["GET", "PATCH", "DELETE"]) {
      expect((await ask("bob", path, method)).status).toBe(404);
    }
    expect((await ask("alice", path, "DELETE")).status).toBe(204);
  });

  test("/v2/ asks for a login where one is needed, and tells of logins where one is not", async () => {
    const ask = async (options: Partial<AccessOptions>) => {
      const access = accessFor(options);
      const served = createRegistry({ store: createMemoryStore(), access });
      await using server = serveRegistry({ ...AT, registry: served });
      const { status, headers } = await fetch(`http://${server.address}/v2/`);
      return [status, headers.get("www-authenticate")];
    };
    const challenge = 'Basic realm="drayage", charset="UTF-8"';
    expect(await ask({})).toEqual([401, challenge]);
    expect(await ask({ anonymousPull: true })).toEqual([200, challenge]);
  });
});

describe("what bad clients send", () => {
  /** Sends text as it is, and gives what comes until the connection is closed. */
  function sendRaw(address: string, text: string): Promise<string> {
    const [hostname = "", port] = address.split(":");
    return new Promise((resolve) => {
      let received = "";
      const socket = connectTcp({ host: hostname, port: Number(port) }, () => socket.write(text));
      socket.on("data", (data) => {
        received += data.toString("latin1");
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve(received));
    });
  }

  const HEAD = "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\n";
  const refused: readonly (readonly [string, string, string])[] = [
    ["a header of 64 KiB", `${HEAD}X: ${"x".repeat(65_536)}\r\n\r\n`, "431"],
    ["a thousand headers", `${HEAD}${"A: b\r\n".repeat(1000)}\r\n`, "431"],
    [
      "a length and chunks",
      `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      "400",
    ],
    ["two lengths", `${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`, "400"],
    ["no host", "GET /v2/ HTTP/1.1\r\n\r\n", "400"],
  ];
  test.each(refused)("%s is refused, and the next request is served", async (_, text, status) => {
    await using server = serveRegistry({ ...AT, registry });
    expect(await sendRaw(server.address, text)).toStartWith(`HTTP/1.1 ${status}`);
    expect((await fetch(`http://${server.address}/v2/`)).status).toBe(200);
  });

  test("a body that hardly moves is given up, its connection ended, and its upload goes on later", async () => {
    const clock = createEventClock(0);
    const requests: ServedRequest[] = [];
    const store = createMemoryStore();
    const served = createRegistry({ store, onRequest: (request) => requests.push(request) });
    await using server = serveRegistry({ ...AT, registry: served, clock });
    const begun = await fetch(`http://${server.address}/v2/a/blobs/uploads/`, { method: "POST" });
    const path = begun.headers.get("location") ?? "";
    const text = `PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nabc`;
    const answer = sendRaw(server.address, text);
    // The clock of the test moves only once the registry waits on it for the rest of the body.
    while (clock.sleepers === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await clock.run(untilSettled(answer, clock))).toStartWith("HTTP/1.1 408");
    expect(requests.at(-1)?.status).toBe(408);
    const asked = await fetch(`http://${server.address}${path}`);
    expect([asked.status, asked.headers.get("range")]).toEqual([204, "0-2"]);
  });

  /** Keeps the clock from finding that nobody sleeps while the network is at work. */
  async function untilSettled<T>(work: Promise<T>, clock: ReturnType<typeof createEventClock>) {
    const over = new AbortController();
    void work.finally(() => over.abort());
    while (!over.signal.aborted) await clock.sleep(HOUR_MS, over.signal).catch(() => {});
    return work;
  }

  test("a client that vanishes leaves what it sent, and the next request is served", async () => {
    const store = createMemoryStore();
    const gone = Promise.withResolvers<void>();
    const onRequest = ({ method }: ServedRequest) => {
      if (method === "PATCH") gone.resolve();
    };
    await using server = serveRegistry({ ...AT, registry: createRegistry({ store, onRequest }) });
    const begun = await fetch(`http://${server.address}/v2/a/blobs/uploads/`, { method: "POST" });
    const path = begun.headers.get("location") ?? "";
    const [hostname = "", port] = server.address.split(":");
    const socket = connectTcp({ host: hostname, port: Number(port) }, () => {
      const text = `PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nabc`;
      socket.write(text, () => socket.end());
    });
    await gone.promise;
    const asked = await fetch(`http://${server.address}${path}`);
    expect([asked.status, asked.headers.get("range")]).toEqual([204, "0-2"]);
  });
});

describe("TLS", () => {
  const { ca, server: pair, stranger } = testCertificates();
  const pem = ({ certificate, key }: TestCertificate) => ({ cert: certificate, key });

  /** A registry whose answers the test gives. */
  function held(): { registry: Registry; asked: Promise<void>; answer: () => void } {
    const asked = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    const fetchHeld: Registry["fetch"] = async () => {
      asked.resolve();
      await answered.promise;
      return new Response("answer");
    };
    const registry = { hasUsers: true, fetch: fetchHeld };
    return { registry, asked: asked.promise, answer: answered.resolve };
  }

  function connect(address: string): Promise<TLSSocket> {
    const [host = "", port] = address.split(":");
    return new Promise((resolve, reject) => {
      const options = { host, port: Number(port), rejectUnauthorized: false };
      const socket = connectTls(options, () => resolve(socket));
      socket.on("error", reject);
    });
  }

  async function certificateOf(address: string): Promise<string> {
    const socket = await connect(address);
    const { issuer } = socket.getPeerCertificate();
    socket.destroy();
    return String(issuer.CN);
  }

  test("serveRegistry() serves over TLS", async () => {
    await using server = serveRegistry({ ...AT, registry, tls: pem(pair) });
    const response = await fetch(`https://${server.address}/v2/`, { tls: { ca } });
    expect(response.status).toBe(200);
  });

  test("serveRegistry() says when its certificate is none", () => {
    const tls = { cert: "x", key: "y" };
    expect(codeOf(() => serveRegistry({ ...AT, registry, tls }))).toBe("registry-certificate");
  });

  test("a new certificate is shown to who connects next, at the same address, again and again", async () => {
    await using server = serveRegistry({ ...AT, registry, tls: pem(pair) });
    const first = await certificateOf(server.address);
    server.replaceCertificate(pem(stranger));
    const second = await certificateOf(server.address);
    expect(second).not.toBe(first);
    server.replaceCertificate(pem(pair));
    expect(await certificateOf(server.address)).toBe(first);
    const response = await fetch(`https://${server.address}/v2/`, { tls: { ca } });
    expect(response.status).toBe(200);
  });

  test("a request that is under way is answered, though the certificate is replaced", async () => {
    const { registry: waiting, asked, answer } = held();
    await using server = serveRegistry({ ...AT, registry: waiting, tls: pem(pair) });
    const socket = await connect(server.address);
    const answered = new Promise<string>((resolve) => {
      socket.once("data", (data) => resolve(data.toString("latin1")));
    });
    socket.write("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    await asked;
    server.replaceCertificate(pem(stranger));
    answer();
    expect(await answered).toStartWith("HTTP/1.1 200");
    socket.destroy();
  });

  test("a certificate that is of no use leaves the one before", async () => {
    await using server = serveRegistry({ ...AT, registry, tls: pem(pair) });
    const first = await certificateOf(server.address);
    const broken = { cert: stranger.certificate, key: "none" };
    expect(codeOf(() => server.replaceCertificate(broken))).toBe("registry-certificate");
    expect(await certificateOf(server.address)).toBe(first);
  });

  test("to stop waits for what was begun before a certificate was replaced, to dispose cuts it", async () => {
    const { registry: waiting, asked, answer } = held();
    const server = serveRegistry({ ...AT, registry: waiting, tls: pem(pair) });
    const socket = await connect(server.address);
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.write("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    await asked;
    server.replaceCertificate(pem(stranger));
    let hasStopped = false;
    const stopping = server.stop().then(() => {
      hasStopped = true;
    });
    await expect(connect(server.address)).rejects.toThrow();
    expect(hasStopped).toBe(false);
    await server[Symbol.asyncDispose]();
    await closed;
    await stopping;
    answer();
  });
});
