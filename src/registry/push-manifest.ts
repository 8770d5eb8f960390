import { isFailure } from "#base";
import { digestOf, writeContent } from "#content";
import {
  bareMediaType,
  childrenOf,
  type Descriptor,
  type Digest,
  type Document,
  digestAlgorithm,
  isForeignLayerType,
  MANIFEST_BYTES_MAX,
  parseDocument,
} from "#oci";
import { matchesEtag } from "./accept.ts";
import { adopt } from "./adopt.ts";
import { readBody } from "./body.ts";
import { isDocument } from "./catalog.ts";
import { heldManifest } from "./held.ts";
import type { Repository } from "./repository.ts";
import { locationOf, type RepositoryRequest } from "./repository-request.ts";
import { isTag, type TagOrDigest } from "./route.ts";
import { type Answer, emptyAnswer, WireError } from "./wire.ts";

/** How many tags one request may set. The specification wants ten at least. */
const TAGS_MAX = 100;

/** How many missing blobs one answer names. */
const MISSING_MAX = 100;

/**
 * Takes a manifest or index: checks it whole, keeps its bytes as they came, then points tags at it
 * (S-22, S-62).
 *
 * A tag that was delivered can't be pushed over: it stands for what the delivery verified, and only a
 * delivery moves it, as with an immutable tag of other registries. To push to it what it stands for
 * already is allowed, and changes nothing. Other tags of the same repository are free.
 *
 * @throws {WireError} `MANIFEST_TOO_LARGE`, `MANIFEST_INVALID`, `DIGEST_INVALID`, `MANIFEST_BLOB_UNKNOWN`,
 *   `PRECONDITION_FAILED`, `DENIED`
 */
export async function putManifest(
  from: RepositoryRequest,
  reference: TagOrDigest,
): Promise<Answer> {
  const { store, repositories, repository, request, url } = from;
  const bytes = await readBody(request, MANIFEST_BYTES_MAX);
  const document = readManifest(bytes, request.headers.get("content-type") ?? "");
  const digest = checkedDigest(bytes, reference);
  const tags = "tag" in reference ? [reference.tag] : tagsOf(url);
  for (const tag of tags) refuseDelivered(repository, tag, digest);
  const expected = await checkConditions(from, reference);
  const children = await findChildren(repository, document, (child) => store.lease(child));
  for (const child of children) await adopt(from, child);

  const descriptor = { mediaType: document.mediaType, digest, size: bytes.byteLength };
  if (!(await store.lease(descriptor))) await writeContent(store, descriptor, bytes);
  const options = { tags, ...(expected === undefined ? {} : { expected }) };
  await orConditionFails(() =>
    repositories.putManifest(repository.key, heldManifest(descriptor, document, bytes), options),
  );
  return emptyAnswer(201, {
    location: locationOf(from, `manifests/${digest}`),
    "docker-content-digest": digest,
    ...(document.subject === undefined ? {} : { "oci-subject": document.subject.digest }),
    ...("tag" in reference || tags.length === 0 ? {} : { "oci-tag": tags.join(", ") }),
  });
}

/** One type, said once or twice but the same each time: else two clients could read two things (SEC-7). */
function readManifest(bytes: Uint8Array, contentType: string): Document {
  const type = bareMediaType(contentType);
  let document: Document;
  try {
    document = parseDocument(bytes, type);
  } catch (error) {
    if (!isFailure(error)) throw error;
    throw new WireError("MANIFEST_INVALID", error.message);
  }
  if (type !== "" && type !== document.mediaType) {
    throw new WireError("MANIFEST_INVALID", "the Content-Type is not the type of the manifest");
  }
  // The byte order mark: our parser passes over it, those of other clients fail (RFC 8259, 8.1).
  if (bytes[0] === 0xef) throw new WireError("MANIFEST_INVALID", "the manifest is not JSON");
  return document;
}

