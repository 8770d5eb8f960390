import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { createMemoryFiles } from "#test-support/memory-files";
import { readSite } from "./site.ts";
import { DEFAULT_SITE_PROVIDER, fillPlaceholders } from "./site-provider.ts";
import { fileSource } from "./text-source.ts";

function read(text: string) {
  const findings = new Findings();
  const files = createMemoryFiles({});
  const { provider } = readSite(fileSource("s", text), "/etc/drayage/site.yaml", files, findings);
  return {
    provider,
    faults: listed(findings.faults),
    warnings: listed(findings.warnings),
    remedies: [...findings.faults, ...findings.warnings].map(({ remedy }) => remedy),
  };
}

const handOver = (text: string) => read(`provider: {handOver: {${text}}}\n`);

describe("provider: of the site file", () => {
  test.each(["", "provider:\n", "provider: {}\n", "provider: {handOver: {form: none}}\n"])(
    "takes every default for %j",
    (text) => expect(read(text)).toMatchObject({ provider: DEFAULT_SITE_PROVIDER, faults: [] }),
  );

  test("reads what an operator of Kairos writes", () => {
    const { provider, faults, warnings } = read(`provider:
  coreImages:
    folders: [/opt/kube-images, /var/lib/*/images]
  handOver:
    form: rootfs
    path: /var/lib/os/root/
    command: [kairos-agent, upgrade, --source, "{source}", "--x={digest} {image}{path}"]
    timeout: 90m
`);
    expect([faults, warnings]).toEqual([[], []]);
    expect(provider).toEqual({
      coreImages: { enabled: true, folders: ["/opt/kube-images", "/var/lib/*/images"] },
      handOver: {
        form: "rootfs",
        path: "/var/lib/os/root",
        command: [
          ...["kairos-agent", "upgrade", "--source"],
          ...["{source}", "--x={digest} {image}{path}"],
        ],
        timeoutMs: 5_400_000,
      },
    });
  });

  test("a path may be given from the site file's folder, and words are taken as they stand", () => {
    const { provider, faults } = handOver(
      `form: oci-archive, path: os.tar, command: [prog, " a ", "", 7, true, "{", "{}", "{NO}"]`,
    );
    expect(faults).toEqual([]);
    expect(provider.handOver).toMatchObject({
      path: "/etc/drayage/os.tar",
      command: ["prog", " a ", "", "7", "true", "{", "{}", "{NO}"],
    });
  });

  test("no folders at all means that none is looked through", () => {
    expect(read("provider: {coreImages: {folders: []}}\n").provider.coreImages.folders).toEqual([]);
  });

  test.each(["relative", "/", "//", "/a/../b"])("refuses to look in %j", (folder) => {
    expect(read(`provider: {coreImages: {folders: ["${folder}"]}}\n`)).toMatchObject({
      provider: { coreImages: { folders: [] } },
      faults: ["s:1:35 folder-invalid"],
    });
  });

  test.each([
    ["form: rootfs", ["s:1:22 path-missing"]],
    ["form: oci, path: /", ["s:1:40 path-missing"]],
    ["form: oci, path: ///", ["s:1:40 path-missing"]],
    ["form: tar", ["s:1:29 value-unknown"]],
    ["form: tar, command: [a]", ["s:1:29 value-unknown"]],
    ["command: [a]", ["s:1:32 form-missing"]],
    ['form: reference, command: [""]', ["s:1:50 command-invalid"]],
    ['form: reference, command: [a, "\\0"]', ["s:1:53 command-invalid"]],
    ["form: reference, command: [a, [b]]", ["s:1:53 command-invalid"]],
    ["form: reference, command: a b", ["s:1:49 value-wrong-shape"]],
    ["form: reference, timeout: soon", ["s:1:49 duration-invalid"]],
    ["form: reference, comand: [a]", ["s:1:40 key-unknown"]],
    ['form: reference, command: [a, "{path}"]', ["s:1:53 placeholder-unknown"]],
    ['form: oci, path: /x, command: [a, "{source}"]', ["s:1:57 placeholder-unknown"]],
    ['form: rootfs, path: /x, command: [a, "{sorce}"]', ["s:1:60 placeholder-unknown"]],
  ])("tells where %s is wrong", (text, faults) => expect(handOver(text).faults).toEqual(faults));

  test("a placeholder that was meant is named, else all that there are", () => {
    const remedies = (word: string) =>
      handOver(`form: rootfs, path: /x, command: [a, "${word}"]`).remedies;
    expect(remedies("{sorce}")).toEqual(['Did you mean "{source}"?']);
    expect(remedies("{anything}")).toEqual([
      "With this form there are {source}, {path}, {image}, {digest}",
    ]);
  });

  test("a command that is switched off for the time being is no fault", () => {
    const { provider, faults } = handOver('form: none, path: /x, command: [a, "{source}"]');
    expect(faults).toEqual([]);
    expect(provider.handOver).toEqual(DEFAULT_SITE_PROVIDER.handOver);
  });

  test("a path that nothing is made at is warned about", () => {
    expect(handOver("form: reference, path: /x").warnings).toEqual(["s:1:46 path-unused"]);
  });
});

test("placeholders are filled in once, and nothing else is touched", () => {
  const values = { source: "dir:{path}", path: "/x" };
  const filled = fillPlaceholders(["{source}", "a{path}b{path}", "{constructor}", "{}"], values);
  expect(filled).toEqual(["dir:{path}", "a/xb/x", "{constructor}", "{}"]);
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, value) => {
      const [word] = fillPlaceholders([`${before.replaceAll("{", "")}{path}`], { path: value });
      expect(word).toBe(before.replaceAll("{", "") + value);
    }),
    { numRuns: FUZZ_RUNS },
  );
});
