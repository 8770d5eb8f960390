import { nearest, printable } from "#base";

/**
 * Palette's templates: `{{ .spectro.pack.edge-native-byoi.options.system.uri | default "x" }}`.
 *
 * The syntax is Go's `text/template`, cut to what Palette documents: paths below `.spectro`, texts,
 * numbers, parentheses, pipes, and a few of sprig's functions. Go itself could not parse it, because
 * pack names hold dashes.
 */
export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "expression"; readonly offset: number; readonly expression: Expression };

/** An operand or a call; `offset` counts from the start of the template. */
export type Expression =
  | { readonly kind: "literal"; readonly value: string | number; readonly offset: number }
  | { readonly kind: "path"; readonly path: string; readonly offset: number }
  | {
      readonly kind: "call";
      readonly name: string;
      readonly args: readonly Expression[];
      readonly offset: number;
    };

/** What makes a template unusable, and at which offset of it. */
export interface TemplateProblem {
  readonly code: "template-syntax" | "template-function-unknown" | "template-loop";
  readonly message: string;
  readonly remedy: string;
  readonly offset: number;
}

/** How deeply parentheses may nest; real templates have none. */
const DEPTH_MAX = 16;

class SyntaxProblem extends Error {
  readonly problem: TemplateProblem;
  constructor(offset: number, found: string, expected: string) {
    super(found);
    this.problem = {
      code: "template-syntax",
      message: `Cannot read the template: ${found}, expected ${expected}`,
      remedy: 'Write it like {{ .spectro.var.name | default "value" }}',
      offset,
    };
  }
}

/** Tells whether a text holds anything to be filled in. */
export function isTemplate(text: string): boolean {
  return text.includes("{{");
}

/** Splits a template into texts and expressions. */
export function parseTemplate(template: string): readonly Part[] | TemplateProblem {
  const parts: Part[] = [];
  let at = 0;
  try {
    for (;;) {
      const open = template.indexOf("{{", at);
      if (open === -1) break;
      const close = endOfExpression(template, open + 2);
      const { start, end, trimsBefore, trimsAfter } = trimMarkers(template, open + 2, close);
      const before = template.slice(at, open);
      parts.push({ kind: "text", text: trimsBefore ? before.trimEnd() : before });
      parts.push({
        kind: "expression",
        offset: open,
        expression: parseExpression(template, start, end),
      });
      at = close + 2;
      if (trimsAfter) at += (/^\s*/.exec(template.slice(at))?.[0] ?? "").length;
    }
  } catch (error) {
    if (error instanceof SyntaxProblem) return error.problem;
    throw error;
  }
  parts.push({ kind: "text", text: template.slice(at) });
  return parts;
}

/** The offset of the closing braces, those inside quotes passed over. */
function endOfExpression(template: string, start: number): number {
  const token = /"(?:[^"\\]|\\.)*"|`[^`]*`|\}\}/gs;
  token.lastIndex = start;
  for (let match = token.exec(template); match !== null; match = token.exec(template)) {
    if (match[0] === "}}") return match.index;
  }
  throw new SyntaxProblem(start - 2, '"{{" is never closed', '"}}"');
}

function trimMarkers(template: string, start: number, end: number) {
  const trimsBefore = template[start] === "-" && /\s/.test(template[start + 1] ?? "");
  const trimsAfter = template[end - 1] === "-" && /\s/.test(template[end - 2] ?? "");
  return {
    start: start + (trimsBefore ? 1 : 0),
    end: end - (trimsAfter ? 1 : 0),
    trimsBefore,
    trimsAfter,
  };
}

interface Token {
  readonly kind: "path" | "name" | "string" | "number" | "(" | ")" | "|";
  readonly text: string;
  readonly offset: number;
}

