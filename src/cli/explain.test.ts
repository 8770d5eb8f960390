import { describe, expect, test } from "bun:test";
import { isFailure } from "#base";
import { createManualClock } from "#test-support/clock";
import {
  app,
  type ClusterSketch,
  OS,
  osPack,
  PROVIDER_IMAGE,
  registrySecret,
  writeCluster,
} from "#test-support/plan-inputs";
import type { CliContext } from "./context.ts";
import { runExplain } from "./explain.ts";
import { type OutputFormat, runPlan } from "./plan.ts";

/** Runs both planning commands on a cluster, and keeps what they print. */
function commands(sketch: ClusterSketch) {
  const { names, files } = writeCluster(sketch);
  const { profiles: profile, ...others } = names;
  const run = async (command: (context: CliContext) => Promise<number>) => {
    const printed = { out: "", err: "" };
    const context: CliContext = {
      env: {},
      home: "/home/edge",
      version: "0.0.0",
      clock: createManualClock(),
      random: () => 0,
      files,
      platform: "linux/amd64",
      out: (text) => {
        printed.out += text;
      },
      err: (text) => {
        printed.err += text;
      },
      isTerminal: false,
      columns: () => 80,
      startWorker: () => {
        throw new Error("nothing here works for an agent");
      },
      signal: new AbortController().signal,
    };
    const exit = await command(context);
    return { exit, ...printed };
  };
  return {
    plan: (output: OutputFormat) => {
      return run((context) => runPlan({ profile, ...others, output }, context));
    },
    explain: (reference: string, output: OutputFormat = "text") => {
      return run((context) => runExplain(reference, { profile, ...others, output }, context));
    },
  };
}

const SHOP = "quay.io/team/shop:1.2";
const CLUSTER: ClusterSketch = {
  packs: [OS, app("shop", SHOP, "quay.io/team/shop:1.3", "ghcr.io/org/logs:2")],
  stylus: { registryCredentials: { domain: "mirror.example/images", username: "edge" } },
  site: { localRegistry: { kind: "harbor", address: "10.0.0.5:30003" } },
};

