import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Findings } from "#base";
import { formatReference } from "#reference";
import {
  addOn,
  manifestPack,
  OS_PACK,
  packOf,
  profileOf,
  readCluster,
} from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { readClusterInputs } from "./cluster-inputs.ts";

const FIXTURES = join(import.meta.dir, "../../test/fixtures");
const CORE = "quay.io/kairos/core:v1";

/** The files below a folder of the fixtures, by their paths in it. */
function fixtures(folder: string): Readonly<Record<string, Uint8Array>> {
  const paths = readdirSync(join(FIXTURES, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(
    paths.map((path) => [path.slice(FIXTURES.length + 1), readFileSync(path)]),
  );
}

const PACKS = fixtures("packs");

function readPublicPack(folder: string) {
  const profile = profileOf(OS_PACK, `    - path: packs/${folder}\n`);
  const cluster = readCluster({ "profile.yaml": profile, ...PACKS });
  const own = cluster.inputs.images.filter(({ isProvider }) => !isProvider);
  return {
    ...cluster,
    pack: [...new Set(own.map(({ pack, layer }) => `${pack} ${layer}`))].join(),
    images: own.map(({ reference }) => formatReference(reference)),
    lines: own.map(({ place }) => `${place.line}:${place.column}`),
  };
}

describe("readClusterInputs() and public packs", () => {
  test.each([
    ["coder-2.23.3", "coder-chart addon", 1],
    ["crossplane-2.1.3", "crossplane addon", 1],
    ["dell-csm-operator-1.11.0", "csi-dell-csm-operator csi", 31],
    ["elastic-stack-0.17.0", "elastic-stack addon", 5],
    ["gridlight-1.1.3", "gridlight addon", 6],
    ["hello-universe-1.3.1", "hello-universe addon", 4],
    ["hitachi-hspc-3.14.3", "csi-hitachi-hspc csi", 8],
    ["k8gb-0.12.2", "k8gb addon", 5],
    ["kubevirt-csi-driver-1.0.1", "kubevirt-csi-driver addon", 7],
    ["multus-3.9.0", "", 0],
    ["nvidia-vss-application-1.0.0", "nvidia-vss-application addon", 3],
    ["piraeus-operator-2.9.0", "piraeus-operator csi", 23],
    ["spegel-0.7.2", "spegel addon", 1],
  ])("%s is read without a fault", (folder, pack, count) => {
    const read = readPublicPack(folder);
    expect(read.faults).toEqual([]);
    expect([read.pack, read.images.length]).toEqual([pack, count]);
  });

  test.each([
    [
      "crossplane-2.1.3, whose items are not indented",
      ["xpkg.upbound.io/crossplane/crossplane:v2.1.3"],
      ["7:7"],
    ],
    [
      "spegel-0.7.2, which has digests",
      [
        "ghcr.io/spegel-org/spegel@sha256:2c587a649b1b9b61d09e1e42901da5f34b2ab187247acb23086de3fad504a49c",
      ],
      ["4:9"],
    ],
    [
      "nvidia-vss-application-1.0.0, which has a bare name",
      [
        "nvcr.io/nvidia/blueprint/vss-engine:2.4.1",
        "docker.io/library/busybox:1.37",
        "docker.io/curlimages/curl:8.20.0",
      ],
      ["46:9", "47:9", "48:9"],
    ],
    [
      "k8gb-0.12.2, which leaves registries out",
      [
        "docker.io/absaoss/k8gb:v0.12.2",
        "docker.io/absaoss/k8s_crd:v0.0.11",
        "ghcr.io/k8gb-io/external-dns:v0.13.4-azure-ns",
        "docker.io/otel/opentelemetry-collector:0.57.2",
        "docker.io/jaegertracing/all-in-one:1.37.0",
      ],
      ["4:9", "5:9", "6:9", "7:9", "8:9"],
    ],
    [
      "elastic-stack-0.17.0, which leaves a tag out",
      [
        "docker.elastic.co/kibana/kibana:9.2.0",
        "docker.elastic.co/elasticsearch/elasticsearch:9.2.0",
        "docker.elastic.co/logstash/logstash:9.2.0",
        "docker.elastic.co/beats/filebeat:9.2.0",
        "docker.io/curlimages/curl:latest",
      ],
      ["6:9", "7:9", "8:9", "9:9", "10:9"],
    ],
    [
      "gridlight-1.1.3, which quotes",
      ["gateway", "agent", "agent-stt", "agent-image", "agent-voice", "agent-video"].map(
        (name) => `public.ecr.aws/q1c5c5i2/gridlight/${name}:1.1.3`,
      ),
      ["14:9", "15:9", "16:9", "17:9", "18:9", "19:9"],
    ],
  ])("reads exactly the images of %s", (title, images, lines) => {
    const read = readPublicPack(title.split(",")[0] ?? "");
    expect([read.images, read.lines, read.warnings]).toEqual([images, lines, []]);
  });

  test("says that dell-csm-operator loses the image of a misspelt key", () => {
    const { warnings, images } = readPublicPack("dell-csm-operator-1.11.0");
    expect(warnings).toEqual(["packs/dell-csm-operator-1.11.0/values.yaml:11:9 key-unknown"]);
    expect(images.filter((image) => image.endsWith(" "))).toEqual([]);
  });

  test("keeps the digests of hitachi-hspc", () => {
    const { images } = readPublicPack("hitachi-hspc-3.14.3");
    expect(images.filter((image) => /@sha256:[0-9a-f]{64}$/.test(image))).toHaveLength(6);
  });

  test.each([
    ["multus-3.9.0", ["ghcr.io/k8snetworkplumbingwg/multus-cni:v3.9.2-thick-amd64"]],
    ["hello-universe-1.3.1", ["docker.io/library/busybox:latest"]],
    ["spegel-0.7.2", []],
  ])("finds the literal images in the manifests of %s", (folder, expected) => {
    const { inputs } = readPublicPack(folder);
    const names = inputs.manifestImages.map(({ reference }) => formatReference(reference));
    expect([...new Set(names)]).toEqual([...expected]);
  });

  test("reads the sample cluster, packs in folders beside it", () => {
    const files = { ...PACKS, ...fixtures("edge-rke2") };
    const { inputs, faults, warnings } = readCluster(files, {
      profiles: ["edge-rke2/profile.yaml"],
      userData: "edge-rke2/user-data-external.yaml",
    });
    expect([faults, warnings]).toEqual([[], []]);
    expect(inputs.profileNames).toEqual(["edge-store"]);
    expect(inputs.images.map(({ layer }) => layer).join(" ")).toBe(
      "os k8s cni cni cni csi csi addon addon addon addon addon",
    );
    expect(inputs.images.filter(({ isProvider }) => isProvider)).toHaveLength(1);
    expect(inputs.alwaysPullPlaces).toMatchObject([{ line: 39, column: 19 }]);
    expect(inputs.userData.externals[0]?.password?.reveal()).toBe("secret-password");
  });
});

describe("readClusterInputs()", () => {
  test("asks for a profile, and for an OS pack", () => {
    expect(readCluster({}, { profiles: [] }).faults).toContain(":1:1 profile-missing");
    expect(readCluster({ "profile.yaml": profileOf(addOn("{}\n")) }).faults).toEqual([
      "profile.yaml:1:1 provider-location-missing",
    ]);
  });

  test("knows the variables that the local registry's own pack asks for", () => {
    const zot =
      'charts: {zot: {service: {nodePort: "{{ .spectro.var.port }}"}, registry: {password: "{{ .spectro.macro.pw }}"}}}';
    const pack = `    - name: zot\n      layer: addon\n      values: '${zot}'\n`;
    const variables = new Map([
      ["port", "30005"],
      ["pw", "hunter2"],
    ]);
    const { inputs, warnings } = readCluster(
      { "profile.yaml": profileOf(OS_PACK, pack) },
      { variables },
    );
    expect(inputs.packedRegistry?.port).toBe(30_005);
    expect(warnings).toEqual([]);
  });

  test("tells of variables on the command line that nothing asks for", () => {
    const profile = `${profileOf(OS_PACK, addOn("pack: {content: {images: ['a.io/b:{{ .spectro.var.site_tag }}']}}\n"))}  variables: [{name: declared}]\n`;
    const { warnings, shown } = readCluster(
      { "profile.yaml": profile },
      {
        variables: new Map([
          ["site_tag", "1"],
          ["declared", "x"],
          ["site_tga", "2"],
        ]),
      },
    );
    expect(warnings).toEqual([":1:1 variable-unused"]);
    const variables = new Map([["site_tag", "1"]]);
    expect(readCluster({}, { variables }).warnings).toEqual([]);
    expect(shown).toContain('Did you mean \\"site_tag\\"?');
  });

  test("says which packs there are where a template names none of them", () => {
    const values = "pack: {content: {images: ['a.io/b:{{ .spectro.pack.stranger.tag }}']}}\n";
    const { shown } = readCluster({ "profile.yaml": profileOf(OS_PACK, addOn(values)) });
    expect(shown).toContain("There is no such pack; there are app, edge-native-byoi");
  });

  test("says how to get below the limit of a file", () => {
    const problem = { code: "input-too-large", message: "it has 50 MiB" } as const;
    const files = { read: () => problem, list: () => problem };
    const findings = new Findings();
    readClusterInputs({ profiles: ["profile.yaml"] }, files, findings);
    expect(findings.faults[0]).toMatchObject({
      code: "input-too-large",
      remedy: expect.stringContaining("path:"),
    });
  });

  test("tells of a profile that is given twice just that", () => {
    const files = { "profile.yaml": profileOf(OS_PACK) };
    const names = { profiles: ["profile.yaml", "profile.yaml"] };
    expect(readCluster(files, names)).toMatchObject({
      faults: ["profile.yaml:1:1 profile-twice"],
      warnings: [],
    });
  });

  test("tells what is wrong with every file at once", () => {
    const files = {
      "profile.yaml": profileOf(OS_PACK, addOn("pack: {content: {images: [A]}}\n")),
      "user-data.yaml": "#cloud-config\nstylus: {registryCredentials: {username: u}}\n",
      "site.yaml": "rewrite: x\nuserData: user-data.yaml\n",
      images: "busybox\nB\n",
      vars: "a: [1]\n",
    };
    const names = { site: "site.yaml", images: ["images"], vars: ["vars"] };
    expect(readCluster(files, names).faults).toEqual([
      "images:2:1 reference-invalid",
      "profile.yaml:13:35 reference-invalid",
      "site.yaml:1:10 value-unknown",
      "user-data.yaml:2:31 registry-without-domain",
      "vars:1:4 value-wrong-shape",
    ]);
  });

  test("reads a profile and user data that the site file names, beside it", () => {
    const files = {
      "etc/site.yaml": "profiles: [profile.yaml]\nuserData: user-data.yaml\n",
      "etc/profile.yaml": profileOf(OS_PACK),
      "etc/user-data.yaml": "#cloud-config\nstylus: {registryCredentials: {domain: a.io}}\n",
    };
    const { inputs, faults } = readCluster(files, { profiles: [], site: "etc/site.yaml" });
    expect(faults).toEqual([]);
    expect([inputs.images.length, inputs.userData.externals.length]).toEqual([1, 1]);
  });

  test("calls standard input by its name", () => {
    const { faults } = readCluster({ "-": "a: 'x\n" }, { profiles: ["-"] });
    expect(faults).toContain("<stdin>:1:4 yaml-broken");
  });

  test("reads further images one a line, comments and Windows line ends aside", () => {
    const images = "# ours\r\nbusybox # small\r\n\r\n  quay.io/a/b:1\r\nquay.io/a/b#c\r\n";
    const { inputs, faults } = readCluster(
      { "profile.yaml": profileOf(OS_PACK), images },
      { images: ["images"] },
    );
    const extra = inputs.images.filter(({ pack }) => pack === undefined);
    expect(extra.map(({ place }) => `${place.line}:${place.column}`)).toEqual(["2:1", "4:3"]);
    expect(faults).toEqual(["images:5:11 reference-invalid"]);
  });

  test("refuses two OS packs, and warns of packs of one name", () => {
    const files = {
      "a.yaml": profileOf(OS_PACK),
      "b.yaml": profileOf(OS_PACK, addOn("{}\n"), addOn("{}\n")),
    };
    const { faults, warnings } = readCluster(files, { profiles: ["a.yaml", "b.yaml"] });
    expect(faults).toEqual(["b.yaml:4:13 os-pack-twice"]);
    expect(warnings).toEqual(["b.yaml:4:13 pack-twice", "b.yaml:14:13 pack-twice"]);
  });

  test("lets templates refer to packs of other profiles, whatever the order of the files", () => {
    const files = {
      "infra.yaml": profileOf(OS_PACK),
      "app.yaml": profileOf(
        addOn(
          "pack: {content: {images: ['{{ .spectro.pack.edge-native-byoi.options.system.uri }}']}}\n",
        ),
      ),
    };
    for (const profiles of [
      ["infra.yaml", "app.yaml"],
      ["app.yaml", "infra.yaml"],
    ]) {
      const { inputs, faults } = readCluster(files, { profiles });
      expect([inputs.images.map(({ reference }) => formatReference(reference)), faults]).toEqual([
        [CORE, CORE],
        [],
      ]);
    }
  });

  test("takes variables from files, and lets those of the command line win", () => {
    const values =
      "pack: {content: {images: ['a.io/{{ .spectro.var.a }}:{{ .spectro.macro.b }}']}}\n";
    const { inputs, warnings } = readCluster(
      { "profile.yaml": profileOf(OS_PACK, addOn(values)), vars: "a: x\nb: 1.10\n" },
      { vars: ["vars"], variables: new Map([["a", "y"]]) },
    );
    expect(inputs.images.map(({ reference }) => formatReference(reference))).toEqual([
      CORE,
      "a.io/y:1.10",
    ]);
    expect(warnings).toEqual([]);
  });

  test("finds namespaces whose images are not to be redirected", () => {
    const values =
      'pack:\n  namespaceLabels:\n    a: "team=x,stylus.io/imageswap=disable"\n    b: "stylus.io/imageswap=enable"\n';
    const { inputs } = readCluster({ "profile.yaml": profileOf(OS_PACK, addOn(values)) });
    expect(inputs.swapDisabledPlaces).toMatchObject([{ line: 15, column: 16 }]);
  });

  test.each([
    [
      "aliases that multiply themselves",
      [..."abcdefgh"]
        .map(
          (name, i, names) =>
            `${name}: &${name} [${Array(10)
              .fill(i === 0 ? "x" : `*${names[i - 1]}`)
              .join()}]\n`,
        )
        .join(""),
    ],
    ["nesting without end", `a: ${"[".repeat(100_000)}\n`],
  ])("ends for a Kubernetes layer of %s", (_, values) => {
    const k8s = packOf({ name: "edge-k3s", layer: "k8s" }, values);
    const { warnings } = readCluster({ "profile.yaml": profileOf(OS_PACK, k8s) });
    expect(warnings.join()).toContain("values-unread");
  });
});

describe("readClusterInputs() survives", () => {
  const key = fc.constantFrom(
    ...["spec", "template", "packs", "packValues", "profiles", "published", "metadata", "name"],
    ...["layer", "values", "manifests", "content", "pack", "images", "image", "options", "path"],
    ...["system.uri", "providerCredentials", "registry", "password", "variables", "defaultValue"],
  );
  const leaf = fc.constantFrom<unknown>(
    ...["os", "k8s", "addon", "edge-native-byoi", "registry-connect", "quay.io/a/b:1", "A", ""],
    ...[
      "{{ .spectro.pack.edge-native-byoi.options.system.uri }}",
      "pack:\n  content:\n    images: [a]\n",
    ],
    ...["options: {system.uri: a.io/b:1}", "{", "- a", "kind: Secret", 7, true, null],
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.dictionary(key, tie("tree"), { maxKeys: 4 }),
      fc.array(tie("tree"), { maxLength: 3 }),
    ),
  }));
  const pack = fc.dictionary(key, tree, { maxKeys: 5 });

  const packs = fc.array(pack, { maxLength: 2 }).map((list) => ({ template: { packs: list } }));

  test("every shape", () => {
    fc.assert(
      fc.property(fc.oneof({ weight: 3, arbitrary: packs }, tree), (spec) => {
        const files = { "profile.yaml": JSON.stringify({ spec }), "a/values.yaml": "pack: {}" };
        const { inputs, faults } = readCluster(files);
        const providers = inputs.images.filter(({ isProvider }) => isProvider);
        expect(providers.length + faults.length).toBeGreaterThan(0);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  const secret = "kind: Secret\nmetadata: {name: a, labels: {spectrocloud.com/registry: 'true'}}\n";
  const values = "pack: {content: {images: [{image: a/b:1}]}}\n";
  const real = profileOf(addOn(values), manifestPack(`${secret}data:\n  url: ZG9ja2VyLmlv\n`));

  test("every damage to a real profile", () => {
    const damage = fc.tuple(
      fc.nat(real.length),
      fc.nat(20),
      fc.constantFrom(
        "",
        "\t",
        ":",
        "\n",
        "- ",
        "{{",
        "}}",
        "'",
        '"',
        "&a ",
        "*a",
        "|",
        ">",
        "#",
        "\r",
        "é",
        "---\n",
      ),
    );
    fc.assert(
      fc.property(damage, ([at, length, text]) => {
        const damaged = `${real.slice(0, at)}${text}${real.slice(at + length)}`;
        const lines = damaged.split("\n").length;
        const { faults } = readCluster({ "profile.yaml": damaged });
        expect(faults.every((fault) => Number(fault.split(":")[1]) <= lines)).toBe(true);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("a folder of profiles", () => {
  const infra = profileOf(OS_PACK);
  const apps = profileOf(addOn("pack:\n  content:\n    images:\n      - image: a/b:1\n"));

  test("stands for all JSON and YAML in it, in code-unit order, and for nothing else", () => {
    const contents = {
      "profiles/20-apps.yml": apps,
      "profiles/10-infra.yaml": infra,
      "profiles/.20-apps.yaml": "{",
      "profiles/README.md": "{",
      "profiles/old/10-infra.yaml": "{",
    };
    const { inputs, faults } = readCluster(contents, { profiles: ["profiles"] });
    expect(faults).toEqual([]);
    expect(inputs.images.map(({ reference }) => formatReference(reference))).toEqual([
      CORE,
      "docker.io/a/b:1",
    ]);
  });

  test("is refused when there is none in it", () => {
    const { faults } = readCluster({ "profiles/README.md": "" }, { profiles: ["profiles"] });
    expect(faults[0]).toBe("profiles:1:1 profile-missing");
  });
});
