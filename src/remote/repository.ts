import { assert, Failure, isFailure, printable, quoted } from "#base";
import {
  type ByteRange,
  type CallOptions,
  digestOf,
  type FetchOptions,
  type GraphDocument,
  type ResolveOptions,
  type Source,
} from "#content";
import {
  bareMediaType,
  type Descriptor,
  type Digest,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  digestAlgorithm,
  isIndexType,
  isManifestType,
  MANIFEST_BYTES_MAX,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
  parseDigest,
  parseDocument,
  tryParseDigest,
} from "#oci";
import { type Reference, repositoryName } from "#reference";
import { answerFailure, isWebPage, WEB_PAGE_HINT } from "./answer.ts";
import { type BodyReading, readBounded, type Section, watchedBody } from "./body.ts";
import type { Place } from "./lane.ts";
import type { Errand } from "./network-failure.ts";
import { type RangeHolding, rangeHeaders, rangeHolding, strongEtag } from "./range.ts";
import type { CallPatience } from "./reachability.ts";
import { listReferrers } from "./referrers.ts";
import type { RegistryClient, RegistryRequest } from "./registry-client.ts";
import { pullScope } from "./scope.ts";
import { type Answer, discard } from "./transport.ts";

/**
 * Every type of manifest, always: a registry that misses one in the list answers 404, or quietly
 * gives the child for linux/amd64 in place of a Docker manifest list (C-60).
 */
const ACCEPT_MANIFESTS = [
  OCI_INDEX,
  OCI_MANIFEST,
  DOCKER_MANIFEST_LIST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT_MANIFEST,
  "*/*;q=0.1",
].join(", ");

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** One repository of a registry, read over HTTP (distribution specification, "Pull"). */
export class Repository implements Source {
  readonly #name: string;
  readonly #path: string;
  readonly #client: RegistryClient;
  readonly #reading: BodyReading;
  readonly #query: string;
  /** What it is asked for, for messages. */
  protected readonly verb: Errand["verb"] = "fetch";
  /** Strong validators of what was opened, to be sent along when more of it is asked for. */
  readonly #etags = new Map<Digest, string>();

  /** @param namespace the host whose mirror the registry is, which it is told with each request (`ns`) */
  constructor(
    reference: Reference,
    client: RegistryClient,
    reading: BodyReading,
    namespace?: string,
  ) {
    this.#query = namespace === undefined ? "" : `?ns=${encodeURIComponent(namespace)}`;
    this.#name = repositoryName(reference);
    this.#path = reference.path;
    this.#client = client;
    this.#reading = reading;
  }

  get spareTransfers(): number {
    return this.#client.spareTransfers;
  }

