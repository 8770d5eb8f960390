import { connect, createServer, type Socket } from "node:net";

/** A server that accepts connections and sends back what it is sent. */
export interface Listener extends AsyncDisposable {
  readonly port: number;
  /** Begins a connection to it. */
  connect(): Socket;
}

/** Starts one on a free port of this machine. */
export async function startListener(): Promise<Listener> {
  const accepted = new Set<Socket>();
  const server = createServer((socket) => accepted.add(socket.pipe(socket)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    port,
    connect: () => connect({ host: "127.0.0.1", port }),
    async [Symbol.asyncDispose]() {
      for (const socket of accepted) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
