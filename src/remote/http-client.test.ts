import { describe, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { systemErrorCode } from "#base";
import { testCertificates } from "#test-support/certificates";
import { signal } from "#test-support/remote-world";
import { startScriptedServer } from "#test-support/scripted-registry";
import type { Load } from "./connection-pool.ts";
import { Endurance } from "./endurance.ts";
import { HttpClient } from "./http-client.ts";
import type { Trust } from "./trust.ts";

const trust: Trust = {};
const load: Load = { bytes: 1000, endurance: new Endurance(), isSmall: false };

/** A server that does with each connection what `serve` says, once a request is there. */
async function startTcpServer(serve: (socket: Socket, request: string, number: number) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const number = sockets.size;
    socket.on("error", () => undefined);
    socket.on("data", (data) => serve(socket, data.toString("latin1"), number));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: new URL(`http://127.0.0.1:${port}/x?y=z`),
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Body = ReadableStream<Uint8Array> | null;

const textOf = (body: Body) => new Response(body).text();

/** The length of what was read before the body broke, and the code that it broke with. */
async function brokenAfter(body: Body): Promise<[number, string | undefined]> {
  let bytes = 0;
  try {
    for await (const piece of body ?? []) bytes += piece.byteLength;
    return [bytes, undefined];
  } catch (error) {
    return [bytes, systemErrorCode(error)];
  }
}

test("the request is what it should be, byte for byte", async () => {
  let seen = "";
  await using server = await startTcpServer((socket, request) => {
    seen += request;
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const client = new HttpClient();
  const headers = { Range: "bytes=1-", Accept: "*/*" };
  const answer = await client.send({
    method: "GET",
    url: server.url,
    headers,
    trust,
    load,
    signal,
  });
  expect(await textOf(answer.body)).toBe("ok");
  expect(seen).toBe(
    `GET /x?y=z HTTP/1.1\r\nHost: ${server.url.host}\r\nRange: bytes=1-\r\nAccept: */*\r\n\r\n`,
  );
  const smuggling = { Accept: "a\r\nX-Evil: 1" };
  await expect(
    client.send({ method: "GET", url: server.url, headers: smuggling, trust, load, signal }),
  ).rejects.toThrow();
  expect(seen).not.toContain("X-Evil");
  client.close();
});

describe("bytes that came before a connection broke", () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n";

  test.each(["end", "reset"] as const)("with %s are all there", async (how) => {
    const sentBytes = 300_000;
    const { promise: broke, resolve } = Promise.withResolvers<void>();
    await using server = await startTcpServer((socket, request) => {
      if (request === "BREAK") {
        if (how === "end") socket.end();
        else socket.resetAndDestroy();
        resolve();
        return;
      }
      socket.write(head);
      socket.write(Buffer.alloc(sentBytes, 7));
    });
    const { body } = await new HttpClient().send({
      method: "GET",
      url: server.url,
      headers: {},
      trust,
      load,
      signal,
    });
    const reader = body?.getReader();
    let readBytes = 0;
    while (readBytes < sentBytes) readBytes += (await reader?.read())?.value?.byteLength ?? 0;
    for (const socket of server.sockets) socket.emit("data", Buffer.from("BREAK"));
    await broke;
    expect(readBytes).toBe(sentBytes);
    await expect(reader?.read()).rejects.toThrow();
  });

  test("are there for a reader who comes after it broke", async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    await using server = await startTcpServer((socket) => {
      socket.on("close", () => resolve());
      socket.end(`${head}${"x".repeat(200_000)}`);
    });
    const { body } = await new HttpClient().send({
      method: "GET",
      url: server.url,
      headers: {},
      trust,
      load,
      signal,
    });
    await closed;
    expect(await brokenAfter(body)).toEqual([200_000, "ECONNRESET"]);
  });
});

describe("a connection", () => {
  test("is used again after a whole body, and after a refusal that nobody read", async () => {
    await using server = await startTcpServer((socket) =>
      socket.write("HTTP/1.1 307 Elsewhere\r\nContent-Length: 5\r\n\r\nthere"),
    );
    const client = new HttpClient();
    const get = () =>
      client.send({ method: "GET", url: server.url, headers: {}, trust, load, signal });
    expect(await textOf((await get()).body)).toBe("there");
    await (await get()).body?.cancel();
    expect(await textOf((await get()).body)).toBe("there");
    expect(server.sockets.size).toBe(1);
    const other = {
      method: "GET" as const,
      url: server.url,
      headers: {},
      trust: { rejectUnauthorized: false },
      load,
      signal,
    };
    await textOf((await client.send(other)).body);
    expect(server.sockets.size).toBe(2);
    client.close();
  });

  test("that carried a small answer carries a large one next, and its head alone teaches nothing", async () => {
    await using server = await startTcpServer((socket, request) => {
      const body = request.startsWith("HEAD") ? "" : "ok";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${body}`);
    });
    const client = new HttpClient();
    const asked = { url: server.url, headers: {}, trust, signal };
    const head = await client.send({ method: "HEAD", ...asked });
    expect(head.headers.get("content-length")).toBe("2");
    expect(await textOf(head.body)).toBe("");
    expect(await textOf((await client.send({ method: "GET", ...asked })).body)).toBe("ok");
    expect(await textOf((await client.send({ method: "GET", ...asked, load })).body)).toBe("ok");
    expect(server.sockets.size).toBe(1);
    client.close();
  });

  test.each([
    [
      "that the server wants closed",
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
    ["of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ["that brought more than its body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"],
  ])("%s is not used again", async (_, answer) => {
    await using server = await startTcpServer((socket) => socket.write(answer));
    const client = new HttpClient();
    const get = () =>
      client.send({ method: "GET", url: server.url, headers: {}, trust, load, signal });
    expect(await textOf((await get()).body)).toBe("ok");
    expect(await textOf((await get()).body)).toBe("ok");
    expect(server.sockets.size).toBe(2);
    client.close();
  });

  test("that the server closed while it rested costs a second one and no failure", async () => {
    let requests = 0;
    await using server = await startTcpServer((socket) => {
      requests += 1;
      if (requests === 2) socket.destroy();
      else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    const client = new HttpClient();
    const get = () =>
      client.send({ method: "GET", url: server.url, headers: {}, trust, load, signal });
    expect(await textOf((await get()).body)).toBe("ok");
    expect(await textOf((await get()).body)).toBe("ok");
    expect([server.sockets.size, requests]).toEqual([2, 3]);
    client.close();
  });

  test("that is slow to be read is slowed down, and loses nothing", async () => {
    const pieceBytes = 1_000_000;
    const size = 60 * pieceBytes;
    let sentBytes = 0;
    await using server = await startTcpServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const send = () => {
        if (sentBytes === size) return;
        sentBytes += pieceBytes;
        socket.write(Buffer.alloc(pieceBytes, 7), send);
      };
      send();
    });
    const { body } = await new HttpClient().send({
      method: "GET",
      url: server.url,
      headers: {},
      trust,
      load,
      signal,
    });
    // The kernel's buffers hold some megabytes; then the server comes to a halt.
    for (let before = -1; before !== sentBytes; ) {
      before = sentBytes;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(sentBytes).toBeLessThan(size);
    expect(await brokenAfter(body)).toEqual([size, undefined]);
  });
});

describe("the endurance of a host", () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n";
  const broken = Buffer.alloc(200_000);

  test.each<[string, string | Uint8Array, number]>([
    ["learns what a connection carried before it broke, its heads too", broken, 150_000],
    ["learns nothing of one that spoke no HTTP", "no chunk", Number.POSITIVE_INFINITY],
  ])("%s", async (_, bytes, limitBytes) => {
    const isChunked = typeof bytes === "string";
    await using server = await startTcpServer((socket) => {
      const length = head.length;
      socket.write(
        isChunked ? head.replace("Content-Length: 9000000", "Transfer-Encoding: chunked") : head,
      );
      socket.end(isChunked ? `${bytes}\r\n` : bytes.subarray(length));
    });
    const endurance = new Endurance();
    const own = { bytes: 9_000_000, endurance, isSmall: false };
    const { body } = await new HttpClient().send({
      method: "GET",
      url: server.url,
      headers: {},
      trust,
      load: own,
      signal,
    });
    await brokenAfter(body);
    expect(endurance.connectionBytesMax).toBe(limitBytes);
  });

  test("learns nothing from who gives up", async () => {
    await using server = await startTcpServer((socket) => socket.write(`${head}some`));
    const endurance = new Endurance();
    const own = { bytes: 9_000_000, endurance, isSmall: false };
    const caller = new AbortController();
    const asked = { method: "GET" as const, url: server.url, headers: {}, trust, load: own };
    const reader = (
      await new HttpClient().send({ ...asked, signal: caller.signal })
    ).body?.getReader();
    await reader?.read();
    caller.abort(new Error("given up"));
    await expect(reader?.read()).rejects.toThrow("given up");
    expect(endurance.connectionBytesMax).toBe(Number.POSITIVE_INFINITY);
  });

  test("learns how long answers take: from afar no small pieces are asked for", async () => {
    const asked = Promise.withResolvers<Socket>();
    await using server = await startTcpServer((socket) => asked.resolve(socket));
    const endurance = new Endurance();
    const nearBytes = endurance.pieceBytesMax;
    const own = { bytes: 2, endurance, isSmall: false };
    const answer = new HttpClient().send({
      method: "GET",
      url: server.url,
      headers: {},
      trust,
      load: own,
      signal,
    });
    const socket = await asked.promise;
    await new Promise((resolve) => setTimeout(resolve, 60));
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await textOf((await answer).body);
    expect([nearBytes, endurance.pieceBytesMax]).toEqual([1024 * 1024, Number.POSITIVE_INFINITY]);
  });
});

test("an abort ends waiting for a connection, for a head and for a body, with its reason", async () => {
  const reason = new Error("the caller's own");
  const client = new HttpClient();
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  await using server = await startTcpServer((socket, request) => {
    if (request.includes("/body")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    else isAsked();
  });
  const callers = Array.from({ length: 3 }, () => new AbortController());
  const [connecting, waiting, reading] = callers.map((caller, i) => {
    const url = new URL(i === 2 ? "/body" : "/head", server.url);
    const pending = client.send({
      method: "GET",
      url,
      headers: {},
      trust,
      load,
      signal: caller.signal,
    });
    if (i === 0) caller.abort(reason);
    return pending;
  });
  await expect(connecting).rejects.toBe(reason);
  await asked;
  callers[1]?.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  const reader = (await reading)?.body?.getReader();
  await reader?.read();
  callers[2]?.abort(reason);
  await expect(reader?.read()).rejects.toBe(reason);
});

describe("TLS", () => {
  const { ca, server: certificate, stranger } = testCertificates();
  const get = (address: string, given: Trust) => {
    const url = new URL(`https://${address}/`);
    return new HttpClient().send({ method: "GET", url, headers: {}, trust: given, load, signal });
  };

  test("trusts whom it should, and nobody by another name", async () => {
    const script = () => ({ body: "ok", headers: { Connection: "close" } });
    await using good = await startScriptedServer(script, certificate);
    expect(await textOf((await get(good.address, { ca: [ca] })).body)).toBe("ok");
    const port = good.address.replace(/^.*:/, "");
    await expect(get(good.address, {})).rejects.toThrow();
    await expect(get(`127.0.0.2:${port}`, { ca: [ca] })).rejects.toThrow();
    expect(good.requests).toHaveLength(1);
    await using strange = await startScriptedServer(script, stranger);
    await expect(get(strange.address, { ca: [ca] })).rejects.toThrow();
    const anybody = await get(strange.address, { rejectUnauthorized: false });
    expect(await textOf(anybody.body)).toBe("ok");
  });
});
