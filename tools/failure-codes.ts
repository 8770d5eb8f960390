import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./step.ts";

/** A code that a failure or a finding can have, and the files of `src/` that give it. */
export interface FailureCode {
  readonly code: string;
  readonly files: readonly string[];
}

const CODE = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)+$/;

/**
 * Every code in the source: what stands at `code:` of a failure, as the second argument of `fault(` and
 * `warn(`, and what is given to a parameter that is called `code`. Found in the text, without types, so
 * a code has to be written out where it is given, or in a constant of the same file.
 */
export function failureCodes(): readonly FailureCode[] {
  const files = new Map<string, Set<string>>();
  const source = join(ROOT, "src");
  for (const name of readdirSync(source, { recursive: true, encoding: "utf8" }).sort()) {
    if (!name.endsWith(".ts") || name.endsWith(".test.ts") || name.endsWith(".d.ts")) continue;
    for (const code of codesOf(readFileSync(join(source, name), "utf8"))) {
      files.set(code, (files.get(code) ?? new Set()).add(name));
    }
  }
  return [...files]
    .map(([code, names]) => ({ code, files: [...names] }))
    .sort((a, b) => (a.code < b.code ? -1 : 1));
}

/** The codes in the text of one file. */
export function codesOf(text: string): readonly string[] {
  const found = [
    ...[...text.matchAll(/\bcode:\s/g)].map(({ index }) => untilEnd(text, index + 5)),
    ...[...text.matchAll(/\b(?:fault|warn)\(/g)].map(
      ({ index }) => argumentsAt(text, text.indexOf("(", index))[1] ?? "",
    ),
    ...takersOfCodes(text).flatMap(({ name, position }) =>
      [...text.matchAll(new RegExp(`(?<![\\w$.]|function )${name}\\(`, "g"))].map(
        ({ index }) => argumentsAt(text, text.indexOf("(", index))[position] ?? "",
      ),
    ),
  ];
  return [...new Set(found.flatMap((expression) => literalsOf(expression, text)))].filter((each) =>
    CODE.test(each),
  );
}

/** Functions of a file with a parameter `code`, and which one it is. */
function takersOfCodes(text: string) {
  const declared = /\b(?:function ([\w$]+)|const ([\w$]+) =(?: async)? ?)(?:<[^>]*>)?\(/g;
  return [...text.matchAll(declared)].flatMap(({ index, 0: head, 1: own, 2: arrow }) => {
    const parameters = argumentsAt(text, index + head.length - 1);
    const position = parameters.findIndex((each) => /^code\b/.test(each.trim()));
    return position < 0 ? [] : [{ name: own ?? arrow ?? "", position }];
  });
}

/** Plain strings of an expression, and those of the constants that it names; templates are filled from {@link PARTS}. */
function literalsOf(expression: string, text: string): readonly string[] {
  const named = [...expression.matchAll(/\b[A-Z][A-Z0-9_]+\b/g)].flatMap(([name]) => {
    const [, value] = new RegExp(`\\bconst ${name}(?:: [^=]+)? = ("[^"]*")`).exec(text) ?? [];
    return value === undefined ? [] : [value];
  });
  const all = [expression, ...named].join(" ");
  // What is compared with is no code: `kind === "rate-limit" ? …`.
  const plain = [...all.matchAll(/(?<![=!]==? )"([^"\\\n]*)"/g)].map(([, value = ""]) => value);
  const templates = [...all.matchAll(/`([^`]*)`/g)].flatMap(([, value = ""]) =>
    Object.entries(PARTS).flatMap(([part, values]) =>
      value.includes(part) ? values.map((each) => value.replace(part, each)) : [],
    ),
  );
  return [...plain, ...templates];
}

/** What stands for the parts of codes that are put together. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  "${what}": ["rate", "size"],
  "${state}": ["expires-soon", "expired", "refused", "unreachable"],
};

/** From an offset to the comma, bracket or brace that ends the expression there. */
function untilEnd(text: string, start: number): string {
  return walk(
    text,
    start,
    (character, depth) => depth < 0 || (depth === 0 && /[,;]/.test(character)),
  );
}

/** The arguments of the call, or parameters, whose parenthesis opens at the offset. */
function argumentsAt(text: string, open: number): readonly string[] {
  const found: string[] = [];
  let start = open + 1;
  for (;;) {
    const argument = untilEnd(text, start);
    found.push(argument);
    start += argument.length;
    if (text[start] !== ",") return found;
    start += 1;
  }
}

/** The text from an offset until something ends it; strings and templates are passed over whole. */
function walk(
  text: string,
  start: number,
  isEnd: (character: string, depth: number) => boolean,
): string {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? "";
    const [quoted] = /^(?:"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|'(?:\\.|[^'\\\n])*')/.exec(
      text.slice(at, at + 2_000),
    ) ?? [""];
    if (quoted !== "") {
      at += quoted.length - 1;
      continue;
    }
    if (/[)\]}]/.test(character)) depth -= 1;
    if (isEnd(character, depth)) return text.slice(start, at);
    if (/[([{]/.test(character)) depth += 1;
  }
  return text.slice(start);
}
