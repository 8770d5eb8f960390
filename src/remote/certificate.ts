import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { printable } from "#base";
import { hostOf } from "./address.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";
import { apiHost } from "./remote.ts";

/** Whose a certificate is and when it ends. */
export interface CertificateEnd {
  /** Its subject; fit to print. */
  readonly subject: string;
  /** Milliseconds since 1970. */
  readonly endsMs: number;
}

/** How a server is asked for its certificate. */
export interface CertificateOptions {
  readonly proxy: ProxySettings;
  /** How long it may take, in milliseconds; 10 s by default. */
  readonly timeoutMs?: number;
  readonly signal: AbortSignal;
}

const TIMEOUT_MS = 10_000;

/**
 * The certificate that a registry shows, looked at and not trusted: one that ended is what this is for.
 * Nothing is sent but the handshake.
 *
 * @returns undefined when none can be had: nobody answers, the registry speaks plain http, or it is
 *   behind a proxy, which is not troubled for this
 * @throws the signal's reason; nothing that a server does
 */
export async function readServerCertificate(
  registry: string,
  { proxy, timeoutMs = TIMEOUT_MS, signal }: CertificateOptions,
): Promise<CertificateEnd | undefined> {
  signal.throwIfAborted();
  const address = `https://${apiHost(registry)}`;
  if (!URL.canParse(address)) return undefined;
  const url = new URL(address);
  if (isProxied(url, proxy)) return undefined;
  const giveUp = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const certificate = await shake(url, giveUp);
  signal.throwIfAborted();
  return certificate === undefined ? undefined : endOf(certificate);
}

function isProxied(url: URL, settings: ProxySettings): boolean {
  try {
    return proxyFor(url, settings) !== undefined;
  } catch {
    // The requests themselves tell what is wrong with the proxy.
    return true;
  }
}

/** The DER of the certificate that a handshake brings; undefined when none comes to its end. */
function shake(url: URL, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const host = hostOf(url);
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const port = Number(url.port || 443);
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({ host, port, ...servername, rejectUnauthorized: false });
    const end = (certificate?: Uint8Array) => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(certificate);
    };
    const onAbort = () => end();
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", () => end());
    socket.once("close", () => end());
    socket.once("secureConnect", () => end(socket.getPeerCertificate().raw));
  });
}

/** Whose a certificate is and when it ends; undefined when it is none. */
export function certificateEnd(pem: string): CertificateEnd | undefined {
  return endOf(pem);
}

function endOf(certificate: string | Uint8Array): CertificateEnd | undefined {
  try {
    const { subject, validTo } = new X509Certificate(certificate);
    const endsMs = Date.parse(validTo);
    if (!Number.isFinite(endsMs)) return undefined;
    return { subject: printable(subject.replaceAll("\n", ", ")), endsMs };
  } catch {
    return undefined;
  }
}
