import { parse, TomlError } from "smol-toml";
import type { Findings } from "#base";

/** A value of a TOML document. */
export type TomlTable = Readonly<Record<string, unknown>>;

/**
 * Parses a TOML file that a person may have written. Broken, it is a fault at its line and column. So is
 * a byte order mark: containerd 2 (go-toml 2.2, measured) reads nothing of a file that begins with one.
 */
export function parseToml(text: string, file: string, findings: Findings): TomlTable | undefined {
  if (text.startsWith("\ufeff")) {
    findings.fault(
      { file, line: 1, column: 1, path: "" },
      "toml-invalid",
      "Cannot read TOML: it begins with a byte order mark, which containerd 2 refuses",
      "Save the file as UTF-8 without the mark; nothing was changed",
    );
    return undefined;
  }
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The parser's message goes on with lines of the file, in which a password may stand.
    const [what = "it is broken"] = error.message.split("\n");
    findings.fault(
      { file, line: error.line, column: error.column, path: "" },
      "toml-invalid",
      `Cannot read TOML: ${what.replace(/^Invalid TOML document: /, "")}`,
      "Mend the file, or remove it; nothing was changed",
    );
    return undefined;
  }
}

/** A stretch of a TOML text: a table's header, or a key with its value. */
export interface TomlStatement {
  readonly kind: "header" | "pair";
  readonly start: number;
  /** After its last character, a comment behind it not included. */
  readonly end: number;
  /** Key of a header or pair, its parts unquoted. */
  readonly key: readonly string[];
  /** For a pair: where its value begins. */
  readonly valueStart: number;
}

/** Strings and comments, the parts of TOML in which brackets and line breaks mean nothing. */
const OPAQUE =
  /"""(?:[^"\\]+|\\[\s\S]|"(?!""))*"{3,5}|'''(?:[^']+|'(?!''))*'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*/y;

/** The statements of a text that {@link parseToml} accepts, in its order. */
export function tomlStatements(text: string): readonly TomlStatement[] {
  const statements: TomlStatement[] = [];
  let at = 0;
  while (at < text.length) {
    const start = skipBlank(text, at);
    if (start >= text.length) break;
    const { end, equals } = statementEnd(text, start);
    const isHeader = text[start] === "[";
    const keyText = isHeader
      ? text.slice(start, end).replace(/^\[{1,2}|\]{1,2}$/g, "")
      : text.slice(start, equals);
    statements.push({
      ...{ kind: isHeader ? "header" : "pair", start, end, key: splitKey(keyText) },
      valueStart: isHeader ? end : skipSpaces(text, equals + 1),
    });
    at = end;
  }
  return statements;
}

function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    while (at < text.length && /\s/.test(text[at] ?? "")) at += 1;
    if (text[at] !== "#") return at;
    at = endOfLine(text, at);
  }
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\t") at += 1;
  return at;
}

function endOfLine(text: string, from: number): number {
  const at = text.indexOf("\n", from);
  return at === -1 ? text.length : at;
}

/** A statement ends with its line, unless a bracket or a string is open there. */
function statementEnd(
  text: string,
  start: number,
): { readonly end: number; readonly equals: number } {
  let depth = 0;
  let equals = start;
  let end = start;
  for (let at = start; at < text.length; ) {
    OPAQUE.lastIndex = at;
    const opaque = OPAQUE.exec(text)?.[0];
    if (opaque !== undefined) {
      at += opaque.length;
      if (!opaque.startsWith("#")) end = at;
      continue;
    }
    const character = text[at] ?? "";
    if (character === "\n" && depth === 0) break;
    if (character === "[" || character === "{") depth += 1;
    if (character === "]" || character === "}") depth -= 1;
    if (character === "=" && equals === start) equals = at;
    at += 1;
    if (!/\s/.test(character)) end = at;
  }
  return { end, equals };
}

/** Parts of a dotted key. Escapes in a quoted part are read as JSON has them, which TOML shares. */
function splitKey(text: string): readonly string[] {
  const parts = text.match(/"(?:\\.|[^"\\])*"|'[^']*'|[^\s.]+/g) ?? [];
  return parts.map((part) => {
    if (part.startsWith("'")) return part.slice(1, -1);
    if (!part.startsWith('"')) return part;
    try {
      return String(JSON.parse(part));
    } catch {
      return part.slice(1, -1);
    }
  });
}
