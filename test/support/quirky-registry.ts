import { createHmac, randomUUID } from "node:crypto";
import { digestOf } from "#content";
import { type Digest, isIndexType, isJsonObject, parseDigest } from "#oci";
import {
  BodyCut,
  type HttpServer,
  type Reply,
  type RequestHead,
  startHttpServer,
} from "./http-server.ts";
import type { Manners } from "./push-manners.ts";

/** A request as it was received. */
export interface Received extends RequestHead {
  /** How many bytes of its body came. */
  bodyBytes: number;
  /** What was answered; 0 until then, and where the connection was cut. */
  status: number;
  /** It came to the other host, which `elsewhere` locations lead to. */
  readonly isElsewhere: boolean;
}

/**
 * Stands in the way of a request, the n-th, counted from 1: what it returns is answered instead of what
 * the registry would. `cutBodyAfter` lets so many bytes of the body in, then breaks the connection;
 * `isLate` does what was asked before it answers otherwise, as a proxy does that loses an answer.
 */
export type Interfere = (
  request: RequestHead,
  ordinal: number,
) =>
  | { readonly cutBodyAfter: number }
  | { readonly isLate: true; readonly reply: Reply }
  | Reply
  | undefined;

/** A registry that takes pushes, in memory. */
export interface QuirkyRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** In the order in which they began. */
  readonly received: readonly Received[];
  /** How it behaves; may be exchanged at any time. */
  manners: Manners;
  interfere: Interfere | undefined;
  /** What a repository holds under a digest: blobs and manifests. */
  content(repository: string, digest: Digest): Uint8Array | undefined;
  /** The digest that a tag stands for. */
  tag(repository: string, tag: string): Digest | undefined;
  putBlob(repository: string, bytes: Uint8Array): Digest;
  putManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string): Digest;
  /** Takes content out of a repository. */
  remove(repository: string, digest: Digest): void;
  /** Forgets every upload that is under way, as a restart or a purge does. */
  forgetUploads(): void;
  /** How many uploads are under way. */
  readonly uploads: number;
}

/** Starts a registry with nothing in it. */
export async function startQuirkyRegistry(manners: Manners = {}): Promise<QuirkyRegistry> {
  const registry = new Registry(manners);
  const here = await startHttpServer((head, body) => registry.handle(head, body, false));
  const elsewhere = await startHttpServer((head, body) => registry.handle(head, body, true));
  registry.open(here, elsewhere);
  return registry;
}

interface Upload {
  readonly repository: string;
  bytes: Uint8Array<ArrayBuffer>;
  /** How much the first chunk brought. */
  firstBytes: number;
  /** A chunk that was smaller than the least, which only the last may be. */
  hadSmall: boolean;
  /** The queries that its locations had, the latest last. */
  readonly queries: string[];
}

interface Content {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

class Registry implements QuirkyRegistry {
  manners: Manners;
  interfere: Interfere | undefined;
  readonly received: Received[] = [];
  readonly #uploads = new Map<string, Upload>();
  /** By `repository digest`. */
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #manifests = new Map<string, Content>();
  /** By `repository tag`. */
  readonly #tags = new Map<string, Digest>();
  /** How many requests each may still be used for. */
  readonly #tokens = new Map<string, number>();
  #servers: readonly HttpServer[] = [];

  constructor(manners: Manners) {
    this.manners = manners;
  }

  open(...servers: readonly HttpServer[]): void {
    this.#servers = servers;
  }

  get address(): string {
    return this.#servers[0]?.address ?? "";
  }

  get uploads(): number {
    return this.#uploads.size;
  }

  content(repository: string, digest: Digest): Uint8Array | undefined {
    const key = `${repository} ${digest}`;
    return this.#blobs.get(key) ?? this.#manifests.get(key)?.bytes;
  }

  tag(repository: string, tag: string): Digest | undefined {
    return this.#tags.get(`${repository} ${tag}`);
  }

  putBlob(repository: string, bytes: Uint8Array): Digest {
    const digest = digestOf(bytes);
    this.#blobs.set(`${repository} ${digest}`, bytes);
    return digest;
  }

  putManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string): Digest {
    const digest = reference.startsWith("sha512:") ? digestOf(bytes, "sha512") : digestOf(bytes);
    this.#manifests.set(`${repository} ${digest}`, { bytes, mediaType });
    if (!reference.includes(":")) this.#tags.set(`${repository} ${reference}`, digest);
    return digest;
  }

  remove(repository: string, digest: Digest): void {
    this.#blobs.delete(`${repository} ${digest}`);
    this.#manifests.delete(`${repository} ${digest}`);
  }

