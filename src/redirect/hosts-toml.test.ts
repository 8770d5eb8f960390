import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { parse } from "smol-toml";
import { Findings, Secret } from "#base";
import { FUZZ_RUNS } from "#test-support/fuzz";
import type { Endpoint, Mirror } from "./endpoint.ts";
import { mergeHostsToml, type Replaced } from "./hosts-toml.ts";
import { removeMarked } from "./marked.ts";

// Ten thousand files are merged and parsed several times each.
setDefaultTimeout(600_000);

const EMBEDDED: Endpoint = {
  ...{ role: "embedded", origin: "http://127.0.0.1:5055", prefix: "", skipVerify: false },
};
const LOCAL: Endpoint = {
  ...{ role: "local", origin: "https://10.0.0.5:30003", prefix: "spectro-images/quay.io" },
  skipVerify: false,
  credential: { username: "robot$site", password: new Secret('pa"ss\u00e9') },
  authority: { name: "local-ca.pem", pem: "PEM\n" },
};

function mirror(host = "quay.io", endpoints: readonly Endpoint[] = [LOCAL, EMBEDDED]): Mirror {
  return { host, endpoints, rewrites: [] };
}

function merge(text: string | undefined, options: { host?: string; replaced?: Replaced } = {}) {
  const findings = new Findings();
  const authorityPath = (name: string) => `../_drayage/${name}`;
  const context = { file: "hosts.toml", authorityPath, replaced: options.replaced ?? {} };
  const merged = mergeHostsToml(text, mirror(options.host), context, findings);
  return { merged: merged ?? "", isRefused: merged === undefined, findings };
}

