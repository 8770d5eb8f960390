import { rm } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";

/** A unix socket that leads to another one, and breaks. */
export interface CuttingSocket extends AsyncDisposable {
  readonly path: string;
}

/** Everything that is connected breaks once so many bytes went there, and nothing connects any more. */
export async function cuttingSocket(
  target: string,
  path: string,
  bytes: number,
): Promise<CuttingSocket> {
  const open = new Set<Socket>();
  let left = bytes;
  const server = createServer((client) => {
    if (left <= 0) return void client.destroy();
    const onward = createConnection(target);
    for (const socket of [client, onward]) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        onward.destroy();
      });
    }
    client.on("data", (chunk: Buffer) => {
      onward.write(chunk.subarray(0, Math.max(0, left)));
      left -= chunk.byteLength;
      if (left <= 0) for (const socket of open) socket.destroy();
    });
    onward.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    path,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(path, { force: true });
    },
  };
}
