import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, copyFile, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { isFailure, systemClock } from "#base";
import { startAgent } from "#test-support/agent-world";
import { basic } from "#test-support/api-world";
import { testCertificates } from "#test-support/certificates";
import { createEventClock } from "#test-support/event-clock";
import { sketchOf } from "#test-support/memory-operations";
import type { Part } from "../supervise.ts";
import { unguardedAccess } from "./access.ts";
import { createApi } from "./api.ts";
import { type AddressDoorOptions, addressDoor, type DoorOptions, socketDoor } from "./doors.ts";
import { serveOnAddress } from "./serve.ts";

const { ca, server: certificate, expired } = testCertificates();
const TOKEN = "b0b0caca0123456789abcdef";
const PASSWORD = "correct horse battery";

let folder = "";
let usersFile = "";
let metricsTokenFile = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dray-doors-"));
  usersFile = join(folder, "users");
  metricsTokenFile = join(folder, "token");
  const hash = await Bun.password.hash(PASSWORD, { algorithm: "bcrypt", cost: 4 });
  await writeFile(usersFile, `anna:${hash}\nrita:${hash}\n`);
  await writeFile(metricsTokenFile, `${TOKEN}\n`);
});

afterAll(() => rm(folder, { recursive: true }));

/** An agent with a profile delivered, and what its doors are made of. */
async function agentBehind() {
  const world = startAgent();
  world.site.want(sketchOf("shop"));
  await world.until("the site is proven", () => world.agent.state().proof !== null);
  const errors: unknown[] = [];
  const common: DoorOptions = {
    control: world.agent,
    clock: systemClock,
    onError: (error) => errors.push(error),
  };
  const address: AddressDoorOptions = {
    ...common,
    ...{ hostname: "127.0.0.1", port: 0, journal: world.records.journal },
  };
  return { world, errors, common, address };
}

/** A door that is open; disposing of it shuts it. */
async function opened(part: Part) {
  const end = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const url = await new Promise<string>((resolve, reject) => {
    running = part.run(end.signal, resolve);
    running.catch(reject);
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      end.abort();
      await running;
    },
  };
}

async function failureOf(part: Part): Promise<string> {
  try {
    await using door = await opened(part);
    return `it listens on ${door.url}`;
  } catch (error) {
    if (isFailure(error)) return error.code;
    throw error;
  }
}

const overSocket = (path: string, url = "/api/v1/me", init: object = {}) =>
  fetch(`http://localhost${url}`, { unix: path, ...init } as RequestInit);

describe("the socket", () => {
  test("is for the user of the agent alone, who need not log in", async () => {
    const { common } = await agentBehind();
    const path = join(folder, "agent.sock");
    {
      await using door = await opened(socketDoor(path, common));
      expect(door.url).toBe(path);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      expect(await (await overSocket(path)).json()).toEqual({
        ...{ user: null, role: "operate", login: "none" },
      });
      const headers = { "x-drayage": "1", "content-type": "application/json" };
      const asked = await overSocket(path, "/api/v1/actions/pause", { method: "POST", headers });
      expect(asked.status).toBe(202);
      const page = await overSocket(path, "/api/v1/journal?limit=1");
      const [line] = (await page.json()) as { by: string }[];
      expect(line?.by).toBe("socket");
      expect((await overSocket(path, "/")).status).toBe(404);
    }
    expect(await stat(path).catch(() => "gone")).toBe("gone");
  });

  test("that a dead agent left is replaced, one that is answered is not", async () => {
    const { common } = await agentBehind();
    const path = join(folder, "left.sock");
    await leaveSocket(path);
    expect((await stat(path)).isSocket()).toBe(true);
    await using _ = await opened(socketDoor(path, common));
    expect((await overSocket(path)).status).toBe(200);
    expect(await failureOf(socketDoor(path, common))).toBe("api-address");
    expect((await overSocket(path)).status).toBe(200);
  });

  test("has a path that Linux takes, or is refused", async () => {
    const { common } = await agentBehind();
    expect(await failureOf(socketDoor(`/tmp/${"a".repeat(120)}`, common))).toBe("api-address");
    expect(await failureOf(socketDoor(join(folder, "no/such"), common))).toBe("api-address");
  });
});

