import { describe, expect, test } from "bun:test";
import { formatLocation } from "#reference";
import { addOn, OS_PACK, profileOf, readCluster } from "#test-support/cluster-files";
import { isBootstrapPack } from "./registry-packs.ts";

function read(...packs: readonly (readonly [string, string])[]) {
  const entries = packs.map(([name, values]) => addOn(values, name));
  return readCluster({ "profile.yaml": profileOf(OS_PACK, ...entries) });
}

describe("readPackedRegistry()", () => {
  test("finds none without a pack of one", () => {
    expect(read(["harbor-scanner", "{}\n"]).inputs.packedRegistry).toBeUndefined();
  });

  test.each([
    ["harbor-edge-native-config", "{}\n", { kind: "harbor", port: 30003 }],
    [
      "harbor-edge-native-config",
      "harbor-config: {service: {harbor: 31003}}\n",
      { kind: "harbor", port: 31003 },
    ],
    [
      "harbor-edge-native-config",
      "harbor-config: {service: {harbor: {https: 31004}}}\n",
      { port: 31004 },
    ],
    [
      "harbor",
      "charts: {harbor: {expose: {nodePort: {ports: {https: {nodePort: '31005'}}}}}}\n",
      { kind: "harbor", port: 31005 },
    ],
    ["zot", "charts: {zot: {service: {nodePort: 31006}}}\n", { kind: "oci", port: 31006 }],
    ["zot", "charts: {zot: {service: {nodePort: none}}}\n", { kind: "oci", port: 30003 }],
    ["zot", "charts: {zot: {service: {nodePort: 99999}}}\n", { port: 30003 }],
    ["registry-connect", "{}\n", { kind: "oci", port: 30003, project: undefined }],
    [
      "registry-connect",
      "charts: {registry-connect: {config: {content: {sync: {projects: {images: ours}}}}}}\n",
      { project: "ours" },
    ],
  ])("reads %s: %s", (name, values, expected) => {
    expect(read([name, values]).inputs.packedRegistry).toMatchObject(expected);
  });

  test("fills in templates of port and project", () => {
    const zot = "charts: {zot: {service: {nodePort: '{{ .spectro.macro.port }}'}}}\n";
    const connect =
      "charts: {registry-connect: {config: {content: {sync: {projects: {images: 'team-{{ .spectro.macro.site }}'}}}}}}\n";
    const packs = [addOn(zot, "zot"), addOn(connect, "registry-connect")];
    const contents = { "profile.yaml": profileOf(OS_PACK, ...packs) };
    const variables = new Map(Object.entries({ port: "31007", site: "north" }));
    const { inputs } = readCluster(contents, { variables });
    expect(inputs.packedRegistry).toMatchObject({ port: 31007, project: "team-north" });
    const unfilled = readCluster(contents);
    expect(unfilled.inputs.packedRegistry).toMatchObject({ port: 30003, project: "team-" });
    expect(unfilled.inputs.packedRegistry?.unclear).toMatchObject({
      port: [{ code: "template-undefined" }],
      project: [{ code: "template-undefined" }],
    });
    expect(unfilled.warnings).toEqual([]);
  });

  test.each(["70000", "0", "https", "30003.5"])(
    "says that %s is no port, for who uses it",
    (port) => {
      const values = `charts: {zot: {service: {nodePort: "${port}"}}}\n`;
      const packed = read(["zot", values]).inputs.packedRegistry;
      expect(packed?.port).toBe(30_003);
      expect(packed?.unclear.port).toMatchObject([{ code: "local-port-invalid" }]);
    },
  );

  test("warns of two projects, names both, and takes that of content.sync", () => {
    const config =
      "{content: {sync: {projects: {images: one}}}, registry: {inClusterRegistry: {projects: {images: two}}}}";
    const values = `charts: {registry-connect: {config: ${config}}}\n`;
    const { project, unclear } = read(["registry-connect", values]).inputs.packedRegistry ?? {};
    const warnings = unclear?.project;
    expect(project).toBe("one");
    expect(warnings).toMatchObject([{ code: "local-project-conflict" }]);
    expect(warnings?.[0]?.message).toMatch(/sync\.projects\.images is "one" .* is "two"/);
    const same = values.replace("two", "one");
    expect(read(["registry-connect", same]).inputs.packedRegistry?.unclear.project).toEqual([]);
  });

  test("joins registry-connect with the registry that it connects", () => {
    const { inputs } = read(["registry-connect", "{}\n"], ["harbor", "{}\n"]);
    expect(inputs.packedRegistry).toMatchObject({
      kind: "harbor",
      packNames: ["registry-connect", "harbor"],
      place: { line: 10, column: 13 },
    });
  });
});

describe("readImageReplacementRules()", () => {
  const rules = (text: string) => {
    return `charts:\n  registry-connect:\n    config:\n      registry:\n        imageReplacementRules: ${text}\n`;
  };

  test.each([
    ["a mapping", "{a.io: b.io}"],
    ["a list", "[{source: a.io, target: b.io}]"],
    ["a text", "|\n          a.io: b.io"],
  ])("reads %s", (_, text) => {
    const { inputs, faults } = read(["registry-connect", rules(text)]);
    const found = inputs.imageReplacementRules.map(({ location, to }) => {
      return `${formatLocation(location)} > ${formatLocation(to)}`;
    });
    expect([found, faults]).toEqual([["a.io > b.io"], []]);
  });

  test("reads them from registry-connect alone", () => {
    expect(read(["zot", rules("{a.io: b.io}")]).inputs.imageReplacementRules).toEqual([]);
  });
});

describe("isBootstrapPack()", () => {
  test.each([
    "harbor-edge-native-config",
    "registry-connect",
    "harbor",
    "zot",
    "cert-manager",
    "reloader",
  ])("%s carries the local registry", (name) => expect(isBootstrapPack(name)).toBe(true));
  test.each(["harbor-scanner", "zot-ui", "hello-universe", ""])("%s does not", (name) => {
    expect(isBootstrapPack(name)).toBe(false);
  });
});
