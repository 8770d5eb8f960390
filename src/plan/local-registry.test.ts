import { describe, expect, test } from "bun:test";
import { ANONYMOUS } from "#credential";
import {
  app,
  type ClusterSketch,
  faultCodes,
  imageOf,
  imagesOf,
  OS,
  type PackSketch,
  PROVIDER_IMAGE,
  planCluster,
  rulesOf,
  warningCodes,
} from "#test-support/plan-inputs";

type Site = NonNullable<ClusterSketch["site"]>;

const ADDRESS = "10.10.137.220:30003";
const HARBOR = { localRegistry: { kind: "harbor", address: ADDRESS } };
const VIP = "gcr.io/spectro-images-public/kube-vip/kube-vip:v0.6.3";

function localName(image: string, site: Site = HARBOR, ...packs: readonly PackSketch[]) {
  return imageOf(planCluster({ packs: [OS, app("app", image), ...packs], site }), image).local;
}

describe("rule local-upload", () => {
  test("uploads an application image as <local>/<project>/<whole declared reference>", () => {
    expect(localName(VIP)).toBe(`${ADDRESS}/spectro-images/${VIP}`);
  });

  test("writes a normalised name out, and keeps a digest", () => {
    const pin = `sha256:${"a".repeat(64)}`;
    const packs = [OS, app("app", "busybox", `ghcr.io/org/app@${pin}`)];
    const locals = imagesOf(planCluster({ packs, site: HARBOR })).map(({ local }) => local);
    expect(locals).toEqual([
      null,
      `${ADDRESS}/spectro-images/docker.io/library/busybox:latest`,
      `${ADDRESS}/spectro-images/ghcr.io/org/app@${pin}`,
    ]);
  });

  test("names the declared reference, also when it is fetched from an external registry", () => {
    const stylus = { registryCredentials: { domain: "mirror.example/images" } };
    const plan = planCluster({ packs: [OS, app("app", VIP)], stylus, site: HARBOR });
    expect(imageOf(plan, VIP).local).toBe(`${ADDRESS}/spectro-images/${VIP}`);
    expect(rulesOf(plan, VIP)).toEqual([
      "external-registry",
      "rewrite-replace",
      "local-upload",
      "local-serve",
    ]);
  });

  test.each(["os", "k8s", "cni", "csi"] as const)("leaves images of layer %s out", (layer) => {
    const packs = [
      layer === "os" ? { ...OS, images: [VIP] } : OS,
      { name: "infra", layer, images: [VIP] },
    ];
    const plan = planCluster({ packs: layer === "os" ? packs.slice(0, 1) : packs, site: HARBOR });
    expect(imageOf(plan, VIP).local).toBeNull();
    expect(rulesOf(plan, VIP)).toEqual(["pack-registry"]);
  });

  test("uploads an infrastructure image that an application pack declares too", () => {
    const cni = { name: "cni-calico", layer: "cni", images: [VIP] } as const;
    const plan = planCluster({ packs: [OS, cni, app("app", VIP)], site: HARBOR });
    expect(imageOf(plan, VIP)).toMatchObject({
      category: "infrastructure",
      local: `${ADDRESS}/spectro-images/${VIP}`,
    });
  });

  test("never uploads the provider image, whoever declares it", () => {
    expect(localName(PROVIDER_IMAGE)).toBeNull();
  });

  test("uploads extra images, which are applications", () => {
    const plan = planCluster({ packs: [OS], site: { ...HARBOR, extraImages: [VIP] } });
    expect(imageOf(plan, VIP).local).toBe(`${ADDRESS}/spectro-images/${VIP}`);
  });

  test("uses the project of the site file", () => {
    const site = { localRegistry: { kind: "oci", address: ADDRESS, project: "team/images" } };
    expect(localName(VIP, site)).toBe(`${ADDRESS}/team/images/${VIP}`);
  });

  test("uploads nothing without a local registry", () => {
    expect(localName(VIP, {})).toBeNull();
    expect(localName(VIP, { localRegistry: { kind: "none", address: ADDRESS } })).toBeNull();
  });
});

