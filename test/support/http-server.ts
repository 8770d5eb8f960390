import { createServer, type Socket } from "node:net";

/** The head of a request: the names of headers in lower case. */
export interface RequestHead {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What to answer; `cut` breaks the connection instead (RST). */
export type Reply =
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string | number>>;
      readonly body?: string | Uint8Array;
    }
  | "cut";

/** What a server does with a request. The body throws a {@link BodyCut} where the client broke it off. */
export type Handle = (head: RequestHead, body: AsyncIterable<Uint8Array>) => Promise<Reply>;

/** The client went away in the middle of a body. */
export class BodyCut extends Error {}

/** A server on a free port of 127.0.0.1. */
export interface HttpServer extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
}

/**
 * Starts a server of HTTP/1.1 that shows bodies as they come, piece by piece, and may answer or hang up
 * in the middle of one. A reply that does not wait for the body ends the connection once it is sent, as
 * servers do that won't read the rest.
 */
export async function startHttpServer(handle: Handle): Promise<HttpServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    void serve(socket, handle);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

async function serve(socket: Socket, handle: Handle): Promise<void> {
  const input = new Input(socket);
  for (;;) {
    const head = await readHead(input);
    if (head === undefined) return void socket.end();
    if (head === "alien") return refuse(socket, input);
    let isRead = false;
    const body = (async function* () {
      yield* readBody(input, head.headers);
      isRead = true;
    })();
    const reply = await handle(head, body);
    if (reply === "cut") return void socket.resetAndDestroy();
    if (!isRead && hasNoBody(head.headers)) isRead = true;
    send(socket, head.method, reply, isRead);
    if (isRead) continue;
    return linger(socket, input);
  }
}

/** A client that tries TLS first is told so in plain text, as by any server. */
function refuse(socket: Socket, input: Input): Promise<void> {
  send(socket, "GET", { status: 400 }, false);
  return linger(socket, input);
}

/** Reads on, so that the client hears the answer and not a reset. */
async function linger(socket: Socket, input: Input): Promise<void> {
  socket.end();
  while ((await input.piece(PIECE_BYTES_MAX)) !== undefined);
}

function send(
  socket: Socket,
  method: string,
  { status, headers = {}, body = "" }: Exclude<Reply, "cut">,
  staysOpen: boolean,
): void {
  const bytes = Buffer.from(body);
  const isBare = status === 204 || status === 304;
  const all = {
    ...(isBare || "Transfer-Encoding" in headers ? {} : { "Content-Length": bytes.byteLength }),
    ...(staysOpen ? {} : { Connection: "close" }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 ${status} Said\r\n${lines.join("")}\r\n`);
  if (method !== "HEAD" && !isBare) socket.write(bytes);
}

async function readHead(input: Input): Promise<RequestHead | "alien" | undefined> {
  // The hello of TLS has no end that could be waited for.
  if (!/^[A-Z]?$/.test(await input.peek())) return "alien";
  const text = await input.until("\r\n\r\n");
  if (text === undefined) return undefined;
  const [first = "", ...lines] = text.split("\r\n");
  const [, method, target] = /^([A-Z]+) (\S+) HTTP\/1\.1$/.exec(first) ?? [];
  if (method === undefined || target === undefined) return "alien";
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return { method, target, headers: Object.fromEntries(headers) };
}

function hasNoBody(headers: RequestHead["headers"]): boolean {
  const length = headers["content-length"];
  return headers["transfer-encoding"] === undefined && Number(length ?? 0) === 0;
}

async function* readBody(
  input: Input,
  headers: RequestHead["headers"],
): AsyncGenerator<Uint8Array> {
  if (headers["transfer-encoding"] === undefined) {
    yield* exactly(input, Number(headers["content-length"] ?? 0));
    return;
  }
  for (;;) {
    const size = Number.parseInt(wanted(await input.until("\r\n")), 16);
    if (size === 0) break;
    yield* exactly(input, size);
    wanted(await input.until("\r\n"));
  }
  wanted(await input.until("\r\n"));
}

async function* exactly(input: Input, bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; ) {
    const piece = wanted(await input.piece(left));
    left -= piece.byteLength;
    yield piece;
  }
}

function wanted<T>(value: T | undefined): T {
  if (value === undefined) throw new BodyCut("The client went away in the middle of the body");
  return value;
}

const PIECE_BYTES_MAX = 64 * 1024;

/** What a client sends, read on demand: it is held back when nobody reads. */
class Input {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#pieces = socket[Symbol.asyncIterator]();
  }

  /** The first character of what comes next; empty at the end of all. */
  async peek(): Promise<string> {
    if (this.#rest.byteLength === 0) this.#rest = (await this.#next()) ?? this.#rest;
    return this.#rest.toString("latin1", 0, 1);
  }

  /** The text before the mark, which is taken too; undefined at the end of all. */
  async until(mark: string): Promise<string | undefined> {
    for (;;) {
      const at = this.#rest.indexOf(mark);
      if (at >= 0) {
        const text = this.#rest.toString("latin1", 0, at);
        this.#rest = this.#rest.subarray(at + mark.length);
        return text;
      }
      const more = await this.#next();
      if (more === undefined) return undefined;
      this.#rest = Buffer.concat([this.#rest, more]);
    }
  }

  /** What comes next, at most so many bytes; undefined at the end of all. */
  async piece(bytesMax: number): Promise<Uint8Array | undefined> {
    if (this.#rest.byteLength === 0) {
      const more = await this.#next();
      if (more === undefined) return undefined;
      this.#rest = more;
    }
    const piece = this.#rest.subarray(0, Math.min(bytesMax, PIECE_BYTES_MAX));
    this.#rest = this.#rest.subarray(piece.byteLength);
    return piece;
  }

  async #next(): Promise<Buffer | undefined> {
    try {
      const { value, done } = await this.#pieces.next();
      return done ? undefined : value;
    } catch {
      // A reset is an end like any other here.
      return undefined;
    }
  }
}
