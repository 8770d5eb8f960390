import { connect } from "node:net";
import { join } from "node:path";

/** Where the agent of a data folder lets in who may use the folder. */
export function agentSocket(dataDir: string): string {
  return join(dataDir, "agent.sock");
}

/** How long whoever listens may take to open the door, in milliseconds. */
const CONNECT_MS = 2_000;

/** Whether somebody takes connections there: a path, or a host and a port. */
export function isListening(
  at: string | { readonly host: string; readonly port: number },
): Promise<boolean> {
  return new Promise((done) => {
    const options = typeof at === "string" ? { path: at } : at;
    const socket = connect({ ...options, timeout: CONNECT_MS });
    const end = (isThere: boolean) => {
      socket.destroy();
      done(isThere);
    };
    socket.once("connect", () => end(true));
    socket.once("timeout", () => end(false));
    socket.once("error", () => end(false));
  });
}
