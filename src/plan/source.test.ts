import { describe, expect, test } from "bun:test";
import {
  app,
  type ClusterSketch,
  faultCodes,
  imageOf,
  imagesOf,
  OS,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  rulesOf,
  sourceOf,
  warningCodes,
} from "#test-support/plan-inputs";

const EXTERNAL = "10.10.254.254:8000/spectro-images";
const SINGLE = { registryCredentials: { domain: EXTERNAL } };
const CORE = "core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";

/** What is said of every provider image, wherever it comes from. */
const OF_PROVIDER = ["provider-location", "provider-first"];

/** The source of one application image. */
function source(image: string, sketch: ClusterSketch): string {
  const plan = planCluster({ packs: [OS, app("app", image)], ...sketch });
  expect(plan.faults).toEqual([]);
  return sourceOf(plan, image);
}

function mapped(image: string, registryMappingRules: Readonly<Record<string, string>>): string {
  return source(image, { stylus: { externalRegistries: { registryMappingRules } } });
}

describe("rule rewrite-replace", () => {
  test("replaces all before the last path segment of the provider image, as the requirements show", () => {
    const plan = planCluster({ packs: [OS], stylus: SINGLE });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(`${EXTERNAL}/${CORE}`);
    expect(rulesOf(plan, PROVIDER_IMAGE)).toEqual([
      "external-registry",
      "rewrite-replace",
      ...OF_PROVIDER,
    ]);
  });

  test.each([
    ["quay.io/calico/cni:v3.27.0", `${EXTERNAL}/cni:v3.27.0`],
    ["docker.io/library/busybox:latest", `${EXTERNAL}/busybox:latest`],
    ["reg.example.com:5000/a/b/c:1", `${EXTERNAL}/c:1`],
    ["localhost/app:1", `${EXTERNAL}/app:1`],
  ])("fetches %s as %s", (declared, expected) => {
    expect(source(declared, { stylus: SINGLE })).toBe(expected);
  });

  test("keeps tag and digest together", () => {
    const pin = `sha256:${"5".repeat(64)}`;
    expect(source(`ghcr.io/org/app:1@${pin}`, { stylus: SINGLE })).toBe(`${EXTERNAL}/app:1@${pin}`);
  });

  test.each([`${EXTERNAL}/`, `https://${EXTERNAL}`, `http://${EXTERNAL}//`])(
    "reads the external registry %s without scheme and slash",
    (domain) => {
      const stylus = { registryCredentials: { domain } };
      expect(source("quay.io/calico/cni:v3", { stylus })).toBe(`${EXTERNAL}/cni:v3`);
    },
  );

  test("takes an external registry without a path", () => {
    const stylus = { registryCredentials: { domain: "mirror.example.com" } };
    expect(source("quay.io/calico/cni:v3", { stylus })).toBe("mirror.example.com/cni:v3");
  });
});

describe("rule rewrite-prepend", () => {
  const prepend = { stylus: SINGLE, site: { rewrite: "prepend" } };

  test.each([
    ["quay.io/kairos/other:v1", `${EXTERNAL}/quay.io/kairos/other:v1`],
    ["docker.io/library/busybox:latest", `${EXTERNAL}/docker.io/library/busybox:latest`],
    [
      `ghcr.io/org/app@sha256:${"a".repeat(64)}`,
      `${EXTERNAL}/ghcr.io/org/app@sha256:${"a".repeat(64)}`,
    ],
    ["reg.example.com:5000/app:1", `${EXTERNAL}/reg.example.com_5000/app:1`],
  ])("fetches %s as %s", (declared, expected) => {
    expect(source(declared, prepend)).toBe(expected);
  });

  test("says why the colon of a port is gone", () => {
    const declared = "reg.example.com:5000/app:1";
    const plan = planCluster({ packs: [OS, app("app", declared)], ...prepend });
    const reason = imageOf(plan, declared).because.find(({ rule }) => rule === "rewrite-prepend");
    expect(reason?.text).toEndWith("so :5000 becomes _5000");
  });

  test("holds for provider images, and emits no double slash", () => {
    const stylus = { registryCredentials: { domain: `${EXTERNAL}/` } };
    const plan = planCluster({ packs: [OS], stylus, site: { rewrite: "prepend" } });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(`${EXTERNAL}/quay.io/kairos/${CORE}`);
    expect(rulesOf(plan, PROVIDER_IMAGE)).toEqual([
      "external-registry",
      "rewrite-prepend",
      ...OF_PROVIDER,
    ]);
  });
});

