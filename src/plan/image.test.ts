import { describe, expect, test } from "bun:test";
import { formatReference } from "#reference";
import {
  app,
  faultCodes,
  imageOf,
  imagesOf,
  OS,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  rulesOf,
} from "#test-support/plan-inputs";
import type { Plan } from "./plan.ts";

const IMAGE = "quay.io/team/shared:1";

/** Names of the images of each stage. */
function stagesOf(plan: Plan) {
  const [provider, infrastructure, application] = plan.stages.map(({ images }) =>
    images.map(({ declared }) => formatReference(declared)),
  );
  return { provider, infrastructure, application };
}

describe("rule provider-first", () => {
  const packs = [
    app("shop", "a.io/shop:1"),
    { name: "csi", layer: "csi", images: ["a.io/csi:1"] },
    { name: "cni", layer: "cni", images: ["a.io/cni:1"] },
    { name: "edge-k3s", layer: "k8s", images: ["a.io/k8s:1"] },
    { ...OS, images: ["a.io/tool:1"] },
  ] as const;

  test("plans provider, then infrastructure, then applications", () => {
    const plan = planCluster({ packs });
    expect(plan.stages.map(({ name }) => name)).toEqual([
      "provider",
      "infrastructure",
      "application",
    ]);
    expect(stagesOf(plan)).toEqual({
      provider: [PROVIDER_IMAGE],
      infrastructure: ["a.io/cni:1", "a.io/csi:1", "a.io/k8s:1", "a.io/tool:1"],
      application: ["a.io/shop:1"],
    });
  });

  test("always has all three stages", () => {
    expect(stagesOf(planCluster({ packs: [OS] }))).toEqual({
      provider: [PROVIDER_IMAGE],
      infrastructure: [],
      application: [],
    });
  });

  test("is a reason of provider images only", () => {
    const plan = planCluster({ packs });
    expect(rulesOf(plan, PROVIDER_IMAGE)).toContain("provider-first");
    expect(rulesOf(plan, "a.io/tool:1")).not.toContain("provider-first");
  });
});

describe("rule provider-location", () => {
  test("takes options.system.uri, other images of the OS pack being infrastructure", () => {
    const plan = planCluster({ packs: [{ ...OS, images: [PROVIDER_IMAGE, IMAGE] }] });
    expect(stagesOf(plan)).toMatchObject({ provider: [PROVIDER_IMAGE], infrastructure: [IMAGE] });
    expect(rulesOf(plan, PROVIDER_IMAGE)).toContain("provider-location");
  });

  test("takes the one image of the OS pack's content where there is no uri", () => {
    const os = { name: "edge-native-byoi", layer: "os", images: [IMAGE] } as const;
    expect(stagesOf(planCluster({ packs: [os] })).provider).toEqual([IMAGE]);
  });

  test.each([
    ["no image", []],
    ["two images", ["a.io/x:1", "a.io/y:1"]],
  ])("refuses an OS pack with %s and no uri", (_, images) => {
    const plan = planCluster({ packs: [{ name: "edge-native-byoi", layer: "os", images }] });
    expect(plan.faults).toMatchObject([{ code: "provider-location-missing", file: "store.json" }]);
    expect(plan.registries.provider).toBeNull();
  });

  test("refuses profiles without an OS pack", () => {
    const plan = planCluster({ packs: [app("shop", IMAGE)] });
    expect(faultCodes(plan)).toEqual(["provider-location-missing"]);
    expect(stagesOf(plan).application).toEqual([IMAGE]);
  });
});

describe("an image that several packs declare", () => {
  test("is one entry, in the earliest of its stages, with all its packs and places", () => {
    const cni = { name: "cni-x", layer: "cni", images: [IMAGE] } as const;
    const csi = { name: "csi-x", layer: "csi", images: [IMAGE] } as const;
    const plan = planCluster({ packs: [OS, app("shop", IMAGE), csi, cni] });
    expect(imageOf(plan, IMAGE)).toMatchObject({
      category: "infrastructure",
      layer: "cni",
      packs: ["cni-x", "csi-x", "shop"],
    });
    expect(imageOf(plan, IMAGE).at).toHaveLength(3);
  });

  test("is a provider image if one of them is the OS pack's", () => {
    const plan = planCluster({ packs: [app("shop", PROVIDER_IMAGE), OS] });
    expect(imageOf(plan, PROVIDER_IMAGE)).toMatchObject({ category: "provider", layer: "os" });
  });

  test("is one however it is written", () => {
    const packs = [
      OS,
      app("a", "busybox", "docker.io/busybox:latest"),
      app("b", "index.docker.io/library/busybox", "container://docker.io/library/busybox"),
    ];
    expect(imageOf(planCluster({ packs }), "docker.io/library/busybox:latest").at).toHaveLength(4);
  });

  test("is another one by another tag or digest", () => {
    const pin = `sha256:${"c".repeat(64)}`;
    const plan = planCluster({ packs: [OS, app("a", "a.io/x:1", "a.io/x:2", `a.io/x:1@${pin}`)] });
    expect(stagesOf(plan).application).toEqual(["a.io/x:1", `a.io/x:1@${pin}`, "a.io/x:2"]);
  });
});

describe("several profiles", () => {
  test("are judged as their union", () => {
    const plan = planCluster({
      profiles: {
        "apps.json": [app("shop", IMAGE)],
        "infra.json": [osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge" })],
        "registry.json": [{ name: "zot", layer: "addon" }],
      },
    });
    expect(plan.profiles).toEqual(["apps", "infra", "registry"]);
    expect(imagesOf(plan)).toHaveLength(2);
    expect(faultCodes(plan)).toEqual(["combination-unsupported"]);
  });

  test("join the declarations of one image, each with its file", () => {
    const plan = planCluster({
      profiles: { "a.json": [app("a", IMAGE)], "b.json": [app("b", IMAGE)], "os.json": [OS] },
    });
    expect(imageOf(plan, IMAGE).at.map(({ file }) => file)).toEqual(["a.json", "b.json"]);
  });
});

describe("extra images", () => {
  test("of the site file and of --images are applications of no pack", () => {
    const plan = planCluster({
      packs: [OS],
      site: { extraImages: ["a.io/site:1"] },
      images: ["# tools", "", "a.io/listed:1  # why", "busybox"],
    });
    expect(stagesOf(plan).application).toEqual([
      "a.io/listed:1",
      "a.io/site:1",
      "docker.io/library/busybox:latest",
    ]);
    expect(imageOf(plan, "a.io/site:1").packs).toEqual([]);
    expect(imageOf(plan, "a.io/listed:1").at).toMatchObject([{ file: "images.txt", line: 3 }]);
  });
});
