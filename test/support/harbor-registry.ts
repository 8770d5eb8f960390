import { createHash, createPublicKey, verify } from "node:crypto";
import { testCertificates } from "./certificates.ts";
import { signToken } from "./docker-registry.ts";
import { matchesRule } from "./harbor-rules.ts";
import {
  type Caller,
  callerOf,
  type HarborState,
  harborError,
  type ProjectState,
  readOnlyError,
  repositoryActions,
  type TokenAccess,
  usedBytes,
} from "./harbor-state.ts";

/** The registry behind Harbor, which does what it is told by who has this access. */
export type Upstream = (request: Request, access: readonly TokenAccess[]) => Promise<Response>;

/** What Harbor's core is made of, as far as its `/v2/` and `/service/token` go. */
export interface HarborRegistry {
  answer(request: Request): Promise<Response>;
  answerToken(request: Request): Response;
}

const SERVICE = "harbor-registry";

/** What Harbor's tokens live, which outlive the robot that they were given to. */
const TOKEN_SECONDS = 1800;

interface Target {
  readonly repository: string;
  readonly kind: string;
  /** Digest, tag, or the id of an upload. */
  readonly rest: string;
}

/** A request that has come past who asks. */
interface Passed {
  readonly request: Request;
  readonly url: URL;
  readonly target: Target;
  readonly project: ProjectState;
  readonly access: readonly TokenAccess[];
}

/**
 * Harbor's core in front of a registry: tokens, projects, and what must hold before a push goes
 * through to the registry (`src/server/middleware`: v2auth, readonly, immutable, quota, subject).
 */
