import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Findings } from "#base";
import { reportSecrets } from "./published-secrets.ts";

const CANARY = "c4nary";

/** What is found, as `line:column what`, in one file. */
function found(text: string): readonly string[] {
  const findings = new Findings();
  reportSecrets([{ name: "a.yaml", bytes: new TextEncoder().encode(text) }], findings);
  expect(JSON.stringify(findings.faults)).not.toContain(CANARY);
  return findings.faults.map(({ line, column, message, remedy }) => {
    expect(remedy.length).toBeGreaterThan(20);
    return `${line}:${column} ${message.replace(/^Cannot publish (.*): whoever.*$/, "$1")}`;
  });
}

const inProfile = (values: string) =>
  `spec:\n  template:\n    packs:\n      - name: x\n        values: |-\n${values.replace(/^/gm, "          ")}\n`;

const KEY = `-----BEGIN RSA PRIVATE KEY-----\n${CANARY}\n-----END RSA PRIVATE KEY-----\n`;

describe("a secret is found where it stands", () => {
  test.each([
    [
      "providerCredentials",
      inProfile(`providerCredentials:\n  user: u\n  password: ${CANARY}`),
      '8:23 the value of "password"',
    ],
    [
      "registryCredentials",
      `stylus:\n  registryCredentials:\n    password: ${CANARY}\n    encodedPassword: true`,
      '3:15 the value of "password"',
    ],
    [
      "externalRegistries",
      `stylus:\n  externalRegistries:\n    registries: [{domain: a.b, password: "${CANARY}"}]`,
      '3:42 the value of "password"',
    ],
    [
      "the host's token",
      `stylus: {site: {edgeHostToken: ${CANARY}}}`,
      '1:32 the value of "edgeHostToken"',
    ],
    [
      "a proxy's password",
      `stylus: {site: {network: {httpProxy: "http://u:${CANARY}@proxy:3128"}}}`,
      "1:39 an address with a password in it",
    ],
    [
      "Harbor's administrator",
      inProfile(`charts:\n  harbor:\n    harborAdminPassword: ${CANARY}`),
      '8:36 the value of "harborAdminPassword"',
    ],
    [
      "a Secret",
      `kind: Secret\nmetadata: {name: s}\nstringData:\n  anything: ${CANARY}`,
      '4:13 "anything" of the Secret "s"',
    ],
    [
      "a Secret in a list",
      `kind: List\nitems:\n  - kind: Secret\n    metadata: {name: s}\n    data: {a: ${CANARY}}`,
      '5:15 "a" of the Secret "s"',
    ],
    [
      "a pull secret",
      `kind: Secret\nmetadata: {name: s}\ndata:\n  .dockerconfigjson: ${CANARY}`,
      '4:22 ".dockerconfigjson" of the Secret "s"',
    ],
    [
      "a container's environment",
      `env:\n  - name: DB_PASSWORD\n    value: ${CANARY}`,
      '3:12 the value of "DB_PASSWORD"',
    ],
    [
      "a sensitive variable",
      `spec:\n  variables:\n    - name: pin\n      isSensitive: true\n      defaultValue: ${CANARY}`,
      '5:21 the default of the variable "pin"',
    ],
    ["a private key", `ca:\n  key: |\n${KEY.replace(/^(?=.)/gm, "    ")}`, "3:5 a private key"],
    ["a private key in a comment", `# ${KEY.replaceAll("\n", "\n# ")}\na: 1`, "1:3 a private key"],
    ["a private key as base64", `key: ${Buffer.from(KEY).toString("base64")}`, "1:6 a private key"],
    [
      "a profile in JSON",
      JSON.stringify({ packs: [{ values: `a: 1\npassword: ${CANARY}\n` }] }),
      '1:38 the value of "password"',
    ],
  ])("%s", (_, text, expected) => {
    expect(found(text)).toEqual([expected]);
  });

  test("in every document and at every depth, all at once", () => {
    const manifest = `a: 1\n---\nkind: Secret\nmetadata: {name: s}\nstringData: {a: ${CANARY}}\n`;
    const profile = inProfile(`manifests:\n  - content: |\n${manifest.replace(/^/gm, "      ")}`);
    expect(found(`${profile}---\npassword: ${CANARY}\n`)).toHaveLength(2);
  });
});

describe("no secret is", () => {
  test.each([
    ["a template", "password: '{{.spectro.var.password}}'"],
    ["a mask", "password: '********'"],
    ["nothing", "password: ''\ntoken:\n"],
    ["a flag", "encodedPassword: true\nautomountServiceAccountToken: false"],
    ["a variable of a shell", 'password: "$' + '{DB_PASSWORD}"\npasswd: $PASS\npwd: $(PASS)'],
    [
      "a reference to a Secret",
      "env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: a, key: b}}}]",
    ],
    [
      "the name of one",
      "existingSecret: harbor-admin\nimagePullSecrets: [{name: a}]\npasswordSecretName: x",
    ],
    ["a schema", "properties: {password: {type: string, description: 'Its password: at least 8'}}"],
    ["a certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"],
    [
      "the address of a registry Secret",
      'kind: Secret\nmetadata: {name: r, labels: {spectrocloud.com/registry: "true"}}\nstringData: {url: a.b, username: u, password: "{{.spectro.var.p}}"}',
    ],
    ["an address with a user alone", "url: ssh://git@example.com/a\nimage: quay.io/a/b@sha256:12"],
    ["what is no text", "\u0000\u0001"],
    ["what is no YAML", "a: [b\n c: }"],
  ])("%s", (_, text) => {
    expect(found(text)).toEqual([]);
  });

  test("anything of packs that are published in the open, but the password that one of them has", () => {
    const root = join(import.meta.dir, "..", "..", "test", "fixtures", "packs");
    const names = readdirSync(root, { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => /\.(ya?ml|json)$/.test(name));
    const findings = new Findings();
    reportSecrets(
      files.map((name) => ({ name, bytes: readFileSync(join(root, name)) })),
      findings,
    );
    expect(files.length).toBeGreaterThan(20);
    expect(findings.faults).toMatchObject([
      { file: "k8gb-0.12.2/values.yaml", line: 168, message: expect.stringContaining("kerberos") },
    ]);
  });
});
