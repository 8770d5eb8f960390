import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Findings } from "#base";
import { UNLIMITED_LINK } from "#link";
import { formatLocation, formatReference } from "#reference";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { createMemoryFiles, type MemoryContents, unreadable } from "#test-support/memory-files";
import { DEFAULT_SITE, readSite } from "./site.ts";
import { DEFAULT_LOCAL_SETTINGS } from "./site-local-registry.ts";
import { fileSource } from "./text-source.ts";

const PEM = readFileSync(join(import.meta.dir, "../../test/fixtures/tls/ca.pem"), "utf8");

function read(text: string, contents: MemoryContents = {}, file = "etc/site.yaml") {
  const findings = new Findings();
  const files = createMemoryFiles(contents);
  const site = readSite(fileSource("s", text), file, files, findings);
  return {
    site,
    faults: listed(findings.faults),
    warnings: listed(findings.warnings),
    shown: JSON.stringify([site, findings.faults, findings.warnings]),
  };
}

describe("readSite()", () => {
  test.each(["nonsense", "127.0.0.1", "a:65536", "[::1]", "http://a:1"])(
    "refuses to listen on %j",
    (listen) => {
      expect(read(`registry: {listen: "${listen}"}\n`)).toMatchObject({
        site: { listen: DEFAULT_SITE.listen },
        faults: ["s:1:20 listen-invalid"],
      });
    },
  );

  test.each(["127.0.0.1:0", "[::1]:5055", ":5055", "edge-1.local:65535"])(
    "listens on %j",
    (listen) => expect(read(`registry: {listen: "${listen}"}\n`).site.listen).toBe(listen),
  );

  test.each(["", "{}\n", "# nothing\n", "apiVersion: drayage/v1\nkind: Site\n"])(
    "takes every default for %j",
    (text) => expect(read(text)).toMatchObject({ site: DEFAULT_SITE, faults: [], warnings: [] }),
  );

  test("reads every key", () => {
    const { site, faults, warnings } = read(
      `apiVersion: drayage/v1
kind: Site
profiles: [profile.yaml, /abs/add-on.json]
userData: user-data.yaml
dataDir: /srv/dray
platform: linux/arm/v7
rewrite: prepend
combinations: extended
credentials:
  - registry: reg.example.com/team
    username: edge
    passwordFile: password
    caFile: ca.pem
    insecure: true
extraImages: [busybox, "quay.io/a/b:1"]
attachments: false
localRegistry:
  kind: harbor
  address: 10.0.0.5:30003
  project: ours
  username: robot
  passwordFile: password
  caFile: ca.pem
  insecure: true
  visibility: public
  indexes: complete
  wait: 5m
  rotateDays: 7
  nodes: { username: puller, passwordFile: password }
provider: { coreImages: { enabled: false, folders: [/a/*/images] } }
registry: { listen: 0.0.0.0:5055 }
runtime: { kind: k3s, configDir: /etc/x, socket: run/k3s.sock }
link: {}
dockerConfig: docker.json
trustedTokenHosts: [auth.example.com]
`,
      { "etc/password": "hunter2\r\n# rotated in May\n", "etc/ca.pem": PEM },
    );
    expect([faults, warnings]).toEqual([[], []]);
    const { credentials, extraImages, localRegistry, localSettings, ...rest } = site;
    expect(rest).toEqual({
      agent: DEFAULT_SITE.agent,
      registry: { ...DEFAULT_SITE.registry, listen: "0.0.0.0:5055" },
      profiles: ["etc/profile.yaml", "/abs/add-on.json"],
      userData: "etc/user-data.yaml",
      dataDir: "/srv/dray",
      platform: { os: "linux", architecture: "arm", variant: "v7" },
      rewrite: "prepend",
      combinations: "extended",
      attachments: false,
      provider: {
        ...DEFAULT_SITE.provider,
        coreImages: { enabled: false, folders: ["/a/*/images"] },
      },
      listen: "0.0.0.0:5055",
      runtime: "k3s",
      runtimeSocket: "etc/run/k3s.sock",
      runtimeConfigDir: "/etc/x",
      dockerConfigAt: { file: "s", line: 34, column: 15, path: "dockerConfig" },
      dockerConfig: "etc/docker.json",
      trustedTokenHosts: ["auth.example.com"],
      link: UNLIMITED_LINK,
      fetcher: undefined,
    });
    expect(credentials).toMatchObject([
      {
        origin: "site:credentials[0]",
        location: { domain: "reg.example.com", path: "team" },
        username: "edge",
        insecure: true,
        certificates: [PEM.trim()],
      },
    ]);
    expect(credentials[0]?.password?.reveal()).toBe("hunter2");
    expect(extraImages.map(({ reference }) => formatReference(reference))).toEqual([
      "docker.io/library/busybox:latest",
      "quay.io/a/b:1",
    ]);
    expect(localRegistry).toMatchObject({
      ...{ kind: "harbor", project: "ours", username: "robot", insecure: true },
      ...{ certificates: [PEM.trim()], loginAt: { line: 21, column: 13 } },
    });
    expect(localRegistry?.password?.reveal()).toBe("hunter2");
    const { nodes, ...settings } = localSettings;
    expect(settings).toEqual({
      ...{ visibility: "public", indexes: "complete", waitMs: 300_000, rotateDays: 7 },
    });
    expect([nodes?.username, nodes?.password.reveal()]).toEqual(["puller", "hunter2"]);
    expect(localRegistry?.address && formatLocation(localRegistry.address)).toBe("10.0.0.5:30003");
  });

  test.each([
    ["dockerConfig: true\n", true],
    ["dockerConfig: false\n", false],
    ["dockerConfig: /root/.docker/config.json\n", "/root/.docker/config.json"],
  ])("reads %j", (text, expected) => expect(read(text).site.dockerConfig).toBe(expected));

  test("refuses an unknown key of the nodes' login beside what is missing", () => {
    const { faults } = read("localRegistry: {nodes: {user: u}}\n");
    expect(faults).toEqual(["s:1:24 credential-incomplete", "s:1:25 key-unknown"]);
  });

  test.each([
    ["90", 90_000],
    ["90s", 90_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["0", 0],
  ])("reads localRegistry.wait: %s", (wait, waitMs) => {
    const { site, faults } = read(`localRegistry: {wait: ${wait}}\n`);
    expect([site.localSettings.waitMs, faults]).toEqual([waitMs, []]);
  });

  test("has settings for a local registry that only the profile declares", () => {
    expect(read("kind: Site\n").site.localSettings).toEqual(DEFAULT_LOCAL_SETTINGS);
    expect(read("localRegistry: {wait: 1s}\n").site.localSettings).toEqual({
      ...DEFAULT_LOCAL_SETTINGS,
      waitMs: 1_000,
    });
  });

  test("finds files beside itself, also where it lies in no folder", () => {
    expect(read("profiles: [p.yaml]\n", {}, "site.yaml").site.profiles).toEqual(["p.yaml"]);
    expect(read("profiles: [p.yaml]\n", {}, "/site.yaml").site.profiles).toEqual(["/p.yaml"]);
  });

  test.each([
    ["an unknown key", "profile: [a]\n", "s:1:1 key-unknown"],
    [
      "an unknown key in a credential",
      "credentials: [{registry: a.io, pasword: x}]\n",
      "s:1:32 key-unknown",
    ],
    ["an unknown key of the local registry", "localRegistry: {knid: none}\n", "s:1:17 key-unknown"],
    [
      "nodes without a password",
      "localRegistry: {nodes: {username: u}}\n",
      "s:1:24 credential-incomplete",
    ],
    ["nodes without anything", "localRegistry: {nodes: {}}\n", "s:1:24 credential-incomplete"],
    ["an unknown visibility", "localRegistry: {visibility: open}\n", "s:1:29 value-unknown"],
    ["an unknown word for indexes", "localRegistry: {indexes: all}\n", "s:1:26 value-unknown"],
    [
      "a time without a unit that is known",
      "localRegistry: {wait: 1w}\n",
      "s:1:23 duration-invalid",
    ],
    ["a time that is none", "localRegistry: {wait: -1}\n", "s:1:23 duration-invalid"],
    ["no days", "localRegistry: {rotateDays: 0}\n", "s:1:29 days-invalid"],
    ["more days than ten years", "localRegistry: {rotateDays: 3651}\n", "s:1:29 days-invalid"],
    ["days in words", "localRegistry: {rotateDays: never}\n", "s:1:29 days-invalid"],
    ["an unknown key of the registry", "registry: {listn: x}\n", "s:1:12 key-unknown"],
    ["an unknown key of the runtime", "runtime: {knid: x}\n", "s:1:11 key-unknown"],
    ["another version", "apiVersion: drayage/v2\n", "s:1:13 value-unknown"],
    ["another kind", "kind: Cluster\n", "s:1:7 value-unknown"],
    ["a rewrite that is none", "rewrite: append\n", "s:1:10 value-unknown"],
    ["a combination that is none", "combinations: lax\n", "s:1:15 value-unknown"],
    ["a runtime that is none", "runtime: {kind: docker}\n", "s:1:17 value-unknown"],
    ["a platform that is none", "platform: linux\n", "s:1:11 platform-invalid"],
    [
      "a credential for nothing",
      "credentials: [{username: u}]\n",
      "s:1:15 registry-without-domain",
    ],
    [
      "a credential for no registry",
      "credentials: [{registry: 'a b'}]\n",
      "s:1:26 registry-invalid",
    ],
    ["a text for a credential", "credentials: [hunter2]\n", "s:1:15 value-wrong-shape"],
    ["an image that is none", "extraImages: [a/B]\n", "s:1:17 reference-invalid"],
    ["one in quotes", 'extraImages: ["a/B"]\n', "s:1:18 reference-invalid"],
    ["one in the next line", "extraImages:\n  - >-\n    a/B\n", "s:3:7 reference-invalid"],
    ["a mapping for an image", "extraImages: [{image: a}]\n", "s:1:15 value-wrong-shape"],
    [
      "a local registry with a path",
      "localRegistry: {address: 'a.io/x'}\n",
      "s:1:26 registry-invalid",
    ],
    ["a text for the profiles", "profiles: p.yaml\n", "s:1:11 value-wrong-shape"],
    ["a list for the docker config", "dockerConfig: [a]\n", "s:1:15 value-wrong-shape"],
    ["a list", "- a\n", "s:1:1 value-wrong-shape"],
    ["a key written twice", "rewrite: replace\nrewrite: prepend\n", "s:2:1 key-duplicate"],
    [
      "a password file that is not there",
      "credentials: [{registry: a.io, passwordFile: p}]\n",
      "s:1:46 input-missing",
    ],
    [
      "a certificate file that is not there",
      "credentials: [{registry: a.io, caFile: p}]\n",
      "s:1:40 input-missing",
    ],
  ])("refuses %s", (_, text, fault) => expect(read(text).faults).toEqual([fault]));

  test.each<[string, MemoryContents, string]>([
    ["empty", { "etc/p": "" }, "s:1:46 password-file-empty"],
    ["a folder", { "etc/p/x": "" }, "s:1:46 input-unreadable"],
    ["locked", { "etc/p": unreadable("this user may not read it") }, "s:1:46 input-unreadable"],
    ["binary", { "etc/p": new Uint8Array([0xff, 0xfe, 0]) }, "etc/p:1:1 input-not-text"],
  ])("refuses a password file that is %s", (_, contents, fault) => {
    const text = "credentials: [{registry: a.io, passwordFile: p}]\n";
    expect(read(text, contents).faults).toEqual([fault]);
  });

  test("refuses a certificate file that is none, and shows nothing of it", () => {
    const text = "credentials: [{registry: a.io, caFile: p}]\n";
    const { faults, shown } = read(text, { "etc/p": "hunter2" });
    expect(faults).toEqual(["s:1:40 certificate-unreadable"]);
    expect(shown).not.toContain("hunter2");
  });

  test("tells all that is wrong at once", () => {
    expect(read("rewrite: x\nplatform: x\nextraImages: [A]\nfoo: 1\n").faults).toHaveLength(4);
  });

  test("survives every shape", () => {
    const key = fc.constantFrom(
      ...["profiles", "userData", "dataDir", "platform", "rewrite", "credentials", "extraImages"],
      ...["localRegistry", "registry", "runtime", "link", "dockerConfig", "trustedTokenHosts"],
      ...["kind", "address", "project", "username", "passwordFile", "caFile", "listen", "other"],
      ...["insecure", "visibility", "indexes", "wait", "rotateDays", "nodes"],
    );
    const leaf = fc.constantFrom<unknown>(
      "a.io/b:1",
      "linux/amd64",
      "none",
      "",
      "p",
      true,
      1,
      null,
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.dictionary(key, tie("tree"), { maxKeys: 4 }),
        fc.array(tie("tree"), { maxLength: 2 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        expect(read(JSON.stringify(value), { "etc/p": "x" }).site.dataDir).not.toBe("");
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
