import { expect, test } from "bun:test";
import { connect } from "node:net";
import { startProxy } from "./proxy.ts";

/** A server whose every answer is the same bytes. */
function startServer(bytes: Uint8Array) {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(bytes) });
  return {
    target: `127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

/** Asks over a connection of its own, and gives what came before its end. */
async function ask(address: string): Promise<{ body: Uint8Array[]; error?: string }> {
  const body: Uint8Array[] = [];
  try {
    const answer = await fetch(`http://${address}/`, { keepalive: false });
    for await (const bytes of answer.body ?? []) body.push(bytes);
    return { body };
  } catch (error) {
    return { body, error: (error as { code?: string }).code ?? `${error}` };
  }
}

/** The same over a bare socket, because `fetch` tells a reset and an early end alike. */
function askPlainly(address: string): Promise<{ bytes: number; end: string | undefined }> {
  const [hostname = "", port] = address.split(":");
  const { promise, resolve } = Promise.withResolvers<{ bytes: number; end: string | undefined }>();
  let bytes = 0;
  const socket = connect(Number(port), hostname, () =>
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
  );
  socket.on("data", (piece: Buffer) => {
    bytes += piece.byteLength;
  });
  socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve({ bytes, end: code }));
  socket.on("end", () => resolve({ bytes, end: "end" }));
  return promise;
}

const size = (pieces: readonly Uint8Array[]) =>
  pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);

test("a proxy passes on all of it, whatever the pieces, and counts", async () => {
  const sent = crypto.getRandomValues(new Uint8Array(50_000));
  const large = Buffer.concat(Array<Uint8Array>(200).fill(sent));
  await using server = startServer(large);
  await using proxy = await startProxy({ hostname: "127.0.0.1", target: server.target });
  const answers = await Promise.all([1, 2, 3].map(() => ask(proxy.address)));
  for (const { body, error } of answers) {
    expect(error).toBeUndefined();
    expect(Buffer.concat(body).equals(large)).toBe(true);
  }
  const headBytes = proxy.bytesMoved - 3 * large.byteLength;
  expect(headBytes).toBeGreaterThan(0);
  expect(headBytes).toBeLessThan(3_000);
});

test("a proxy resets each connection after so many bytes, and counts no more than those", async () => {
  await using server = startServer(new Uint8Array(5_000_000));
  const options = { hostname: "127.0.0.1", target: server.target, resetAfterBytes: 1_000_000 };
  await using proxy = await startProxy(options);
  for (const count of [1, 2]) {
    const { bytes, end } = await askPlainly(proxy.address);
    expect(end).toBe("ECONNRESET");
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(1_000_000);
    expect(proxy.bytesMoved).toBe(count * 1_000_000);
  }
});

test("a proxy lets what stays under the limit end in peace", async () => {
  await using server = startServer(new Uint8Array(5_000));
  const options = { hostname: "127.0.0.1", target: server.target, resetAfterBytes: 1_000_000 };
  await using proxy = await startProxy(options);
  const { body, error } = await ask(proxy.address);
  expect({ bytes: size(body), error }).toEqual({ bytes: 5_000, error: undefined });
});

test("a line takes its time: bytes over all connections by its rate, and the delay twice", async () => {
  await using server = startServer(new Uint8Array(100_000));
  const line = { bytesPerSecond: 1_000_000, delayMs: 50 };
  await using proxy = await startProxy({ hostname: "127.0.0.1", target: server.target, ...line });
  const startedMs = performance.now();
  const answers = await Promise.all([1, 2].map(() => ask(proxy.address)));
  expect(answers.map(({ body }) => size(body))).toEqual([100_000, 100_000]);
  expect(performance.now() - startedMs).toBeGreaterThan(290);
});
