import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { testCertificates } from "#test-support/certificates";
import { addOn, listed, OS_PACK, profileOf, readCluster } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";

type PackValues = Readonly<Record<string, unknown>>;

const CONNECT = "registry-connect";

function connect(credentials: unknown): PackValues {
  return {
    charts: { [CONNECT]: { config: { registry: { inClusterRegistry: { credentials } } } } },
  };
}

function read(packs: Readonly<Record<string, PackValues>>, variables: Record<string, string> = {}) {
  const entries = Object.entries(packs).map(([name, values]) => {
    return addOn(`${JSON.stringify(values)}\n`, name);
  });
  return readCluster(
    { "profile.yaml": profileOf(OS_PACK, ...entries) },
    { variables: new Map(Object.entries(variables)) },
  );
}

/** `origin user:password`, and what there is to say about it. */
function credentialOf(...given: Parameters<typeof read>) {
  const { credential } = read(...given).inputs.packedRegistry ?? {};
  if (credential === undefined) return undefined;
  const { origin, username, userIs, password, faults, warnings } = credential;
  return {
    login: `${origin} ${username}:${password?.reveal() ?? "-"}`,
    userIs,
    faults: listed(faults).map((text) => text.replace(/.* /, "")),
    warnings: listed(warnings).map((text) => text.replace(/.* /, "")),
  };
}

const zot = (values: object) => ({ zot: { charts: { zot: values } } });

