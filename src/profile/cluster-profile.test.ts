import { describe, expect, test } from "bun:test";
import { formatReference } from "#reference";
import {
  addOn,
  indent,
  OS_PACK,
  packOf,
  profileOf,
  readCluster,
} from "#test-support/cluster-files";

const CORE = "quay.io/kairos/core:v1";

function read(profile: string, others: Readonly<Record<string, string>> = {}) {
  const cluster = readCluster({ "profile.yaml": profile, ...others });
  return {
    ...cluster,
    images: cluster.inputs.images.map(({ reference }) => formatReference(reference)),
  };
}

describe("readClusterProfiles()", () => {
  test("reads an export as JSON, places in the JSON", () => {
    const values = "options:\n  system.uri: quay.io/kairos/core:v1\n";
    const pack = { name: "edge-native-byoi", type: "spectro", layer: "os", tag: "2.1.0", values };
    const profile = {
      metadata: { name: "edge-a", description: "", labels: {} },
      spec: {
        version: "1.0.0",
        template: { type: "cluster", cloudType: "edge-native", packs: [pack] },
      },
    };
    for (const text of [JSON.stringify(profile), JSON.stringify(profile, null, "\t")]) {
      const { inputs, faults, warnings } = read(text);
      const { line = 0, column = 0 } = inputs.images[0]?.place ?? {};
      expect([inputs.profileNames, faults, warnings]).toEqual([["edge-a"], [], []]);
      expect(text.split("\n")[line - 1]?.slice(column - 1)).toStartWith("system.uri: ");
    }
  });

  test.each([
    ["the published part of a live object", `spec:\n  published:\n    packs:\n${OS_PACK}`],
    [
      "the draft where nothing is published",
      `spec:\n  published:\n  draft:\n    packs:\n${OS_PACK}`,
    ],
    ["packs right below spec", `spec:\n  packs:\n${OS_PACK}`],
    ["packs at the root", `packs:\n${OS_PACK}`],
    [
      "a cluster's request",
      `spec:\n  profiles:\n    - uid: x\n      packValues:\n${indent(OS_PACK, 4)}`,
    ],
    ["Windows line ends", profileOf(OS_PACK).replaceAll("\n", "\r\n")],
    ["several documents", `---\n# one\n---\n${profileOf(OS_PACK)}---\n${profileOf(addOn("{}\n"))}`],
  ])("reads %s", (_, text) => expect(read(text)).toMatchObject({ images: [CORE], faults: [] }));

  test("tells the layer of a pack that does not say it, and that it did", () => {
    const { images, warnings } = read(profileOf(OS_PACK.replace("      layer: os\n", "")));
    expect([images, warnings]).toEqual([[CORE], ["profile.yaml:4:7 layer-missing"]]);
  });

  test("takes defaults of profile variables, and lets given ones win", () => {
    const values = "pack: {content: {images: ['a.io/b:{{ .spectro.var.tag }}']}}\n";
    const text = `${profileOf(OS_PACK, addOn(values))}  variables:\n    - {name: tag, defaultValue: demo}\n    - {name: none, defaultValue: ''}\n`;
    expect(read(text).images).toEqual([CORE, "a.io/b:demo"]);
    const given = readCluster({ "profile.yaml": text }, { variables: new Map([["tag", "mine"]]) });
    expect(given.inputs.images[1]?.reference.tag).toBe("mine");
  });

  test.each([
    ["nothing", "", "1:1 profile-empty"],
    ["comments", "# nothing\n", "1:1 profile-empty"],
    ["null", "null\n", "1:1 profile-empty"],
    ["a text", "hello\n", "1:1 profile-without-packs"],
    ["a list", "- a\n", "1:1 profile-without-packs"],
    ["a page of HTML", "<html><body>Sign in</body></html>\n", "1:1 profile-without-packs"],
    ["misspelt packs", "spec:\n  template:\n    pakcs: []\n", "3:5 profile-without-packs"],
    ["packs that are no list", "spec:\n  template:\n    packs: {}\n", "3:12 value-wrong-shape"],
    ["a text for a pack", profileOf(OS_PACK, "    - hello\n"), "10:7 value-wrong-shape"],
    ["a pack without a name", profileOf(OS_PACK, "    - layer: addon\n"), "10:7 pack-nameless"],
    [
      "a layer that is none",
      profileOf(OS_PACK, "    - {name: a, layer: addn}\n"),
      "10:24 layer-unknown",
    ],
    [
      "values that are a list",
      profileOf(OS_PACK, "    - {name: a, layer: cni, values: []}\n"),
      "10:37 value-wrong-shape",
    ],
    [
      "a manifest that is a mapping",
      profileOf(OS_PACK, "    - {name: a, layer: cni, manifests: [{content: {a: 1}}]}\n"),
      "10:51 value-wrong-shape",
    ],
    [
      "a template as long as a book",
      profileOf(OS_PACK, addOn(`pack: {content: {images: ['{{${"(".repeat(100_000)}}}']}}\n`)),
      "13:36 template-syntax",
    ],
    ["an image of a broken document", "a: 'x\n", "1:4 yaml-broken"],
  ])("refuses %s", (_, text, fault) => {
    expect(read(text).faults).toContain(`profile.yaml:${fault}`);
  });

  test("takes values that are written in place, without a string around them", () => {
    const pack = packOf({ name: "app", layer: "addon" }, "");
    const values = pack.replace("values: |\n", "values: {pack: {content: {images: [a.io/b:1]}}}\n");
    expect(read(profileOf(OS_PACK, values))).toMatchObject({
      images: [CORE, "a.io/b:1"],
      faults: [],
    });
  });
});

