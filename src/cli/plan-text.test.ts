import { describe, expect, test } from "bun:test";
import type { Plan } from "#plan";
import {
  app,
  OS,
  osPack,
  PROVIDER_IMAGE,
  planCluster,
  planSample,
  registrySecret,
} from "#test-support/plan-inputs";
import { formatPlan } from "./plan-text.ts";

/** What stands above the stages. */
function heading(plan: Plan): readonly string[] {
  const lines = formatPlan(plan).split("\n");
  return lines.slice(0, lines.indexOf(""));
}

describe("formatPlan()", () => {
  test("shows registries and roles, the combination, and per image source, credential, destination, reason", () => {
    const text = formatPlan(planSample("user-data-external.yaml"));
    expect(text).toStartWith(`\
PROFILE      edge-store
REGISTRIES
  provider  quay.io                            -                                        no image: the provider image comes from 10.10.254.254:8000
  external  10.10.254.254:8000/spectro-images  user-data:registryCredentials, insecure  12 images
COMBINATION  supported: authenticated external registry

STAGE 1      provider: 1 image

  quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1
    from  10.10.254.254:8000/spectro-images/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials, provider-location, provider-first; wanted by edge-native-byoi (os)

STAGE 2      infrastructure: 6 images

  docker.io/library/busybox:latest
    from  10.10.254.254:8000/spectro-images/busybox:latest
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by csi-local-path (csi)

`);
    expect(text).toEndWith(`
STAGE 3      application: 5 images

  ghcr.io/spectrocloud/hello-universe-api:1.1.1
    from  10.10.254.254:8000/spectro-images/hello-universe-api:1.1.1
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by hello-universe (addon)

  ghcr.io/spectrocloud/hello-universe-db:1.1.0
    from  10.10.254.254:8000/spectro-images/hello-universe-db:1.1.0
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by hello-universe (addon)

  ghcr.io/spectrocloud/hello-universe:1.3.2
    from  10.10.254.254:8000/spectro-images/hello-universe:1.3.2
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by hello-universe (addon)

  ghcr.io/spectrocloud/hello-universe:1.3.2-proxy
    from  10.10.254.254:8000/spectro-images/hello-universe:1.3.2-proxy
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by hello-universe (addon)

  ghcr.io/spegel-org/spegel@sha256:2c587a649b1b9b61d09e1e42901da5f34b2ab187247acb23086de3fad504a49c
    from  10.10.254.254:8000/spectro-images/spegel@sha256:2c587a649b1b9b61d09e1e42901da5f34b2ab187247acb23086de3fad504a49c
    with  user-data:registryCredentials
    to    the store
    why   external-registry, rewrite-replace, external-credentials; wanted by spegel (addon)
`);
  });

  test("lists every registry that packs name when there is no external one", () => {
    expect(heading(planSample("user-data-none.yaml"))).toEqual([
      "PROFILE      edge-store",
      "REGISTRIES",
      "  provider  quay.io    no credential  1 image",
      "  packs     docker.io  no credential  3 images",
      "  packs     ghcr.io    no credential  5 images",
      "  packs     quay.io    no credential  3 images",
      "COMBINATION  supported",
    ]);
  });

  test("counts what mapping rules send to which external registry", () => {
    expect(heading(planSample("user-data-mapped.yaml")).slice(2)).toEqual([
      "  provider  quay.io                            -                                no image: the provider image comes from mirror.example.com",
      "  external  mirror.example.com/palette-images  user-data:externalRegistries[0]  9 images",
      "  external  10.10.11.60:3899/security-images   user-data:externalRegistries[1]  3 images",
      "COMBINATION  supported: authenticated external registry",
    ]);
  });

  test("tells a registry that rules lead to from one that packs name", () => {
    const registryMappingRules = { "quay.io/team": "mirror.example/team" };
    const stylus = { externalRegistries: { registryMappingRules } };
    const plan = planCluster({ packs: [OS, app("a", "quay.io/team/x:1", "ghcr.io/x:1")], stylus });
    expect(heading(plan).slice(2, 5)).toEqual([
      "  provider  quay.io         no credential  1 image",
      "  mapped    mirror.example  no credential  1 image",
      "  packs     ghcr.io         no credential  1 image",
    ]);
  });

  const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: "x" });
  const secret = registrySecret("reg-a", { url: "reg.example.com", username: "u", password: "p" });
  const sketch = {
    packs: [os, { ...app("shop", "reg.example.com/shop:1"), manifests: [secret] }],
    site: {
      localRegistry: { kind: "harbor", address: "10.0.0.5:30003" },
      combinations: "extended",
    },
  };

  test("shows each part of an extended combination", () => {
    const text = formatPlan(planCluster(sketch));
    expect(text).toContain(`
  provider  quay.io                        os-pack:providerCredentials  1 image
  packs     reg.example.com                secret:reg-a                 1 image
  local     10.0.0.5:30003/spectro-images  harbor, no credential        1 image uploaded after the first download
COMBINATION  supported by combinations: extended: local registry + authenticated provider registry
`);
    expect(text).toEndWith(`
  reg.example.com/shop:1
    from  reg.example.com, as declared
    with  secret:reg-a
    to    the store, then 10.0.0.5:30003/spectro-images/reg.example.com/shop:1
    why   pack-registry, pack-credentials, local-upload, local-serve; wanted by shop (addon)
`);
  });

  test("says at the top that a plan is refused", () => {
    const strict = { ...sketch, site: { ...sketch.site, combinations: "strict" } };
    expect(heading(planCluster(strict)).slice(-2)).toEqual([
      "COMBINATION  NOT SUPPORTED: local registry + authenticated provider registry; combinations: extended would lift this",
      "REFUSED      1 fault; this is as far as it could be planned, and none of it is delivered",
    ]);
  });

  test("tells an extra image from one that a pack wants", () => {
    const text = formatPlan(planCluster({ packs: [OS], site: { extraImages: ["a.io/x:1"] } }));
    expect(text).toContain("    why   pack-registry; an extra image\n");
  });

  test("shows what people wrote in a form that a terminal can't mistake", () => {
    const name = "shop\u001b[2J";
    const evil = registrySecret("reg\u0007", { url: "a.io", username: "u", password: "p" });
    const text = formatPlan(
      planCluster({
        packs: [OS],
        profiles: { "evil\u001b]0;.json": [{ ...app(name, "a.io/x:1"), manifests: [evil] }] },
      }),
    );
    expect(text.replaceAll("\n", "")).toMatch(/^[^\p{Cc}]*$/u);
    expect(text).toContain("shop\\u001b[2J");
  });
});