  /**
   * Turns a tag or digest into a descriptor: by HEAD, which costs no pull of Docker Hub's quota, and
   * by GET where the answer to HEAD lacks digest, size or type, or HEAD is not allowed (C-64, C-65).
   *
   * @throws {Failure} `content-missing`, `registry-protocol`, and whatever keeps the registry from
   *   answering
   */
  async resolve(
    tagOrDigest: string,
    { signal, patience = "full" }: ResolveOptions,
  ): Promise<Descriptor> {
    const wanted = this.#want(tagOrDigest, signal, patience);
    const head = await this.#request("HEAD", wanted, "manifests");
    await discard(head);
    if (head.status === 200) {
      const descriptor = this.#fromHeaders(head, wanted);
      return descriptor ?? (await this.#get(wanted, "manifests")).descriptor;
    }
    if (head.status !== 404) return (await this.#get(wanted, "manifests")).descriptor;
    // Registries of old kept manifests among the blobs; a tag is never there.
    if (wanted.digest !== undefined) return (await this.#get(wanted, "blobs")).descriptor;
    throw await answerFailure(head, this.#client.context());
  }

  /**
   * Turns a tag or digest into a descriptor and its bytes by one GET. The digest is that of the bytes; one
   * that is pinned, or that the registry names in `Docker-Content-Digest`, must be the same (C-64, SEC-6).
   * A digest that is not known as a manifest is looked for among the blobs (C-65).
   *
   * A body that breaks off is asked for again, with the patience that the request has.
   *
   * @throws {Failure} `content-missing`, `registry-protocol`, `digest-mismatch`, what `parseDocument`
   *   throws, and whatever keeps the registry from answering
   */
  async fetchManifest(
    tagOrDigest: string,
    { signal, patience = "full" }: ResolveOptions,
  ): Promise<GraphDocument> {
    const wanted = this.#want(tagOrDigest, signal, patience);
    try {
      return await this.#get(wanted, "manifests");
    } catch (error) {
      if (wanted.digest === undefined || !isFailure(error, "content-missing")) throw error;
      try {
        return await this.#get(wanted, "blobs");
      } catch (other) {
        throw isFailure(other, "content-missing") ? error : other;
      }
    }
  }

  /**
   * Opens content by its descriptor. Manifests are asked for as such and, when they are not there,
   * among the blobs (C-65). A blob waits for a place on the registry's lane; a manifest does not.
   *
   * A range is asked for at the registry itself, never where an earlier answer came from (C-44). Who
   * cannot serve it exactly is asked for the whole, when the range goes up to its end (C-84).
   *
   * The stream errors when the other side ends early, stalls or sends too much; a whole stream still
   * is the other side's word.
   *
   * @throws {Failure} `content-missing`; `range-ignored`; `registry-protocol` when the answer
   *   contradicts the descriptor before a byte was read (C-82)
   */
  async fetch(
    descriptor: Descriptor,
    { signal, range }: FetchOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    const { digest, mediaType, size } = descriptor;
    const part = range ?? { start: 0, end: size };
    assert(
      0 <= part.start && part.start <= part.end && part.end <= size,
      "a range lies in its content",
    );
    const wanted = this.#want(digest, signal, "full");
    // Some registries know no empty blob, and none an empty range (C-85); neither needs a registry.
    if (part.start === part.end) return new ReadableStream({ start: (empty) => empty.close() });
    if (!isManifestType(mediaType) && !isIndexType(mediaType)) {
      const place = await this.#client.enter(part.end - part.start, signal);
      try {
        return await this.#fetchBlob(wanted, size, part, place);
      } catch (error) {
        place.leave("done");
        throw error;
      }
    }
    if (size > MANIFEST_BYTES_MAX) throw tooLarge(wanted.subject, size);
    const answer = await this.#openManifest(wanted, size);
    await this.#checkBody(answer, size);
    return watchedBody({ answer, sizeBytes: size, part }, this.#reading);
  }

  /** See {@link listReferrers}. */
  referrers(subject: Digest, options: ResolveOptions): Promise<readonly Descriptor[]> {
    const [client, path, name, reading] = [this.#client, this.#path, this.#name, this.#reading];
    return listReferrers({ client, path, name, reading }, subject, options);
  }

  /**
   * Asks by HEAD whether the registry has a blob. One of another size counts as missing.
   *
   * @throws {Failure} whatever keeps the registry from answering
   */
  async holds({ digest, size }: Descriptor, { signal }: CallOptions): Promise<boolean> {
    const head = await this.#request("HEAD", this.#want(digest, signal, "full"), "blobs");
    await discard(head);
    if (head.status === 404) return false;
    if (head.status !== 200) throw await answerFailure(head, this.#client.context());
    const length = contentLength(head);
    return length === undefined || length === size;
  }

  async #fetchBlob(
    wanted: Wanted,
    size: number,
    part: ByteRange,
    place: Place,
  ): Promise<ReadableStream<Uint8Array>> {
    let { start } = part;
    const open = async (): Promise<Section | undefined> => {
      if (start === part.end) return undefined;
      const { section, end } = await this.#openSection(wanted, size, { start, end: part.end });
      start = end;
      return section;
    };
    const first = await open();
    assert(first !== undefined, "a blob that is asked for is not empty");
    return watchedBody(first, { ...this.#reading, place, next: open });
  }

  /** As much of a part, from its start up to `end`, as one request is to bring. */
  async #openSection(
    wanted: Wanted,
    size: number,
    part: ByteRange,
  ): Promise<{ section: Section; end: number }> {
    const { endurance } = this.#client;
    const end = Math.min(part.end, part.start + endurance.pieceBytesMax);
    const sizeBytes = end - part.start;
    const isPiece = end < part.end;
    const asked =
      sizeBytes === size
        ? undefined
        : await this.#askRange(wanted, size, { start: part.start, end });
    if (asked?.holding === "part") {
      await this.#checkBody(asked.answer, sizeBytes, [200, 206]);
      this.#noteEtag(asked.answer, wanted);
      return { section: { answer: asked.answer, sizeBytes }, end };
    }
    if (isPiece) endurance.refusedPiece();
    const isWhole = asked?.holding === "whole" && part.end === size;
    if (asked !== undefined && !isWhole) {
      await discard(asked.answer);
      if (isPiece) return this.#openSection(wanted, size, part);
      if (part.end < size) throw rangeIgnored(asked.answer, part);
    }
    const whole =
      asked !== undefined && isWhole ? asked.answer : await this.#openBlob(wanted, size);
    await this.#checkBody(whole, size);
    this.#noteEtag(whole, wanted);
    return { section: { answer: whole, sizeBytes: size, part }, end: part.end };
  }

  /** Asks for a range, and says what the answer to it holds. */
  async #askRange(
    wanted: Wanted,
    size: number,
    range: ByteRange,
  ): Promise<{ answer: Answer; holding: RangeHolding }> {
    const etag = wanted.digest && this.#etags.get(wanted.digest);
    const bytes = range.end - range.start;
    const answer = await this.#openBlob(wanted, bytes, rangeHeaders(range, size, etag));
    const holding = rangeHolding(answer, range, size);
    if (holding === undefined) throw await answerFailure(answer, this.#client.context());
    if (holding !== "whole" || etag === undefined) return { answer, holding };
    // Behind one name stand several servers, each with its own validators. The digest judges in the
    // end, so that is no reason to read everything anew.
    await discard(answer);
    if (wanted.digest !== undefined) this.#etags.delete(wanted.digest);
    return this.#askRange(wanted, size, range);
  }

  #noteEtag({ headers }: Answer, { digest }: Wanted): void {
    const etag = strongEtag(headers);
    if (digest !== undefined && etag !== undefined) this.#etags.set(digest, etag);
  }

  async #openManifest(wanted: Wanted, size: number): Promise<Answer> {
    const answer = await this.#request("GET", wanted, "manifests");
    if (answer.status !== 404) return answer;
    const words = await answerFailure(answer, this.#client.context());
    const blob = await this.#openBlob(wanted, size);
    if (blob.status !== 404) return blob;
    await discard(blob);
    throw words;
  }

  /** @param bytes how many are wanted of it */
  #openBlob(
    wanted: Wanted,
    bytes: number,
    range: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    return this.#request("GET", wanted, "blobs", range, bytes);
  }

  #want(tagOrDigest: string, signal: AbortSignal, patience: CallPatience): Wanted {
    const isTag = TAG.test(tagOrDigest);
    const digest = isTag ? undefined : parseDigest(tagOrDigest);
    return {
      reference: tagOrDigest,
      digest,
      subject: quoted(`${this.#name}${isTag ? ":" : "@"}${tagOrDigest}`, 400),
      signal,
      patience,
    };
  }

  #request(
    method: "GET" | "HEAD",
    wanted: Wanted,
    kind: "manifests" | "blobs",
    headers: Readonly<Record<string, string>> = {},
    blobBytes?: number,
  ): Promise<Answer> {
    return this.#client.request(this.#asRequest(method, wanted, kind, headers, blobBytes));
  }

  #asRequest(
    method: "GET" | "HEAD",
    wanted: Wanted,
    kind: "manifests" | "blobs",
    headers: Readonly<Record<string, string>> = {},
    blobBytes?: number,
  ): RegistryRequest {
    return {
      method,
      path: `/v2/${this.#path}/${kind}/${wanted.reference}${this.#query}`,
      headers: { Accept: kind === "manifests" ? ACCEPT_MANIFESTS : "*/*", ...headers },
      scope: pullScope(this.#path),
      subject: wanted.subject,
      verb: this.verb,
      signal: wanted.signal,
      patience: wanted.patience,
      blobBytes,
    };
  }

  /** The descriptor that the headers of an answer to HEAD describe, or undefined when they don't. */
  #fromHeaders(head: Answer, wanted: Wanted): Descriptor | undefined {
    const digest = this.#headerDigest(head, wanted);
    const mediaType = bareMediaType(head.headers.get("content-type") ?? "");
    const size = contentLength(head);
    if (isWebPage(head)) throw webPage(head, "a manifest");
    if (size !== undefined && size > MANIFEST_BYTES_MAX) throw tooLarge(wanted.subject, size);
    if (digest === undefined || size === undefined || size === 0 || isEncoded(head))
      return undefined;
    if (!isManifestType(mediaType) && !isIndexType(mediaType)) return undefined;
    return { mediaType, digest, size };
  }

  /**
   * The digest that the answer claims, or for a pinned reference the wanted one, whatever the header
   * says in another algorithm.
   */
  #headerDigest(answer: Answer, { digest: wanted }: Wanted): Digest | undefined {
    const header = answer.headers.get("docker-content-digest");
    if (header === null) return wanted;
    const claimed = tryParseDigest(header.trim());
    if (claimed === undefined) {
      throw unexpected(answer, `names the digest ${quoted(header, 100)}`, "a valid digest");
    }
    if (wanted === undefined || claimed === wanted) return claimed;
    if (digestAlgorithm(claimed) !== digestAlgorithm(wanted)) return wanted;
    throw unexpected(answer, `names the digest ${claimed}`, "the one that was asked for");
  }

  /** By GET, whole: the body is bounded, and its digest and type are what the bytes say (C-63, C-66). */
  #get(wanted: Wanted, kind: "manifests" | "blobs"): Promise<GraphDocument> {
    return this.#client.read(this.#asRequest("GET", wanted, kind), async (answer) => {
      const claimed = await this.#admit(answer, wanted);
      const bytes = await readBounded(answer, MANIFEST_BYTES_MAX, this.#reading);
      if (bytes === undefined) throw tooLarge(wanted.subject, undefined);
      const digest = digestOf(bytes, claimed && digestAlgorithm(claimed));
      if (claimed !== undefined && claimed !== digest) {
        throw isEncoded(answer) ? encoded(answer) : otherBytes(answer, digest, claimed);
      }
      const contentType = answer.headers.get("content-type") ?? undefined;
      const { mediaType } = parseDocument(bytes, kind === "blobs" ? undefined : contentType);
      return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
    });
  }

  /**
   * Refuses an answer that cannot be a manifest, before its body is read.
   *
   * @returns the digest that its bytes must have; undefined when nobody says
   */
  async #admit(answer: Answer, wanted: Wanted): Promise<Digest | undefined> {
    if (answer.status !== 200) throw await answerFailure(answer, this.#client.context());
    try {
      if (isWebPage(answer)) throw webPage(answer, "a manifest");
      const claimed = this.#headerDigest(answer, wanted);
      // Where a digest is to be had it judges: objects are also noted as encoded that are not.
      if (claimed === undefined && isEncoded(answer)) throw encoded(answer);
      const size = contentLength(answer);
      if (size !== undefined && size > MANIFEST_BYTES_MAX) throw tooLarge(wanted.subject, size);
      return claimed;
    } catch (error) {
      await discard(answer);
      throw error;
    }
  }

  /** Refuses an answer that cannot be the content, before its body is read. */
  async #checkBody(
    answer: Answer,
    size: number,
    statuses: readonly number[] = [200],
  ): Promise<void> {
    if (!statuses.includes(answer.status))
      throw await answerFailure(answer, this.#client.context());
    const failure = contradiction(answer, size);
    if (failure === undefined) return;
    await discard(answer);
    throw failure;
  }
}

