import type { Place } from "#base";

/**
 * A text whose every offset has a place in a file that a person can open: a file, a part of one, or a
 * string that stands inside another document (YAML in a string in JSON in …).
 */
export interface TextSource {
  readonly text: string;
  /** Where the character at an offset of `text` stands; `path` says where in the structure. */
  place(offset: number, path: string): Place;
}

/** The text of a file, under the name that messages give it. */
export function fileSource(file: string, text: string): TextSource {
  let starts: readonly number[] | undefined;
  return {
    text,
    place(offset, path) {
      starts ??= lineStarts(text);
      const line = lineAt(starts, offset);
      return { file, line: line + 1, column: offset - (starts[line] ?? 0) + 1, path };
    },
  };
}

/** A stretch of another text: one document of several in a manifest. */
export function sliceSource(parent: TextSource, start: number, end: number): TextSource {
  return {
    text: parent.text.slice(start, end),
    place: (offset, path) => parent.place(start + offset, path),
  };
}

/** How a string is written in YAML; it decides how its characters map to those of the file. */
export type ScalarStyle = "plain" | "single" | "double" | "literal" | "folded";

/**
 * A string inside another document, as a text of its own. Its offsets lead back through escapes,
 * folded lines and block indentation to the characters that the person sees.
 *
 * @param raw the offsets in `parent` at which the scalar, quotes or block header included, begins and ends
 * @param path the path of the string; paths inside follow it after a colon
 */
export function embeddedSource(
  parent: TextSource,
  raw: { readonly start: number; readonly end: number },
  style: ScalarStyle,
  { text, path }: { readonly text: string; readonly path: string },
): TextSource {
  let offsets: Int32Array | undefined;
  return {
    text,
    place(offset, innerPath) {
      offsets ??= mapOffsets(parent.text.slice(raw.start, raw.end), style, text);
      const inner = offsets[Math.min(offset, text.length)] ?? 0;
      return parent.place(raw.start + inner, innerPath === "" ? path : `${path}:${innerPath}`);
    },
  };
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

function lineAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** For each offset of the decoded text (and its end), the offset in the raw text. */
function mapOffsets(raw: string, style: ScalarStyle, text: string): Int32Array {
  if (style === "literal" || style === "folded") return mapBlock(raw, text);
  if (style === "double") return mapFlow(raw, text, 1, escapeLength);
  if (style === "single") return mapFlow(raw, text, 1, (at) => (raw.startsWith("''", at) ? 2 : 1));
  return mapFlow(raw, text, 0, () => 1);

  function escapeLength(at: number): number {
    if (raw[at] !== "\\") return 1;
    return 2 + ({ x: 2, u: 4, U: 8 }[raw[at + 1] ?? ""] ?? 0);
  }
}

/** Quoted and plain scalars: characters one by one, with line breaks folded as YAML folds them. */
function mapFlow(
  raw: string,
  text: string,
  start: number,
  lengthAt: (at: number) => number,
): Int32Array {
  const offsets = new Int32Array(text.length + 1);
  let at = start;
  for (let i = 0; i < text.length; i += 1) {
    at = skipEscapedLineBreak(raw, at);
    offsets[i] = at;
    const fold = /[ \t\r]*\n/y;
    fold.lastIndex = at;
    if (fold.test(raw))
      at = afterFold(raw, fold.lastIndex, text[i + 1] === "\n" || text[i] === "\n");
    else at += lengthAt(at);
    if ((text.codePointAt(i) ?? 0) > 0xffff && raw[offsets[i] ?? 0] === "\\") {
      i += 1;
      offsets[i] = offsets[i - 1] ?? 0;
    }
  }
  offsets[text.length] = at;
  return offsets;
}

/** `\` at the end of a line of a double-quoted scalar joins the lines without a blank. */
function skipEscapedLineBreak(raw: string, at: number): number {
  const joined = /\\\r?\n[ \t]*/y;
  joined.lastIndex = at;
  return joined.test(raw) ? joined.lastIndex : at;
}

/** After one folded line break comes the indentation; before further (empty) lines it stays put. */
function afterFold(raw: string, at: number, hasEmptyLines: boolean): number {
  if (hasEmptyLines && /^[ \t\r]*\n/.test(raw.slice(at, at + 200))) return at;
  const blank = /[ \t]*/y;
  blank.lastIndex = at;
  blank.test(raw);
  return blank.lastIndex;
}

/**
 * Block scalars: each character of the text is the next equal one of the raw text, where a line break
 * may have become a blank, and indentation and further breaks are passed over.
 */
function mapBlock(raw: string, text: string): Int32Array {
  const offsets = new Int32Array(text.length + 1);
  const lines = raw.split("\n");
  let rawAt = (lines[0] ?? "").length + 1;
  const indent = blockIndent(lines);
  let column = 0;
  for (let i = 0; i < text.length; i += 1) {
    if (column === 0) rawAt += Math.min(indent, leadingBlanks(raw, rawAt));
    const character = text[i];
    offsets[i] = rawAt;
    const isBreak = raw[rawAt] === "\n" || raw.startsWith("\r\n", rawAt);
    column = isBreak ? 0 : column + 1;
    if (isBreak) rawAt += raw[rawAt] === "\r" ? 2 : 1;
    else if (raw[rawAt] === character) rawAt += 1;
  }
  offsets[text.length] = rawAt;
  return offsets;
}

function leadingBlanks(raw: string, at: number): number {
  let end = at;
  while (raw[end] === " ") end += 1;
  return end - at;
}

/** The indentation of the first line that isn't empty; an indicator in the header only lessens it. */
function blockIndent(lines: readonly string[]): number {
  const first = lines.slice(1).find((line) => line.trim() !== "") ?? "";
  return first.length - first.trimStart().length;
}
