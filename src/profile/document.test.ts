import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { type Node, parseDocuments } from "./document.ts";
import { fileSource } from "./text-source.ts";

function read(text: string): { root: Node; roots: readonly Node[]; faults: readonly string[] } {
  const findings = new Findings();
  const roots = parseDocuments(fileSource("f", text), findings);
  const [root = missing()] = roots;
  return { root, roots, faults: listed(findings.faults) };
}

function missing(): never {
  throw new Error("the sample has no document");
}

/** The texts that are shown to a person about a file. */
function messages(text: string): string {
  const findings = new Findings();
  parseDocuments(fileSource("f", text), findings);
  return findings.faults.map(({ message, remedy }) => `${message} ${remedy}`).join("\n");
}

describe("Node", () => {
  test("gives numbers and booleans as they are written", () => {
    const { root } = read("a: 1.10\nb: 007\nc: Yes\nd: 1e3\ne: 0x1F\nf: ~\n");
    const texts = ["a", "b", "c", "d", "e", "f"].map((key) => root.get(key)?.text);
    expect(texts).toEqual(["1.10", "007", "Yes", "1e3", "0x1F", undefined]);
  });

  test("understands a boolean in quotes, in capitals or as YAML 1.1 writes it, and nothing else", () => {
    const { root } = read('a: true\nb: "True"\nc: FALSE\nd: yes\ne: "off"\nf: 1\ng: y\n');
    const booleans = ["a", "b", "c", "d", "e", "f", "g"].map((key) => root.get(key)?.boolean);
    expect(booleans).toEqual([true, true, false, true, false, undefined, undefined]);
  });

  test("names its path in the document, with quotes where a key holds a dot", () => {
    const { root } = read('a:\n  - "system.uri": x\n');
    expect(root.get("a")?.items[0]?.get("system.uri")?.path).toBe('a[0]."system.uri"');
  });

  test("has the place of its key when it is empty", () => {
    const { root } = read("a:\n  b:\n  c: 1\n");
    expect(root.at("a", "b")?.place).toMatchObject({ line: 2, column: 5, path: "a.b" });
  });

  test("takes the last of keys that are written twice, as everybody does", () => {
    expect(read("a: 1\na: 2\n").root.get("a")?.text).toBe("2");
  });

  test("merges mappings in, and lets own keys win", () => {
    const { root } = read("x: &x {a: 1, b: 2}\ny: &y {c: 3}\nz:\n  <<: [*x, *y]\n  a: own\n");
    expect(root.get("z")?.entries.map(({ key, value }) => `${key}=${value.text}`)).toEqual([
      "a=own",
      "b=2",
      "c=3",
    ]);
    expect(root.at("z", "b")?.place).toMatchObject({ line: 1, column: 17 });
  });

  test("follows aliases to what they stand for, with its place", () => {
    const { root } = read("a: &x\n  image: i\nb: [*x]\n");
    expect(root.get("b")?.items[0]?.get("image")?.text).toBe("i");
    expect(root.get("b")?.items[0]?.get("image")?.place).toMatchObject({ line: 2, column: 10 });
  });
});

describe("parseDocuments() and templates", () => {
  test("reads expressions without quotes, whatever is in them", () => {
    const { root, faults } = read(
      'a: {{ .spectro.var.x }}\nb: {{.x | default "c: d # [e], f"}}/g:1\n{{ .k }}: v\nd: [{{ .a }}, {{ .b }}]\n',
    );
    expect(faults).toEqual([]);
    expect(root.get("a")?.text).toBe("{{ .spectro.var.x }}");
    expect(root.get("b")?.text).toBe('{{.x | default "c: d # [e], f"}}/g:1');
    expect(root.get("{{ .k }}")?.text).toBe("v");
    expect(root.get("d")?.items.map(({ text }) => text)).toEqual(["{{ .a }}", "{{ .b }}"]);
  });

  test("leaves them alone in every kind of string", () => {
    const { root } = read(
      'a: \'{{ .x | default "y" }}\'\nb: "{{ .x | default \\"y\\" }}"\nc: |\n  {{ .x }}: {\nd: >-\n  {{ .x | default `y` }}\n',
    );
    const texts = ["a", "b", "c", "d"].map((key) => root.get(key)?.text);
    expect(texts).toEqual([
      '{{ .x | default "y" }}',
      '{{ .x | default "y" }}',
      "{{ .x }}: {\n",
      "{{ .x | default `y` }}",
    ]);
  });

  test("does not take nested flow mappings for expressions", () => {
    expect(read('{"a": {"b": {"c": 1}}}').root.at("a", "b", "c")?.text).toBe("1");
  });
});