export function createHarborRegistry(
  state: HarborState,
  upstream: Upstream,
  externalUrl: () => string,
): HarborRegistry {
  /** Bytes of each upload so far. */
  const uploads = new Map<string, number>();
  const referrers = new Map<string, object[]>();

  const answer = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    const caller = identify(state, request);
    if (url.pathname === "/v2/") {
      return caller.kind === "nobody"
        ? unauthorized(request, externalUrl(), [], "unauthorized")
        : Response.json({});
    }
    if (url.pathname === "/v2/_catalog") return harborError(403, "DENIED", "catalog is not listed");
    const target = parseTarget(url.pathname);
    if (target === undefined) return harborError(404, "NOT_FOUND", "page not found");
    const wanted = wantedAccess(request, url, target);
    if (request.method === "HEAD" && !request.headers.has("authorization")) {
      const why = "authorize header needed to send HEAD to repository";
      return unauthorized(request, externalUrl(), wanted, why);
    }
    for (const { name, actions } of wanted) {
      const project = state.projects.get(projectIn(name));
      if (project === undefined) return noProject(projectIn(name));
      const granted = repositoryActions(caller, project, name);
      const missing = actions.find((action) => !granted.includes(action));
      if (missing === undefined) continue;
      const why = `unauthorized to access repository: ${name}, action: ${missing}`;
      return unauthorized(request, externalUrl(), wanted, why);
    }
    const project = state.projects.get(projectIn(target.repository));
    if (project === undefined) return noProject(projectIn(target.repository));
    return answerPassed({ request, url, target, project, access: wanted });
  };

  const answerPassed = async (passed: Passed): Promise<Response> => {
    const { request, target } = passed;
    const isChange = !["GET", "HEAD"].includes(request.method);
    if (isChange && state.isReadOnly) return readOnlyError();
    if (target.kind === "referrers") return listReferrers(referrers, target);
    if (target.kind === "manifests" && request.method === "PUT") return putManifest(passed);
    if (target.kind === "uploads") return changeUpload(passed);
    return forward(passed, request);
  };

  const forward = async (passed: Passed, request: Request): Promise<Response> => {
    const response = await upstream(request, passed.access);
    const headers = new Headers(response.headers);
    const location = headers.get("location");
    // Harbor has its registry write them so (`relativeurls`).
    if (location !== null) {
      const absolute = new URL(location, request.url);
      headers.set("location", `${absolute.pathname}${absolute.search}`);
    }
    return new Response(response.body, { status: response.status, headers });
  };

  const putManifest = async (passed: Passed): Promise<Response> => {
    const { request, target, project } = passed;
    const path = target.repository.slice(project.name.length + 1);
    const isFixed =
      !target.rest.includes(":") &&
      project.immutableRules.some((rule) => matchesRule(rule, path, target.rest));
    if (isFixed && (await tagIsThere(passed))) {
      const name = `${path}:${target.rest}`;
      const why = `Failed to process request due to '${name}' configured as immutable.`;
      return harborError(412, "PRECONDITION", why);
    }
    const bytes = new Uint8Array(await request.arrayBuffer());
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const refusal = overQuota(project, digest, bytes.byteLength);
    if (refusal !== undefined) return refusal;
    const response = await forward(passed, new Request(request, { body: bytes }));
    if (response.status !== 201) return response;
    project.content.set(digest, bytes.byteLength);
    return noteSubject(referrers, target, { digest, bytes }, response);
  };

  const tagIsThere = async ({ request, access, target }: Passed): Promise<boolean> => {
    const head = new Request(request.url, { method: "HEAD", headers: acceptAll(request) });
    const response = await upstream(head, access);
    await response.body?.cancel();
    return response.status === 200 && target.rest !== "";
  };

  const changeUpload = async (passed: Passed): Promise<Response> => {
    const { request, url, target, project } = passed;
    const mounted = url.searchParams.get("mount");
    const digest = url.searchParams.get("digest");
    const sizeBytes = Number(request.headers.get("content-length") ?? 0);
    const wholeBytes = sizeBytes + (uploads.get(target.rest) ?? 0);
    if (mounted !== null) {
      const from = state.projects.get(projectIn(url.searchParams.get("from") ?? ""));
      const bytes = from?.content.get(mounted) ?? 0;
      const refusal = overQuota(project, mounted, bytes);
      if (refusal !== undefined) return refusal;
      const response = await forward(passed, request);
      if (response.status === 201) project.content.set(mounted, bytes);
      return response;
    }
    if (digest !== null && request.method !== "DELETE") {
      const refusal = overQuota(project, digest, wholeBytes);
      if (refusal !== undefined) {
        await request.body?.cancel();
        return refusal;
      }
    }
    const response = await forward(passed, request);
    if (response.status === 201 && digest !== null) project.content.set(digest, wholeBytes);
    if (response.status === 202 && request.method === "PATCH") uploads.set(target.rest, wholeBytes);
    return response;
  };

  return {
    answer,
    answerToken(request) {
      const url = new URL(request.url);
      const caller = callerOf(state, request.headers.get("authorization"));
      const scopes = url.searchParams.getAll("scope").flatMap((scope) => scope.split(" "));
      if (caller.kind === "nobody" && scopes.every((scope) => scope === "")) {
        return harborError(401, "UNAUTHORIZED", "unauthorized");
      }
      const access = scopes.flatMap((scope) => grantedAccess(state, caller, scope));
      const token = signToken(access, SERVICE);
      const issued_at = new Date().toISOString();
      return Response.json({ token, access_token: "", expires_in: TOKEN_SECONDS, issued_at });
    },
  };
}

/** What a scope comes to: all that one may do there, whatever was asked for; nothing where no project is. */
function grantedAccess(state: HarborState, caller: Caller, scope: string): readonly TokenAccess[] {
  const [, name] = /^repository:(.+):[^:]*$/.exec(scope) ?? [];
  if (name === undefined) return [];
  const project = state.projects.get(projectIn(name));
  const actions = project === undefined ? [] : repositoryActions(caller, project, name);
  return [{ type: "repository", name, actions: [...new Set(actions)] }];
}

function identify(state: HarborState, request: Request): Caller {
  const authorization = request.headers.get("authorization");
  const [, token] = /^Bearer (\S+)$/i.exec(authorization ?? "") ?? [];
  if (token === undefined) return callerOf(state, authorization);
  const access = readToken(token);
  return access === undefined ? { kind: "nobody" } : { kind: "token", access };
}

function readToken(token: string): readonly TokenAccess[] | undefined {
  const [header, claims, signature] = token.split(".");
  if (header === undefined || claims === undefined || signature === undefined) return undefined;
  const key = createPublicKey(testCertificates().server.certificate);
  const isOurs = verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  if (!isOurs) return undefined;
  const { aud, exp, access } = JSON.parse(Buffer.from(claims, "base64url").toString("utf8"));
  return aud === SERVICE && exp * 1000 > Date.now() ? access : undefined;
}

