import { assert, isFailure } from "#base";
import type { Upload } from "#content";
import { type Descriptor, type Digest, tryParseDigest } from "#oci";
import { locationOf, type RepositoryRequest } from "./repository-request.ts";
import { checkDigest } from "./route.ts";
import { appendBody, findUpload, orRangeInvalid, uploadAnswer } from "./session.ts";
import { type Answer, emptyAnswer, WireError } from "./wire.ts";

/**
 * Begins to push a blob: takes it from another repository (`mount`), takes it whole (`digest`), or
 * opens an upload. A blob that can't be mounted, for whatever reason, is an upload as well: the answer
 * does not tell what other repositories hold (S-29, SEC-27).
 */
export async function beginUpload(from: RepositoryRequest): Promise<Answer> {
  const { uploads, repository, caller, url } = from;
  assert(uploads !== undefined, "nothing is pushed to a registry that is for reading");
  const mount = url.searchParams.get("mount");
  if (mount !== null) {
    const mounted = await findMountable(from, mount);
    if (mounted !== undefined) return finish(from, mounted);
  }
  const digest = mount === null ? url.searchParams.get("digest") : null;
  const expected = digest === null ? undefined : checkDigest(digest);
  const upload = await uploads.begin(repository.key, caller.user);
  if (expected === undefined) return uploadAnswer(from, upload, 202);
  try {
    await appendBody(from, upload);
    return await finish(from, await commit(from, upload, expected));
  } catch (error) {
    // Nobody was told of the upload, so nobody could go on with it.
    await upload.cancel().catch(() => {});
    throw error;
  }
}

/** Takes a chunk, or a stream. */
export async function appendToUpload(from: RepositoryRequest, id: string): Promise<Answer> {
  const upload = await findUpload(from, id);
  await appendBody(from, upload);
  return uploadAnswer(from, upload, 202);
}

/** Takes the last chunk, if any, and ends the upload. */
export async function endUpload(from: RepositoryRequest, id: string): Promise<Answer> {
  const digest = checkDigest(from.url.searchParams.get("digest") ?? "");
  const upload = await findUpload(from, id);
  await appendBody(from, upload);
  return finish(from, await commit(from, upload, digest));
}

async function findMountable(
  { url, openSource }: RepositoryRequest,
  mount: string,
): Promise<Descriptor | undefined> {
  const digest = tryParseDigest(mount);
  const name = url.searchParams.get("from");
  if (digest === undefined || name === null) return undefined;
  return (await openSource(name))?.blob(digest);
}

async function commit(
  from: RepositoryRequest,
  upload: Upload,
  digest: Digest,
): Promise<Descriptor> {
  try {
    return await orRangeInvalid(from, upload, () => upload.commit(digest));
  } catch (error) {
    if (!isFailure(error, "digest-mismatch")) throw error;
    throw new WireError("DIGEST_INVALID", "what was pushed has another digest");
  }
}

async function finish(from: RepositoryRequest, blob: Descriptor): Promise<Answer> {
  await from.repositories.linkBlob(from.repository.key, blob);
  return emptyAnswer(201, {
    location: locationOf(from, `blobs/${blob.digest}`),
    "docker-content-digest": blob.digest,
  });
}
