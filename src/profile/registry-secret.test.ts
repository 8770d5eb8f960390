import { describe, expect, test } from "bun:test";
import { formatLocation } from "#reference";
import { manifestPack, OS_PACK, profileOf, readCluster } from "#test-support/cluster-files";

/** Reads a profile with a manifest. It begins in line 15, column 13 of the profile. */
function read(
  manifest: string,
  variables: Readonly<Record<string, string>> = {},
  userData?: string,
) {
  const cluster = readCluster(
    {
      "profile.yaml": profileOf(OS_PACK, manifestPack(manifest)),
      ...(userData === undefined ? {} : { "user-data.yaml": userData }),
    },
    {
      variables: new Map(Object.entries(variables)),
      ...(userData === undefined ? {} : { userData: "user-data.yaml" }),
    },
  );
  const secrets = cluster.inputs.registrySecrets.map((secret) => {
    const { origin, location, username = "", password, maskedAt } = secret;
    const who = `${username}:${password?.reveal() ?? ""}${maskedAt === undefined ? "" : " masked"}`;
    return `${origin} ${formatLocation(location)} ${who}`;
  });
  return { ...cluster, secrets };
}

function secret(rest: string, label = '"true"'): string {
  return `apiVersion: v1\nkind: Secret\nmetadata:\n  name: reg-a\n  labels:\n    spectrocloud.com/registry: ${label}\n${rest}`;
}

const DATA =
  "data:\n  url: aHR0cHM6Ly9kb2NrZXIuaW8=\n  username: ZWRnZQ==\n  password: czNjcmV0Cg==\n";

