import type { Clock } from "#base";
import type { Users } from "./htpasswd.ts";
import { LoginAttempts } from "./login-attempts.ts";
import { WireError } from "./wire.ts";

/** Who makes a request. */
export interface Caller {
  /** Null for somebody who has not logged in, where that is allowed. */
  readonly user: string | null;
}

/** What a request wants with a repository. */
export type Action = "pull" | "push" | "delete";

/** Who may do what. It is asked twice for each request: before the path is looked at, and once it is parsed. */
export interface Access {
  /** Whether there are users, so that others than this machine may reach the registry (SEC-16). */
  readonly hasUsers: boolean;
  /** For the answer to `/v2/`, from which clients learn how to log in; null when nobody can. */
  readonly challenge: string | null;
  /**
   * Tells who makes a request. It comes before anything is looked at: who is not let in learns nothing
   * of what there is (S-44).
   *
   * @param client where the request comes from, for limits: an address, or whatever else tells clients apart
   * @throws {WireError} `UNAUTHORIZED` with the challenge; `TOOMANYREQUESTS`
   * @throws {Failure} of the file with the users
   */
  authenticate(request: Request, client?: string): Promise<Caller>;
  /**
   * Stops what the caller has no right to. It is asked with the path as it was parsed, for every verb
   * (S-55), and for the `from` of a mount.
   *
   * @throws {WireError} `UNAUTHORIZED` when logging in may help, else `DENIED`
   */
  demand(caller: Caller, action: Action, repository: string): void;
}

/** Nobody is asked, and everything is allowed: what a registry on loopback does by default. */
export const openAccess: Access = {
  hasUsers: false,
  challenge: null,
  authenticate: async () => ({ user: null }),
  demand: () => {},
};

/** Who may use a registry that has users. */
export interface AccessOptions {
  readonly users: Users;
  /** Those who may push and delete. By default every user may, as in other registries with an htpasswd file. */
  readonly pushers?: ReadonlySet<string>;
  /** Whether pulling needs no login. */
  readonly anonymousPull?: boolean;
  readonly clock: Clock;
}

/**
 * Two roles over a list of users: all of them pull, and all or some of them push and delete too.
 *
 * With anonymous pull, `/v2/` is open as well, for docker gives up on a 401 when it has no password.
 * The challenge is sent along: skopeo and podman log in by it, crane by the 401 that a push gets
 * (measured). docker looks for it in a 401 of `/v2/` alone, so it can't push to such a registry.
 */
export function createAccess(options: AccessOptions): Access {
  const { users, pushers, anonymousPull = false, clock } = options;
  const attempts = new LoginAttempts(clock);

  return {
    hasUsers: true,
    challenge: CHALLENGE,

    async authenticate({ headers }, client = "") {
      const login = parseLogin(headers.get("authorization"));
      if (login === "none" && anonymousPull) return { user: null };
      if (typeof login === "string") throw unauthorized();
      const isRight = await attempts.run(client, login.username, (beforeComparing) =>
        users.verify(login.username, login.password, beforeComparing),
      );
      if (!isRight) throw unauthorized();
      return { user: login.username };
    },

    demand({ user }, action, repository) {
      if (action === "pull" && (anonymousPull || user !== null)) return;
      if (user === null) throw unauthorized();
      if (action !== "pull" && (pushers === undefined || pushers.has(user))) return;
      throw new WireError("DENIED", `this user may not ${action} in ${repository}`);
    },
  };
}

const CHALLENGE = 'Basic realm="drayage", charset="UTF-8"';

function unauthorized(): WireError {
  return new WireError("UNAUTHORIZED", "a user and the password are needed", {
    "www-authenticate": CHALLENGE,
  });
}

/** Name and password of Basic (RFC 7617). */
interface Login {
  readonly username: string;
  readonly password: string;
}

function parseLogin(header: string | null): Login | "none" | "unusable" {
  if (header === null) return "none";
  const [, encoded] = /^basic +([A-Za-z0-9+/=]+)$/i.exec(header.trim()) ?? [];
  const text = Buffer.from(encoded ?? "", "base64").toString("utf8");
  // What skopeo sends when it has no login but was shown a challenge.
  if (text === ":") return "none";
  const colon = text.indexOf(":");
  if (colon < 1) return "unusable";
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
