import { createHash } from "node:crypto";
import { Failure, printable, quoted } from "#base";
import type { CallOptions, ResolveOptions, Source } from "#content";
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
import { readBounded, watchedBody } from "./body.ts";
import type { CallPatience } from "./reachability.ts";
import type { RegistryClient } from "./registry-client.ts";
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
  readonly #stallMs: number;

  constructor(reference: Reference, client: RegistryClient, stallMs: number) {
    this.#name = repositoryName(reference);
    this.#path = reference.path;
    this.#client = client;
    this.#stallMs = stallMs;
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
      return descriptor ?? this.#resolveByGet(wanted, "manifests");
    }
    if (head.status !== 404) return this.#resolveByGet(wanted, "manifests");
    // Registries of old kept manifests among the blobs; a tag is never there.
    if (wanted.digest !== undefined) return this.#resolveByGet(wanted, "blobs");
    throw await answerFailure(head, this.#client.context());
  }

  /**
   * Opens content by its descriptor. Manifests are asked for as such and, when they are not there,
   * among the blobs (C-65).
   *
   * The stream errors when the other side ends early, stalls or sends too much; a whole stream still
   * is the other side's word.
   *
   * @throws {Failure} `content-missing`; `registry-protocol` when the answer contradicts the
   *   descriptor before a byte was read (C-82)
   */
  async fetch(
    descriptor: Descriptor,
    { signal }: CallOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    const { digest, mediaType, size } = descriptor;
    const wanted = this.#want(digest, signal, "full");
    // Some registries know no empty blob (C-85); it is the one blob that needs no registry.
    if (size === 0) return new ReadableStream({ start: (controller) => controller.close() });
    const isManifest = isManifestType(mediaType) || isIndexType(mediaType);
    if (isManifest && size > MANIFEST_BYTES_MAX) throw tooLarge(wanted.subject, size);
    const answer = isManifest ? await this.#openManifest(wanted) : await this.#openBlob(wanted);
    await this.#checkBody(answer, size);
    return watchedBody(answer, { stallMs: this.#stallMs, sizeBytes: size });
  }

  async #openManifest(wanted: Wanted): Promise<Answer> {
    const answer = await this.#request("GET", wanted, "manifests");
    if (answer.status !== 404) return answer;
    const words = await answerFailure(answer, this.#client.context());
    const blob = await this.#openBlob(wanted);
    if (blob.status !== 404) return blob;
    await discard(blob);
    throw words;
  }

  #openBlob(wanted: Wanted): Promise<Answer> {
    return this.#request("GET", wanted, "blobs");
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

  #request(method: "GET" | "HEAD", wanted: Wanted, kind: "manifests" | "blobs"): Promise<Answer> {
    return this.#client.request({
      method,
      path: `/v2/${this.#path}/${kind}/${wanted.reference}`,
      headers: { Accept: kind === "manifests" ? ACCEPT_MANIFESTS : "*/*" },
      scope: pullScope(this.#path),
      subject: wanted.subject,
      signal: wanted.signal,
      patience: wanted.patience,
    });
  }

  /** The descriptor that the headers of an answer to HEAD describe, or undefined when they don't. */
  #fromHeaders(head: Answer, wanted: Wanted): Descriptor | undefined {
    const digest = this.#headerDigest(head, wanted);
    const mediaType = bareMediaType(head.headers.get("content-type") ?? "");
    const size = contentLength(head);
    if (isWebPage(head))
      throw unexpected(head, "answered with a web page", "a manifest", WEB_PAGE_HINT);
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

  async #resolveByGet(wanted: Wanted, kind: "manifests" | "blobs"): Promise<Descriptor> {
    const answer = await this.#request("GET", wanted, kind);
    if (answer.status !== 200) throw await answerFailure(answer, this.#client.context());
    await this.#checkBody(answer, undefined);
    const bytes = await readBounded(answer, MANIFEST_BYTES_MAX, this.#stallMs);
    if (bytes === undefined) throw tooLarge(wanted.subject, undefined);
    const claimed = this.#headerDigest(answer, wanted);
    const algorithm = claimed === undefined ? "sha256" : digestAlgorithm(claimed);
    const hex = createHash(algorithm).update(bytes).digest("hex");
    const digest = parseDigest(`${algorithm}:${hex}`);
    if (claimed !== undefined && claimed !== digest) {
      throw unexpected(answer, `sent bytes of digest ${digest}`, `those of ${claimed}`);
    }
    const contentType = answer.headers.get("content-type");
    const { mediaType } = parseDocument(
      bytes,
      kind === "blobs" ? undefined : (contentType ?? undefined),
    );
    return { mediaType, digest, size: bytes.byteLength };
  }

  /** Refuses an answer that cannot be the content, before its body is read. */
  async #checkBody(answer: Answer, size: number | undefined): Promise<void> {
    if (answer.status !== 200) throw await answerFailure(answer, this.#client.context());
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

function contradiction(answer: Answer, size: number | undefined): Failure | undefined {
  const length = contentLength(answer);
  const isRightLength = length !== undefined && length === size;
  if (isWebPage(answer) && !isRightLength) {
    return unexpected(answer, "answered with a web page", "the content", WEB_PAGE_HINT);
  }
  // Object stores repeat an encoding that was noted beside the object; then the length is still that
  // of the object, and the bytes are what the digest is of.
  if (isEncoded(answer) && !isRightLength) {
    const encoding = quoted(answer.headers.get("content-encoding") ?? "", 40);
    return unexpected(answer, `encoded the content as ${encoding}`, "it as it is");
  }
  if (size === undefined || length === undefined || isRightLength) return undefined;
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

function unexpected({ asked }: Answer, found: string, expected: string, hint?: string): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${asked.subject}: ${asked.host} ${found}, expected ${expected}`,
    hint:
      hint ??
      "Check the registry, and any proxy or mirror in between that may change what it answers",
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
