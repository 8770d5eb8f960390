import { describe, expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import {
  type Access,
  type AccessOptions,
  type Action,
  createAccess,
  openAccess,
} from "./access.ts";
import type { Users } from "./htpasswd.ts";
import { WireError } from "./wire.ts";

/** Alice's and bob's passwords are their names; every one of them is compared anew. */
const users: Users = {
  verify: async (username, password, beforeComparing) => {
    beforeComparing?.();
    return ["alice", "bob"].includes(username) && password === username;
  },
};

const clock = createManualClock();

function accessFor(options: Partial<AccessOptions> = {}): Access {
  return createAccess({ users, clock, ...options });
}

const basic = (login: string) => `Basic ${Buffer.from(login).toString("base64")}`;

function request(authorization?: string): Request {
  const headers = authorization === undefined ? {} : { authorization };
  return new Request("http://registry.test/v2/", { headers });
}

async function errorOf(act: () => unknown): Promise<WireError | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    if (error instanceof WireError) return error;
    throw error;
  }
}

const login = (access: Access, text: string, client?: string) =>
  errorOf(() => access.authenticate(request(basic(text)), client));

describe("who it is", () => {
  test("a user with the right password is that user", async () => {
    expect(await accessFor().authenticate(request(basic("alice:alice")))).toEqual({
      user: "alice",
    });
  });

  const strangers = [
    undefined,
    basic("alice:wrong"),
    basic("alice"),
    basic("carol:carol"),
    basic(":alice"),
    basic(":"),
    "Basic",
    "Basic !!!",
    "Bearer YWxpY2U6YWxpY2U=",
    basic("alice:alice").replace("Basic ", "Basic"),
  ];
  test.each(strangers)("who says %p is asked to log in", async (authorization) => {
    const error = await errorOf(() => accessFor().authenticate(request(authorization)));
    expect(error?.code).toBe("UNAUTHORIZED");
    expect(error?.headers["www-authenticate"]).toBe('Basic realm="drayage", charset="UTF-8"');
  });

  test("with anonymous pull, who has no login is nobody, also when the client sends an empty one", async () => {
    const access = accessFor({ anonymousPull: true });
    expect(await access.authenticate(request())).toEqual({ user: null });
    expect(await access.authenticate(request(basic(":")))).toEqual({ user: null });
  });

  test("with anonymous pull, a wrong password is wrong all the same", async () => {
    const access = accessFor({ anonymousPull: true });
    expect((await login(access, "alice:wrong"))?.code).toBe("UNAUTHORIZED");
    expect((await errorOf(() => access.authenticate(request("Bearer x"))))?.code).toBe(
      "UNAUTHORIZED",
    );
  });

  test("passwords may have colons, and names letters of any script", async () => {
    const seen: string[][] = [];
    const access = accessFor({
      users: { verify: async (...words) => seen.push(words.slice(0, 2) as string[]) > 0 },
    });
    await access.authenticate(request(basic("zoë:pass:word:")));
    expect(seen).toEqual([["zoë", "pass:word:"]]);
  });
});

describe("what they may do", () => {
  const ACTIONS: readonly Action[] = ["pull", "push", "delete"];

  async function rights(access: Access, user: string | null): Promise<Record<string, string>> {
    const rows = ACTIONS.map(async (action) => {
      const error = await errorOf(() => access.demand({ user }, action, "team/app"));
      return [action, error?.code ?? "ok"] as const;
    });
    return Object.fromEntries(await Promise.all(rows));
  }

  const ALL = { pull: "ok", push: "ok", delete: "ok" };
  const READER = { pull: "ok", push: "DENIED", delete: "DENIED" };

  test("by default every user may do everything, and nobody else anything", async () => {
    expect(await rights(accessFor(), "alice")).toEqual(ALL);
    expect(await rights(accessFor(), null)).toEqual({
      pull: "UNAUTHORIZED",
      push: "UNAUTHORIZED",
      delete: "UNAUTHORIZED",
    });
  });

  test("with pushers, the other users may pull only", async () => {
    const access = accessFor({ pushers: new Set(["alice"]) });
    expect(await rights(access, "alice")).toEqual(ALL);
    expect(await rights(access, "bob")).toEqual(READER);
  });

  test("with no pushers at all, nobody pushes", async () => {
    expect(await rights(accessFor({ pushers: new Set() }), "alice")).toEqual(READER);
  });

  test("with anonymous pull, nobody pulls and is asked to log in for more", async () => {
    const access = accessFor({ anonymousPull: true, pushers: new Set(["alice"]) });
    expect(await rights(access, null)).toEqual({
      pull: "ok",
      push: "UNAUTHORIZED",
      delete: "UNAUTHORIZED",
    });
    expect(await rights(access, "bob")).toEqual(READER);
  });

  test("without users everything is allowed to everybody", async () => {
    expect(await openAccess.authenticate(request())).toEqual({ user: null });
    expect(await rights(openAccess, null)).toEqual(ALL);
  });
});

