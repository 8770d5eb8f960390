import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { readClusterInputs } from "#profile";
import { formatReference } from "#reference";
import {
  app,
  type ClusterSketch,
  OS,
  osPack,
  PROVIDER_IMAGE,
  registrySecret,
  writeCluster,
} from "#test-support/plan-inputs";
import { credentialUses } from "./credential-uses.ts";
import { makePlan } from "./make-plan.ts";

/** `role registry origin image`, one for each credential. */
function usesOf(sketch: ClusterSketch): readonly string[] {
  const { names, files } = writeCluster(sketch);
  const findings = new Findings();
  const inputs = readClusterInputs(names, files, findings);
  return credentialUses(makePlan(inputs, findings), inputs).map(
    ({ role, registry, origin, trial }) => {
      return `${role} ${registry} ${origin} ${trial === undefined ? "-" : formatReference(trial.image)}`;
    },
  );
}

const LOGIN = { username: "edge", password: "p" };
const LOCAL = { kind: "oci", address: "10.0.0.5:5000" };

describe("credentialUses()", () => {
  test("has none where every registry is public", () => {
    expect(usesOf({ packs: [OS, app("app", "a.io/x:1")] })).toEqual([]);
  });

  test("names each part's credential once, with the first image that needs it", () => {
    const secret = registrySecret("reg-a", { url: "a.io", ...LOGIN });
    const os = osPack(PROVIDER_IMAGE, { registry: "quay.io", user: "edge", password: "p" });
    const packs = [os, { ...app("app", "a.io/x:1", "a.io/y:1", "b.io/z:1"), manifests: [secret] }];
    expect(usesOf({ packs })).toEqual([
      `provider quay.io os-pack:providerCredentials ${PROVIDER_IMAGE}`,
      "packs a.io secret:reg-a a.io/x:1",
    ]);
  });

  test("names an external registry, and what it leaves without work", () => {
    const secret = registrySecret("reg-a", { url: "a.io", ...LOGIN });
    const packs = [OS, { ...app("app", "a.io/x:1"), manifests: [secret] }];
    const stylus = { registryCredentials: { domain: "m.io/images", ...LOGIN } };
    expect(usesOf({ packs, stylus })).toEqual([
      "external m.io user-data:registryCredentials m.io/images/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
      "packs a.io secret:reg-a -",
    ]);
  });

  test("tries the local registry with the name of an upload, also without a credential", () => {
    const packs = [OS, app("app", "a.io/x:1")];
    expect(usesOf({ packs, site: { localRegistry: LOCAL } })).toEqual([
      "local 10.0.0.5:5000 null 10.0.0.5:5000/spectro-images/a.io/x:1",
    ]);
    const own = { ...LOCAL, username: "edge", passwordFile: "p" };
    expect(usesOf({ packs, site: { localRegistry: own }, files: { p: "p" } })).toEqual([
      "local 10.0.0.5:5000 site:localRegistry 10.0.0.5:5000/spectro-images/a.io/x:1",
    ]);
    expect(usesOf({ packs: [OS], site: { localRegistry: LOCAL } })).toEqual([
      "local 10.0.0.5:5000 null -",
    ]);
  });

  test("leaves the embedded registry out, and a local one without an address", () => {
    const packs = [OS, app("app", "a.io/x:1")];
    expect(usesOf({ packs, site: { localRegistry: { kind: "embedded" } } })).toEqual([]);
    expect(usesOf({ packs, site: { localRegistry: { kind: "oci" } } })).toEqual([]);
  });
});
