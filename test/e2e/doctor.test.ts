import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { testCertificates } from "#test-support/certificates";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const LOGIN = { username: "edge", password: "canary-password" };
const IMAGES = { "kairos/core:v1": { seed: "os" }, "team/app:v1": { seed: "app" } };
const NO_PROXIES = {
  ...{ http_proxy: "", https_proxy: "", no_proxy: "" },
  ...{ HTTP_PROXY: "", HTTPS_PROXY: "", NO_PROXY: "" },
};

interface Sign {
  readonly check: string;
  readonly verdict: "ok" | "warning" | "wrong";
  readonly text: string;
  readonly remedy: string | null;
}

const undo = new AsyncDisposableStack();
let folder: string;
let world: LoopbackRegistry;
let locked: LoopbackRegistry;

beforeAll(async () => {
  folder = undo.use(await temporaryFolder()).path;
  world = undo.use(await startLoopbackRegistry(join(folder, "world"), { images: IMAGES }));
  const options = { images: IMAGES, login: LOGIN };
  locked = undo.use(await startLoopbackRegistry(join(folder, "locked"), options));
});
afterAll(() => undo.disposeAsync());

interface Surroundings {
  /** Where the application's image is. */
  readonly registry?: string;
  readonly site?: object;
  readonly env?: Readonly<Record<string, string>>;
  readonly words?: readonly string[];
}

/** Examines, and gives the signs of one check each. */
async function doctor({ registry, site = {}, env = {}, words = [] }: Surroundings) {
  const path = (name: string) => join(folder, name);
  const packs = [
    {
      name: "byoi",
      layer: "os",
      values: JSON.stringify({ options: { "system.uri": `${world.address}/kairos/core:v1` } }),
    },
    {
      name: "app",
      layer: "addon",
      values: JSON.stringify({
        pack: { content: { images: [{ image: `${registry ?? world.address}/team/app:v1` }] } },
      }),
    },
  ];
  await writeFile(
    path("profile.json"),
    JSON.stringify({ metadata: { name: "edge" }, spec: { template: { packs } } }),
  );
  const dataDir = path("store");
  await writeFile(path("password"), `${LOGIN.password}\n`);
  await writeFile(path("wrong"), "canary-wrong\n");
  await writeFile(
    path("site.yaml"),
    JSON.stringify({ dataDir, registry: { listen: "127.0.0.1:0" }, ...site }),
  );
  const args = ["doctor", "-p", path("profile.json"), "-s", path("site.yaml"), "-o", "json"];
  const run = await dray([...args, ...words], { env: { ...NO_PROXIES, ...env } });
  expect(run.out + run.err).not.toContain("canary");
  const document = JSON.parse(run.out);
  expect([document.apiVersion, document.kind]).toEqual(["drayage/v1", "Examination"]);
  expect(run.exitCode).toBe(document.ok ? 0 : 3);
  const signs: readonly Sign[] = document.signs;
  for (const { verdict, remedy } of signs) expect(remedy === null).toBe(verdict === "ok");
  return (check: string) => signs.filter((sign) => sign.check === check);
}

const verdicts = (signs: readonly Sign[]) => signs.map(({ verdict }) => verdict);

