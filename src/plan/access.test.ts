import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import { formatReference } from "#reference";
import {
  app,
  type ClusterSketch,
  imageOf,
  OS,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  registrySecret,
  rulesOf,
  warningCodes,
} from "#test-support/plan-inputs";
import type { DockerCredentials } from "./access.ts";

const SHOP = "reg.example.com/team/shop:1";

/** An application pack that brings registry Secrets along. */
function shopWith(...manifests: readonly string[]) {
  return { ...app("shop", SHOP), manifests };
}

/** The username and password, in clear, with which an image is fetched. */
function login(sketch: ClusterSketch, image = SHOP): string | null {
  const { credential } = imageOf(planCluster(sketch), image).access;
  if (credential?.kind !== "password") return null;
  return `${credential.username}:${credential.password.reveal()}`;
}

function origin(sketch: ClusterSketch, image = SHOP): string | null {
  return imageOf(planCluster(sketch), image).access.origin;
}

/** Credentials of the site file, `registry` by `registry`, each with a password file of its own. */
function siteCredentials(...registries: readonly string[]): ClusterSketch {
  const credentials = registries.map((registry, i) => {
    return { registry, username: `site-${i}`, passwordFile: `password-${i}` };
  });
  const files = registries.map((_, i) => [`password-${i}`, `secret-${i}\n`]);
  return { site: { credentials }, files: Object.fromEntries(files) };
}

describe("rule external-credentials", () => {
  test("uses username and password of the entry that serves the image, for provider images too", () => {
    const registryCredentials = { domain: "mirror.example", username: "edge", password: "pw" };
    const sketch = { packs: [OS, app("shop", SHOP)], stylus: { registryCredentials } };
    for (const image of [SHOP, PROVIDER_IMAGE]) {
      expect(login(sketch, image)).toBe("edge:pw");
      expect(origin(sketch, image)).toBe("user-data:registryCredentials");
      expect(rulesOf(planCluster(sketch), image)).toContain("external-credentials");
    }
  });

  test("decodes the password when encodedPassword is true", () => {
    const registryCredentials = {
      domain: "mirror.example",
      username: "edge",
      password: btoa("pass word"),
      encodedPassword: true,
    };
    const sketch = { packs: [OS, app("shop", SHOP)], stylus: { registryCredentials } };
    expect(login(sketch)).toBe("edge:pass word");
  });

  test("takes the entry with the longest match on whole segments", () => {
    const registries = [
      { domain: "mirror.example", username: "whole", password: "0" },
      { domain: "mirror.example/team", username: "team", password: "1" },
      { domain: "mirror.example/team-b", username: "other", password: "2" },
    ];
    const registryMappingRules = { "reg.example.com": "mirror.example" };
    const stylus = { externalRegistries: { registries, registryMappingRules } };
    const packs = [OS, app("shop", SHOP, "reg.example.com/teamwork/x:1")];
    expect(origin({ packs, stylus })).toBe("user-data:externalRegistries[1]");
    expect(origin({ packs, stylus }, "reg.example.com/teamwork/x:1")).toBe(
      "user-data:externalRegistries[0]",
    );
  });

  test("passes insecure and certificates on, of the serving entry only", () => {
    const registries = [
      { domain: "one.example", insecure: true },
      { domain: "two.example", username: "edge", password: "x" },
    ];
    const registryMappingRules = { "quay.io": "two.example/quay" };
    const stylus = { externalRegistries: { registries, registryMappingRules } };
    const plan = planCluster({ packs: [OS, app("shop", SHOP)], stylus });
    expect(imageOf(plan, SHOP).access).toEqual({ origin: null, insecure: true, certificates: [] });
    expect(imageOf(plan, PROVIDER_IMAGE).access.insecure).toBe(false);
  });

  test("gives an image that is mapped elsewhere no credential of the external registry", () => {
    const stylus = {
      externalRegistries: {
        registries: [{ domain: "mirror.example/a", username: "edge", password: "x" }],
        registryMappingRules: { "reg.example.com": "mirror.example/b" },
      },
    };
    expect(origin({ packs: [OS, app("shop", SHOP)], stylus })).toBeNull();
  });
});