const TOKEN =
  /\s+|(?<path>\.[^\s|(){}"`]*)|(?<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?<number>-?\d+(?![\w.]))|(?<name>[A-Za-z_]\w*)|(?<punctuation>[()|])/sy;

function tokenize(template: string, start: number, end: number): readonly Token[] {
  const tokens: Token[] = [];
  let at = start;
  while (at < end) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(template);
    if (match === null || TOKEN.lastIndex > end) {
      throw new SyntaxProblem(
        at,
        `"${template[at]}" can't stand here`,
        "a path below .spectro, a text or a pipe",
      );
    }
    const { path, string, number, name, punctuation } = match.groups ?? {};
    const token = { text: match[0], offset: at };
    if (path !== undefined) tokens.push({ kind: "path", ...token });
    else if (string !== undefined) tokens.push({ kind: "string", ...token });
    else if (number !== undefined) tokens.push({ kind: "number", ...token });
    else if (name !== undefined) tokens.push({ kind: "name", ...token });
    else if (punctuation !== undefined)
      tokens.push({ kind: punctuation as "(" | ")" | "|", ...token });
    at = TOKEN.lastIndex;
  }
  return tokens;
}

/** pipeline = command { "|" command }; a pipe hands its left side on as the last argument. */
function parseExpression(template: string, start: number, end: number): Expression {
  const tokens = tokenize(template, start, end);
  let next = 0;
  const pipeline = (depth: number): Expression => {
    if (depth > DEPTH_MAX)
      throw new SyntaxProblem(start, "it is nested too deeply", "fewer parentheses");
    let left = command(depth, undefined);
    while (tokens[next]?.kind === "|") {
      next += 1;
      left = command(depth, left);
    }
    return left;
  };
  const command = (depth: number, piped: Expression | undefined): Expression => {
    const head = tokens[next];
    if (head?.kind !== "name") {
      const value = operand(depth);
      if (piped === undefined) return value;
      throw new SyntaxProblem(
        value.offset,
        "what follows a pipe is no function",
        "a function, like default or upper",
      );
    }
    next += 1;
    const args: Expression[] = [];
    while (next < tokens.length && tokens[next]?.kind !== "|" && tokens[next]?.kind !== ")")
      args.push(operand(depth));
    return {
      kind: "call",
      name: head.text,
      args: piped === undefined ? args : [...args, piped],
      offset: head.offset,
    };
  };
  const operand = (depth: number): Expression => {
    const token = tokens[next];
    next += 1;
    switch (token?.kind) {
      case "path":
        return { kind: "path", path: token.text, offset: token.offset };
      case "string":
        return { kind: "literal", value: unquote(token), offset: token.offset };
      case "number":
        return { kind: "literal", value: Number(token.text), offset: token.offset };
      case "name":
        return { kind: "call", name: token.text, args: [], offset: token.offset };
      case "(": {
        const inner = pipeline(depth + 1);
        if (tokens[next]?.kind !== ")")
          throw new SyntaxProblem(token.offset, '"(" is never closed', '")"');
        next += 1;
        return inner;
      }
      default:
        throw new SyntaxProblem(
          token?.offset ?? end,
          "it ends too early",
          "a path below .spectro or a text",
        );
    }
  };
  const expression = pipeline(0);
  const rest = tokens[next];
  if (rest !== undefined)
    throw new SyntaxProblem(rest.offset, `"${rest.text}" is left over`, '"|" or "}}"');
  return expression;
}

const ESCAPE =
  /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-3][0-7]{2})|[\s\S])/g;
const ESCAPED: Readonly<Record<string, string>> = {
  "\\a": "\u0007",
  "\\b": "\b",
  "\\f": "\f",
  "\\n": "\n",
  "\\r": "\r",
  "\\t": "\t",
  "\\v": "\v",
  "\\\\": "\\",
  '\\"': '"',
};

/** The text of a string, raw or interpreted (Go specification, "String literals"). */
function unquote({ text, offset }: Token): string {
  const inner = text.slice(1, -1);
  if (text.startsWith("`")) return inner;
  return inner.replace(
    ESCAPE,
    (written: string, x?: string, u?: string, U?: string, o?: string) => {
      const hex = x ?? u ?? U;
      const code = Number.parseInt(hex ?? o ?? "", hex === undefined ? 8 : 16);
      const character = code <= 0x10ffff ? String.fromCodePoint(code) : ESCAPED[written];
      if (character !== undefined) return character;
      throw new SyntaxProblem(offset, `"${printable(written)}" is no escape`, "one of Go's");
    },
  );
}

type TemplateFunction = (...args: readonly string[]) => string | undefined;

/**
 * Sprig's functions that Palette documents, with sprig's order of arguments: the piped value comes
 * last. Undefined means that the arguments don't fit: where Go would slice past the end and fail.
 */
const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  default: (...[fallback, value]) => (value === undefined || value === "" ? fallback : value),
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  trim: (text) => text.trim(),
  quote: (...texts) => texts.map((text) => JSON.stringify(text)).join(" "),
  replace: (from, to, text) => text.replaceAll(from, () => to),
  substr: (start, end, text) => {
    const [from, to] = [toInteger(start), toInteger(end)];
    if (from === undefined || to === undefined) return undefined;
    const { length } = text;
    if (from < 0) return to < 0 || to > length ? undefined : text.slice(0, to);
    const last = to < 0 || to > length ? length : to;
    return from > last ? undefined : text.slice(from, last);
  },
  trunc: (count, text) => {
    const kept = toInteger(count);
    if (kept === undefined) return undefined;
    return kept < 0 ? text.slice(kept) : text.slice(0, kept);
  },
};

function toInteger(text: string): number | undefined {
  return /^-?\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Calls a function of the template language by name. */
export function callFunction(
  name: string,
  args: readonly string[],
  offset: number,
): string | TemplateProblem {
  const known = Object.keys(FUNCTIONS);
  if (!Object.hasOwn(FUNCTIONS, name)) {
    const meant = nearest(name, known);
    return {
      code: "template-function-unknown",
      message: `Cannot fill in the template: there is no function "${name}"`,
      remedy: meant === undefined ? `Use one of ${known.join(", ")}` : `Did you mean "${meant}"?`,
      offset,
    };
  }
  const apply = FUNCTIONS[name];
  const takesAny = apply?.length === 0;
  const result = takesAny || apply?.length === args.length ? apply?.(...args) : undefined;
  if (result !== undefined) return result;
  return {
    code: "template-syntax",
    message: `Cannot fill in the template: the arguments of "${name}" do not fit`,
    remedy: 'Write it as sprig does, e.g. substr 0 4, replace "-" "_", trunc 8, default "value"',
    offset,
  };
}
