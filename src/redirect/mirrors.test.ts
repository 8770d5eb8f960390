import { describe, expect, test } from "bun:test";
import { Findings, Secret } from "#base";
import { app, type ClusterSketch, OS, planCluster } from "#test-support/plan-inputs";
import { endpointUrl, type NodeAccess, OPEN_ACCESS, type RuntimeKind } from "./endpoint.ts";
import { type MirrorOptions, mirrorsFor } from "./mirrors.ts";

const EMBEDDED = "http://127.0.0.1:5055";
const SITE = { localRegistry: { kind: "harbor", address: "10.0.0.5:30003" } };
const APPS = app("shop", "quay.io/team/shop:1", "reg.example:5000/a:1", "busybox");

function mirrorsOf(sketch: ClusterSketch, options: Partial<MirrorOptions> = {}) {
  const findings = new Findings();
  const plan = planCluster({ packs: [OS, APPS], ...sketch });
  expect(plan.faults).toEqual([]);
  const embedded = { origin: EMBEDDED, access: OPEN_ACCESS };
  const all = { runtime: "containerd" as RuntimeKind, via: "site" as const, embedded, ...options };
  const mirrors = mirrorsFor(plan, all, findings);
  const urls = mirrors.map(({ host, endpoints }) => [host, endpoints.map(endpointUrl)]);
  return { mirrors, urls: Object.fromEntries(urls), findings };
}

describe("mirrorsFor()", () => {
  test("every host of the profile asks the embedded registry by the bare name", () => {
    expect(mirrorsOf({}).urls).toEqual({
      "docker.io": [EMBEDDED],
      "quay.io": [EMBEDDED],
      "reg.example:5000": [EMBEDDED],
    });
  });

  test("hosts with an uploaded image ask the local registry first, by the name it has there", () => {
    const bootstrap = app("harbor", "goharbor.example/harbor/core:2");
    const network = { name: "cni", layer: "cni" as const, images: ["cni.example/node:1"] };
    expect(mirrorsOf({ packs: [OS, APPS, bootstrap, network], site: SITE }).urls).toEqual({
      "cni.example": [EMBEDDED],
      "docker.io": ["https://10.0.0.5:30003/v2/spectro-images/docker.io", EMBEDDED],
      "goharbor.example": [EMBEDDED],
      "quay.io": ["https://10.0.0.5:30003/v2/spectro-images/quay.io", EMBEDDED],
      "reg.example:5000": ["https://10.0.0.5:30003/v2/spectro-images/reg.example_5000", EMBEDDED],
    });
  });

  test("an image that is pinned to a digest is found as one that is not", () => {
    const pinned = app("shop", `quay.io/team/shop:1@sha256:${"d".repeat(64)}`);
    const { urls } = mirrorsOf({ packs: [OS, pinned], site: SITE });
    expect(urls["quay.io"][0]).toBe("https://10.0.0.5:30003/v2/spectro-images/quay.io");
  });

  test("the embedded registry that plays the part of the local one is asked once", () => {
    const site = { localRegistry: { kind: "embedded" } };
    expect(mirrorsOf({ site }).urls["quay.io"]).toEqual([EMBEDDED]);
  });

  test.each([
    ["10.0.0.5:30003", false, ["https"]],
    ["10.0.0.5:30003", true, ["https", "http"]],
    ["127.0.0.1:30003", false, ["https", "http"]],
    ["[::1]:30003", false, ["https", "http"]],
  ])("%s, insecure: %p, is asked by %p", (address, insecure, schemes) => {
    const site = { localRegistry: { kind: "oci", address } };
    const local: NodeAccess = { certificates: ["PEM"], insecure };
    const [quay] = mirrorsOf({ site }, { local }).mirrors.filter(({ host }) => host === "quay.io");
    const ours = quay?.endpoints.filter(({ role }) => role === "local") ?? [];
    expect(ours.map(({ origin }) => origin.split(":")[0])).toEqual(schemes);
    expect(ours[0]?.skipVerify).toBe(insecure);
    expect(ours[0]?.authority).toEqual({ name: "local-ca.pem", pem: "PEM\n" });
    expect(ours[1]?.authority).toBeUndefined();
  });

  const login = { username: "edge", password: "hunter2" };
  const external = (domain: string) => ({ registryCredentials: { domain, ...login } });

  test("an external registry that has a path in front is asked last, with its login", () => {
    const stylus = external("mirror.example/images");
    const { mirrors, urls, findings } = mirrorsOf({ stylus, site: { rewrite: "prepend" } });
    expect(urls["reg.example:5000"]).toEqual([
      EMBEDDED,
      "https://mirror.example/v2/images/reg.example_5000",
    ]);
    const credential = mirrors[0]?.endpoints.at(-1)?.credential;
    expect(credential).toEqual({ username: "edge", password: new Secret("hunter2") });
    expect(credential?.password.reveal()).toBe("hunter2");
    expect(findings.warnings).toEqual([]);
  });

  test.each(["containerd", "k3s"] as const)(
    "what %s can't say beside the site's registries is named, and goes through the embedded one",
    (runtime) => {
      const stylus = external("mirror.example/images");
      const { urls, findings } = mirrorsOf({ stylus }, { runtime });
      expect(urls["quay.io"]).toEqual([EMBEDDED]);
      const [first] = findings.warnings;
      // Not of reg.example:5000: a name of one part stays as it is, behind the path.
      expect(findings.warnings).toHaveLength(2);
      expect(urls["reg.example:5000"]).toEqual([EMBEDDED, "https://mirror.example/v2/images"]);
      expect(first).toMatchObject({ code: "redirect-inexpressible", file: "store.json" });
      expect(findings.warnings.map(({ message }) => message).join()).toContain("quay.io");
    },
  );

  test("k3s gets the external registry with one rewrite for all that keep their last part", () => {
    const stylus = external("mirror.example/images");
    const { mirrors } = mirrorsOf({ stylus }, { runtime: "k3s", via: "external" });
    for (const { host, rewrites, endpoints } of mirrors) {
      if (host === "reg.example:5000") continue;
      expect(endpoints.map(endpointUrl)).toEqual(["https://mirror.example"]);
      const [[pattern = "", replacement = ""] = []] = rewrites;
      const renamed = "team/shop".replace(new RegExp(pattern), replacement);
      expect(renamed).toBe("images/shop");
      expect(rewrites).toHaveLength(1);
    }
  });

  test("k3s gets a rewrite for each image where mapping rules moved them elsewhere", () => {
    const stylus = {
      ...external("mirror.example"),
      registryMappingRules: { "quay.io/team/s.hop": "mirror.example/other/name" },
    };
    const packs = [OS, app("shop", "quay.io/team/s.hop:1", "quay.io/team/b:1")];
    const { mirrors } = mirrorsOf({ packs, stylus }, { runtime: "rke2", via: "external" });
    const quay = mirrors.find(({ host }) => host === "quay.io");
    expect(Object.fromEntries(quay?.rewrites ?? [])).toMatchObject({
      "^team/b$": "b",
      "^team/s[.]hop$": "other/name",
    });
  });
});