describe("rule provider-credentials", () => {
  const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: "pw" });

  test("serve provider images", () => {
    expect(login({ packs: [os] }, PROVIDER_IMAGE)).toBe("edge:pw");
    expect(origin({ packs: [os] }, PROVIDER_IMAGE)).toBe("os-pack:providerCredentials");
    expect(rulesOf(planCluster({ packs: [os] }), PROVIDER_IMAGE)).toContain("provider-credentials");
  });

  test("serve no other image, be it of the same registry or of the OS pack", () => {
    const values = { pack: { content: { images: [{ image: "quay.io/kairos/other:1" }] } } };
    const packs = [
      { ...os, values: { ...os.values, ...values } },
      app("shop", "quay.io/kairos/shop:1"),
    ];
    expect(origin({ packs }, "quay.io/kairos/shop:1")).toBeNull();
    expect(origin({ packs }, "quay.io/kairos/other:1")).toBeNull();
  });

  test("may name a leading path of the provider image", () => {
    const packs = [osPack(PROVIDER_IMAGE, { registry: "quay.io/kairos", user: "edge" })];
    expect(origin({ packs }, PROVIDER_IMAGE)).toBe("os-pack:providerCredentials");
  });

  test("are not sent where a mapping rule leads, and a warning says so", () => {
    const registryMappingRules = { "quay.io": "mirror.example" };
    const plan = planCluster({
      packs: [os],
      stylus: { externalRegistries: { registryMappingRules } },
    });
    expect(imageOf(plan, PROVIDER_IMAGE).access.origin).toBeNull();
    expect(plan.warnings).toMatchObject([{ code: "credential-unused", file: "store.json" }]);
    expect(plan.warnings[0]?.message).toContain("mirror.example");
  });
});

describe("rule pack-credentials", () => {
  const secret = (name: string, url: string) => {
    return registrySecret(name, { url, username: name, password: `pw-${name}` });
  };

  test("takes the registry Secret of the host", () => {
    const packs = [OS, shopWith(secret("reg-a", "https://reg.example.com"))];
    expect(origin({ packs })).toBe("secret:reg-a");
    expect(login({ packs })).toBe("reg-a:pw-reg-a");
    expect(rulesOf(planCluster({ packs }), SHOP)).toEqual(["pack-registry", "pack-credentials"]);
  });

  test.each([
    ["a host that only ends alike", "g.example.com"],
    ["another port", "reg.example.com:5000"],
    ["a path that only begins alike", "reg.example.com/tea"],
  ])("does not take a Secret for %s", (_, url) => {
    expect(origin({ packs: [OS, shopWith(secret("reg-a", url))] })).toBeNull();
  });

  test("takes the longest match on whole segments", () => {
    const urls = ["reg.example.com", "reg.example.com/team", "reg.example.com/teamwork"];
    const packs = [OS, shopWith(...urls.map((url, i) => secret(`reg-${i}`, url)))];
    expect(origin({ packs })).toBe("secret:reg-1");
  });

  test("takes the site file's credentials by the longest match", () => {
    const sketch = siteCredentials("reg.example.com", "reg.example.com/team");
    const packs = [OS, app("shop", SHOP, "reg.example.com/x:1")];
    expect(origin({ packs, ...sketch })).toBe("site:credentials[1]");
    expect(login({ packs, ...sketch })).toBe("site-1:secret-1");
    expect(origin({ packs, ...sketch }, "reg.example.com/x:1")).toBe("site:credentials[0]");
  });

  test.each([
    ["the site file on a draw", "reg.example.com", "reg.example.com", "site:credentials[0]"],
    ["the Secret when it is longer", "reg.example.com/team", "reg.example.com", "secret:reg-a"],
    [
      "the site file when it is longer",
      "reg.example.com",
      "reg.example.com/team",
      "site:credentials[0]",
    ],
  ])("between a Secret and the site file takes %s", (_, secretUrl, siteRegistry, expected) => {
    const packs = [OS, shopWith(secret("reg-a", secretUrl))];
    expect(origin({ packs, ...siteCredentials(siteRegistry) })).toBe(expected);
  });

  test("leaves a Secret alone for provider images", () => {
    const packs = [OS, shopWith(secret("reg-a", "quay.io"))];
    expect(origin({ packs }, PROVIDER_IMAGE)).toBeNull();
  });

  test("does not send the Secret of the declared registry to the external one", () => {
    const packs = [OS, shopWith(secret("reg-a", "reg.example.com"))];
    const stylus = { registryCredentials: { domain: "mirror.example" } };
    expect(origin({ packs, stylus })).toBeNull();
    expect(warningCodes(planCluster({ packs, stylus }))).toEqual(["credential-unused"]);
  });

  test("of two Secrets for one registry takes the same, whatever the order of the packs", () => {
    const a = { ...app("a", SHOP), manifests: [secret("reg-a", "reg.example.com")] };
    const b = { ...app("b"), manifests: [secret("reg-b", "reg.example.com")] };
    expect(origin({ packs: [OS, a, b] })).toBe("secret:reg-a");
    expect(origin({ packs: [OS, b, a] })).toBe("secret:reg-a");
  });
});

