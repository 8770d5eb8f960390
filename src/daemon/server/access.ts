import { createHash, timingSafeEqual } from "node:crypto";
import { type Clock, Failure, Secret } from "#base";
import type { FileUsers } from "#registry";
import { LoginGuard } from "./login-guard.ts";
import { SESSION_MS, Sessions } from "./sessions.ts";

/** What somebody may do: nothing, look, or ask for actions as well. */
export type Role = "none" | "read" | "operate";

/** Who makes a request. */
export interface Caller {
  /** Null for who has not logged in. */
  readonly user: string | null;
  readonly role: Role;
  /** Who it was, for the journal: a user, `socket`, an address. */
  readonly by: string;
}

/** Who may do what with an agent. */
export interface ApiAccess {
  /** Whether there are users, so that others than this machine may reach it. */
  readonly hasUsers: boolean;
  /** Logins with a wrong password, since the start. */
  readonly failedLogins: number;
  /**
   * Who makes a request, by its cookie or its `Authorization`; nobody where it has neither.
   *
   * @param client where it comes from: an address, or `socket`
   * @throws {Failure} `login-failed`; `logins-too-many`; those of the file with the users
   */
  authenticate(request: Request, client: string): Promise<Caller>;
  /** Whether it carries the token that the metrics alone are given for. @throws {Failure} `logins-too-many` */
  isScraper(request: Request, client: string): Promise<boolean>;
  /**
   * Lets a user in, and out of the session before.
   *
   * @returns the caller and the cookie to set
   * @throws {Failure} as `authenticate`; `request-invalid` where nobody can log in
   */
  login(
    request: Request,
    client: string,
    user: string,
    password: Secret,
  ): Promise<{ readonly caller: Caller; readonly cookie: string }>;
  /** Ends the session. Gives the cookie to set. */
  logout(request: Request): string | null;
}

/** Everybody who gets through the door may do everything: what a socket file guards, and loopback. */
export function unguardedAccess(): ApiAccess {
  return {
    hasUsers: false,
    failedLogins: 0,
    authenticate: async (_request, client) => ({ user: null, role: "operate", by: client }),
    isScraper: async () => false,
    login: async () => {
      throw new Failure({
        code: "request-invalid",
        message: "Cannot log in: this agent has no users here, expected no login",
        hint: "Ask without one",
      });
    },
    logout: () => null,
  };
}

/** Who may use an agent that has users. */
export interface UserAccessOptions {
  readonly users: FileUsers;
  /** Those who may ask for actions; the others look. */
  readonly operators: ReadonlySet<string>;
  /** Whether it is served by TLS, so that a cookie may say that it goes nowhere else. */
  readonly isTls: boolean;
  readonly clock: Clock;
  /** Reads the token of those who fetch the metrics. @throws {Failure} when it can't be read */
  readonly metricsToken?: () => Secret;
  /** Told of each wrong password. */
  readonly onFailedLogin: (client: string) => void;
}

/**
 * Two roles over the users of an htpasswd file. People log in and get a session in a cookie, scripts send
 * Basic with each request. A session ends with its user's password.
 */
export function userAccess(options: UserAccessOptions): ApiAccess {
  const { users, operators, isTls, clock, metricsToken, onFailedLogin } = options;
  const sessions = new Sessions(clock);
  const guard = new LoginGuard(clock);
  const cookies = sessionCookies(isTls);
  let failedLogins = 0;

  const callerOf = (user: string): Caller => {
    return { user, role: operators.has(user) ? "operate" : "read", by: user };
  };
  const counted = (client: string, isRight: boolean): boolean => {
    if (!isRight) {
      failedLogins += 1;
      onFailedLogin(client);
    }
    return isRight;
  };
  const checked = async (client: string, user: string, password: Secret): Promise<Caller> => {
    const isRight = await guard.run(client, user, (beforeComparing) =>
      users.verify(user, password.reveal(), beforeComparing),
    );
    if (!counted(client, isRight)) throw loginFailed();
    return callerOf(user);
  };
  const bySession = (request: Request): Caller | undefined => {
    const token = cookies.read(request);
    const session = token === undefined ? undefined : sessions.use(token);
    if (session === undefined) return undefined;
    const isTheSame = users.passwordVersion(session.user) === session.passwordVersion;
    return isTheSame ? callerOf(session.user) : undefined;
  };

  return {
    hasUsers: true,
    get failedLogins() {
      return failedLogins;
    },

    async authenticate(request, client) {
      const login = parseBasic(request.headers.get("authorization"));
      if (login !== undefined) return checked(client, login.user, login.password);
      return bySession(request) ?? { user: null, role: "none", by: client };
    },

    async isScraper({ headers }, client) {
      const [, token] = /^bearer +([!-~]+)$/i.exec(headers.get("authorization") ?? "") ?? [];
      if (token === undefined || metricsToken === undefined) return false;
      const isRight = await guard.run(client, SCRAPER, async (beforeComparing) => {
        beforeComparing();
        return isSame(token, metricsToken().reveal());
      });
      return counted(client, isRight);
    },

    async login(request, client, user, password) {
      const caller = await checked(client, user, password);
      const before = cookies.read(request);
      if (before !== undefined) sessions.close(before);
      const token = sessions.open(user, users.passwordVersion(user) ?? "");
      return { caller, cookie: cookies.write(token, SESSION_MS / 1000) };
    },

    logout(request) {
      const token = cookies.read(request);
      if (token !== undefined) sessions.close(token);
      return cookies.write("", 0);
    },
  };
}

/** No user is called so: the name of one ends at a colon. */
const SCRAPER = ":metrics";

function isSame(token: string, expected: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return expected !== "" && timingSafeEqual(hash(token), hash(expected));
}

function sessionCookies(isTls: boolean) {
  // A browser takes a cookie of such a name by TLS alone, from this very host, for all of its paths.
  const name = isTls ? "__Host-drayage" : "drayage";
  const value = new RegExp(`(?:^|;\\s*)${name}=([\\w-]{43})(?:;|$)`);
  return {
    read: ({ headers }: Request): string | undefined => {
      return value.exec(headers.get("cookie") ?? "")?.[1];
    },
    write: (token: string, maxAgeSeconds: number): string => {
      const secure = isTls ? "; Secure" : "";
      return `${name}=${token}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Strict${secure}`;
    },
  };
}

/** Name and password of Basic (RFC 7617). */
function parseBasic(
  header: string | null,
): { readonly user: string; readonly password: Secret } | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/=]+)$/i.exec((header ?? "").trim()) ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 1) return undefined;
  return { user: text.slice(0, colon), password: new Secret(text.slice(colon + 1)) };
}

function loginFailed(): Failure {
  return new Failure({
    code: "login-failed",
    message:
      "Cannot log in: the user or the password is wrong, expected those of the htpasswd file",
    hint: "Check both; an administrator of the site sets a new one with `htpasswd -B FILE USER`",
  });
}