describe("readPack() and folders", () => {
  const profile = profileOf(OS_PACK, "    - path: packs/app/\n");
  const values = "pack:\n  content:\n    images:\n      - image: a.io/b:1\n";
  const folder = {
    "packs/app/pack.json": '{"name": "app-chart", "layer": "csi"}',
    "packs/app/values.yaml": values,
  };

  test("reads pack.json, values and manifests, with places in them", () => {
    const { inputs, faults, warnings } = read(profile, {
      ...folder,
      "packs/app/manifests/b.yaml": "image: busybox\n",
      "packs/app/manifests/a.json": '{"image": "alpine"}',
      "packs/app/manifests/._a.yaml": "\0",
      "packs/app/manifests/notes.txt": "image: nginx\n",
    });
    expect([faults, warnings]).toEqual([[], []]);
    expect(inputs.images[1]).toMatchObject({
      pack: "app-chart",
      layer: "csi",
      place: {
        file: "packs/app/values.yaml",
        line: 4,
        column: 9,
        path: "pack.content.images[0].image",
      },
    });
    expect(inputs.manifestImages.map(({ place }) => `${place.file}:${place.line}`)).toEqual([
      "packs/app/manifests/a.json:1",
      "packs/app/manifests/b.yaml:1",
    ]);
  });

  test("finds it beside the profile", () => {
    const files = {
      "etc/profile.yaml": profile,
      "etc/packs/app/pack.json": folder["packs/app/pack.json"],
      "etc/packs/app/values.yaml": values,
    };
    const { inputs, faults } = readCluster(files, { profiles: ["etc/profile.yaml"] });
    expect(faults).toEqual([]);
    expect(inputs.images[1]?.place.file).toBe("packs/app/values.yaml");
  });

  test("takes name, layer and version from the profile where it gives them", () => {
    const text = profileOf(
      OS_PACK,
      "    - path: packs/app\n      name: mine\n      layer: addon\n",
    );
    expect(read(text, folder).inputs.images[1]).toMatchObject({ pack: "mine", layer: "addon" });
  });

  test("reads empty values", () => {
    expect(read(profile, { ...folder, "packs/app/values.yaml": "" })).toMatchObject({
      images: [CORE],
      faults: [],
      warnings: [],
    });
  });

  test.each([
    ["no folder", {}, ["profile.yaml:10:13 input-missing", "profile.yaml:10:13 input-missing"]],
    [
      "no values",
      { "packs/app/pack.json": folder["packs/app/pack.json"] },
      ["profile.yaml:10:13 input-missing"],
    ],
    [
      "a pack.json that is a list",
      { ...folder, "packs/app/pack.json": "[]" },
      ["profile.yaml:10:7 pack-nameless"],
    ],
    [
      "a pack.json that is cut",
      { ...folder, "packs/app/pack.json": '{"name": "a",' },
      ["packs/app/pack.json:1:1 yaml-broken"],
    ],
    [
      "values that are a folder",
      { "packs/app/pack.json": folder["packs/app/pack.json"], "packs/app/values.yaml/x": "" },
      ["profile.yaml:10:13 input-unreadable"],
    ],
  ])("refuses %s", (_, files, faults) => expect(read(profile, files).faults).toEqual([...faults]));
});
