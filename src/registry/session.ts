import { isFailure } from "#base";
import type { Upload } from "#content";
import { bodyOf, contentLength, sizeInvalid } from "./body.ts";
import { parseChunkRange } from "./range.ts";
import { locationOf, type RepositoryRequest } from "./repository-request.ts";
import { type Answer, emptyAnswer, WireError } from "./wire.ts";

/**
 * The upload of an id, if it was begun in this repository by this user. To everybody else there is
 * none (S-30, SEC-21).
 *
 * @throws {WireError} `BLOB_UPLOAD_UNKNOWN`
 */
export async function findUpload(from: RepositoryRequest, id: string): Promise<Upload> {
  const upload = await from.uploads?.find(id);
  const isTheirs = upload?.repository === from.repository.key && upload.user === from.caller.user;
  if (upload !== undefined && isTheirs) return upload;
  throw new WireError("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
}

/** How far an upload is, and where it goes on: `0-0` also stands for nothing, as clients expect (S-3). */
export function uploadAnswer(from: RepositoryRequest, upload: Upload, status: number): Answer {
  return emptyAnswer(status, uploadHeaders(from, upload));
}

/** Tells how far an upload is. */
export async function sendUpload(from: RepositoryRequest, id: string): Promise<Answer> {
  return uploadAnswer(from, await findUpload(from, id), 204);
}

/** Gives an upload up, and all that came of it. */
export async function cancelUpload(from: RepositoryRequest, id: string): Promise<Answer> {
  await (await findUpload(from, id)).cancel();
  return emptyAnswer(204, {});
}

/**
 * Appends the body of the request to an upload: a chunk that says where it belongs, or a stream that
 * simply goes on (S-4).
 *
 * What is refused before it is read changes nothing: the client may go on from where the answer says.
 * A body that breaks off leaves what came of it.
 *
 * @throws {WireError} `RANGE_INVALID` for a chunk that is not the next, or while another request is at
 *   the upload (S-31); `SIZE_INVALID` for a body that is not as long as its range
 */
export async function appendBody(from: RepositoryRequest, upload: Upload): Promise<void> {
  const { request } = from;
  const range = request.headers.get("content-range");
  const bytesExpected = range === null ? undefined : checkChunk(from, upload, range);
  await orRangeInvalid(from, upload, () => {
    const body = bodyOf(request, bytesExpected ?? contentLength(request));
    return upload.append(body, { signal: request.signal });
  });
}

/** Runs what needs the upload for itself, and tells how far the upload is when another request has it. */
export async function orRangeInvalid<T>(
  from: RepositoryRequest,
  upload: Upload,
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!isFailure(error, "upload-busy")) throw error;
    throw rangeInvalid(from, upload, "another request is at this upload");
  }
}

/** How long a chunk must be, if it is the next. */
function checkChunk(from: RepositoryRequest, upload: Upload, header: string): number {
  const range = parseChunkRange(header);
  if (range === undefined) throw rangeInvalid(from, upload, "the Content-Range is not valid");
  if (range.start !== upload.bytes) throw rangeInvalid(from, upload, "the chunk is not the next");
  const bytes = range.end - range.start;
  if ((contentLength(from.request) ?? bytes) !== bytes) throw sizeInvalid(bytes);
  return bytes;
}

function rangeInvalid(from: RepositoryRequest, upload: Upload, message: string): WireError {
  return new WireError("RANGE_INVALID", message, uploadHeaders(from, upload));
}

function uploadHeaders(
  from: RepositoryRequest,
  { id, bytes }: Upload,
): Readonly<Record<string, string>> {
  return {
    location: locationOf(from, `blobs/uploads/${id}`),
    range: `0-${Math.max(bytes - 1, 0)}`,
    "docker-upload-uuid": id,
  };
}
