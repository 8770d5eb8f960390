import { isFailure } from "#base";
import type { Descriptor, Digest } from "#oci";
import { accepts, matchesEtag } from "./accept.ts";
import { isDocument } from "./catalog.ts";
import { parseRange } from "./range.ts";
import type { RepositoryRequest } from "./repository-request.ts";
import type { TagOrDigest } from "./route.ts";
import { type Answer, emptyAnswer, type WireCode, WireError } from "./wire.ts";

/** Failures of a store that mean: what is not there any more, or not what it was, is not served (S-64). */
const NOT_HERE: ReadonlySet<string> = new Set([
  "content-missing",
  "content-too-long",
  "content-too-short",
  "digest-mismatch",
]);

/** Sends a manifest or index, byte for byte as it came. */
export function sendManifest(from: RepositoryRequest, reference: TagOrDigest): Promise<Answer> {
  return orNotHere("MANIFEST_UNKNOWN", manifestAnswer(from, reference));
}

/** Sends a blob, or a range of it. */
export function sendBlob(from: RepositoryRequest, digest: Digest): Promise<Answer> {
  return orNotHere("BLOB_UNKNOWN", blobAnswer(from, digest));
}

async function orNotHere(code: WireCode, answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (isFailure(error) && NOT_HERE.has(error.code)) {
      throw new WireError(code, "the content is not here");
    }
    throw error;
  }
}

async function manifestAnswer(from: RepositoryRequest, reference: TagOrDigest): Promise<Answer> {
  const { catalog, repository, request } = from;
  const isTag = "tag" in reference;
  const descriptor = isTag
    ? await taggedManifest(from, reference.tag)
    : await repository.manifest(reference.digest);
  if (descriptor === undefined || !isDocument(descriptor)) {
    throw await notFound(from, "MANIFEST_UNKNOWN", "the repository has no such manifest");
  }
  if (!accepts(request.headers.get("accept"), descriptor.mediaType)) {
    throw new WireError("MANIFEST_UNKNOWN", "the manifest is of a type that is not accepted");
  }
  const body = await catalog.document(descriptor);
  const headers = {
    ...contentHeaders(descriptor.digest),
    "content-type": descriptor.mediaType,
    "cache-control": isTag ? "no-cache" : FOREVER,
    vary: "accept",
  };
  if (matchesEtag(request.headers.get("if-none-match"), descriptor.digest)) {
    return emptyAnswer(304, headers);
  }
  return { status: 200, headers, body, bytes: body.byteLength };
}

/** What a tag stands for, if the store has it: that its bytes are remembered does not make it be there (S-65). */
async function taggedManifest(
  { repository, store }: RepositoryRequest,
  tag: string,
): Promise<Descriptor | undefined> {
  const descriptor = await repository.tag(tag);
  return descriptor !== undefined && (await store.has(descriptor)) ? descriptor : undefined;
}

async function blobAnswer(from: RepositoryRequest, digest: Digest): Promise<Answer> {
  const { catalog, repository, request } = from;
  const descriptor = await repository.blob(digest);
  if (descriptor === undefined) {
    throw await notFound(from, "BLOB_UNKNOWN", "the repository has no such blob");
  }
  if (request.method === "HEAD") await renewLink(from, descriptor);
  const body = request.method === "HEAD" ? null : await catalog.openBlob(descriptor);
  const headers = {
    ...contentHeaders(digest),
    "content-type": "application/octet-stream",
    // Else Bun names the file, which is of no use and a path of ours.
    "content-disposition": "attachment",
    "accept-ranges": "bytes",
    "cache-control": FOREVER,
  };
  if (matchesEtag(request.headers.get("if-none-match"), digest)) {
    return emptyAnswer(304, headers);
  }
  return sendRange(request, descriptor, {
    status: 200,
    headers,
    body,
    bytes: descriptor.size,
  });
}

/**
 * Who may push and asks for a blob will leave out to push it when it is here. So it stays for a while, as
 * if it had been pushed again (S-82). Where the disk lets nothing be written it is here all the same.
 */
async function renewLink(
  { mayPush, repository, repositories }: RepositoryRequest,
  { digest }: Descriptor,
): Promise<void> {
  const pushed = mayPush() ? await repository.pushedBlob(digest) : undefined;
  if (pushed === undefined) return;
  try {
    await repositories.linkBlob(repository.key, pushed);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

/** A client is told which of both there is not: the content, or the whole repository. */
async function notFound(
  { repository }: RepositoryRequest,
  code: WireCode,
  message: string,
): Promise<WireError> {
  if (await repository.exists()) return new WireError(code, message);
  return new WireError("NAME_UNKNOWN", "this registry has no such repository");
}

/** The part that was asked for. It is cut here and not by Bun, so that every store serves ranges alike. */
function sendRange(
  { method, headers }: Request,
  { digest, size }: Descriptor,
  whole: Answer,
): Answer {
  const ifRange = headers.get("if-range");
  const isSame = ifRange === null || ifRange === etagOf(digest);
  const range = method === "GET" && isSame ? parseRange(headers.get("range"), size) : "whole";
  if (range === "whole" || !(whole.body instanceof Blob)) return whole;
  if (range === "unsatisfiable") {
    throw new WireError("RANGE_INVALID", "the blob has no such range", {
      "content-range": `bytes */${size}`,
    });
  }
  const { start, end } = range;
  return {
    status: 206,
    headers: { ...whole.headers, "content-range": `bytes ${start}-${end - 1}/${size}` },
    body: whole.body.slice(start, end),
    bytes: end - start,
  };
}

/** What a digest names never changes. Not `public`: a shared cache must not answer for our users. */
const FOREVER = "max-age=31536000, immutable";

function contentHeaders(digest: Digest): Readonly<Record<string, string>> {
  return { "docker-content-digest": digest, etag: etagOf(digest) };
}

function etagOf(digest: Digest): string {
  return `"${digest}"`;
}
