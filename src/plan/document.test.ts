import { describe, expect, test } from "bun:test";
import { OS, planCluster, planSample } from "#test-support/plan-inputs";
import { planDocument } from "./document.ts";

/** The document as a reader of the JSON gets it. */
function sampleDocument(userData: string) {
  return JSON.parse(JSON.stringify(planDocument(planSample(userData))));
}

const SOURCE = "10.10.254.254:8000/spectro-images/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const DECLARED = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";

describe("planDocument()", () => {
  test("is the contract's document of the sample with an external registry", () => {
    const { stages, ...head } = sampleDocument("user-data-external.yaml");
    expect(head).toEqual({
      apiVersion: "drayage/v1",
      kind: "Plan",
      profiles: ["edge-store"],
      registries: {
        provider: { address: "quay.io", authenticated: false },
        external: [
          { address: "10.10.254.254:8000/spectro-images", authenticated: true, insecure: true },
        ],
        local: null,
      },
      combination: { supported: true, needsExtended: false },
      warnings: [
        {
          code: "always-pull-images",
          message: expect.stringContaining("AlwaysPullImages"),
          file: "profile.yaml",
          line: 39,
          column: 19,
          path: "spec.template.packs[1].values:cluster.config:kube-apiserver-arg[1]",
          remedy: expect.stringContaining("enable-admission-plugins"),
        },
      ],
      faults: [],
    });
    expect(
      stages.map(({ name, images }: { name: string; images: unknown[] }) => [name, images.length]),
    ).toEqual([
      ["provider", 1],
      ["infrastructure", 6],
      ["application", 5],
    ]);
    expect(stages[0].images).toEqual([
      {
        declared: DECLARED,
        packs: ["edge-native-byoi"],
        layer: "os",
        category: "provider",
        source: SOURCE,
        credential: "user-data:registryCredentials",
        local: null,
        because: [
          {
            rule: "external-registry",
            text: "The user data names the external registry 10.10.254.254:8000/spectro-images, which serves every image",
          },
          {
            rule: "rewrite-replace",
            text: `All before the last path segment of ${DECLARED} is replaced: ${SOURCE}`,
          },
          {
            rule: "external-credentials",
            text: "user-data:registryCredentials holds the credential for 10.10.254.254:8000/spectro-images, the longest match for 10.10.254.254:8000/spectro-images/core-ubuntu-20-lts-rke2",
          },
          { rule: "provider-location", text: expect.stringContaining("OS pack") },
          { rule: "provider-first", text: expect.stringContaining("No blob of any other image") },
        ],
        at: [{ file: "profile.yaml", line: 22, column: 13 }],
      },
    ]);
  });

  test("gives null and empty lists for what is absent", () => {
    const { registries, stages, warnings, faults } = sampleDocument("user-data-none.yaml");
    expect(registries).toEqual({
      provider: { address: "quay.io", authenticated: false },
      external: [],
      local: null,
    });
    expect(stages[0].images[0]).toMatchObject({ source: DECLARED, credential: null, local: null });
    expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
  });

  test("names a pack's file relative to the profile", () => {
    const { stages } = sampleDocument("user-data-none.yaml");
    const at = stages[2].images.map((image: { at: { file: string }[] }) => image.at[0]?.file);
    expect(new Set(at)).toEqual(
      new Set(["../packs/hello-universe-1.3.1/values.yaml", "../packs/spegel-0.7.2/values.yaml"]),
    );
  });

  test("maps the sample's images into two external registries", () => {
    const { stages } = sampleDocument("user-data-mapped.yaml");
    const images = stages.flatMap((stage: { images: unknown[] }) => stage.images);
    const sources = images.map(
      ({ source, credential }: { source: string; credential: string }) => `${source} ${credential}`,
    );
    expect(sources).toContain(
      "10.10.11.60:3899/security-images/calico/cni:v3.27.0 user-data:externalRegistries[1]",
    );
    expect(sources).toContain(
      "mirror.example.com/palette-images/hub/library/busybox:latest user-data:externalRegistries[0]",
    );
    expect(sources).toContain(
      "mirror.example.com/palette-images/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1 user-data:externalRegistries[0]",
    );
  });

  test("has all three stages and its faults when it is refused", () => {
    const site = { localRegistry: { kind: "oci" } };
    const document = JSON.parse(JSON.stringify(planDocument(planCluster({ packs: [OS], site }))));
    expect(document.stages).toHaveLength(3);
    expect(document.registries.local).toEqual({
      kind: "oci",
      address: null,
      project: "spectro-images",
      indexes: "one-platform",
      credential: null,
      authenticated: false,
    });
    expect(document.faults).toEqual([
      {
        code: "local-address-missing",
        message: expect.any(String),
        file: "site.yaml",
        line: 5,
        column: 13,
        path: "localRegistry.kind",
        remedy: expect.any(String),
      },
    ]);
  });
});
