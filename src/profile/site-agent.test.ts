import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { createMemoryFiles } from "#test-support/memory-files";
import { readSite } from "./site.ts";
import { DEFAULT_SITE_AGENT } from "./site-agent.ts";
import { DEFAULT_SITE_REGISTRY } from "./site-registry.ts";
import { fileSource } from "./text-source.ts";

function read(text: string) {
  const findings = new Findings();
  const files = createMemoryFiles({ "/etc/password": "hunter2\n" });
  const { agent, registry } = readSite(fileSource("s", text), "/etc/site.yaml", files, findings);
  return { agent, registry, faults: listed(findings.faults) };
}

describe("agent: of the site file", () => {
  test.each(["", "agent:\n", "agent: {}\n", "agent: {activation: }\n"])(
    "takes every default for %j",
    (text) => expect(read(text)).toMatchObject({ agent: DEFAULT_SITE_AGENT, faults: [] }),
  );

  test("reads all of it, and files from the site file's folder", () => {
    const { agent, faults } = read(`agent:
  listen: 0.0.0.0:8443
  tls: { certFile: cert.pem, keyFile: /run/key.pem }
  htpasswd: users
  operators: [ada, bob]
  metricsTokenFile: token
  activation:
    timeZone: Europe/Berlin
    windows: [{ days: [sat, sun], from: "22:00", to: "02:00" }]
  poll: 2m
  resync: 30m
  credentials: 1h
  prove: 2h
  verify: 7d
  collect: 1d
`);
    expect(faults).toEqual([]);
    expect(agent).toEqual({
      listen: "0.0.0.0:8443",
      listenAt: { file: "s", line: 2, column: 11, path: "agent.listen" },
      tls: { certFile: "/etc/cert.pem", keyFile: "/run/key.pem" },
      htpasswd: "/etc/users",
      operators: ["ada", "bob"],
      metricsTokenFile: "/etc/token",
      activation: {
        timeZone: "Europe/Berlin",
        windows: [{ days: [6, 7], fromMinute: 1320, toMinute: 120, bytesPerSecond: undefined }],
      },
      ...{ pollMs: 120_000, resyncMs: 1_800_000, credentialsMs: 3_600_000, proveMs: 7_200_000 },
      ...{ verifyMs: 604_800_000, collectMs: 86_400_000 },
    });
  });

  test.each(["immediate", "manual"] as const)("activation can be %s", (activation) =>
    expect(read(`agent: {activation: ${activation}}\n`)).toMatchObject({
      agent: { activation },
      faults: [],
    }),
  );

  test.each([
    ["an unknown key", "agent: {listn: x}\n", "s:1:9 key-unknown"],
    ["another activation", "agent: {activation: manuel}\n", "s:1:21 value-unknown"],
    ["no windows", "agent: {activation: {}}\n", "s:1:21 activation-window-missing"],
    ["empty windows", "agent: {activation: {windows: []}}\n", "s:1:31 activation-window-missing"],
    ["what is no address", "agent: {listen: here}\n", "s:1:17 listen-invalid"],
    ["half of TLS", "agent: {tls: {certFile: a}}\n", "s:1:14 tls-incomplete"],
    ["operators without users", "agent: {operators: [a]}\n", "s:1:20 users-missing"],
    ["too short a period", "agent: {resync: 59s}\n", "s:1:17 duration-invalid"],
    ["what is no period", "agent: {prove: often}\n", "s:1:16 duration-invalid"],
  ])("refuses %s", (_, text, fault) => expect(read(text).faults).toEqual([fault]));

  test("activates nothing by itself where its windows were not understood", () => {
    expect(read("agent: {activation: {windows: []}}\n").agent.activation).toBe("manual");
  });
});

describe("registry: of the site file", () => {
  test("takes every default", () => {
    expect(read("")).toMatchObject({ registry: DEFAULT_SITE_REGISTRY, faults: [] });
  });

  test("reads how it is served, and how nodes reach it", () => {
    const { registry, faults } = read(`registry:
  listen: 0.0.0.0:5055
  address: 10.0.0.5:5055
  tls: { certFile: cert.pem, keyFile: key.pem }
  htpasswd: users
  pushers: [ci]
  anonymousPull: true
  nodes: { username: node, passwordFile: password }
`);
    expect(faults).toEqual([]);
    expect(registry).toMatchObject({
      ...{ listen: "0.0.0.0:5055", address: "10.0.0.5:5055", htpasswd: "/etc/users" },
      ...{ tls: { certFile: "/etc/cert.pem", keyFile: "/etc/key.pem" } },
      ...{ pushers: ["ci"], anonymousPull: true, nodes: { username: "node" } },
    });
    expect(registry.nodes?.password.reveal()).toBe("hunter2");
  });

  test.each([
    ["pushers without users", "registry: {pushers: [a]}\n", ["s:1:21 users-missing"]],
    ["guests without users", "registry: {anonymousPull: true}\n", ["s:1:27 users-missing"]],
    [
      "a login that is half",
      "registry: {nodes: {username: a}}\n",
      ["s:1:19 credential-incomplete"],
    ],
    [
      "a password that is not there, once",
      "registry: {nodes: {username: a, passwordFile: gone}}\n",
      ["s:1:47 input-missing"],
    ],
  ])("refuses %s", (_, text, faults) => expect(read(text).faults).toEqual(faults));
});