describe("what local-upload says of an index with absent platforms", () => {
  const textOf = (localRegistry: object) => {
    const plan = planCluster({ packs: [OS, app("app", VIP)], site: { localRegistry } });
    return imageOf(plan, VIP).because.find(({ rule }) => rule === "local-upload")?.text ?? "";
  };
  const harbor = { kind: "harbor", address: ADDRESS };

  test("by default: one platform goes up, and the index's digest is answered elsewhere", () => {
    expect(textOf(harbor)).toContain("pulls by the index's digest are answered by the embedded");
    expect(textOf(harbor)).toEndWith("(localRegistry.indexes: one-platform)");
  });

  test("complete: all platforms are fetched, and digests stay", () => {
    const text = textOf({ ...harbor, indexes: "complete" });
    expect(text).toContain("all digests stay (localRegistry.indexes: complete)");
  });

  test("embedded: nothing is refused there", () => {
    expect(textOf({ kind: "embedded" })).toEndWith("moves no byte");
  });
});

describe("rule local-serve", () => {
  test("is told of what is uploaded, and of nothing else", () => {
    const plan = planCluster({ packs: [OS, app("app", VIP)], site: HARBOR });
    expect(rulesOf(plan, VIP)).toContain("local-serve");
    expect(rulesOf(plan, PROVIDER_IMAGE)).not.toContain("local-serve");
  });
});

describe("rule bootstrap", () => {
  test.each([
    "harbor-edge-native-config",
    "registry-connect",
    "harbor",
    "zot",
    "cert-manager",
    "reloader",
  ])("keeps the images of %s out of the local registry", (name) => {
    const site = { localRegistry: { kind: "oci", address: ADDRESS } };
    const packs = [OS, { name, layer: "addon", images: [VIP] } as const, app("app", "a.io/x:1")];
    const plan = planCluster({ packs, site });
    expect(imageOf(plan, VIP).local).toBeNull();
    expect(rulesOf(plan, VIP)).toEqual(["pack-registry", "bootstrap"]);
    expect(imageOf(plan, "a.io/x:1").local).not.toBeNull();
  });

  test("holds for an image that an application declares too", () => {
    const zot = { name: "zot", layer: "addon", images: [VIP] } as const;
    expect(localName(VIP, { localRegistry: { kind: "oci", address: ADDRESS } }, zot)).toBeNull();
  });

  test("is not told where there is no local registry", () => {
    const packs = [OS, { name: "cert-manager", layer: "addon", images: [VIP] } as const];
    expect(rulesOf(planCluster({ packs }), VIP)).toEqual(["pack-registry"]);
  });
});

