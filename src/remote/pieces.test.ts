import { describe, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import fc from "fast-check";
import { isFailure } from "#base";
import type { Source } from "#content";
import { failureOf, fetchRange, remoteWith, signal, sourceAt } from "#test-support/remote-world";
import {
  contentOf,
  type ScriptedContent,
  type ScriptedReply,
  type ScriptedRequest,
  servedContent,
  servedRange,
} from "#test-support/scripted-registry";

const layer = contentOf(Array.from({ length: 60_000 }, (_, i) => `line ${i}`).join("\n"));
const { size } = layer.descriptor;
const text = layer.bytes.toString();

/** One answer, and how far it came. */
interface Sent {
  readonly request: Pick<ScriptedRequest, "headers">;
  readonly start: number;
  readonly bytes: number;
  readonly connection: number;
}

/** Serves content over connections that end after so many bytes each, heads included. */
async function startBreakingServer(
  cutBytes: () => number,
  reply: (request: Pick<ScriptedRequest, "headers">) => ScriptedReply = (request) =>
    servedRange(layer, request),
) {
  const sent: Sent[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const connection = sockets.size;
    let leftBytes: number | undefined;
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      if (!data.toString("latin1").startsWith("GET ")) {
        // Whoever tries https first is told that this is none.
        socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        return;
      }
      const lines = data.toString("latin1").trim().split("\r\n").slice(1);
      const headers = Object.fromEntries(
        lines.map((line) => [line.replace(/:.*/, "").toLowerCase(), line.replace(/^.*?: /, "")]),
      );
      const { status = 200, headers: given = {}, body = "" } = reply({ headers });
      const bytes = Buffer.from(body);
      const all = { ...given, "Content-Length": `${bytes.byteLength}` };
      const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
      const head = Buffer.from(`HTTP/1.1 ${status} OK\r\n${fields.join("")}\r\n`);
      // A connection that is over has brought an answer's head at least, so that something comes.
      leftBytes = Math.max((leftBytes ?? cutBytes()) - head.byteLength, 1);
      const came = bytes.subarray(0, leftBytes);
      leftBytes -= came.byteLength;
      const start = Number(/bytes (\d+)-/.exec(`${given["Content-Range"] ?? ""}`)?.[1] ?? 0);
      sent.push({ request: { headers }, start, bytes: came.byteLength, connection });
      socket.write(head);
      if (came.byteLength < bytes.byteLength) socket.end(came);
      else socket.write(came);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    address: `127.0.0.1:${port}`,
    sent,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads a range, going on at the byte where the stream broke. */
async function resume(
  source: Source,
  { descriptor }: ScriptedContent,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<string> {
  const pieces: Uint8Array[] = [];
  let at = start;
  while (at < end) {
    try {
      for await (const piece of await source.fetch(descriptor, {
        signal,
        range: { start: at, end },
      })) {
        pieces.push(piece);
        at += piece.byteLength;
      }
    } catch (error) {
      if (!isFailure(error) || !error.transient) throw error;
    }
  }
  return Buffer.concat(pieces).toString();
}

describe("a blob over connections that break", () => {
  test("comes exactly, each byte once, whatever is asked for and wherever they break", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1000, max: 2 * size }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.nat(size), fc.nat(size)), { minLength: 1, maxLength: 4 }),
        async (cuts, ranges) => {
          let opened = 0;
          const cut = () => (opened < 6 ? (cuts[opened++ % cuts.length] ?? 0) : size);
          await using server = await startBreakingServer(cut);
          const source = sourceAt(server.address);
          for (const [a, b] of ranges) {
            const range = { start: Math.min(a, b), end: Math.max(a, b) };
            const before = server.sent.length;
            expect(await resume(source, layer, range)).toBe(text.slice(range.start, range.end));
            let at = range.start;
            for (const { start, bytes } of server.sent.slice(before)) {
              expect(start).toBe(at);
              at += bytes;
            }
            expect(at).toBe(range.end);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("is asked for in pieces that they bear, each over one of its own", async () => {
    await using server = await startBreakingServer(() => 200_000);
    const source = sourceAt(server.address);
    expect(await resume(source, layer, { start: 0, end: size })).toBe(text);
    const [first, ...others] = server.sent;
    expect(first?.bytes).toBeLessThan(200_000);
    expect(others.map(({ start, bytes }) => [start, bytes])).toEqual([
      [first?.bytes ?? 0, 150_000],
      [(first?.bytes ?? 0) + 150_000, 150_000],
      [(first?.bytes ?? 0) + 300_000, size - (first?.bytes ?? 0) - 300_000],
    ]);
    expect(new Set(server.sent.map(({ connection }) => connection)).size).toBe(4);
  });

  test("is asked for as a whole where the host answers no piece", async () => {
    for (const refused of [() => ({ status: 416 }), () => servedContent(layer)]) {
      let cutBytes = 200_000;
      await using server = await startBreakingServer(
        () => cutBytes,
        ({ headers }) =>
          /-\d/.test(`${headers["range"]}`) ? refused() : servedRange(layer, { headers }),
      );
      const source = sourceAt(server.address);
      expect((await failureOf(fetchRange(source, layer, 0))).transient).toBe(true);
      cutBytes = 2 * size;
      const before = server.sent.length;
      expect(await fetchRange(source, layer, 5)).toBe(text.slice(5));
      expect(await fetchRange(source, layer, 6)).toBe(text.slice(6));
      const asked = server.sent.slice(before).map(({ request }) => request.headers["range"]);
      expect(asked[0]).toMatch(/^bytes=5-1\d{5}$/);
      expect(asked.slice(1)).not.toContainEqual(expect.stringMatching(/-\d/));
      expect((await failureOf(fetchRange(source, layer, 5, 6))).code).toBe("range-ignored");
    }
  });

  test("holds one place on the lane until the last piece is read, or nobody wants it", async () => {
    let cutBytes = 100_000;
    await using server = await startBreakingServer(() => cutBytes);
    const source = sourceAt(server.address, undefined, remoteWith());
    await failureOf(fetchRange(source, layer, 0));
    cutBytes = 2 * size;
    const caller = new AbortController();
    const open = (given: AbortSignal) => source.fetch(layer.descriptor, { signal: given });
    const streams = [];
    for (let i = 0; i < 4; i += 1) streams.push(await open(i === 0 ? caller.signal : signal));
    const readers = streams.map((stream) => stream.getReader());
    let bytes = 0;
    // Past the first piece.
    while (bytes < 80_000) bytes += (await readers[1]?.read())?.value?.byteLength ?? 0;
    const fifth = open(signal);
    const requests = server.sent.length;
    await readers[1]?.cancel();
    const sixth = open(signal);
    caller.abort(new Error("given up"));
    for (const stream of await Promise.all([fifth, sixth])) await stream.cancel();
    expect(server.sent.length).toBe(requests + 2);
  });
});
