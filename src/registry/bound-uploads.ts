import type { Upload, Uploads } from "#content";
import { tooManyRequests } from "./too-many-requests.ts";

/** How many uploads may be under way. */
export interface UploadLimits {
  readonly uploadsMax?: number;
  readonly uploadsPerUserMax?: number;
}

/** A docker push has five uploads under way at once: that of a hundred machines, and a few that broke off. */
const UPLOADS_MAX = 1000;
const UPLOADS_PER_USER_MAX = 500;

/** When somebody who was refused comes again, in milliseconds: an upload may end at any time. */
const RETRY_AFTER_MS = 5_000;

/**
 * The same uploads, of which only so many may be under way, for each user and for all (S-57). Counted
 * is what was begun here; what an earlier process left is soon idle for long enough to be removed.
 *
 * @returns uploads whose `begin` throws {WireError} `TOOMANYREQUESTS` as well
 */
export function boundUploads(uploads: Uploads, limits: UploadLimits = {}): Uploads {
  const { uploadsMax = UPLOADS_MAX, uploadsPerUserMax = UPLOADS_PER_USER_MAX } = limits;
  const begun = new Set<BegunUpload>();

  const isFull = (user: string | null): boolean => {
    if (begun.size >= uploadsMax) return true;
    const own = begun.values().filter((upload) => upload.user === user);
    return user !== null && [...own].length >= uploadsPerUserMax;
  };

  // Looking when there is need, and not listening for every end, sees those too that were removed for idling.
  const forgetEnded = async (): Promise<void> => {
    for (const upload of begun) {
      if (upload.id !== undefined && (await uploads.find(upload.id)) === undefined) {
        begun.delete(upload);
      }
    }
  };

  return {
    find: (id) => uploads.find(id),
    removeIdle: (idleMs) => uploads.removeIdle(idleMs),
    async begin(repository, user): Promise<Upload> {
      if (isFull(user)) await forgetEnded();
      if (isFull(user)) throw tooManyRequests("too many uploads are under way", RETRY_AFTER_MS);
      const entry: BegunUpload = { user, id: undefined };
      begun.add(entry);
      try {
        const upload = await uploads.begin(repository, user);
        entry.id = upload.id;
        return upload;
      } catch (error) {
        begun.delete(entry);
        throw error;
      }
    },
  };
}

interface BegunUpload {
  readonly user: string | null;
  /** Undefined until it has begun. */
  id: string | undefined;
}
