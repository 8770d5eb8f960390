import { describe, expect, test } from "bun:test";
import { formatLocation } from "#reference";
import { manifestPack, OS_PACK, profileOf, readCluster } from "#test-support/cluster-files";

/** Reads a profile with a manifest. It begins in line 15, column 13 of the profile. */
function read(manifest: string) {
  const cluster = readCluster({ "profile.yaml": profileOf(OS_PACK, manifestPack(manifest)) });
  const secrets = cluster.inputs.registrySecrets.map((secret) => {
    const { origin, location, username = "", password, isMasked } = secret;
    const who = `${username}:${password?.reveal() ?? ""}${isMasked ? " masked" : ""}`;
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
    ["broken YAML", "data:\n  url: 'x\n", ["22:20 base64-invalid", "23:1 yaml-broken"]],
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
