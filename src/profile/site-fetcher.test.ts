import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { createMemoryFiles } from "#test-support/memory-files";
import { readSiteFile } from "./cluster-inputs.ts";

/** What `link.fetcher` of a site file says, and what is wrong with it as `line:column code`. */
function read(text: string, more = "") {
  const findings = new Findings();
  const files = createMemoryFiles({
    "etc/site.yaml": `link:\n  fetcher: ${text}\n${more}`,
    "etc/password": "hunter2\n",
    "etc/ca.pem": "no certificate",
  });
  const { fetcher } = readSiteFile("etc/site.yaml", files, findings);
  const told = (list: Findings["faults"]) =>
    list.map(({ line, column, code }) => `${line}:${column} ${code}`);
  return { fetcher, faults: told(findings.faults), warnings: told(findings.warnings) };
}

describe("link.fetcher", () => {
  test("is host and port, and the default project", () => {
    const { fetcher, faults } = read("10.0.0.5:5055");
    expect(faults).toEqual([]);
    expect(fetcher).toMatchObject({
      registry: {
        origin: "site:link.fetcher",
        location: { domain: "10.0.0.5:5055", path: "spectro-images" },
        insecure: false,
        certificates: [],
      },
      fallbackMs: undefined,
    });
  });

  test("says more as a mapping", () => {
    const { fetcher, faults } = read(
      "{address: 'node-1:5055/ours', username: node, passwordFile: password, insecure: true, fallback: 4h}",
    );
    expect(faults).toEqual([]);
    expect(fetcher).toMatchObject({
      registry: {
        location: { domain: "node-1:5055", path: "ours" },
        username: "node",
        insecure: true,
      },
      fallbackMs: 14_400_000,
    });
    expect(fetcher?.registry.password?.reveal()).toBe("hunter2");
  });

  test.each(["", "~"])("is nobody where %j is written", (text) => {
    expect(read(text)).toEqual({ fetcher: undefined, faults: [], warnings: [] });
  });

  test.each([
    ["no host", "10.0.0.5", []],
    ["a bare word", "node", ["2:12 registry-invalid"]],
    ["a list", "[a]", ["2:12 value-wrong-shape"]],
    ["no address", "{fallback: 4h}", ["2:12 registry-without-domain"]],
    ["an unknown key", "{address: 'a:1', falback: 4h}", ["2:29 key-unknown"]],
    ["a time that is none", "{address: 'a:1', fallback: soon}", ["2:39 duration-invalid"]],
    [
      "a certificate that is none",
      "{address: 'a:1', caFile: ca.pem}",
      ["2:37 certificate-unreadable"],
    ],
    ["this host itself", "127.0.0.1:5055", ["2:12 fetcher-is-self"]],
  ])("tells of %s where it stands", (_, text, faults) => {
    expect(read(text).faults).toEqual(faults);
  });

  test("warns of half a credential", () => {
    expect(read("{address: 'a:1', username: u}").warnings).toEqual(["2:39 credential-incomplete"]);
  });
});
