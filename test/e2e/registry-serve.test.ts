import { expect, setDefaultTimeout, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readdir } from "node:fs/promises";
import { Agent, get } from "node:http";
import { join } from "node:path";
import { connect } from "node:tls";
import { type TestCertificate, testCertificates } from "#test-support/certificates";
import { dray, PROGRAM, startDray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";
import { canMountSmallDisk, mountSmallDisk } from "#test-support/small-disk";

// A new certificate is looked for every ten seconds.
setDefaultTimeout(60_000);

/** How long the program waits for requests that are under way (`src/cli/registry.ts`). */
const STOP_GRACE_MS = 10_000;

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

test("a terminal that is closed ends the program, but not one that nohup started", async () => {
  await using folder = await temporaryFolder();
  const words = ["registry", "serve", "-l", "127.0.0.1:0", "-d", folder.path];
  const hangUp = async (server: Server) => {
    const url = `http://${await addressOf(server)}/v2/`;
    server.kill("SIGHUP");
    return { url, server };
  };
  const plain = await hangUp(startDray(words));
  expect(await plain.server.exited).toBe(0);
  // As nohup(1) does: what is ignored stays so in the program that is started.
  const shell = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", PROGRAM, ...words];
  const lasting = await hangUp(
    Bun.spawn(shell, { stdin: new Uint8Array(), stdout: "pipe", stderr: "pipe" }),
  );
  try {
    for (let i = 0; i < 20; i++) expect((await fetch(lasting.url)).status).toBe(200);
  } finally {
    lasting.server.kill("SIGTERM");
  }
  expect(await lasting.server.exited).toBe(0);
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

const { server: first, stranger: second } = testCertificates();

/** What a new connection is shown. */
function certificateAt(address: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const [host = "", port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
    resolve(socket.getPeerCertificate().fingerprint256);
    socket.destroy();
  });
  socket.on("error", reject);
  return promise;
}

const fingerprintOf = ({ certificate }: TestCertificate) =>
  new X509Certificate(certificate).fingerprint256;

test("registry serve shows a certificate that was swapped to who connects, and goes on with a pull under way", async () => {
  await using folder = await temporaryFolder();
  const [certFile, keyFile] = [join(folder.path, "tls.crt"), join(folder.path, "tls.key")];
  const put = async ({ certificate, key }: TestCertificate) => {
    await Bun.write(certFile, certificate);
    await Bun.write(keyFile, key);
  };
  await put(first);
  const words = [`--tls-cert=${certFile}`, `--tls-key=${keyFile}`];
  await using registry = await startRegistryProgram(join(folder.path, "data"), words);
  const { address } = registry;
  const url = `https://${address}/v2/team/app/blobs`;
  // More than all buffers on the way hold.
  const bytes = new Uint8Array(64 * 1024 * 1024).fill(7);
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  const tls = { ca: testCertificates().ca };
  const pushed = await fetch(`${url}/uploads/?digest=${digest}`, {
    ...{ method: "POST", body: bytes, tls },
  });
  expect(pushed.status).toBe(201);
  expect(await certificateAt(address)).toBe(fingerprintOf(first));

  const pull = await fetch(`${url}/${digest}`, { decompress: false, tls });
  const reader = pull.body?.getReader();
  const hash = new Bun.CryptoHasher("sha256");
  const begun = await reader?.read();
  if (begun?.value !== undefined) hash.update(begun.value);
  await put(second);
  await registry.untilTold("Showing the new certificate");
  expect(await certificateAt(address)).toBe(fingerprintOf(second));
  for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
    hash.update(next.value);
  }
  expect(`sha256:${hash.digest("hex")}`).toBe(digest);
});

test("registry serve ends at once when it is told to, with connections that idle, and right after a push", async () => {
  await using folder = await temporaryFolder();
  const server = startDray(["registry", "serve", "-l", "127.0.0.1:0", "-d", folder.path]);
  const address = await addressOf(server);
  const [hostname = "", port = ""] = address.split(":");
  const agent = new Agent({ keepAlive: true });
  const idle = Promise.withResolvers<void>();
  get({ hostname, port, path: "/v2/", agent }, (answer) => {
    answer.resume().on("end", idle.resolve);
  });
  await idle.promise;
  expect((await push(`http://${address}`, "layer")).status).toBe(201);
  const told = performance.now();
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
  // So long it would wait for requests that are under way.
  expect(performance.now() - told).toBeLessThan(STOP_GRACE_MS);
  agent.destroy();
});

const canMount = await canMountSmallDisk();

test.skipIf(!canMount)(
  "registry serve on a disk that is full takes no push, goes on to serve, and takes pushes again when there is room (needs root, to mount a tmpfs)",
  async () => {
    // No upload begins where less than 64 MiB are free.
    await using disk = await mountSmallDisk(96);
    if (disk === undefined) throw new Error("a tmpfs could be mounted before, and now can't");
    const dataDir = join(disk.path, "data");
    await using registry = await startRegistryProgram(dataDir);
    const url = `http://${registry.address}`;
    const pull = async (text: string) =>
      (await fetch(`${url}/v2/team/app/blobs/${await digestOf(text)}`)).text();
    expect((await push(url, "before")).status).toBe(201);
    const begun = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" });
    await disk.fill();
    const chunk = { method: "PATCH", body: "x".repeat(4_000_000) };
    const full = await fetch(new URL(begun.headers.get("location") ?? "", url), chunk);
    for (const refused of [full, await push(url, "another")]) {
      expect(refused.status).toBe(507);
      expect(await refused.json()).toMatchObject({ errors: [{ code: "INSUFFICIENT_STORAGE" }] });
    }
    expect(await pull("before")).toBe("before");
    await disk.empty();
    expect((await push(url, "after")).status).toBe(201);
    expect(await pull("after")).toBe("after");
    expect(await readdir(join(dataDir, "uploads"))).toEqual(["ingest"]);
    const verified = await dray(["verify", `--data-dir=${dataDir}`]);
    expect(verified).toMatchObject({ exitCode: 0 });
  },
);

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
