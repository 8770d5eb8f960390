import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const PROVIDER_LOGIN = { username: "kairos", password: "provider-canary" };
const EXTERNAL_LOGIN = { username: "mirror", password: "external-canary" };
const LOCAL_LOGIN = { username: "site", password: "local-canary" };
const SECRETS = [PROVIDER_LOGIN, EXTERNAL_LOGIN, LOCAL_LOGIN].map(({ password }) => password);

/** Not the default one: our own registry, which plays a foreign one here, knows that from its store. */
const PROJECT = "site-images";

/** Where nothing is uploaded to: a plan asks nobody. */
const NOWHERE = "127.0.0.1:9";

/** Every combination of the three features, and whether the design's table allows it. */
const COMBINATIONS = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => {
  const [local, external, provider] = [(bits & 4) !== 0, (bits & 2) !== 0, (bits & 1) !== 0];
  return { local, external, provider, isSupported: !(provider && (local || external)) };
});

interface World {
  readonly folder: Awaited<ReturnType<typeof temporaryFolder>>;
  /** Asks for the provider's password, or for none, or for the external registry's. */
  readonly registries: Readonly<Record<"provider" | "public" | "external", LoopbackRegistry>>;
}

let world: World;

beforeAll(async () => {
  const folder = await temporaryFolder();
  const start = (name: string, names: readonly string[], login?: typeof PROVIDER_LOGIN) =>
    startLoopbackRegistry(join(folder.path, name), {
      images: Object.fromEntries(names.map((image) => [image, { seed: `${name} ${image}` }])),
      ...(login === undefined ? {} : { login }),
    });
  const names = ["kairos/core:v1", "team/app:v1"];
  world = {
    folder,
    registries: {
      provider: await start("provider", names, PROVIDER_LOGIN),
      public: await start("public", names),
      external: await start("external", ["mirror/core:v1", "mirror/app:v1"], EXTERNAL_LOGIN),
    },
  };
});

afterAll(async () => {
  for (const registry of Object.values(world.registries)) await registry[Symbol.asyncDispose]();
  await world.folder[Symbol.asyncDispose]();
});

type Combination = (typeof COMBINATIONS)[number];

async function writeInputs(
  { local, external, provider }: Combination,
  combinations: string,
  localAddress = NOWHERE,
) {
  const { registries } = world;
  const home = provider ? registries.provider : registries.public;
  const values = {
    options: { "system.uri": `${home.address}/kairos/core:v1` },
    ...(provider
      ? {
          providerCredentials: {
            registry: home.address,
            user: PROVIDER_LOGIN.username,
            password: PROVIDER_LOGIN.password,
          },
        }
      : {}),
  };
  const image = `${registries.public.address}/team/app:v1`;
  const packs = [
    { name: "edge-native-byoi", layer: "os", values: JSON.stringify(values) },
    {
      name: "app",
      layer: "addon",
      values: JSON.stringify({ pack: { content: { images: [{ image }] } } }),
    },
  ];
  const domain = `${registries.external.address}/mirror`;
  const stylus = external ? { registryCredentials: { domain, ...EXTERNAL_LOGIN } } : {};
  const site = {
    apiVersion: "drayage/v1",
    kind: "Site",
    combinations,
    ...(local ? { localRegistry: localRegistryAt(localAddress) } : {}),
  };
  const path = (name: string) => join(world.folder.path, name);
  await writeFile(
    path("profile.json"),
    JSON.stringify({ metadata: { name: "edge" }, spec: { template: { packs } } }),
  );
  await writeFile(path("user-data.yaml"), `#cloud-config\n${JSON.stringify({ stylus })}\n`);
  await writeFile(path("site.yaml"), JSON.stringify(site));
  await writeFile(path("local-password"), LOCAL_LOGIN.password);
  return [
    "--profile",
    path("profile.json"),
    "--user-data",
    path("user-data.yaml"),
    "--site",
    path("site.yaml"),
  ];
}

function localRegistryAt(address: string) {
  const { username } = LOCAL_LOGIN;
  return { kind: "oci", address, project: PROJECT, username, passwordFile: "local-password" };
}

