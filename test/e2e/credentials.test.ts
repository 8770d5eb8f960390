import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testCertificates } from "#test-support/certificates";
import { startHarbor } from "#test-support/harbor";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const LOGIN = { username: "edge", password: "canary-password" };
const { server, expired, caPath } = testCertificates();

interface World {
  readonly folder: Awaited<ReturnType<typeof temporaryFolder>>;
  readonly registries: Readonly<
    Record<"public" | "external" | "local" | "secure" | "over", LoopbackRegistry>
  >;
}

let world: World;

beforeAll(async () => {
  const folder = await temporaryFolder();
  const start = (name: string, more: Partial<Parameters<typeof startLoopbackRegistry>[1]>) =>
    startLoopbackRegistry(join(folder.path, name), {
      images: { "kairos/core:v1": { seed: name }, "team/app:v1": { seed: `${name} app` } },
      ...more,
    });
  const tls = ({ certificate, key }: typeof server) => ({ cert: certificate, key });
  world = {
    folder,
    registries: {
      public: await start("public", {}),
      external: await start("external", { login: LOGIN }),
      local: await start("local", { login: LOGIN }),
      secure: await start("secure", { login: LOGIN, tls: tls(server) }),
      over: await start("over", { login: LOGIN, tls: tls(expired) }),
    },
  };
});

afterAll(async () => {
  for (const registry of Object.values(world.registries)) await registry[Symbol.asyncDispose]();
  await world.folder[Symbol.asyncDispose]();
});

interface Inputs {
  /** Registry of the application's image. */
  readonly registry: string;
  readonly site?: object;
  readonly stylus?: object;
  readonly docker?: object;
}

async function credentials({ registry, site = {}, stylus = {}, docker }: Inputs) {
  const path = (name: string) => join(world.folder.path, name);
  const write = (name: string, value: object) => writeFile(path(name), JSON.stringify(value));
  const uri = `${world.registries.public.address}/kairos/core:v1`;
  const image = `${registry}/team/app:v1`;
  const packs = [
    { name: "byoi", layer: "os", values: JSON.stringify({ options: { "system.uri": uri } }) },
    {
      name: "app",
      layer: "addon",
      values: JSON.stringify({ pack: { content: { images: [{ image }] } } }),
    },
  ];
  await write("profile.json", { metadata: { name: "edge" }, spec: { template: { packs } } });
  await write("site.yaml", { dataDir: path("store"), ...site });
  await write("user-data.yaml", { stylus });
  await write("docker.json", docker ?? {});
  await writeFile(path("password"), `${LOGIN.password}\n`);
  await writeFile(path("wrong"), "canary-wrong\n");
  const args = [
    ...["credentials", "-p", path("profile.json"), "-u", path("user-data.yaml")],
    ...["-s", path("site.yaml")],
    ...(docker === undefined ? [] : ["--docker-config", path("docker.json")]),
  ];
  const [run, json] = [await dray(args), await dray([...args, "-o", "json"])];
  expect(json.exitCode).toBe(run.exitCode);
  expect(run.out + run.err + json.out + json.err).not.toContain("canary");
  const document = JSON.parse(json.out);
  expect([document.apiVersion, document.kind]).toEqual(["drayage/v1", "Credentials"]);
  return { ...run, credentials: document.credentials };
}

const declared = (registry: string, passwordFile: string, more: object = {}) => ({
  credentials: [{ registry, username: LOGIN.username, passwordFile, ...more }],
});

describe("dray credentials with a Harbor that a pack declares", () => {
  test("tries its administrator and both robots, and finds the one that was revoked", async () => {
    await using harbor = await startHarbor({ adminPassword: "canary-Harbor1" });
    const path = (name: string) => join(world.folder.path, name);
    const uri = `${world.registries.public.address}/kairos/core:v1`;
    const images = [{ image: `${world.registries.public.address}/team/app:v1` }];
    const charts = { harbor: { harborAdminPassword: harbor.adminPassword } };
    const packs = [
      { name: "byoi", layer: "os", values: JSON.stringify({ options: { "system.uri": uri } }) },
      { name: "app", layer: "addon", values: JSON.stringify({ pack: { content: { images } } }) },
      { name: "harbor", layer: "addon", values: JSON.stringify({ charts }) },
    ];
    const profile = { metadata: { name: "edge" }, spec: { template: { packs } } };
    const localRegistry = { address: harbor.address, caFile: harbor.caFile };
    await writeFile(path("harbor.json"), JSON.stringify(profile));
    await writeFile(path("harbor-site.yaml"), JSON.stringify({ localRegistry }));
    const inputs = ["-p", path("harbor.json"), "-s", path("harbor-site.yaml")];
    const dataDir = `--data-dir=${path("harbor-store")}`;

    const delivered = await dray(["deliver", ...inputs, dataDir, "--platform=linux/amd64"]);
    expect(delivered.exitCode).toBe(0);
    const before = await dray(["credentials", ...inputs, dataDir, "-o", "json"]);
    expect(before.exitCode).toBe(0);
    const [push = "", nodes = ""] = harbor.robots();
    const origins = [push, nodes].map((login) => `harbor-robot:${login}`);
    expect(statesOf(before.out)).toEqual([
      "pack:harbor ok",
      ...origins.map((origin) => `${origin} ok`).sort(),
    ]);

    harbor.revokeRobot(nodes);
    const after = await dray(["credentials", ...inputs, dataDir, "-o", "json"]);
    expect(after.exitCode).toBe(3);
    expect(statesOf(after.out)).toContain(`harbor-robot:${nodes} refused`);
    expect(statesOf(after.out)).toContain(`harbor-robot:${push} ok`);
    for (const { out, err } of [delivered, before, after])
      expect(out + err).not.toContain("canary");
  });

  const statesOf = (out: string): readonly string[] => {
    const { credentials: told } = JSON.parse(out);
    return told
      .map(({ credential, state }: Record<string, string>) => `${credential} ${state}`)
      .sort(
        (a: string, b: string) =>
          Number(b.startsWith("pack")) - Number(a.startsWith("pack")) || (a < b ? -1 : 1),
      );
  };
});

