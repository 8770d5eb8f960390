import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import { type ApiWorld, basic, serveAgentApi, testUsers } from "#test-support/api-world";
import { pageAssets } from "../page/page.ts";
import { ROUTES } from "./routes.ts";

const LOGIN = "/api/v1/login";
const HOUR_MS = 3_600_000;

const ours = { "x-drayage": "1", "content-type": "application/json" };

function login(world: ApiWorld, user: string, password = user, headers = {}) {
  return world.ask(LOGIN, { method: "POST", body: { user, password }, headers });
}

/** The cookie that a login set, as a browser sends it back. */
async function cookieOf(world: ApiWorld, user: string): Promise<string> {
  const { status, headers } = await login(world, user);
  expect(status).toBe(200);
  return (headers.get("set-cookie") ?? "").replace(/;.*/, "");
}

describe("who may do what", () => {
  /** What is answered to nobody, to rita, who looks, and to anna, who operates. */
  const EXPECTED: Readonly<Record<string, readonly [number, number, number]>> = {
    "GET /api/v1/site": [401, 200, 200],
    "GET /api/v1/plan": [401, 200, 200],
    "GET /api/v1/images": [401, 200, 200],
    "GET /api/v1/images/explain": [401, 400, 400],
    "GET /api/v1/proof": [401, 200, 200],
    "GET /api/v1/journal": [401, 200, 200],
    "GET /api/v1/uplink": [401, 200, 200],
    "GET /api/v1/events": [401, 200, 200],
    "GET /api/v1/me": [200, 200, 200],
    "POST /api/v1/login": [400, 400, 400],
    "POST /api/v1/logout": [200, 200, 200],
    "POST /api/v1/actions/stage": [401, 403, 202],
    "POST /api/v1/actions/activate": [401, 403, 202],
    "POST /api/v1/actions/rollback": [401, 403, 409],
    "POST /api/v1/actions/pause": [401, 403, 202],
    "POST /api/v1/actions/resume": [401, 403, 409],
    "POST /api/v1/actions/prove": [401, 403, 202],
    "POST /api/v1/actions/verify": [401, 403, 202],
    "POST /api/v1/actions/collect": [401, 403, 202],
    "POST /api/v1/actions/reboot": [401, 403, 400],
    "GET /api/openapi.json": [200, 200, 200],
    "GET /metrics": [401, 200, 200],
    "GET /healthz": [200, 200, 200],
    "GET /readyz": [200, 200, 200],
  };

  test("every path and verb of the server is in the table", () => {
    const inTable = Object.keys(EXPECTED).map((key) =>
      key.replace(/actions\/\w+/, "actions/{name}"),
    );
    const served = ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect([...new Set(inTable)].sort()).toEqual([...served].sort());
  });

  test.each(Object.entries(EXPECTED))("%s is answered %j", async (key, expected) => {
    const [method = "", path = ""] = key.split(" ");
    for (const [i, user] of [undefined, "rita", "anna"].entries()) {
      await using world = await serveAgentApi({
        access: testUsers().access,
        isLoopbackOnly: false,
      });
      const init = {
        method,
        headers: {
          ...(method === "POST" ? ours : {}),
          ...(user === undefined ? {} : { authorization: basic(user) }),
        },
      };
      const reply = await fetch(`${world.url}${path}`, init);
      expect([user, reply.status]).toEqual([user, expected[i] ?? 0]);
      await reply.body?.cancel();
    }
  });

  test("the page itself is open to everybody: it has the form to log in", async () => {
    await using world = await serveAgentApi({ access: testUsers().access, isLoopbackOnly: false });
    for (const { path } of pageAssets()) {
      expect([path, (await fetch(`${world.url}${path}`)).status]).toEqual([path, 200]);
    }
  });

  test("an action is in the journal with its user", async () => {
    await using world = await serveAgentApi({ access: testUsers().access, isLoopbackOnly: false });
    await world.ask("/api/v1/actions/pause", { method: "POST", as: "anna" });
    const { json } = await world.ask("/api/v1/journal?limit=1", { as: "rita" });
    expect([json[0].kind, json[0].by]).toEqual(["action", "anna"]);
  });

  test("without users everybody who reaches it operates, and nobody can log in", async () => {
    await using world = await serveAgentApi();
    const { json } = await world.ask("/api/v1/me");
    expect(json).toEqual({ user: null, role: "operate", login: "none" });
    expect((await login(world, "anna")).status).toBe(400);
  });
});

