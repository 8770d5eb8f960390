import { describe, expect, test } from "bun:test";
import { Secret } from "#base";
import type { Access, Credential } from "#credential";
import { testCertificates } from "#test-support/certificates";
import {
  app,
  type ClusterSketch,
  faultCodes,
  OS,
  type PackSketch,
  planCluster,
  warningCodes,
} from "#test-support/plan-inputs";
import { planDocument } from "./document.ts";

const ADDRESS = "10.0.0.5:30003";
const { ca, server } = testCertificates();

function addOn(name: string, values: PackSketch["values"] = {}): PackSketch {
  return { name, layer: "addon", values };
}

const HARBOR = addOn("harbor", { charts: { harbor: { harborAdminPassword: "from-pack" } } });
const ZOT = addOn("zot", { charts: { zot: { registry: { password: "from-pack" } } } });
const MASKED = addOn("harbor", { charts: { harbor: { harborAdminPassword: "*****" } } });

function plan(
  packs: readonly PackSketch[],
  localRegistry: object = {},
  more: Partial<ClusterSketch> = {},
) {
  const site = { localRegistry: { address: ADDRESS, ...localRegistry }, ...more.site };
  const files = { password: "from-site\n", "ca.pem": ca, ...more.files };
  return planCluster({ ...more, packs: [OS, app("app", "a.io/x:1"), ...packs], site, files });
}

/** `origin user:password` of the local registry. */
function loginOf(made: ReturnType<typeof plan>): string | null {
  const { origin, credential } = made.registries.local?.access ?? {};
  return origin == null || credential === undefined ? null : `${origin} ${text(credential)}`;
}

function text(credential: Credential): string {
  return credential.kind === "password"
    ? `${credential.username}:${credential.password.reveal()}`
    : credential.kind;
}

describe("the credential of the local registry", () => {
  test("is that of the pack", () => {
    const made = plan([HARBOR]);
    expect(loginOf(made)).toBe("pack:harbor admin:from-pack");
    expect([made.faults, made.warnings]).toEqual([[], []]);
  });

  test.each([
    [
      "user and password",
      { username: "edge", passwordFile: "password" },
      "site:localRegistry edge:from-site",
    ],
    ["a password alone", { passwordFile: "password" }, "site:localRegistry admin:from-site"],
    ["a user alone", { username: "edge" }, "pack:harbor edge:from-pack"],
  ])("is overridden by %s of the site file", (_, localRegistry, login) => {
    const made = plan([HARBOR], localRegistry);
    expect(loginOf(made)).toBe(login);
    expect([made.faults, made.warnings]).toEqual([[], []]);
  });

  test("is that of the site file's credentials, before the pack's and after localRegistry's own", () => {
    const site = {
      credentials: [{ registry: ADDRESS, username: "listed", passwordFile: "password" }],
    };
    const made = plan([HARBOR], {}, { site });
    expect(loginOf(made)).toBe("site:credentials[0] listed:from-site");
    expect(warningCodes(made)).toEqual([]);
    expect(loginOf(plan([HARBOR], { username: "edge" }, { site }))).toBe(
      "pack:harbor edge:from-pack",
    );
  });

  test("is asked of Docker's configuration last", () => {
    const docker = (source: { domain: string }): Credential | undefined =>
      source.domain === ADDRESS
        ? { kind: "registry-token", token: new Secret("docker") }
        : undefined;
    const withDocker = (packs: readonly PackSketch[]) => {
      const site = { localRegistry: { kind: "harbor", address: ADDRESS } };
      return planCluster({ packs: [OS, ...packs], site }, docker);
    };
    expect(loginOf(withDocker([]))).toBe("docker-config registry-token");
    expect(loginOf(withDocker([HARBOR]))).toBe("pack:harbor admin:from-pack");
  });

  test("is none, without a warning, where nobody gives one", () => {
    for (const packs of [[addOn("harbor")], [addOn("zot")], [addOn("registry-connect")]]) {
      const made = plan(packs);
      expect([loginOf(made), made.faults, made.warnings]).toEqual([null, [], []]);
    }
    expect(loginOf(plan([], { kind: "oci" }))).toBeNull();
  });

  test.each([
    ["a user of the site file", [], { kind: "oci", username: "edge" }],
    ["a password of the site file", [], { kind: "oci", passwordFile: "password" }],
    ["a user beside a pack without a password", [addOn("harbor")], { username: "edge" }],
  ])("that is half given is warned about: %s", (_, packs, localRegistry) => {
    const made = plan(packs, localRegistry);
    expect(made.warnings).toMatchObject([{ code: "credential-incomplete", file: "site.yaml" }]);
    expect(made.faults).toEqual([]);
  });

  test("of a pack that gives no user is sent with the usual one, which is said", () => {
    const made = plan([ZOT]);
    expect(loginOf(made)).toBe("pack:zot admin:from-pack");
    expect(made.warnings).toMatchObject([{ code: "local-user-assumed", file: "store.json" }]);
    const told = plan([ZOT], { username: "edge" });
    expect([loginOf(told), told.warnings]).toEqual(["pack:zot edge:from-pack", []]);
  });

  test("that is masked is a fault at its place, unless the site file gives the password", () => {
    const made = plan([MASKED]);
    expect(made.faults).toMatchObject([{ code: "secret-masked", file: "store.json" }]);
    expect(made.faults[0]?.path).toContain("harborAdminPassword");
    expect(made.faults[0]?.remedy).toContain("localRegistry: {username: …, passwordFile: …}");
    expect(faultCodes(plan([MASKED], { username: "edge" }))).toEqual(["secret-masked"]);
    expect(faultCodes(plan([MASKED], { passwordFile: "password" }))).toEqual([]);
    const credentials = [{ registry: ADDRESS, username: "edge", passwordFile: "password" }];
    expect(faultCodes(plan([MASKED], {}, { site: { credentials } }))).toEqual([]);
  });

  test("is not asked for where the local registry is switched off or another one", () => {
    for (const kind of ["none", "embedded", "oci"])
      expect(plan([MASKED], { kind }).faults).toEqual([]);
  });

  test("of a pack never goes to a registry of another kind", () => {
    expect(loginOf(plan([HARBOR], { kind: "oci" }))).toBeNull();
    expect(loginOf(plan([HARBOR], { kind: "embedded" }))).toBeNull();
    expect(loginOf(plan([HARBOR], { kind: "harbor" }))).not.toBeNull();
  });

  test("of registry-connect goes to whatever it is connected with", () => {
    const credentials = { username: "robot", password: "from-pack" };
    const config = { registry: { inClusterRegistry: { credentials } } };
    const pack = addOn("registry-connect", { charts: { "registry-connect": { config } } });
    expect(loginOf(plan([pack], { kind: "harbor" }))).toBe("pack:registry-connect robot:from-pack");
  });

  test("of registry-connect that can't be read is warned about, unless the site file has one", () => {
    const config = { registry: { inClusterRegistry: { credentials: { secretRef: "login" } } } };
    const pack = addOn("registry-connect", { charts: { "registry-connect": { config } } });
    const made = plan([pack]);
    expect([loginOf(made), warningCodes(made)]).toEqual([null, ["credential-unread"]]);
    const own = plan([pack], { username: "edge", passwordFile: "password" });
    expect([loginOf(own), own.warnings]).toEqual(["site:localRegistry edge:from-site", []]);
  });

  test("is not needed by the embedded registry, which is said where one is given", () => {
    const made = plan([], { kind: "embedded", username: "edge", passwordFile: "password" });
    expect(loginOf(made)).toBeNull();
    expect(made.warnings).toMatchObject([
      { code: "credential-unused", path: expect.stringContaining("localRegistry.username") },
    ]);
  });

  test("is told in the plan by its origin only", () => {
    const document = JSON.stringify(planDocument(plan([HARBOR])));
    expect(JSON.parse(document).registries.local).toEqual({
      kind: "harbor",
      address: ADDRESS,
      project: "spectro-images",
      indexes: "one-platform",
      credential: "pack:harbor",
      authenticated: true,
    });
    expect(document).not.toContain("from-pack");
  });
});

