import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { dray, startDray, temporaryFolder } from "#test-support/program";

type Server = ReturnType<typeof startDray>;

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

async function digestOf(text: string): Promise<string> {
  return `sha256:${new Bun.CryptoHasher("sha256").update(text).digest("hex")}`;
}

/** Serves a folder while a test acts, then stops it with Ctrl-C; gives what `act` gave. */
async function whileServed<T>(
  words: readonly string[],
  act: (url: string, server: Server) => Promise<T>,
): Promise<T> {
  const server = startDray(["registry", "serve", "-l", "127.0.0.1:0", ...words]);
  try {
    const result = await act(`http://${await addressOf(server)}`, server);
    server.kill("SIGINT");
    expect(await server.exited).toBe(0);
    return result;
  } finally {
    server.kill("SIGKILL");
  }
}

/** Where it listens. What it tells is read to the end: a pipe that nobody reads would break. */
function addressOf({ stderr }: Server): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const read = async () => {
    let text = "";
    for await (const chunk of stderr.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const [, address] = /on https?:\/\/(\S+)\n/.exec(text) ?? [];
      if (address !== undefined) resolve(address);
    }
    reject(new Error(`It does not serve: ${text}`));
  };
  void read();
  return promise;
}

async function push(url: string, text: string, headers: Record<string, string> = {}) {
  const query = `digest=${await digestOf(text)}`;
  const path = `${url}/v2/team/app/blobs/uploads/?${query}`;
  return fetch(path, { method: "POST", body: text, headers });
}

test("registry serve makes its store, takes what is pushed, and has it after a restart", async () => {
  await using folder = await temporaryFolder();
  const words = ["-d", join(folder.path, "new", "store")];
  expect(await whileServed(words, async (url) => (await push(url, "layer")).status)).toBe(201);
  const pulled = await whileServed(words, async (url) => {
    return (await fetch(`${url}/v2/team/app/blobs/${await digestOf("layer")}`)).text();
  });
  expect(pulled).toBe("layer");
});

test("registry serve goes on with an upload that was under way when it was stopped", async () => {
  await using folder = await temporaryFolder();
  const words = ["-d", folder.path];
  const path = await whileServed(words, async (url) => {
    const begun = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" });
    const location = begun.headers.get("location") ?? "";
    const sent = await fetch(`${url}${location}`, { method: "PATCH", body: "first " });
    expect(sent.status).toBe(202);
    return location;
  });
  const statuses = await whileServed(words, async (url) => {
    const asked = await fetch(`${url}${path}`);
    expect(asked.headers.get("range")).toBe("0-5");
    const query = `digest=${await digestOf("first second")}`;
    const ended = await fetch(`${url}${path}?${query}`, { method: "PUT", body: "second" });
    return [asked.status, ended.status];
  });
  expect(statuses).toEqual([204, 201]);
});

test("registry serve removes uploads that idled for as long as it is told", async () => {
  await using folder = await temporaryFolder();
  const words = ["-d", folder.path];
  const path = await whileServed(words, async (url) => {
    const begun = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" });
    return begun.headers.get("location") ?? "";
  });
  const status = async (url: string) => (await fetch(`${url}${path}`)).status;
  expect(await whileServed(words, status)).toBe(204);
  expect(await whileServed([...words, "--upload-age", "0"], status)).toBe(404);
});

test("registry serve lets users pull, pushers push, and others do what it is told", async () => {
  await using folder = await temporaryFolder();
  const htpasswd = join(folder.path, "users");
  const hash = (password: string) =>
    Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 });
  await Bun.write(htpasswd, `ci:${hash("c")}\nnode:${hash("n")}\n`);
  const words = ["-d", join(folder.path, "store"), "--htpasswd", htpasswd, "--pushers=ci,admin"];
  const statuses = async (url: string) => {
    const pushes = [basic("ci", "c"), basic("node", "n"), basic("ci", "wrong")];
    const answers = pushes.map((authorization) => push(url, "layer", { authorization }));
    const pulled = await fetch(`${url}/v2/team/app/tags/list`);
    return [...(await Promise.all(answers)).map(({ status }) => status), pulled.status];
  };
  expect(await whileServed(words, statuses)).toEqual([201, 403, 401, 401]);
  expect(await whileServed([...words, "--anonymous-pull"], statuses)).toEqual([201, 403, 401, 200]);
});

test("registry serve takes nothing with --read-only, and deletes nothing with --no-delete", async () => {
  await using folder = await temporaryFolder();
  const words = ["-d", folder.path];
  const remove = async (url: string) => {
    const blob = `${url}/v2/team/app/blobs/${await digestOf("layer")}`;
    return (await fetch(blob, { method: "DELETE" })).status;
  };
  await whileServed([...words, "--no-delete"], async (url) => {
    expect((await push(url, "layer")).status).toBe(201);
    expect(await remove(url)).toBe(405);
  });
  await whileServed([...words, "--read-only"], async (url) => {
    expect((await push(url, "layer")).status).toBe(405);
    expect(await remove(url)).toBe(405);
    const pulled = await fetch(`${url}/v2/team/app/blobs/${await digestOf("layer")}`);
    expect(pulled.status).toBe(200);
  });
  await whileServed(words, async (url) => expect(await remove(url)).toBe(202));
});

const refused: readonly (readonly [readonly string[], number, string])[] = [
  [["--listen", "nowhere"], 2, "usage"],
  [["--pushers", "a"], 2, "usage"],
  [["--anonymous-pull"], 2, "usage"],
  [["--tls-cert", "/nonexistent"], 2, "usage"],
  [["--upload-age", "-1"], 2, "usage"],
  [["--rate-limit", "many"], 2, "usage"],
  [["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"], 1, "registry-certificate"],
  [["--htpasswd", "/nonexistent"], 1, "htpasswd-unreadable"],
  [["--listen", "0.0.0.0:0"], 1, "registry-exposed"],
];
test.each(refused)("registry serve refuses %j, and makes no store", async (words, code, name) => {
  await using folder = await temporaryFolder();
  const { exitCode, err } = await dray([
    "registry",
    "serve",
    "-d",
    join(folder.path, "store"),
    ...words,
  ]);
  expect(err).toContain(`[${name}]`);
  expect(exitCode).toBe(code);
  expect(await readdir(folder.path)).toEqual([]);
});
