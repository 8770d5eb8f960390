import { describe, expect, test } from "bun:test";
import { formatReference } from "#reference";
import {
  app,
  type ClusterSketch,
  faultCodes,
  imageOf,
  imagesOf,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  rulesOf,
  sourceOf,
  warningCodes,
} from "#test-support/plan-inputs";

const EXTERNAL = "mirror.example.com/images";
const LOCAL = "10.0.0.5:30003";
const APP = "quay.io/team/shop:1";
const CNI = "quay.io/calico/cni:v3";

interface Features {
  readonly local: boolean;
  readonly external: boolean;
  readonly provider: boolean;
}

function cluster({ local, external, provider }: Features, site: object = {}): ClusterSketch {
  const credentials = { registry: "quay.io", user: "edge", password: "provider-password" };
  const login = { username: "edge", password: "external-password" };
  return {
    packs: [
      osPack(PROVIDER_IMAGE, provider ? credentials : undefined),
      { name: "cni-calico", layer: "cni", images: [CNI] },
      app("shop", APP),
    ],
    ...(external ? { stylus: { registryCredentials: { domain: EXTERNAL, ...login } } } : {}),
    site: { ...(local ? { localRegistry: { kind: "harbor", address: LOCAL } } : {}), ...site },
  };
}

const EIGHT: readonly (Features & { readonly clashes: readonly string[] })[] = [
  { local: false, external: false, provider: false, clashes: [] },
  { local: true, external: false, provider: false, clashes: [] },
  { local: false, external: true, provider: false, clashes: [] },
  { local: true, external: true, provider: false, clashes: [] },
  { local: false, external: false, provider: true, clashes: [] },
  { local: true, external: false, provider: true, clashes: ["localRegistry.kind"] },
  { local: false, external: true, provider: true, clashes: ["stylus.registryCredentials"] },
  {
    local: true,
    external: true,
    provider: true,
    clashes: ["localRegistry.kind", "stylus.registryCredentials"],
  },
];

/** `local + authenticated external`, the features that a test is about. */
function title({ local, external, provider }: Features): string {
  const parts = [
    ...(local ? ["local"] : []),
    ...(external ? ["authenticated external"] : []),
    ...(provider ? ["authenticated provider"] : []),
  ];
  return parts.length === 0 ? "nothing" : parts.join(" + ");
}

const CASES = EIGHT.map((features) => [title(features), features] as const);

describe("rule combination, strict", () => {
  test.each(CASES)("%s", (_, { clashes, ...features }) => {
    const plan = planCluster(cluster(features));
    const isRefused = clashes.length > 0;
    expect(plan.combination).toEqual({ supported: !isRefused, needsExtended: isRefused });
    expect(faultCodes(plan)).toEqual(clashes.map(() => "combination-unsupported"));
    expect(warningCodes(plan)).toEqual([]);
    for (const [i, clash] of clashes.entries()) {
      expect(plan.faults[i]).toMatchObject({ file: "store.json" });
      expect(plan.faults[i]?.path).toContain("providerCredentials.registry");
      expect(plan.faults[i]?.message).toContain("providerCredentials");
      expect(plan.faults[i]?.message).toContain(clash);
      expect(plan.faults[i]?.remedy).toContain("combinations: extended");
    }
  });

  test("a refusal plans as far as it goes, the external registry serving all", () => {
    const plan = planCluster(cluster({ local: true, external: true, provider: true }));
    expect(sourceOf(plan, PROVIDER_IMAGE)).toStartWith(EXTERNAL);
    expect(imageOf(plan, APP).local).toBe(`${LOCAL}/spectro-images/${APP}`);
  });
});

