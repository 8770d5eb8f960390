import { type Findings, quoted } from "#base";

/** First and last line of what is ours in a file that people edit too. */
const BEGIN = "# BEGIN drayage";
const END = "# END drayage";
const NOTE = `${BEGIN}: dray redirect writes what stands here; edit outside of it`;

const BEGIN_LINE = /^([^\n]*?)# BEGIN drayage\b[^\n]*$/gm;
const END_LINE = /^([ \t]*)# END drayage[ \t]*(\r?\n|$)/gm;

const BYTE_ORDER_MARK = "\ufeff";

/** The mark that some editors put before a text, and the text. */
export function splitMark(text: string): readonly [mark: string, text: string] {
  const length = text.startsWith(BYTE_ORDER_MARK) ? 1 : 0;
  return [text.slice(0, length), text.slice(length)];
}

/** A piece of text of ours, to be set into somebody's. */
export interface Insertion {
  readonly offset: number;
  /** `lines`: whole lines, set in at the start of a line or at the end of the text. `flow`: within brackets. */
  readonly form: "lines" | "flow";
  /** Blanks before the marks; the lines bring their own. */
  readonly indent: string;
  readonly lines: readonly string[];
}

/** How the lines of a text end: as its first one does. */
function lineEnding(text: string): "\n" | "\r\n" {
  return /^[^\n]*\r\n/.test(text) ? "\r\n" : "\n";
}

/**
 * Sets pieces into a text, each between marks, and changes nothing else of it. {@link removeMarked} of
 * the result is the text again, byte for byte.
 */
export function insertMarked(text: string, insertions: readonly Insertion[]): string {
  const eol = lineEnding(text);
  const later = joinNeighbours(insertions).sort((a, b) => b.offset - a.offset);
  return later.reduce((result, insertion) => {
    const { offset } = insertion;
    const before = result.slice(0, offset);
    return before + formatInsertion(insertion, before, eol) + result.slice(offset);
  }, text);
}

/** Pieces for one place become one; what goes deeper comes first, for it belongs to what is above. */
function joinNeighbours(insertions: readonly Insertion[]): Insertion[] {
  const byOffset = new Map<number, Insertion>();
  const deepest = [...insertions].sort((a, b) => b.indent.length - a.indent.length);
  for (const insertion of deepest) {
    const first = byOffset.get(insertion.offset) ?? { ...insertion, lines: [] };
    byOffset.set(insertion.offset, { ...first, lines: [...first.lines, ...insertion.lines] });
  }
  return [...byOffset.values()];
}

function formatInsertion({ form, indent, lines }: Insertion, before: string, eol: string): string {
  const body = [`${indent}${NOTE}`, ...lines, `${indent}${END}`].join(eol);
  // The last line of END has as many blanks after it as before it, which tells how many to take away.
  if (form === "flow") return ` ${body.slice(indent.length)}${eol}${indent}`;
  // A text whose last line does not end keeps it so: that END ends the text tells that the break is ours.
  const endsLine = before === "" || before.endsWith("\n");
  return endsLine ? `${body}${eol}` : `${eol}${body}`;
}

/** Whether there is something of ours in a text. */
export function isMarked(text: string): boolean {
  return text.match(BEGIN_LINE) !== null;
}

/**
 * Takes out what is ours. Undefined, with a fault, when the marks are not in pairs: then nobody can
 * tell whose the lines are.
 */
export function removeMarked(whole: string, file: string, findings: Findings): string | undefined {
  const [mark, text] = splitMark(whole);
  let rest = "";
  let at = 0;
  for (const begin of text.matchAll(BEGIN_LINE)) {
    const from = begin.index + (begin[1] ?? "").length;
    if (from < at) continue;
    END_LINE.lastIndex = from;
    const end = END_LINE.exec(text);
    const next = nextBegin(text, from + BEGIN.length);
    if (end === null || (next !== undefined && next < end.index)) {
      reportUnpaired(text, from, file, findings);
      return undefined;
    }
    const piece = markedPiece(text, from, begin[1] ?? "", end);
    rest += text.slice(at, piece.start);
    at = piece.end;
  }
  rest += text.slice(at);
  const stray = new RegExp(END_LINE.source, "m").exec(rest);
  if (stray === null) return mark + rest;
  reportUnpaired(rest, stray.index, file, findings);
  return undefined;
}

function nextBegin(text: string, from: number): number | undefined {
  const at = text.indexOf(BEGIN, from);
  return at === -1 ? undefined : at;
}

function markedPiece(
  text: string,
  from: number,
  lead: string,
  end: RegExpExecArray,
): { readonly start: number; readonly end: number } {
  const [whole, indent = "", eol = ""] = end;
  const after = end.index + whole.length;
  if (lead.trim() !== "") {
    const blanks = text.startsWith(indent, after) ? indent.length : 0;
    return { start: from - (lead.endsWith(" ") ? 1 : 0), end: after + blanks };
  }
  const lineStart = from - lead.length;
  if (eol !== "" || lineStart === 0) return { start: lineStart, end: after };
  const breakLength = text.slice(0, lineStart).endsWith("\r\n") ? 2 : 1;
  return { start: lineStart - breakLength, end: after };
}

function reportUnpaired(text: string, offset: number, file: string, findings: Findings): void {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  findings.fault(
    { file, line, column: offset - before.lastIndexOf("\n"), path: "" },
    "redirect-marks-broken",
    `Cannot tell what is ours in ${quoted(file)}: ${quoted(BEGIN)} and ${quoted(END)} were expected in pairs`,
    "Remove the lines that dray redirect wrote, with their marks, and run it again",
  );
}
