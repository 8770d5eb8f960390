import { connect, createServer, type Socket } from "node:net";

/** A link that breaks what clients send. */
export interface CuttingLink extends AsyncDisposable {
  /** `127.0.0.1:port`; leads to the target. */
  readonly address: string;
  /** Bytes that clients sent and the target was given, headers included. */
  readonly upBytes: number;
  readonly cuts: number;
}

/** When a link breaks, and who hears what passes. */
export interface CuttingLinkOptions {
  readonly cutAfterBytes: number;
  /** Hears {@link CuttingLink.upBytes} whenever it has grown. */
  readonly onUp?: (upBytes: number) => void;
}

/**
 * Opens a link to a server, given as `host:port`, that breaks each connection after so many bytes from
 * the client. The target gets what came before, and an end; the client gets a reset.
 */
export async function openCuttingLink(
  target: string,
  { cutAfterBytes, onUp }: CuttingLinkOptions,
): Promise<CuttingLink> {
  const [host, port] = target.split(":");
  const sockets = new Set<Socket>();
  const counts = { upBytes: 0, cuts: 0 };
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      other.end();
    });
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    let leftBytes = cutAfterBytes;
    keep(client, upstream);
    keep(upstream, client);
    upstream.pipe(client);
    client.on("data", (chunk: Buffer) => {
      const passed = chunk.subarray(0, leftBytes);
      if (passed.byteLength === 0) return;
      leftBytes -= passed.byteLength;
      counts.upBytes += passed.byteLength;
      onUp?.(counts.upBytes);
      if (!upstream.write(passed)) {
        client.pause();
        upstream.once("drain", () => client.resume());
      }
      if (leftBytes > 0) return;
      counts.cuts += 1;
      upstream.end(() => client.resetAndDestroy());
    });
    client.on("end", () => upstream.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const ownPort = typeof address === "object" && address !== null ? address.port : 0;
  return {
    address: `127.0.0.1:${ownPort}`,
    get upBytes() {
      return counts.upBytes;
    },
    get cuts() {
      return counts.cuts;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
