import { tryParseLocation } from "#reference";
import { answerFrom } from "./answer.ts";
import { Catalog, type Repository, repositoryKey, type ServedStore } from "./catalog.ts";
import type { Users } from "./htpasswd.ts";
import { parseRoute } from "./route.ts";
import { type Answer, errorAnswer, jsonAnswer, WireError } from "./wire.ts";

/** What a registry serves, and to whom. */
export interface RegistryOptions {
  readonly store: ServedStore;
  /** With users, every request needs one of them; without, nobody is asked. */
  readonly users?: Users;
  /** A prefix under which every repository is served as well: the project of the site's images. */
  readonly project?: string;
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
  /** What went wrong inside, when the status is 500. */
  readonly error?: unknown;
}

/** A registry as a function from request to response: it knows no socket. */
export interface Registry {
  readonly hasUsers: boolean;
  fetch(request: Request): Promise<Response>;
}

const COMMON_HEADERS = {
  // docker 1.x and its descendants look for this to know a registry.
  "docker-distribution-api-version": "registry/2.0",
  // Content is whatever somebody put into an image: no browser may take it for a page (S-34).
  "x-content-type-options": "nosniff",
};

/**
 * Serves the images of a store by the OCI distribution specification, for reading.
 *
 * The image `quay.io/team/app:v1` is the repository `quay.io/team/app`; also `<project>/quay.io/team/app`;
 * also `team/app` of a request that says `?ns=quay.io`, as containerd's do (S-41). Content is served
 * from a repository only if one of its names leads to it.
 */
export function createRegistry(options: RegistryOptions): Registry {
  const { store, users, project, onRequest } = options;
  const catalog = new Catalog(store);

  const answerTo = async (request: Request, url: URL): Promise<Answer> => {
    if (request.method !== "GET" && request.method !== "HEAD") throw unsupported();
    const route = parseRoute(url.pathname);
    if (route.kind === "version") return jsonAnswer({});
    const found = await findRepository(catalog, route.name, url, project);
    const answer = await answerFrom({ catalog, repository: found.repository, request, url }, route);
    return { ...answer, headers: { ...answer.headers, ...found.headers } };
  };

  return {
    hasUsers: users !== undefined,
    async fetch(request) {
      const url = new URL(request.url);
      let user: string | null = null;
      let error: unknown;
      let answer: Answer;
      try {
        // Before anything is looked at: who is not let in learns nothing of what there is (S-44).
        user = users === undefined ? null : await authenticate(request, users);
        answer = await answerTo(request, url);
      } catch (thrown) {
        const wireError = toWireError(thrown);
        if (wireError.code === "UNKNOWN") error = thrown;
        answer = errorAnswer(wireError);
      }
      const isHead = request.method === "HEAD";
      const { status } = answer;
      const bytes = isHead ? 0 : answer.bytes;
      const path = url.pathname;
      onRequest?.({
        method: request.method,
        path,
        status,
        bytes,
        user,
        ...(error ? { error } : {}),
      });
      return toResponse(answer, isHead);
    },
  };
}

function toResponse({ status, headers, body, bytes }: Answer, isHead: boolean): Response {
  const length = status === 304 ? {} : { "content-length": String(bytes) };
  return new Response(isHead ? null : body, {
    status,
    headers: { ...COMMON_HEADERS, ...headers, ...length },
  });
}

async function authenticate({ headers }: Request, users: Users): Promise<string> {
  const [, encoded] = /^basic +([A-Za-z0-9+/=]+)$/i.exec(headers.get("authorization") ?? "") ?? [];
  const text = Buffer.from(encoded ?? "", "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon > 0 && (await users.verify(text.slice(0, colon), text.slice(colon + 1)))) {
    return text.slice(0, colon);
  }
  throw new WireError("UNAUTHORIZED", "a user and the password are needed", {
    "www-authenticate": 'Basic realm="drayage", charset="UTF-8"',
  });
}

async function findRepository(
  catalog: Catalog,
  name: string,
  url: URL,
  project: string | undefined,
): Promise<{ repository: Repository; headers: Readonly<Record<string, string>> }> {
  const namespace = url.searchParams.get("ns");
  if (namespace !== null) {
    const location = tryParseLocation(namespace);
    const isHost = location !== undefined && location.path === "";
    const key = isHost ? repositoryKey(`${location.domain}/${name}`) : undefined;
    const repository = key === undefined ? undefined : await catalog.repository(key);
    if (repository === undefined) throw nameUnknown();
    return { repository, headers: { "oci-namespace": location?.domain ?? "" } };
  }
  const prefix = `${project ?? ""}/`;
  const inProject = project !== undefined && name.startsWith(prefix);
  const repository =
    (await catalog.repository(repositoryKey(name))) ??
    (inProject ? await catalog.repository(repositoryKey(name.slice(prefix.length))) : undefined);
  if (repository === undefined) throw nameUnknown();
  return { repository, headers: {} };
}

function toWireError(error: unknown): WireError {
  return error instanceof WireError ? error : new WireError("UNKNOWN", "the registry failed");
}

function nameUnknown(): WireError {
  return new WireError("NAME_UNKNOWN", "this registry has no such repository");
}

function unsupported(): WireError {
  return new WireError("UNSUPPORTED", "this registry is for reading", { allow: "GET, HEAD" });
}