describe("whom the local registry is trusted by", () => {
  const CERTS = addOn("harbor-edge-native-config", {
    "harbor-config": { auth: { password: "p", certs: server.certificate } },
  });
  const trustOf = (
    ...given: Parameters<typeof plan>
  ): Pick<Access, "insecure" | "certificates"> => {
    const { insecure = false, certificates = [] } = plan(...given).registries.local?.access ?? {};
    return { insecure, certificates: certificates.map((pem) => pem.trim()) };
  };

  test("the pack's certificate, where the site file names no authority", () => {
    expect(trustOf([CERTS])).toEqual({
      insecure: false,
      certificates: [server.certificate.trim()],
    });
    expect(trustOf([CERTS], { caFile: "ca.pem" })).toEqual({
      insecure: false,
      certificates: [ca.trim()],
    });
  });

  test("everybody, where the site file says so", () => {
    expect(trustOf([CERTS], { insecure: true })).toEqual({ insecure: true, certificates: [] });
    const credentials = [{ registry: ADDRESS, insecure: true }];
    expect(trustOf([], { kind: "oci" }, { site: { credentials } }).insecure).toBe(true);
  });

  test("the authorities that the host trusts everywhere", () => {
    const stylus = { site: { caCerts: [ca] } };
    expect(trustOf([], { kind: "oci" }, { stylus }).certificates).toEqual([ca.trim()]);
  });

  test("certs without a certificate are warned about, unless the site file makes up for it", () => {
    const certs = addOn("harbor-edge-native-config", {
      "harbor-config": { auth: { certs: "generated" } },
    });
    expect(warningCodes(plan([certs]))).toEqual(["certificate-unreadable"]);
    expect(warningCodes(plan([certs], { caFile: "ca.pem" }))).toEqual([]);
    expect(warningCodes(plan([certs], { insecure: true }))).toEqual([]);
  });
});