describe("rule mapping-rule", () => {
  test("replaces the key and keeps the rest of the path", () => {
    const rules = { "somedomain.com/somepath": "targetdomain.com/other/path" };
    expect(mapped("somedomain.com/somepath/example-repo/alpine:latest", rules)).toBe(
      "targetdomain.com/other/path/example-repo/alpine:latest",
    );
  });

  test("takes the longest key that matches", () => {
    const rules = {
      "a.io": "short.example",
      "a.io/b/c": "longest.example",
      "a.io/b": "long.example",
    };
    expect(mapped("a.io/b/c/d:1", rules)).toBe("longest.example/d:1");
    expect(mapped("a.io/b/x:1", rules)).toBe("long.example/x:1");
    expect(mapped("a.io/x:1", rules)).toBe("short.example/x:1");
  });

  test.each([
    [
      "a path that only begins alike",
      "us.pkg.dev/palette-images-fips/x:1",
      "us.pkg.dev/palette-images",
    ],
    ["a host that only begins alike", "quay.io.example.com/x:1", "quay.io"],
    ["a host that only ends alike", "myquay.io/x:1", "quay.io"],
    ["another port", "quay.io:5000/x:1", "quay.io"],
    ["a tag that begins alike", "a.io/b:c", "a.io/b/c"],
  ])("does not match %s", (_, image, key) => {
    expect(mapped(image, { [key]: "mirror.example" })).toBe(image);
  });

  test("matches a whole repository, whatever its tag or digest", () => {
    const rules = { "a.io/team/app": "mirror.example/renamed" };
    const pin = `sha256:${"b".repeat(64)}`;
    expect(mapped("a.io/team/app:1", rules)).toBe("mirror.example/renamed:1");
    expect(mapped(`a.io/team/app@${pin}`, rules)).toBe(`mirror.example/renamed@${pin}`);
  });

  test("matches the normalised name of a short one", () => {
    const rules = { "docker.io/library/busybox": "mirror.example/hub/busybox" };
    const stylus = { externalRegistries: { registryMappingRules: rules } };
    const plan = planCluster({ packs: [OS, app("app", "busybox")], stylus });
    expect(sourceOf(plan, "docker.io/library/busybox:latest")).toBe(
      "mirror.example/hub/busybox:latest",
    );
  });

  test("drops schemes and trailing slashes of key and value", () => {
    expect(mapped("a.io/b/c:1", { "https://a.io/b/": "oci://mirror.example/x/" })).toBe(
      "mirror.example/x/c:1",
    );
  });

  test("applies without any external registry, and leaves what it does not match as declared", () => {
    const rules = { "quay.io/calico": "mirror.example/calico" };
    const stylus = { externalRegistries: { registryMappingRules: rules } };
    const packs = [OS, app("a", "quay.io/calico/cni:v3", "ghcr.io/org/app:1")];
    const plan = planCluster({ packs, stylus });
    expect(sourceOf(plan, "quay.io/calico/cni:v3")).toBe("mirror.example/calico/cni:v3");
    expect(rulesOf(plan, "quay.io/calico/cni:v3")).toEqual(["mapping-rule"]);
    expect(sourceOf(plan, "ghcr.io/org/app:1")).toBe("ghcr.io/org/app:1");
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(PROVIDER_IMAGE);
    expect(warningCodes(plan)).toEqual([]);
  });

  test("holds for provider images too", () => {
    const rules = { "quay.io/kairos": "mirror.example/kairos" };
    const stylus = { externalRegistries: { registryMappingRules: rules } };
    const plan = planCluster({ packs: [OS], stylus });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(`mirror.example/kairos/${CORE}`);
  });

  test("is not rewritten further, also when it leads out of every external registry", () => {
    const stylus = {
      externalRegistries: {
        registries: [{ domain: EXTERNAL }],
        registryMappingRules: { "a.io": "elsewhere.example" },
      },
    };
    expect(source("a.io/b/c:1", { stylus })).toBe("elsewhere.example/b/c:1");
  });

  const connect = (imageReplacementRules: unknown) => ({
    name: "registry-connect",
    layer: "addon" as const,
    values: { charts: { "registry-connect": { config: { registry: { imageReplacementRules } } } } },
  });

  test.each([
    ["a map", { "a.io": "replaced.example" }],
    ["a list", [{ source: "a.io", target: "replaced.example" }]],
  ])(
    "asks imageReplacementRules as %s before registryMappingRules, even a longer one",
    (_, rules) => {
      const stylus = {
        externalRegistries: { registryMappingRules: { "a.io/b": "mapped.example" } },
      };
      const packs = [OS, connect(rules), app("app", "a.io/b/c:1", "a.io/x:1")];
      const plan = planCluster({ packs, stylus, site: { localRegistry: { kind: "none" } } });
      expect(sourceOf(plan, "a.io/b/c:1")).toBe("replaced.example/b/c:1");
      expect(sourceOf(plan, "a.io/x:1")).toBe("replaced.example/x:1");
    },
  );

  test.each([
    ["a map", { "a.io": "short.example", "a.io/b": "long.example" }],
    [
      "a list",
      [
        { source: "a.io", target: "short.example" },
        { source: "a.io/b", target: "long.example" },
      ],
    ],
  ])("takes the longest key of imageReplacementRules as %s", (_, rules) => {
    const packs = [OS, connect(rules), app("app", "a.io/b/c:1", "a.io/x:1")];
    const plan = planCluster({ packs, site: { localRegistry: { kind: "none" } } });
    expect(sourceOf(plan, "a.io/b/c:1")).toBe("long.example/c:1");
    expect(sourceOf(plan, "a.io/x:1")).toBe("short.example/x:1");
  });

  test("falls back to registryMappingRules where no imageReplacementRule matches", () => {
    const stylus = { externalRegistries: { registryMappingRules: { "b.io": "mapped.example" } } };
    const packs = [OS, connect({ "a.io": "replaced.example" }), app("app", "b.io/x:1")];
    const plan = planCluster({ packs, stylus, site: { localRegistry: { kind: "none" } } });
    expect(sourceOf(plan, "b.io/x:1")).toBe("mapped.example/x:1");
  });

  test("is refused when nothing is left of the name", () => {
    const stylus = { externalRegistries: { registryMappingRules: { "a.io/b": "mirror.example" } } };
    const plan = planCluster({ packs: [OS, app("app", "a.io/b:1")], stylus });
    expect(faultCodes(plan)).toEqual(["rewrite-invalid"]);
    expect(plan.faults[0]?.message).toContain("a.io/b:1");
  });
});

