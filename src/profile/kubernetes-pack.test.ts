import { describe, expect, test } from "bun:test";
import { OS_PACK, packOf, profileOf, readCluster } from "#test-support/cluster-files";

/** Where AlwaysPullImages is found in the values of a pack of a layer, in lines of the values. */
function places(values: string, layer = "k8s"): readonly string[] {
  const pack = packOf({ name: "edge-k8s", layer }, values);
  const { inputs } = readCluster({ "profile.yaml": profileOf(OS_PACK, pack) });
  return inputs.alwaysPullPlaces.map(({ line, column }) => `${line - 12}:${column - 8}`);
}

describe("readAlwaysPullPlaces()", () => {
  test.each([
    [
      "k3s and RKE2",
      "cluster:\n  config:\n    kube-apiserver-arg:\n      - anonymous-auth=true\n      - enable-admission-plugins=AlwaysPullImages,NodeRestriction\n",
      ["5:9"],
    ],
    [
      "YAML in a text",
      "cluster:\n  config: |\n    kube-apiserver-arg:\n      - enable-admission-plugins=NodeRestriction,AlwaysPullImages\n",
      ["4:9"],
    ],
    [
      "kubeadm",
      "cluster:\n  config:\n    clusterConfiguration:\n      apiServer:\n        extraArgs:\n          enable-admission-plugins: NodeRestriction, AlwaysPullImages\n",
      ["6:37"],
    ],
    [
      "kubeadm v1beta4",
      "apiServer:\n  extraArgs:\n    - name: enable-admission-plugins\n      value: AlwaysPullImages\n",
      ["4:14"],
    ],
    [
      "a list of plugins",
      "enable-admission-plugins: [NodeRestriction, AlwaysPullImages]\n",
      ["1:45"],
    ],
    ["a flag of a command", "args: [--enable-admission-plugins=AlwaysPullImages]\n", ["1:8"]],
  ])("finds it as %s write it", (_, values, expected) => {
    expect(places(values)).toEqual([...expected]);
  });

  test.each([
    ["a comment", "# enable-admission-plugins=AlwaysPullImages\na: 1\n"],
    ["another plugin", "enable-admission-plugins: AlwaysPullImagesToo\n"],
    ["the plugins that are off", "args: [disable-admission-plugins=AlwaysPullImages]\n"],
    ["prose in a line", "note: We dropped enable-admission-plugins=AlwaysPullImages\n"],
    ["prose", "note: |\n  We took AlwaysPullImages\n  out: [\n"],
  ])("does not take %s for it", (_, values) => expect(places(values)).toEqual([]));

  test("looks in the Kubernetes layer alone", () => {
    expect(places("enable-admission-plugins: AlwaysPullImages\n", "addon")).toEqual([]);
  });
});