/** An empty registry that wants a password, served by a program of its own, as on a site. */
async function startLocalRegistry(name: string) {
  const { username, password } = LOCAL_LOGIN;
  const htpasswd = join(world.folder.path, "htpasswd");
  const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
  await writeFile(htpasswd, `${username}:${hash}\n`, { mode: 0o600 });
  const words = [`--htpasswd=${htpasswd}`, "--catalog"];
  return startRegistryProgram(join(world.folder.path, `local-${name}`), words);
}

/** The digest that an image has where it was fetched from. */
async function digestAt(source: string, isExternal: boolean): Promise<string | null> {
  const [, address, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(source) ?? [];
  const { username, password } = EXTERNAL_LOGIN;
  const authorization = `Basic ${btoa(`${username}:${password}`)}`;
  const answer = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, {
    method: "HEAD",
    ...(isExternal ? { headers: { authorization } } : {}),
  });
  expect(answer.status).toBe(200);
  return answer.headers.get("docker-content-digest");
}

async function askLocal(address: string, path: string, method = "GET"): Promise<Response> {
  const { username, password } = LOCAL_LOGIN;
  const authorization = `Basic ${btoa(`${username}:${password}`)}`;
  return fetch(`http://${address}/v2/${path}`, { method, headers: { authorization } });
}

async function plan(args: readonly string[]) {
  const run = await dray(["plan", ...args, "--output=json"]);
  return { exitCode: run.exitCode, text: run.out + run.err, document: JSON.parse(run.out) };
}

describe("combinations of local registry, authenticated external and authenticated provider", () => {
  for (const combination of COMBINATIONS) {
    const { local, external, provider, isSupported } = combination;
    const name = Object.entries({ local, external, provider })
      .filter(([, isOn]) => isOn)
      .map(([feature]) => feature)
      .join(" + ");

    test(`${name || "none"}: strict ${isSupported ? "accepts" : "refuses, naming what clashes"}`, async () => {
      const { exitCode, text, document } = await plan(await writeInputs(combination, "strict"));
      expect(exitCode).toBe(isSupported ? 0 : 2);
      expect(document.combination).toEqual({ supported: isSupported, needsExtended: !isSupported });
      const clashes = document.faults.filter(
        ({ code }: { code: string }) => code === "combination-unsupported",
      );
      expect(clashes).toHaveLength(isSupported ? 0 : Number(local) + Number(external));
      for (const { message } of clashes) expect(message).toContain("providerCredentials");
      for (const secret of SECRETS) expect(text).not.toContain(secret);
    });

    test(`${name || "none"}: extended is planned and delivered with the passwords that are asked for`, async () => {
      await using site = await startLocalRegistry(name);
      const args = await writeInputs(combination, "extended", site.address);
      const { document } = await plan(args);
      expect(document.combination).toEqual({ supported: true, needsExtended: !isSupported });
      const [core] = document.stages[0].images;
      const [app] = document.stages[2].images;
      const mirror = `${world.registries.external.address}/mirror`;
      const home = provider ? world.registries.provider : world.registries.public;
      expect(core.source).toBe(
        external && !provider ? `${mirror}/core:v1` : `${home.address}/kairos/core:v1`,
      );
      expect(core.credential).toBe(
        provider
          ? "os-pack:providerCredentials"
          : external
            ? "user-data:registryCredentials"
            : null,
      );
      expect(app.source).toBe(
        external ? `${mirror}/app:v1` : `${world.registries.public.address}/team/app:v1`,
      );
      const uploaded = `${PROJECT}/${world.registries.public.address.replace(":", "_")}/team/app`;
      expect(core.local).toBeNull();
      expect(app.local).toBe(local ? `${site.address}/${uploaded}:v1` : null);
      expect(document.registries.local?.credential ?? null).toBe(
        local ? "site:localRegistry" : null,
      );
      const store = join(world.folder.path, `store-${name}`);
      const run = await dray(["deliver", ...args, "--data-dir", store, "--platform=linux/amd64"]);
      expect(run.out + run.err).toContain("2 images");
      expect(run.exitCode).toBe(0);
      for (const secret of SECRETS) expect(run.out + run.err).not.toContain(secret);

      const catalog = await (await askLocal(site.address, "_catalog")).json();
      expect(catalog).toEqual({ repositories: local ? [uploaded] : [] });
      const stored = await askLocal(site.address, `${uploaded}/manifests/v1`, "HEAD");
      expect(stored.headers.get("docker-content-digest")).toBe(
        local ? await digestAt(app.source, external) : null,
      );
    });
  }
});
