/**
 * Text that a server or a file gave, made safe for a terminal, a log and a sentence: control
 * characters (also bidirectional overrides) are escaped and the length is bounded.
 */
export function printable(text: string, charactersMax = 200): string {
  const cut = text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text;
  return cut.replace(UNPRINTABLE, escapeCharacter);
}

/**
 * C0 and C1 controls, halves of surrogate pairs, line and paragraph separators, bidirectional
 * controls, the byte order mark.
 */
const UNPRINTABLE =
  /[\p{Cc}\p{Cs}\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * {@link printable} in double quotes, the form in which untrusted text stands in a message. Quotes in
 * it are escaped, so that it can't end the quotation and speak in our name.
 */
export function quoted(text: string, charactersMax = 200): string {
  return `"${printable(text, charactersMax).replaceAll('"', '\\"')}"`;
}

/**
 * The candidate that a word was probably meant to be: at most two single-character edits (or swaps
 * of neighbours) away, and not more than a third of its length; undefined when none is that near.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforePrevious[j - 2] ?? 0) + 1);
      }
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}
