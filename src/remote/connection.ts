import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { releaseChunk } from "#content";
import { hostOf } from "./address.ts";
import type { Endurance } from "./endurance.ts";
import {
  bodyBytes,
  CutShort,
  InvalidHttp,
  parseResponseHead,
  type RawBytes,
  type ResponseHead,
  readUntil,
} from "./http-body.ts";
import { ownBytes } from "./own-bytes.ts";
import type { Trust } from "./trust.ts";

/**
 * So much may wait for its reader; then the other side is slowed down by TCP until all is read. What
 * waits here is lost when the process dies; what waits in the kernel is lost when the connection breaks.
 */
const WAITING_BYTES_MAX = 256 * 1024;

/** A connection that nobody has used for so long is closed; servers keep theirs for about a minute. */
const IDLE_MS = 15_000;

const HEAD_BYTES_MAX = 64 * 1024;

/** What a connection is to carry, and what those of its kind do. */
export interface Load {
  readonly bytes: number;
  readonly endurance: Endurance;
}

/** A request for a body, and whom to trust about it. */
export interface BodyRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly trust: Trust;
  readonly load: Load;
  /** Ends the request and the body that it brings. */
  readonly signal: AbortSignal;
}

/** The head of an answer, and its body. */
export interface BodyAnswer extends Pick<ResponseHead, "status" | "headers"> {
  readonly body: ReadableStream<Uint8Array>;
}

/**
 * One connection: what it brings is read in order, and an end or error comes after all that came before.
 *
 * `Bun.connect` in place of `node:net` takes 7 of 112 MB less and 5 % of the time of the processor
 * (measured), but Bun 1.4.5 can't give up a connection that is not there yet: the process would live
 * on for two minutes.
 */