describe("rule already-there", () => {
  test.each(["replace", "prepend"])(
    "leaves an image of the external registry alone, with %s",
    (rewrite) => {
      const image = `${EXTERNAL}/team/app:1`;
      const plan = planCluster({
        packs: [OS, app("app", image)],
        stylus: SINGLE,
        site: { rewrite },
      });
      expect(sourceOf(plan, image)).toBe(image);
      expect(rulesOf(plan, image)).toEqual(["already-there"]);
    },
  );

  test("comes before mapping rules", () => {
    const stylus = {
      externalRegistries: {
        registries: [{ domain: EXTERNAL }],
        registryMappingRules: { "10.10.254.254:8000": "elsewhere.example" },
      },
    };
    expect(source(`${EXTERNAL}/app:1`, { stylus })).toBe(`${EXTERNAL}/app:1`);
  });

  test("holds for each of several external registries", () => {
    const registries = [{ domain: "one.example/a" }, { domain: "two.example/b" }];
    const stylus = { externalRegistries: { registries } };
    expect(source("two.example/b/app:1", { stylus })).toBe("two.example/b/app:1");
  });

  test("does not hold beside the external registry's path", () => {
    expect(source("10.10.254.254:8000/spectro-images-fips/app:1", { stylus: SINGLE })).toBe(
      `${EXTERNAL}/app:1`,
    );
  });
});

