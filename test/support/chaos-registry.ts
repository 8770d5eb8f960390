import { type ByteRange, createMemoryStore } from "#content";
import { type Digest, parseDigest } from "#oci";
import { createChance } from "./chance.ts";
import { buildImage, type ImageOptions } from "./images.ts";
import { startWireServer, type Wire, type WireRequest } from "./wire-server.ts";

/** What goes wrong without a lie being told: a delivery must come through it in one run. */
export const MISHAPS = [
  "reset",
  "end",
  "stall",
  "range-ignored",
  "signature-expired",
  "busy",
  "busy-until",
  "too-many",
  "too-many-until",
] as const;

/** What is not true. Some of it reads like a decision of the registry, so a further run may be needed. */
export const LIES = [
  "corrupt",
  "too-long",
  "too-short",
  "range-shifted",
  "range-unsaid",
  "html",
] as const;

/** One way in which an answer goes wrong. */
export type ChaosFault = (typeof MISHAPS)[number] | (typeof LIES)[number];

/** What makes wrong bytes of a blob: a client may throw away all that it has of it, once for each. */
export const SPOILS: ReadonlySet<ChaosFault> = new Set(["corrupt", "too-long", "html"]);

/** What may happen to a manifest, which is too small for the others to differ. */
const OF_MANIFESTS: ReadonlySet<ChaosFault> = new Set([
  ...(["reset", "end", "busy", "busy-until", "too-many", "too-many-until"] as const),
]);

/** What can only happen to a request for a part; it waits until there is one. */
const OF_RANGES: ReadonlySet<ChaosFault> = new Set([
  ...(["range-ignored", "range-shifted", "range-unsaid"] as const),
]);

/** What makes the whole site wait. As many of these as of the others, and nothing else would be tested. */
const PUTS_OFF: ReadonlySet<ChaosFault> = new Set([
  ...(["busy", "busy-until", "too-many", "too-many-until"] as const),
]);

/** What the registry holds and how badly it behaves. */
export interface ChaosOptions {
  readonly seed: string;
  /** Names within the registry (`spectro-images/app:v1`) and how their images are made. */
  readonly images: Readonly<Record<string, ImageOptions>>;
  readonly login: { readonly username: string; readonly password: string };
  /** What may go wrong; nothing by default. */
  readonly faults?: readonly ChaosFault[];
  /** At most so many for each blob, over all requests for it: a registry gets well again. */
  readonly faultsPerBlobMax?: number;
  /** For so long nothing comes; then the connection is reset. */
  readonly stallMs?: number;
  /** Of tokens, which say that they live longer. */
  readonly tokenLifeMs?: number;
  /** Of each connection; no limit by default. */
  readonly bytesPerSecond?: number;
}

/** An answer to a request for a blob. */
export interface BlobAnswer {
  readonly digest: Digest;
  /** What was asked for; null for all of it. */
  readonly asked: ByteRange | null;
  readonly status: number;
  readonly fault: ChaosFault | null;
  /** The blob's own bytes that were handed to the network so far: from here … */
  readonly start: number;
  /** … to here. Bytes that no client may take are not among them. */
  end: number;
  /** Tells the connection. */
  readonly clientPort: number;
  isOpen: boolean;
}

/** A registry that goes wrong as its seed says, and remembers every byte of every blob that it sent. */
export interface ChaosRegistry extends AsyncDisposable {
  readonly address: string;
  /** In the order in which they began. */
  readonly answers: readonly BlobAnswer[];
  /** Requests and what became of them, for whoever has to find out what happened. */
  readonly story: readonly string[];
  /** What no client may do, whatever happens to it. */
  readonly violations: readonly string[];
  /** Sizes of all blobs that belong to the images for linux/amd64. */
  readonly blobs: ReadonlyMap<Digest, number>;
  /** Resolves when so many more bytes of blobs were sent. */
  untilSent(bytes: number): Promise<void>;
}

