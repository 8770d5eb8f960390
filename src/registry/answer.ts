import { isFailure } from "#base";
import type { Descriptor, Digest } from "#oci";
import { accepts, matchesEtag } from "./accept.ts";
import { type Catalog, isDocument, type Repository } from "./catalog.ts";
import { parseRange } from "./range.ts";
import type { Route, TagOrDigest } from "./route.ts";
import { type Answer, jsonAnswer, type WireCode, WireError } from "./wire.ts";

/** A request for something in a repository that there is. */
export interface RepositoryRequest {
  readonly catalog: Catalog;
  readonly repository: Repository;
  readonly request: Request;
  readonly url: URL;
}

/** How many tags one page of a list has at most, whatever is asked for (SEC-9). */
const TAGS_MAX = 10_000;

/** Failures of a store that mean: what is not there any more, or not what it was, is not served (S-64). */
const NOT_HERE: ReadonlySet<string> = new Set([
  "content-missing",
  "content-too-long",
  "content-too-short",
  "digest-mismatch",
]);

/**
 * Answers for a repository.
 *
 * @throws {WireError} what the client is to be told
 */
export async function answerFrom(
  from: RepositoryRequest,
  route: Exclude<Route, { readonly kind: "version" }>,
): Promise<Answer> {
  switch (route.kind) {
    case "tags":
      return listTags(from, route.name);
    case "manifest":
      return orNotHere("MANIFEST_UNKNOWN", sendManifest(from, route.reference));
    case "blob":
      return orNotHere("BLOB_UNKNOWN", sendBlob(from, route.digest));
  }
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

/** One page of the tags, by `n` and `last` (S-8, S-26). */
function listTags({ repository, url }: RepositoryRequest, name: string): Answer {
  const count = url.searchParams.get("n") ?? String(TAGS_MAX);
  if (!/^\d+$/.test(count)) {
    throw new WireError("PAGINATION_NUMBER_INVALID", "n is not a whole number");
  }
  const pageMax = Math.min(Number(count), TAGS_MAX);
  const after = url.searchParams.get("last") ?? "";
  const rest = [...repository.tags.keys()].sort().filter((tag) => tag > after);
  const tags = rest.slice(0, pageMax);
  const last = tags.at(-1);
  if (last === undefined || tags.length === rest.length) return jsonAnswer({ name, tags });
  const query = new URLSearchParams(url.searchParams);
  query.set("last", last);
  query.set("n", String(pageMax));
  return jsonAnswer({ name, tags }, 200, { link: `<${url.pathname}?${query}>; rel="next"` });
}

async function sendManifest(
  { catalog, repository, request }: RepositoryRequest,
  reference: TagOrDigest,
): Promise<Answer> {
  const isTag = "tag" in reference;
  const descriptor = isTag
    ? repository.tags.get(reference.tag)
    : await catalog.find(repository, reference.digest);
  if (descriptor === undefined || !isDocument(descriptor)) {
    throw new WireError("MANIFEST_UNKNOWN", "the repository has no such manifest");
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
    return { status: 304, headers, body: null, bytes: 0 };
  }
  return { status: 200, headers, body, bytes: body.byteLength };
}

async function sendBlob(
  { catalog, repository, request }: RepositoryRequest,
  digest: Digest,
): Promise<Answer> {
  const descriptor = await catalog.find(repository, digest);
  if (descriptor === undefined) {
    throw new WireError("BLOB_UNKNOWN", "the repository has no such blob");
  }
  const blob = await catalog.openBlob(descriptor);
  const headers = {
    ...contentHeaders(digest),
    "content-type": "application/octet-stream",
    // Else Bun names the file, which is of no use and a path of ours.
    "content-disposition": "attachment",
    "accept-ranges": "bytes",
    "cache-control": FOREVER,
  };
  if (matchesEtag(request.headers.get("if-none-match"), digest)) {
    return { status: 304, headers, body: null, bytes: 0 };
  }
  return sendRange(request, descriptor, {
    status: 200,
    headers,
    body: blob,
    bytes: descriptor.size,
  });
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