/** A socket whose listener was killed. */
async function leaveSocket(path: string): Promise<void> {
  const code = `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  await Bun.spawn([process.execPath, "-e", code, path]).exited;
}

describe("the address", () => {
  test.each(["0.0.0.0", "::", "10.0.0.5", "edge.example"])(
    "%s is not listened on without TLS and a login",
    async (hostname) => {
      const { address } = await agentBehind();
      const { certificatePath: certFile, keyPath: keyFile } = certificate;
      const tls = { certFile, keyFile };
      for (const partly of [{}, { tls }, { usersFile }]) {
        expect(await failureOf(addressDoor({ ...address, ...partly, hostname }))).toBe(
          "api-exposed",
        );
      }
    },
  );

  test("that is taken, and files that are of no use, are told", async () => {
    const { address } = await agentBehind();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    expect(await failureOf(addressDoor({ ...address, port }))).toBe("api-address");
    await new Promise((resolve) => other.close(resolve));

    const gone = join(folder, "gone");
    expect(await failureOf(addressDoor({ ...address, usersFile: gone }))).toBe(
      "htpasswd-unreadable",
    );
    const tls = { certFile: certificate.certificatePath, keyFile: expired.keyPath };
    expect(await failureOf(addressDoor({ ...address, tls }))).toBe("registry-certificate");
    for (const token of ["", "short", "two words of a token file"]) {
      const file = join(folder, "bad-token");
      await writeFile(file, token);
      const door = addressDoor({ ...address, usersFile, metricsTokenFile: file });
      expect(await failureOf(door)).toBe("metrics-token");
    }
  });

  test("serves the page, and the API to who has logged in with the htpasswd file", async () => {
    const { address } = await agentBehind();
    await using door = await opened(addressDoor({ ...address, usersFile, operators: ["anna"] }));
    expect(await (await fetch(`${door.url}/`)).text()).toContain("<title>Drayage</title>");
    const me = async (user: string, password: string) => {
      const headers = { authorization: basic(user, password) };
      const response = await fetch(`${door.url}/api/v1/me`, { headers });
      const { role } = (await response.json()) as { role?: string };
      return [response.status, role];
    };
    expect(await me("anna", PASSWORD)).toEqual([200, "operate"]);
    expect(await me("rita", PASSWORD)).toEqual([200, "read"]);
    expect(await me("rita", "wrong")).toEqual([401, undefined]);
  });

  test("answers for any name where a login is asked for, and else for loopback's alone", async () => {
    const { address } = await agentBehind();
    const statusFor = async (options: Partial<AddressDoorOptions>, host: string) => {
      await using door = await opened(addressDoor({ ...address, ...options }));
      const { port } = new URL(door.url);
      return await new Promise((resolve, reject) => {
        const asked = request({ port, host: "127.0.0.1", path: "/healthz", headers: { host } });
        asked.on("response", ({ statusCode }) => resolve(statusCode)).on("error", reject);
        asked.end();
      });
    };
    expect(await statusFor({ usersFile }, "edge.example")).toBe(200);
    expect(await statusFor({}, "edge.example")).toBe(421);
    expect(await statusFor({}, "localhost")).toBe(200);
  });

  test("has a session end when its user is taken out of the htpasswd file", async () => {
    const { address } = await agentBehind();
    const file = join(folder, "changing");
    await copyFile(usersFile, file);
    await using door = await opened(addressDoor({ ...address, usersFile: file }));
    const cookie = await loggedIn(door.url);
    const status = async () =>
      (await fetch(`${door.url}/api/v1/site`, { headers: { cookie } })).status;
    expect(await status()).toBe(200);
    const text = await Bun.file(usersFile).text();
    await writeFile(file, text.replace(/^anna:.*\n/, ""));
    expect(await status()).toBe(401);
  });

  test("speaks TLS with a cookie that stays on it, and shows a new certificate to who connects anew", async () => {
    const { address, errors } = await agentBehind();
    const clock = createEventClock(0);
    const tls = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
    await copyFile(certificate.certificatePath, tls.certFile);
    await copyFile(certificate.keyPath, tls.keyFile);
    await using door = await opened(addressDoor({ ...address, clock, usersFile, tls }));
    expect(door.url).toStartWith("https://");
    const cookie = await loggedIn(door.url);
    expect(cookie).toStartWith("__Host-drayage=");
    const before = await serialOf(door.url);

    await writeFile(tls.keyFile, "half");
    await clock.run(clock.sleep(25_000, new AbortController().signal));
    expect(await serialOf(door.url)).toBe(before);
    expect(errors).toHaveLength(1);

    await copyFile(expired.certificatePath, tls.certFile);
    await copyFile(expired.keyPath, tls.keyFile);
    await clock.run(clock.sleep(25_000, new AbortController().signal));
    expect(await serialOf(door.url)).not.toBe(before);
  });
});

async function loggedIn(url: string): Promise<string> {
  const response = await fetch(`${url}/api/v1/login`, {
    method: "POST",
    headers: { "x-drayage": "1", "content-type": "application/json" },
    body: JSON.stringify({ user: "anna", password: PASSWORD }),
    tls: { ca },
  } as RequestInit);
  expect(response.status).toBe(200);
  const cookie = response.headers.get("set-cookie") ?? "";
  expect(cookie.includes("; Secure")).toBe(url.startsWith("https"));
  return cookie.replace(/;.*/, "");
}

function serialOf(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: hostname, port: Number(port), rejectUnauthorized: false },
      () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

test("no password, cookie or token is in any answer, in the journal or in an error", async () => {
  const { world, address, errors } = await agentBehind();
  const options = { ...address, usersFile, metricsTokenFile, operators: ["anna"] };
  await using door = await opened(addressDoor(options));
  const cookie = await loggedIn(door.url);
  const secrets = [
    PASSWORD,
    TOKEN,
    cookie.replace("drayage=", ""),
    "wrong-hunter2",
    "wrong-token-99",
  ];
  const heads = [
    { cookie },
    { authorization: basic("anna", PASSWORD) },
    { authorization: basic("anna", "wrong-hunter2") },
    { authorization: `Bearer ${TOKEN}` },
    { authorization: "Bearer wrong-token-99" },
  ];
  const paths = [
    ...["site", "plan", "images", "proof", "journal", "uplink", "me", "nothing"].map(
      (path) => `/api/v1/${path}`,
    ),
    ...["/metrics", "/api/openapi.json", "/healthz", `/api/v1/${TOKEN.slice(0, 3)}`],
  ];
  const texts: string[] = [];
  for (const headers of heads) {
    for (const path of paths) {
      const response = await fetch(`${door.url}${path}`, { headers });
      texts.push(JSON.stringify([...response.headers]), await response.text());
    }
  }
  const lines = await world.agent.journal({ limit: 100 });
  expect(lines.map(({ kind }) => kind)).toContain("login-failed");
  const all = [...texts, JSON.stringify(lines), errors.map(String).join()].join("\n");
  expect(texts.length).toBeGreaterThan(100);
  for (const secret of secrets) expect(all).not.toContain(secret);
});

test("the socket file is made for its user alone even where files are made for all", async () => {
  const { common } = await agentBehind();
  const path = join(folder, "umask.sock");
  const before = process.umask(0);
  try {
    await using _ = await opened(socketDoor(path, common));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(process.umask(0)).toBe(0);
  } finally {
    process.umask(before);
    await chmod(folder, 0o700);
  }
});

test("a server that is told to stop lets go of who follows, and then has ended", async () => {
  const { common } = await agentBehind();
  const page = { page: [], pagePolicy: "", isLoopbackOnly: false };
  const api = createApi({ ...common, ...page, access: unguardedAccess() });
  const server = serveOnAddress({ api, hostname: "127.0.0.1", port: 0 });
  const { body } = await fetch(`${server.address}/api/v1/events`);
  const reader = body?.getReader();
  await reader?.read();
  await server.stop();
  expect((await reader?.read())?.done).toBe(true);
  await expect(fetch(`${server.address}/healthz`)).rejects.toThrow();
});