describe("dray credentials", () => {
  test("says so where no registry needs one", async () => {
    const { registries } = world;
    const run = await credentials({ registry: registries.public.address });
    expect([run.exitCode, run.out, run.credentials]).toEqual([
      ...[0, "No registry of this plan needs a credential.\n", []],
    ]);
  });

  test("tries the credential of the packs, and of the local registry, and finds them in order", async () => {
    const { external, local } = world.registries;
    const { username } = LOGIN;
    const run = await credentials({
      registry: external.address,
      site: {
        ...declared(external.address, "password"),
        localRegistry: { kind: "oci", address: local.address, username, passwordFile: "password" },
      },
    });
    expect(run.exitCode).toBe(0);
    expect(run.credentials).toMatchObject([
      { registry: external.address, role: "packs", credential: "site:credentials[0]", state: "ok" },
      { registry: local.address, role: "local", credential: "site:localRegistry", state: "ok" },
    ]);
    expect(run.out).toMatch(
      /^ok {2}packs {2}127\.0\.0\.1:\d+ +site:credentials\[0\] {2}It lets us/,
    );
    expect(run.out.split("\n")).toHaveLength(3);
  });

  test("finds a wrong password, also of the local registry, and says where it stands", async () => {
    const { external, local } = world.registries;
    const { username } = LOGIN;
    const run = await credentials({
      registry: external.address,
      site: {
        ...declared(external.address, "wrong"),
        localRegistry: { kind: "oci", address: local.address, username, passwordFile: "wrong" },
      },
    });
    expect(run.exitCode).toBe(3);
    expect(run.credentials).toMatchObject([
      { state: "refused", hint: expect.stringContaining("site:credentials[0]") },
      { state: "refused", hint: expect.stringContaining("site:localRegistry") },
    ]);
    expect(run.out).toContain("  hint: ");
  });

  test("reads when the registry's certificate and the authority end", async () => {
    const { secure } = world.registries;
    const run = await credentials({
      registry: secure.address,
      site: declared(secure.address, "password", { caFile: caPath }),
    });
    expect(run.exitCode).toBe(0);
    expect(run.credentials).toMatchObject([
      {
        state: "ok",
        expiries: [
          { what: "authority", ends: "2100-01-01T00:00:00.000Z" },
          { what: "server-certificate", ends: "2100-01-01T00:00:00.000Z" },
        ],
      },
    ]);
    expect(run.out).toContain("its certificate (");
  });

  test("finds a certificate that is over, and one that is not trusted", async () => {
    const { secure, over } = world.registries;
    const ended = await credentials({
      registry: over.address,
      site: declared(over.address, "password", { caFile: caPath }),
    });
    expect([ended.exitCode, ended.credentials[0].state]).toEqual([3, "expired"]);
    expect(ended.out).toContain("ended on 2001-");
    const untrusted = await credentials({
      registry: secure.address,
      site: declared(secure.address, "password"),
    });
    expect([untrusted.exitCode, untrusted.credentials[0].state]).toEqual([3, "refused"]);
  });

  test("finds a token that is over", async () => {
    const { external } = world.registries;
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const registrytoken = `${encode({ alg: "none", note: "canary" })}.${encode({ exp: 1e9 })}.c2ln`;
    const docker = { auths: { [external.address]: { registrytoken } } };
    const run = await credentials({ registry: external.address, docker });
    expect([run.exitCode, run.credentials[0].state]).toEqual([3, "expired"]);
    expect(run.out).toContain("the token (JWT) ended on 2001-09-09");
    expect(run.out).not.toContain(registrytoken);
  });

  test("a registry that is down is a warning, and a credential without work is told", async () => {
    const down = "127.0.0.1:9";
    const login = { username: "edge", password: "canary-external" };
    const run = await credentials({
      registry: down,
      stylus: { registryCredentials: { domain: `${down}/mirror`, ...login } },
      site: declared("idle.example", "password"),
    });
    expect(run.exitCode).toBe(0);
    expect(run.credentials).toMatchObject([
      { role: "external", state: "unreachable", hint: expect.any(String) },
      { role: "packs", registry: "idle.example", state: "untried", image: null },
    ]);
  });

  test("refuses a plan with faults", async () => {
    const run = await dray(["credentials"]);
    expect(run.exitCode).toBe(2);
    expect(run.err).toContain("profile-missing");
  });
});
