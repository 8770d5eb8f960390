/** The words of a line, of at most `width` characters each line; what is longer than a line is broken. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ").flatMap((word) => pieces(word, width))) {
    if (line === "") line = word;
    else if (lengthOf(line) + 1 + lengthOf(word) <= width) line += ` ${word}`;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}

/** Characters and not code units: a pair is never torn. */
function pieces(word: string, width: number): readonly string[] {
  const characters = [...word];
  if (characters.length <= width) return [word];
  const count = Math.ceil(characters.length / width);
  return Array.from({ length: count }, (_, i) =>
    characters.slice(i * width, (i + 1) * width).join(""),
  );
}

function lengthOf(text: string): number {
  return [...text].length;
}

/** At most `width` characters; the end says that something is left out. */
export function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join("")}…`;
}

/** Colours by name; each repeats what the words say. */
export const COLORS = { good: 32, busy: 36, warn: 33, bad: 31, dim: 2, bold: 1 } as const;

/** Gives a text a colour, or leaves it as it is (NO_COLOR, no terminal). */
export type Paint = (color: keyof typeof COLORS, text: string) => string;

/** ECMA-48: select graphic rendition, and reset. */
export const paintAnsi: Paint = (color, text) => `\x1b[${COLORS[color]}m${text}\x1b[0m`;

/** No colours. */
export const paintNothing: Paint = (_, text) => text;
