import { type Clock, Failure, printable, quoted, systemErrorCode } from "#base";
import { clientOf, isLoopback } from "./client.ts";
import { pacedBody } from "./paced-body.ts";
import type { Registry } from "./registry.ts";
import { badCertificate, type Certificate } from "./tls.ts";

/** Where a registry listens. */
export interface ServeOptions {
  readonly registry: Registry;
  /** Name or address of an interface of this machine. */
  readonly hostname: string;
  /** 0 for one that is free. */
  readonly port: number;
  readonly tls?: Certificate;
  readonly clock: Clock;
}

/** A registry that listens. Disposing of it cuts what is under way. */
export interface RegistryServer extends AsyncDisposable {
  /** `host:port`, with the port that it got. */
  readonly address: string;
  /**
   * Shows another certificate to who connects from now on (S-56). Requests that are under way go on;
   * connections without one are closed, as they are when they idle.
   *
   * @throws {Failure} `registry-certificate`; the one before is shown then
   */
  replaceCertificate(tls: Certificate): void;
  /** Takes no more requests, and resolves when those under way have ended. */
  stop(): Promise<void>;
}

/** A client may take this long, in seconds, before it takes more of an answer; the disk of an edge machine stalls. */
const IDLE_TIMEOUT_SECONDS = 120;

/**
 * Puts a registry on a socket.
 *
 * Measured with Bun 1.4.5: bodies reach `request.body` as they come, with content-length and chunked
 * alike, and are held back when nobody reads (2 GB pass in 80 MB of memory); headers beyond 16 KiB,
 * more than 200 of them, or two lengths of one body are answered 431 or 400 before they get here; TLS
 * begins at 1.2.
 *
 * @throws {Failure} `registry-exposed` when others than this machine could reach it without TLS or without a
 *   password (SEC-16); `registry-address` when the address can't be listened on; `registry-certificate`
 *   when certificate or key are not usable
 */
export function serveRegistry(options: ServeOptions): RegistryServer {
  const { registry, hostname, tls } = options;
  refuseExposure(hostname, { hasTls: tls !== undefined, hasUsers: registry.hasUsers });
  let server = listen(options);
  const port = server.port ?? options.port;
  let current = tls;
  /** All that may still have requests under way. */
  const servers = new Set([server]);

  // Bun takes no other certificate while it listens (`reload` passes over it: measured), so it stops and
  // listens again in the same turn, which takes a third of a millisecond.
  const swap = (next: Certificate): void => {
    const last = server;
    void last.stop().then(() => servers.delete(last));
    try {
      server = listen({ ...options, port, tls: next });
    } catch (error) {
      server = listen({ ...options, port, ...(current === undefined ? {} : { tls: current }) });
      throw error;
    } finally {
      servers.add(server);
    }
    current = next;
  };

  const host = hostname.includes(":") ? `[${hostname.replace(/^\[|\]$/g, "")}]` : hostname;
  const stopAll = async (isNow: boolean): Promise<void> => {
    await Promise.all([...servers].map((each) => each.stop(isNow)));
  };
  return {
    address: `${host}:${port}`,
    replaceCertificate: swap,
    stop: () => stopAll(false),
    [Symbol.asyncDispose]: () => stopAll(true),
  };
}

/** What keeps strangers out. */
export interface Guard {
  readonly hasTls: boolean;
  readonly hasUsers: boolean;
}

/**
 * Refuses to be reached from other machines unguarded (SEC-16).
 *
 * @throws {Failure} `registry-exposed`
 */
export function refuseExposure(hostname: string, { hasTls, hasUsers }: Guard): void {
  if (isLoopback(hostname) || (hasTls && hasUsers)) return;
  throw new Failure({
    code: "registry-exposed",
    message: `Cannot serve the registry on ${quoted(hostname)}: other machines could reach it without TLS or without a password, expected both`,
    hint: "Give it a certificate and users, or listen on 127.0.0.1",
  });
}

function listen({ registry, hostname, port, tls, clock }: ServeOptions) {
  try {
    return Bun.serve({
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key } }),
      // How much of a body is taken is for the registry to say, by what it is for.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      development: false,
      // Outside of development Bun sets it, and a second registry would silently share the port (measured).
      reusePort: false,
      fetch: (request, server) =>
        registry.fetch(
          withPace(request, clock),
          clientOf(server.requestIP(request)?.address ?? "unknown"),
        ),
    });
  } catch (error) {
    if (systemErrorCode(error)?.startsWith("ERR_OSSL")) throw badCertificate(error);
    throw unlistenable(`${hostname}:${port}`, error);
  }
}

/** Here, so that no handler of a body can forget it. It costs 0.1 s of CPU for a gigabyte (measured). */
function withPace(request: Request, clock: Clock): Request {
  if (request.body === null) return request;
  const { url, method, headers, signal } = request;
  return new Request(url, { method, headers, signal, body: pacedBody(request.body, { clock }) });
}

function unlistenable(address: string, cause: unknown): Failure {
  const code = systemErrorCode(cause) ?? "an unknown error";
  return new Failure({
    code: "registry-address",
    message: `Cannot serve the registry on ${quoted(address)}: the system answered ${printable(code)}, expected a free address of this machine`,
    hint: "Find who listens there with `ss -ltnp`, or name another address with `--listen`",
    cause,
  });
}