describe("runExplain()", () => {
  test("tells of one image the source, credential, destination, every reason, every place", async () => {
    const { exit, out, err } = await commands(CLUSTER).explain(SHOP);
    expect({ exit, err }).toEqual({ exit: 0, err: "" });
    expect(out).toBe(`\
quay.io/team/shop:1.2
  stage application; wanted by shop (addon)
  from  mirror.example/images/shop:1.2
  with  user-data:registryCredentials
  to    the store, then 10.0.0.5:30003/spectro-images/quay.io/team/shop:1.2
  because
    external-registry: The user data names the external registry mirror.example/images, which serves every image
    rewrite-replace: All before the last path segment of quay.io/team/shop:1.2 is replaced: mirror.example/images/shop:1.2
    external-credentials: user-data:registryCredentials holds the credential for mirror.example/images, the longest match for mirror.example/images/shop
    local-upload: An application pack declares it, so it is uploaded to the local registry as 10.0.0.5:30003/spectro-images/quay.io/team/shop:1.2; if it refuses an index with absent platforms, the one platform goes under that name, and pulls by the index's digest are answered by the embedded registry only (localRegistry.indexes: one-platform)
    local-serve: From then on the local registry 10.0.0.5:30003 answers the cluster for it
  declared at
    store.json:17:102 spec.template.packs[1].values:pack.content.images[0].image
`);
  });

  test.each([
    ["the declared name", SHOP],
    ["the name it is fetched by", "mirror.example/images/shop:1.2"],
    ["its name in the local registry", `10.0.0.5:30003/spectro-images/${SHOP}`],
    ["the declared name with a scheme", `oci://${SHOP}`],
  ])("finds an image by %s", async (_, reference) => {
    const [image, ...others] = JSON.parse((await commands(CLUSTER).explain(reference, "json")).out);
    expect(others).toEqual([]);
    expect(image).toMatchObject({
      declared: SHOP,
      source: "mirror.example/images/shop:1.2",
      stage: "application",
      credential: "user-data:registryCredentials",
      local: `10.0.0.5:30003/spectro-images/${SHOP}`,
      packs: ["shop"],
      at: [{ file: "store.json" }],
    });
  });

  test("finds every tag of a repository by its bare name", async () => {
    const images = JSON.parse((await commands(CLUSTER).explain("quay.io/team/shop", "json")).out);
    expect(images.map(({ declared }: { declared: string }) => declared)).toEqual([
      SHOP,
      "quay.io/team/shop:1.3",
    ]);
  });

  test("finds a short name of Docker Hub", async () => {
    const { out } = await commands({ packs: [OS, app("a", "busybox")] }).explain("busybox");
    expect(out).toStartWith("docker.io/library/busybox:latest\n");
  });

  const failureOf = async (reference: string) => {
    try {
      await commands(CLUSTER).explain(reference);
    } catch (error) {
      if (isFailure(error)) return error;
      throw error;
    }
    throw new Error(`${reference} was found`);
  };

  test.each([
    [
      "a tag that is not declared",
      "quay.io/team/shop:9",
      `Declared are ${SHOP}, quay.io/team/shop:1.3`,
    ],
    ["a slip", "ghcr.io/org/lgos:2", 'Did you mean "ghcr.io/org/logs:2"?'],
    ["a stranger", "docker.io/library/postgres:17", "dray plan lists what is declared"],
  ])("fails for %s, with a hint", async (_, reference, hint) => {
    expect(await failureOf(reference)).toMatchObject({ code: "image-unknown", hint });
    expect((await failureOf(reference)).message).toContain(reference);
  });

  const faulty = { packs: [OS, app("a", "Not A Reference", "also: not")] };

  test("explains beside faults, which it tells with exit code 2", async () => {
    const { exit, out, err } = await commands(faulty).explain(PROVIDER_IMAGE);
    expect({ exit, out }).toEqual({
      exit: 2,
      out: (await commands({ packs: [OS] }).explain(PROVIDER_IMAGE)).out,
    });
    expect(err.match(/\[reference-invalid\]/g)).toHaveLength(2);
  });

  test("does not call an image unknown that faults may have hidden", async () => {
    const { exit, out, err } = await commands(faulty).explain("quay.io/other/image:1");
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err).not.toContain("image-unknown");
  });

  test("answers a program beside faults with the plan, as dray plan does", async () => {
    const { exit, out } = await commands(faulty).explain(PROVIDER_IMAGE, "json");
    expect({ exit, out }).toEqual({ exit: 2, out: (await commands(faulty).plan("json")).out });
    expect(JSON.parse(out).faults).toMatchObject([{ code: "reference-invalid" }, {}]);
  });
});

describe("Docker's configuration", () => {
  test("points into the site file where that names a file that is not there", async () => {
    const { exit, err } = await commands({
      packs: [OS],
      site: { dockerConfig: "maybe.json" },
    }).plan("text");
    expect(exit).toBe(2);
    expect(err).toMatch(/^error: site\.yaml:4:19: .*maybe\.json/m);
  });

  const auths = { "quay.io": { auth: btoa("docker:pw") } };
  const files = { "/home/edge/.docker/config.json": JSON.stringify({ auths }) };
  const credential = async (site: ClusterSketch["site"]) => {
    const { out } = await commands({ packs: [OS], site: site ?? {}, files }).explain(
      PROVIDER_IMAGE,
      "json",
    );
    return JSON.parse(out)[0].credential;
  };

  test("is left alone unless the person says so", async () => {
    expect(await credential({})).toBeNull();
    expect(await credential({ dockerConfig: true })).toBe("docker-config");
  });
});

/** A password no part of which may be printed; each field has its own, so that a leak names its field. */
const canary = (field: string) => `hunter2-${field}-hunter2`;
const pem = (field: string) =>
  `-----BEGIN CERTIFICATE-----\n${canary(field)}\n-----END CERTIFICATE-----`;

function withSecrets(field: (name: string) => string): ClusterSketch {
  const secret = registrySecret("reg-a", {
    url: "reg.example.com",
    username: "u",
    password: field("secret"),
  });
  const userinfo = (host: string) => `https://edge:${field(host)}@${host}`;
  return {
    packs: [
      osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: field("provider") }),
      { ...app("shop", "reg.example.com/shop:1", "a.io/x:1"), manifests: [secret] },
    ],
    stylus: {
      registryCredentials: { domain: "mirror.example", username: "e", password: field("external") },
      site: {
        network: { httpProxy: userinfo("proxy.example"), httpsProxy: userinfo("proxy.example") },
      },
    },
    site: {
      combinations: "extended",
      credentials: [
        { registry: "a.io", username: "edge", passwordFile: "site-password" },
        { registry: "unused.example", username: "edge", passwordFile: "site-password" },
      ],
      localRegistry: { kind: "harbor", address: "10.0.0.5:1", passwordFile: "local-password" },
    },
    files: { "site-password": `${field("site")}\n`, "local-password": `${field("local")}\n` },
  };
}

