import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { type Descriptor, OCI_MANIFEST, parseDigest } from "#oci";

/** A request as it came over the wire. */
export interface ScriptedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** What to answer. */
export interface ScriptedReply {
  /** 200 when it is left out. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** Announces the whole body, sends so many bytes of it, and cuts the connection. */
  readonly cutAfterBytes?: number;
  /** Sends the body in pieces of so many bytes, one each millisecond. */
  readonly trickleBytes?: number;
  /**
   * `headers`: never answers; `body`: answers with headers and first byte, and says no more; `cut`:
   * hangs up in place of an answer.
   */
  readonly hangs?: "headers" | "body" | "cut";
}

/** Decides about each request; the number counts requests from 1. What it leaves open is a 404. */
export type Script = (request: ScriptedRequest, number: number) => ScriptedReply | undefined;

/** A server that does what a script says, and remembers what it was asked. */
export interface ScriptedServer extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  readonly url: string;
  readonly requests: readonly ScriptedRequest[];
}

/** Starts a scripted server on a free port of 127.0.0.1; https when `tls` is given. */
export async function startScriptedServer(
  script: Script,
  tls?: { readonly certificate: string; readonly key: string },
): Promise<ScriptedServer> {
  const requests: ScriptedRequest[] = [];
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const request = {
        method: incoming.method ?? "",
        path: incoming.url ?? "",
        headers: incoming.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      };
      requests.push(request);
      answer(outgoing, request.method, script(request, requests.length) ?? { status: 404 });
    });
  };
  const server =
    tls === undefined
      ? createServer(handle)
      : createTlsServer({ cert: tls.certificate, key: tls.key }, handle);
  const port = await listen(server);
  return {
    address: `127.0.0.1:${port}`,
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(outgoing: ServerResponse, method: string, reply: ScriptedReply): void {
  if (reply.hangs === "headers") return;
  if (reply.hangs === "cut") {
    outgoing.socket?.destroy();
    return;
  }
  const body =
    typeof reply.body === "string" ? Buffer.from(reply.body) : (reply.body ?? Buffer.of());
  outgoing.statusCode = reply.status ?? 200;
  const headers = Object.entries(reply.headers ?? {});
  // A body that is sent in chunks has no length beside it.
  const isChunked = headers.some(([name]) => name.toLowerCase() === "transfer-encoding");
  if (!isChunked) outgoing.setHeader("Content-Length", String(body.byteLength));
  for (const [name, value] of headers) {
    outgoing.setHeader(name, typeof value === "string" ? value : [...value]);
  }
  if (method === "HEAD") {
    outgoing.end();
  } else if (reply.hangs === "body") {
    outgoing.write(body.subarray(0, 1));
  } else if (reply.cutAfterBytes !== undefined) {
    outgoing.write(body.subarray(0, reply.cutAfterBytes), () => outgoing.socket?.destroy());
  } else if (reply.trickleBytes !== undefined) {
    trickle(outgoing, body, reply.trickleBytes);
  } else {
    outgoing.end(body);
  }
}

function trickle(outgoing: ServerResponse, body: Uint8Array, pieceBytes: number): void {
  let sentBytes = 0;
  const timer = setInterval(() => {
    outgoing.write(body.subarray(sentBytes, sentBytes + pieceBytes));
    sentBytes += pieceBytes;
    if (sentBytes >= body.byteLength) outgoing.end();
  }, 1);
  outgoing.on("finish", () => clearInterval(timer));
  outgoing.on("close", () => clearInterval(timer));
}

/** Starts a proxy that opens every tunnel it is asked for to one address, whatever the host's name. */
export async function startTunnelProxy(
  target: string,
): Promise<{ readonly url: string; readonly asked: readonly string[] } & AsyncDisposable> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createTcpServer((client) => {
    keep(client);
    client.once("data", (head) => {
      asked.push(head.toString("latin1"));
      const [host, port] = target.split(":");
      const upstream = connect(Number(port), host, () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(upstream).pipe(client);
      });
      keep(upstream);
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

/** Content with its descriptor. */
export interface ScriptedContent {
  readonly bytes: Buffer;
  readonly descriptor: Descriptor;
}

/** Content of any type. */
export function contentOf(text: string, mediaType = "application/octet-stream"): ScriptedContent {
  const bytes = Buffer.from(text);
  const digest = parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
  return { bytes, descriptor: { mediaType, digest, size: bytes.byteLength } };
}

/** A manifest of an image with the given layers. */
export function manifestOf(...layers: readonly ScriptedContent[]): ScriptedContent {
  const config = contentOf("{}", "application/vnd.oci.image.config.v1+json");
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  };
  return contentOf(JSON.stringify(manifest), OCI_MANIFEST);
}

/** The reply of a well-behaved registry that has this content. */
export function servedContent({ bytes, descriptor }: ScriptedContent): ScriptedReply {
  return {
    body: bytes,
    headers: {
      "Content-Type": descriptor.mediaType,
      "Docker-Content-Digest": descriptor.digest,
    },
  };
}

/** The reply of a registry that has this content and honours a single range of it. */
export function servedRange(
  content: ScriptedContent,
  { headers }: Pick<ScriptedRequest, "headers">,
): ScriptedReply {
  const whole = servedContent(content);
  const { byteLength: size } = content.bytes;
  const [, first, last] = /^bytes=([0-9]+)-([0-9]*)$/.exec(`${headers["range"] ?? ""}`) ?? [];
  if (first === undefined) return whole;
  const start = Number(first);
  const end = last ? Math.min(Number(last) + 1, size) : size;
  if (start >= end) return { status: 416, headers: { "Content-Range": `bytes */${size}` } };
  return {
    status: 206,
    headers: { ...whole.headers, "Content-Range": `bytes ${start}-${end - 1}/${size}` },
    body: content.bytes.subarray(start, end),
  };
}