/** Starts the registry with its token service on 127.0.0.1, and a host for its blobs on 127.0.0.2. */
export async function startChaosRegistry(options: ChaosOptions): Promise<ChaosRegistry> {
  const shelf = await fillShelf(options.images);
  const book = createBook();
  await using undo = new AsyncDisposableStack();
  const sendBlob = createBlobSender(options, book);
  const signatures = new Map<string, Signed>();
  const delivery = undo.use(
    await startWireServer("127.0.0.2", (wire) => answerSigned(wire, signatures, sendBlob, book)),
  );
  const desk = createTokenDesk(options, book);
  const deck = createDeck(options);
  const registry = undo.use(
    await startWireServer("127.0.0.1", async (wire) => {
      const { target } = wire.request;
      if (target.startsWith("/token")) return desk.give(wire);
      if (!desk.isWelcome(wire)) return;
      const [, repository, kind, name = ""] =
        /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/.exec(target) ?? [];
      const held = kind === "manifests" ? shelf.find(`${repository}:${name}`) : shelf.find(name);
      if (held === undefined) return refuse(wire, 404, book);
      const fault = deck.draw(`${kind}/${name}`, wire.request);
      if (await wasPutOff(wire, fault, book)) return;
      if (kind === "manifests") return sendManifest(wire, held, fault, book);
      if (!deck.isRedirected(name)) return sendBlob(wire, held, fault);
      const signature = `signature-${signatures.size}`;
      signatures.set(signature, { held, fault, isFresh: fault !== "signature-expired" });
      book.tell(wire, 307, fault);
      const location = `http://${delivery.address}/blob?X-Signature=${signature}`;
      wire.head(307, { Location: location, "Content-Length": 0 });
    }),
  );
  const stack = undo.move();
  return {
    ...book,
    address: registry.address,
    blobs: shelf.blobs,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Bytes that the registry holds. */
interface Held {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A redirect that was given out. */
interface Signed {
  readonly held: Held;
  readonly fault: ChaosFault | null;
  isFresh: boolean;
}

/** Makes the images and lays all that belongs to them on a shelf, by digest and by `repository:tag`. */
async function fillShelf(images: ChaosOptions["images"]) {
  const store = createMemoryStore();
  const held = new Map<string, Held>();
  const blobs = new Map<Digest, number>();
  const signal = new AbortController().signal;
  const walk = async (json: DescriptorJson): Promise<Held> => {
    const digest = parseDigest(json.digest);
    const descriptor = { mediaType: json.mediaType, digest, size: json.size };
    const stream = await store.fetch(descriptor, { signal });
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const found = { digest, mediaType: json.mediaType, bytes };
    held.set(digest, found);
    return found;
  };
  const walkManifest = async (json: DescriptorJson): Promise<void> => {
    const { bytes } = await walk(json);
    const document: DocumentJson = JSON.parse(new TextDecoder().decode(bytes));
    for (const child of document.manifests ?? []) await walkManifest(child);
    const isWanted = (json.platform?.architecture ?? "amd64") === "amd64";
    for (const blob of [document.config ?? [], document.layers ?? []].flat()) {
      await walk(blob);
      if (isWanted) blobs.set(parseDigest(blob.digest), blob.size);
    }
  };
  for (const [name, options] of Object.entries(images)) {
    const root = await buildImage(store, name, options);
    await walkManifest(root);
    const repository = name.slice(0, name.lastIndexOf(":"));
    for (const { digest, mediaType, bytes } of [...held.values()]) {
      held.set(`${repository}:${digest}`, { digest, mediaType, bytes });
      if (digest === root.digest) held.set(name, { digest, mediaType, bytes });
    }
  }
  return { blobs, find: (key: string) => held.get(key) };
}

/** What is read of descriptors and documents that this file made itself. */
interface DescriptorJson {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string };
}

interface DocumentJson {
  readonly manifests?: readonly DescriptorJson[];
  readonly config?: DescriptorJson;
  readonly layers?: readonly DescriptorJson[];
}

type Book = ReturnType<typeof createBook>;

/** Where the registry writes down what it does. */
function createBook() {
  const answers: BlobAnswer[] = [];
  const story: string[] = [];
  const violations: string[] = [];
  const waiting = new Set<{ left: number; readonly resolve: () => void }>();
  const startedMs = performance.now();
  return {
    answers,
    story,
    violations,
    tell({ request, clientPort }: Wire, status: number, fault: ChaosFault | null, note = "") {
      const ms = Math.round(performance.now() - startedMs);
      const range = request.headers["range"] ?? "";
      const words = [`${ms} ms`, clientPort, request.method, request.target, range, "->", status];
      story.push([...words, fault ?? "", note].join(" "));
    },
    blame({ request }: Wire, what: string) {
      violations.push(`${request.method} ${request.target}: ${what}`);
    },
    sent(answer: BlobAnswer, bytes: number) {
      answer.end += bytes;
      for (const waiter of waiting) {
        waiter.left -= bytes;
        if (waiter.left > 0) continue;
        waiting.delete(waiter);
        waiter.resolve();
      }
    },
    untilSent(bytes: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.add({ left: bytes, resolve });
      return promise;
    },
  };
}

/** Which faults happen to what, in which order: of each blob its own chance, whoever asks first. */
function createDeck({ seed, faults = [], faultsPerBlobMax = 4 }: ChaosOptions) {
  const stacks = new Map<string, ChaosFault[]>();
  const shuffle = (key: string): ChaosFault[] => {
    const chance = createChance(`${seed}/${key}`);
    const isManifest = key.startsWith("manifests/");
    const choices = faults.filter((fault) => !isManifest || OF_MANIFESTS.has(fault));
    const stack: ChaosFault[] = [];
    for (let count = chance.below((isManifest ? 2 : faultsPerBlobMax) + 1); count > 0; count -= 1) {
      const fault = choices[chance.below(choices.length)];
      if (fault === undefined || isTooMuch(fault, stack)) continue;
      if (PUTS_OFF.has(fault) && !chance.happens(0.25)) continue;
      stack.push(fault);
    }
    return stack;
  };
  return {
    draw(key: string, { method, headers }: WireRequest): ChaosFault | null {
      if (method !== "GET") return null;
      const stack = stacks.get(key) ?? shuffle(key);
      stacks.set(key, stack);
      const isPart = headers["range"] !== undefined;
      const next = stack.findIndex((fault) => isPart || !OF_RANGES.has(fault));
      return next < 0 ? null : (stack.splice(next, 1)[0] ?? null);
    },
    isRedirected: (digest: string) => createChance(`${seed}/${digest}/place`).happens(0.5),
  };
}

/** Whoever gives other bytes twice, or two redirects that lead nowhere (C-44), is rightly given up. */
function isTooMuch(fault: ChaosFault, earlier: readonly ChaosFault[]): boolean {
  if (fault === "signature-expired") return earlier.includes(fault);
  return SPOILS.has(fault) && earlier.some((other) => SPOILS.has(other));
}

/** Gives tokens to who knows the password, and lets nobody in without one that still lives. */
function createTokenDesk(
  { login, tokenLifeMs = Number.POSITIVE_INFINITY }: ChaosOptions,
  book: Book,
) {
  const tokens = new Map<string, number>();
  const known = `Basic ${btoa(`${login.username}:${login.password}`)}`;
  return {
    give(wire: Wire): void {
      if (wire.request.headers["authorization"] !== known) {
        refuse(wire, 401, book);
        return;
      }
      const token = `token-${tokens.size}`;
      tokens.set(token, performance.now() + tokenLifeMs);
      book.tell(wire, 200, null, token);
      sendJson(wire, { token, expires_in: 300 });
    },
    isWelcome(wire: Wire): boolean {
      const { authorization = "", host } = wire.request.headers;
      const endsMs = tokens.get(authorization.replace(/^Bearer /, "")) ?? 0;
      if (performance.now() < endsMs) return true;
      const repository = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(wire.request.target)?.[1];
      const scope = repository === undefined ? "" : `,scope="repository:${repository}:pull"`;
      book.tell(wire, 401, null);
      wire.head(401, {
        "WWW-Authenticate": `Bearer realm="http://${host}/token",service="chaos"${scope}`,
        "Content-Length": 0,
      });
      return false;
    },
  };
}

function sendJson(wire: Wire, value: object): void {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  wire.head(200, { "Content-Type": "application/json", "Content-Length": bytes.byteLength });
  void wire.send(bytes);
}

function refuse(wire: Wire, status: number, book: Book): void {
  book.tell(wire, status, null);
  wire.head(status, { "Content-Length": 0 });
}

/** What is answered in place of content that is there. */
async function wasPutOff(wire: Wire, fault: ChaosFault | null, book: Book): Promise<boolean> {
  const soon = () => new Date(Date.now() + 2_000).toUTCString();
  const answers: Partial<Record<ChaosFault, readonly [number, Record<string, string>]>> = {
    busy: [503, {}],
    "busy-until": [503, { "Retry-After": soon() }],
    "too-many": [429, { "Retry-After": "1" }],
    "too-many-until": [429, { "Retry-After": soon(), "RateLimit-Remaining": "0;w=21600" }],
    html: [200, { "Content-Type": "text/html" }],
  };
  const answer = fault === null ? undefined : answers[fault];
  if (answer === undefined) return false;
  const [status, headers] = answer;
  book.tell(wire, status, fault);
  const page = new TextEncoder().encode("<html><body>Accept the terms of this hotel</body></html>");
  wire.head(status, { ...headers, "Content-Length": page.byteLength });
  await wire.send(page);
  return true;
}

async function sendManifest(
  wire: Wire,
  { bytes, digest, mediaType }: Held,
  fault: ChaosFault | null,
  book: Book,
): Promise<void> {
  book.tell(wire, 200, fault);
  wire.head(200, {
    "Content-Type": mediaType,
    "Content-Length": bytes.byteLength,
    "Docker-Content-Digest": digest,
  });
  if (wire.request.method === "HEAD") return;
  if (fault === null) return void (await wire.send(bytes));
  await wire.send(bytes.subarray(0, bytes.byteLength / 2));
  await (fault === "end" ? wire.end() : wire.reset());
}

type BlobSender = (wire: Wire, held: Held, fault: ChaosFault | null) => Promise<void>;

async function answerSigned(
  wire: Wire,
  signatures: ReadonlyMap<string, Signed>,
  sendBlob: BlobSender,
  book: Book,
): Promise<void> {
  const { target, headers } = wire.request;
  if (headers["authorization"] !== undefined) book.blame(wire, "a credential went to another host");
  const signed = signatures.get(new URL(target, "http://x").searchParams.get("X-Signature") ?? "");
  if (signed?.isFresh === true) {
    signed.isFresh = false;
    return sendBlob(wire, signed.held, signed.fault);
  }
  if (signed !== undefined && signed.fault !== "signature-expired") {
    book.blame(wire, "a signed URL was used again, where a resume starts at the registry");
  }
  book.tell(wire, 403, signed?.fault ?? null);
  const text = new TextEncoder().encode("<Error><Code>ExpiredToken</Code></Error>");
  wire.head(403, { "Content-Type": "application/xml", "Content-Length": text.byteLength });
  await wire.send(text);
}

/** What is said of a blob and what is sent of it, which need not be the same. */
interface Shape {
  readonly status: 200 | 206;
  readonly range: ByteRange;
  readonly contentRange: string | undefined;
  readonly lengthBytes: number;
  /** The bytes are those that lie so much before the range. */
  readonly shiftBytes: number;
}

function createBlobSender(
  { seed, bytesPerSecond, stallMs = 1_000 }: ChaosOptions,
  book: Book,
): BlobSender {
  return async (wire, held, fault) => {
    const size = held.bytes.byteLength;
    const asked = readRange(wire, size, book);
    const { status, range, contentRange, lengthBytes, shiftBytes } = shapeOf(asked, size, fault);
    const isTakable = !["too-short", "range-shifted", "range-unsaid"].includes(fault ?? "");
    const answer: BlobAnswer = {
      digest: held.digest,
      asked,
      status,
      fault,
      start: isTakable ? range.start : 0,
      end: isTakable ? range.start : 0,
      clientPort: wire.clientPort,
      isOpen: true,
    };
    const earlier = book.answers.filter(({ digest }) => digest === held.digest).length;
    const chance = createChance(`${seed}/${held.digest}/cut ${earlier}`);
    book.answers.push(answer);
    wire.head(status, {
      "Content-Type": "application/octet-stream",
      "Content-Length": lengthBytes,
      "Accept-Ranges": "bytes",
      ETag: `"${held.digest}"`,
      ...(contentRange === undefined ? {} : { "Content-Range": contentRange }),
    });
    const isCut = fault === "reset" || fault === "end" || fault === "stall";
    const span = range.end - range.start;
    const stop = isCut
      ? range.start + chance.below(span)
      : range.start + Math.min(span, lengthBytes);
    const bytes = held.bytes.slice(range.start - shiftBytes, stop - shiftBytes);
    if (fault === "corrupt") flipOneByte(bytes, chance.below(bytes.byteLength));
    const onSent = (count: number) => book.sent(answer, isTakable ? count : 0);
    const isWhole = await wire.send(bytes, { bytesPerSecond, onSent });
    answer.isOpen = false;
    book.tell(wire, status, fault, `${range.start}-${isWhole ? stop : `(left at ${answer.end})`}`);
    if (fault === "too-long") await wire.send(new Uint8Array(lengthBytes - span));
    if (fault === "stall") await wire.reset(stallMs);
    if (fault === "reset") await wire.reset();
    if (fault === "end") await wire.end();
  };
}

function flipOneByte(bytes: Uint8Array, position: number): void {
  bytes[position] = (bytes[position] ?? 0) ^ 1;
}

/** How much longer than the blob a body is that is too long. */
const SURPLUS_BYTES = 5_000;

function shapeOf(asked: ByteRange | null, size: number, fault: ChaosFault | null): Shape {
  const whole = { start: 0, end: size };
  const isPart = asked !== null && fault !== "range-ignored";
  const range = isPart ? asked : whole;
  const said = (shift: number) => `bytes ${range.start - shift}-${range.end - 1 - shift}/${size}`;
  const span = range.end - range.start;
  const honest: Shape = {
    status: isPart ? 206 : 200,
    range,
    contentRange: isPart ? said(0) : undefined,
    lengthBytes: span,
    shiftBytes: 0,
  };
  if (fault === "too-long") return { ...honest, lengthBytes: span + SURPLUS_BYTES };
  if (fault === "too-short") return { ...honest, lengthBytes: Math.floor(span / 2) };
  if (!isPart) return honest;
  // A server that forgets where it was asked to begin, and one that counts from 1.
  const shiftBytes = fault === "range-unsaid" ? range.start : Math.min(1, range.start);
  if (fault === "range-unsaid") return { ...honest, contentRange: undefined, shiftBytes };
  if (fault === "range-shifted") return { ...honest, contentRange: said(shiftBytes), shiftBytes };
  return honest;
}

/** The range that a request asks for; what no client should ask is blamed and answered as a whole. */
function readRange(wire: Wire, size: number, book: Book): ByteRange | null {
  const { range, "if-range": ifRange } = wire.request.headers;
  if (range === undefined) return null;
  if (ifRange?.startsWith("W/")) book.blame(wire, `If-Range with a weak validator: ${ifRange}`);
  const [, first, last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
  const start = Number(first ?? Number.NaN);
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  if (start < end) return { start, end };
  book.blame(wire, `Range "${range}" of ${size} bytes`);
  return null;
}
