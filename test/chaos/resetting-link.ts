import { connect, createServer, type Socket } from "node:net";
import { readKernelQueues } from "./kernel-queues.ts";

/** A link that breaks each connection after some bytes, as firewalls and cheap routers do. */
export interface ResettingLink extends AsyncDisposable {
  /** Leads to the target. */
  readonly address: string;
  /** Bytes that came out at the client's end, headers included. */
  readonly downBytes: number;
  readonly resets: number;
  /** Connections that begin from now on find it so. */
  change(manners: LinkManners): void;
  /** Breaks all connections and lets nobody in. */
  cut(): Promise<void>;
  /** Lets in again, at the same address. */
  mend(): Promise<void>;
}

/** What a link is like, towards the client. */
export interface LinkManners {
  /** Of each connection; then it is reset. */
  readonly resetAfterBytes: number;
  /** Of all connections together. */
  readonly bytesPerSecond: number;
}

/** A link of which nothing is felt. */
export const GOOD_LINK: LinkManners = {
  resetAfterBytes: Number.POSITIVE_INFINITY,
  bytesPerSecond: Number.POSITIVE_INFINITY,
};

/** Opens a link to a server, given as `host:port`. */
export async function openResettingLink(
  target: string,
  manners: LinkManners,
): Promise<ResettingLink> {
  const [host, port] = target.split(":");
  const sockets = new Set<Socket>();
  const counts = { downBytes: 0, resets: 0 };
  let freeAtMs = 0;
  let current = manners;
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    const { resetAfterBytes, bytesPerSecond } = current;
    let leftBytes = resetAfterBytes;
    keep(client, upstream);
    keep(upstream, client);
    client.on("data", (chunk) => upstream.write(chunk));
    upstream.on("end", () => client.end());
    upstream.on("data", (chunk: Buffer) => {
      const passed = chunk.subarray(0, leftBytes);
      if (client.destroyed || passed.byteLength === 0) return;
      leftBytes -= passed.byteLength;
      counts.downBytes += passed.byteLength;
      const isTaken = client.write(passed);
      if (leftBytes === 0) {
        counts.resets += 1;
        upstream.pause();
        reset(client, isTaken);
        return;
      }
      upstream.pause();
      freeAtMs =
        Math.max(freeAtMs, performance.now()) + (passed.byteLength / bytesPerSecond) * 1000;
      const goOn = () =>
        setTimeout(() => upstream.resume(), Math.max(0, freeAtMs - performance.now()));
      if (isTaken) goOn();
      else client.once("drain", goOn);
    });
  });
  const listen = (port: number) =>
    new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const cut = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen(0);
  const address = server.address();
  const ownPort = typeof address === "object" && address !== null ? address.port : 0;
  return {
    address: `127.0.0.1:${ownPort}`,
    get downBytes() {
      return counts.downBytes;
    },
    get resets() {
      return counts.resets;
    },
    change(next) {
      current = next;
    },
    cut,
    mend: () => listen(ownPort),
    [Symbol.asyncDispose]: cut,
  };
}

const POLL_MS = 2;

/** Breaks the connection once all that was passed has arrived: a reset throws away what the sender holds. */
function reset(client: Socket, isTaken: boolean): void {
  const port = client.remotePort ?? 0;
  const onceArrived = () => {
    if (client.destroyed) return;
    const { toArriveBytes = 0 } = readKernelQueues().get(port) ?? {};
    if (toArriveBytes > 0) setTimeout(onceArrived, POLL_MS);
    else client.resetAndDestroy();
  };
  if (isTaken) onceArrived();
  else client.once("drain", onceArrived);
}
