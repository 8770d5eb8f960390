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
  const isBlock = style === "literal" || style === "folded";
  return isBlock ? mapBlock(raw, text) : mapFlow(raw, style, text.length);
}

/** Plain and quoted scalars (YAML 1.2.2, 7.3): characters, escapes and folded lines, one by one. */
function mapFlow(raw: string, style: ScalarStyle, length: number): Int32Array {
  const offsets = new Int32Array(length + 1);
  let at = style === "plain" ? 0 : 1;
  for (let i = 0; i < length; ) {
    const step = flowStep(raw, at, style);
    offsets.fill(at, i, i + step.units);
    i += step.units;
    at += step.length;
  }
  offsets[length] = at;
  return offsets;
}

/** What stands at an offset of a raw scalar: its length there, and how many UTF-16 units it gives. */
interface FlowStep {
  readonly length: number;
  readonly units: number;
}

const ONE_CHARACTER: FlowStep = { length: 1, units: 1 };
const ONE_FOR_TWO: FlowStep = { length: 2, units: 1 };
const FOLD = /[ \t]*(?:\r?\n[ \t]*)+/y;
const ESCAPED_BREAK = /\\\r?\n[ \t]*/y;
const ESCAPE_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

function flowStep(raw: string, at: number, style: ScalarStyle): FlowStep {
  switch (raw[at]) {
    case "'":
      return style === "single" ? ONE_FOR_TWO : ONE_CHARACTER;
    case "\\":
      return style === "double" ? escapeStep(raw, at) : ONE_CHARACTER;
    case " ":
    case "\t":
    case "\r":
    case "\n": {
      const fold = matchAt(FOLD, raw, at);
      if (fold === undefined) return ONE_CHARACTER;
      // One line break reads as a blank, several as one less (YAML 1.2.2, 6.5).
      return { length: fold.length, units: Math.max(1, fold.split("\n").length - 2) };
    }
    default:
      return ONE_CHARACTER;
  }
}

function escapeStep(raw: string, at: number): FlowStep {
  const joined = matchAt(ESCAPED_BREAK, raw, at);
  if (joined !== undefined) return { length: joined.length, units: 0 };
  const digits = ESCAPE_DIGITS[raw[at + 1] ?? ""];
  if (digits === undefined) return ONE_FOR_TWO;
  const isPair = Number.parseInt(raw.slice(at + 2, at + 2 + digits), 16) > 0xffff;
  return { length: 2 + digits, units: isPair ? 2 : 1 };
}

function matchAt(sticky: RegExp, text: string, at: number): string | undefined {
  sticky.lastIndex = at;
  return sticky.exec(text)?.[0];
}

/**
 * Block scalars (YAML 1.2.2, 8.1): behind their indentation the lines stand in the text as they are,
 * and what differs, how many line breaks are left between two of them, the text itself tells.
 */
function mapBlock(raw: string, text: string): Int32Array {
  const offsets = new Int32Array(text.length + 1).fill(raw.length);
  const indent = blockIndent(raw, text);
  let i = 0;
  let breaks: number[] = [];
  for (let start = raw.indexOf("\n") + 1; start > 0 && start < raw.length; ) {
    const next = raw.indexOf("\n", start);
    const lineEnd = next === -1 ? raw.length : next;
    const end = raw[lineEnd - 1] === "\r" ? lineEnd - 1 : lineEnd;
    const content = Math.min(start + indent, afterBlanks(raw, start), end);
    if (content < end) {
      for (const at of breaks) if (/[\n ]/.test(text[i] ?? "")) offsets[i++] = at;
      breaks = [];
      for (let at = content; at < end && i < text.length; at += 1) offsets[i++] = at;
    }
    breaks.push(end);
    start = lineEnd + 1;
  }
  for (const at of breaks) if (i < text.length) offsets[i++] = at;
  return offsets;
}

/** How many blanks go before each line, told from the first one of which the text shows more. */
function blockIndent(raw: string, text: string): number {
  const shown = /^ *(?=[^ \r\n])/m;
  const written = shown.exec(raw.slice(raw.indexOf("\n") + 1))?.[0].length ?? 0;
  return written - (shown.exec(text)?.[0].length ?? 0);
}

function afterBlanks(raw: string, at: number): number {
  let end = at;
  while (raw[end] === " ") end += 1;
  return end;
}