/** Takes connections, and answers with some bytes or never. */
async function listener(answer?: string): Promise<AsyncDisposable & { readonly address: string }> {
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    if (answer !== undefined) socket.once("data", () => socket.end(answer));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    address: `127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

describe("dray doctor", () => {
  test("works with nothing given, a line for each thing", async () => {
    const { out, exitCode, err } = await dray(["doctor", "-d", join(folder, "nowhere/at/all")]);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    const checks = out.split("\n").map((line) => line.split(/\s+/)[1]);
    for (const check of ["clock", "disk", "limits", "port", "proxy", "runtime"]) {
      expect(checks).toContain(check);
    }
  });

  test("finds nothing wrong with surroundings in which a delivery would succeed", async () => {
    const signs = await doctor({});
    for (const check of ["clock", "dns", "registries", "room", "certificates", "proxy"]) {
      expect([check, ...verdicts(signs(check))]).toEqual([check, "ok"]);
    }
    expect(signs("clock")[0]?.text).toContain(`within five minutes of ${world.address}`);
    expect(signs("room")[0]?.text).toMatch(/^a delivery needs .* and .* are free$/);
  });

  test("ends, and says who did not answer, when everybody is silent", async () => {
    await using silent = await listener();
    const signs = await doctor({ registry: silent.address });
    const [registry] = signs("registries").filter(({ verdict }) => verdict !== "ok");
    expect(registry?.text).toContain(silent.address);
    expect(verdicts(signs("room"))).toEqual(["warning"]);
  });

  test("a name without an address is wrong, and is looked up by nobody behind a proxy", async () => {
    const registry = "nowhere.invalid";
    expect((await doctor({ registry }))("dns")[0]).toMatchObject({
      verdict: "wrong",
      text: "nowhere.invalid has no address",
    });
    await using proxy = await listener("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    const env = { https_proxy: `http://${proxy.address}` };
    expect(verdicts((await doctor({ registry, env }))("dns"))).toEqual(["ok"]);
  });

  test("a certificate that has ended is wrong", async () => {
    const { expired, caPath } = testCertificates();
    const tls = { cert: expired.certificate, key: expired.key };
    await using over = await startLoopbackRegistry(join(folder, "over"), { images: IMAGES, tls });
    const credentials = [{ registry: over.address, caFile: caPath }];
    const signs = await doctor({ registry: over.address, site: { credentials } });
    expect(
      signs("certificates")
        .map(({ text }) => text)
        .join(),
    ).toContain(over.address);
    expect(verdicts(signs("certificates"))).toEqual(["wrong"]);
    expect(verdicts(signs("registries")).toSorted()).toEqual(["ok", "wrong"]);
  });

  test("tries the credentials, and tells a wrong one", async () => {
    const site = (passwordFile: string) => ({
      credentials: [{ registry: locked.address, username: LOGIN.username, passwordFile }],
    });
    const right = await doctor({ registry: locked.address, site: site("password") });
    expect(verdicts(right("credentials"))).toEqual(["ok"]);
    const bad = await doctor({ registry: locked.address, site: site("wrong") });
    expect(verdicts(bad("credentials"))).toEqual(["wrong"]);
  });

  test("tells the embedded registry from another program on its port", async () => {
    await using other = await listener("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    const taken = await doctor({ site: { registry: { listen: other.address } } });
    expect(verdicts(taken("port"))).toEqual(["wrong"]);
    await using ours = await startRegistryProgram(join(folder, "served"));
    const own = await doctor({ site: { registry: { listen: ours.address } } });
    expect(own("port")[0]?.text).toContain("a registry answers");
    const alien = await doctor({ site: { registry: { listen: "203.0.113.9:5055" } } });
    expect(alien("port")[0]?.text).toContain("EADDRNOTAVAIL");
  });

  test("a proxy in the way of the local registry is wrong, and variables that differ are odd", async () => {
    const localRegistry = { kind: "oci", address: "10.1.2.3:5000" };
    const env = { https_proxy: "http://user:canary@10.9.9.9:3128", HTTPS_PROXY: "http://other:1" };
    const signs = await doctor({ site: { localRegistry }, env });
    expect(verdicts(signs("proxy")).toSorted()).toEqual(["warning", "wrong"]);
    expect(signs("proxy").at(-1)?.text).toContain("10.1.2.3:5000");
    const exempt = await doctor({
      site: { localRegistry },
      env: { https_proxy: "http://10.9.9.9:3128", no_proxy: "10.0.0.0/8" },
    });
    expect(verdicts(exempt("proxy"))).toEqual(["ok"]);
    const broken = await doctor({ env: { https_proxy: "ftp://canary" } });
    expect(verdicts(broken("proxy"))).toEqual(["wrong"]);
  });

  test("a runtime that is named must be there", async () => {
    const runtime = { kind: "containerd", socket: join(folder, "no.sock") };
    const signs = await doctor({ site: { runtime } });
    expect(signs("runtime")[0]).toMatchObject({ verdict: "wrong" });
    expect(signs("runtime")[0]?.text).toContain("no.sock");
  });

  test.skipIf(!existsSync("/dev/shm"))("a store in memory is odd", async () => {
    const signs = await doctor({ site: { dataDir: "/dev/shm/dray-doctor" } });
    expect(signs("disk").some(({ text }) => text.includes("tmpfs"))).toBe(true);
  });

  test("inputs that can't be planned are refused", async () => {
    expect((await dray(["doctor", "-p", "/nowhere.json"])).exitCode).toBe(2);
    await writeFile(join(folder, "bad.yaml"), "dataDri: /x\n");
    expect((await dray(["doctor", "-s", join(folder, "bad.yaml")])).exitCode).toBe(2);
  });
});