function parseTarget(path: string): Target | undefined {
  const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/.exec(path);
  if (upload !== null) {
    return { repository: upload[1] ?? "", kind: "uploads", rest: upload[2] ?? "" };
  }
  const [, repository, kind, rest] =
    /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path) ?? [];
  if (repository === undefined || kind === undefined || rest === undefined) return undefined;
  return { repository, kind, rest };
}

const ACTION_OF_METHOD: Readonly<Record<string, string>> = {
  ...{ GET: "pull", HEAD: "pull", DELETE: "delete" },
};

/** Who begins an upload as a mount must be allowed to pull from where it mounts. */
function wantedAccess(request: Request, url: URL, target: Target): readonly TokenAccess[] {
  const action = ACTION_OF_METHOD[request.method] ?? "push";
  const wanted = [{ type: "repository", name: target.repository, actions: [action] }];
  const from = url.searchParams.get("from");
  const isMount = request.method === "POST" && url.searchParams.has("mount") && from !== null;
  return isMount ? [...wanted, { type: "repository", name: from, actions: ["pull"] }] : wanted;
}

function projectIn(repository: string): string {
  return repository.split("/")[0] ?? "";
}

function noProject(name: string): Response {
  return harborError(401, "UNAUTHORIZED", `project ${name} not found`, {
    "docker-distribution-api-version": "registry/2.0",
    "www-authenticate": "",
  });
}

/** Whoever came with a credential is asked for Basic, the others are sent to the token service. */
function unauthorized(
  request: Request,
  base: string,
  wanted: readonly TokenAccess[],
  why: string,
): Response {
  const scope = wanted.map(({ name, actions }) => `repository:${name}:${actions.join(",")}`);
  const bearer = `Bearer realm="${base}/service/token",service="${SERVICE}"`;
  const challenge = request.headers.has("authorization")
    ? 'Basic realm="harbor"'
    : `${bearer}${scope.length === 0 ? "" : `,scope="${scope.join(" ")}"`}`;
  return harborError(401, "UNAUTHORIZED", why, {
    "docker-distribution-api-version": "registry/2.0",
    "www-authenticate": challenge,
  });
}

function overQuota(project: ProjectState, digest: string, bytes: number): Response | undefined {
  const { quotaBytes, content } = project;
  const used = usedBytes(project);
  if (quotaBytes === -1 || content.has(digest) || used + bytes <= quotaBytes) return undefined;
  const mib = (count: number) => `${(count / 1024 ** 2).toFixed(1)} MiB`;
  const over = `adding ${mib(bytes)} of storage resource, which when updated to current usage of ${mib(used)} will exceed the configured upper limit of ${mib(quotaBytes)}.`;
  return harborError(403, "DENIED", `Quota exceeded when processing the request of ${over}`);
}

function acceptAll(request: Request): Headers {
  return new Headers({
    accept: [
      "application/vnd.oci.image.manifest.v1+json",
      "application/vnd.oci.image.index.v1+json",
      "application/vnd.docker.distribution.manifest.v2+json",
      "application/vnd.docker.distribution.manifest.list.v2+json",
    ].join(", "),
    host: request.headers.get("host") ?? "",
  });
}

/** Harbor keeps referrers itself; its registry behind knows nothing of them. */
function noteSubject(
  referrers: Map<string, object[]>,
  { repository }: Target,
  { digest, bytes }: { digest: string; bytes: Uint8Array },
  response: Response,
): Response {
  const { mediaType, artifactType, config, subject, annotations } = JSON.parse(
    new TextDecoder().decode(bytes),
  );
  if (typeof subject?.digest !== "string") return response;
  const key = `${repository}@${subject.digest}`;
  const others = (referrers.get(key) ?? []).filter((known) => Object(known).digest !== digest);
  const type = artifactType ?? config?.mediaType;
  const size = bytes.byteLength;
  referrers.set(key, [...others, { mediaType, digest, size, artifactType: type, annotations }]);
  const headers = new Headers(response.headers);
  headers.set("oci-subject", subject.digest);
  return new Response(response.body, { status: response.status, headers });
}

function listReferrers(
  referrers: ReadonlyMap<string, readonly object[]>,
  { repository, rest }: Target,
): Response {
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const manifests = referrers.get(`${repository}@${rest}`) ?? [];
  const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
  return new Response(body, { headers: { "content-type": mediaType } });
}