describe("the local registry", () => {
  const harbor = { name: "harbor", layer: "addon" } as const;
  const registryOf = (packs: readonly PackSketch[], localRegistry?: object) => {
    const site = localRegistry === undefined ? {} : { localRegistry };
    return planCluster({ packs: [OS, ...packs], site }).registries.local;
  };

  test.each([
    ["harbor", "harbor"],
    ["harbor-edge-native-config", "harbor"],
    ["zot", "oci"],
    ["registry-connect", "oci"],
  ] as const)("declared by pack %s is of kind %s", (name, kind) => {
    expect(registryOf([{ name, layer: "addon" }], { address: ADDRESS })).toEqual({
      kind,
      address: ADDRESS,
      project: "spectro-images",
      indexes: "one-platform",
      authenticated: false,
      access: ANONYMOUS,
    });
  });

  test("declared by a pack is assumed at 127.0.0.1 and the pack's port, with a warning at the pack", () => {
    const values = {
      charts: { harbor: { expose: { nodePort: { ports: { https: { nodePort: 31000 } } } } } },
    };
    const plan = planCluster({ packs: [OS, { ...harbor, values }] });
    expect(plan.registries.local?.address).toBe("127.0.0.1:31000");
    expect(plan.warnings).toMatchObject([{ code: "local-address-assumed", file: "store.json" }]);
    expect(plan.warnings[0]?.path).toContain("packs[1]");
  });

  test("declared by a pack has port 30003 unless the pack says otherwise", () => {
    expect(registryOf([harbor])?.address).toBe("127.0.0.1:30003");
  });

  test("has the address of the site file, without a warning", () => {
    const plan = planCluster({
      packs: [OS, harbor],
      site: { localRegistry: { address: `https://${ADDRESS}/` } },
    });
    expect(plan.registries.local?.address).toBe(ADDRESS);
    expect(warningCodes(plan)).toEqual([]);
  });

  test("tells what its packs leave unclear, where it is theirs", () => {
    const projects = (images: string) => ({ projects: { images } });
    const config = {
      content: { sync: projects("one") },
      registry: { inClusterRegistry: projects("two") },
    };
    const pack = {
      name: "registry-connect",
      layer: "addon" as const,
      values: { charts: { "registry-connect": { config } } },
    };
    const codes = (localRegistry: object) =>
      warningCodes(planCluster({ packs: [OS, pack], site: { localRegistry } }));
    expect(codes({ address: ADDRESS })).toEqual(["local-project-conflict"]);
    expect(codes({ kind: "none" })).toEqual([]);
    expect(codes({ address: ADDRESS, project: "three" })).toEqual([]);
  });

  test("is what the site file says, over what packs declare", () => {
    expect(registryOf([harbor], { kind: "oci", address: ADDRESS })?.kind).toBe("oci");
    expect(registryOf([harbor], { kind: "none" })).toBeNull();
  });

  test("embedded listens where the embedded registry does", () => {
    const site = { localRegistry: { kind: "embedded" }, registry: { listen: "10.0.0.7:5055" } };
    const plan = planCluster({ packs: [OS, app("app", VIP)], site });
    expect(plan.registries.local).toEqual({
      kind: "embedded",
      address: "10.0.0.7:5055",
      project: "spectro-images",
      indexes: "one-platform",
      authenticated: false,
      access: ANONYMOUS,
    });
    expect(imageOf(plan, VIP).local).toBe(`10.0.0.7:5055/spectro-images/${VIP}`);
  });

  test.each(["harbor", "oci"])("of kind %s without an address is a fault at its place", (kind) => {
    const plan = planCluster({ packs: [OS, app("app", VIP)], site: { localRegistry: { kind } } });
    expect(plan.faults).toMatchObject([
      { code: "local-address-missing", file: "site.yaml", path: "localRegistry.kind" },
    ]);
    expect(imageOf(plan, VIP).local).toBeNull();
  });

  test.each([
    ["a project that is no path", { kind: "oci", address: ADDRESS, project: "Edge Images" }],
    ["an address that is no host", { kind: "embedded" }],
  ])("with %s is one fault, not one for each image", (_, localRegistry) => {
    const site = { localRegistry, registry: { listen: ":5055" } };
    const plan = planCluster({ packs: [OS, app("app", VIP, "a.io/x:1")], site });
    expect(faultCodes(plan)).toEqual(["local-registry-invalid"]);
    expect(plan.faults[0]).toMatchObject({ file: "site.yaml", path: "localRegistry.kind" });
    expect(imageOf(plan, VIP).local).toBeNull();
  });

  test("refuses a name that it can't hold, and says which", () => {
    const image = `a.io/${"long/".repeat(48)}app:1`;
    const plan = planCluster({ packs: [OS, app("app", image)], site: HARBOR });
    expect(plan.faults).toMatchObject([{ code: "rewrite-invalid", file: "store.json" }]);
    expect(plan.faults[0]?.message).toContain(image);
  });
});
