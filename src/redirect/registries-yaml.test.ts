import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { parse } from "yaml";
import { Findings, Secret } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import type { Endpoint, Mirror } from "./endpoint.ts";
import { removeMarked } from "./marked.ts";
import { mergeRegistriesYaml } from "./registries-yaml.ts";

// Ten thousand files are merged and parsed several times each.
setDefaultTimeout(600_000);

const EMBEDDED: Endpoint = {
  ...{ role: "embedded", origin: "http://127.0.0.1:5055", prefix: "", skipVerify: false },
};
const LOCAL: Endpoint = {
  ...{ role: "local", origin: "https://10.0.0.5:30003", prefix: "spectro-images/quay.io" },
  skipVerify: false,
  credential: { username: "robot$site", password: new Secret('p: "#') },
  authority: { name: "local-ca.pem", pem: "PEM\n" },
};
const MIRRORS: readonly Mirror[] = [
  { host: "docker.io", endpoints: [EMBEDDED], rewrites: [] },
  { host: "quay.io", endpoints: [LOCAL, EMBEDDED], rewrites: [] },
  { host: "reg.example:5000", endpoints: [EMBEDDED], rewrites: [] },
];
const QUAY = ["https://10.0.0.5:30003/v2/spectro-images/quay.io", "http://127.0.0.1:5055"];

function merge(text: string | undefined, mirrors = MIRRORS) {
  const findings = new Findings();
  const authorityPath = (name: string) => `/etc/rancher/k3s/drayage/${name}`;
  const context = { file: "registries.yaml", authorityPath };
  const merged = mergeRegistriesYaml(text, mirrors, context, findings);
  return { merged: merged ?? "", isRefused: merged === undefined, findings };
}

