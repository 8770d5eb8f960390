import { Failure, printable, quoted, systemErrorCode } from "#base";
import type { Registry } from "./registry.ts";

/** Where a registry listens. */
export interface ServeOptions {
  readonly registry: Registry;
  /** Name or address of an interface of this machine. */
  readonly hostname: string;
  /** 0 for one that is free. */
  readonly port: number;
  /** Certificate and key, in PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** A registry that listens. Disposing of it cuts what is under way. */
export interface RegistryServer extends AsyncDisposable {
  /** `host:port`, with the port that it got. */
  readonly address: string;
  /** Takes no more requests, and resolves when those under way have ended. */
  stop(): Promise<void>;
}

/** A client may take this long, in seconds, before it takes more of an answer; the disk of an edge machine stalls. */
const IDLE_TIMEOUT_SECONDS = 120;

/**
 * Puts a registry on a socket.
 *
 * @throws {Failure} `registry-exposed` when others than this machine could reach it without TLS or without a
 *   password (SEC-16); `registry-address` when the address can't be listened on; `registry-certificate`
 *   when certificate or key are not usable
 */
export function serveRegistry(options: ServeOptions): RegistryServer {
  const { registry, hostname, port, tls } = options;
  if (!isLoopback(hostname) && (tls === undefined || !registry.hasUsers)) throw exposed(hostname);
  const server = listen(options);
  const host = hostname.includes(":") ? `[${hostname.replace(/^\[|\]$/g, "")}]` : hostname;
  return {
    address: `${host}:${server.port ?? port}`,
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

function listen({ registry, hostname, port, tls }: ServeOptions) {
  try {
    return Bun.serve({
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key } }),
      // A client that tries to push is to read why not, and not to find its connection cut.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      development: false,
      // Outside of development Bun sets it, and a second registry would silently share the port (measured).
      reusePort: false,
      fetch: (request) => registry.fetch(request),
    });
  } catch (error) {
    if (systemErrorCode(error)?.startsWith("ERR_OSSL")) throw badCertificate(error);
    throw unlistenable(`${hostname}:${port}`, error);
  }
}

/** Whether only this machine can reach the address. */
function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(hostname);
}

function exposed(hostname: string): Failure {
  return new Failure({
    code: "registry-exposed",
    message: `Cannot serve the registry on ${quoted(hostname)}: other machines could reach it without TLS or without a password, expected both`,
    hint: "Give it a certificate and users, or listen on 127.0.0.1",
  });
}

function badCertificate(cause: unknown): Failure {
  return new Failure({
    code: "registry-certificate",
    message:
      "Cannot serve the registry: its certificate or key is not usable, expected both in PEM and of one pair",
    hint: "Look at them with `openssl x509 -in CERT -noout -text` and `openssl pkey -in KEY -noout -check`",
    cause,
  });
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