describe("Docker's configuration", () => {
  const docker: DockerCredentials = (source) => {
    if (formatReference(source) !== SHOP) return undefined;
    return { kind: "password", username: "docker", password: new Secret("pw") };
  };
  const packs = [OS, app("shop", SHOP)];

  test("is left alone unless it is passed in", () => {
    expect(imageOf(planCluster({ packs }), SHOP).access.origin).toBeNull();
  });

  test("is asked with the source, and named as the origin", () => {
    const plan = planCluster({ packs }, docker);
    expect(imageOf(plan, SHOP).access).toMatchObject({
      origin: "docker-config",
      credential: { username: "docker" },
    });
    expect(imageOf(plan, PROVIDER_IMAGE).access.origin).toBeNull();
  });

  test("is asked last", () => {
    const asked: string[] = [];
    const recording: DockerCredentials = (source) => {
      asked.push(formatReference(source));
      return docker(source);
    };
    const plan = planCluster({ packs, ...siteCredentials("reg.example.com") }, recording);
    expect(imageOf(plan, SHOP).access.origin).toBe("site:credentials[0]");
    expect(asked).toEqual([PROVIDER_IMAGE]);
  });
});

describe("a masked password", () => {
  const MASK = "********";

  test("is supplied by the site file, whose credential is then the origin", () => {
    const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: MASK });
    const masked = registrySecret("reg-a", {
      url: "reg.example.com",
      username: "a",
      password: MASK,
    });
    const registryCredentials = { domain: "mirror.example", username: "a", password: MASK };
    const alone = { packs: [os, shopWith(masked)] };
    const external = { packs: [OS], stylus: { registryCredentials } };
    const supplied = siteCredentials("quay.io", "reg.example.com");
    const plan = planCluster({ ...alone, ...supplied });
    expect([...plan.faults, ...plan.warnings]).toEqual([]);
    expect(imageOf(plan, PROVIDER_IMAGE).access.origin).toBe("site:credentials[0]");
    expect(imageOf(plan, SHOP).access.origin).toBe("site:credentials[1]");
    const mirrored = { ...external, ...siteCredentials("mirror.example") };
    expect(planCluster(mirrored).faults).toEqual([]);
    expect(login(mirrored, PROVIDER_IMAGE)).toBe("site-0:secret-0");
  });

  test("is never sent", () => {
    const masked = registrySecret("reg-a", {
      url: "reg.example.com",
      username: "a",
      password: MASK,
    });
    const plan = planCluster({ packs: [OS, shopWith(masked)] });
    expect(imageOf(plan, SHOP).access).toEqual({ origin: null, insecure: false, certificates: [] });
    expect(plan.faults).toMatchObject([{ code: "secret-masked", file: "store.json" }]);
    expect(plan.faults[0]?.remedy).toContain("credentials: [{registry: reg.example.com");
  });

  test("is a fault for each field that holds one", () => {
    const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: MASK });
    const masked = registrySecret("reg-a", {
      url: "reg.example.com",
      username: "a",
      password: MASK,
    });
    const registries = [{ domain: "mirror.example", username: "a", password: "<masked>" }];
    const plan = planCluster({
      packs: [os, shopWith(masked)],
      stylus: { externalRegistries: { registries } },
      site: { combinations: "extended" },
    });
    const messages = plan.faults.map(({ message }) => message).join("\n");
    expect(plan.faults.map(({ code }) => code)).toEqual(Array(3).fill("secret-masked"));
    expect(messages).toContain("os-pack:providerCredentials");
    expect(plan.faults.map(({ path }) => path.split(/[.:]/).at(-1))).toEqual(
      Array(3).fill("password"),
    );
    expect(messages).toContain("secret:reg-a");
    expect(messages).toContain("user-data:externalRegistries[0]");
  });
});

describe("trust", () => {
  test("a site credential with insecure lends it to the registry it matches", () => {
    const credentials = [{ registry: "reg.example.com", insecure: true }];
    const plan = planCluster({ packs: [OS, app("shop", SHOP)], site: { credentials } });
    expect(imageOf(plan, SHOP).access).toMatchObject({ origin: null, insecure: true });
    expect(imageOf(plan, PROVIDER_IMAGE).access.insecure).toBe(false);
  });
});