describe("several external registries", () => {
  const registries = [{ domain: "one.example/a" }, { domain: "two.example/b" }];

  test("send what no rule matches to the first one listed, with a warning", () => {
    const stylus = {
      externalRegistries: { registries, registryMappingRules: { "ghcr.io": "two.example/b/ghcr" } },
    };
    const packs = [OS, app("app", "ghcr.io/org/app:1", "quay.io/x/y:1")];
    const plan = planCluster({ packs, stylus });
    expect(sourceOf(plan, "ghcr.io/org/app:1")).toBe("two.example/b/ghcr/org/app:1");
    expect(sourceOf(plan, "quay.io/x/y:1")).toBe("one.example/a/y:1");
    expect(plan.warnings).toMatchObject([
      { code: "external-registry-assumed", file: "user-data.yaml" },
    ]);
    expect(plan.warnings[0]?.message).toContain("one.example/a");
  });

  test("need no warning when rules place every image", () => {
    const rules = { "quay.io": "one.example/a/quay" };
    const stylus = { externalRegistries: { registries, registryMappingRules: rules } };
    const plan = planCluster({ packs: [OS], stylus });
    expect(warningCodes(plan)).toEqual([]);
  });

  test("ignore repositoryName, which is a label", () => {
    const stylus = {
      externalRegistries: { registries: [{ domain: "one.example/a", repositoryName: "private" }] },
    };
    expect(source("quay.io/x/y:1", { stylus })).toBe("one.example/a/y:1");
  });

  test("are refused beside registryCredentials", () => {
    const stylus = { ...SINGLE, externalRegistries: { registries } };
    const plan = planCluster({ packs: [OS], stylus });
    expect(faultCodes(plan)).toEqual(["external-registry-twice"]);
  });
});

describe("without an external registry", () => {
  test("provider images come from where the OS pack says (rule provider-registry)", () => {
    const plan = planCluster({ packs: [OS] });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(PROVIDER_IMAGE);
    expect(rulesOf(plan, PROVIDER_IMAGE)).toEqual(["provider-registry", ...OF_PROVIDER]);
  });

  test("all others come from where their pack says (rule pack-registry)", () => {
    const packs = [OS, { name: "cni", layer: "cni" as const, images: ["quay.io/calico/cni:v3"] }];
    const plan = planCluster({ packs: [...packs, app("app", "busybox")] });
    for (const image of ["quay.io/calico/cni:v3", "docker.io/library/busybox:latest"]) {
      expect(sourceOf(plan, image)).toBe(image);
      expect(rulesOf(plan, image)).toEqual(["pack-registry"]);
    }
  });

  test("a name without a tag has the tag latest", () => {
    const plan = planCluster({ packs: [OS, app("app", "docker.io/curlimages/curl")] });
    expect(sourceOf(plan, "docker.io/curlimages/curl:latest")).toBe(
      "docker.io/curlimages/curl:latest",
    );
  });

  test("a scheme before a reference is dropped", () => {
    const image = "container://us.pkg.dev/edge/stylus:v4.6.13";
    const plan = planCluster({ packs: [osPack(image)] });
    expect(imagesOf(plan).map(({ source: { domain, path } }) => `${domain}/${path}`)).toEqual([
      "us.pkg.dev/edge/stylus",
    ]);
  });
});
