import { connect, createServer, type Socket } from "node:net";
import { readKernelQueues } from "./kernel-queues.ts";

/** A link that breaks each connection after some bytes, as firewalls and cheap routers do. */
export interface ResettingLink extends AsyncDisposable {
  /** Leads to the target. */
  readonly address: string;
  /** Bytes that came out at the client's end, headers included. */
  readonly downBytes: number;
  readonly resets: number;
}

/** What a link is like, towards the client. */
export interface LinkManners {
  /** Of each connection; then it is reset. */
  readonly resetAfterBytes: number;
  /** Of all connections together. */
  readonly bytesPerSecond: number;
}

/** Opens a link to a server, given as `host:port`. */
export async function openResettingLink(
  target: string,
  { resetAfterBytes, bytesPerSecond }: LinkManners,
): Promise<ResettingLink> {
  const [host, port] = target.split(":");
  const sockets = new Set<Socket>();
  const counts = { downBytes: 0, resets: 0 };
  let freeAtMs = 0;
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
      const goOn = () => setTimeout(() => upstream.resume(), freeAtMs - performance.now());
      if (isTaken) goOn();
      else client.once("drain", goOn);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
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
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
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
