import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { releaseChunk } from "#content";
import {
  bodyBytes,
  type Framing,
  parseResponseHead,
  type RawBytes,
  readUntil,
} from "./http-body.ts";

/** Bytes that come in the given pieces, each a buffer that can be given back. */
function rawOf(...pieces: readonly string[]): RawBytes & { readonly received: ArrayBufferLike[] } {
  const waiting = pieces.map((piece) => new Uint8Array(Buffer.from(piece, "latin1")) as Uint8Array);
  return {
    received: waiting.map(({ buffer }) => buffer),
    read: async () => waiting.shift(),
    unread: (bytes) => void waiting.unshift(bytes),
  };
}

/** All ways to cut a text into pieces, some of which are tried. */
const piecesOf = (text: string) =>
  fc
    .uniqueArray(fc.nat(text.length))
    .map((cuts) => [0, ...cuts.sort((a, b) => a - b), text.length])
    .map((cuts) => cuts.slice(1).map((end, i) => text.slice(cuts[i], end)))
    .map((pieces) => pieces.filter((piece) => piece !== ""));

async function read(raw: RawBytes, framing: Framing): Promise<string> {
  let text = "";
  for await (const bytes of bodyBytes(raw, framing)) {
    // Or who has done with it could not give it back.
    expect(bytes.byteLength).toBe(bytes.buffer.byteLength);
    text += Buffer.from(bytes).toString("latin1");
    releaseChunk(bytes);
  }
  return text;
}

describe("parseResponseHead()", () => {
  test("reads status, headers and where the body ends", () => {
    const head = parseResponseHead(
      "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\nWarning: a\r\nWarning:  b \r\nEmpty:",
      "GET",
    );
    expect([head.status, head.framing, head.isKeptAlive]).toEqual([
      206,
      { kind: "length", bytes: 5 },
      true,
    ]);
    expect(head.headers.get("warning")).toBe("a, b");
    expect(head.headers.get("empty")).toBe("");
  });

  test.each<[string, Framing, boolean]>([
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", { kind: "chunked" }, true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5, 5", { kind: "length", bytes: 5 }, true],
    ["HTTP/1.1 200", { kind: "close" }, false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 5", { kind: "length", bytes: 5 }, false],
    ["HTTP/1.1 204 No\r\nContent-Length: 5", { kind: "length", bytes: 0 }, true],
    [
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close",
      { kind: "length", bytes: 0 },
      false,
    ],
  ])("of %j", (text, framing, isKeptAlive) => {
    const head = parseResponseHead(text, "GET");
    expect([head.framing, head.isKeptAlive]).toEqual([framing, isKeptAlive]);
  });

  test("of HEAD tells of a body that does not come", () => {
    const text = "HTTP/1.1 200 OK\r\nContent-Length: 5";
    expect(parseResponseHead(text, "HEAD")).toMatchObject({
      framing: { kind: "length", bytes: 0 },
      isKeptAlive: true,
    });
  });

  test.each([
    "",
    "SSH-2.0-OpenSSH_9.2",
    "HTTP/2 200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 999 OK",
    "HTTP/1.1 200 OK\r\nno colon",
    "HTTP/1.1 200 OK\r\n folded: line",
    "HTTP/1.1 200 OK\r\nX : y",
    "HTTP/1.1 200 OK\r\nX: a\0b",
    "HTTP/1.1 200 OK\r\nX: a\rb",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
    "HTTP/1.1 200 OK\r\nContent-Length: -5",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x5",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
  ])("refuses %j", (text) => {
    expect(() => parseResponseHead(text, "GET")).toThrow();
  });
});

describe("bodyBytes()", () => {
  const chunked = "5\r\nhello\r\n1;x=y\r\n \r\nA \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
  const framings: readonly (readonly [string, Framing, string, string])[] = [
    ["chunked", { kind: "chunked" }, chunked, "hello 0123456789"],
    ["length", { kind: "length", bytes: 11 }, "hello world", "hello world"],
  ];

  test.each(framings)(
    "%s: however it is cut, gives the body and leaves what follows",
    async (_, framing, text, body) => {
      await fc.assert(
        fc.asyncProperty(piecesOf(`${text}next`), async (pieces) => {
          const raw = rawOf(...pieces);
          expect(await read(raw, framing)).toBe(body);
          expect(await readUntil(raw, "t", 100)).toBe("nex");
        }),
      );
    },
  );

  test.each(framings)(
    "%s: a body that ends anywhere early is cut short, after what came",
    async (_, framing, text) => {
      for (let end = 0; end < text.length; end += 1) {
        await expect(read(rawOf(text.slice(0, end)), framing)).rejects.toMatchObject({
          code: "ECONNRESET",
        });
      }
    },
  );

  test.each([
    "",
    "x\r\n",
    "-1\r\n",
    "0x5\r\nhello\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "1234567890123\r\n",
    `${"0".repeat(5000)}\r\n`,
  ])("refuses the chunks %j", async (text) => {
    await expect(read(rawOf(text), { kind: "chunked" })).rejects.toThrow();
  });

  test("without length or chunks ends with the connection", async () => {
    expect(await read(rawOf("hel", "lo"), { kind: "close" })).toBe("hello");
  });

  test("trailers without end are refused", async () => {
    const trailers = "X: y\r\n".repeat(200);
    await expect(read(rawOf(`0\r\n${trailers}`), { kind: "chunked" })).rejects.toMatchObject({
      code: "InvalidHTTPResponse",
    });
  });
});