describe("rule combination, extended", () => {
  test.each(CASES)("%s", (_, { clashes, ...features }) => {
    const plan = planCluster(cluster(features, { combinations: "extended" }));
    expect(plan.faults).toEqual([]);
    expect(plan.combination).toEqual({ supported: true, needsExtended: clashes.length > 0 });

    const other = features.external ? `${EXTERNAL}/cni:v3` : CNI;
    const login = features.external ? "user-data:registryCredentials" : null;
    expect(sourceOf(plan, CNI)).toBe(other);
    expect(imageOf(plan, CNI).access.origin).toBe(login);
    expect(imageOf(plan, APP).access.origin).toBe(login);
    expect(imageOf(plan, CNI).local).toBeNull();
    expect(imageOf(plan, APP).local).toBe(features.local ? `${LOCAL}/spectro-images/${APP}` : null);

    const provider = imageOf(plan, PROVIDER_IMAGE);
    expect(provider.local).toBeNull();
    expect(provider.access.origin).toBe(features.provider ? "os-pack:providerCredentials" : login);
    if (features.provider || !features.external)
      expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(PROVIDER_IMAGE);
    else expect(sourceOf(plan, PROVIDER_IMAGE)).toStartWith(EXTERNAL);
  });

  test("names the rule where it made the difference, and nowhere else", () => {
    const extended = { combinations: "extended" };
    const both = planCluster(cluster({ local: false, external: true, provider: true }, extended));
    expect(rulesOf(both, PROVIDER_IMAGE)).toContain("combination");
    expect(rulesOf(both, APP)).not.toContain("combination");
    const alone = planCluster(cluster({ local: false, external: false, provider: true }, extended));
    expect(rulesOf(alone, PROVIDER_IMAGE)).not.toContain("combination");
  });

  test("fetches the provider image with providerCredentials also where both registries are one host", () => {
    const sketch = cluster({ local: false, external: true, provider: true });
    const registryCredentials = { domain: "quay.io/kairos", username: "edge", password: "x" };
    const plan = planCluster({
      ...sketch,
      stylus: { registryCredentials },
      site: { combinations: "extended" },
    });
    expect(imageOf(plan, PROVIDER_IMAGE).access.origin).toBe("os-pack:providerCredentials");
    expect(imageOf(plan, CNI).access.origin).toBe("user-data:registryCredentials");
  });

  test("leaves the provider image to the provider registry whatever the mapping rules say", () => {
    const sketch = cluster({ local: false, external: false, provider: true });
    const stylus = { externalRegistries: { registryMappingRules: { "quay.io": EXTERNAL } } };
    const plan = planCluster({ ...sketch, stylus, site: { combinations: "extended" } });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(PROVIDER_IMAGE);
    expect(sourceOf(plan, APP)).toBe(`${EXTERNAL}/team/shop:1`);
  });
});

describe.each(["strict", "extended"])("uploads, %s", (combinations) => {
  const EXTRA = "quay.io/team/extra:1";
  const REGISTRY = "quay.io/zot/zot:1";
  const SHARED = "quay.io/team/shared:1";

  test.each(CASES)("%s", (_, { clashes: __, ...features }) => {
    const site = { combinations, extraImages: [EXTRA] };
    const sketch = cluster(features, site);
    const packs = [
      ...(sketch.packs ?? []),
      { name: "csi", layer: "csi" as const, images: [SHARED] },
      app("shared", SHARED, PROVIDER_IMAGE),
      ...(features.local ? [{ ...app("harbor", REGISTRY), values: HARBOR_VALUES }] : []),
    ];
    const plan = planCluster({ ...sketch, packs });
    const names = imagesOf(plan).map(({ declared, local }) => [formatReference(declared), local]);
    const uploaded = (image: string) => [
      image,
      features.local ? `${LOCAL}/spectro-images/${image}` : null,
    ];
    const sorted = (rows: readonly (readonly unknown[])[]) => rows.map(String).sort();
    expect(sorted(names)).toEqual(
      sorted([
        [PROVIDER_IMAGE, null],
        [CNI, null],
        uploaded(SHARED),
        uploaded(APP),
        uploaded(EXTRA),
        ...(features.local ? [[REGISTRY, null]] : []),
      ]),
    );
    const { local } = plan.registries;
    expect(local === null ? null : local.access.origin).toBe(features.local ? "pack:harbor" : null);
    for (const image of imagesOf(plan)) expect(image.access.origin).not.toBe("pack:harbor");
  });

  const HARBOR_VALUES = { charts: { harbor: { harborAdminPassword: "local-password" } } };
});

