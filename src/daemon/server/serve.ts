import { chmodSync, statSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { Failure, printable, quoted, systemErrorCode } from "#base";
import { type Certificate, clientOf, isLoopback } from "#registry";
import type { Api } from "./api.ts";

/** An API that listens. Disposing of it cuts what is under way. */
export interface ApiServer extends AsyncDisposable {
  /** `http://127.0.0.1:5056`, `https://…`, or the path of the socket. */
  readonly address: string;
  /**
   * Shows another certificate to who connects from now on. Requests that are under way go on.
   *
   * @throws {Failure} `registry-certificate`; the one before is shown then
   */
  replaceCertificate(tls: Certificate): void;
  /** Takes no more requests, lets go of who follows events, and resolves when the rest have ended. */
  stop(): Promise<void>;
}

/** Where people and programs of other machines reach an API. */
export interface ApiAddress {
  readonly api: Api;
  /** Name or address of an interface of this machine. */
  readonly hostname: string;
  /** 0 for one that is free. */
  readonly port: number;
  readonly tls?: Certificate;
}

/**
 * A connection on which nothing moves is closed after so many seconds. Who follows events is told
 * something more often.
 */
const IDLE_TIMEOUT_SECONDS = 60;

/** A safety net: how much of a body is read is for the API to say, which answers where Bun would cut. */
const BODY_BYTES_MAX = 1024 * 1024;

/**
 * Puts an API on an address.
 *
 * @throws {Failure} `api-exposed` when others than this machine could reach it without TLS or without a
 *   login; `api-address` when it can't be listened on; `registry-certificate`
 */
export function serveOnAddress({ api, hostname, port, tls }: ApiAddress): ApiServer {
  refuseExposure(hostname, { hasTls: tls !== undefined, hasUsers: api.hasUsers });
  const bare = hostname.replace(/^\[|\]$/g, "");
  const start = (certificate: Certificate | undefined, at: number) =>
    listen(`${hostname}:${at}`, () =>
      Bun.serve({
        ...SERVER,
        ...{ hostname: bare, port: at },
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        // Outside of development Bun sets it, and a second agent would silently share the port.
        reusePort: false,
        ...(certificate === undefined
          ? {}
          : { tls: { cert: certificate.cert, key: certificate.key } }),
        fetch: (request, server) =>
          api.fetch(request, clientOf(server.requestIP(request)?.address ?? "unknown")),
      }),
    );
  let current = tls;
  let server = start(current, port);
  const servers = new Set([server]);
  const bound = server.port ?? port;
  const scheme = tls === undefined ? "http" : "https";
  return {
    address: `${scheme}://${bare.includes(":") ? `[${bare}]` : bare}:${bound}`,
    // Bun takes no other certificate while it listens, so it stops and listens again in the same turn.
    replaceCertificate(next) {
      const last = server;
      void last.stop().then(() => servers.delete(last));
      try {
        server = start(next, bound);
        current = next;
      } catch (error) {
        server = start(current, bound);
        throw error;
      } finally {
        servers.add(server);
      }
    },
    stop: () => stopAll(api, servers, false),
    [Symbol.asyncDispose]: () => stopAll(api, servers, true),
  };
}

const SERVER = { maxRequestBodySize: BODY_BYTES_MAX, development: false } as const;

/** Linux takes no longer path for a socket. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Puts an API on a Unix socket that only the user of this process can open: who reaches it need not log in.
 * A socket that a dead agent left is replaced, one that answers is not.
 *
 * @throws {Failure} `api-address`
 */
export async function serveOnSocket(api: Api, path: string): Promise<ApiServer> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new Failure({
      code: "api-address",
      message: `Cannot listen on ${quoted(path)}: the path has more than ${SOCKET_PATH_BYTES_MAX} bytes, expected at most that, which is all that Linux takes`,
      hint: "Choose a shorter dataDir in the site file",
    });
  }
  if (isSocket(path)) {
    if (await isAnswered(path)) throw taken(path);
    unlinkSync(path);
  }
  const server = listen(path, () =>
    withUmask(0o077, () =>
      Bun.serve({
        ...SERVER,
        unix: path,
        // Its types do not know of it here, and set for a request alone it does not hold for a body that
        // comes bit by bit: after 12 s of silence that is cut (measured).
        ...({ idleTimeout: IDLE_TIMEOUT_SECONDS } as object),
        fetch: (request) => api.fetch(request, "socket"),
      }),
    ),
  );
  chmodSync(path, 0o600);
  const servers = new Set([server]);
  return {
    address: path,
    replaceCertificate: () => {},
    stop: () => stopAll(api, servers, false),
    [Symbol.asyncDispose]: () => stopAll(api, servers, true),
  };
}

/** It begins its life with these rights: between listening and `chmod` somebody else could get in. */
function withUmask<T>(mask: number, act: () => T): T {
  const before = process.umask(mask);
  try {
    return act();
  } finally {
    process.umask(before);
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
  });
}

type BunServer = ReturnType<typeof Bun.serve>;

async function stopAll(api: Api, servers: ReadonlySet<BunServer>, isNow: boolean): Promise<void> {
  api.close();
  await Promise.all([...servers].map((server) => server.stop(isNow)));
}

/**
 * Refuses to be reached from other machines unguarded.
 *
 * @throws {Failure} `api-exposed`
 */
export function refuseExposure(
  hostname: string,
  { hasTls, hasUsers }: { readonly hasTls: boolean; readonly hasUsers: boolean },
): void {
  if (isLoopback(hostname) || (hasTls && hasUsers)) return;
  throw new Failure({
    code: "api-exposed",
    message: `Cannot serve the agent's API on ${quoted(hostname)}: other machines could reach it without TLS or without a login, expected both`,
    hint: "Give it a certificate and users in the site file, or listen on 127.0.0.1",
  });
}

function listen(address: string, start: () => BunServer): BunServer {
  try {
    return start();
  } catch (cause) {
    const code = systemErrorCode(cause) ?? "an unknown error";
    if (code.startsWith("ERR_OSSL")) {
      throw new Failure({
        code: "registry-certificate",
        message: `Cannot serve the agent's API on ${quoted(address)}: certificate or key is not usable, expected both in PEM and of one pair`,
        hint: "Look at them with `openssl x509 -in CERT -noout -text` and `openssl pkey -in KEY -noout -check`",
        cause,
      });
    }
    if (code === "EADDRINUSE") throw taken(address, cause);
    throw new Failure({
      code: "api-address",
      message: `Cannot serve the agent's API on ${quoted(address)}: the system answered ${printable(code)}, expected an address or a path of this machine`,
      hint: "Name another one in the site file",
      cause,
    });
  }
}

function taken(address: string, cause?: unknown): Failure {
  return new Failure({
    code: "api-address",
    message: `Cannot serve the agent's API on ${quoted(address)}: somebody listens there, expected nobody`,
    hint: "Find who does with `ss -lxntp`: an agent that runs already?",
    cause,
  });
}
