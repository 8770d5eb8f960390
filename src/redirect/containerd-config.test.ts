import { describe, expect, test } from "bun:test";
import { parse } from "smol-toml";
import { adviseContainerd } from "./containerd-config.ts";

const DIR = "/etc/containerd/certs.d";
const CRI = 'plugins."io.containerd.grpc.v1.cri".registry';

describe("adviseContainerd()", () => {
  test.each([
    ["version 2", `version = 2\n[${CRI}]\nconfig_path = "${DIR}"\n`],
    ["a folder among several", `version = 2\n[${CRI}]\nconfig_path = "/x:${DIR}/"\n`],
    [
      "version 3",
      `version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "${DIR}"\n`,
    ],
    ["version 1", `[plugins.cri.registry]\nconfig_path = "${DIR}"\n`],
  ])("has nothing to say when config_path is there: %s", (_, text) => {
    expect(adviseContainerd(text, DIR)).toBeUndefined();
  });

  test.each([
    ["no file", undefined],
    ["another folder", `version = 2\n[${CRI}]\nconfig_path = "/elsewhere"\n`],
    ["version 3 without it", "version = 3\n"],
    ["the place of another version", `version = 3\n[${CRI}]\nconfig_path = "${DIR}"\n`],
    ["mirrors of the old kind", `version = 2\n[${CRI}.mirrors.a]\nendpoint = []\n`],
  ])("gives lines that put it right: %s", (_, text) => {
    const advice = adviseContainerd(text, DIR);
    expect(advice).toBeDefined();
    const version = /version = \d/.exec(text ?? "")?.[0] ?? "";
    const written = advice?.lines.join("\n") ?? "";
    const mended = written.startsWith("version") ? written : `${version}\n${written}`;
    expect(() => parse(mended)).not.toThrow();
    expect(adviseContainerd(mended, DIR)).toBeUndefined();
  });

  test("a file that is not there is begun in the version that 1.3 to 2.x read", () => {
    expect(adviseContainerd(undefined, DIR)?.lines.slice(0, 3)).toEqual([
      ...["version = 2", "", '[plugins."io.containerd.grpc.v1.cri".registry]'],
    ]);
  });

  test("tells where a broken file is broken", () => {
    expect(adviseContainerd("version = 2\n[x", DIR)?.problem).toContain("line 2");
  });
});
