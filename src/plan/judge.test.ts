import { describe, expect, test } from "bun:test";
import type { Finding } from "#base";
import {
  app,
  faultCodes,
  imagesOf,
  OS,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  registrySecret,
  sourceOf,
  warningCodes,
} from "#test-support/plan-inputs";

const EXTERNAL = { registryCredentials: { domain: "mirror.example/images" } };
const PIN = `sha256:${"d".repeat(64)}`;

/** The one finding of a code. */
function only(findings: readonly Finding[], code: string): Finding {
  const found = findings.filter((finding) => finding.code === code);
  const [finding] = found;
  if (finding === undefined || found.length > 1)
    throw new Error(`${found.length} findings of ${code}: ${JSON.stringify(findings)}`);
  return finding;
}

describe("judgeSources()", () => {
  test("refuses two images that would be fetched as one, and names both with their places", () => {
    const packs = [OS, app("a", "quay.io/one/shop:1"), app("b", "ghcr.io/two/shop:1")];
    const plan = planCluster({ packs, stylus: EXTERNAL });
    expect(faultCodes(plan)).toEqual(["source-collision"]);
    const { message, remedy, file } = only(plan.faults, "source-collision");
    expect(message).toContain("quay.io/one/shop:1");
    expect(message).toMatch(/ghcr\.io\/two\/shop:1 \(store\.json:\d+\)/);
    expect(message).toContain("mirror.example/images/shop:1");
    expect(remedy).toContain("rewrite: prepend");
    expect(remedy).toContain("registryMappingRules");
    expect(file).toBe("store.json");
  });

  test("names every one of three", () => {
    const images = ["a.io/x/shop:1", "b.io/y/shop:1", "c.io/z/shop:1"];
    const plan = planCluster({ packs: [OS, app("a", ...images)], stylus: EXTERNAL });
    expect(faultCodes(plan)).toEqual(["source-collision", "source-collision"]);
    const messages = plan.faults.map(({ message }) => message).join("\n");
    for (const image of images) expect(messages).toContain(image);
  });

  test("lets two images pass that are pinned to one digest", () => {
    const images = [`quay.io/one/shop@${PIN}`, `ghcr.io/two/shop@${PIN}`];
    const plan = planCluster({ packs: [OS, app("a", ...images)], stylus: EXTERNAL });
    expect(plan.faults).toEqual([]);
    expect(images.map((image) => sourceOf(plan, image))).toEqual(
      Array(2).fill(`mirror.example/images/shop@${PIN}`),
    );
  });

  test.each([
    ["other tags", "quay.io/one/shop:1", "ghcr.io/two/shop:2"],
    ["other digests", `quay.io/one/shop@${PIN}`, `ghcr.io/two/shop@sha256:${"e".repeat(64)}`],
    ["a tag and a digest", "quay.io/one/shop:1", `ghcr.io/two/shop:1@${PIN}`],
  ])("has nothing against %s", (_, one, two) => {
    expect(planCluster({ packs: [OS, app("a", one, two)], stylus: EXTERNAL }).faults).toEqual([]);
  });

  test("is content with either of its remedies", () => {
    const packs = [OS, app("a", "quay.io/one/shop:1"), app("b", "ghcr.io/two/shop:1")];
    const site = { rewrite: "prepend" };
    expect(planCluster({ packs, stylus: EXTERNAL, site }).faults).toEqual([]);
    const externalRegistries = {
      registries: [EXTERNAL.registryCredentials],
      registryMappingRules: { "ghcr.io/two": "mirror.example/images/two" },
    };
    expect(planCluster({ packs, stylus: { externalRegistries } }).faults).toEqual([]);
  });

  test("sees what two mapping rules bring together", () => {
    const registryMappingRules = { "a.io": "mirror.example", "b.io": "mirror.example" };
    const plan = planCluster({
      packs: [OS, app("a", "a.io/x:1", "b.io/x:1")],
      stylus: { externalRegistries: { registryMappingRules } },
    });
    expect(faultCodes(plan)).toEqual(["source-collision"]);
  });

  test("sees an image that lies in the external registry already, and one that is rewritten onto it", () => {
    const images = ["mirror.example/images/shop:1", "quay.io/one/shop:1"];
    const plan = planCluster({ packs: [OS, app("a", ...images)], stylus: EXTERNAL });
    expect(faultCodes(plan)).toEqual(["source-collision"]);
  });
});