describe("mergeRegistriesYaml()", () => {
  test("a byte order mark stays the first thing of a file", () => {
    const text = "\ufeffmirrors:\n  docker.io:\n    endpoint:\n      - https://x\n";
    const { merged, findings } = merge(text);
    expect(findings.faults).toEqual([]);
    expect(merged.lastIndexOf("\ufeff")).toBe(0);
    expect(parse(merged.slice(1)).mirrors["docker.io"].endpoint).toEqual([
      "http://127.0.0.1:5055",
      "https://x",
    ]);
    expect(removeMarked(merged, "f", new Findings())).toBe(text);
  });

  test.each([
    ["merge keys", "d: &d\n  endpoint: [https://x]\nmirrors:\n  docker.io:\n    <<: *d\n"],
    ["a document that is ended", "configs: {}\n...\n"],
  ])("%s are refused rather than overruled", (_, text) => {
    const { isRefused, findings } = merge(text);
    expect(isRefused).toBe(true);
    expect(findings.faults.map(({ code }) => code)).toEqual(["redirect-unmergeable"]);
  });

  test("a fault names the place of the alias, or of the section that can't be merged into", () => {
    const placeOf = (text: string) => {
      const { line, column } = merge(text).findings.faults[0] ?? {};
      return [line, column];
    };
    expect(placeOf("a: 1\nmirrors:\n  quay.io:\n    endpoint: [*none]\n")).toEqual([4, 16]);
    expect(placeOf("a: 1\nmirrors: {}\n...\n")).toEqual([2, 1]);
  });

  // k3s 1.29.2 made two tables of them, and containerd refused the file (k3s-io/k3s#9693).
  test.each([
    "127.0.0.1:5055",
    "http://127.0.0.1:5055/",
    "http://127.0.0.1:5055/v2",
    '"http://127.0.0.1:5055//"',
  ])("an endpoint that is there in other words, %s, is not added again", (theirs) => {
    const { merged, findings } = merge(`mirrors:\n  docker.io:\n    endpoint: [${theirs}]\n`);
    expect(findings.warnings).toMatchObject([
      { code: "redirect-already-there", line: 3, column: 15 },
    ]);
    expect(parse(merged).mirrors["docker.io"].endpoint).toEqual([
      JSON.parse(`"${theirs.replaceAll('"', "")}"`),
    ]);
    const wild = merge(`mirrors:\n  "*":\n    endpoint: [${theirs}, https://x]\n`).merged;
    expect(parse(wild).mirrors["docker.io"].endpoint).toEqual([
      "http://127.0.0.1:5055",
      "https://x",
    ]);
  });

  test("aliases without end are a fault and no crash", () => {
    const nine = (name: string) => Array(9).fill(`*${name}`).join(",");
    const levels = ["b", "c", "d", "e"].map(
      (name, i) => `${name}: &${name} [${nine("abcd"[i] ?? "")}]`,
    );
    const { isRefused, findings } = merge(`a: &a [x]\n${levels.join("\n")}\n`);
    expect(isRefused).toBe(true);
    expect(findings.faults.map(({ code }) => code)).toEqual(["yaml-invalid"]);
  });

  test("a new file has a mirror for each host, and a config for each registry with a login", () => {
    expect(parse(merge(undefined).merged)).toEqual({
      mirrors: {
        "docker.io": { endpoint: ["http://127.0.0.1:5055"] },
        "quay.io": { endpoint: QUAY },
        "reg.example:5000": { endpoint: ["http://127.0.0.1:5055"] },
      },
      configs: {
        "10.0.0.5:30003": {
          auth: { username: "robot$site", password: 'p: "#' },
          tls: { ca_file: "/etc/rancher/k3s/drayage/local-ca.pem" },
        },
      },
    });
  });

  test.each([
    ["a list", 'mirrors:\n  quay.io:\n    endpoint:\n      # lab\n      - "https://lab"\n'],
    ["a list without indentation", "mirrors:\n  quay.io:\n    endpoint:\n    - https://lab\n"],
    ["a list in brackets", 'mirrors:\n  quay.io:\n    endpoint: ["https://lab"]\n'],
    ["a mapping in braces", "mirrors: {quay.io: {endpoint: [https://lab]}}\n"],
    ["JSON", '{"mirrors":{"quay.io":{"endpoint":["https://lab"]}}}'],
    ["no line end", "mirrors:\n  quay.io:\n    endpoint:\n    - https://lab"],
    ["an indented root", "  mirrors:\n    quay.io:\n      endpoint:\n      - https://lab\n"],
    ["a tail", "mirrors:\n  quay.io:\n    endpoint:\n    - https://lab\nconfigs:\n"],
  ])("ours come before the endpoints of a person, in %s", (_, text) => {
    const { merged, findings } = merge(text);
    expect(findings.faults).toEqual([]);
    expect(parse(merged).mirrors["quay.io"].endpoint).toEqual([...QUAY, "https://lab"]);
    expect(removeMarked(merged, "f", new Findings())).toBe(text);
    expect(merge(merged).merged).toBe(merged);
  });

  test("an entry for a host hides *, so the endpoints of that are said again", () => {
    const { merged } = merge('mirrors:\n  "*":\n    endpoint: ["https://lab"]\n');
    expect(parse(merged).mirrors["quay.io"].endpoint).toEqual([...QUAY, "https://lab"]);
    expect(parse(merged).mirrors["*"].endpoint).toEqual(["https://lab"]);
  });

  test.each([
    ["quay.io", 3],
    ['"*"', 3],
  ])("a rewrite of %s would hold for ours too: a fault at its place", (host, line) => {
    const { isRefused, findings } = merge(`mirrors:\n  ${host}:\n    rewrite: {a: b}\n`);
    expect(isRefused).toBe(true);
    expect(findings.faults[0]).toMatchObject({ code: "redirect-rewrite-clash", line });
  });

  test("an entry for a host hides the config of *, so whom that trusts is said again, and no login", () => {
    const wildcard = "  '*': {tls: {ca_file: /proxy.pem}, auth: {username: me, password: p}}\n";
    const { configs } = parse(merge(`configs:\n${wildcard}`).merged);
    const tls = { ca_file: "/proxy.pem" };
    expect(configs).toMatchObject({ "docker.io": { tls }, "quay.io": { tls } });
    expect(configs["docker.io"].auth).toBeUndefined();
    const theirs = "mirrors:\n  docker.io: {endpoint: []}\nconfigs:\n  quay.io: {}\n";
    const { merged, findings } = merge(theirs + wildcard);
    const kept = parse(merged).configs;
    expect([kept["docker.io"], kept["quay.io"], kept["reg.example:5000"]]).toEqual([
      ...[undefined, {}, { tls }],
    ]);
    expect(findings.warnings).toEqual([]);
  });

  test("a config that a person has already stays theirs, and is told of", () => {
    const text = 'configs:\n  "10.0.0.5:30003": {auth: {username: me}}\n';
    const { merged, findings } = merge(text);
    expect(parse(merged).configs["10.0.0.5:30003"]).toEqual({ auth: { username: "me" } });
    expect(findings.warnings).toMatchObject([{ code: "redirect-already-there", line: 2 }]);
  });

  test.each([
    ["mirrors: [\n", "yaml-invalid"],
    ["- a\n", "yaml-invalid"],
    ["mirrors: 5\n", "redirect-unmergeable"],
    ["mirrors:\n  quay.io: text\n", "redirect-unmergeable"],
    ["a: &x\n  endpoint: [https://y]\nmirrors:\n  quay.io: *x\n", "redirect-unmergeable"],
    ["mirrors: {}\n---\nmirrors: {}\n", "yaml-invalid"],
    // What is set into the list of one host would be in that of the other as well.
    [
      "mirrors:\n  quay.io:\n    endpoint: &e\n    - https://y\n  b.io: {endpoint: *e}\n",
      "redirect-unmergeable",
    ],
    ["x: *none\nmirrors: {}\n", "yaml-invalid"],
    ["x: &x [*x]\nmirrors: {}\n", "yaml-invalid"],
    ["x: &x [&x y, *x, *z]\nmirrors: {}\n", "yaml-invalid"],
    // Nor may it be in what k3s does not read, and a person or another program may.
    ["mirrors: &m\n  quay.io: {endpoint: [https://y]}\nnotes: *m\n", "redirect-unmergeable"],
    ["mirrors:\n  quay.io: &q\n    endpoint: []\n  b.io: {notes: *q}\n", "redirect-unmergeable"],
  ])("%j is a fault, and nothing is given", (text, code) => {
    const { isRefused, findings } = merge(text);
    expect(isRefused).toBe(true);
    expect(findings.faults[0]?.code).toBe(code);
    expect(findings.faults[0]?.line).toBeGreaterThan(0);
  });
});