describe("readPackedCredential()", () => {
  test.each<[string, Record<string, PackValues>, string, string]>([
    [
      "harbor-edge-native-config",
      { "harbor-edge-native-config": { "harbor-config": { auth: { password: "p" } } } },
      "pack:harbor-edge-native-config admin:p",
      "fixed",
    ],
    [
      "harbor",
      { harbor: { charts: { harbor: { harborAdminPassword: "p" } } } },
      "pack:harbor admin:p",
      "fixed",
    ],
    ["zot, new spelling", zot({ registry: { password: "p" } }), "pack:zot admin:p", "assumed"],
    ["zot, old spelling", zot({ registryPassword: "p" }), "pack:zot admin:p", "assumed"],
    [
      "zot, with a user",
      zot({ registry: { username: "u", password: "p" } }),
      "pack:zot u:p",
      "given",
    ],
    [
      "zot, old spelling with a user",
      zot({ registryUsername: "u", registryPassword: "p" }),
      "pack:zot u:p",
      "given",
    ],
    [
      "registry-connect",
      { [CONNECT]: connect({ username: "u", password: "p" }) },
      `pack:${CONNECT} u:p`,
      "given",
    ],
    [
      "registry-connect, as the OS pack says it",
      { [CONNECT]: connect({ user: "u", password: "p" }) },
      `pack:${CONNECT} u:p`,
      "given",
    ],
    [
      "registry-connect, one mapping further in",
      { [CONNECT]: connect({ basicAuth: { username: "u", password: "p" } }) },
      `pack:${CONNECT} u:p`,
      "given",
    ],
    [
      "registry-connect without a user beside harbor",
      { [CONNECT]: connect({ password: "p" }), harbor: {} },
      `pack:${CONNECT} admin:p`,
      "fixed",
    ],
    [
      "registry-connect's own before that of the registry's pack",
      {
        [CONNECT]: connect({ username: "robot", password: "p" }),
        harbor: { charts: { harbor: { harborAdminPassword: "q" } } },
      },
      `pack:${CONNECT} robot:p`,
      "given",
    ],
  ])("reads %s", (_, packs, login, userIs) => {
    expect(credentialOf(packs)).toMatchObject({ login, userIs, faults: [], warnings: [] });
  });

  test.each<[string, Record<string, PackValues>, string]>([
    ["harbor with a random password", { harbor: {} }, "pack:harbor admin:-"],
    [
      "an empty one",
      { "harbor-edge-native-config": { "harbor-config": { auth: { password: "" } } } },
      "pack:harbor-edge-native-config admin:-",
    ],
  ])("knows the user of %s", (_, packs, login) => {
    expect(credentialOf(packs)).toMatchObject({ login, faults: [], warnings: [] });
  });

  test("is none where registry-connect says nothing and no pack of a registry is there", () => {
    expect(credentialOf({ [CONNECT]: connect({}) })).toBeUndefined();
    expect(credentialOf({ [CONNECT]: {} })).toBeUndefined();
  });

  test("fills in templates, also those that name another pack's value", () => {
    const password = "{{.spectro.pack.harbor.charts.harbor.harborAdminPassword}}";
    const packs = {
      [CONNECT]: connect({ username: "admin", password }),
      harbor: { charts: { harbor: { harborAdminPassword: "{{ .spectro.macro.harbor }}" } } },
    };
    expect(credentialOf(packs, { harbor: "canary" })).toMatchObject({
      ...{ login: `pack:${CONNECT} admin:canary`, faults: [], warnings: [] },
    });
  });

  test.each([
    ["a macro that nobody gives", "{{ .spectro.macro.harbor }}", "template-undefined"],
    ["a template that is none", "{{ spectro }}", "template-syntax"],
    ["a mask", "********", "secret-masked"],
  ])("holds %s against it, and tells nobody yet", (_, password, fault) => {
    const packs = { harbor: { charts: { harbor: { harborAdminPassword: password } } } };
    expect(credentialOf(packs)).toMatchObject({ login: "pack:harbor admin:-", faults: [fault] });
    const { inputs, faults, warnings } = read(packs);
    expect(inputs.packedRegistry?.credential?.faults[0]?.remedy).toContain(
      "give it in the site file: localRegistry: {username: …, passwordFile: …}",
    );
    expect([faults, warnings]).toEqual([[], []]);
  });

  test("takes the other spelling where one is masked", () => {
    const values = zot({ registry: { password: "****" }, registryPassword: "p" });
    expect(credentialOf(values)).toMatchObject({ login: "pack:zot admin:p", faults: [] });
  });

  test("warns of two spellings that differ, names both, and takes the newer", () => {
    const values = zot({ registry: { password: "canary1" }, registryPassword: "canary2" });
    expect(credentialOf(values)).toMatchObject({
      login: "pack:zot admin:canary1",
      warnings: ["local-password-conflict"],
    });
    const { inputs, shown } = read(values);
    const [warning] = inputs.packedRegistry?.credential?.warnings ?? [];
    expect(warning?.message).toContain("charts.zot.registry.password and charts.zot.registryPass");
    expect(warning?.message).toContain("that of charts.zot.registry.password is taken");
    expect(warning?.path).toContain("charts.zot.registryPassword");
    expect(shown).not.toContain("canary");
  });

  test("says nothing of two spellings that agree, or of two users", () => {
    const same = zot({ registry: { password: "p" }, registryPassword: "p" });
    expect(credentialOf(same)?.warnings).toEqual([]);
    const users = zot({ registry: { username: "a", password: "p" }, registryPassword: "q" });
    expect(credentialOf(users)?.warnings).toEqual([]);
  });

  test("warns where registry-connect's credentials are written in a way that is not known", () => {
    const packs = { [CONNECT]: connect({ secretRef: { name: "login" } }), harbor: {} };
    expect(credentialOf(packs)).toMatchObject({
      login: "pack:harbor admin:-",
      warnings: ["credential-unread"],
    });
  });

  test("warns so also where there is no other credential", () => {
    const packs = { [CONNECT]: connect({ secretRef: { name: "login" } }) };
    expect(credentialOf(packs)).toMatchObject({ faults: [], warnings: ["credential-unread"] });
  });

  test("survives every shape of the credentials, and shows nothing of them", () => {
    const key = fc.constantFrom("username", "user", "password", "basicAuth", "images", "other");
    const leaf = fc.constantFrom<unknown>("canary", "{{ canary }}", "", 1, true, null, "***");
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.dictionary(key, tie("tree"), { maxKeys: 4 }),
        fc.array(tie("tree"), { maxLength: 2 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (credentials) => {
        const { inputs } = read({ [CONNECT]: connect(credentials), zot: {} });
        const { username: _, ...rest } = inputs.packedRegistry?.credential ?? {};
        expect(JSON.stringify(rest)).not.toContain("canary");
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("readPackedCertificates()", () => {
  const { server, ca } = testCertificates();
  const trustOf = (certs: unknown, variables = {}) => {
    const packs = { "harbor-edge-native-config": { "harbor-config": { auth: { certs } } } };
    const { trust } = read(packs, variables).inputs.packedRegistry ?? {};
    return { pem: trust?.certificates.length ?? 0, isUnread: trust?.unreadAt !== undefined };
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");

  test.each<[string, unknown, number]>([
    ["nothing", undefined, 0],
    ["an empty text", "", 0],
    ["an empty mapping", {}, 0],
    ["a certificate and its key in one text", `${server.certificate}${server.key}`, 1],
    [
      "a mapping of certificate and key",
      { "tls.crt": server.certificate, "tls.key": server.key },
      1,
    ],
    ["a list of them, with the authority", [server.certificate, server.key, ca], 2],
    ["base64", { crt: base64(server.certificate), key: base64(server.key) }, 1],
  ])("reads %s", (_, certs, pem) => expect(trustOf(certs)).toEqual({ pem, isUnread: false }));

  test("fills in templates", () => {
    const certs = { crt: "{{ .spectro.macro.crt }}", key: "{{ .spectro.macro.key }}" };
    expect(trustOf(certs, { crt: base64(ca) })).toEqual({ pem: 1, isUnread: false });
  });

  test.each([
    ["a key alone", server.key],
    ["a word", "generated"],
    ["a Secret", { name: "tls" }],
  ])("says so where %s is written", (_, certs) =>
    expect(trustOf(certs)).toEqual({ pem: 0, isUnread: true }),
  );

  test("keeps no key", () => {
    const certs = `${server.certificate}${server.key}`;
    const packs = { "harbor-edge-native-config": { "harbor-config": { auth: { certs } } } };
    expect(read(packs).shown).not.toContain("PRIVATE KEY");
  });
});
