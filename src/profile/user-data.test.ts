import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { formatLocation } from "#reference";
import { indent, listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { fileSource } from "./text-source.ts";
import { readUserData } from "./user-data.ts";

/** Reads user data; external registries and rules come in short. */
function read(text: string) {
  const findings = new Findings();
  const userData = readUserData(fileSource("u", text), findings);
  return {
    userData,
    externals: userData.externals.map(({ origin, location, username, password }) => {
      const who = username === undefined ? "" : ` ${username}:${password?.reveal() ?? ""}`;
      return `${origin.replace("user-data:", "")} ${formatLocation(location)}${who}`;
    }),
    rules: userData.mappingRules.map(({ location, to }) => {
      return `${formatLocation(location)} > ${formatLocation(to)}`;
    }),
    faults: listed(findings.faults),
    warnings: listed(findings.warnings),
    shown: JSON.stringify([findings.faults, findings.warnings, userData]),
  };
}

/** A `#cloud-config` whose `stylus` holds these lines; they begin in line 3, column 3. */
function stylus(text: string): string {
  return `#cloud-config\nstylus:\n${indent(text, 2)}`;
}

function single(fields: string): string {
  return stylus(`registryCredentials:\n  domain: reg.example.com\n${indent(fields, 2)}`);
}

describe("readUserData() and proxies", () => {
  test.each([
    "http://proxy:3128",
    "https://u:p%40x@proxy.example/",
    "proxy.example:3128",
    "u:p@10.0.0.1:80",
    "[::1]:3128",
    "proxy",
  ])("takes %j", (proxy) =>
    expect(read(stylus(`site: {network: {httpsProxy: "${proxy}"}}\n`)).faults).toEqual([]),
  );

  test.each(["not a url", "socks5://hunter2:1080", "http://", "hunter2:x", "http://u:hunter2@"])(
    "refuses %j, and does not show it",
    (proxy) => {
      const findings = new Findings();
      const text = stylus(`site: {network: {httpProxy: "${proxy}"}}\n`);
      readUserData(fileSource("u", text), findings);
      expect(listed(findings.faults)).toEqual(["u:3:31 proxy-invalid"]);
      expect(JSON.stringify(findings.faults)).not.toContain("hunter2");
    },
  );
});

describe("readUserData() and half of something", () => {
  test.each([
    ["username: u\n", "u:5:15 credential-incomplete"],
    ["password: p\n", "u:5:15 credential-incomplete"],
  ])("warns of %j alone", (fields, warning) => {
    expect(read(single(fields)).warnings).toEqual([warning]);
  });

  test("warns of two entries for one place", () => {
    const entries = "[{domain: a.io}, {domain: b.io}, {domain: A.io}, {domain: a.io/x}]";
    const { warnings } = read(stylus(`externalRegistries: {registries: ${entries}}\n`));
    expect(warnings).toEqual(["u:3:78 external-registry-repeated"]);
  });
});

describe("readUserData() and one external registry", () => {
  test("reads all fields", () => {
    const { userData, faults, warnings } = read(
      stylus(
        "registryCredentials:\n  domain: 192.0.2.10:5000/mirror\n  username: edge\n  password: c2VjcmV0\n  encodedPassword: true\n  insecure: true\n",
      ),
    );
    expect(userData.externals).toMatchObject([
      {
        origin: "user-data:registryCredentials",
        location: { domain: "192.0.2.10:5000", path: "mirror" },
        username: "edge",
        maskedAt: undefined,
        insecure: true,
        certificates: [],
        place: { file: "u", line: 4, column: 13, path: "stylus.registryCredentials.domain" },
      },
    ]);
    expect(userData.externals[0]?.password?.reveal()).toBe("secret");
    expect([faults, warnings]).toEqual([[], []]);
  });

  test.each([
    ["a slash at the end", "reg.example.com/mirror/", "reg.example.com/mirror"],
    ["a scheme", "https://reg.example.com", "reg.example.com"],
    ["an API address", "https://index.docker.io/v1/", "docker.io"],
    ["an IPv6 address", "'[2001:db8::1]:5000/x'", "[2001:db8::1]:5000/x"],
  ])("takes a domain with %s", (_, domain, expected) => {
    const { externals, faults } = read(stylus(`registryCredentials:\n  domain: ${domain}\n`));
    expect(externals).toEqual([`registryCredentials ${expected}`]);
    expect(faults).toEqual([]);
  });

  test.each([
    ["numbers", "username: 007\npassword: 1.10\n", "007:1.10"],
    ["a block", "username: u\npassword: |\n  hunter2\n", "u:hunter2"],
    ["blanks that belong to it", 'username: u\npassword: " a "\n', "u: a "],
    [
      "base64 that ends with a line break",
      "username: u\npassword: c2VjcmV0Cg==\nencodedPassword: 'True'\n",
      "u:secret",
    ],
    ["nothing", "username: u\npassword: ''\n", "u:"],
  ])("reads a password of %s", (_, fields, expected) => {
    const { externals, faults } = read(single(fields));
    expect(externals).toEqual([`registryCredentials reg.example.com ${expected}`]);
    expect(faults).toEqual([]);
  });

  test("knows a masked password, also before it would decode it", () => {
    const { userData, faults } = read(single("password: '********'\nencodedPassword: true\n"));
    expect(userData.externals[0]?.maskedAt).toBeDefined();
    expect(faults).toEqual([]);
  });

  test.each([
    ["base64 that is none", "password: hunter2!\nencodedPassword: true\n", "u:5:15 base64-invalid"],
    ["base64 of no text", "password: /w==\nencodedPassword: true\n", "u:5:15 base64-invalid"],
    ["a list for a password", "password: [hunter2]\n", "u:5:15 value-wrong-shape"],
    ["a mapping for a user", "username: {a: hunter2}\n", "u:5:15 value-wrong-shape"],
    ["a switch that is none", "insecure: maybe\n", "u:5:15 value-wrong-shape"],
    ["a broken certificate", "certificates: hunter2\n", "u:5:19 certificate-unreadable"],
    ["a key written twice", "username: a\nusername: b\n", "u:6:5 key-duplicate"],
  ])("refuses %s", (_, fields, expected) => {
    const { faults, shown } = read(single(fields));
    expect(faults).toEqual([expected]);
    expect(shown).not.toContain("hunter2");
  });

  test.each([
    ["a port that is none", "reg.example.com:99999"],
    ["a tag", "reg.example.com/a:1"],
    ["blanks", "reg example.com"],
    ["a template", "{{ .spectro.var.registry }}"],
    ["a user and password", "https://user:hunter2@reg.example.com"],
    ["a signature", "reg.example.com/a?sig=hunter2"],
  ])("refuses a domain with %s, and shows no secret in it", (_, domain) => {
    const { faults, shown } = read(stylus(`registryCredentials:\n  domain: ${domain}\n`));
    expect(faults).toEqual(["u:4:13 registry-invalid"]);
    expect(shown).not.toContain("hunter2");
  });

  test("refuses a user without a domain", () => {
    expect(read(stylus("registryCredentials:\n  username: u\n")).faults).toEqual([
      "u:4:5 registry-without-domain",
    ]);
  });
});

describe("readUserData() and several external registries", () => {
  test("reads registries and rules in the order of the file", () => {
    const { externals, rules, faults, warnings, userData } = read(
      stylus(
        'externalRegistries:\n  registries:\n    - domain: b.io/x\n      repositoryName: label\n      certificates: []\n    - domain: a.io\n      username: u\n      password: p\n  registryMappingRules:\n    "us-docker.pkg.dev/palette-images": a.io/mapped\n    https://quay.io/: a.io/quay/\n    alpine: a.io/alpine\n',
      ),
    );
    expect(externals).toEqual(["externalRegistries[0] b.io/x", "externalRegistries[1] a.io u:p"]);
    expect(rules).toEqual([
      "us-docker.pkg.dev/palette-images > a.io/mapped",
      "quay.io > a.io/quay",
      "docker.io/alpine > a.io/alpine",
    ]);
    expect(userData.mappingRules[1]?.place).toMatchObject({ line: 13, column: 7 });
    expect([faults, warnings]).toEqual([[], []]);
  });

  test("reads rules without registries", () => {
    const text = stylus("externalRegistries:\n  registryMappingRules: {a.io: b.io}\n");
    expect(read(text)).toMatchObject({ externals: [], rules: ["a.io > b.io"], faults: [] });
  });

  test("reads both where Palette's samples slip, and says where they belong", () => {
    const { externals, rules, warnings, faults } = read(
      "#cloud-config\nstylus: {}\nexternalRegistries:\n  registries:\n    - domain: a.io\nregistryMappingRules:\n  grc.io: a.io/x\n",
    );
    expect([externals, rules]).toEqual([["externalRegistries[0] a.io"], ["grc.io > a.io/x"]]);
    expect(warnings).toEqual(["u:4:3 key-misplaced", "u:7:3 key-misplaced"]);
    expect(faults).toEqual([]);
  });

  test("reads rules beside externalRegistries", () => {
    const text = stylus("externalRegistries: {}\nregistryMappingRules: {a.io: b.io}\n");
    expect(read(text)).toMatchObject({
      rules: ["a.io > b.io"],
      warnings: ["u:4:25 key-misplaced"],
      faults: [],
    });
  });

  test.each([
    [
      "beside each other",
      "registryCredentials: {domain: a.io}\nexternalRegistries:\n  registries: [{domain: b.io}]\n",
    ],
    [
      "with rules alone",
      "registryCredentials: {domain: a.io}\nexternalRegistries:\n  registryMappingRules: {b.io: a.io}\n",
    ],
  ])("refuses both kinds of external registry %s", (_, text) => {
    expect(read(stylus(text)).faults).toEqual(["u:5:5 external-registry-twice"]);
  });

  test("refuses one kind in two places", () => {
    const text = `${stylus("registryCredentials: {domain: a.io}\n")}registryCredentials: {domain: b.io}\n`;
    expect(read(text).faults).toEqual(["u:4:22 external-registry-twice"]);
  });

  test.each([
    [
      "registryCredentials",
      "registryCredentials: {domain: '', username: '', password: '', insecure: false}\nexternalRegistries:\n  registries: [{domain: b.io}]\n",
      ["externalRegistries[0] b.io"],
    ],
    [
      "externalRegistries",
      "registryCredentials: {domain: a.io}\nexternalRegistries: {registries: [], registryMappingRules: {}}\n",
      ["registryCredentials a.io"],
    ],
    [
      "an entry",
      "externalRegistries:\n  registries: [{domain: '', insecure: false}, {domain: b.io}]\n",
      ["externalRegistries[1] b.io"],
    ],
    ["everything", "registryCredentials:\nexternalRegistries:\nsite:\nimageRedirectWebhook:\n", []],
  ])("passes over %s that a template left blank", (_, text, externals) => {
    expect(read(stylus(text))).toMatchObject({ externals, faults: [], warnings: [] });
  });

  test.each([
    ["a mapping for the list", "registries: {domain: a.io}\n", "u:4:17 value-wrong-shape"],
    ["a text for an entry", "registries: [a.io]\n", "u:4:18 value-wrong-shape"],
    ["a rule without a target", "registryMappingRules: {a.io: }\n", "u:4:34 mapping-rule-invalid"],
    [
      "a rule with a tag",
      "registryMappingRules: {a.io/b:1: c.io}\n",
      "u:4:28 mapping-rule-invalid",
    ],
    [
      "a rule with a wildcard",
      "registryMappingRules: {'*.io': c.io}\n",
      "u:4:28 mapping-rule-invalid",
    ],
    ["a rule for nothing", "registryMappingRules: {'': c.io}\n", "u:4:28 mapping-rule-invalid"],
    [
      "a rule written twice",
      "registryMappingRules: {a.io: c.io, a.io: d.io}\n",
      "u:4:40 key-duplicate",
    ],
  ])("refuses %s", (_, text, expected) => {
    expect(read(stylus(`externalRegistries:\n${indent(text, 2)}`)).faults).toEqual([expected]);
  });
});

describe("readUserData() and the rest", () => {
  test("reads proxies, trusted certificates and the switch of redirection", () => {
    const { userData, faults } = read(
      stylus(
        "site:\n  network:\n    httpProxy: http://user:hunter2@proxy:3128\n    noProxy: 10.0.0.0/8,.local\nimageRedirectWebhook:\n  enable: false\n",
      ),
    );
    expect(userData.proxy).toEqual({
      httpProxy: "http://user:hunter2@proxy:3128",
      noProxy: "10.0.0.0/8,.local",
    });
    expect(userData.redirectOffAt).toMatchObject({ path: "stylus.imageRedirectWebhook.enable" });
    expect(faults).toEqual([]);
  });

  test.each([
    ["registryCredential: {domain: a.io}", "u:3:3"],
    ["externalRegistry: {registries: []}", "u:3:3"],
    ["externalRegistries: {registry: [{domain: a.io}]}", "u:3:24"],
    ["registryCredentials: {domain: a.io, usrname: u}", "u:3:39"],
    ["registryCredentials: {domain: a.io, caFile: u}", "u:3:39"],
    ["site: {netwrok: {httpProxy: x}}", "u:3:10"],
    ["site: {network: {http_proxy: x}}", "u:3:20"],
    ["imageRedirectWebhook: {enabled: false}", "u:3:26"],
  ])("warns of what is lost by a misspelt key: %s", (text, place) => {
    expect(read(stylus(`${text}\n`)).warnings).toEqual([`${place} key-unknown`]);
  });

  test("warns of a misspelt stylus, and says nothing of other keys of cloud-init", () => {
    const text = "#cloud-config\nstages: {boot: []}\ninstall: {}\nstylsu: {}\n";
    expect(read(text).warnings).toEqual(["u:4:1 key-unknown"]);
  });

  test.each([
    ["#cloud-config\n", []],
    ["#cloud-config", []],
    ["#cloud-config\r\nstylus: {}\r\n", []],
    ["\uFEFF#cloud-config\nstylus: {}\n", []],
    ["## template: jinja\n#cloud-config\n", []],
    ["", ["u:1:1 cloud-config-missing"]],
    ["stylus: {}\n#cloud-config\n", ["u:1:1 cloud-config-missing"]],
    ["#cloud-configs\n", ["u:1:1 cloud-config-missing"]],
    [`${"\n".repeat(50_000)}x: 1\n`, ["u:1:1 cloud-config-missing"]],
    ["#cloud-config\nstylus: {}\n---\nstylus: {}\n", ["u:4:1 document-ignored"]],
  ])("looks for the first line that the host wants: %j", (text, warnings) => {
    expect(read(text).warnings).toEqual(warnings);
  });

  test.each([
    ["- a\n", "u:2:1"],
    ["stylus: [a]\n", "u:2:9"],
    ["stylus: {site: text}\n", "u:2:16"],
    ["stylus: {site: {network: [1]}}\n", "u:2:26"],
    ["stylus: {imageRedirectWebhook: true}\n", "u:2:32"],
  ])("refuses what has the wrong shape: %j", (text, place) => {
    expect(read(`#cloud-config\n${text}`).faults).toEqual([`${place} value-wrong-shape`]);
  });
});

describe("readUserData() survives", () => {
  const leaf = fc.constantFrom<unknown>(
    ...["a.io", "a.io/b:1", "", "***", "c2VjcmV0", "true", "{{ .x }}", true, 7, null, [], {}],
  );
  const key = fc.constantFrom(
    ...["stylus", "registryCredentials", "externalRegistries", "registries", "site", "network"],
    ...["registryMappingRules", "domain", "username", "password", "encodedPassword", "insecure"],
    ...["certificates", "caCerts", "httpProxy", "imageRedirectWebhook", "enable", "a.io", "<<"],
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      leaf,
      fc.dictionary(key, tie("tree"), { maxKeys: 4 }),
      fc.array(tie("tree"), { maxLength: 2 }),
    ),
  }));

  test("every shape", () => {
    fc.assert(
      fc.property(tree, (value) => {
        const { userData } = read(JSON.stringify({ stylus: value }));
        expect(userData.externals.every(({ location }) => location.domain !== "")).toBe(true);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("every damage to a real file", () => {
    const real = single("username: edge\npassword: c2VjcmV0\nencodedPassword: true\n");
    const damage = fc.tuple(
      fc.nat(real.length),
      fc.nat(9),
      fc.constantFrom("", "\t", ":", "- ", "&a *a", "'", "\n", "{"),
    );
    fc.assert(
      fc.property(damage, ([at, length, text]) => {
        const { userData } = read(`${real.slice(0, at)}${text}${real.slice(at + length)}`);
        expect(userData.externals.length).toBeLessThan(2);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
