import { createServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** A request as it came: the names of headers in lower case. */
export interface WireRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** One request, and the means to answer it in ways that no HTTP library would. */
export interface Wire {
  readonly request: WireRequest;
  /** Tells the client's connections from each other. */
  readonly clientPort: number;
  /** Sends status and headers, as given: nothing is added, nothing has to be true. */
  head(status: number, headers: Readonly<Record<string, string | number>>): void;
  /**
   * Sends bytes as fast as the client takes them, and no faster than asked.
   *
   * @param onSent called with the count of each piece that was handed to the network
   * @returns false when the client went away
   */
  send(bytes: Uint8Array, options?: SendOptions): Promise<boolean>;
  /** Ends the connection, in good order (FIN). */
  end(): Promise<void>;
  /** Ends it as a broken link does (RST), after what was sent has arrived, and `afterMs` of silence. */
  reset(afterMs?: number): Promise<void>;
  readonly isGone: boolean;
}

/** How bytes are sent. */
export interface SendOptions {
  readonly bytesPerSecond?: number | undefined;
  readonly onSent?: (bytes: number) => void;
}

/** A server on a free port of loopback. */
export interface WireServer extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string;
}

/** Small beside all that is counted with these bytes. */
const PIECE_BYTES = 32 * 1024;

/** Long enough for a busy machine to read what was sent: Bun forgets what it has not read by the time of a reset. */
const ARRIVAL_MS = 100;

const REQUEST_BYTES_MAX = 64 * 1024;

/** Starts a server that gives each request of GET or HEAD, one after the other, to `answer`. */
export async function startWireServer(
  hostname: string,
  answer: (wire: Wire) => Promise<void>,
): Promise<WireServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client that goes away is what these tests are about; whoever writes to it is told by `send`.
    socket.on("error", () => socket.destroy());
    serve(socket, answer);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, hostname, resolve);
  await promise;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    address: `${hostname}:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

function serve(socket: Socket, answer: (wire: Wire) => Promise<void>): void {
  let text = "";
  let isBusy = false;
  const next = async () => {
    const end = text.indexOf("\r\n\r\n");
    if (isBusy || socket.destroyed) return;
    if (end < 0) {
      // A client that tries https first is told in plain text that it is wrong, as by any server.
      const isAlien = text.length > REQUEST_BYTES_MAX || /^[^A-Z]/.test(text);
      if (isAlien) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
      return;
    }
    const request = readRequest(text.slice(0, end));
    text = text.slice(end + 4);
    isBusy = true;
    await answer(wireOf(socket, request));
    isBusy = false;
    await next();
  };
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    void next();
  });
}

function readRequest(text: string): WireRequest {
  const [first = "", ...lines] = text.split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { method, target, headers };
}

function wireOf(socket: Socket, request: WireRequest): Wire {
  return {
    request,
    clientPort: socket.remotePort ?? 0,
    get isGone() {
      return socket.destroyed;
    },
    head(status, headers) {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`HTTP/1.1 ${status} Said\r\n${lines.join("")}\r\n`);
    },
    async send(bytes, { bytesPerSecond, onSent } = {}) {
      for (let offset = 0; offset < bytes.byteLength; ) {
        const piece = bytes.subarray(offset, offset + PIECE_BYTES);
        if (!socket.destroyed && !socket.write(piece)) await drained(socket);
        if (socket.destroyed) return false;
        offset += piece.byteLength;
        onSent?.(piece.byteLength);
        if (bytesPerSecond !== undefined) await pause((piece.byteLength / bytesPerSecond) * 1000);
      }
      return !socket.destroyed;
    },
    async end() {
      await pause(ARRIVAL_MS);
      socket.end();
    },
    async reset(afterMs = 0) {
      await pause(ARRIVAL_MS + afterMs);
      socket.resetAndDestroy();
    },
  };
}

function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => {
    socket.off("drain", done);
    socket.off("close", done);
    resolve();
  };
  socket.on("drain", done);
  socket.on("close", done);
  return promise;
}