/** Hosts in the order in which containerd tries them. */
function order(text: string): readonly string[] {
  return [...text.matchAll(/^\s*\[host\."([^"]+)"\]/gm)].map(([, url = ""]) => url);
}

const OURS = ["https://10.0.0.5:30003/v2/spectro-images/quay.io", "http://127.0.0.1:5055"];

describe("mergeHostsToml()", () => {
  test("a file that begins with a byte order mark is refused, for containerd 2 reads nothing of it", () => {
    const text = '\ufeffserver = "https://quay.io"\n[host."https://lab"]\n';
    const { isRefused, findings } = merge(text);
    expect(isRefused).toBe(true);
    expect(findings.faults).toMatchObject([{ code: "toml-invalid", line: 1, column: 1 }]);
    expect(findings.faults[0]?.message).toContain("byte order mark");
  });

  test("a new file has the local registry, the embedded one, and the host as the last resort", () => {
    const { merged } = merge(undefined);
    expect(order(merged)).toEqual(OURS);
    expect(parse(merged)).toMatchObject({
      server: "https://quay.io",
      host: {
        [OURS[0] ?? ""]: {
          capabilities: ["pull", "resolve"],
          override_path: true,
          ca: "../_drayage/local-ca.pem",
          header: {
            Authorization: `Basic ${Buffer.from('robot$site:pa"ss\u00e9').toString("base64")}`,
          },
        },
        [OURS[1] ?? ""]: { capabilities: ["pull", "resolve"] },
      },
    });
  });

  test.each([
    ["docker.io", "https://registry-1.docker.io"],
    ["registry.example.com:5000", "https://registry.example.com:5000"],
    ["[2001:db8::1]:5000", "https://[2001:db8::1]:5000"],
    ["localhost:5000", undefined],
    ["127.0.0.1:5000", undefined],
  ])("the last resort of %s is %p", (host, server) => {
    expect(parse(merge(undefined, { host }).merged)["server"]).toEqual(server as string);
  });

  test("ours come before the tables of a person and their comment, after the keys without a table", () => {
    const theirs =
      '# file\nserver = "https://x" # y\n\nclient = [\n  ["a", "b"],\n]\n\n# lab\n[host."https://lab"]\n';
    const { merged } = merge(theirs);
    expect(order(merged)).toEqual([...OURS, "https://lab"]);
    expect(parse(merged)).toMatchObject({ server: "https://x", client: [["a", "b"]] });
    expect(merged).toContain('# END drayage\n# lab\n[host."https://lab"]');
  });

  test.each([
    'x = """\n# no comment"""',
    "x = '''\n# no comment\n# nor this'''",
    'x = [\n  "a", # b\n  # over\n]',
  ])("nothing is set into a value whose last line looks like a comment: %j", (value) => {
    const text = `${value}\n# over it\n[host."https://lab"]\n`;
    const { merged } = merge(text);
    expect(parse(merged)["x"]).toEqual(parse(text)["x"]);
    expect(merged.startsWith(`${value}\n# BEGIN`)).toBe(true);
    expect(order(merged)).toEqual([...OURS, "https://lab"]);
  });

  test("a table that a person has already stays theirs, once, and is told of", () => {
    const { merged, findings } = merge('[host."http://127.0.0.1:5055"]\n  skip_verify = true\n');
    expect(order(merged)).toEqual(OURS);
    expect(findings.warnings).toMatchObject([{ code: "redirect-already-there" }]);
  });

  test.each([
    ["broken TOML", 'server = "x"\n[host."a"\n', "toml-invalid", 2],
    ["a host that is no table", '\nhost = "x"\n', "redirect-unmergeable", 2],
    ["hosts in one line", '# x\nhost = {"https://a" = {}}\n', "redirect-unmergeable", 2],
  ])("%s is a fault with its line, and nothing is given", (_, text, code, line) => {
    const { isRefused, findings } = merge(text);
    expect(isRefused).toBe(true);
    expect(findings.faults).toMatchObject([{ code, line }]);
  });

  test("a fault quotes nothing of the file, where a password may stand", () => {
    const { findings } = merge('[host."https://a".header]\nAuthorization = "Basic hunter2\n');
    expect(JSON.stringify(findings.faults)).not.toContain("hunter2");
  });

  test("what _default says is said again in a file that hides it, its paths as seen from there", () => {
    const hostsToml =
      'server = "https://proxy"\n[host."https://lab"]\nca = "lab.pem"\nclient = [["c.pem", "/k"]]\n';
    const replaced = { fallback: { hostsToml, files: ["hosts.toml"] } };
    const { merged } = merge(undefined, { replaced });
    expect(order(merged)).toEqual([...OURS, "https://lab"]);
    expect(parse(merged)).toMatchObject({
      server: "https://proxy",
      host: {
        "https://lab": { ca: "../_default/lab.pem", client: [["../_default/c.pem", "/k"]] },
      },
    });
    expect(merge(merged, { replaced }).merged).toBe(merged);
  });

  test("certificates that containerd would take from the folder are named in a new file", () => {
    const own = { files: ["a.crt", "b.cert", "b.key", "c.cert", "notes"] };
    const fallback = { hostsToml: '[host."https://lab"]\n', files: [] };
    const { merged } = merge(undefined, { replaced: { own, fallback } });
    expect(parse(merged)).toMatchObject({
      ca: ["a.crt"],
      client: [
        ["b.cert", "b.key"],
        ["c.cert", ""],
      ],
    });
    // The folder was there, so _default held for this host no longer.
    expect(order(merged)).toEqual(OURS);
  });
});

describe("what a person wrote", () => {
  const key = fc.constantFrom("capabilities", "ca", "skip_verify", "header.X-A", '"odd key"');
  const value = fc.constantFrom(
    ...['"x"', "true", '["pull"]', '[\n  "a", # b ]\n  "c",\n]', "'''\n[notes.\"no\"]\n'''"],
    ...['"""\n# over it"""', "'''\n# a\n# b'''"],
    ...['"""\n# BEGIN\n"""', "1979-05-27T07:32:00Z", "{a = 1}", "'\\'"],
  );
  const pairs = fc
    .uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 4 })
    .map((all) => all.map(([name, text]) => `${name} = ${text}`));
  const note = fc.constantFrom<string[]>([], [""], ["# a comment [x]"], ["", "# over it"]);
  const url = fc.constantFrom("https://a", "http://b:5000/v2/x", "c.example", "https://[::1]:5000");
  const table = fc
    .tuple(note, url, pairs)
    .map(([above, host, lines]) => ({ host, lines: [...above, `[host."${host}"]`, ...lines] }));
  const texts = fc
    .tuple(
      ...[fc.constantFrom<string[]>([], ["# top"], ['server = "https://s"']), note, pairs],
      fc.uniqueArray(table, { selector: ({ host }) => host, maxLength: 3 }),
      ...[fc.constantFrom("\n", "\r\n"), fc.boolean()],
    )
    .map(([top, above, keys, tables, eol, ends]) => {
      const lines = [...(top as string[]), ...(above as string[]), ...(keys as string[])];
      const all = [...lines, ...(tables as { lines: string[] }[]).flatMap((each) => each.lines)];
      return all.join("\n").replaceAll("\n", eol as string) + (ends ? (eol as string) : "");
    });

  test("is there again when ours is removed, is merged into once, and means what it meant", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const { merged, isRefused } = merge(text);
        if (isRefused) return;
        expect(removeMarked(merged, "f", new Findings())).toBe(text);
        expect(merge(merged).merged).toBe(merged);
        const { host, ...top } = parse(text);
        const after = parse(merged);
        expect(after).toMatchObject(top);
        expect(after["host"]).toMatchObject((host ?? {}) as Record<string, never>);
        expect(order(merged).slice(0, 2)).toEqual(OURS);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("most of what is generated can be merged into", () => {
    const sample = fc.sample(texts, { numRuns: 200, seed: 1 });
    expect(sample.filter((text) => !merge(text).isRefused).length).toBeGreaterThan(150);
  });
});