describe("who guesses passwords", () => {
  async function guess(
    access: Access,
    times: number,
    client: string,
  ): Promise<(string | undefined)[]> {
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < times; i += 1) {
      codes.push((await login(access, `alice:guess-${i}`, client))?.code);
    }
    return codes;
  }

  test("is told to wait after ten, and may try once more each six seconds", async () => {
    const access = accessFor();
    const codes = await guess(access, 11, "10.0.0.1");
    expect(codes).toEqual([...Array(10).fill("UNAUTHORIZED"), "TOOMANYREQUESTS"]);
    const refused = await login(access, "alice:alice", "10.0.0.1");
    expect(refused?.headers["retry-after"]).toBe("6");
    clock.advance(6_000);
    expect(await guess(access, 2, "10.0.0.1")).toEqual(["UNAUTHORIZED", "TOOMANYREQUESTS"]);
  });

  test("locks out nobody from elsewhere, and no other user", async () => {
    const access = accessFor();
    await guess(access, 20, "10.0.0.1");
    expect(await login(access, "alice:alice", "10.0.0.2")).toBeUndefined();
    expect(await login(access, "bob:bob", "10.0.0.1")).toBeUndefined();
  });

  test("does not stop who was let in before", async () => {
    const proven = new Set<string>();
    const remembering: Users = {
      verify: async (username, password, beforeComparing) => {
        if (proven.has(`${username}:${password}`)) return true;
        const isRight = await users.verify(username, password, beforeComparing);
        if (isRight) proven.add(`${username}:${password}`);
        return isRight;
      },
    };
    const access = accessFor({ users: remembering });
    await login(access, "alice:alice", "10.0.0.1");
    await guess(access, 20, "10.0.0.1");
    expect(await login(access, "alice:alice", "10.0.0.1")).toBeUndefined();
  });

  test("right passwords are not counted, however many", async () => {
    const access = accessFor();
    for (let i = 0; i < 50; i += 1) {
      expect(await login(access, "alice:alice", "10.0.0.1")).toBeUndefined();
    }
  });

  test("keeps no more than so many waiting for their comparison", async () => {
    let compare = () => {};
    const comparing = new Promise<void>((resolve) => {
      compare = resolve;
    });
    const slow: Users = {
      verify: async (_username, _password, beforeComparing) => {
        beforeComparing?.();
        await comparing;
        return false;
      },
    };
    const access = accessFor({ users: slow });
    const logins = Array.from({ length: 70 }, (_, i) => login(access, `user-${i}:x`, "10.0.0.1"));
    const elsewhere = login(access, "user:x", "10.0.0.2");
    compare();
    const codes = (await Promise.all(logins)).map((error) => error?.code);
    expect(codes.filter((code) => code === "UNAUTHORIZED")).toHaveLength(64);
    expect(codes.filter((code) => code === "TOOMANYREQUESTS")).toHaveLength(6);
    expect((await elsewhere)?.code).toBe("UNAUTHORIZED");
    expect((await login(access, "user-99:x", "10.0.0.1"))?.code).toBe("UNAUTHORIZED");
  });

  test("a failure of the users is passed on, and counts for nobody", async () => {
    const broken: Users = {
      verify: async (_username, _password, beforeComparing) => {
        beforeComparing?.();
        throw new Error("no file");
      },
    };
    const access = accessFor({ users: broken });
    const attempt = () => access.authenticate(request(basic("alice:alice")), "10.0.0.1");
    await expect(attempt()).rejects.toThrow("no file");
  });
});