describe("readRegistrySecrets()", () => {
  test("undoes the base64 and strips the scheme", () => {
    const { secrets, faults, warnings, inputs } = read(secret(DATA));
    expect(secrets).toEqual(["secret:reg-a docker.io edge:s3cret"]);
    expect(inputs.registrySecrets[0]?.place).toEqual({
      file: "profile.yaml",
      line: 18,
      column: 21,
      path: "spec.template.packs[1].manifests[0].content:metadata.name",
    });
    expect([faults, warnings]).toEqual([[], []]);
  });

  test.each([
    ["several documents", `kind: ConfigMap\n---\n${secret(DATA)}---\n${secret(DATA)}`, 2],
    ["a list", `kind: List\nitems:\n- ${secret(DATA).replaceAll("\n", "\n  ")}\n`, 1],
    [
      "JSON",
      JSON.stringify({
        kind: "Secret",
        metadata: { name: "reg-a", labels: { "spectrocloud.com/registry": "true" } },
        data: { url: "ZG9ja2VyLmlv" },
      }),
      1,
    ],
    ["a label that is no text", secret(DATA, "true"), 1],
    ["a label that says no", secret(DATA, '"false"'), 0],
    ["a Secret of something else", secret(DATA).replace("registry:", "other:"), 0],
    ["a ConfigMap with the label", secret(DATA).replace("Secret", "ConfigMap"), 0],
  ])("finds them in %s", (_, manifest, count) => {
    const { secrets, faults } = read(manifest);
    expect(secrets).toHaveLength(count);
    expect(faults).toEqual([]);
  });

  test("takes plain text from stringData", () => {
    const fields = "stringData:\n  url: reg.example.com/team\n  username: u\n  password: p\n";
    expect(read(secret(fields)).secrets).toEqual(["secret:reg-a reg.example.com/team u:p"]);
  });

  test.each([
    ["password", "data:\n  url: ZG9ja2VyLmlv\n  username: dQ==\n  password: '********'\n"],
    ["user", "data:\n  url: ZG9ja2VyLmlv\n  username: '****'\n  password: cA==\n"],
  ])("knows a masked %s", (_, fields) => {
    expect(read(secret(fields)).secrets[0]).toEndWith(" masked");
  });

  test.each([
    ["no url", "data:\n  username: dQ==\n", ["15:13 secret-without-url"]],
    ["an empty url", "data:\n  url: ''\n", ["15:13 secret-without-url"]],
    ["a url that is not base64", "data:\n  url: docker.io\n", ["22:20 base64-invalid"]],
    [
      "a password that is not base64",
      "data:\n  url: ZG9ja2VyLmlv\n  password: hunter2!\n",
      ["23:25 base64-invalid"],
    ],
    [
      "a url that is no registry",
      "stringData:\n  url: https://u:hunter2@a.io\n",
      ["22:20 registry-invalid"],
    ],
    ["broken YAML", "data:\n  url: 'x\n", ["22:20 base64-invalid", "22:20 yaml-broken"]],
    [
      "a key written twice",
      "data:\n  url: ZG9ja2VyLmlv\n  url: ZG9ja2VyLmlv\n",
      ["23:15 key-duplicate"],
    ],
  ])("refuses one with %s, and shows nothing of it", (_, fields, expected) => {
    const { faults, shown } = read(secret(fields));
    expect(faults.map((fault) => fault.replace("profile.yaml:", ""))).toEqual([...expected]);
    expect(shown).not.toContain("hunter2");
  });

  test("points at the mask itself", () => {
    const { inputs } = read(
      secret("stringData:\n  url: a.io\n  username: u\n  password: '****'\n"),
    );
    expect(inputs.registrySecrets[0]?.maskedAt).toMatchObject({ line: 24, column: 25 });
  });

  test("fills in templates, before it undoes the base64", () => {
    const expected = ["secret:reg-a reg.example.com/team edge:s3cret"];
    const plain =
      "stringData:\n  url: '{{ .spectro.var.host }}/team'\n  username: {{.spectro.var.user}}\n  password: '{{ .spectro.macro.pw }}'\n";
    const given = { host: "reg.example.com", user: "edge", pw: "s3cret" };
    expect(read(secret(plain), given)).toMatchObject({
      secrets: expected,
      faults: [],
      warnings: [],
    });
    const encoded =
      "data:\n  url: '{{ .spectro.var.url }}'\n  username: '{{ .spectro.var.user }}'\n  password: '{{ .spectro.macro.pw }}'\n";
    const values = { url: "cmVnLmV4YW1wbGUuY29tL3RlYW0=", user: "ZWRnZQ==", pw: "czNjcmV0" };
    expect(read(secret(encoded), values)).toMatchObject({ secrets: expected, faults: [] });
  });

  test("takes the value of a template in data as it is when it is no base64", () => {
    const fields = "data:\n  url: '{{ .spectro.var.url }}'\n  username: dQ==\n  password: cA==\n";
    expect(read(secret(fields), { url: "reg.example.com" }).secrets).toEqual([
      "secret:reg-a reg.example.com u:p",
    ]);
  });

  test("shows nothing of what a template was filled with", () => {
    const { faults, shown } = read(secret("stringData:\n  url: '{{ .spectro.macro.pw }}'\n"), {
      pw: "hunter2 !",
    });
    expect(faults).toEqual(["profile.yaml:22:20 registry-invalid"]);
    expect(shown).not.toContain("hunter2");
  });

  test("refuses what a template leaves empty, unless an external registry serves in its place", () => {
    const manifest = secret(
      "stringData:\n  url: a.io\n  username: u\n  password: '{{ .spectro.macro.pw }}'\n",
    );
    const found = "profile.yaml:24:26 template-undefined";
    expect(read(manifest)).toMatchObject({ faults: [found], warnings: [] });
    const userData = "#cloud-config\nstylus: {registryCredentials: {domain: mirror.example}}\n";
    expect(read(manifest, {}, userData)).toMatchObject({ faults: [], warnings: [found] });
  });

  test.each([
    ["lines of control", `{{- if .Values.registry }}\n${secret(DATA)}{{- end }}\n`, "16:13"],
    ["values of the chart", secret("stringData:\n  url: {{ .Values.url | quote }}\n"), "16:13"],
    ["an include", secret('data:\n  url: {{ include "app.url" . | b64enc }}\n'), "16:13"],
  ])("passes over a chart template with %s, and says so once", (_, manifest, at) => {
    const { secrets, faults, warnings } = read(manifest);
    const line = manifest.startsWith("{{") ? "17:13" : at;
    expect([secrets, faults]).toEqual([[], []]);
    expect(warnings).toEqual([`profile.yaml:${line} secret-unread`]);
  });

  test("warns of half a credential", () => {
    const fields = "stringData:\n  url: a.io\n  username: u\n";
    expect(read(secret(fields)).warnings).toEqual(["profile.yaml:23:25 credential-incomplete"]);
  });

  test("warns of a misspelt field", () => {
    expect(read(secret("data:\n  url: ZG9ja2VyLmlv\n  user: dQ==\n")).warnings).toEqual([
      "profile.yaml:23:15 key-unknown",
    ]);
  });

  test("leaves alone what is no Secret, though it names the label and is no YAML", () => {
    const manifest =
      "kind: Deployment\n{{- if .x }}\n# spectrocloud.com/registry\na: 1\na: 2\n{{- end }}\n";
    expect(read(manifest)).toMatchObject({ secrets: [], faults: [], warnings: [] });
  });
});
