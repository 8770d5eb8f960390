import type { Connection } from "./connection.ts";
import { type ConnectionGoal, type ConnectionNeed, ConnectionPool } from "./connection-pool.ts";
import type { Endurance } from "./endurance.ts";
import {
  bodyBytes,
  InvalidHttp,
  parseResponseHead,
  type ResponseHead,
  readUntil,
} from "./http-body.ts";

const HEAD_BYTES_MAX = 64 * 1024;

/** A request without a body, and whom to trust about its answer. */
export interface BareRequest extends ConnectionNeed {
  readonly method: "GET" | "HEAD";
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the request and the body that it brings. */
  readonly signal: AbortSignal;
}

/** The head of an answer, and its body. */
export interface StreamedAnswer extends Pick<ResponseHead, "status" | "headers"> {
  /** Null where none comes. */
  readonly body: ReadableStream<Uint8Array> | null;
}

/**
 * Asks for all that is fetched directly: HTTP/1.1 over sockets of our own, which small and large
 * answers share, so that the first blob needs no connection after its manifest's.
 *
 * `fetch` of Bun 1.4.5 drops what it has received and not yet handed over when a connection is reset:
 * up to some megabytes, and all of an answer that ends before its reader comes. On a link that cuts
 * every few hundred kilobytes, that is everything. Here whatever came is read before the error is.
 */
export class HttpClient {
  readonly #pool = new ConnectionPool();

  /**
   * Sends a request and waits for the head of its answer. The body must be read to its end or cancelled.
   *
   * @throws the socket's error with its `code`, or the signal's reason
   */
  async send(request: BareRequest): Promise<StreamedAnswer> {
    const { method, signal } = request;
    const taught = taughtBy(request);
    for (;;) {
      const connection = await this.#pool.take(request);
      const isFresh = connection.carriedBytes === 0;
      const onAbort = () => this.#pool.drop(connection, signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      const release = () => signal.removeEventListener("abort", onAbort);
      try {
        connection.write(formatRequest(request));
        const askedMs = performance.now();
        const head = await readHead(connection, method);
        taught?.answered(performance.now() - askedMs);
        return { ...head, body: this.#body(connection, head, request, release) };
      } catch (error) {
        release();
        this.#pool.drop(connection);
        signal.throwIfAborted();
        // The server may have closed a resting connection just when it was used again; of one that never
        // carried anything it is the server's word.
        if (isFresh) throw error;
      }
    }
  }

  /** Opens a connection for a request that may come soon. */
  prepare(goal: ConnectionGoal): void {
    this.#pool.prepare(goal);
  }

  /** Ends all connections. */
  close(): void {
    this.#pool.close();
  }

  #body(
    connection: Connection,
    { framing, isKeptAlive }: ResponseHead,
    request: BareRequest,
    release: () => void,
  ): ReadableStream<Uint8Array> | null {
    const { signal } = request;
    const pool = this.#pool;
    const taught = taughtBy(request);
    const bytes = bodyBytes(connection, framing);
    const sizeBytes = framing.kind === "length" ? framing.bytes : Number.POSITIVE_INFINITY;
    const wantedBytes = connection.carriedBytes + sizeBytes;
    let readBytes = 0;
    const end = () => {
      release();
      if (isKeptAlive) pool.giveBack(connection, request);
      else pool.drop(connection);
    };
    if (sizeBytes === 0) {
      end();
      return null;
    }
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          try {
            const { done, value } = await bytes.next();
            if (!done) {
              readBytes += value.byteLength;
              return controller.enqueue(value);
            }
          } catch (error) {
            const isBroken = !signal.aborted && !(error instanceof InvalidHttp);
            if (isBroken) taught?.broke(connection.carriedBytes, wantedBytes);
            release();
            pool.drop(connection);
            throw error;
          }
          taught?.carried(readBytes, connection.carriedBytes);
          end();
          controller.close();
        },
        cancel: () => {
          // The few words beside a redirect or a refusal have come with it: no reason to hang up.
          if (framing.kind === "length" && connection.skip(framing.bytes - readBytes)) return end();
          release();
          pool.drop(connection);
          // Who wants nothing more of this answer asks for something else soon.
          if (!signal.aborted) pool.prepare(request);
        },
      },
      { highWaterMark: 0 },
    );
  }
}

function taughtBy({ load }: BareRequest): Endurance | undefined {
  return load?.isSmall === false ? load.endurance : undefined;
}

async function readHead(
  connection: Connection,
  method: BareRequest["method"],
): Promise<ResponseHead> {
  for (;;) {
    const text = await readUntil(connection, "\r\n\r\n", HEAD_BYTES_MAX);
    const head = parseResponseHead(text, method);
    // 1xx says that the answer is still to come.
    if (head.status >= 200) return head;
  }
}

function formatRequest({ method, url, headers }: BareRequest): string {
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  for (const [name, value] of Object.entries(headers)) {
    // What Headers would refuse must not become a line of its own.
    lines.push(`${name}: ${new Headers([[name, value]]).get(name)}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