class Connection implements RawBytes {
  readonly #socket: Socket;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #carriedBytes = 0;
  #end: { readonly error?: unknown } | undefined;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => {
      this.#waiting.push(ownBytes(bytes));
      this.#waitingBytes += bytes.byteLength;
      if (this.#waitingBytes >= WAITING_BYTES_MAX) socket.pause();
      this.#wake();
    });
    socket.on("error", (error) => this.#finish({ error }));
    socket.on("end", () => this.#finish({}));
    socket.on("close", () => this.#finish({}));
    socket.on("timeout", () => this.close());
  }

  /** All that was read of it, heads too. */
  get carriedBytes(): number {
    return this.#carriedBytes;
  }

  /** Whether it can be used for the next request. */
  get isFree(): boolean {
    return this.#end === undefined && this.#waitingBytes === 0;
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes = this.#waiting.shift();
      if (bytes !== undefined) {
        this.#waitingBytes -= bytes.byteLength;
        this.#carriedBytes += bytes.byteLength;
        return bytes;
      }
      if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return undefined;
      }
      if (this.#socket.isPaused()) this.#socket.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  unread(bytes: Uint8Array): void {
    this.#waiting.unshift(bytes);
    this.#waitingBytes += bytes.byteLength;
    this.#carriedBytes -= bytes.byteLength;
  }

  /** Drops bytes that have come already; false when those that wait are others or fewer. */
  skip(bytes: number): boolean {
    if (this.#waitingBytes !== bytes) return false;
    this.#drop();
    this.#carriedBytes += bytes;
    return true;
  }

  write(text: string): void {
    this.#socket.write(text, "latin1");
  }

  /** While nobody uses it, it does not keep the process alive, nor itself for long. */
  rest(): void {
    this.#socket.setTimeout(IDLE_MS);
    this.#socket.unref();
  }

  wakeUp(): void {
    this.#socket.setTimeout(0);
    this.#socket.ref();
  }

  /** Ends it at once; who reads gets the error, if there is one. */
  close(error?: unknown): void {
    this.#finish(error === undefined ? {} : { error });
    this.#drop();
    this.#socket.destroy();
  }

  #drop(): void {
    for (const bytes of this.#waiting.splice(0)) releaseChunk(bytes);
    this.#waitingBytes = 0;
  }

  #finish(end: { readonly error?: unknown }): void {
    this.#end ??= end;
    this.#wake();
  }
}

interface Idle {
  readonly connection: Connection;
  readonly origin: string;
  readonly trust: Trust;
}

/**
 * Direct connections for the bodies of blobs: HTTP/1.1 over a socket of our own.
 *
 * `fetch` of Bun 1.4.5 drops what it has received and not yet handed over when a connection is reset:
 * up to some megabytes, and all of an answer that ends before its reader comes. On a link that cuts
 * every few hundred kilobytes, that is everything. Here whatever came is read before the error is.
 */
export class Connections {
  #idle: Idle[] = [];

  /**
   * Sends a GET and waits for the head of its answer. The body must be read to its end or cancelled.
   *
   * @throws the socket's error with its `code`, or the signal's reason
   */
  async get(request: BodyRequest): Promise<BodyAnswer> {
    const { signal, url, trust, load } = request;
    for (;;) {
      signal.throwIfAborted();
      const known = this.#takeIdle(request);
      const connection = known ?? (await open(url, trust, signal));
      const onAbort = () => connection.close(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      const release = () => signal.removeEventListener("abort", onAbort);
      try {
        connection.write(formatRequest(request));
        const askedMs = performance.now();
        const head = await readHead(connection);
        load.endurance.answered(performance.now() - askedMs);
        return { ...head, body: this.#body(connection, head, request, release) };
      } catch (error) {
        release();
        connection.close();
        signal.throwIfAborted();
        // The server may have closed a resting connection just when it was used again.
        if (known === undefined) throw error;
      }
    }
  }

  /** Ends the connections that nobody uses. */
  close(): void {
    for (const { connection } of this.#idle) connection.close();
    this.#idle = [];
  }

  #takeIdle({ url: { origin }, trust, load }: BodyRequest): Connection | undefined {
    for (const { connection } of this.#idle) if (!connection.isFree) connection.close();
    this.#idle = this.#idle.filter(({ connection }) => connection.isFree);
    const i = this.#idle.findIndex((idle) => idle.origin === origin && idle.trust === trust);
    const [idle] = i === -1 ? [] : this.#idle.splice(i, 1);
    if (idle === undefined) return undefined;
    if (idle.connection.carriedBytes + load.bytes > load.endurance.connectionBytesMax) {
      // It would break under this. Another takes its place, so that such ones don't pile up.
      idle.connection.close();
      return undefined;
    }
    idle.connection.wakeUp();
    return idle.connection;
  }

  #body(
    connection: Connection,
    { framing, isKeptAlive }: ResponseHead,
    { url, trust, load, signal }: BodyRequest,
    release: () => void,
  ): ReadableStream<Uint8Array> {
    const bytes = bodyBytes(connection, framing);
    const sizeBytes = framing.kind === "length" ? framing.bytes : Number.POSITIVE_INFINITY;
    const wantedBytes = connection.carriedBytes + sizeBytes;
    let readBytes = 0;
    const end = (isOver: boolean) => {
      release();
      if (!isOver || !isKeptAlive || !connection.isFree) return connection.close();
      connection.rest();
      this.#idle.push({ connection, origin: url.origin, trust });
    };
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
            if (isBroken) load.endurance.broke(connection.carriedBytes, wantedBytes);
            end(false);
            throw error;
          }
          load.endurance.carried(readBytes, connection.carriedBytes);
          end(true);
          controller.close();
        },
        // The few words beside a redirect or a refusal have come with it: no reason to hang up.
        cancel: () => end(framing.kind === "length" && connection.skip(framing.bytes - readBytes)),
      },
      { highWaterMark: 0 },
    );
  }
}

async function readHead(connection: Connection): Promise<ResponseHead> {
  for (;;) {
    const text = await readUntil(connection, "\r\n\r\n", HEAD_BYTES_MAX);
    const head = parseResponseHead(text);
    // 1xx says that the answer is still to come.
    if (head.status >= 200) return head;
  }
}

function formatRequest({ url, headers }: BodyRequest): string {
  const lines = [`GET ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  for (const [name, value] of Object.entries(headers)) {
    // What Headers would refuse must not become a line of its own.
    lines.push(`${name}: ${new Headers([[name, value]]).get(name)}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function open(url: URL, trust: Trust, signal: AbortSignal): Promise<Connection> {
  const isTls = url.protocol === "https:";
  const host = hostOf(url);
  const port = Number(url.port || (isTls ? 443 : 80));
  return new Promise((resolve, reject) => {
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const socket: Socket = isTls
      ? connectTls({ host, port, ...servername, ...trust, ALPNProtocols: ["http/1.1"] })
      : connectTcp({ host, port });
    const giveUp = (reason: unknown) => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      reject(reason);
    };
    const onAbort = () => giveUp(signal.reason);
    const onEnd = () => giveUp(new CutShort("The connection ended before it was there"));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", giveUp);
    socket.once("close", onEnd);
    socket.once(isTls ? "secureConnect" : "connect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", giveUp);
      socket.off("close", onEnd);
      resolve(new Connection(socket));
    });
  });
}
