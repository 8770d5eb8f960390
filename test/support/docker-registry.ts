import { spawn } from "node:child_process";
import { createHash, createPrivateKey, sign } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestCertificate, testCertificates } from "./certificates.ts";

/** How a real registry is set up. */
export interface DockerRegistryOptions {
  /** The program: Debian's `docker-registry` (2.8) by default; `registry` is distribution 3. */
  readonly program?: "docker-registry" | "registry";
  /** User and password that it asks for by Basic. */
  readonly htpasswd?: { readonly username: string; readonly password: string };
  /** Serves https with this certificate. */
  readonly tls?: TestCertificate;
  /** Asks for Bearer tokens, which a token service beside it gives to this user. */
  readonly token?: { readonly username: string; readonly password: string };
  /** URL of a registry of which it keeps what it pulls through; then it takes no pushes. */
  readonly proxyOf?: string;
}

/** Debian's docker-registry (distribution 2.8), running until it is disposed of. */
export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** The authority to trust, when it serves https. */
  readonly caFile?: string;
  /** The lines of its access log so far: `GET /v2/… HTTP/1.1" 200 …`. */
  accessLog(): Promise<readonly string[]>;
}

/** Whether the machine has it. Debian's package is `docker-registry`. */
export const hasDockerRegistry: boolean = Bun.which("docker-registry") !== null;

/** Whether the machine has distribution 3, which `.ci/run` builds where there is Go. */
export const hasDistribution3: boolean = Bun.which("registry") !== null;

/** Starts a registry with an empty store of its own on a free port. */
export async function startDockerRegistry(
  options: DockerRegistryOptions = {},
): Promise<DockerRegistry> {
  const folder = await mkdtemp(join(tmpdir(), "drayage-docker-registry-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const address = `127.0.0.1:${await freePort()}`;
  const auth = await writeAuth(options, folder, undo);
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify(configuration(address, folder, auth, options)),
  );
  const log = join(folder, "log");
  const { program = "docker-registry" } = options;
  const child = spawn("sh", [
    "-c",
    `exec ${program} serve "$0" > "$1" 2>&1`,
    join(folder, "config.json"),
    log,
  ]);
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  undo.defer(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await answered(address, options.tls !== undefined, ended, log);
  const stack = undo.move();
  return {
    address,
    ...(options.tls === undefined ? {} : { caFile: testCertificates().caPath }),
    accessLog: async () =>
      (await readFile(log, "utf8")).split("\n").filter((line) => line.includes(' HTTP/1.1" ')),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** JSON is YAML, which is what the registry reads. */
function configuration(
  address: string,
  folder: string,
  auth: object,
  { tls, proxyOf }: DockerRegistryOptions,
): object {
  const certificate = tls && { tls: { certificate: tls.certificatePath, key: tls.keyPath } };
  return {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(folder, "store") }, delete: { enabled: true } },
    http: { addr: address, ...certificate },
    ...(proxyOf === undefined ? {} : { proxy: { remoteurl: proxyOf } }),
    ...auth,
  };
}

async function writeAuth(
  { htpasswd, token }: DockerRegistryOptions,
  folder: string,
  undo: AsyncDisposableStack,
): Promise<object> {
  if (htpasswd !== undefined) {
    const path = join(folder, "htpasswd");
    const { username, password } = htpasswd;
    await writeFile(
      path,
      `${username}:${await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 })}\n`,
    );
    return { auth: { htpasswd: { realm: "test", path } } };
  }
  if (token === undefined) return {};
  const realm = undo.use(startTokenService(token)).url;
  const rootcertbundle = testCertificates().server.certificatePath;
  return {
    auth: { token: { realm, service: "test-registry", issuer: "test-issuer", rootcertbundle } },
  };
}

/** A token service that gives what is asked for to its user, and pulling to everybody else. */
function startTokenService({ username, password }: { username: string; password: string }) {
  const known = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { searchParams } = new URL(request.url);
      const given = request.headers.get("authorization");
      if (given !== known) return new Response("{}", { status: 401 });
      const access = searchParams.getAll("scope").flatMap(readScope);
      return Response.json({
        token: signToken(access, searchParams.get("service") ?? ""),
        expires_in: 300,
      });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/token`,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

function readScope(scope: string): { type: string; name: string; actions: string[] }[] {
  const [, type, name, actions] = /^([^:]+):(.+):([^:]+)$/.exec(scope) ?? [];
  if (type === undefined || name === undefined || actions === undefined) return [];
  return [{ type, name, actions: actions.split(",") }];
}

/** A JWT as distribution takes it: the certificate in `x5c`, which its root bundle holds too. */
export function signToken(access: readonly object[], audience: string): string {
  const { certificate, key } = testCertificates().server;
  const privateKey = createPrivateKey(key);
  const isEc = privateKey.asymmetricKeyType === "ec";
  const now = Math.floor(Date.now() / 1000);
  const header = {
    typ: "JWT",
    alg: isEc ? "ES256" : "RS256",
    x5c: [certificate.replace(/-----[^-]+-----|\s/g, "")],
  };
  const times = { iat: now, nbf: now - 10, exp: now + 300 };
  const claims = { iss: "test-issuer", sub: "edge", aud: audience, ...times, access };
  const id = { jti: createHash("sha256").update(JSON.stringify(claims)).digest("hex") };
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode(header)}.${encode({ ...claims, ...id })}`;
  const options = isEc ? { key: privateKey, dsaEncoding: "ieee-p1363" as const } : privateKey;
  return `${signed}.${sign("sha256", Buffer.from(signed), options).toString("base64url")}`;
}

/** The registry takes no port 0, so a port is taken and given back. */
export function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address();
    server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
  });
  return promise;
}

async function answered(
  address: string,
  isTls: boolean,
  ended: Promise<void>,
  log: string,
): Promise<void> {
  const died = ended.then(async () => {
    throw new Error(`docker-registry ended: ${await readFile(log, "utf8")}`);
  });
  const probe = async () => {
    const url = `${isTls ? "https" : "http"}://${address}/v2/`;
    for (;;) {
      try {
        await fetch(url, { tls: { rejectUnauthorized: false } });
        return;
      } catch {
        await Bun.sleep(5);
      }
    }
  };
  await Promise.race([died, probe()]);
  died.catch(() => undefined);
}