function checkedDigest(bytes: Uint8Array, reference: TagOrDigest): Digest {
  if ("tag" in reference) return digestOf(bytes);
  const digest = digestOf(bytes, digestAlgorithm(reference.digest));
  if (digest === reference.digest) return digest;
  throw new WireError("DIGEST_INVALID", "the manifest has another digest");
}

/** The tags that a push by digest sets: `?tag=v1&tag=latest`. */
function tagsOf(url: URL): readonly string[] {
  const tags = [...new Set(url.searchParams.getAll("tag"))];
  if (tags.length <= TAGS_MAX && tags.every(isTag)) return tags;
  throw new WireError("MANIFEST_INVALID", `one of the tags is none, or they are above ${TAGS_MAX}`);
}

function refuseDelivered(repository: Repository, tag: string, digest: Digest): void {
  const delivered = repository.deliveredTag(tag);
  if (delivered === undefined || delivered.digest === digest) return;
  throw new WireError(
    "DENIED",
    "the tag was delivered to this site and stands for another digest: only a delivery moves it",
    {},
    [{ tag, digest: delivered.digest }],
  );
}

/**
 * Compares the conditions of the request with what its reference stands for (S-25).
 *
 * @returns what the tag must still stand for when it is moved
 */
async function checkConditions(
  { repository, request: { headers } }: RepositoryRequest,
  reference: TagOrDigest,
): Promise<Digest | null | undefined> {
  const ifMatch = headers.get("if-match");
  const ifNoneMatch = headers.get("if-none-match");
  if (ifMatch === null && ifNoneMatch === null) return undefined;
  const isForTag = "tag" in reference;
  const current = isForTag
    ? await repository.tag(reference.tag)
    : await repository.manifest(reference.digest);
  const matches = (header: string) => current !== undefined && matchesEtag(header, current.digest);
  if (ifMatch !== null && !matches(ifMatch)) throw conditionFails();
  if (ifNoneMatch !== null && matches(ifNoneMatch)) throw conditionFails();
  // What was delivered stands for the same before and after.
  if (!isForTag || repository.deliveredTag(reference.tag) !== undefined) return undefined;
  return current?.digest ?? null;
}

async function orConditionFails(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    throw isFailure(error, "tag-moved") ? conditionFails() : error;
  }
}

function conditionFails(): WireError {
  return new WireError("PRECONDITION_FAILED", "the manifest is not what the request expects");
}

/** What a document points at, as this repository has it. Foreign layers may be elsewhere; so may its subject. */
async function findChildren(
  repository: Repository,
  document: Document,
  lease: (child: Descriptor) => Promise<boolean>,
): Promise<readonly Descriptor[]> {
  const found = new Map<Digest, Descriptor>();
  const missing = new Set<Digest>();
  for (const child of childrenOf(document)) {
    const { digest, size, mediaType } = child;
    const here = found.get(digest) ?? (await findChild(repository, document, child));
    // A collection may have come between; what is leased stays until the manifest names it.
    if (here === undefined || !(await lease(here))) {
      if (!isForeignLayerType(mediaType)) missing.add(digest);
    } else if (here.size !== size) {
      throw new WireError("MANIFEST_INVALID", `${digest} has ${here.size} bytes, not ${size}`);
    } else {
      found.set(digest, here);
    }
  }
  if (missing.size === 0) return [...found.values()];
  const details = [...missing].slice(0, MISSING_MAX).map((digest) => ({ digest }));
  throw new WireError(
    "MANIFEST_BLOB_UNKNOWN",
    "the manifest refers to content that the repository does not have",
    {},
    details,
  );
}

async function findChild(
  repository: Repository,
  { kind }: Document,
  child: Descriptor,
): Promise<Descriptor | undefined> {
  if (kind === "manifest") return repository.blob(child.digest);
  const manifest = await repository.manifest(child.digest);
  // BuildKit keeps its cache as an index over layers.
  return manifest ?? (isDocument(child) ? undefined : repository.blob(child.digest));
}