/** What a request is about. */
interface Wanted {
  readonly reference: string;
  readonly digest: Digest | undefined;
  readonly subject: string;
  readonly signal: AbortSignal;
  readonly patience: CallPatience;
}

function contradiction(answer: Answer, size: number): Failure | undefined {
  const length = contentLength(answer);
  const isRightLength = length === size;
  if (isWebPage(answer) && !isRightLength) {
    return webPage(answer, "the content");
  }
  // Object stores repeat an encoding that was noted beside the object; then the length is still that
  // of the object, and the bytes are what the digest is of.
  if (isEncoded(answer) && !isRightLength) return encoded(answer);
  if (length === undefined || isRightLength) return undefined;
  return unexpected(answer, `announced ${length} bytes`, `${size}`);
}

/** Whether the body is not the content but a compressed form of it, though none was asked for (B-2). */
function isEncoded({ headers }: Answer): boolean {
  return !/^\s*(?:identity)?\s*$/i.test(headers.get("content-encoding") ?? "");
}

/** `Content-Length`, or undefined when there is none that can be used. */
function contentLength({ headers }: Answer): number | undefined {
  const text = headers.get("content-length") ?? "";
  const length = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(length) ? length : undefined;
}

function webPage(answer: Answer, expected: string): Failure {
  return unexpected(answer, "answered with a web page", expected, WEB_PAGE_HINT);
}

