import { isFailure } from "#base";
import { tryParseLocation } from "#reference";
import { type Access, type Action, type Caller, openAccess } from "./access.ts";
import { answerFrom } from "./answer.ts";
import { boundUploads, type UploadLimits } from "./bound-uploads.ts";
import { Catalog, repositoryKey, type ServedStore } from "./catalog.ts";
import { listRepositories } from "./list.ts";
import { actionOf, type Offer } from "./method.ts";
import { RememberedRepositories } from "./remembered.ts";
import { openRepository } from "./repository.ts";
import { isRepositoryName, parseRoute, type RepositoryRoute } from "./route.ts";
import { type Answer, errorAnswer, jsonAnswer, WireError } from "./wire.ts";

/** What a registry serves, to whom, and what else it offers. */
export interface RegistryOptions {
  readonly store: ServedStore;
  /** Who may do what. Everybody everything by default. */
  readonly access?: Access;
  /** A prefix under which every repository is served as well: the project of the site's images. */
  readonly project?: string;
  /** False: it is for reading, and every write is answered with 405 (S-67). True by default. */
  readonly isWritable?: boolean;
  /** False: what was pushed can't be deleted (S-28). True by default. */
  readonly isDeletable?: boolean;
  /** True: it lists its repositories (`_catalog`, S-27). False by default. */
  readonly isListed?: boolean;
  /** How many uploads may be under way. */
  readonly uploadLimits?: UploadLimits;
  /** Called once for each request, when its answer begins. */
  readonly onRequest?: (request: ServedRequest) => void;
}

/** One line of an access log. */
export interface ServedRequest {
  readonly method: string;
  /** Without the query. It is the client's text: escape it where it is shown. */
  readonly path: string;
  readonly status: number;
  /** Bytes of body that the answer has. */
  readonly bytes: number;
  readonly user: string | null;
  /** What went wrong inside, when the status is 500 or above. */
  readonly error?: unknown;
}

/** A registry as a function from request to response: it knows no socket. */
export interface Registry {
  readonly hasUsers: boolean;
  /** @param client where the request comes from, for limits: an address, or whatever else tells clients apart */
  fetch(request: Request, client?: string): Promise<Response>;
}

const COMMON_HEADERS = {
  // docker 1.x and its descendants look for this to know a registry.
  "docker-distribution-api-version": "registry/2.0",
  // Content is whatever somebody put into an image: no browser may take it for a page (S-34).
  "x-content-type-options": "nosniff",
};

/**
 * Serves a store by the OCI distribution specification 1.1: pull, push, discovery, management.
 *
 * The image `quay.io/team/app:v1` is the repository `quay.io/team/app`; also `<project>/quay.io/team/app`;
 * also `team/app` of a request that says `?ns=quay.io`, as containerd's do (S-41). Delivered content is
 * served from a repository only if one of its names leads to it, pushed content only where it was pushed.
 */
export function createRegistry(options: RegistryOptions): Registry {
  const { access = openAccess, onRequest } = options;
  const answerTo = createHandler(options, access);
  return {
    hasUsers: access.hasUsers,
    async fetch(request, client) {
      const url = new URL(request.url);
      let user: string | null = null;
      let error: unknown;
      let answer: Answer;
      try {
        // Before anything is looked at: who is not let in learns nothing of what there is (S-44).
        const caller = await access.authenticate(request, client);
        user = caller.user;
        answer = await answerTo(request, url, caller);
      } catch (thrown) {
        const wireError = toWireError(thrown, request);
        if (wireError.status >= 500) error = thrown;
        answer = errorAnswer(wireError);
      }
      const { method } = request;
      const isHead = method === "HEAD";
      if (onRequest !== undefined) {
        const { status } = answer;
        const bytes = isHead ? 0 : answer.bytes;
        const line = { method, path: url.pathname, status, bytes, user };
        onRequest(error === undefined ? line : { ...line, error });
      }
      return toResponse(answer, isHead);
    },
  };
}

