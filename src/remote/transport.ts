import { Failure } from "#base";
import type { Connections, Load } from "./connection.ts";
import { type Asked, headersTimedOut, networkFailure } from "./network-failure.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";
import type { Trust } from "./trust.ts";

/** One HTTP request: what goes over the wire and nothing else. */
export interface Exchange {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly trust: Trust;
  /** Of a body that may be large and break off, and of which every byte that came is wanted. */
  readonly load?: Load;
  /** What a person wanted, for messages. */
  readonly subject: string;
  readonly signal: AbortSignal;
}

/** An answer whose body has not been read. It must be read to its end or cancelled. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
  readonly url: URL;
  readonly asked: Asked;
  /** Aborting it ends the body too. */
  readonly signal: AbortSignal;
}

/** What a process-wide HTTP client knows. */
export interface TransportOptions {
  readonly userAgent: string;
  readonly proxy: ProxySettings;
  readonly headerTimeoutMs: number;
  readonly connections: Connections;
}

/** All headers of one answer together; Bun 1.4.5 itself takes any size. */
const HEADER_CHARACTERS_MAX = 64 * 1024;

/**
 * Makes one request and waits for the headers of its answer. It follows no redirect, decodes no body
 * (digests are of the bytes on the wire, B-2), keeps no cookie, and turns every error into a Failure.
 *
 * The time-out is real time and not the injected clock's: it measures a socket, which does not live
 * in a test's time.
 *
 * @throws {NetworkFailure} when there is no answer
 * @throws {Failure} `registry-protocol` for headers without end; `proxy-invalid`
 */
export async function exchange(request: Exchange, options: TransportOptions): Promise<Answer> {
  const { url, method, headers, body, trust, signal } = request;
  const proxy = proxyFor(url, options.proxy);
  const asked: Asked = {
    subject: request.subject,
    host: url.host,
    ...(proxy === undefined ? {} : { proxyHost: proxy.host }),
  };
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.headerTimeoutMs);
  try {
    const sent = {
      headers: { ...headers, "Accept-Encoding": "identity", "User-Agent": options.userAgent },
      signal: AbortSignal.any([signal, deadline.signal]),
    };
    // Through a proxy, the runtime knows the way better than we do, though it may lose bytes.
    const response =
      request.load !== undefined && proxy === undefined
        ? await options.connections.get({ ...sent, url, trust, load: request.load })
        : await fetch(url, {
            ...sent,
            method,
            redirect: "manual",
            decompress: false,
            ...(body === undefined ? {} : { body }),
            ...(url.protocol === "https:" ? { tls: trust } : {}),
            ...(proxy === undefined ? {} : { proxy: proxy.href }),
          });
    const answer = { status: response.status, headers: response.headers, body: response.body };
    checkHeaders(response.headers, asked);
    return { ...answer, url, asked, signal };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Failure) throw error;
    if (deadline.signal.aborted) throw headersTimedOut(asked, options.headerTimeoutMs);
    throw networkFailure(error, asked);
  } finally {
    clearTimeout(timer);
  }
}

function checkHeaders(headers: Headers, { subject, host }: Asked): void {
  let characters = 0;
  for (const [name, value] of headers) characters += name.length + value.length;
  if (characters <= HEADER_CHARACTERS_MAX) return;
  throw new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${subject}: the headers of the answer of ${host} have ${characters} characters, expected at most ${HEADER_CHARACTERS_MAX}`,
    hint: "Check that the address is a registry's, and what stands between it and this machine",
  });
}

/** Gives an answer back unread, so that its connection is free. */
export async function discard({ body }: Answer): Promise<void> {
  try {
    await body?.cancel();
  } catch {
    // The connection broke meanwhile, which is what a cancelled body comes to anyway.
  }
}
