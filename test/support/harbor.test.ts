import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type Harbor, startHarbor } from "./harbor.ts";

let harbor: Harbor;

beforeEach(async () => {
  harbor = await startHarbor({ embedded: true });
});

afterEach(() => harbor[Symbol.asyncDispose]());

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const admin = () => basic("admin", harbor.adminPassword);

interface Sent {
  readonly as?: string;
  readonly body?: object;
}

function send(method: string, path: string, { as, body }: Sent = {}): Promise<Response> {
  return fetch(`${harbor.url}${path}`, {
    method,
    headers: as === undefined ? {} : { authorization: as },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    tls: { ca: harbor.ca },
  });
}

async function tokenFor(scope: string, as?: string): Promise<string> {
  const path = `/service/token?service=harbor-registry&scope=${scope}`;
  const response = await send("GET", path, as === undefined ? {} : { as });
  return `Bearer ${Object(await response.json()).token}`;
}

async function robot(actions: readonly string[]): Promise<{ login: string; as: string }> {
  const access = actions.map((action) => ({ resource: "repository", action }));
  const permissions = [{ kind: "project", namespace: "site", access }];
  const body = { name: "r", level: "project", duration: -1, permissions };
  const made = Object(await (await send("POST", "/api/v2.0/robots", { as: admin(), body })).json());
  return { login: made.name, as: basic(made.name, made.secret) };
}

const begin = (as: string) => send("POST", "/v2/site/app/blobs/uploads/", { as });

describe("the token service", () => {
  test("is where one without a credential is sent, and one with a wrong credential is not", async () => {
    const nobody = await send("GET", "/v2/");
    expect([nobody.status, nobody.headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer realm="${harbor.url}/service/token",service="harbor-registry"`,
    ]);
    const wrong = await send("GET", "/v2/", { as: basic("admin", "wrong") });
    expect([wrong.status, wrong.headers.get("www-authenticate")]).toEqual([
      401,
      'Basic realm="harbor"',
    ]);
    expect((await send("GET", "/v2/", { as: admin() })).status).toBe(200);
  });

  test("gives what one may do, and not what is asked for", async () => {
    harbor.createProject("site");
    const { as } = await robot(["pull"]);
    const token = await tokenFor("repository:site/app:pull,push", as);
    expect((await begin(token)).status).toBe(401);
    expect((await send("GET", "/v2/site/app/tags/list", { as: token })).status).toBe(404);
    expect((await begin(developer())).status).toBe(202);
  });

  test("a robot that is revoked is not let in, and its token goes on", async () => {
    harbor.createProject("site");
    const { login, as } = await robot(["pull", "push"]);
    const token = await tokenFor("repository:site/app:pull,push", as);
    harbor.revokeRobot(login);
    expect((await send("GET", "/v2/", { as })).status).toBe(401);
    expect((await begin(token)).status).toBe(202);
    expect((await begin(as)).status).toBe(401);
  });

  test("a token that was tampered with is none", async () => {
    harbor.createProject("site");
    const token = await tokenFor("repository:site/app:pull,push", admin());
    expect((await begin(token)).status).toBe(202);
    const [header, claims, signature] = token.split(".");
    const forged = `${header}.${claims?.replace(/.$/, "A")}x.${signature}`;
    expect((await begin(forged)).status).toBe(401);
  });
});

function developer(): string {
  harbor.addUser("dev", "Secret123", { site: "developer" });
  return basic("dev", "Secret123");
}

test("a project must be there, and a public one gives to everybody and takes from nobody", async () => {
  const absent = await begin(admin());
  expect([absent.status, await absent.text()]).toEqual([
    401,
    expect.stringContaining("project site not found"),
  ]);
  harbor.createProject("site", { isPublic: true });
  expect((await begin(admin())).status).toBe(202);
  expect((await send("GET", "/v2/site/app/tags/list")).status).toBe(404);
  expect((await begin(basic("admin", "wrong"))).status).toBe(401);
  const token = await tokenFor("repository:site/app:pull,push");
  expect((await begin(token)).status).toBe(401);
});

test("read-only: nothing changes, by API or push, and reading goes on", async () => {
  harbor.createProject("site");
  harbor.setReadOnly(true);
  const refused = await begin(admin());
  expect([refused.status, await refused.text()]).toEqual([
    403,
    expect.stringContaining('"DENIED","message":"The system is in read only mode'),
  ]);
  const body = { project_name: "other" };
  expect((await send("POST", "/api/v2.0/projects", { as: admin(), body })).status).toBe(403);
  expect((await send("GET", "/v2/", { as: admin() })).status).toBe(200);
});

test("it stops and starts under one address, with what it holds", async () => {
  harbor.createProject("site");
  await harbor.stop();
  expect(await begin(admin()).catch(({ code }) => code)).toBe("ECONNREFUSED");
  await harbor.start();
  expect((await begin(admin())).status).toBe(202);
  harbor.interrupt(() => 502);
  const away = await begin(admin());
  expect([away.status, away.headers.get("content-type")]).toEqual([502, "text/html"]);
});
