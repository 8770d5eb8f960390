import { deleteBlob, deleteManifest } from "./delete.ts";
import { listTags } from "./list.ts";
import { sendBlob, sendManifest } from "./pull.ts";
import { appendToUpload, beginUpload, endUpload } from "./push-blob.ts";
import { putManifest } from "./push-manifest.ts";
import { listReferrers } from "./referrers.ts";
import type { RepositoryRequest } from "./repository-request.ts";
import type { RepositoryRoute } from "./route.ts";
import { cancelUpload, sendUpload } from "./session.ts";
import type { Answer } from "./wire.ts";

/**
 * Answers for a repository. That the method is one of those offered was seen to before.
 *
 * @throws {WireError} what the client is to be told
 */
export async function answerFrom(from: RepositoryRequest, route: RepositoryRoute): Promise<Answer> {
  const { method } = from.request;
  switch (route.kind) {
    case "tags":
      return listTags(from);
    case "referrers":
      return listReferrers(from, route.digest);
    case "manifest":
      if (method === "PUT") return putManifest(from, route.reference);
      if (method === "DELETE") return deleteManifest(from, route.reference);
      return sendManifest(from, route.reference);
    case "blob":
      return method === "DELETE" ? deleteBlob(from, route.digest) : sendBlob(from, route.digest);
    case "uploads":
      return beginUpload(from);
    case "upload":
      if (method === "PATCH") return appendToUpload(from, route.id);
      if (method === "PUT") return endUpload(from, route.id);
      if (method === "DELETE") return cancelUpload(from, route.id);
      return sendUpload(from, route.id);
  }
}
