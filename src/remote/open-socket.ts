import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { systemErrorCode } from "#base";
import { hostOf, isLoopbackHost } from "./address.ts";
import { CutShort } from "./http-body.ts";
import type { Trust } from "./trust.ts";

/**
 * The first packet of a connection, when it is lost, is sent again after a whole second (RFC 6298,
 * 2.1); a second attempt beside the first is there long before. RFC 8305, 5 has the same delay.
 */
const SECOND_ATTEMPT_MS = 250;

/**
 * Connects to the host of a URL, with TLS for https. It is ready to be written to.
 *
 * @throws the socket's error with its `code`, or the signal's reason
 */
export async function openSocket(url: URL, trust: Trust, signal: AbortSignal): Promise<Socket> {
  const isTls = url.protocol === "https:";
  const host = hostOf(url);
  const port = Number(url.port || (isTls ? 443 : 80));
  const name = isIP(host) === 0 ? { servername: host } : {};
  // Such names are this machine's, whether or not its resolver knows them (RFC 6761, 6.3).
  const to = { host: host.endsWith(".localhost") ? "localhost" : host, port };
  const create = () =>
    isTls ? connectTls({ ...to, ...name, ...trust, ALPNProtocols: ["http/1.1"] }) : connectTcp(to);
  const socket = await firstConnected(create, signal).catch(async (error: unknown) => {
    throw await reasonOf(error, new URL(`http://${url.hostname}:${port}`), signal);
  });
  // The handshake began by itself, and takes a round trip at least.
  if (isTls) await emitted(socket, "secureConnect", signal);
  return socket;
}

const NO_WAY: ReadonlySet<string | undefined> = new Set([
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "ETIMEDOUT",
  "EACCES",
]);

/**
 * The sockets of Bun 1.4.5 call every connection that can't be made refused, also where there is no
 * route. Its `fetch` tells what the system said.
 */
async function reasonOf(error: unknown, url: URL, signal: AbortSignal): Promise<unknown> {
  if (systemErrorCode(error) !== "ECONNREFUSED" || isLoopbackHost(hostOf(url))) return error;
  try {
    const answer = await fetch(url, { method: "HEAD", redirect: "manual", signal });
    await answer.body?.cancel();
  } catch (reason) {
    if (NO_WAY.has(systemErrorCode(reason))) return reason;
  }
  return error;
}

/**
 * The socket that is connected first: one is created at once, and another when that takes long. The
 * other is destroyed.
 *
 * @param create starts to connect
 * @throws the error of the first, when all that were created failed; the signal's reason
 */
export async function firstConnected(
  create: () => Socket,
  signal: AbortSignal,
  secondAttemptMs: number = SECOND_ATTEMPT_MS,
): Promise<Socket> {
  const sockets: Socket[] = [];
  const attempt = async (): Promise<Socket> => {
    const socket = create();
    sockets.push(socket);
    await emitted(socket, "connect", signal);
    return socket;
  };
  const first = attempt();
  const second = Promise.withResolvers<Socket>();
  const timer = setTimeout(() => attempt().then(second.resolve, second.reject), secondAttemptMs);
  // What fails before the second attempt fails for a reason that it would meet too.
  first.catch((error: unknown) => {
    if (sockets.length < 2) second.reject(error);
  });
  try {
    const connected = await Promise.any([first, second.promise]);
    for (const socket of sockets) if (socket !== connected) socket.destroy();
    return connected;
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for an event that says that the socket can be used; otherwise it is destroyed. */
async function emitted(
  socket: Socket,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal.reason);
  const onEnd = () => reject(new CutShort("The connection ended before it was there"));
  signal.addEventListener("abort", onAbort, { once: true });
  // It stays: an error that nobody listens to would end the program.
  socket.on("error", reject);
  socket.once("close", onEnd);
  socket.once(event, resolve);
  try {
    signal.throwIfAborted();
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.off("close", onEnd);
    socket.off(event, resolve);
  }
}