describe("parseDocuments() and faults", () => {
  test.each([
    ["a key written twice", "a: 1\nb: 2\na: 3\n", ["f:3:1 key-duplicate"]],
    ["a key written twice in JSON", '{"a": {"b": 1,\n "b": 2}}', ["f:2:2 key-duplicate"]],
    [
      "a key written three times",
      "a: 1\na: 2\na: 3\n",
      ["f:2:1 key-duplicate", "f:3:1 key-duplicate"],
    ],
    ["the same key in different mappings", "a: {x: 1}\nb: [{x: 1}, {x: 2}]\n", []],
    ["two merges", "a: &a {}\nb:\n  <<: *a\n  <<: *a\n", []],
    ["broken syntax", "a: 1\nb: 'x\n", ["f:2:4 yaml-broken"]],
    ["a tab that indents", "a:\n\tb: 1\n", ["f:2:1 yaml-broken"]],
    ["an alias of nothing", "a: *nothing\n", ["f:1:4 alias-unknown"]],
    ["an alias before its anchor", "a: *x\nb: &x 1\n", ["f:1:4 alias-unknown"]],
    ["an alias inside of what it names", "a: &x\n  b: *x\n", ["f:2:6 alias-unknown"]],
    ["a merge of a mapping into itself", "a: &x\n  <<: *x\n  b: 1\n", ["f:2:7 alias-unknown"]],
  ])("finds %s", (_, text, expected) => {
    expect(read(text).faults).toEqual(expected);
  });

  test("tells at most five faults of syntax, for the rest follow from the first", () => {
    expect(
      read("a: @\n\n".repeat(100)).faults.filter((fault) => fault.endsWith("broken")),
    ).toHaveLength(5);
  });

  test("reads what it can of a broken document", () => {
    expect(read("a: 1\nb: @x\nc: 3\n").root.get("c")?.text).toBe("3");
  });

  test("asks whether a duplicate matters, naming its path", () => {
    const findings = new Findings();
    const asked: string[] = [];
    parseDocuments(fileSource("f", "a:\n  - b: 1\n    b: 2\n"), findings, (path) => {
      asked.push(path.join("/"));
      return "warning";
    });
    expect(asked).toEqual(["a/[0]/b"]);
    expect(listed(findings.warnings)).toEqual(["f:3:5 key-duplicate"]);
    expect(findings.warnings[0]?.path).toBe("a[0].b");
    expect(findings.faults).toEqual([]);
  });

  test.each([
    ["an escape", 'password: "\\Uhunter2 and more"\n'],
    ["a block header", "password: |hunter2\n  x\n"],
    ["an alias", "password: *hunter2\n"],
    ["a tag", "password: !hunter2! x\n"],
    ["a tag's handle", "password: !x!hunter2 x\n"],
    ["a reserved character", "password: @hunter2\n"],
    ["a quote that never ends", "password: 'hunter2\n"],
    ["what is left over", "password: 'x'hunter2\n"],
    ["a mapping in a line", "password: hunter2: x\n"],
    ["a flow mapping", "password: {hunter2\n"],
  ])("quotes nothing that could be a password from %s", (_, text) => {
    expect(messages(text)).not.toBe("");
    expect(messages(text)).not.toMatch(/hunter|unter2/);
  });
});

describe("parseDocuments() and attacks", () => {
  /** Nine anchors, each a list of ten of the one before: a billion values in 400 bytes. */
  function bomb(): string {
    const names = [..."abcdefghi"];
    const lists = names.slice(1).map((name, i) => {
      return `${name}: &${name} [${Array(10).fill(`*${names[i]}`).join(", ")}]`;
    });
    return `a: &a [${Array(10).fill("x").join(", ")}]\n${lists.join("\n")}\n`;
  }

  test("refuses aliases that multiply themselves", () => {
    const findings = new Findings();
    expect(parseDocuments(fileSource("f", bomb()), findings)).toEqual([]);
    expect(findings.faults.map(({ message }) => message)).toEqual([
      "Cannot read the document: its aliases make it too large",
    ]);
  });

  test("allows a large document that happens to hold an alias", () => {
    const list = Array(100_001).fill("1").join(",");
    expect(read(`a: [${list}]\nb: &x c\nd: *x\n`).faults).toEqual([]);
  });

  test.each([
    ["lists", "[".repeat(100_000)],
    ["mappings", '{"a":'.repeat(100_000)],
    ["block lists", `${"- ".repeat(100_000)}a`],
    ["complex keys", `${"? ".repeat(100_000)}a`],
  ])("says so when %s nest 100,000 deep", (_, text) => {
    expect(messages(text)).toStartWith("Cannot read the document: it is nested too deeply");
  });

  test.each([
    ["blank lines", "\n".repeat(100_000)],
    ["documents", "---\n".repeat(10_000)],
    ["quotes", "'".repeat(50_001)],
    ["escapes", `"${"\\".repeat(50_001)}`],
    ["tags", "!".repeat(50_000)],
    ["anchors", "&a ".repeat(20_000)],
    ["braces", "{{}}".repeat(20_000)],
    ["open braces", "{{".repeat(2_000)],
  ])("ends for %s without number", (_, text) => {
    expect(() => parseDocuments(fileSource("f", text), new Findings())).not.toThrow();
  });

  /** Visits all that can be asked of a node. */
  function visit(node: Node): number {
    const children = [...node.items, ...node.entries.map(({ value }) => value)];
    node.placeWithin(node.text?.length ?? 0);
    return children.reduce((sum, child) => sum + visit(child), node.place.line);
  }

  test("survives every text, and every node of it can be asked for everything", () => {
    const piece = fc.constantFrom(
      ..."abc:-?[]{}&*!|>'\"%@`#, \t\n\n\\~<=0",
      ...["\n  ", "\n    ", ": ", "- ", "&a ", "*a ", "<<: ", "{{ .x }}", "|-\n", "---\n", "!!x "],
      ...["\r\n", "\u{1F600}", "\uFDD0", "\uFEFF", "\u2028", "\0", '"\\u00', "null", "'a'", "? "],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const roots = parseDocuments(fileSource("f", pieces.join("")), new Findings());
        expect(roots.every((root) => visit(root) > 0)).toBe(true);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
