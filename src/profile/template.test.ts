import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { callFunction, isTemplate, parseTemplate } from "./template.ts";

/** The parts of a template in short: texts as they are, expressions as Lisp. */
function parts(template: string): unknown {
  const parsed = parseTemplate(template);
  if (!("length" in parsed)) return `${parsed.code}@${parsed.offset}`;
  return parsed.flatMap((part) => {
    if (part.kind === "expression") return [short(part.expression)];
    return part.text === "" ? [] : [part.text];
  });
}

type Expression = Extract<
  Extract<ReturnType<typeof parseTemplate>, readonly unknown[]>[number],
  { kind: "expression" }
>["expression"];

function short(expression: Expression): string {
  if (expression.kind === "path") return `<${expression.path}>`;
  if (expression.kind === "literal") return `<${JSON.stringify(expression.value)}>`;
  return `<${[expression.name, ...expression.args.map(short)].join(" ")}>`;
}

describe("isTemplate()", () => {
  test("tells by the braces", () => {
    expect(isTemplate("a{{ .x }}")).toBe(true);
    expect(isTemplate("a{ .x }")).toBe(false);
  });
});

describe("parseTemplate()", () => {
  test.each<[string, unknown]>([
    ["plain", ["plain"]],
    ["{{.spectro.var.x}}", ["<.spectro.var.x>"]],
    ["a/{{ .x }}:{{ .y }}b", ["a/", "<.x>", ":", "<.y>", "b"]],
    ["{{ .pack.edge-native-byoi.a }}", ["<.pack.edge-native-byoi.a>"]],
    ['{{ .x | default "y" }}', ['<default <"y"> <.x>>']],
    ["{{ .x|upper|trunc 3 }}", ["<trunc <3> <upper <.x>>>"]],
    ['{{ default "y" .x }}', ['<default <"y"> <.x>>']],
    ["{{ upper (lower .x) }}", ["<upper <lower <.x>>>"]],
    ["{{ .x | substr -1 4 }}", ["<substr <-1> <4> <.x>>"]],
    ['{{ .x | default "}}" }}', ['<default <"}}"> <.x>>']],
    ["{{ .x | default `a\\b` }}", ['<default <"a\\\\b"> <.x>>']],
    ['{{ "\\"\\n\\t\\\\\\x41\\u00e9\\U0001F600\\101" }}', ['<"\\"\\n\\t\\\\Aé😀A">']],
    ["a \n {{- .x -}} \n b", ["a", "<.x>", "b"]],
    ["a {{ .x -}} b", ["a ", "<.x>", "b"]],
    ["{{ .x\n| upper }}", ["<upper <.x>>"]],
  ])("reads %j", (template, expected) => {
    expect(parts(template)).toEqual(expected);
  });

  test.each([
    ["a {{ .x", 2],
    ['a {{ "x }}', 5],
    ["{{}}", 2],
    ["{{ | upper }}", 3],
    ["{{ .x | }}", 8],
    ["{{ .x | .y }}", 8],
    ["{{ .x .y }}", 6],
    ["{{ (.x }}", 3],
    ["{{ .x) }}", 5],
    ["{{ 1.5 }}", 3],
    ["{{-.x }}", 2],
    ["{{ $x }}", 3],
    ['{{ "\\q" }}', 3],
    ["{{/* comment */}}", 2],
    [`{{ ${"(".repeat(17)}.x }}`, 2],
  ])("says where %j is wrong", (template, offset) => {
    expect(parts(template)).toBe(`template-syntax@${offset}`);
  });
});

describe("callFunction() does as Go and sprig do", () => {
  test.each<[string, readonly string[], string]>([
    ["default", ["x", ""], "x"],
    ["default", ["x", "y"], "y"],
    ["default", ["x"], "x"],
    ["upper", ["v1.2-b"], "V1.2-B"],
    ["lower", ["V1.2-B"], "v1.2-b"],
    ["trim", [" \t a b \n"], "a b"],
    ["quote", ["a"], '"a"'],
    ["quote", ['a"b', "c"], '"a\\"b" "c"'],
    ["replace", ["-", "_", "a-b-c"], "a_b_c"],
    ["replace", ["a", "$&", "banana"], "b$&n$&n$&"],
    ["replace", ["", "-", "ab"], "-a-b-"],
    ["substr", ["0", "4", "1.32.1"], "1.32"],
    ["substr", ["0", "99", "abc"], "abc"],
    ["substr", ["1", "-1", "abc"], "bc"],
    ["substr", ["-1", "2", "abc"], "ab"],
    ["substr", ["2", "2", "abc"], ""],
    ["trunc", ["3", "abcdef"], "abc"],
    ["trunc", ["-3", "abcdef"], "def"],
    ["trunc", ["9", "abc"], "abc"],
    ["trunc", ["-9", "abc"], "abc"],
    ["trunc", ["0", "abc"], ""],
  ])("%s %j", (name, args, expected) => {
    expect(callFunction(name, args, 0)).toBe(expected);
  });

  test.each<[string, readonly string[]]>([
    ["default", []],
    ["upper", []],
    ["upper", ["a", "b"]],
    ["replace", ["a", "b"]],
    ["substr", ["2", "1", "abc"]],
    ["substr", ["4", "-1", "abc"]],
    ["substr", ["-1", "4", "abc"]],
    ["substr", ["x", "4", "abc"]],
    ["trunc", ["", "abc"]],
    ["trunc", ["1e1", "abc"]],
  ])("%s refuses %j", (name, args) => {
    expect(callFunction(name, args, 7)).toMatchObject({ code: "template-syntax", offset: 7 });
  });

  test.each(["constructor", "toString", "__proto__", "env", "Default"])(
    "there is no function %s",
    (name) => {
      expect(callFunction(name, ["a"], 3)).toMatchObject({
        code: "template-function-unknown",
        offset: 3,
      });
    },
  );

  test("a misspelt function is told with the right one", () => {
    expect(callFunction("defualt", ["a"], 0)).toMatchObject({ remedy: 'Did you mean "default"?' });
  });
});

describe("the template language", () => {
  test("survives every text: parts, or a problem at an offset in it", () => {
    const piece = fc.constantFrom(
      ...["{{", "}}", "{{-", "-}}", " ", "\n", ".x", ".spectro.var.a-b", "|", "(", ")", '"', "`"],
      ...["\\", "default", "upper", "7", "-", "/*", "é", "😀", "$", ".", "{", "}", "\\u12"],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const template = pieces.join("");
        const parsed = parseTemplate(template);
        if ("length" in parsed) return;
        expect(parsed.offset).toBeGreaterThanOrEqual(0);
        expect(parsed.offset).toBeLessThanOrEqual(template.length);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("leaves a text without braces as it is", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!isTemplate(text));
        expect(parseTemplate(text)).toEqual([{ kind: "text", text }]);
      }),
    );
  });
});