  forgetUploads(): void {
    this.#uploads.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
  }

  async handle(
    head: RequestHead,
    body: AsyncIterable<Uint8Array>,
    isElsewhere: boolean,
  ): Promise<Reply> {
    const entry: Received = { ...head, bodyBytes: 0, status: 0, isElsewhere };
    this.received.push(entry);
    const counted = (async function* () {
      for await (const piece of body) {
        entry.bodyBytes += piece.byteLength;
        yield piece;
      }
    })();
    const reply = await this.#handleWithInterference(head, counted, isElsewhere);
    if (reply !== "cut") entry.status = reply.status;
    return reply;
  }

  async #handleWithInterference(
    head: RequestHead,
    body: AsyncIterable<Uint8Array>,
    isElsewhere: boolean,
  ): Promise<Reply> {
    const instead = this.interfere?.(head, this.received.length);
    if (instead === undefined) return this.#answer(head, body, isElsewhere);
    if (instead === "cut") return "cut";
    if ("isLate" in instead) {
      await this.#answer(head, body, isElsewhere);
      return instead.reply;
    }
    if (!("cutBodyAfter" in instead)) return instead;
    await this.#answer(head, cutAfter(body, instead.cutBodyAfter), isElsewhere);
    return "cut";
  }

  async #answer(
    head: RequestHead,
    body: AsyncIterable<Uint8Array>,
    isElsewhere: boolean,
  ): Promise<Reply> {
    try {
      return await this.#route(head, body, isElsewhere);
    } catch (error) {
      if (error instanceof BodyCut) return "cut";
      throw error;
    }
  }

  async #route(
    head: RequestHead,
    body: AsyncIterable<Uint8Array>,
    isElsewhere: boolean,
  ): Promise<Reply> {
    const url = new URL(head.target, "http://registry.test");
    if (url.pathname === "/token") return this.#giveToken();
    const refusal = isElsewhere ? undefined : this.#refuseStranger(head);
    if (refusal !== undefined) return refusal;
    if (url.pathname === "/v2/") return { status: 200, body: "{}" };
    const [, upload, id] =
      /^(?:\/v2\/.+\/blobs\/uploads|\/artifacts-uploads)(\/)([^/]+)$/.exec(url.pathname) ?? [];
    if (upload !== undefined && id !== undefined) return this.#upload(head, url, id, body);
    const [, repository = "", kind, reference = ""] =
      /^\/v2\/(.+)\/(blobs\/uploads|blobs|manifests|referrers)\/([^/]*)$/.exec(url.pathname) ?? [];
    if (kind === "blobs/uploads") return this.#begin(head, url, repository, body);
    if (kind === "blobs") return this.#readBlob(head, repository, reference);
    if (kind === "manifests" && head.method === "PUT") {
      return this.#putManifest(head, repository, reference, body);
    }
    if (kind === "manifests") return this.#readManifest(repository, reference);
    if (kind === "referrers") return this.#referrers(repository, reference);
    return fault(404, "NAME_UNKNOWN", "404 page not found");
  }

  #giveToken(): Reply {
    const token = randomUUID();
    this.#tokens.set(token, this.manners.requestsPerToken ?? Number.POSITIVE_INFINITY);
    return { status: 200, body: JSON.stringify({ token }) };
  }

  #refuseStranger({ headers }: RequestHead): Reply | undefined {
    if (this.manners.requestsPerToken === undefined) return undefined;
    const token = (headers["authorization"] ?? "").replace(/^Bearer /, "");
    const left = this.#tokens.get(token) ?? 0;
    this.#tokens.set(token, left - 1);
    if (left > 0) return undefined;
    const challenge = `Bearer realm="http://${this.address}/token",service="quirky",scope="repository:team/app:pull,push"`;
    return fault(401, "UNAUTHORIZED", "authentication required", { "WWW-Authenticate": challenge });
  }

  // Uploads

  async #begin(
    head: RequestHead,
    { searchParams }: URL,
    repository: string,
    body: AsyncIterable<Uint8Array>,
  ): Promise<Reply> {
    const bytes = await collect(body);
    const digest = searchParams.get("mount");
    if (digest !== null) {
      const reply = this.#mount(repository, parseDigest(digest), searchParams.get("from"));
      if (reply !== undefined) return reply;
    }
    if (head.method !== "POST") return fault(405, "UNSUPPORTED", "Method Not Allowed");
    const id = randomUUID();
    this.#uploads.set(id, { repository, bytes, firstBytes: 0, hadSmall: false, queries: [] });
    const { bytesMin } = this.manners.patch || {};
    const least = bytesMin === undefined ? {} : { "OCI-Chunk-Min-Length": bytesMin };
    return { status: 202, headers: { ...this.#whereabouts(id), Range: "0-0", ...least } };
  }

  #mount(repository: string, digest: Digest, from: string | null): Reply | undefined {
    const { mount = "mounts" } = this.manners;
    if (mount === "opens-session") return undefined;
    if (typeof mount === "number") return fault(mount, "DENIED", "mounting is not for you");
    if (from === null) {
      if (mount === "needs-from") return fault(500, "UNKNOWN", "Internal Server Error");
      return undefined;
    }
    const bytes = this.#blobs.get(`${from} ${digest}`);
    if (bytes === undefined) return undefined;
    this.#blobs.set(`${repository} ${digest}`, bytes);
    return this.#created(`/v2/${repository}/blobs/${digest}`, digest);
  }

  async #upload(
    head: RequestHead,
    url: URL,
    id: string,
    body: AsyncIterable<Uint8Array>,
  ): Promise<Reply> {
    const upload = this.#uploads.get(id);
    if (upload === undefined)
      return fault(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    if (!this.#knowsState(upload, url.search)) {
      this.#uploads.delete(id);
      return fault(404, "BLOB_UPLOAD_INVALID", "blob upload invalid");
    }
    switch (head.method) {
      case "GET":
        return this.#status(id, upload);
      case "PATCH":
        return this.#patch(head, id, upload, body);
      case "PUT":
        return this.#finish(head, url, id, upload, body);
      case "DELETE":
        this.#uploads.delete(id);
        return { status: 204 };
      default:
        return fault(405, "UNSUPPORTED", "Method Not Allowed");
    }
  }

  #status(id: string, { bytes }: Upload): Reply {
    const { status = "range" } = this.manners;
    if (status === 404) return fault(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    if (status === 405) return fault(405, "UNSUPPORTED", "Method Not Allowed");
    const end = status === "zero-zero" ? 0 : Math.max(0, bytes.byteLength - 1);
    return { status: 204, headers: { ...this.#whereabouts(id), Range: `0-${end}` } };
  }

  async #patch(
    head: RequestHead,
    id: string,
    upload: Upload,
    body: AsyncIterable<Uint8Array>,
  ): Promise<Reply> {
    const { patch = {} } = this.manners;
    if (patch === false) return fault(405, "UNSUPPORTED", "chunked upload is not supported");
    const refusal = this.#refuseBody(head);
    if (refusal !== undefined) return refusal;
    const chunkBytes = Number(head.headers["content-length"] ?? 0);
    const { bytesMax = Number.POSITIVE_INFINITY, bytesMin = 0 } = patch;
    if (chunkBytes > bytesMax) {
      const text = "range exceeds limit of 4.00MiB";
      return fault(416, "BLOB_UPLOAD_INVALID", text);
    }
    const unfit = this.#refuseRange(head, id, upload);
    if (unfit !== undefined) return unfit;
    const before = upload.bytes.byteLength;
    await this.#append(id, upload, body);
    const after = upload.bytes.byteLength;
    upload.firstBytes ||= after;
    if (upload.hadSmall)
      return fault(400, "BLOB_UPLOAD_INVALID", "a part before this one was too small");
    upload.hadSmall = after - before < bytesMin;
    const said = {
      blob: { Range: `0-${after - 1}` },
      chunk: { Range: `0-${after - before - 1}` },
      first: { Range: `0-${upload.firstBytes - 1}` },
      none: {},
      "with-unit": { Range: `bytes=0-${after - 1}` },
      exclusive: { Range: `0-${after}` },
    }[patch.range ?? "blob"];
    return { status: patch.status ?? 202, headers: { ...this.#whereabouts(id), ...said } };
  }

  async #finish(
    head: RequestHead,
    { searchParams }: URL,
    id: string,
    upload: Upload,
    body: AsyncIterable<Uint8Array>,
  ): Promise<Reply> {
    const { putBytesMax = Number.POSITIVE_INFINITY, lies, putStatus = 201 } = this.manners;
    const digest = parseDigest(searchParams.get("digest") ?? "");
    if (Number(head.headers["content-length"] ?? 0) > putBytesMax) {
      return { status: 413, headers: { "Content-Type": "text/html" }, body: HTML_413 };
    }
    const refusal = this.#refuseBody(head) ?? this.#refuseRange(head, id, upload);
    if (refusal !== undefined) return refusal;
    await this.#append(id, upload, body);
    this.#uploads.delete(id);
    const algorithm = digest.startsWith("sha512:") ? "sha512" : "sha256";
    const actual = digestOf(upload.bytes, algorithm);
    if (actual !== digest) {
      return fault(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    if (lies !== "blob-not-stored") {
      this.#blobs.set(`${upload.repository} ${digest}`, upload.bytes);
    }
    const said = lies === "blob-digest" ? digestOf(Buffer.from("other")) : digest;
    const created = this.#created(`/v2/${upload.repository}/blobs/${digest}`, said);
    return { ...created, status: putStatus };
  }

  #refuseBody({ headers }: RequestHead): Reply | undefined {
    const { needsLength, isStrictOfType } = this.manners;
    if (needsLength && headers["content-length"] === undefined) {
      return fault(400, "CONTENT_LENGTH_INVALID", "Content-Length must be present");
    }
    if (
      headers["content-range"] !== undefined &&
      !/^[0-9]+-[0-9]+$/.test(headers["content-range"])
    ) {
      return fault(400, "BLOB_UPLOAD_INVALID", "invalid Content-Range");
    }
    const hasBody = Number(headers["content-length"] ?? 1) > 0;
    const type = headers["content-type"];
    if (isStrictOfType && hasBody && type !== "application/octet-stream") {
      return fault(400, "BLOB_UPLOAD_INVALID", "bad Content-Type");
    }
    return undefined;
  }

  #refuseRange({ headers }: RequestHead, id: string, { bytes }: Upload): Reply | undefined {
    const [start, end] = (headers["content-range"] ?? "").split("-").map(Number);
    if (start === undefined || end === undefined) return undefined;
    const length = Number(headers["content-length"] ?? end - start + 1);
    if (start === bytes.byteLength && end - start + 1 === length) return undefined;
    const here = { ...this.#whereabouts(id), Range: `0-${Math.max(0, bytes.byteLength - 1)}` };
    return fault(416, "BLOB_UPLOAD_INVALID", "range is out of order", here);
  }

  async #append(id: string, upload: Upload, body: AsyncIterable<Uint8Array>): Promise<void> {
    const pieces: Uint8Array[] = [upload.bytes];
    try {
      for await (const piece of body) pieces.push(piece);
    } catch (error) {
      if (this.manners.forgetsCutUploads) this.#uploads.delete(id);
      throw error;
    } finally {
      upload.bytes = new Uint8Array(Buffer.concat(pieces));
    }
  }

  #whereabouts(id: string): Readonly<Record<string, string>> {
    const { location = "path", state } = this.manners;
    const upload = this.#uploads.get(id);
    const own = state === undefined ? "" : stateOf(id, upload?.queries.length ?? 0);
    const isSigned = location === "elsewhere-with-query";
    const query = isSigned ? `${own === "" ? "?" : `${own}&`}X-Sig=a%2Fb%3d` : own;
    upload?.queries.push(query);
    const path = `/v2/${upload?.repository ?? ""}/blobs/uploads/${id}${query}`;
    const [here, elsewhere] = this.#servers.map(({ address }) => address);
    return {
      Location: {
        absolute: `http://${here}${path}`,
        path,
        relative: `${id}${query}`,
        schemeless: `${here}${path}`,
        "off-v2": `/artifacts-uploads/${id}${query}`,
        elsewhere: `http://${elsewhere}${path}`,
        "elsewhere-with-query": `http://${elsewhere}${path}`,
      }[location],
      "Docker-Upload-UUID": id,
    };
  }

  #knowsState({ queries }: Upload, search: string): boolean {
    const given = search.replace(/[?&]digest=[^&]*$/, "");
    const known = this.manners.state === "any" ? queries : queries.slice(-1);
    return known.includes(given);
  }

  #created(location: string, digest: Digest): Exclude<Reply, "cut"> {
    return { status: 201, headers: { Location: location, "Docker-Content-Digest": digest } };
  }

  // What is here

  #readBlob({ headers }: RequestHead, repository: string, digest: string): Reply {
    const bytes = this.#blobs.get(`${repository} ${digest}`);
    if (bytes === undefined) return fault(404, "BLOB_UNKNOWN", "blob unknown to registry");
    const type = { "Content-Type": "application/octet-stream", "Docker-Content-Digest": digest };
    const [, first] = /^bytes=([0-9]+)-$/.exec(headers["range"] ?? "") ?? [];
    if (first === undefined) return { status: 200, headers: type, body: bytes };
    const range = `bytes ${first}-${bytes.byteLength - 1}/${bytes.byteLength}`;
    const part = bytes.subarray(Number(first));
    return { status: 206, headers: { ...type, "Content-Range": range }, body: part };
  }

  async #putManifest(
    { headers }: RequestHead,
    repository: string,
    reference: string,
    body: AsyncIterable<Uint8Array>,
  ): Promise<Reply> {
    const bytes = await collect(body);
    const mediaType = headers["content-type"] ?? "";
    const document: unknown = JSON.parse(Buffer.from(bytes).toString());
    if (!isJsonObject(document) || (document["mediaType"] ?? mediaType) !== mediaType) {
      return fault(400, "MANIFEST_INVALID", "Content-Type and mediaType differ");
    }
    const missing = this.#missingOf(repository, document, mediaType);
    if (missing !== undefined) {
      return fault(400, "MANIFEST_BLOB_UNKNOWN", `unknown blob ${missing}`);
    }
    const { lies, hasImmutableTags, hasReferrers, etags } = this.manners;
    const digest = reference.startsWith("sha512:") ? digestOf(bytes, "sha512") : digestOf(bytes);
    const tagged = this.tag(repository, reference);
    if (hasImmutableTags && tagged !== undefined && tagged !== digest) {
      const text = `Failed to process request due to '${repository}:${reference}' configured as immutable.`;
      return fault(412, "PRECONDITION", text);
    }
    const condition = headers["if-match"];
    const isMet = condition === `"${tagged}"` && etags !== "never-known";
    if (etags !== undefined && condition !== undefined && !isMet) {
      return fault(412, "PRECONDITION_FAILED", "the condition is not met");
    }
    if (lies !== "manifest-not-stored") this.putManifest(repository, reference, bytes, mediaType);
    const said = lies === "manifest-digest" ? digestOf(Buffer.from("other")) : digest;
    const subject = Object(document["subject"]).digest;
    return {
      status: 201,
      headers: {
        Location: `/v2/${repository}/manifests/${digest}`,
        "Docker-Content-Digest": said,
        ...(hasReferrers && typeof subject === "string" ? { "OCI-Subject": subject } : {}),
      },
    };
  }

  #missingOf(
    repository: string,
    document: Readonly<Record<string, unknown>>,
    mediaType: string,
  ): string | undefined {
    const isIndex = isIndexType(mediaType);
    if (isIndex && this.manners.refusesAbsentChildren !== true) return undefined;
    const named = isIndex ? [document["manifests"]] : [document["config"], document["layers"]];
    const digests = named.flat().map((entry) => String(Object(entry).digest));
    const where = isIndex ? this.#manifests : this.#blobs;
    return digests.find((digest) => !where.has(`${repository} ${digest}`));
  }

  #readManifest(repository: string, reference: string): Reply {
    const digest = reference.includes(":") ? reference : this.tag(repository, reference);
    const content = this.#manifests.get(`${repository} ${digest}`);
    if (content === undefined) return fault(404, "MANIFEST_UNKNOWN", "manifest unknown");
    return {
      status: 200,
      headers: {
        "Content-Type": content.mediaType,
        "Docker-Content-Digest": String(digest),
        ...(this.manners.etags === undefined ? {} : { ETag: `"${digest}"` }),
      },
      body: content.bytes,
    };
  }

  #referrers(repository: string, subject: string): Reply {
    if (!this.manners.hasReferrers) return { status: 404, body: "404 page not found" };
    const manifests = [...this.#manifests]
      .filter(([key]) => key.startsWith(`${repository} `))
      .map(([key, content]) => ({ digest: key.split(" ")[1], ...content }))
      .filter(
        ({ bytes }) =>
          Object(JSON.parse(Buffer.from(bytes).toString())).subject?.digest === subject,
      )
      .map(({ digest, mediaType, bytes }) => ({ mediaType, digest, size: bytes.byteLength }));
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
    return { status: 200, headers: { "Content-Type": mediaType }, body };
  }
}

/** What no client would write so that had parsed it and written it anew. */
function stateOf(id: string, serial: number): string {
  const mac = createHmac("sha256", "key").update(`${id} ${serial}`).digest("base64");
  return `?_state=${mac.replaceAll("/", "%2f").replaceAll("+", "%2B")}&empty=&x=%7e`;
}

/** The answer of nginx in front of a registry. */
const HTML_413 = "<html><head><title>413 Request Entity Too Large</title></head></html>";

/** An error as registries write it. */
export function fault(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string | number>> = {},
): Exclude<Reply, "cut"> {
  const body = JSON.stringify({ errors: [{ code, message }] });
  return { status, headers: { "Content-Type": "application/json", ...headers }, body };
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(Buffer.concat(await Array.fromAsync(body)));
}

async function* cutAfter(
  body: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const piece of body) {
    yield piece.subarray(0, left);
    left -= piece.byteLength;
    if (left <= 0) break;
  }
  throw new BodyCut("The registry hung up");
}
