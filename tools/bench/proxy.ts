import { readFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";

/** What a proxy does to the connections that pass through it. */
export interface ProxyOptions {
  /** Where it listens; it takes a free port. */
  readonly hostname: string;
  /** Where it leads: `host:port`. */
  readonly target: string;
  /** Ends a connection by a reset once so many bytes came from the target. */
  readonly resetAfterBytes?: number;
  /** How much later everything arrives, in each direction, in milliseconds. */
  readonly delayMs?: number;
  /** What all connections together may bring from the target; no limit by default. */
  readonly bytesPerSecond?: number;
}

/** A TCP proxy that counts. */
export interface Proxy extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string;
  /** Bytes that came from the target and were passed on, over all connections so far. */
  readonly bytesMoved: number;
}

/** How often the system is asked whether all has left, in milliseconds. */
const LOOK_MS = 5;

/** What may be on its way within the proxy, for each direction of a connection. */
const IN_FLIGHT_BYTES_MAX = 4_000_000;

/** Starts a proxy. It ends with all of its connections when it is disposed of. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { hostname, resetAfterBytes = Number.POSITIVE_INFINITY, delayMs = 0 } = options;
  const { hostname: targetHost, port: targetPort } = new URL(`tcp://${options.target}`);
  const sockets = new Set<Socket>();
  const arrivesMs = createLine(options.bytesPerSecond ?? Number.POSITIVE_INFINITY, delayMs);
  let bytesMoved = 0;
  const server = createServer((near) => {
    const far = connect(Number(targetPort), targetHost);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("close", () => sockets.delete(socket));
      // Whoever reads or writes is told as well.
      socket.on("error", () => {});
    }
    let leftBytes = resetAfterBytes;
    const passable = (bytes: number) => {
      const passed = Math.min(bytes, leftBytes);
      leftBytes -= passed;
      bytesMoved += passed;
      return passed;
    };
    void pump(
      near,
      far,
      () => performance.now() + delayMs,
      (bytes) => bytes,
    );
    void pump(far, near, arrivesMs, passable);
  });
  await new Promise<void>((done) => server.listen(0, hostname, done));
  const address = server.address();
  return {
    address: `${hostname}:${typeof address === "object" ? address?.port : ""}`,
    get bytesMoved() {
      return bytesMoved;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A line that all connections share: says when bytes that set out now arrive. */
function createLine(bytesPerSecond: number, delayMs: number): (bytes: number) => number {
  let freeAtMs = 0;
  return (bytes) => {
    freeAtMs = Math.max(freeAtMs, performance.now()) + (bytes / bytesPerSecond) * 1_000;
    return freeAtMs + delayMs;
  };
}

/** Passes on what comes, in order and each piece at its time, until no more may pass. */
async function pump(
  from: Socket,
  to: Socket,
  arrivesMs: (bytes: number) => number,
  passable: (bytes: number) => number,
): Promise<void> {
  let inFlightBytes = 0;
  let last = Promise.resolve();
  const pass = async (piece: Buffer, atMs: number) => {
    const waitMs = atMs - performance.now();
    if (waitMs > 0) await Bun.sleep(waitMs);
    const passed = passable(piece.byteLength);
    await written(to, piece.subarray(0, passed));
    if (passed < piece.byteLength) {
      await allArrived(to);
      to.resetAndDestroy();
    }
    inFlightBytes -= piece.byteLength;
  };
  try {
    for await (const piece of from as AsyncIterable<Buffer>) {
      const atMs = arrivesMs(piece.byteLength);
      inFlightBytes += piece.byteLength;
      last = last.then(() => pass(piece, atMs));
      if (inFlightBytes > IN_FLIGHT_BYTES_MAX || waitsForNobody(atMs)) await last;
      else last.catch(() => {});
    }
    await last;
    to.end();
  } catch {
    from.destroy();
    to.destroy();
  }
}

/**
 * A reset throws away what the system has taken from us and the other side has not acknowledged: it
 * would count as moved, and never cross the link. So it has to arrive first, however slow the reader.
 */
async function allArrived(socket: Socket): Promise<void> {
  const [own, other] = [socket.localPort, socket.remotePort].map((port) =>
    (port ?? 0).toString(16).toUpperCase().padStart(4, "0"),
  );
  // Of this connection: established, and how many bytes are not acknowledged (proc_net_tcp(5)).
  const waiting = new RegExp(`:${own} \\w+:${other} 0[14] (?!00000000)\\w{8}:`);
  while (!socket.destroyed && waiting.test(await readFile("/proc/net/tcp", "utf8"))) {
    await Bun.sleep(LOOK_MS);
  }
}

/** Without a delay the reader keeps step with the writer. */
function waitsForNobody(atMs: number): boolean {
  return atMs <= performance.now();
}

function written(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((done, fail) => {
    socket.write(bytes, (error) => (error == null ? done() : fail(error)));
  });
}
