import { describe, expect, test } from "bun:test";
import { parseReference } from "#reference";
import { followHostsToml, followRegistriesYaml, hostFolders } from "./follow.ts";
import type { HostFolder } from "./hosts-toml.ts";

function follow(reference: string, folders: Readonly<Record<string, string | null>>) {
  return followHostsToml(parseReference(reference), (name): HostFolder | undefined => {
    const text = folders[name];
    if (text === undefined) return undefined;
    return text === null ? { files: ["ca.crt"] } : { hostsToml: text, files: ["hosts.toml"] };
  });
}

function urls(reference: string, folders: Readonly<Record<string, string | null>>) {
  return follow(reference, folders).endpoints.map(({ url }) => url);
}

describe("followHostsToml()", () => {
  test("looks into the folders of containerd, in its order", () => {
    expect(hostFolders("quay.io")).toEqual(["quay.io", "_default"]);
    expect(hostFolders("a.io:5000")).toEqual(["a.io_5000_", "a.io:5000", "_default"]);
    expect(hostFolders("[::1]:5000")).toEqual(["[::1]_5000_", "[::1]:5000", "_default"]);
  });

  test.each([
    ["busybox", "https://registry-1.docker.io/v2/library/busybox/manifests/latest"],
    ["quay.io/a/b:1", "https://quay.io/v2/a/b/manifests/1"],
    ["localhost:5000/a:1", "http://localhost:5000/v2/a/manifests/1"],
    ["localhost/a:1", "https://localhost/v2/a/manifests/1"],
  ])("asks the host of %s alone when nothing is written", (reference, url) => {
    expect(urls(reference, {})).toEqual([url]);
  });

  test("asks hosts in the order of their tables, then the server, each with its path and ns", () => {
    const text =
      'server = "https://s/base"\n[host."https://b/v2/x"]\noverride_path = true\n[host."https://b/v2/x".header]\nAuthorization = ["Basic eDp5"]\n[host."a:1"]\n[host."http://c/v2"]\nskip_verify = true\n';
    const { endpoints } = follow("quay.io/t/i:1", { "quay.io": text, _default: "" });
    expect(endpoints.map(({ url }) => url)).toEqual([
      "https://b/v2/x/t/i/manifests/1?ns=quay.io",
      "https://a:1/v2/t/i/manifests/1?ns=quay.io",
      "http://c/v2/t/i/manifests/1?ns=quay.io",
      "https://s/base/v2/t/i/manifests/1?ns=quay.io",
    ]);
    expect(endpoints[0]?.authorization?.reveal()).toBe("Basic eDp5");
    expect(endpoints.map(({ skipVerify }) => skipVerify)).toEqual([false, false, true, false]);
    expect(endpoints.map(({ isUpstream }) => isUpstream)).toEqual([false, false, false, true]);
  });

  test("a folder hides _default even without a hosts.toml; its certificates are the host's", () => {
    const followed = follow("quay.io/a:1", { "quay.io": null, _default: '[host."https://m"]\n' });
    expect(followed.endpoints).toMatchObject([{ isUpstream: true, authorities: ["ca.crt"] }]);
  });

  test("a broken file counts for nothing, and the problem is told", () => {
    const followed = follow("quay.io/a:1", { "quay.io": '[host."https://m"\n' });
    expect(followed.endpoints).toHaveLength(1);
    expect(followed.problem).toStartWith("1:");
  });

  test("asks for the digest where there is one", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    expect(urls(`quay.io/a:1@${digest}`, {})).toEqual([`https://quay.io/v2/a/manifests/${digest}`]);
  });
});

describe("followRegistriesYaml()", () => {
  const TEXT = `mirrors:
  docker.io:
    endpoint: [https://m:1/v2/p, "m:1", localhost:5000]
    rewrite: {"^library/(.*)": "lib/$1", "(": x}
  "*": {endpoint: [w.io]}
configs:
  "m:1": {auth: {username: u, password: p}, tls: {ca_file: /ca, insecure_skip_verify: true}}
`;

  test("asks the endpoints of the host with its rewrite, then the host without", () => {
    const { endpoints } = followRegistriesYaml(parseReference("busybox:1"), TEXT);
    expect(endpoints.map(({ url }) => url)).toEqual([
      "https://m:1/v2/p/lib/busybox/manifests/1?ns=docker.io",
      "https://m:1/v2/lib/busybox/manifests/1?ns=docker.io",
      "http://localhost:5000/v2/lib/busybox/manifests/1?ns=docker.io",
      "https://registry-1.docker.io/v2/library/busybox/manifests/1",
    ]);
    expect(endpoints[0]).toMatchObject({ skipVerify: true, authorities: ["/ca"] });
    expect(endpoints[0]?.authorization?.reveal()).toBe(`Basic ${btoa("u:p")}`);
    expect(endpoints[2]?.authorization).toBeUndefined();
  });

  test("asks the endpoints of * for hosts without an entry", () => {
    const { endpoints, decidedBy } = followRegistriesYaml(parseReference("quay.io/a:1"), TEXT);
    expect(endpoints.map(({ url }) => url)).toEqual([
      "https://w.io/v2/a/manifests/1?ns=quay.io",
      "https://quay.io/v2/a/manifests/1",
    ]);
    expect(decidedBy).toBe("mirrors.*");
  });

  test.each([undefined, "", "mirrors: ["])("asks the host alone when the file is %p", (text) => {
    const followed = followRegistriesYaml(parseReference("quay.io/a:1"), text);
    expect(followed.endpoints).toHaveLength(1);
    expect(followed.problem !== undefined).toBe(text === "mirrors: [");
  });
});