describe("what a person wrote", () => {
  const note = fc.constantFrom("", "# note", "    # deep note", "");
  const list = fc.constantFrom(
    ...["endpoint:\n      - https://lab", 'endpoint: ["https://lab"]', "endpoint: [ https://a,"],
    ...["endpoint:", "endpoint: []", "endpoint:\n    - https://lab # one\n    - https://b"],
  );
  const entry = fc
    .tuple(fc.constantFrom("docker.io", "quay.io", '"reg.example:5000"', "other.io"), note, list)
    .map(([host, above, body]) => ({
      host,
      text: `${above}\n  ${host}:\n    ${body.endsWith(",") ? `${body}\n      https://b]` : body}`,
    }));
  const section = fc
    .uniqueArray(entry, { selector: ({ host }) => host, maxLength: 3 })
    .map((entries) => `mirrors:${entries.map(({ text }) => `\n${text}`).join("")}`);
  const flow = fc.constantFrom("mirrors: {}", 'mirrors: {"quay.io": {endpoint: [https://lab]}}');
  const configs = fc.constantFrom("", "configs:", "configs: {}", "configs:\n  lab: {auth: {}}");
  const texts = fc
    .tuple(fc.array(fc.oneof(section, flow, configs), { maxLength: 1 }), configs, note)
    .chain(([first, second, last]) =>
      fc.tuple(fc.constant([...first, second, last]), fc.constantFrom("\n", "\r\n"), fc.boolean()),
    )
    .map(([parts, eol, ends]) => parts.join("\n").replaceAll("\n", eol) + (ends ? eol : ""));

  test("is there again when ours is removed, is merged into once, and means what it meant", () => {
    let merges = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const { merged, isRefused } = merge(text);
        if (isRefused) return;
        merges += 1;
        expect(removeMarked(merged, "f", new Findings())).toBe(text);
        expect(merge(merged).merged).toBe(merged);
        const [before, after] = [parse(text) ?? {}, parse(merged)];
        for (const [host, mirror] of Object.entries(before.mirrors ?? {})) {
          const endpoint = (mirror as { endpoint?: string[] } | null)?.endpoint ?? [];
          const tail = after.mirrors[host]?.endpoint?.slice(-endpoint.length || Infinity) ?? [];
          expect(tail).toEqual(endpoint);
        }
        expect(after.mirrors["quay.io"].endpoint.slice(0, 2)).toEqual(QUAY);
        expect(after.configs).toMatchObject(before.configs ?? {});
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(merges).toBeGreaterThan(FUZZ_RUNS / 2);
  });
});