describe("warnShortRules()", () => {
  const rule = (source: string) => ({
    externalRegistries: { registryMappingRules: { [source]: "mirror.example/hub" } },
  });

  test.each(["busybox", "docker.io/busybox"])("says what the whole name of %s is", (source) => {
    const plan = planCluster({ packs: [OS, app("a", "busybox:1")], stylus: rule(source) });
    const { file, path, remedy } = only(plan.warnings, "mapping-rule-unused");
    expect([file, path.includes("registryMappingRules")]).toEqual(["user-data.yaml", true]);
    expect(remedy).toContain("docker.io/library/busybox");
    expect(sourceOf(plan, "docker.io/library/busybox:1")).toBe("docker.io/library/busybox:1");
  });

  test.each([
    ["grafana", ["grafana/grafana:1"]],
    ["grafana", ["grafana/grafana:1", "grafana:1"]],
    ["library/busybox", ["busybox:1"]],
    ["docker.io", ["busybox:1"]],
    ["quay.io/busybox", ["busybox:1"]],
    ["nobody", ["busybox:1"]],
  ])("has nothing to say of a rule for %s beside %p", (source, images) => {
    const plan = planCluster({ packs: [OS, app("a", ...images)], stylus: rule(source) });
    expect(warningCodes(plan)).not.toContain("mapping-rule-unused");
  });
});

describe("judgeMappingRules()", () => {
  test("refuses two spellings of one source with two targets", () => {
    const registryMappingRules = { "a.io/b": "one.example", "https://a.io/b/": "two.example" };
    const plan = planCluster({
      packs: [OS],
      stylus: { externalRegistries: { registryMappingRules } },
    });
    const { message, file, path } = only(plan.faults, "mapping-rule-twice");
    expect(message).toContain("one.example");
    expect(message).toContain("two.example");
    expect({ file, path }).toMatchObject({ file: "user-data.yaml" });
    expect(path).toContain("registryMappingRules");
  });

  test("has nothing against two sources with one target, or the same rule twice", () => {
    const registryMappingRules = {
      "a.io/b": "one.example/b",
      "https://a.io/b/": "one.example/b",
      "a.io/c": "one.example/b",
    };
    const plan = planCluster({
      packs: [OS],
      stylus: { externalRegistries: { registryMappingRules } },
    });
    expect(plan.faults).toEqual([]);
  });
});

describe("judgeProviderRegistry()", () => {
  test.each([
    ["another host", "docker.io"],
    ["another port", "quay.io:8443"],
    ["another path", "quay.io/other"],
    ["half a segment", "quay.io/kai"],
  ])("refuses %s, and names both fields", (_, registry) => {
    const plan = planCluster({ packs: [osPack(PROVIDER_IMAGE, { registry, user: "edge" })] });
    const fault = only(plan.faults, "provider-registry-mismatch");
    expect(fault.message).toContain("providerCredentials.registry");
    expect(fault.message).toContain("options.system.uri");
    expect(fault.message).toContain(PROVIDER_IMAGE);
    expect(fault.path).toContain("providerCredentials.registry");
  });

  test("is told once, also when an external registry makes the credentials useless", () => {
    const packs = [
      osPack(PROVIDER_IMAGE, { registry: "docker.io", ...{ user: "edge", password: "pw" } }),
    ];
    const plan = planCluster({ packs, stylus: EXTERNAL });
    expect(faultCodes(plan)).toEqual(["provider-registry-mismatch"]);
    expect(warningCodes(plan)).toEqual([]);
  });

  test("names the image list where that is what gives the location", () => {
    const os = {
      name: "byoos",
      layer: "os",
      images: [PROVIDER_IMAGE],
      values: { providerCredentials: { registry: "docker.io", user: "edge" } },
    } as const;
    const { message } = only(planCluster({ packs: [os] }).faults, "provider-registry-mismatch");
    expect(message).toContain("pack.content.images");
    expect(message).not.toContain("options.system.uri");
  });

  test.each(["quay.io", "https://quay.io/", "quay.io/kairos"])("accepts %s", (registry) => {
    const plan = planCluster({ packs: [osPack(PROVIDER_IMAGE, { registry, user: "edge" })] });
    expect(plan.faults).toEqual([]);
  });
});