function createHandler(options: RegistryOptions, access: Access) {
  const { store, project, isWritable = true, isDeletable = true, isListed = false } = options;
  const catalog = new Catalog(store, project);
  const repositories = new RememberedRepositories(store);
  const place = { store, repositories, catalog };
  const offer: Offer = { isWritable, isDeletable, isListed };
  // A store that is open for reading has none.
  const uploads = isWritable ? boundUploads(store.uploads, options.uploadLimits) : undefined;

  const answerIn = async (
    request: Request,
    url: URL,
    caller: Caller,
    route: RepositoryRoute,
  ): Promise<Answer> => {
    const action = actionOf(route.kind, request.method, offer);
    const { key, headers } = placeOf(route.name, url, project);
    access.demand(caller, action, key);
    const answer = await answerFrom(
      {
        ...place,
        uploads,
        repository: await openRepository(key, place),
        name: route.name,
        request,
        url,
        caller,
        mayPush: () => isWritable && may(access, caller, "push", key),
        openSource: async (name) => {
          const source = isRepositoryName(name) ? repositoryKey(name, project) : undefined;
          if (source === undefined || !may(access, caller, "pull", source)) return undefined;
          return openRepository(source, place);
        },
      },
      route,
    );
    return headers === undefined
      ? answer
      : { ...answer, headers: { ...answer.headers, ...headers } };
  };

  return async (request: Request, url: URL, caller: Caller): Promise<Answer> => {
    const route = parseRoute(url.pathname);
    if (route.kind !== "version" && route.kind !== "catalog") {
      return answerIn(request, url, caller, route);
    }
    actionOf(route.kind, request.method, offer);
    if (route.kind === "version") return versionAnswer(access);
    const mayPull = (repository: string) => may(access, caller, "pull", repository);
    return listRepositories(place, url, mayPull);
  };
}

/** Who was let in without a login learns here how to log in: skopeo and podman look for it (S-43). */
function versionAnswer({ challenge }: Access): Answer {
  return jsonAnswer({}, 200, challenge === null ? {} : { "www-authenticate": challenge });
}

function may(access: Access, caller: Caller, action: Action, repository: string): boolean {
  try {
    access.demand(caller, action, repository);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** Which repository a request means, and what the answer is to say about that. */
function placeOf(
  name: string,
  url: URL,
  project: string | undefined,
): { readonly key: string; readonly headers?: Readonly<Record<string, string>> } {
  // Most requests have no query, and to take one apart costs as much as a look at the disk.
  const namespace = url.search === "" ? null : url.searchParams.get("ns");
  if (namespace === null) return { key: repositoryKey(name, project) };
  const location = tryParseLocation(namespace);
  if (location === undefined || location.path !== "") {
    throw new WireError("NAME_UNKNOWN", "this registry has no such repository");
  }
  const { domain } = location;
  const headers = { "oci-namespace": domain };
  if (namesHost(name, domain)) return { key: repositoryKey(name, project), headers };
  return { key: repositoryKey(`${domain}/${name}`), headers };
}

/**
 * Whether a path names the host already: that of a mirror in whose address stands where images of the
 * host were uploaded to, `/v2/spectro-images/quay.io/team/app?ns=quay.io`.
 */
function namesHost(name: string, domain: string): boolean {
  return `/${name}`.includes(`/${domain.replace(":", "_")}/`);
}

function toResponse({ status, headers, body, bytes }: Answer, isHead: boolean): Response {
  const all: Record<string, string> = { ...COMMON_HEADERS, ...headers };
  if (status !== 304 && status !== 204) all["content-length"] = String(bytes);
  return new Response(isHead ? null : body, { status, headers: all });
}

function toWireError(error: unknown, { signal }: Request): WireError {
  if (error instanceof WireError) return error;
  if (isFailure(error, "store-full")) {
    return new WireError("INSUFFICIENT_STORAGE", "the disk of this registry is full");
  }
  // It was collected between the look and the use: whoever asks again gets the truth.
  if (isFailure(error, "content-missing")) {
    return new WireError("BLOB_UNKNOWN", "the content is not here any more");
  }
  if (isFailure(error, "upload-unknown")) {
    return new WireError("BLOB_UPLOAD_UNKNOWN", "the upload has ended");
  }
  if (isFailure(error, "store-busy")) {
    return new WireError("UNAVAILABLE", "the store is busy", { "retry-after": "1" });
  }
  // What the runtime throws into the reader of a body whose client is gone: nobody reads the answer.
  if (signal.aborted && !isFailure(error)) {
    return new WireError("BLOB_UPLOAD_INVALID", "the request broke off");
  }
  return new WireError("UNKNOWN", "the registry failed");
}
