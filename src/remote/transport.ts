import { Failure } from "#base";
import type { ConnectionGoal, Load } from "./connection-pool.ts";
import type { HttpClient } from "./http-client.ts";
import {
  type Asked,
  cannot,
  type Errand,
  headersTimedOut,
  networkFailure,
} from "./network-failure.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";
import { Deadline, isSized, SendingBody, type SizedBody } from "./sending-body.ts";
import type { Trust } from "./trust.ts";

/** One HTTP request: what goes over the wire and nothing else. */
export interface Exchange extends Errand {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer> | SizedBody;
  /** How long the answer may take when all is sent, in milliseconds, if longer than usual. */
  readonly answerTimeoutMs?: number;
  /** On a connection of its own, because those of this host break after so many bytes. */
  readonly isLone?: boolean;
  readonly trust: Trust;
  /** Of what is fetched. */
  readonly load?: Load;
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
  /** So long the other side may take nothing more of a body. */
  readonly stallMs: number;
  readonly http: HttpClient;
  /** Whether a host may be asked at all. All may without it. */
  readonly mayAsk?: (url: URL) => Promise<boolean>;
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
 * @throws {Failure} `registry-protocol` for headers without end; `proxy-invalid`; `host-out-of-bounds`
 */
export async function exchange(request: Exchange, options: TransportOptions): Promise<Answer> {
  const { url, method, headers, body, trust, signal } = request;
  const proxy = proxyFor(url, options.proxy);
  const asked: Asked = {
    subject: request.subject,
    verb: request.verb,
    host: url.host,
    ...(proxy === undefined ? {} : { proxyHost: proxy.host }),
  };
  if (options.mayAsk !== undefined && !(await options.mayAsk(url))) throw outOfBounds(asked);
  const answerTimeoutMs = Math.max(options.headerTimeoutMs, request.answerTimeoutMs ?? 0);
  const deadline = new Deadline(answerTimeoutMs);
  const sending = isSized(body)
    ? new SendingBody(body, { ...options, answerTimeoutMs, deadline, signal })
    : undefined;
  try {
    const sent = {
      headers: { ...headers, "Accept-Encoding": "identity", "User-Agent": options.userAgent },
      signal: AbortSignal.any([signal, deadline.signal]),
    };
    // Through a proxy, the runtime knows the way better than we do, though it may lose bytes.
    const response =
      (method === "GET" || method === "HEAD") && proxy === undefined
        ? await options.http.send({ ...request, ...sent, method })
        : await fetch(url, {
            ...sent,
            method,
            redirect: "manual",
            decompress: false,
            ...(sending === undefined ? {} : { headers: sending.lengthIn(sent.headers) }),
            ...(body === undefined
              ? {}
              : { body: isSized(body) ? (sending?.stream ?? null) : body }),
            ...(request.isLone === true ? { keepalive: false } : {}),
            ...(url.protocol === "https:" ? { tls: trust } : {}),
            ...(proxy === undefined ? {} : { proxy: proxy.href }),
          });
    const answer = { status: response.status, headers: response.headers, body: response.body };
    checkHeaders(response.headers, asked);
    return { ...answer, url, asked, signal };
  } catch (error) {
    signal.throwIfAborted();
    if (sending?.broken !== undefined) throw sending.broken.error;
    if (error instanceof Failure) throw error;
    if (deadline.signal.aborted) throw headersTimedOut(asked, deadline.ms);
    throw networkFailure(error, asked);
  } finally {
    deadline.clear();
    // Whoever answers has decided, and of a connection that broke Bun 1.4.5 tells no stream.
    await sending?.end();
  }
}

/** Opens a connection for a request that may be made soon: it saves the round trip, and sends nothing. */
export async function prepareExchange(
  goal: ConnectionGoal,
  { proxy, mayAsk, http }: TransportOptions,
): Promise<void> {
  if (proxyFor(goal.url, proxy) !== undefined) return;
  if (mayAsk === undefined || (await mayAsk(goal.url))) http.prepare(goal);
}

function outOfBounds(asked: Asked): Failure {
  return new Failure({
    code: "host-out-of-bounds",
    message: `${cannot(asked)}: that would ask ${asked.host}, which is not on the site, expected none but the site's own hosts`,
    hint: "Let the site's registry keep its blobs and give its tokens itself, so that it needs no link",
  });
}

function checkHeaders(headers: Headers, asked: Asked): void {
  let characters = 0;
  for (const [name, value] of headers) characters += name.length + value.length;
  if (characters <= HEADER_CHARACTERS_MAX) return;
  throw new Failure({
    code: "registry-protocol",
    message: `${cannot(asked)}: the headers of the answer of ${asked.host} have ${characters} characters, expected at most ${HEADER_CHARACTERS_MAX}`,
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
