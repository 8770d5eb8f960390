/** How a registry departs from the plainest reading of the protocol. By default it does not. */
export interface Manners {
  /** What it does with `PATCH`: false where it knows none and answers 405. */
  readonly patch?: PatchManners | false;
  /** The largest body of the `PUT` that ends an upload; 413 above. */
  readonly putBytesMax?: number;
  /** What it answers to `GET` of an upload: how much is here, or that it won't say. */
  readonly status?: "range" | "zero-zero" | 404 | 405;
  /** The form of a `Location`. `elsewhere`: on another host, where no credential of ours has business. */
  readonly location?:
    | "absolute"
    | "path"
    | "relative"
    | "schemeless"
    | "off-v2"
    | "elsewhere"
    | "elsewhere-with-query";
  /**
   * Locations carry a signed query that changes with every request, and must come back to the byte.
   * `latest`: an older one ends the upload, as distribution does where it is not at the byte that the
   * query says; `any`: an older one will do.
   */
  readonly state?: "latest" | "any";
  /** What it does with `mount`. Quay fails when no `from` comes with it. */
  readonly mount?:
    | "mounts"
    | "needs-from"
    | "opens-session"
    | 401
    | 403
    | 404
    | 405
    | 409
    | 500
    | 501;
  /** What `PUT` answers in place of 201. */
  readonly putStatus?: 200 | 201 | 202 | 204;
  /** Takes a body only with its length said before. */
  readonly needsLength?: boolean;
  /** Takes blob bytes only as `application/octet-stream`. */
  readonly isStrictOfType?: boolean;
  /** An upload whose body was cut is gone; else what came of it stays. */
  readonly forgetsCutUploads?: boolean;
  /** Says that it has taken what it dropped. */
  readonly lies?: "blob-not-stored" | "blob-digest" | "manifest-not-stored" | "manifest-digest";
  /** Keeps a list of referrers; without it, clients keep the fallback tag. */
  readonly hasReferrers?: boolean;
  /** Refuses an index with a child that it does not have. */
  readonly refusesAbsentChildren?: boolean;
  /** Asks for a Bearer token, each good for so many requests. */
  readonly requestsPerToken?: number;
  /** Gives manifests an `ETag`, and heeds `If-Match`; or takes any for another. */
  readonly etags?: "heeded" | "never-known";
  /** Repositories in which no tag can be moved. */
  readonly hasImmutableTags?: boolean;
}

/** What a registry does with a chunk. */
export interface PatchManners {
  readonly status?: 201 | 202 | 204;
  /**
   * What its `Range` says: how much of the blob is here; how much of this chunk; how much the first chunk
   * brought; nothing; with the unit before it; one byte too much.
   */
  readonly range?: "blob" | "chunk" | "first" | "none" | "with-unit" | "exclusive";
  /** A larger chunk is answered with 416 and the words of GHCR. */
  readonly bytesMax?: number;
  /** Announced as `OCI-Chunk-Min-Length`; an upload that ends after a smaller one is refused. */
  readonly bytesMin?: number;
}

/**
 * The registries of C-108, as far as they can be told from their answers. That a cut chunk ends an upload
 * was measured for distribution 2.8.2, and that it does not for 3.1.2; for zot it stands in its
 * source ("unexpected error, removing .uploads/ files", pkg/api/routes.go). Harbor is distribution 2.
 */
export const MANNERS = {
  plain: {},
  "Google Artifact Registry": { patch: false, status: 405, location: "off-v2", state: "latest" },
  GHCR: { patch: { bytesMax: 4 * 1024 * 1024 } },
  ECR: { patch: { status: 201, range: "first", bytesMin: 5 * 1024 * 1024 } },
  ACR: { putBytesMax: 20 * 1024 * 1024, needsLength: true, location: "path", state: "latest" },
  Quay: { mount: "needs-from", patch: { range: "with-unit" } },
  Artifactory: { location: "absolute" },
  Harbor: { location: "absolute", state: "latest", hasReferrers: true, forgetsCutUploads: true },
  zot: { patch: { range: "chunk" }, hasReferrers: true, forgetsCutUploads: true },
  "distribution 2": { state: "latest", isStrictOfType: true, forgetsCutUploads: true },
  "distribution 3": { state: "any", isStrictOfType: true },
  pulp: { patch: { status: 204 }, location: "path" },
} as const satisfies Readonly<Record<string, Manners>>;