function encoded(answer: Answer): Failure {
  const encoding = quoted(answer.headers.get("content-encoding") ?? "", 40);
  return unexpected(answer, `encoded the content as ${encoding}`, "it as it is");
}

function otherBytes({ asked }: Answer, found: Digest, expected: Digest): Failure {
  return new Failure({
    code: "digest-mismatch",
    message: `Cannot fetch ${asked.subject}: ${asked.host} sent bytes of digest ${found}, expected those of ${expected}`,
    hint: `Look for a proxy or a broken cache in front of ${asked.host}`,
  });
}

function unexpected({ asked }: Answer, found: string, expected: string, hint?: string): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${asked.subject}: ${asked.host} ${found}, expected ${expected}`,
    hint:
      hint ??
      "Check the registry, and any proxy or mirror in between that may change what it answers",
  });
}

function rangeIgnored({ asked, status }: Answer, { start, end }: ByteRange): Failure {
  return new Failure({
    code: "range-ignored",
    message: `Cannot fetch ${asked.subject}: ${asked.host} answered ${status} without the bytes from ${start} to ${end}, expected exactly those`,
    hint: "Nothing to do: who asks for parts falls back to the whole",
  });
}

function tooLarge(subject: string, sizeBytes: number | undefined): Failure {
  const found = sizeBytes === undefined ? "it is larger" : `it has ${sizeBytes} bytes`;
  return new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${subject}: ${found}, expected a manifest of at most ${MANIFEST_BYTES_MAX} bytes`,
    hint: `Check that ${printable(subject, 400)} names an image: a manifest is a few thousand bytes`,
  });
}
