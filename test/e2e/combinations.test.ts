import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type LoopbackRegistry, startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const PROVIDER_LOGIN = { username: "kairos", password: "provider-canary" };
const EXTERNAL_LOGIN = { username: "mirror", password: "external-canary" };
const SECRETS = [PROVIDER_LOGIN.password, EXTERNAL_LOGIN.password];

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

async function writeInputs({ local, external, provider }: Combination, combinations: string) {
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
    ...(local ? { localRegistry: { kind: "embedded" } } : {}),
  };
  const path = (name: string) => join(world.folder.path, name);
  await writeFile(
    path("profile.json"),
    JSON.stringify({ metadata: { name: "edge" }, spec: { template: { packs } } }),
  );
  await writeFile(path("user-data.yaml"), `#cloud-config\n${JSON.stringify({ stylus })}\n`);
  await writeFile(path("site.yaml"), JSON.stringify(site));
  return [
    "--profile",
    path("profile.json"),
    "--user-data",
    path("user-data.yaml"),
    "--site",
    path("site.yaml"),
  ];
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
      const args = await writeInputs(combination, "extended");
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
      expect(app.local === null).toBe(!local);
      const store = join(world.folder.path, `store-${name}`);
      const run = await dray(["deliver", ...args, "--data-dir", store, "--platform=linux/amd64"]);
      expect(run.out + run.err).toContain("2 images");
      expect(run.exitCode).toBe(0);
      for (const secret of SECRETS) expect(run.out + run.err).not.toContain(secret);
    });
  }
});