describe("warnUnusedCredentials()", () => {
  const packs = [OS, app("shop", "reg.example.com/team/shop:1")];
  const unused = (stylus: object, site: object = {}) => {
    const plan = planCluster({ packs, stylus: { ...stylus }, site: { ...site } });
    return plan.warnings.filter(({ code }) => code === "credential-unused");
  };
  const login = { username: "edge", password: "x" };

  test("tells of each credential that fits no image, with its place", () => {
    const registries = [{ domain: "one.example" }, { domain: "two.example", ...login }];
    const registryMappingRules = { "reg.example.com": "one.example", "quay.io": "one.example/q" };
    const credentials = [{ registry: "three.example", username: "edge", passwordFile: "pw" }];
    const secret = registrySecret("reg-a", { url: "four.example", ...login });
    const plan = planCluster({
      packs: [...packs, { ...app("secrets"), manifests: [secret] }],
      stylus: { externalRegistries: { registries, registryMappingRules } },
      site: { credentials },
      files: { pw: "secret" },
    });
    expect(plan.warnings.map(({ code, file, message }) => [code, file, message])).toEqual([
      ["credential-unused", "site.yaml", "site:credentials[0] for three.example fits no image"],
      ["credential-unused", "store.json", "secret:reg-a for four.example fits no image"],
      [
        "credential-unused",
        "user-data.yaml",
        "user-data:externalRegistries[1] for two.example fits no image",
      ],
    ]);
    for (const { line, column } of plan.warnings) expect(line * column).toBeGreaterThan(1);
  });

  test("has nothing to say of an entry without credentials", () => {
    const registries = [{ domain: "one.example" }, { domain: "two.example", insecure: true }];
    const registryMappingRules = { "reg.example.com": "one.example", "quay.io": "one.example/q" };
    expect(unused({ externalRegistries: { registries, registryMappingRules } })).toEqual([]);
  });

  test("has nothing to say of a masked Secret that the site file supplies", () => {
    const masked = registrySecret("reg-a", {
      url: "reg.example.com",
      username: "a",
      password: "***",
    });
    const credentials = [{ registry: "reg.example.com", username: "a", passwordFile: "pw" }];
    const plan = planCluster({
      packs: [...packs, { ...app("secrets"), manifests: [masked] }],
      site: { credentials },
      files: { pw: "secret" },
    });
    expect([...plan.faults, ...plan.warnings]).toEqual([]);
  });

  test("counts the local registry as a use, also by its project", () => {
    for (const registry of ["10.0.0.5:30003", "10.0.0.5:30003/spectro-images"]) {
      const site = {
        localRegistry: { kind: "harbor", address: "10.0.0.5:30003" },
        credentials: [{ registry, username: "admin" }],
      };
      expect(unused({}, site)).toEqual([]);
    }
  });
});