describe("providerCredentials beside an external registry without credentials", () => {
  const sketch = cluster({ local: false, external: false, provider: true });
  const stylus = { registryCredentials: { domain: EXTERNAL, insecure: true } };

  test("are allowed, unused, and warned about with their place", () => {
    const plan = planCluster({ ...sketch, stylus });
    expect(plan.combination).toEqual({ supported: true, needsExtended: false });
    expect(plan.faults).toEqual([]);
    expect(sourceOf(plan, PROVIDER_IMAGE)).toStartWith(EXTERNAL);
    expect(imageOf(plan, PROVIDER_IMAGE).access.credential).toBeUndefined();
    expect(plan.warnings).toMatchObject([{ code: "credential-unused", file: "store.json" }]);
    expect(plan.warnings[0]?.message).toContain("providerCredentials");
  });

  test("are used in extended, which was not needed for it", () => {
    const plan = planCluster({ ...sketch, stylus, site: { combinations: "extended" } });
    expect(plan.combination).toEqual({ supported: true, needsExtended: false });
    expect(sourceOf(plan, PROVIDER_IMAGE)).toBe(PROVIDER_IMAGE);
    expect(imageOf(plan, PROVIDER_IMAGE).access.origin).toBe("os-pack:providerCredentials");
    expect(warningCodes(plan)).toEqual([]);
  });
});

describe("a feature is present by what is declared", () => {
  const features = { local: false, external: false, provider: true };

  test.each(["harbor-edge-native-config", "registry-connect", "harbor", "zot"])(
    "pack %s is a local registry",
    (name) => {
      const sketch = cluster(features);
      const packs = [...(sketch.packs ?? []), { name, layer: "addon" as const }];
      const plan = planCluster({ ...sketch, packs });
      expect(plan.combination.supported).toBe(false);
      expect(plan.faults[0]?.message).toContain(`pack ${name}`);
    },
  );

  test("localRegistry.kind: none switches a pack's local registry off", () => {
    const sketch = cluster(features, { localRegistry: { kind: "none" } });
    const packs = [...(sketch.packs ?? []), { name: "harbor", layer: "addon" as const }];
    const plan = planCluster({ ...sketch, packs });
    expect(plan.combination).toEqual({ supported: true, needsExtended: false });
    expect(plan.registries.local).toBeNull();
  });

  test("localRegistry without kind leaves the word to the packs", () => {
    const plan = planCluster(cluster(features, { localRegistry: { project: "team" } }));
    expect(plan.registries.local).toBeNull();
    expect(plan.combination.supported).toBe(true);
  });

  test.each([
    [{ user: "edge" }, false],
    [{ password: "secret" }, false],
    [{}, true],
  ])("providerCredentials with %j", (login, isSupported) => {
    const sketch = cluster({ local: true, external: false, provider: false });
    const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", ...login });
    const plan = planCluster({ ...sketch, packs: [os, app("shop", APP)] });
    expect(plan.combination.supported).toBe(isSupported);
    expect(plan.registries.provider?.authenticated).toBe(!isSupported);
  });

  test.each([
    [{ username: "edge" }, true],
    [{ password: "secret" }, true],
    [{ username: "", password: "" }, false],
  ])("an external registry with %j", (login, isAuthenticated) => {
    const sketch = cluster({ local: false, external: false, provider: true });
    const stylus = { registryCredentials: { domain: EXTERNAL, ...login } };
    const plan = planCluster({ ...sketch, stylus });
    expect(plan.registries.external).toMatchObject([{ authenticated: isAuthenticated }]);
    expect(plan.combination.supported).toBe(!isAuthenticated);
  });

  test("one authenticated entry among several external registries is enough", () => {
    const registries = [{ domain: "one.example" }, { domain: "two.example", username: "edge" }];
    const sketch = cluster({ local: false, external: false, provider: true });
    const plan = planCluster({ ...sketch, stylus: { externalRegistries: { registries } } });
    expect(plan.faults[0]?.message).toContain("stylus.externalRegistries.registries[1]");
  });

  test("the same host for provider and external registry makes neither of them authenticated", () => {
    const sketch = cluster({ local: true, external: false, provider: false });
    const stylus = { registryCredentials: { domain: "quay.io", username: "edge", password: "x" } };
    const plan = planCluster({ ...sketch, stylus });
    expect(plan.combination).toEqual({ supported: true, needsExtended: false });
    expect(plan.registries.provider).toEqual({ address: "quay.io", authenticated: false });
  });
});
