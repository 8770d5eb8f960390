import { type Clock, Failure, quoted } from "#base";
import type { AgentControl } from "../control.ts";
import type { PageAsset } from "../page/page.ts";
import type { ApiAccess, Caller, Role } from "./access.ts";
import { type Answer, packed, unlessKnown } from "./answer.ts";
import { Events } from "./events.ts";
import { problemAnswer } from "./problem.ts";
import { type Asked, meOf, ROUTES, type Route } from "./routes.ts";
import { demandLoopbackHost, demandSameSite } from "./same-site.ts";

/** What an API is made of. */
export interface ApiOptions {
  readonly control: AgentControl;
  /** The files of the status page; none on a socket. */
  readonly page: readonly PageAsset[];
  /** The policy that the page is served with. */
  readonly pagePolicy: string;
  readonly access: ApiAccess;
  /** Whether it answers for names of loopback alone: not behind a socket, nor behind a login. */
  readonly isLoopbackOnly: boolean;
  readonly clock: Clock;
  /** Told of what is answered with a 500. */
  readonly onError: (error: unknown) => void;
}

/** An agent's API without a socket: requests in, answers out. */
export interface Api {
  readonly hasUsers: boolean;
  /** @param client where it comes from: an address, or `socket` */
  fetch(request: Request, client: string): Promise<Response>;
  /** Lets go of all who follow events. */
  close(): void;
}

/** An API that answers from an agent. Every answer has the headers that keep a browser from harm. */
export function createApi(options: ApiOptions): Api {
  const { control, page, pagePolicy, access, isLoopbackOnly, clock, onError } = options;
  const events = new Events({ control, clock });
  const assets = new Map(page.map((asset) => [asset.path, asset]));
  const requests = new Map<number, number>();
  const place = {
    ...{ control, access, events, clock },
    counts: () => ({ readers: events.readers, requests, failedLogins: access.failedLogins }),
  };

  async function answer(request: Request, client: string): Promise<Answer> {
    if (isLoopbackOnly) demandLoopbackHost(request);
    const { pathname, searchParams: query } = targetOf(request);
    const asset = assets.get(pathname);
    if (asset !== undefined) {
      demandMethod(request, ["GET"]);
      const own = (await told(asset, request, client)) ?? asset;
      return unlessKnown(request, assetAnswer(own, pagePolicy));
    }
    const { route, name } = findRoute(request, pathname);
    demandSameSite(request);
    const caller = await callerOf(request, client, route);
    demandRole(caller, route.role);
    const asked: Asked = { request, query, name, client, caller };
    return route.answer(asked, place);
  }

  /** Who logs in or out, or asks for what is open, needs to be nobody: a stale login is in nobody's way. */
  async function callerOf(request: Request, client: string, { path, role }: Route) {
    if (path === "/metrics" && (await access.isScraper(request, client))) return SCRAPER;
    if (role === "none" && path !== "/api/v1/me") return { user: null, role, by: client };
    return access.authenticate(request, client);
  }

  /** The page is there for everybody, a state is not. A password is asked for and tried elsewhere. */
  async function told({ telling }: PageAsset, request: Request, client: string) {
    if (telling === undefined || request.headers.has("authorization")) return undefined;
    const caller = await access.authenticate(request, client);
    if (RANK[caller.role] < RANK.read) return undefined;
    return telling({ state: control.state(), me: meOf(caller, access) });
  }

  return {
    hasUsers: access.hasUsers,
    close: () => events.close(),
    async fetch(request, client) {
      let made: Answer;
      try {
        made = await answer(request, client);
      } catch (error) {
        made = problemAnswer(error, challengeFor(request));
        if (made.status === 500) onError(error);
      }
      requests.set(made.status, (requests.get(made.status) ?? 0) + 1);
      const { status, headers, body } = await packed(request, made);
      return new Response(body, { status, headers: { ...GUARDS, ...headers } });
    },
  };
}

const SCRAPER: Caller = { user: null, role: "read", by: "metrics" };

/** What every answer says to a browser: nothing of it may be framed, sniffed, embedded or run. */
const GUARDS: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

function assetAnswer({ contentType, etag, body, cacheControl }: PageAsset, policy: string): Answer {
  return {
    status: 200,
    headers: {
      ...{ "content-type": contentType, etag },
      "content-security-policy": policy,
      "cache-control": cacheControl,
    },
    body,
  };
}

/** Path and query alone: `Host` is part of the URL, may be missing, and may be none that a URL can have. */
function targetOf({ url }: Request): URL {
  const target = url.replace(/^https?:\/\/[^/?#]*/i, "");
  return new URL(`http://localhost${target.startsWith("/") ? "" : "/"}${target}`);
}

/** How to log in. A browser that is told of Basic asks by itself, over the page that can do it better. */
function challengeFor({ headers }: Request): string {
  const isBrowser = headers.has("sec-fetch-mode");
  return isBrowser ? 'Session realm="drayage"' : 'Basic realm="drayage", charset="UTF-8"';
}

interface FoundRoute {
  readonly route: Route;
  readonly name: string;
}

function findRoute(request: Request, pathname: string): FoundRoute {
  const found = ROUTES.flatMap((route) => {
    const name = matched(route.path, pathname);
    return name === undefined ? [] : [{ route, name }];
  });
  if (found.length === 0) throw notFound(pathname);
  const isHead = request.method === "HEAD";
  const verb = isHead ? "GET" : request.method;
  const own = found.find(({ route }) => route.method === verb);
  if (own === undefined || (isHead && own.route.path.endsWith("/events"))) {
    throw wrongMethod(
      request.method,
      found.map(({ route }) => route.method),
    );
  }
  return own;
}

/** The variable part, empty where there is none; undefined for another path. */
function matched(pattern: string, pathname: string): string | undefined {
  const [before = "", after] = pattern.split("{name}");
  if (after === undefined) return pathname === pattern ? "" : undefined;
  const isIt = pathname.startsWith(before) && !pathname.slice(before.length).includes("/");
  return isIt ? pathname.slice(before.length) : undefined;
}

function demandMethod({ method }: Request, allowed: readonly string[]): void {
  if (method !== "HEAD" && !allowed.includes(method)) throw wrongMethod(method, allowed);
}

const RANK: Readonly<Record<Role, number>> = { none: 0, read: 1, operate: 2 };

function demandRole({ role, user }: Caller, needed: Role): void {
  if (RANK[role] >= RANK[needed]) return;
  if (role === "none") {
    throw new Failure({
      code: "login-required",
      message: "Cannot answer: nobody has logged in, expected a user of this agent",
      hint: "Log in on the status page, or send user and password with each request",
    });
  }
  throw new Failure({
    code: "role-missing",
    message: `Cannot do this for ${quoted(user ?? "")}: the user may look, expected an operator`,
    hint: "Ask an operator, or have the user added to the operators in the site file",
  });
}

function notFound(pathname: string): Failure {
  return new Failure({
    code: "not-found",
    message: `Cannot find ${quoted(pathname)}, expected a path of the API or of the status page`,
    hint: "The API is described at /api/openapi.json",
  });
}

function wrongMethod(method: string, allowed: readonly string[]): Failure {
  return new Failure({
    code: "method-not-allowed",
    message: `Cannot ${quoted(method)} here, expected ${allowed.join(" or ")}`,
    hint: "The API is described at /api/openapi.json",
  });
}