describe("warnSurprises()", () => {
  const k3s = {
    name: "edge-k3s",
    layer: "k8s",
    values: {
      cluster: {
        config:
          "kube-apiserver-arg:\n  - enable-admission-plugins=NodeRestriction,AlwaysPullImages\n",
      },
    },
  } as const;

  test("warns of AlwaysPullImages with an external registry, at its place", () => {
    const plan = planCluster({ packs: [OS, k3s], stylus: EXTERNAL });
    expect(only(plan.warnings, "always-pull-images")).toMatchObject({ file: "store.json" });
    expect(only(plan.warnings, "always-pull-images").path).toContain("kube-apiserver-arg[0]");
  });

  test("warns of AlwaysPullImages with a local registry", () => {
    const plan = planCluster({ packs: [OS, k3s], site: { localRegistry: { kind: "embedded" } } });
    expect(warningCodes(plan)).toEqual(["always-pull-images"]);
  });

  test("has nothing against AlwaysPullImages without such a registry", () => {
    expect(warningCodes(planCluster({ packs: [OS, k3s] }))).toEqual([]);
  });

  test("warns of namespaces with stylus.io/imageswap=disable, at the label", () => {
    const values = { pack: { namespaceLabels: { "team-a": "x=y,stylus.io/imageswap=disable" } } };
    const plan = planCluster({ packs: [OS, { ...app("shop"), values }] });
    expect(only(plan.warnings, "imageswap-disabled").path).toContain("namespaceLabels.team-a");
  });

  test("warns that imageRedirectWebhook.enable: false keeps runtimes from the local registry", () => {
    const stylus = { imageRedirectWebhook: { enable: false } };
    const localRegistry = { kind: "embedded" };
    const off = planCluster({ packs: [OS], stylus, site: { localRegistry } });
    expect(warningCodes(off)).toEqual(["redirection-off"]);
    const written = { localRegistry, runtime: { kind: "k3s" } };
    expect(warningCodes(planCluster({ packs: [OS], stylus, site: written }))).toEqual([]);
  });
});

describe("warnUndeclaredImages()", () => {
  const manifests = [
    "spec:\n  containers:\n    - image: a.io/forgotten:1\n    - image: a.io/known:1\n",
  ];
  const pack = { ...app("shop", "a.io/known:1"), manifests };

  test("warns of an image of a manifest that no pack declares, at its line", () => {
    const { message, path, remedy } = only(
      planCluster({ packs: [OS, pack] }).warnings,
      "image-undeclared",
    );
    expect(message).toContain("a.io/forgotten:1");
    expect(message).toContain('"shop"');
    expect(path).toContain("manifests[0].content");
    expect(remedy).toContain("extraImages");
    expect(remedy).toContain("--images");
  });

  test.each([
    ["another pack declares it", { packs: [OS, pack, app("other", "a.io/forgotten:1")] }],
    ["extraImages adds it", { packs: [OS, pack], site: { extraImages: ["a.io/forgotten:1"] } }],
    ["--images adds it", { packs: [OS, pack], images: ["a.io/forgotten:1"] }],
  ])("is content when %s", (_, sketch) => {
    expect(planCluster(sketch).warnings).toEqual([]);
  });

  test("warns once of an image that a pack's manifests name twice", () => {
    const twice = { ...pack, manifests: [...manifests, ...manifests] };
    expect(warningCodes(planCluster({ packs: [OS, twice] }))).toEqual(["image-undeclared"]);
  });
});

describe("makePlan() with faulty input", () => {
  test("warns of a key near a known one, naming it", () => {
    const values = { pack: { content: { images: [{ iamge: "a.io/x:1" }] } } };
    const plan = planCluster({ packs: [OS, { ...app("shop"), values }] });
    const { message, remedy } = only(plan.warnings, "key-unknown");
    expect(message).toContain('"iamge"');
    expect(remedy).toContain('"image"');
  });

  test("reports all faults at once, and plans what it can", () => {
    const os = osPack(PROVIDER_IMAGE, { registry: "docker.io", user: "edge", password: "***" });
    const plan = planCluster({
      packs: [os, app("a", "quay.io/one/shop:1", "ghcr.io/two/shop:1", "Not A Reference")],
      stylus: { registryCredentials: { domain: "mirror.example", username: "edge" } },
      site: { localRegistry: { kind: "oci" }, rewrite: "append" },
    });
    expect(new Set(faultCodes(plan))).toEqual(
      new Set([
        "combination-unsupported",
        "local-address-missing",
        "provider-registry-mismatch",
        "reference-invalid",
        "secret-masked",
        "source-collision",
        "value-unknown",
      ]),
    );
    expect(imagesOf(plan)).toHaveLength(3);
    for (const fault of plan.faults) {
      expect(fault.file).toMatch(/^(?:store\.json|site\.yaml|user-data\.yaml)$/);
      expect(fault.line).toBeGreaterThan(1);
      expect(fault.path).not.toBe("");
      expect(fault.message).not.toBe("");
      expect(fault.remedy).not.toBe("");
    }
  });
});
