import { describe, expect, test } from "bun:test";
import { formatLocation, formatReference } from "#reference";
import { packOf, profileOf, readCluster } from "#test-support/cluster-files";

/** Reads an OS pack; its values begin in line 7, column 9 of the profile. */
function read(values: string, variables: Readonly<Record<string, string>> = {}) {
  const head = { name: "edge-native-byoi", layer: "os" };
  const k8s = packOf({ name: "edge-k3s", layer: "k8s\n      version: 1.32.1" }, "{}\n");
  const cluster = readCluster(
    { "profile.yaml": profileOf(packOf(head, values), k8s) },
    { variables: new Map(Object.entries(variables)) },
  );
  const { images, providerCredentials: found } = cluster.inputs;
  const inShort = ({ reference }: (typeof images)[number]) => formatReference(reference);
  return {
    ...cluster,
    provider: images.filter(({ isProvider }) => isProvider).map(inShort),
    others: images.filter(({ isProvider }) => !isProvider).map(inShort),
    credentials:
      found === undefined
        ? undefined
        : `${formatLocation(found.location)} ${found.username}:${found.password?.reveal()}`,
    faults: cluster.faults.map((fault) => fault.replace("profile.yaml:", "")),
    warnings: cluster.warnings.map((warning) => warning.replace("profile.yaml:", "")),
  };
}

const URI = "options:\n  system.uri: reg.example.com/os/core:v1\n";

describe("readOsPack() and the location", () => {
  test("fills in Palette's own template, one level into the other", () => {
    const path = "spectro.pack.edge-native-byoi.options.system";
    const values = `pack:
  content:
    images:
      - image: "{{.${path}.uri}}"
      - image: container://us-docker.pkg.dev/p/edge/stylus:v4.6.13
options:
  system.uri: "{{ .${path}.registry }}/{{ .${path}.repo }}:{{ .${path}.k8sDistribution }}-{{ .spectro.system.kubernetes.version }}-{{ .${path}.peVersion }}-{{ .${path}.customTag }}"
  system.registry: ttl.sh
  system.repo: ubuntu
  system.k8sDistribution: k3s
  system.peVersion: v4.6.13
  system.customTag: demo
  system.osVersion: 22.04
`;
    const provider = "ttl.sh/ubuntu:k3s-1.32.1-v4.6.13-demo";
    expect(read(values)).toMatchObject({
      provider: [provider],
      others: ["us-docker.pkg.dev/p/edge/stylus:v4.6.13"],
      faults: [],
      warnings: [],
    });
  });

  test.each([
    ["a flat key", URI],
    ["nesting", "options: {system: {uri: 'reg.example.com/os/core:v1'}}\n"],
    [
      "the one image of the content",
      "pack: {content: {images: [{image: 'reg.example.com/os/core:v1'}]}}\n",
    ],
    [
      "the one image, beside an empty uri",
      "options: {system.uri: ''}\npack: {content: {images: [{image: 'reg.example.com/os/core:v1'}]}}\n",
    ],
  ])("finds it in %s", (_, values) => {
    expect(read(values)).toMatchObject({
      provider: ["reg.example.com/os/core:v1"],
      others: [],
      faults: [],
    });
  });

  test.each([
    ["nothing", "pack: {}\n", "4:13 provider-location-missing"],
    ["two images", "pack: {content: {images: [a, b]}}\n", "4:13 provider-location-missing"],
    ["a list", "options: {system.uri: [a]}\n", "7:31 value-wrong-shape"],
    ["no reference", "options: {system.uri: 'a.io/B'}\n", "7:37 reference-invalid"],
    [
      "a value of itself",
      "options: {system.uri: '{{ .spectro.pack.edge-native-byoi.options.system.uri }}'}\n",
      "7:35 template-loop",
    ],
  ])("refuses %s for a location", (_, values, fault) => {
    const { faults, provider } = read(values);
    expect(faults).toContain(fault);
    expect(provider).toEqual([]);
  });

  test("names the key of what it can't use", () => {
    expect(read("options: {system.uri: [a]}\n").shown).toContain('the value of \\"system.uri\\":');
  });

  test("names the template that made a wrong reference", () => {
    const { faults, shown } = read("options: {system.uri: 'a.io/b:{{ .spectro.var.tag }}'}\n");
    expect(faults).toEqual(["7:31 reference-invalid"]);
    expect(shown).toContain('made from \\"a.io/b:{{ .spectro.var.tag }}\\"');
  });
});

describe("readOsPack() and providerCredentials", () => {
  test("reads them, macros filled in", () => {
    const values = `${URI}providerCredentials:\n  registry: https://reg.example.com/\n  user: '{{.spectro.macro.user}}'\n  password: '{{.spectro.macro.password}}'\n`;
    const { credentials, faults, warnings } = read(values, { user: "pull", password: "s3cret" });
    expect([credentials, faults, warnings]).toEqual(["reg.example.com pull:s3cret", [], []]);
  });

  test.each([
    "providerCredentials:\n",
    "providerCredentials: {}\n",
    "providerCredentials: {registry: '', user: ''}\n",
    "a: 1\n",
  ])("are not there in %j", (text) =>
    expect(read(`${URI}${text}`)).toMatchObject({ credentials: undefined, faults: [] }),
  );

  test.each([
    ["password: '********'", "password"],
    ["user: '****', password: p", "user"],
  ])("know a masked value: %s", (fields) => {
    const { inputs } = read(`${URI}providerCredentials: {registry: reg.example.com, ${fields}}\n`);
    expect(inputs.providerCredentials?.maskedAt).toBeDefined();
  });

  test.each([
    ["a text", "providerCredentials: hunter2", ["9:30 value-wrong-shape"], []],
    [
      "no registry",
      "providerCredentials: {user: u}",
      ["9:30 provider-credentials-without-registry"],
      [],
    ],
    [
      "a registry that is none",
      "providerCredentials: {registry: 'a.io:x'}",
      ["9:41 registry-invalid"],
      [],
    ],
    [
      "a list for a password",
      "providerCredentials: {registry: a.io, password: [hunter2]}",
      ["9:57 value-wrong-shape"],
      [],
    ],
    [
      "a password that is a broken template",
      "providerCredentials: {registry: a.io, user: u, password: 'a{{ hunter2'}",
      ["9:67 template-syntax"],
      [],
    ],
    [
      "a certificate that is none",
      "providerCredentials: {registry: a.io, certificates: hunter2}",
      ["9:61 certificate-unreadable"],
      [],
    ],
    [
      "a misspelt user",
      "providerCredentials: {registry: a.io, username: u}",
      [],
      ["9:47 key-unknown"],
    ],
    [
      "a user without a password",
      "providerCredentials: {registry: a.io, user: u}",
      [],
      ["9:53 credential-incomplete"],
    ],
    [
      "a macro that is not given",
      "providerCredentials: {registry: a.io, user: u, password: '{{.spectro.macro.p}}'}",
      ["9:67 template-undefined"],
      [],
    ],
  ])("say what is wrong with %s, and show nothing of it", (_, text, faults, warnings) => {
    const found = read(`${URI}${text}\n`);
    expect(found).toMatchObject({ faults, warnings });
    expect(found.shown).not.toContain("hunter2");
  });
});