/** Everything that the planning commands print. */
async function everything(sketch: ClusterSketch): Promise<string> {
  const { plan, explain } = await commands(sketch);
  return JSON.stringify([
    await plan("text"),
    await plan("json"),
    await explain(PROVIDER_IMAGE),
    await explain(PROVIDER_IMAGE, "json"),
  ]);
}

describe("secrets", () => {
  test("are in no output of a sound plan", async () => {
    const sketch = withSecrets(canary);
    expect(await commands(sketch).plan("json")).toMatchObject({ exit: 0 });
    expect(await everything(sketch)).not.toContain("hunter2");
  });

  const stylusOf = (fields: object) => ({
    registryCredentials: { domain: "mirror.example", ...fields },
  });

  test.each<[string, Partial<ClusterSketch>]>([
    ["a clash of registries", { site: {} }],
    [
      "a password that is no base64",
      { stylus: stylusOf({ password: canary("base64"), encodedPassword: true }) },
    ],
    ["a certificate that is none", { stylus: { site: { caCerts: [pem("pem")] } } }],
    [
      "userinfo in the external registry",
      { stylus: stylusOf({ domain: `https://edge:${canary("domain")}@mirror.example` }) },
    ],
    [
      "userinfo in a mapping rule",
      {
        stylus: {
          externalRegistries: {
            registryMappingRules: { "a.io": `https://edge:${canary("to")}@mirror.example` },
          },
        },
      },
    ],
    [
      "userinfo in providerCredentials",
      {
        packs: [
          osPack(PROVIDER_IMAGE, {
            registry: `https://edge:${canary("registry")}@quay.io`,
            user: "x",
          }),
        ],
      },
    ],
    [
      "userinfo in a site credential",
      { site: { credentials: [{ registry: `https://edge:${canary("site")}@a.io` }] } },
    ],
    [
      "userinfo in the local registry's address",
      { site: { localRegistry: { kind: "oci", address: `https://edge:${canary("local")}@a.io` } } },
    ],
    [
      "userinfo in a reference",
      { packs: [OS, app("a", `https://edge:${canary("image")}@a.io/x:1`)] },
    ],
    [
      "userinfo in an extra image",
      { packs: [OS], site: { extraImages: [`edge:${canary("extra")}@a.io/x:1`] } },
    ],
    [
      "a Secret without a url",
      {
        packs: [
          OS,
          { ...app("a"), manifests: [registrySecret("r", { password: canary("secret") })] },
        ],
      },
    ],
    [
      "a Secret with userinfo",
      {
        packs: [
          OS,
          {
            ...app("a"),
            manifests: [registrySecret("r", { url: `https://edge:${canary("url")}@a.io` })],
          },
        ],
      },
    ],
    ["a password of the wrong shape", { stylus: stylusOf({ password: [canary("list")] }) }],
    ["a password under a misspelt key", { stylus: stylusOf({ pasword: canary("key") }) }],
  ])("are in no output of a plan refused for, or warned of, %s", async (_, changes) => {
    const sketch = { ...withSecrets(canary), ...changes };
    expect(await everything(sketch)).not.toContain("hunter2");
  });

  test.each([
    ["an alias", "*"],
    ["an anchor", "&"],
    ["a tag", "!"],
    ["a directive", "%"],
    ["a reserved sign", "@"],
    ["a mapping", "{"],
    ["a list", "["],
    ["an open quote", "'"],
    ["a nested key", "a: "],
    ["a folded block", "> "],
  ])("are in no output when YAML takes a password for %s", async (_, start) => {
    const text = `#cloud-config
stylus:
  registryCredentials:
    domain: mirror.example
    password: ${start}${canary("password")}: b
`;
    const files = { "user-data.yaml": text };
    expect(await everything({ packs: [OS], stylus: {}, files })).not.toContain("hunter2");
  });
});