describe("a session", () => {
  async function open() {
    const users = testUsers();
    const world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
    const cookie = await cookieOf(world, "anna");
    const me = async () => (await world.ask("/api/v1/me", { headers: { cookie } })).json;
    return { users, world, cookie, me };
  }

  test("begins with a login and ends with a logout", async () => {
    const { world, cookie, me } = await open();
    await using _ = world;
    expect(await me()).toEqual({ user: "anna", role: "operate", login: "required" });
    const out = await world.ask("/api/v1/logout", { method: "POST", headers: { cookie } });
    expect(out.headers.get("set-cookie")).toMatch(/^drayage=; .*Max-Age=0/);
    expect(await me()).toEqual({ user: null, role: "none", login: "required" });
    expect((await world.ask("/api/v1/site", { headers: { cookie } })).status).toBe(401);
  });

  test("has a cookie that no script reads and no other site sends, of 256 bits", async () => {
    const { world } = await open();
    await using _ = world;
    const { headers } = await login(world, "rita");
    expect(headers.get("set-cookie")).toMatch(
      /^drayage=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
  });

  test("ends an hour after it was last used", async () => {
    const { world, users, me } = await open();
    await using _ = world;
    users.clock.advance(HOUR_MS - 1);
    expect((await me()).user).toBe("anna");
    users.clock.advance(HOUR_MS - 1);
    expect((await me()).user).toBe("anna");
    users.clock.advance(HOUR_MS);
    expect((await me()).user).toBeNull();
  });

  test("ends after twelve hours, however it is used", async () => {
    const { world, users, me } = await open();
    await using _ = world;
    for (let i = 0; i < 23; i += 1) {
      users.clock.advance(HOUR_MS / 2);
      expect((await me()).user).toBe("anna");
    }
    users.clock.advance(HOUR_MS / 2);
    expect((await me()).user).toBeNull();
  });

  test("ends with its user's password", async () => {
    const { world, users, me } = await open();
    await using _ = world;
    users.changePassword();
    expect((await me()).user).toBeNull();
  });

  test("before a login is over with it", async () => {
    const { world, cookie, me } = await open();
    await using _ = world;
    await login(world, "rita", "rita", { cookie });
    expect((await me()).user).toBeNull();
  });

  test("is one of a thousand: the one that was not used for the longest goes", async () => {
    const users = testUsers();
    await using world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
    const first = await cookieOf(world, "anna");
    const second = await cookieOf(world, "anna");
    const roleOf = async (cookie: string) =>
      (await world.ask("/api/v1/me", { headers: { cookie } })).json.role;
    const asked = new Request("http://localhost/");
    for (let i = 0; i < 998; i += 1) {
      await users.access.login(asked, "127.0.0.1", "rita", new Secret("rita"));
    }
    expect(await roleOf(first)).toBe("operate");
    await cookieOf(world, "anna");
    expect([await roleOf(first), await roleOf(second)]).toEqual(["operate", "none"]);
  });

  test.each(["", "drayage=", "drayage=guess", `drayage=${"A".repeat(43)}`, "x=y; drayage"])(
    "is not what the cookie %j names",
    async (cookie) => {
      await using world = await serveAgentApi({
        access: testUsers().access,
        isLoopbackOnly: false,
      });
      expect((await world.ask("/api/v1/site", { headers: { cookie } })).status).toBe(401);
    },
  );
});

describe("a password", () => {
  test("that is wrong is told of no more than that, and the journal's teller hears of it", async () => {
    const users = testUsers();
    await using world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
    const wrong = await login(world, "anna", "hunter2");
    const nobody = await login(world, "nobody", "hunter2");
    expect([wrong.status, wrong.json.error.code]).toEqual([401, "login-failed"]);
    expect(wrong.text).toBe(nobody.text);
    expect(wrong.text).not.toContain("hunter2");
    expect(users.failed).toEqual(["127.0.0.1", "127.0.0.1"]);
  });

  test.each([{ user: "anna" }, { user: "", password: "" }, { user: 1, password: 2 }, {}])(
    "that is not there is asked for: %j",
    async (body) => {
      await using world = await serveAgentApi({
        access: testUsers().access,
        isLoopbackOnly: false,
      });
      expect((await world.ask(LOGIN, { method: "POST", body })).status).toBe(400);
    },
  );

  test("is asked for by Basic of a program, but not of a browser, which has the page", async () => {
    await using world = await serveAgentApi({ access: testUsers().access, isLoopbackOnly: false });
    const program = await world.ask("/api/v1/site");
    expect(program.headers.get("www-authenticate")).toMatch(/^Basic /);
    const headers = { "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin" };
    const browser = await world.ask("/api/v1/site", { headers });
    expect(browser.headers.get("www-authenticate")).toMatch(/^Session /);
  });

  test("that is guessed is slowed down, also when many guesses come at once", async () => {
    const users = testUsers();
    await using world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
    const guesses = Array.from({ length: 20 }, (_, i) => login(world, `user-${i}`, "guess"));
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(5);
    expect(statuses.filter((status) => status === 429)).toHaveLength(15);
    expect(users.compared()).toBe(5);
    const refused = await world.ask("/api/v1/site", { as: "anna" });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    users.clock.advance(1_000);
    expect((await world.ask("/api/v1/site", { as: "anna" })).status).toBe(200);
  });
});

describe("the metrics", () => {
  const TOKEN = "0123456789abcdef0123456789abcdef";
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  async function withToken(): Promise<ApiWorld> {
    const users = testUsers({ metricsToken: () => new Secret(TOKEN) });
    return serveAgentApi({ access: users.access, isLoopbackOnly: false });
  }

  test("have a token of their own, which opens nothing else", async () => {
    await using world = await withToken();
    expect((await world.ask("/metrics", { headers: bearer(TOKEN) })).status).toBe(200);
    expect((await world.ask("/api/v1/site", { headers: bearer(TOKEN) })).status).toBe(401);
    const action = { method: "POST", headers: { ...ours, ...bearer(TOKEN) } };
    expect((await world.ask("/api/v1/actions/pause", action)).status).toBe(401);
  });

  test("are not given for a wrong one, and guesses are slowed", async () => {
    await using world = await withToken();
    const statuses: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      statuses.push((await world.ask("/metrics", { headers: bearer(`guess-${i}`) })).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
  });
});
